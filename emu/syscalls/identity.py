"""User and group ids of a process, real, effective, saved and for files (kernel/sys.c)."""

from __future__ import annotations

import copy
import errno
import struct
from typing import TYPE_CHECKING

from emu.kernel.creds import changed, fix_file_user_change, fix_user_change
from emu.linux.argument import GID, ID, INT, UID, UINT, Out, Pointer
from emu.linux.capability import SETGID, SETUID
from emu.linux.errors import LinuxError
from emu.linux.namespace import NO_ID
from emu.linux.syscall import IDENTITY, NUMBER, Syscall

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.caller import Credentials

_SAME = NO_ID
_NGROUPS_MAX = 65536
#: What a supplementary group takes on the host.
_GROUP_SIZE = 40
_USER, _GROUP = ("uid", "euid", "suid"), ("gid", "egid", "sgid")


def sys_getuid(kernel: Kernel, task: Task) -> int:
    """getuid(2)."""
    return task.credentials.shown("uid", task.credentials.uid)


def sys_geteuid(kernel: Kernel, task: Task) -> int:
    """geteuid(2)."""
    return task.credentials.shown("uid", task.credentials.euid)


def sys_getgid(kernel: Kernel, task: Task) -> int:
    """getgid(2)."""
    return task.credentials.shown("gid", task.credentials.gid)


def sys_getegid(kernel: Kernel, task: Task) -> int:
    """getegid(2)."""
    return task.credentials.shown("gid", task.credentials.egid)


def _ids(task: Task, names: tuple[str, str, str]) -> list[int]:
    return [getattr(task.credentials, name) for name in names]


def _shown(task: Task, names: tuple[str, str, str]) -> list[int]:
    """The same as the caller's user namespace numbers them."""
    return [task.credentials.shown(names[0], value) for value in _ids(task, names)]


def _change(task: Task, names: tuple[str, str, str], ids: list[int]) -> int:
    """New ids; the one for files is the effective one again, and capabilities follow from a change of users."""
    old, new = task.credentials, copy.copy(task.credentials)
    for name, value in zip(names, ids, strict=True):
        setattr(new, name, value)
    if names is _USER:
        new.fsuid = new.euid
        fix_user_change(new, old)
    else:
        new.fsgid = new.egid
    task.credentials = new
    changed(task, old)
    return 0


def _may_change(task: Task, names: tuple[str, str, str]) -> bool:
    return task.credentials.capable_here(SETUID if names is _USER else SETGID)


def _set_one(task: Task, names: tuple[str, str, str], wanted: int) -> int:
    """setuid(2), setgid(2): all three for who may, the effective one for others."""
    real, _, saved = _ids(task, names)
    if wanted == _SAME:
        raise LinuxError(errno.EINVAL)
    if _may_change(task, names):
        return _change(task, names, [wanted] * 3)
    if wanted not in (real, saved):
        raise LinuxError(errno.EPERM)
    return _change(task, names, [real, wanted, saved])


def _set_pair(task: Task, names: tuple[str, str, str], real: int, effective: int) -> int:
    """setreuid(2), setregid(2)."""
    before = _ids(task, names)
    may = _may_change(task, names)
    if (real != _SAME and not may and real not in before[:2]) or (
        effective != _SAME and not may and effective not in before
    ):
        raise LinuxError(errno.EPERM)
    ids = [before[0] if real == _SAME else real, before[1] if effective == _SAME else effective, before[2]]
    if real != _SAME or (effective != _SAME and effective != before[0]):
        ids[2] = ids[1]
    return _change(task, names, ids)


def _set_all(task: Task, names: tuple[str, str, str], *wanted: int) -> int:
    """setresuid(2), setresgid(2)."""
    before = _ids(task, names)
    ids = [old if new == _SAME else new for old, new in zip(before, wanted, strict=True)]
    if not _may_change(task, names) and any(value not in before for value in ids):
        raise LinuxError(errno.EPERM)
    return _change(task, names, ids)


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


def sys_getresuid(kernel: Kernel, task: Task) -> list[int]:
    """getresuid(2)."""
    return _shown(task, _USER)


def sys_getresgid(kernel: Kernel, task: Task) -> list[int]:
    """getresgid(2)."""
    return _shown(task, _GROUP)


def sys_getgroups(kernel: Kernel, task: Task, size: int, buffer: int) -> int:
    """getgroups(2)."""
    groups = task.credentials.groups
    if size < 0 or (size and size < len(groups)):
        raise LinuxError(errno.EINVAL)
    if size:
        task.mm.write(buffer, struct.pack(f"<{len(groups)}I", *_seen_groups(task.credentials)))
    return len(groups)


def _seen_groups(who: Credentials) -> list[int]:
    return [who.shown("gid", group) for group in who.groups]


def _may_set_groups(who: Credentials) -> bool:
    """may_setgroups(): in a user namespace only where it has groups, and nobody has forbidden it."""
    ns = who.user_ns
    return who.capable_here(SETGID) and (ns is None or (bool(ns.maps["gid"].extents) and ns.setgroups_allowed))


def sys_setgroups(kernel: Kernel, task: Task, size: int, buffer: int) -> int:
    """setgroups(2)."""
    if not _may_set_groups(task.credentials):
        raise LinuxError(errno.EPERM)
    if size > _NGROUPS_MAX:
        raise LinuxError(errno.EINVAL)
    given = struct.unpack(f"<{size}I", task.mm.read(buffer, 4 * size)) if size else ()
    if NO_ID in given:
        raise LinuxError(errno.EINVAL)
    groups = tuple(sorted(task.credentials.down("gid", group) for group in given))
    task.charge(_GROUP_SIZE * (len(groups) - len(task.credentials.groups)))
    task.credentials = _with_groups(task.credentials, groups)
    return 0


def _with_groups(old: Credentials, groups: tuple[int, ...]) -> Credentials:
    new = copy.copy(old)
    new.groups = groups
    return new


def _for_files(who: Credentials, kind: str, number: int) -> int:
    """The machine's id; -1 for one that there is not, with which nothing changes."""
    try:
        return who.down(kind, number)
    except LinuxError:
        return _SAME


def sys_setfsuid(kernel: Kernel, task: Task, uid: int) -> int:
    """setfsuid(2): the id from before; it is not an error that it cannot be changed."""
    old = task.credentials
    uid = _for_files(old, "uid", uid)
    if (
        uid != _SAME
        and (uid in (old.uid, old.euid, old.suid, old.fsuid) or old.capable_here(SETUID))
        and uid != old.fsuid
    ):
        new = copy.copy(old)
        new.fsuid = uid
        fix_file_user_change(new, old.fsuid)
        task.credentials = new
        changed(task, old)
    return old.shown("uid", old.fsuid)


def sys_setfsgid(kernel: Kernel, task: Task, gid: int) -> int:
    """setfsgid(2): likewise."""
    old = task.credentials
    gid = _for_files(old, "gid", gid)
    if (
        gid != _SAME
        and (gid in (old.gid, old.egid, old.sgid, old.fsgid) or old.capable_here(SETGID))
        and gid != old.fsgid
    ):
        new = copy.copy(old)
        new.fsgid = gid
        task.credentials = new
        changed(task, old)
    return old.shown("gid", old.fsgid)


_THREE_IDS = (Out(ID), Out(ID), Out(ID))

TABLE = (
    Syscall(102, "getuid", sys_getuid, (), IDENTITY),
    Syscall(104, "getgid", sys_getgid, (), IDENTITY),
    Syscall(105, "setuid", sys_setuid, (UID,)),
    Syscall(106, "setgid", sys_setgid, (GID,)),
    Syscall(107, "geteuid", sys_geteuid, (), IDENTITY),
    Syscall(108, "getegid", sys_getegid, (), IDENTITY),
    Syscall(113, "setreuid", sys_setreuid, (UID, UID)),
    Syscall(114, "setregid", sys_setregid, (GID, GID)),
    Syscall(115, "getgroups", sys_getgroups, (INT, Pointer(ID, written=True)), NUMBER),
    Syscall(116, "setgroups", sys_setgroups, (UINT, Pointer(ID))),
    Syscall(117, "setresuid", sys_setresuid, (UID, UID, UID)),
    Syscall(118, "getresuid", sys_getresuid, _THREE_IDS),
    Syscall(119, "setresgid", sys_setresgid, (GID, GID, GID)),
    Syscall(120, "getresgid", sys_getresgid, _THREE_IDS),
    Syscall(122, "setfsuid", sys_setfsuid, (ID,), IDENTITY),
    Syscall(123, "setfsgid", sys_setfsgid, (ID,), IDENTITY),
)
