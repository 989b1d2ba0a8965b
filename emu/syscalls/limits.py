"""getrlimit, setrlimit, prlimit64."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from emu.kernel.task import limits_of
from emu.linux.errors import LinuxError
from emu.linux.limits import NR_OPEN, Rlimit
from emu.linux.syscall import Syscall, s32

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task


def sys_prlimit64(kernel: Kernel, task: Task, pid: int, resource: int, new: int, old: int) -> int:
    """prlimit64(2); FSIZE, DATA, STACK, NPROC, NOFILE, MEMLOCK and AS have an effect."""
    resource &= 0xFFFF_FFFF
    if resource >= len(Rlimit):
        raise LinuxError(errno.EINVAL)
    wanted = struct.unpack("<QQ", task.mm.read(new, 16)) if new else None
    target = task if s32(pid) == 0 else kernel.tasks.get(s32(pid))
    if target is None:
        raise LinuxError(errno.ESRCH)
    who, whose = task.credentials, target.credentials
    if target is not task and who.euid != 0 and (who.uid, who.gid) != (whose.uid, whose.gid):
        raise LinuxError(errno.EPERM)
    current = limits_of(target, Rlimit(resource))
    if wanted is not None:
        _set(task, target, Rlimit(resource), *wanted)
    if old:
        task.mm.write(old, struct.pack("<QQ", *current))
    return 0


def _set(task: Task, target: Task, resource: Rlimit, soft: int, hard: int) -> None:
    if soft > hard:
        raise LinuxError(errno.EINVAL)
    if resource == Rlimit.NOFILE and hard > NR_OPEN:
        raise LinuxError(errno.EPERM)
    if hard > limits_of(target, resource)[1] and task.credentials.euid != 0:
        raise LinuxError(errno.EPERM)
    if resource == Rlimit.NOFILE:
        target.files.limit = soft
    target.limits[resource] = (soft, hard)


def sys_getrlimit(kernel: Kernel, task: Task, resource: int, buffer: int) -> int:
    """getrlimit(2)."""
    if resource & 0xFFFF_FFFF >= len(Rlimit):
        raise LinuxError(errno.EINVAL)
    task.mm.write(buffer, struct.pack("<QQ", *limits_of(task, Rlimit(resource & 0xFFFF_FFFF))))
    return 0


def sys_setrlimit(kernel: Kernel, task: Task, resource: int, buffer: int) -> int:
    """setrlimit(2)."""
    wanted = struct.unpack("<QQ", task.mm.read(buffer, 16))
    if resource & 0xFFFF_FFFF >= len(Rlimit):
        raise LinuxError(errno.EINVAL)
    _set(task, task, Rlimit(resource & 0xFFFF_FFFF), *wanted)
    return 0


TABLE = (
    Syscall(97, "getrlimit", sys_getrlimit, ("int", "ptr")),
    Syscall(160, "setrlimit", sys_setrlimit, ("int", "ptr")),
    Syscall(302, "prlimit64", sys_prlimit64, ("pid", "int", "ptr", "ptr")),
)
