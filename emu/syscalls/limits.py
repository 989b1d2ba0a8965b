"""getrlimit, setrlimit, prlimit64."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.kernel.rlimit import limits_of
from emu.linux.argument import PID, UINT, In, Out, Pointer
from emu.linux.capability import SYS_RESOURCE
from emu.linux.errors import LinuxError
from emu.linux.layout import Layout
from emu.linux.likeness import Likeness
from emu.linux.limits import Rlimit
from emu.linux.syscall import Syscall

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task


#: Soft limit, hard limit.
RLIMIT = Layout("rlimit64", "QQ", likeness=Likeness.EXACT)


def sys_prlimit64(kernel: Kernel, task: Task, pid: int, resource: int, new: int) -> tuple[int, int]:
    """prlimit64(2); CPU, FSIZE, DATA, STACK, NPROC, NOFILE, MEMLOCK and AS have an effect."""
    wanted = RLIMIT.read(task.mm, new) if new else None
    target = task if pid == 0 else kernel.find_task(pid)
    if target is None:
        raise LinuxError(errno.ESRCH)
    who, whose = task.credentials, target.credentials
    same = (who.uid, who.gid) == (whose.uid, whose.gid)
    if target is not task and not same and not who.capable_in(SYS_RESOURCE, whose.user_ns):
        raise LinuxError(errno.EPERM)
    if resource >= len(Rlimit):
        raise LinuxError(errno.EINVAL)
    current = limits_of(target, Rlimit(resource))
    if wanted is not None:
        _set(kernel, task, target, Rlimit(resource), *wanted)
    return current


def _set(kernel: Kernel, task: Task, target: Task, resource: Rlimit, soft: int, hard: int) -> None:
    if soft > hard:
        raise LinuxError(errno.EINVAL)
    if resource == Rlimit.NOFILE and hard > kernel.vfs.resources.nr_open:
        raise LinuxError(errno.EPERM)
    if hard > limits_of(target, resource)[1] and not task.credentials.capable(SYS_RESOURCE):
        raise LinuxError(errno.EPERM)
    if resource == Rlimit.NOFILE:
        target.files.limit = soft
    target.limits[resource] = (soft, hard)
    if resource == Rlimit.CPU:
        from emu.kernel.timing import limit_cpu_time  # with the timers, and few programs ask

        limit_cpu_time(kernel, target.group)


def sys_getrlimit(kernel: Kernel, task: Task, resource: int) -> tuple[int, int]:
    """getrlimit(2)."""
    if resource >= len(Rlimit):
        raise LinuxError(errno.EINVAL)
    return limits_of(task, Rlimit(resource))


def sys_setrlimit(kernel: Kernel, task: Task, resource: int, wanted: tuple[int, int]) -> int:
    """setrlimit(2)."""
    if resource >= len(Rlimit):
        raise LinuxError(errno.EINVAL)
    _set(kernel, task, task, Rlimit(resource), *wanted)
    return 0


TABLE = (
    Syscall(97, "getrlimit", sys_getrlimit, (UINT, Out(RLIMIT))),
    Syscall(160, "setrlimit", sys_setrlimit, (UINT, In(RLIMIT))),
    Syscall(302, "prlimit64", sys_prlimit64, (PID, UINT, Pointer(RLIMIT, null=True), Out(RLIMIT, null=True))),
)
