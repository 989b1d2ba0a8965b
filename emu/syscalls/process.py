"""fork, clone, execve, exit, wait4, and the numbers that a process has."""

from __future__ import annotations

import errno
import struct
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from emu.kernel.exec import MAX_ARG_STRLEN, MAX_ARG_TOTAL, check_executable, do_execve
from emu.kernel.exit import do_wait, release
from emu.kernel.fork import CloneFlags, do_clone
from emu.kernel.signal_state import NSIG, Sig
from emu.linux.errors import LinuxError
from emu.linux.syscall import Result, Syscall, s32
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task, Usage

_ARCH_SET_GS, _ARCH_SET_FS, _ARCH_GET_FS, _ARCH_GET_GS = 0x1001, 0x1002, 0x1003, 0x1004
_PR_SET_PDEATHSIG, _PR_GET_DUMPABLE, _PR_SET_DUMPABLE, _PR_SET_NAME, _PR_GET_NAME = 1, 3, 4, 15, 16
_RUSAGE_THREAD = 1
#: struct clone_args as it was made and as it has grown, in bytes.
_CLONE_ARGS_SIZES = (64, 80, 88)
_W_KNOWN = 1 | 2 | 8 | 0x2000_0000 | 0x4000_0000 | 0x8000_0000


def sys_fork(kernel: Kernel, task: Task) -> Result:
    """fork(2)."""
    return do_clone(kernel, task, Sig.CHLD, 0, 0, 0, 0)


def sys_vfork(kernel: Kernel, task: Task) -> Result:
    """vfork(2)."""
    return do_clone(kernel, task, CloneFlags.VFORK | CloneFlags.VM | Sig.CHLD, 0, 0, 0, 0)


def sys_clone(kernel: Kernel, task: Task, flags: int, stack: int, parent_tid: int, child_tid: int, tls: int) -> Result:
    """clone(2) with the argument order of x86-64."""
    return do_clone(kernel, task, flags, stack, parent_tid, child_tid, tls)


def sys_clone3(kernel: Kernel, task: Task, arguments: int, size: int) -> Result:
    """clone3(2)."""
    if size > PAGE_SIZE:
        raise LinuxError(errno.E2BIG)
    if size < _CLONE_ARGS_SIZES[0]:
        raise LinuxError(errno.EINVAL)
    data = task.mm.read(arguments, size)
    if any(data[_CLONE_ARGS_SIZES[-1] :]):
        raise LinuxError(errno.E2BIG)
    words = struct.unpack("<11Q", data[: _CLONE_ARGS_SIZES[-1]].ljust(_CLONE_ARGS_SIZES[-1], b"\0"))
    flags, _, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, _ = words
    if flags & (CloneFlags.DETACHED | CloneFlags.SIGNAL) or bool(stack) != bool(stack_size):
        raise LinuxError(errno.EINVAL)
    if exit_signal > NSIG or (flags & (CloneFlags.THREAD | CloneFlags.PARENT) and exit_signal):
        raise LinuxError(errno.EINVAL)
    if set_tid or set_tid_size:
        kernel.log_once("clone3 with set_tid: not built, EINVAL")
        raise LinuxError(errno.EINVAL)
    if stack + stack_size > task.mm.task_size:
        raise LinuxError(errno.EINVAL)
    return do_clone(kernel, task, flags | exit_signal, stack + stack_size, parent_tid, child_tid, tls)


def _strings(task: Task, address: int) -> list[bytes]:
    """A NULL-terminated vector of strings (argv, envp); a NULL vector is empty, as Linux allows."""
    strings: list[bytes] = []
    total = 0
    while address:
        pointer = task.mm.read_u64(address + 8 * len(strings))
        if not pointer:
            break
        try:
            text = task.mm.read_cstring(pointer, MAX_ARG_STRLEN)
        except LinuxError as error:
            raise LinuxError(errno.E2BIG if error.errno == errno.ENAMETOOLONG else error.errno) from None
        strings.append(text)
        total += len(text) + 9
        if total > MAX_ARG_TOTAL:
            raise LinuxError(errno.E2BIG)
    return strings


def sys_execve(kernel: Kernel, task: Task, path: int, argv: int, envp: int) -> int:
    """execve(2)."""
    name = task.mm.read_cstring(path).decode("utf-8", "surrogateescape")
    check_executable(kernel, task, name)
    do_execve(kernel, task, name, _strings(task, argv), _strings(task, envp))
    kernel.tracer.exec(task, name, task.argv)
    return 0


def sys_exit(kernel: Kernel, task: Task, status: int) -> int:
    """exit(2): the one thread ends."""
    kernel.exit_thread(task, (status & 0xFF) << 8)
    return 0


def sys_exit_group(kernel: Kernel, task: Task, status: int) -> int:
    """exit_group(2): the process ends."""
    kernel.exit(task, (status & 0xFF) << 8)
    return 0


def sys_wait4(
    kernel: Kernel, task: Task, pid: int, status: int, options: int, rusage: int
) -> Generator[Any, None, int]:
    """wait4(2)."""
    if options & ~_W_KNOWN:
        raise LinuxError(errno.EINVAL)
    child = yield from do_wait(kernel, task, s32(pid), options)
    if child is None:
        return 0
    release(kernel, child)  # before the copies: a bad pointer does not keep the zombie
    if status:
        task.mm.write_u32(status, child.exit_code)
    if rusage:
        task.mm.write(rusage, pack_rusage(child.group.usage()))
    return child.pid


def sys_waitid(
    kernel: Kernel, task: Task, kind: int, number: int, info: int, options: int, rusage: int
) -> Generator[Any, None, int]:
    """waitid(2) for children that have ended (WEXITED)."""
    if not options & 4 or options & ~(_W_KNOWN | 4 | 0x0100_0000) or kind > 2:
        raise LinuxError(errno.EINVAL)
    pid = {0: -1, 1: number, 2: -number if number else 0}[kind]
    child = yield from do_wait(kernel, task, s32(pid), options)
    if info:
        code = 0 if child is None else child.exit_code
        fields = (0, 0, 0, 0, 0) if child is None else (
            Sig.CHLD, 2 if code & 0x7F else 1, child.pid, child.credentials.uid,
            code & 0x7F or code >> 8,
        )  # fmt: skip
        signo, si_code, si_pid, uid, value = fields
        task.mm.write(info, struct.pack("<iiiiiIi", signo, 0, si_code, 0, si_pid, uid, value).ljust(128, b"\0"))
    if child is not None:
        if rusage:
            task.mm.write(rusage, pack_rusage(child.group.usage()))
        if not options & 0x0100_0000:  # WNOWAIT
            release(kernel, child)
    return 0


def pack_rusage(usage: Usage) -> bytes:
    """struct rusage: user time at one nanosecond an instruction, and the fault and switch counters."""
    seconds, nanoseconds = divmod(usage.instructions, 1_000_000_000)
    return struct.pack(
        "<18q", seconds, nanoseconds // 1000, 0, 0, 0, 0, 0, 0, usage.min_flt, usage.maj_flt, 0, 0, 0, 0, 0, 0,
        usage.voluntary_switches, usage.involuntary_switches,
    )  # fmt: skip


def sys_getrusage(kernel: Kernel, task: Task, who: int, buffer: int) -> int:
    """getrusage(2)."""
    who = s32(who)
    if who not in (-1, 0, _RUSAGE_THREAD):
        raise LinuxError(errno.EINVAL)
    group = task.group
    usage = task.usage if who == _RUSAGE_THREAD else group.children_usage if who == -1 else group.usage()
    task.mm.write(buffer, pack_rusage(usage))
    return 0


def sys_getpid(kernel: Kernel, task: Task) -> int:
    """getpid(2)."""
    return task.tgid


def sys_gettid(kernel: Kernel, task: Task) -> int:
    """gettid(2)."""
    return task.pid


def sys_getppid(kernel: Kernel, task: Task) -> int:
    """getppid(2)."""
    return task.ppid


def sys_getpgrp(kernel: Kernel, task: Task) -> int:
    """getpgrp(2)."""
    return task.pgid


def _process(kernel: Kernel, task: Task, pid: int) -> Task:
    found = task if pid == 0 else kernel.tasks.get(pid)
    if found is None:
        raise LinuxError(errno.ESRCH)
    return found


def sys_getpgid(kernel: Kernel, task: Task, pid: int) -> int:
    """getpgid(2)."""
    return _process(kernel, task, s32(pid)).pgid


def sys_getsid(kernel: Kernel, task: Task, pid: int) -> int:
    """getsid(2)."""
    return _process(kernel, task, s32(pid)).sid


def sys_setpgid(kernel: Kernel, task: Task, pid: int, pgid: int) -> int:
    """setpgid(2)."""
    if s32(pgid) < 0:
        raise LinuxError(errno.EINVAL)
    target = _process(kernel, task, s32(pid))
    if target is not target.group.leader and s32(pid):
        raise LinuxError(errno.EINVAL)
    group = target.group
    if group is not task.group and group.parent is not task.group:
        raise LinuxError(errno.ESRCH)
    group.pgid = s32(pgid) or group.tgid
    return 0


def sys_setsid(kernel: Kernel, task: Task) -> int:
    """setsid(2)."""
    group = task.group
    if group.pgid == group.tgid:
        raise LinuxError(errno.EPERM)
    group.sid = group.pgid = group.tgid
    return group.tgid


def sys_arch_prctl(kernel: Kernel, task: Task, option: int, address: int) -> int:
    """arch_prctl(2): the bases of FS and GS."""
    cpu = kernel.cpu
    if option in (_ARCH_SET_FS, _ARCH_SET_GS) and address >= task.mm.task_size:
        raise LinuxError(errno.EPERM)
    if option == _ARCH_SET_FS:
        cpu.fs_base = address
    elif option == _ARCH_SET_GS:
        cpu.gs_base = address
    elif option == _ARCH_GET_FS:
        task.mm.write_u64(address, cpu.fs_base)
    elif option == _ARCH_GET_GS:
        task.mm.write_u64(address, cpu.gs_base)
    else:
        raise LinuxError(errno.EINVAL)
    return 0


def sys_set_tid_address(kernel: Kernel, task: Task, address: int) -> int:
    """set_tid_address(2)."""
    task.clear_child_tid = address
    return task.pid


def sys_prctl(kernel: Kernel, task: Task, option: int, argument: int) -> int:
    """prctl(2): names; the rest is EINVAL."""
    if option == _PR_SET_NAME:
        task.comm = task.mm.read_cstring(argument, 4096)[:15].decode("utf-8", "surrogateescape")
    elif option == _PR_GET_NAME:
        task.mm.write(argument, task.comm.encode("utf-8", "surrogateescape").ljust(16, b"\0"))
    elif option == _PR_GET_DUMPABLE:
        return 1
    elif option not in (_PR_SET_DUMPABLE, _PR_SET_PDEATHSIG):
        raise LinuxError(errno.EINVAL)
    return 0


#: Bytes of the kernel's own mask: one word, for 64 CPUs.
_MASK_BYTES = 8


def sys_sched_yield(kernel: Kernel, task: Task) -> int:
    """sched_yield(2)."""
    kernel.scheduler.yielded = True
    return 0


def _target(kernel: Kernel, task: Task, pid: int) -> Task:
    if not s32(pid):
        return task
    target = kernel.tasks.get(s32(pid))
    if target is None or not target.alive:
        raise LinuxError(errno.ESRCH)
    return target


def sys_sched_setaffinity(kernel: Kernel, task: Task, pid: int, length: int, mask: int) -> int:
    """sched_setaffinity(2): a task on a vCPU that is not in the mask moves at once."""
    words = task.mm.read(mask, min(length & 0xFFFFFFFF, _MASK_BYTES))
    target = _target(kernel, task, pid)
    if task.credentials.euid not in (0, target.credentials.uid, target.credentials.euid):
        raise LinuxError(errno.EPERM)
    wanted = int.from_bytes(words, "little") & kernel.scheduler.all_cpus
    if not wanted:
        raise LinuxError(errno.EINVAL)
    kernel.scheduler.set_affinity(target, wanted)
    return 0


def sys_sched_getaffinity(kernel: Kernel, task: Task, pid: int, length: int, mask: int) -> int:
    """sched_getaffinity(2); returns how many bytes of the mask it has written."""
    length &= 0xFFFFFFFF
    if length < _MASK_BYTES or length & (_MASK_BYTES - 1):
        raise LinuxError(errno.EINVAL)
    task.mm.write_u64(mask, kernel.scheduler.allowed(_target(kernel, task, pid)))
    return _MASK_BYTES


def sys_getcpu(kernel: Kernel, task: Task, cpu: int, node: int) -> int:
    """getcpu(2): there is one node."""
    for address, value in ((cpu, task.cpu), (node, 0)):
        if address:
            task.mm.write_u32(address, value)
    return 0


TABLE = (
    Syscall(39, "getpid", sys_getpid),
    Syscall(56, "clone", sys_clone, ("hex", "ptr", "ptr", "ptr", "ptr")),
    Syscall(57, "fork", sys_fork),
    Syscall(58, "vfork", sys_vfork),
    Syscall(59, "execve", sys_execve, ("path", "argv", "ptr")),
    Syscall(60, "exit", sys_exit, ("int",)),
    Syscall(61, "wait4", sys_wait4, ("pid", "ptr", "int", "ptr")),
    Syscall(98, "getrusage", sys_getrusage, ("int", "ptr")),
    Syscall(109, "setpgid", sys_setpgid, ("pid", "pid")),
    Syscall(110, "getppid", sys_getppid),
    Syscall(111, "getpgrp", sys_getpgrp),
    Syscall(112, "setsid", sys_setsid),
    Syscall(121, "getpgid", sys_getpgid, ("pid",)),
    Syscall(124, "getsid", sys_getsid, ("pid",)),
    Syscall(157, "prctl", sys_prctl, ("int", "ptr")),
    Syscall(158, "arch_prctl", sys_arch_prctl, ("hex", "ptr")),
    Syscall(186, "gettid", sys_gettid),
    Syscall(218, "set_tid_address", sys_set_tid_address, ("ptr",)),
    Syscall(231, "exit_group", sys_exit_group, ("int",)),
    Syscall(247, "waitid", sys_waitid, ("int", "pid", "ptr", "int", "ptr")),
    Syscall(435, "clone3", sys_clone3, ("ptr", "size")),
    Syscall(24, "sched_yield", sys_sched_yield),
    Syscall(203, "sched_setaffinity", sys_sched_setaffinity, ("pid", "size", "ptr")),
    Syscall(204, "sched_getaffinity", sys_sched_getaffinity, ("pid", "size", "ptr")),
    Syscall(309, "getcpu", sys_getcpu, ("ptr", "ptr")),
)
