"""fork, clone, execve, exit, wait4, and the numbers that a process has."""

from __future__ import annotations

import errno
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from emu.kernel.exec import check_executable, do_execve
from emu.kernel.exit import WNOHANG, do_wait, release
from emu.kernel.fork import CloneFlags, do_clone
from emu.kernel.signal_state import NSIG, Sig
from emu.linux.argument import ADDRESS, INT, PID, SIZE, UINT, Bits, OneOf, Out, Pointer
from emu.linux.errors import LinuxError
from emu.linux.layout import PATH, TEXT, Layout, Opaque
from emu.linux.likeness import Likeness
from emu.linux.syscall import NEVER, NUMBER, PROCESS, Restart, Result, Returned, Syscall
from emu.syscalls.types import ARGV, CLONE, ENVP, RUSAGE, WAIT_STATUS
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task, ThreadGroup, Usage

_PR_SET_PDEATHSIG, _PR_GET_DUMPABLE, _PR_SET_DUMPABLE, _PR_SET_NAME, _PR_GET_NAME = 1, 3, 4, 15, 16
_RUSAGE_THREAD = 1

#: The first size of struct clone_args in bytes, and its present fields.
_FIRST_CLONE_ARGS_SIZE = 64
CLONE_ARGS = Layout("clone_args", "11Q", likeness=Likeness.EXACT, fields={"flags": 0, "exit_signal": 4})
#: siginfo_t as waitid() fills it: si_signo, si_errno, si_code, si_pid, si_uid, si_status.
SIGINFO_OF_CHILD = Layout(
    "siginfo_t", "iiiiiIi100x", likeness=Likeness.EXACT,
    fields={"si_signo": 0, "si_code": 2, "si_uid": 4, "si_status": 5},
)  # fmt: skip


_ARCH_SET_GS, _ARCH_SET_FS, _ARCH_GET_FS, _ARCH_GET_GS = 0x1001, 0x1002, 0x1003, 0x1004
_P_ALL, _P_PID, _P_PGID, _P_PIDFD = range(4)
_INT_MIN = -1 << 31
_WEXITED, _WNOWAIT = 4, 0x0100_0000
#: WNOHANG, WUNTRACED, WCONTINUED, __WNOTHREAD, __WALL, __WCLONE.
_W_KNOWN = 1 | 2 | 8 | 0x2000_0000 | 0x4000_0000 | 0x8000_0000
_WAITID_KNOWN = _W_KNOWN | _WEXITED | _WNOWAIT


def sys_fork(kernel: Kernel, task: Task) -> Result:
    """fork(2)."""
    return do_clone(kernel, task, Sig.CHLD, 0, 0, 0, 0)


def sys_vfork(kernel: Kernel, task: Task) -> Result:
    """vfork(2)."""
    return do_clone(kernel, task, CloneFlags.VFORK | CloneFlags.VM | Sig.CHLD, 0, 0, 0, 0)


def sys_clone(kernel: Kernel, task: Task, flags: int, stack: int, parent_tid: int, child_tid: int, tls: int) -> Result:
    """clone(2) with the argument order of x86-64."""
    if flags & CloneFlags.PIDFD:
        if flags & (CloneFlags.PARENT_SETTID | CloneFlags.DETACHED):
            raise LinuxError(errno.EINVAL)
        return do_clone(kernel, task, flags, stack, 0, child_tid, tls, parent_tid)
    return do_clone(kernel, task, flags, stack, parent_tid, child_tid, tls)


def sys_clone3(kernel: Kernel, task: Task, arguments: int, size: int) -> Result:
    """clone3(2)."""
    if size > PAGE_SIZE:
        raise LinuxError(errno.E2BIG)
    if size < _FIRST_CLONE_ARGS_SIZE:
        raise LinuxError(errno.EINVAL)
    data = task.mm.read(arguments, size)
    if any(data[CLONE_ARGS.size :]):
        raise LinuxError(errno.E2BIG)
    fields = CLONE_ARGS.unpack(data[: CLONE_ARGS.size].ljust(CLONE_ARGS.size, b"\0"))
    flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, _ = fields
    if flags & (CloneFlags.DETACHED | CloneFlags.SIGNAL) or bool(stack) != bool(stack_size):
        raise LinuxError(errno.EINVAL)
    if exit_signal > NSIG or (flags & (CloneFlags.THREAD | CloneFlags.PARENT) and exit_signal):
        raise LinuxError(errno.EINVAL)
    if set_tid or set_tid_size:
        kernel.log_once("clone3 with set_tid: not supported: EINVAL")
        raise LinuxError(errno.EINVAL)
    if stack + stack_size > task.mm.task_size:
        raise LinuxError(errno.EINVAL)
    if flags & CloneFlags.PIDFD and flags & CloneFlags.PARENT_SETTID and pidfd == parent_tid:
        raise LinuxError(errno.EINVAL)
    return do_clone(kernel, task, flags | exit_signal, stack + stack_size, parent_tid, child_tid, tls, pidfd)


def sys_execve(kernel: Kernel, task: Task, path: str, argv: int, envp: int) -> int:
    """execve(2)."""
    check_executable(kernel, task, path)
    do_execve(kernel, task, path, ARGV.read(task.mm, argv), ENVP.read(task.mm, envp))
    kernel.tracer.exec(task, path, task.argv)
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
    if pid == _INT_MIN:  # there is no group of that number
        raise LinuxError(errno.ESRCH)
    child = yield from do_wait(kernel, task, pid, options)
    if child is None:
        return 0
    release(kernel, child)  # before copying out: a bad pointer does not keep the zombie
    if status:
        WAIT_STATUS.write(task.mm, status, child.exit_code)
    if rusage:
        RUSAGE.write(task.mm, rusage, child.group.usage())
    return child.pid


def sys_waitid(
    kernel: Kernel, task: Task, kind: int, number: int, info: int, options: int, rusage: int
) -> Generator[Any, None, int]:
    """waitid(2) for children that have ended (WEXITED)."""
    if not options & _WEXITED or options & ~_WAITID_KNOWN or kind not in (_P_ALL, _P_PID, _P_PGID, _P_PIDFD):
        raise LinuxError(errno.EINVAL)
    nonblocking = False
    if kind == _P_PIDFD:
        number, nonblocking = _pidfd_number(task, number)
    pid = {_P_ALL: -1, _P_PGID: -number}.get(kind, number)
    child = yield from do_wait(kernel, task, pid, options | (WNOHANG if nonblocking else 0))
    if child is None and nonblocking:
        raise LinuxError(errno.EAGAIN)
    if info:
        code = 0 if child is None else child.exit_code
        fields = (0, 0, 0, 0, 0) if child is None else (
            Sig.CHLD, 2 if code & 0x7F else 1, child.pid, child.credentials.uid,
            code & 0x7F or code >> 8,
        )  # fmt: skip
        signo, si_code, si_pid, uid, value = fields
        SIGINFO_OF_CHILD.write(task.mm, info, (signo, 0, si_code, 0, si_pid, uid, value))
    if child is not None:
        if rusage:
            RUSAGE.write(task.mm, rusage, child.group.usage())
        if not options & _WNOWAIT:
            release(kernel, child)
    return 0


def _pidfd_number(task: Task, fd: int) -> tuple[int, bool]:
    """The process behind a descriptor, and whether that is O_NONBLOCK.  LinuxError(EINVAL), (EBADF), (ECHILD) if it has
    been waited for.
    """
    from emu.kernel.pidfd import PidFd

    if fd < 0:
        raise LinuxError(errno.EINVAL)
    file = task.files.get(fd)
    if not isinstance(file, PidFd):
        raise LinuxError(errno.EBADF)
    if file.target is None:
        raise LinuxError(errno.ECHILD)
    return file.target.pid, file.nonblocking


def sys_getrusage(kernel: Kernel, task: Task, who: int) -> Usage:
    """getrusage(2)."""
    if who not in (-1, 0, _RUSAGE_THREAD):
        raise LinuxError(errno.EINVAL)
    group = task.group
    return task.usage if who == _RUSAGE_THREAD else group.children_usage if who == -1 else group.usage()


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
    return _process(kernel, task, pid).pgid


def sys_getsid(kernel: Kernel, task: Task, pid: int) -> int:
    """getsid(2)."""
    return _process(kernel, task, pid).sid


def sys_setpgid(kernel: Kernel, task: Task, pid: int, pgid: int) -> int:
    """setpgid(2)."""
    if pgid < 0:
        raise LinuxError(errno.EINVAL)
    target = _process(kernel, task, pid)
    if target is not target.group.leader and pid:
        raise LinuxError(errno.EINVAL)
    group = target.group
    if group.parent is task.group:
        if group.sid != task.sid:
            raise LinuxError(errno.EPERM)
        if group.has_execed:
            raise LinuxError(errno.EACCES)
    elif group is not task.group:
        raise LinuxError(errno.ESRCH)
    if group.leads_session or not _group_to_join(kernel, task, group, pgid):
        raise LinuxError(errno.EPERM)
    group.pgid = pgid or group.tgid
    return 0


def _group_to_join(kernel: Kernel, task: Task, group: ThreadGroup, pgid: int) -> bool:
    """Whether a process may have this group: its own, or one of the caller's session."""
    if pgid in (0, group.tgid):
        return True
    return any(other.pgid == pgid and other.sid == task.sid for other in kernel.tasks.values())


def sys_setsid(kernel: Kernel, task: Task) -> int:
    """setsid(2)."""
    group = task.group
    if group.pgid == group.tgid:
        raise LinuxError(errno.EPERM)
    group.sid = group.pgid = group.tgid
    group.leads_session = True
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
        ADDRESS.write(task.mm, address, cpu.fs_base)
    elif option == _ARCH_GET_GS:
        ADDRESS.write(task.mm, address, cpu.gs_base)
    else:
        raise LinuxError(errno.EINVAL)
    return 0


def sys_set_tid_address(kernel: Kernel, task: Task, address: int) -> int:
    """set_tid_address(2)."""
    task.clear_child_tid = address
    return task.pid


def sys_prctl(kernel: Kernel, task: Task, option: int, argument: int) -> int:
    """prctl(2): only names; EINVAL for the other options."""
    if option == _PR_SET_NAME:
        task.comm = TEXT.read(task.mm, argument)[:15].decode("utf-8", "surrogateescape")
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
    if not pid:
        return task
    target = kernel.tasks.get(pid)
    if target is None or not target.alive:
        raise LinuxError(errno.ESRCH)
    return target


def sys_sched_setaffinity(kernel: Kernel, task: Task, pid: int, length: int, mask: int) -> int:
    """sched_setaffinity(2): a task on a vCPU that is not in the mask moves at once."""
    mask_bytes = task.mm.read(mask, min(length, _MASK_BYTES))
    target = _target(kernel, task, pid)
    if task.credentials.euid not in (0, target.credentials.uid, target.credentials.euid):
        raise LinuxError(errno.EPERM)
    wanted = int.from_bytes(mask_bytes, "little") & kernel.scheduler.all_cpus
    if not wanted:
        raise LinuxError(errno.EINVAL)
    kernel.scheduler.set_affinity(target, wanted)
    return 0


def sys_sched_getaffinity(kernel: Kernel, task: Task, pid: int, length: int, mask: int) -> int:
    """sched_getaffinity(2); returns how many bytes of the mask it has written."""
    if length < _MASK_BYTES or length & (_MASK_BYTES - 1):
        raise LinuxError(errno.EINVAL)
    ADDRESS.write(task.mm, mask, kernel.scheduler.allowed(_target(kernel, task, pid)))
    return _MASK_BYTES


def sys_getcpu(kernel: Kernel, task: Task) -> tuple[int, int]:
    """getcpu(2): there is one node."""
    return task.cpu, 0


#: How long a mask is depends on how many CPUs a kernel is made for.
_OF_MASK = Returned("bytes", likeness=Likeness.FREE)
_STATUS, _RUSAGE = Pointer(WAIT_STATUS, written=True, null=True), Pointer(RUSAGE, written=True, null=True)
_ID_TYPE = OneOf("P_", ALL=_P_ALL, PID=_P_PID, PGID=_P_PGID, PIDFD=_P_PIDFD)
_WAIT_OPTIONS = Bits("W", NOHANG=1, STOPPED=2, EXITED=_WEXITED, CONTINUED=8, NOWAIT=_WNOWAIT)
_ARCH_CODE = OneOf("ARCH_", SET_GS=_ARCH_SET_GS, SET_FS=_ARCH_SET_FS, GET_FS=_ARCH_GET_FS, GET_GS=_ARCH_GET_GS)
_SIGINFO, _CPUS = Pointer(SIGINFO_OF_CHILD, written=True, null=True), Opaque("cpu_set_t")

TABLE = (
    Syscall(39, "getpid", sys_getpid, (), PROCESS),
    Syscall(56, "clone", sys_clone, CLONE, PROCESS, Restart.UNINTERRUPTIBLE),
    Syscall(57, "fork", sys_fork, (), PROCESS),
    Syscall(58, "vfork", sys_vfork, (), PROCESS, Restart.UNINTERRUPTIBLE),
    Syscall(59, "execve", sys_execve, (PATH, Pointer(ARGV, null=True), Pointer(ENVP, null=True))),
    Syscall(60, "exit", sys_exit, (INT,), NEVER),
    Syscall(61, "wait4", sys_wait4, (PID, _STATUS, _WAIT_OPTIONS, _RUSAGE), PROCESS, Restart.SYS),
    Syscall(98, "getrusage", sys_getrusage, (INT, Out(RUSAGE))),
    Syscall(109, "setpgid", sys_setpgid, (PID, PID)),
    Syscall(110, "getppid", sys_getppid, (), PROCESS),
    Syscall(111, "getpgrp", sys_getpgrp, (), PROCESS),
    Syscall(112, "setsid", sys_setsid, (), PROCESS),
    Syscall(121, "getpgid", sys_getpgid, (PID,), PROCESS),
    Syscall(124, "getsid", sys_getsid, (PID,), PROCESS),
    Syscall(157, "prctl", sys_prctl, (INT, ADDRESS), NUMBER),
    Syscall(158, "arch_prctl", sys_arch_prctl, (_ARCH_CODE, ADDRESS)),
    Syscall(186, "gettid", sys_gettid, (), PROCESS),
    Syscall(218, "set_tid_address", sys_set_tid_address, (Pointer(INT),), PROCESS),
    Syscall(231, "exit_group", sys_exit_group, (INT,), NEVER),
    Syscall(247, "waitid", sys_waitid, (_ID_TYPE, PID, _SIGINFO, _WAIT_OPTIONS, _RUSAGE), restart=Restart.SYS),
    Syscall(435, "clone3", sys_clone3, (Pointer(CLONE_ARGS), SIZE), PROCESS, Restart.UNINTERRUPTIBLE),
    Syscall(24, "sched_yield", sys_sched_yield),
    Syscall(203, "sched_setaffinity", sys_sched_setaffinity, (PID, UINT, Pointer(_CPUS))),
    Syscall(204, "sched_getaffinity", sys_sched_getaffinity, (PID, UINT, Pointer(_CPUS, written=True)), _OF_MASK),
    Syscall(309, "getcpu", sys_getcpu, (Out(UINT, null=True), Out(UINT, null=True))),
)
