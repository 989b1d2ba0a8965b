"""The numbers that a process has: its own, its parent's, its group's, its session's (kernel/sys.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.linux.argument import PID
from emu.linux.errors import LinuxError
from emu.linux.syscall import PROCESS, Syscall

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.kernel.threadgroup import ThreadGroup


def sys_getppid(kernel: Kernel, task: Task) -> int:
    """getppid(2)."""
    return task.ppid


def sys_getpgrp(kernel: Kernel, task: Task) -> int:
    """getpgrp(2)."""
    return task.pgid


def _process(kernel: Kernel, task: Task, pid: int) -> Task:
    found = task if pid == 0 else kernel.find_task(pid)
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
    if (pgid or pid) < 0:
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
    """setsid(2): a new session has no controlling terminal.  LinuxError(EPERM) if there is a group of that number."""
    group = task.group
    if group.leads_session or any(other.pgid == group.tgid for other in kernel.tasks.values()):
        raise LinuxError(errno.EPERM)
    group.sid = group.pgid = group.tgid
    group.leads_session, group.tty = True, None
    return group.tgid


TABLE = (
    Syscall(109, "setpgid", sys_setpgid, (PID, PID)),
    Syscall(110, "getppid", sys_getppid, (), PROCESS),
    Syscall(111, "getpgrp", sys_getpgrp, (), PROCESS),
    Syscall(112, "setsid", sys_setsid, (), PROCESS),
    Syscall(121, "getpgid", sys_getpgid, (PID,), PROCESS),
    Syscall(124, "getsid", sys_getsid, (PID,), PROCESS),
)
