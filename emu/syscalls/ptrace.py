"""ptrace: one task traces another (kernel/ptrace.c, arch/x86/kernel/ptrace.c)."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.kernel.ptrace import Event, Options, Tracee
from emu.kernel.seccomp import MODE_FILTER, Filter
from emu.kernel.signal_state import NSIG, UNBLOCKABLE, SiCode, Sig, SigInfo
from emu.kernel.task import INIT_PID, TaskState
from emu.kernel.traced import StopKind
from emu.kernel.user_regs import (
    FP_BYTES,
    NAMES,
    REGS_BYTES,
    XSTATE_BYTES,
    read_fp,
    read_regs,
    read_xstate,
    write_fp,
    write_regs,
    write_xstate,
)
from emu.linux.argument import ADDRESS, HEX, PID, Named
from emu.linux.caller import may_access
from emu.linux.capability import SYS_ADMIN, SYS_PTRACE
from emu.linux.errors import LinuxError
from emu.linux.syscall import NUMBER, Restart, Result, Syscall
from emu.linux.words import Choice
from emu.mm.gup import read_remote, write_remote

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task


class Request(Choice, prefix="PTRACE_"):
    """PTRACE_*."""

    TRACEME = 0
    PEEKTEXT = 1
    PEEKDATA = 2
    PEEKUSER = 3
    POKETEXT = 4
    POKEDATA = 5
    POKEUSER = 6
    CONT = 7
    KILL = 8
    SINGLESTEP = 9
    GETREGS = 12
    SETREGS = 13
    GETFPREGS = 14
    SETFPREGS = 15
    ATTACH = 16
    DETACH = 17
    OLDSETOPTIONS = 21
    SYSCALL = 24
    SYSEMU = 31
    SYSEMU_SINGLESTEP = 32
    SETOPTIONS = 0x4200
    GETEVENTMSG = 0x4201
    GETSIGINFO = 0x4202
    SETSIGINFO = 0x4203
    GETREGSET = 0x4204
    SETREGSET = 0x4205
    SEIZE = 0x4206
    INTERRUPT = 0x4207
    LISTEN = 0x4208
    PEEKSIGINFO = 0x4209
    GETSIGMASK = 0x420A
    SETSIGMASK = 0x420B
    SECCOMP_GET_FILTER = 0x420C
    SECCOMP_GET_METADATA = 0x420D
    GET_SYSCALL_INFO = 0x420E


_WORD_BYTES, _SIGINFO_BYTES, _SIGSET_BYTES = 8, 128, 8
#: struct user: its size, and where its debug registers are.
_USER_BYTES, _DEBUG_AT, _DEBUG_END = 928, 848, 912
_NT_PRSTATUS, _NT_PRFPREG, _NT_X86_XSTATE = 1, 2, 0x202
_AUDIT_ARCH_X86_64 = 0xC000_003E
_SYSGOOD = Sig.TRAP | 0x80
_INFO_NONE, _INFO_ENTRY, _INFO_EXIT, _INFO_SECCOMP = range(4)
_PEEKSIGINFO_SHARED = 1
_FILTER_FLAG_LOG = 2
_ALL_OPTIONS = int(
    Options.TRACESYSGOOD | Options.TRACEFORK | Options.TRACEVFORK | Options.TRACECLONE | Options.TRACEEXEC |
    Options.TRACEVFORKDONE | Options.TRACEEXIT | Options.TRACESECCOMP | Options.EXITKILL |
    Options.SUSPEND_SECCOMP
)  # fmt: skip


# Becoming traced


def _trace_me(kernel: Kernel, task: Task) -> int:
    parent = task.group.parent
    if task.ptrace is not None or parent is None:
        raise LinuxError(errno.EPERM)
    maker = task.group.maker
    tracer = maker if maker is not None and maker.alive else next(iter(parent.threads.values()))
    Tracee(kernel, task, tracer, privileged=task.credentials.capable_here(SYS_PTRACE))
    return 0


def _attach(kernel: Kernel, task: Task, target: Task, request: int, address: int, options: int) -> int:
    """PTRACE_ATTACH and PTRACE_SEIZE."""
    seized = request == Request.SEIZE
    if seized and (address or options & ~_ALL_OPTIONS):
        raise LinuxError(errno.EIO)
    if seized:
        _check_suspending(task, options)
    if target.group is task.group or not may_access(task, target) or target.pid == INIT_PID:
        raise LinuxError(errno.EPERM)
    if not target.alive or target.ptrace is not None:
        raise LinuxError(errno.EPERM)
    privileged, options = task.credentials.capable_here(SYS_PTRACE), options if seized else 0
    tracee = Tracee(kernel, target, task, privileged=privileged, seized=seized, options=options)
    if target.state == TaskState.STOPPED:
        tracee.stop_of_group()
    if not seized:
        kernel.signals.send(target, Sig.STOP, SigInfo(Sig.STOP, SiCode.KERNEL))
    return 0


def _tracee(task: Task, target: Task, request: int) -> Tracee:
    """The state of a task that the caller traces, and that is stopped (ptrace_check_attach).  LinuxError(ESRCH)."""
    tracee = target.ptrace
    if not isinstance(tracee, Tracee) or tracee.tracer is not task or not target.alive:
        raise LinuxError(errno.ESRCH)
    if request not in (Request.KILL, Request.INTERRUPT) and (tracee.kind is None or tracee.listening):
        raise LinuxError(errno.ESRCH)
    return tracee


# Going on


def _go_on(kernel: Kernel, tracee: Tracee, request: int, address: int, signal: int) -> int:
    if signal > NSIG:
        raise LinuxError(errno.EIO)
    if request == Request.DETACH:
        tracee.detach(signal)
    else:
        tracee.resume(
            signal,
            syscalls=request == Request.SYSCALL,
            stepping=request in (Request.SINGLESTEP, Request.SYSEMU_SINGLESTEP),
            emulated=request in (Request.SYSEMU, Request.SYSEMU_SINGLESTEP),
        )
    return 0


def _kill(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    kernel.signals.send(tracee.task, Sig.KILL, SigInfo(Sig.KILL, SiCode.USER))
    return 0


def _interrupt(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    if not tracee.seized:
        raise LinuxError(errno.EIO)
    tracee.interrupt()
    return 0


def _listen(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    info = tracee.info
    if not tracee.seized or info is None or info.code >> 8 != Event.STOP:
        raise LinuxError(errno.EIO)
    tracee.listen()
    return 0


def _check_suspending(tracer: Task, options: int) -> None:
    """LinuxError(EPERM): who has filters itself may not suspend those of others (check_ptrace_options)."""
    if options & Options.SUSPEND_SECCOMP and (not tracer.credentials.capable(SYS_ADMIN) or tracer.seccomp is not None):
        raise LinuxError(errno.EPERM)


def _set_options(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    if data & ~_ALL_OPTIONS:
        raise LinuxError(errno.EINVAL)
    _check_suspending(_caller(kernel), data)
    tracee.options = data
    return 0


# Memory and registers


def _peek(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    try:
        word = read_remote(tracee.task.mm, address, _WORD_BYTES, force=True)
    except LinuxError:
        word = b""
    if len(word) < _WORD_BYTES:
        raise LinuxError(errno.EIO)
    _caller(kernel).mm.write(data, word)
    return 0


def _poke(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    try:
        done = write_remote(tracee.task.mm, address, data.to_bytes(_WORD_BYTES, "little"), force=True)
    except LinuxError:
        done = 0
    if done < _WORD_BYTES:
        raise LinuxError(errno.EIO)
    return 0


def _peek_user(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    _check_user(address)
    value = 0
    if address < REGS_BYTES:
        value = read_regs(kernel, tracee.task)[address // _WORD_BYTES]
    elif _DEBUG_AT <= address < _DEBUG_END:
        value = tracee.debug_registers[(address - _DEBUG_AT) // _WORD_BYTES]
    _caller(kernel).mm.write_u64(data, value)
    return 0


def _poke_user(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    _check_user(address)
    if address < REGS_BYTES:
        values = read_regs(kernel, tracee.task)
        values[address // _WORD_BYTES] = data
        write_regs(kernel, tracee.task, values)
    elif _DEBUG_AT <= address < _DEBUG_END:
        _set_debug_register(kernel, tracee, (address - _DEBUG_AT) // _WORD_BYTES, data)
    else:
        raise LinuxError(errno.EIO)
    return 0


def _check_user(address: int) -> None:
    if address % _WORD_BYTES or address >= _USER_BYTES:
        raise LinuxError(errno.EIO)


def _set_debug_register(kernel: Kernel, tracee: Tracee, number: int, value: int) -> None:
    try:
        tracee.debug_registers.set(number, value, tracee.task.mm.task_size)
    except LinuxError as error:
        if error.errno == errno.ENOSPC:
            kernel.log_once("ptrace: watchpoints for reading are not supported: ENOSPC")
        raise


def _get_regs(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    _caller(kernel).mm.write(data, _regs(kernel, tracee.task))
    return 0


def _set_regs(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    _put_regs(kernel, tracee.task, _caller(kernel).mm.read(data, REGS_BYTES))
    return 0


def _get_fp_regs(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    _caller(kernel).mm.write(data, read_fp(kernel, tracee.task))
    return 0


def _set_fp_regs(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    write_fp(kernel, tracee.task, _caller(kernel).mm.read(data, FP_BYTES))
    return 0


def _regs(kernel: Kernel, task: Task) -> bytes:
    return struct.pack(f"<{len(NAMES)}Q", *read_regs(kernel, task))


def _put_regs(kernel: Kernel, task: Task, data: bytes) -> None:
    """The first registers, as many as there are bytes."""
    whole = data + _regs(kernel, task)[len(data) :]
    write_regs(kernel, task, struct.unpack(f"<{len(NAMES)}Q", whole))


def _put_fp(kernel: Kernel, task: Task, data: bytes) -> None:
    write_fp(kernel, task, data + read_fp(kernel, task)[len(data) :])


#: By the type of the note in a core file: the size, and how to read and to write it.
_REGSETS: dict[int, tuple[int, Callable[[Kernel, Task], bytes], Callable[[Kernel, Task, bytes], None]]] = {
    _NT_PRSTATUS: (REGS_BYTES, _regs, _put_regs),
    _NT_PRFPREG: (FP_BYTES, read_fp, _put_fp),
    _NT_X86_XSTATE: (XSTATE_BYTES, read_xstate, write_xstate),
}


def _register_set(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    """PTRACE_GETREGSET, PTRACE_SETREGSET: by an iovec, whose length becomes that of what was moved."""
    memory = _caller(kernel).mm
    base, length = struct.unpack("<QQ", memory.read(data, 16))
    found = _REGSETS.get(address)
    if found is None or length % _WORD_BYTES:
        raise LinuxError(errno.EINVAL)
    size, get, put = found
    length = min(length, size)
    if request == Request.GETREGSET:
        memory.write(base, get(kernel, tracee.task)[:length])
    else:
        put(kernel, tracee.task, memory.read(base, length))
    memory.write_u64(data + _WORD_BYTES, length)
    return 0


# What a stop says


def _event_message(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    _caller(kernel).mm.write_u64(data, tracee.message)
    return 0


def _get_siginfo(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    info = tracee.given_info or tracee.info
    if info is None:
        raise LinuxError(errno.EINVAL)
    _caller(kernel).mm.write(data, info.pack())
    return 0


def _set_siginfo(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    words = _caller(kernel).mm.read(data, _SIGINFO_BYTES)
    if tracee.info is None:
        raise LinuxError(errno.EINVAL)
    signo, _, code = struct.unpack_from("<iii", words)
    if tracee.kind is StopKind.SIGNAL:
        tracee.given_info = SigInfo(signo, code, given=words)
    return 0


def _peek_siginfo(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    """The signals that are pending, from a place in their queue on."""
    memory, signals = _caller(kernel).mm, tracee.task.signals
    offset, flags, number = struct.unpack("<QIi", memory.read(address, 16))
    if flags & ~_PEEKSIGINFO_SHARED or number < 0:
        raise LinuxError(errno.EINVAL)
    queue = signals.shared if flags & _PEEKSIGINFO_SHARED else signals.pending
    shown = queue[offset : offset + number]
    for at, info in enumerate(shown):
        try:
            memory.write(data + at * _SIGINFO_BYTES, info.pack())
        except LinuxError:
            if not at:
                raise
            return at
    return len(shown)


def _signal_mask(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    if address != _SIGSET_BYTES:
        raise LinuxError(errno.EINVAL)
    memory, signals = _caller(kernel).mm, tracee.task.signals
    if request == Request.GETSIGMASK:
        memory.write_u64(data, signals.blocked if signals.saved_mask is None else signals.saved_mask)
    else:
        signals.blocked, signals.saved_mask = memory.read_u64(data) & ~UNBLOCKABLE, None
    return 0


def _syscall_info(kernel: Kernel, tracee: Tracee, request: int, size: int, data: int) -> int:
    """PTRACE_GET_SYSCALL_INFO, whose result is the size of all that there is to tell.  Of a call it tells with
    PTRACE_O_TRACESYSGOOD only.
    """
    regs = dict(zip(NAMES, read_regs(kernel, tracee.task), strict=True))
    kind, more = _INFO_NONE, b""
    call = [regs[name] for name in ("orig_rax", "rdi", "rsi", "rdx", "r10", "r8", "r9")]
    named = tracee.info is not None and tracee.info.code == _SYSGOOD
    if named and tracee.kind is StopKind.ENTRY:
        kind = _INFO_ENTRY
        more = struct.pack("<7Q", *call)
    elif tracee.info is not None and tracee.info.code == Sig.TRAP | Event.SECCOMP << 8:
        kind = _INFO_SECCOMP
        more = struct.pack("<7QI", *call, tracee.message)
    elif named and tracee.kind is StopKind.EXIT:
        kind, value = _INFO_EXIT, regs["rax"]
        more = struct.pack("<QB", value, value > (1 << 64) - 4096)
    words = struct.pack("<B3xIQQ", kind, _AUDIT_ARCH_X86_64, regs["rip"], regs["rsp"]) + more
    _caller(kernel).mm.write(data, words[:size])
    return len(words)


def _filter_of(kernel: Kernel, tracee: Tracee, number: int) -> Filter:
    """The tracee's ``number``-th filter, the oldest first (get_nth_filter).  LinuxError(EACCES, EINVAL, ENOENT)."""
    caller, theirs = _caller(kernel), tracee.task.seccomp
    if not caller.credentials.capable(SYS_ADMIN) or caller.seccomp is not None:
        raise LinuxError(errno.EACCES)
    if theirs is None or theirs.mode != MODE_FILTER:
        raise LinuxError(errno.EINVAL)
    if number >= len(theirs.filters):
        raise LinuxError(errno.ENOENT)
    return theirs.filters[number]


def _get_filter(kernel: Kernel, tracee: Tracee, request: int, number: int, data: int) -> int:
    """PTRACE_SECCOMP_GET_FILTER: how many instructions, and with an address these too."""
    program = _filter_of(kernel, tracee, number).instructions
    if data:
        _caller(kernel).mm.write(data, b"".join(struct.pack("<HBBI", *instruction) for instruction in program))
    return len(program)


def _filter_flags(kernel: Kernel, tracee: Tracee, request: int, size: int, data: int) -> int:
    """PTRACE_SECCOMP_GET_METADATA: a struct seccomp_metadata, in which is the number of a filter."""
    size, memory = min(size, 16), _caller(kernel).mm
    if size < 8:
        raise LinuxError(errno.EINVAL)
    number = memory.read_u64(data)
    found = _filter_of(kernel, tracee, number)
    memory.write(data, struct.pack("<QQ", number, _FILTER_FLAG_LOG if found.logs else 0)[:size])
    return size


def _caller(kernel: Kernel) -> Task:
    assert kernel.current is not None
    return kernel.current


_HANDLERS: dict[int, Callable[[Kernel, Tracee, int, int, int], int]] = {
    Request.PEEKTEXT: _peek, Request.PEEKDATA: _peek, Request.PEEKUSER: _peek_user, Request.POKETEXT: _poke,
    Request.POKEDATA: _poke, Request.POKEUSER: _poke_user, Request.CONT: _go_on, Request.KILL: _kill,
    Request.SINGLESTEP: _go_on, Request.GETREGS: _get_regs, Request.SETREGS: _set_regs,
    Request.GETFPREGS: _get_fp_regs, Request.SETFPREGS: _set_fp_regs, Request.DETACH: _go_on,
    Request.OLDSETOPTIONS: _set_options, Request.SYSCALL: _go_on, Request.SYSEMU: _go_on,
    Request.SYSEMU_SINGLESTEP: _go_on, Request.SETOPTIONS: _set_options,
    Request.GETEVENTMSG: _event_message, Request.GETSIGINFO: _get_siginfo, Request.SETSIGINFO: _set_siginfo,
    Request.GETREGSET: _register_set, Request.SETREGSET: _register_set, Request.INTERRUPT: _interrupt,
    Request.LISTEN: _listen, Request.PEEKSIGINFO: _peek_siginfo, Request.GETSIGMASK: _signal_mask,
    Request.SETSIGMASK: _signal_mask, Request.GET_SYSCALL_INFO: _syscall_info,
    Request.SECCOMP_GET_FILTER: _get_filter, Request.SECCOMP_GET_METADATA: _filter_flags,
}  # fmt: skip


def sys_ptrace(kernel: Kernel, task: Task, request: int, pid: int, address: int, data: int) -> int:
    """ptrace(2): debug registers watch what is changed, not what is read (ENOSPC); there is no PTRACE_SINGLEBLOCK, and
    nobody traces process 1 (EPERM).
    """
    if request == Request.TRACEME:
        return _trace_me(kernel, task)
    target = kernel.find_task(pid)
    if target is None:
        raise LinuxError(errno.ESRCH)
    if request in (Request.ATTACH, Request.SEIZE):
        return _attach(kernel, task, target, request, address, data)
    tracee = _tracee(task, target, request)
    handler = _HANDLERS.get(request)
    if handler is None:
        raise LinuxError(errno.EIO)
    return handler(kernel, tracee, request, address, data)


def sys_restart_syscall(kernel: Kernel, task: Task) -> Result:
    """restart_syscall(2): what the kernel lets a traced task call after a signal without a handler."""
    block, task.restart_block = task.restart_block, None
    if block is None:
        raise LinuxError(errno.EINTR)
    return block()


TABLE = (
    Syscall(101, "ptrace", sys_ptrace, (Named(Request), PID, ADDRESS, HEX), NUMBER),
    Syscall(219, "restart_syscall", sys_restart_syscall, (), NUMBER, Restart.BLOCK),
)
