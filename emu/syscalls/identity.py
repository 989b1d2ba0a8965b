"""Who a process is: user and group ids, real, effective and saved (kernel/sys.c).  User 0 may become anybody."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError
from emu.linux.syscall import Syscall, s32

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_SAME = 0xFFFF_FFFF
_NGROUPS_MAX = 65536
_USER, _GROUP = ("uid", "euid", "suid"), ("gid", "egid", "sgid")


def sys_getuid(kernel: Kernel, task: Task) -> int:
    """getuid(2)."""
    return task.credentials.uid


def sys_geteuid(kernel: Kernel, task: Task) -> int:
    """geteuid(2)."""
    return task.credentials.euid


def sys_getgid(kernel: Kernel, task: Task) -> int:
    """getgid(2)."""
    return task.credentials.gid


def sys_getegid(kernel: Kernel, task: Task) -> int:
    """getegid(2)."""
    return task.credentials.egid


def _ids(task: Task, names: tuple[str, str, str]) -> list[int]:
    return [getattr(task.credentials, name) for name in names]


def _set(task: Task, names: tuple[str, str, str], ids: list[int]) -> int:
    for name, value in zip(names, ids, strict=True):
        setattr(task.credentials, name, value)
    return 0


def _set_one(task: Task, names: tuple[str, str, str], wanted: int) -> int:
    """setuid(2), setgid(2): all three for root, the effective one for others."""
    wanted &= _SAME
    real, _, saved = _ids(task, names)
    if wanted == _SAME:
        raise LinuxError(errno.EINVAL)
    if task.credentials.euid == 0:
        return _set(task, names, [wanted] * 3)
    if wanted not in (real, saved):
        raise LinuxError(errno.EPERM)
    return _set(task, names, [real, wanted, saved])


def _set_pair(task: Task, names: tuple[str, str, str], real: int, effective: int) -> int:
    """setreuid(2), setregid(2)."""
    real, effective = real & _SAME, effective & _SAME
    before = _ids(task, names)
    root = task.credentials.euid == 0
    if (real != _SAME and not root and real not in before[:2]) or (
        effective != _SAME and not root and effective not in before
    ):
        raise LinuxError(errno.EPERM)
    ids = [before[0] if real == _SAME else real, before[1] if effective == _SAME else effective, before[2]]
    if real != _SAME or (effective != _SAME and effective != before[0]):
        ids[2] = ids[1]
    return _set(task, names, ids)


def _set_all(task: Task, names: tuple[str, str, str], *wanted: int) -> int:
    """setresuid(2), setresgid(2)."""
    before = _ids(task, names)
    ids = [old if new & _SAME == _SAME else new & _SAME for old, new in zip(before, wanted, strict=True)]
    if task.credentials.euid != 0 and any(value not in before for value in ids):
        raise LinuxError(errno.EPERM)
    return _set(task, names, ids)


def sys_setuid(kernel: Kernel, task: Task, uid: int) -> int:
    """setuid(2)."""
    return _set_one(task, _USER, uid)


def sys_setgid(kernel: Kernel, task: Task, gid: int) -> int:
    """setgid(2)."""
    return _set_one(task, _GROUP, gid)


def sys_setreuid(kernel: Kernel, task: Task, real: int, effective: int) -> int:
    """setreuid(2)."""
    return _set_pair(task, _USER, real, effective)


def sys_setregid(kernel: Kernel, task: Task, real: int, effective: int) -> int:
    """setregid(2)."""
    return _set_pair(task, _GROUP, real, effective)


def sys_setresuid(kernel: Kernel, task: Task, real: int, effective: int, saved: int) -> int:
    """setresuid(2)."""
    return _set_all(task, _USER, real, effective, saved)


def sys_setresgid(kernel: Kernel, task: Task, real: int, effective: int, saved: int) -> int:
    """setresgid(2)."""
    return _set_all(task, _GROUP, real, effective, saved)


def _get_all(task: Task, names: tuple[str, str, str], addresses: tuple[int, int, int]) -> int:
    for address, value in zip(addresses, _ids(task, names), strict=True):
        task.mm.write_u32(address, value)
    return 0


def sys_getresuid(kernel: Kernel, task: Task, real: int, effective: int, saved: int) -> int:
    """getresuid(2)."""
    return _get_all(task, _USER, (real, effective, saved))


def sys_getresgid(kernel: Kernel, task: Task, real: int, effective: int, saved: int) -> int:
    """getresgid(2)."""
    return _get_all(task, _GROUP, (real, effective, saved))


def sys_getgroups(kernel: Kernel, task: Task, size: int, buffer: int) -> int:
    """getgroups(2)."""
    groups = task.credentials.groups
    if s32(size) < 0 or (size and s32(size) < len(groups)):
        raise LinuxError(errno.EINVAL)
    if s32(size):
        task.mm.write(buffer, struct.pack(f"<{len(groups)}I", *groups))
    return len(groups)


def sys_setgroups(kernel: Kernel, task: Task, size: int, buffer: int) -> int:
    """setgroups(2): root only."""
    size &= 0xFFFF_FFFF
    if task.credentials.euid != 0:
        raise LinuxError(errno.EPERM)
    if size > _NGROUPS_MAX:
        raise LinuxError(errno.EINVAL)
    task.credentials.groups = struct.unpack(f"<{size}I", task.mm.read(buffer, 4 * size)) if size else ()
    return 0


TABLE = (
    Syscall(102, "getuid", sys_getuid),
    Syscall(104, "getgid", sys_getgid),
    Syscall(105, "setuid", sys_setuid, ("int",)),
    Syscall(106, "setgid", sys_setgid, ("int",)),
    Syscall(107, "geteuid", sys_geteuid),
    Syscall(108, "getegid", sys_getegid),
    Syscall(113, "setreuid", sys_setreuid, ("int", "int")),
    Syscall(114, "setregid", sys_setregid, ("int", "int")),
    Syscall(115, "getgroups", sys_getgroups, ("int", "ptr")),
    Syscall(116, "setgroups", sys_setgroups, ("int", "ptr")),
    Syscall(117, "setresuid", sys_setresuid, ("int", "int", "int")),
    Syscall(118, "getresuid", sys_getresuid, ("ptr", "ptr", "ptr")),
    Syscall(119, "setresgid", sys_setresgid, ("int", "int", "int")),
    Syscall(120, "getresgid", sys_getresgid, ("ptr", "ptr", "ptr")),
)
