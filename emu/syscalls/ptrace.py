"""ptrace: one task traces another (kernel/ptrace.c, arch/x86/kernel/ptrace.c)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.kernel.ptrace import Tracee
from emu.kernel.ptracestops import Event, Options
from emu.kernel.signal_state import NSIG, SiCode, Sig, SigInfo
from emu.kernel.task import INIT_PID, TaskState
from emu.linux.argument import ADDRESS, HEX, PID, Named
from emu.linux.caller import may_access
from emu.linux.capability import SYS_ADMIN, SYS_PTRACE
from emu.linux.errors import LinuxError
from emu.linux.syscall import NUMBER, Restart, Result, Syscall
from emu.syscalls.ptraceregs import (
    get_fp_regs,
    get_regs,
    peek,
    peek_user,
    poke,
    poke_user,
    register_set,
    set_fp_regs,
    set_regs,
)
from emu.syscalls.ptracerequest import Request, caller_of
from emu.syscalls.ptracestop import (
    event_message,
    filter_flags,
    get_filter,
    get_siginfo,
    peek_siginfo,
    set_siginfo,
    signal_mask,
    syscall_info,
)

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task


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
    _check_suspending(caller_of(kernel), data)
    tracee.options = data
    return 0


_HANDLERS: dict[int, Callable[[Kernel, Tracee, int, int, int], int]] = {
    Request.PEEKTEXT: peek, Request.PEEKDATA: peek, Request.PEEKUSER: peek_user, Request.POKETEXT: poke,
    Request.POKEDATA: poke, Request.POKEUSER: poke_user, Request.CONT: _go_on, Request.KILL: _kill,
    Request.SINGLESTEP: _go_on, Request.GETREGS: get_regs, Request.SETREGS: set_regs,
    Request.GETFPREGS: get_fp_regs, Request.SETFPREGS: set_fp_regs, Request.DETACH: _go_on,
    Request.OLDSETOPTIONS: _set_options, Request.SYSCALL: _go_on, Request.SYSEMU: _go_on,
    Request.SYSEMU_SINGLESTEP: _go_on, Request.SETOPTIONS: _set_options,
    Request.GETEVENTMSG: event_message, Request.GETSIGINFO: get_siginfo, Request.SETSIGINFO: set_siginfo,
    Request.GETREGSET: register_set, Request.SETREGSET: register_set, Request.INTERRUPT: _interrupt,
    Request.LISTEN: _listen, Request.PEEKSIGINFO: peek_siginfo, Request.GETSIGMASK: signal_mask,
    Request.SETSIGMASK: signal_mask, Request.GET_SYSCALL_INFO: syscall_info,
    Request.SECCOMP_GET_FILTER: get_filter, Request.SECCOMP_GET_METADATA: filter_flags,
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
