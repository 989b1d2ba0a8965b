"""pidfd_open, pidfd_send_signal, pidfd_getfd."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.kernel.creds import may_signal
from emu.kernel.pidfd import PIDFD_THREAD, PidFd, new_pidfd
from emu.kernel.signal_state import NSIG, SiCode, SigInfo
from emu.linux.argument import FD, PID, UINT, Bits, Pointer
from emu.linux.caller import may_access
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags
from emu.linux.syscall import DESCRIPTOR, Syscall
from emu.syscalls.queued import SIGINFO, forged, given_siginfo
from emu.syscalls.types import SIGNAL

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_NONBLOCK = int(OpenFlags.NONBLOCK)
#: Descriptors that stand for the caller.
PIDFD_SELF_THREAD, PIDFD_SELF_THREAD_GROUP = -10000, -10001
_TO_THREAD, _TO_PROCESS, _TO_GROUP = 1, 2, 4


def sys_pidfd_open(kernel: Kernel, task: Task, pid: int, flags: int) -> int:
    """pidfd_open(2)."""
    if flags & ~(_NONBLOCK | PIDFD_THREAD) or pid <= 0:
        raise LinuxError(errno.EINVAL)
    target = kernel.find_task(pid)
    if target is None:
        raise LinuxError(errno.ESRCH)
    if not flags & PIDFD_THREAD and target is not target.group.leader:
        raise LinuxError(errno.ENOENT)
    task.files.check_room()
    file = new_pidfd(kernel, flags)
    file.inode.bind(target)
    return task.files.open(file, cloexec=True)


def sys_pidfd_send_signal(kernel: Kernel, task: Task, fd: int, signo: int, address: int, flags: int) -> int:
    """pidfd_send_signal(2); the descriptor may be one of a directory /proc/PID."""
    if flags not in (0, _TO_THREAD, _TO_PROCESS, _TO_GROUP):
        raise LinuxError(errno.EINVAL)
    target, thread = pidfd_target(kernel, task, fd)
    if address:
        info = given_siginfo(task, address)
        if info.signo != signo:
            raise LinuxError(errno.EINVAL)
        if forged(info) and (target is None or target.pid != task.pid):
            raise LinuxError(errno.EPERM)
    else:
        to_thread = flags == _TO_THREAD or (thread and not flags)
        code = SiCode.TKILL if to_thread else SiCode.USER
        info = SigInfo(signo, code, pid=task.tgid, uid=task.credentials.uid)
    if target is None:
        raise LinuxError(errno.ESRCH)
    if not 0 <= signo <= NSIG:
        raise LinuxError(errno.EINVAL)
    members = [target]
    if flags == _TO_GROUP:
        leaders = [other for other in kernel.with_init() if other is other.group.leader]
        members = [other for other in leaders if other.pgid == target.pid]
        if not members:
            raise LinuxError(errno.ESRCH)
    allowed = [member for member in members if may_signal(task, member, signo)]
    if not allowed:
        raise LinuxError(errno.EPERM)
    for member in allowed if signo else ():
        if flags == _TO_THREAD or (thread and not flags):
            kernel.signals.send(member, signo, info)
        else:
            kernel.signals.send_to_process(member, signo, info)
    return 0


def pidfd_target(kernel: Kernel, task: Task, fd: int) -> tuple[Task | None, bool]:
    """The task behind a descriptor, None if it has been waited for, and whether it is meant as a thread."""
    if fd in (PIDFD_SELF_THREAD, PIDFD_SELF_THREAD_GROUP):
        return (task, True) if fd == PIDFD_SELF_THREAD else (task.group.leader, False)
    file = task.files.get(fd)
    if isinstance(file, PidFd):
        return file.target, file.thread
    pid = getattr(file.inode, "process", None)
    if pid is None:
        raise LinuxError(errno.EBADF)
    return kernel.find_task(pid), False


def sys_pidfd_getfd(kernel: Kernel, task: Task, pidfd: int, fd: int, flags: int) -> int:
    """pidfd_getfd(2)."""
    if flags:
        raise LinuxError(errno.EINVAL)
    file = task.files.get(pidfd)
    if not isinstance(file, PidFd):
        raise LinuxError(errno.EBADF)
    target = file.target
    if target is None or not target.alive:
        raise LinuxError(errno.ESRCH)
    if not may_access(task, target):
        raise LinuxError(errno.EPERM)
    return task.files.open(target.files.get_any(fd).get(), cloexec=True)


_OPEN_FLAGS = Bits("PIDFD_", NONBLOCK=_NONBLOCK, THREAD=PIDFD_THREAD)
_SEND_FLAGS = Bits("PIDFD_SIGNAL_", THREAD=_TO_THREAD, THREAD_GROUP=_TO_PROCESS, PROCESS_GROUP=_TO_GROUP)
_INFO = Pointer(SIGINFO, null=True)

TABLE = (
    Syscall(424, "pidfd_send_signal", sys_pidfd_send_signal, (FD, SIGNAL, _INFO, _SEND_FLAGS)),
    Syscall(434, "pidfd_open", sys_pidfd_open, (PID, _OPEN_FLAGS), DESCRIPTOR),
    Syscall(438, "pidfd_getfd", sys_pidfd_getfd, (FD, FD, UINT), DESCRIPTOR),
)
