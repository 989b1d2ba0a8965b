"""/proc/PID/uid_map and its like: the ids of a user namespace (kernel/user_namespace.c, user_namespaces(7))."""

from __future__ import annotations

import errno
from functools import partial
from typing import TYPE_CHECKING

from emu.linux.caller import Credentials
from emu.linux.capability import SETFCAP, SETGID, SETUID, SYS_ADMIN
from emu.linux.errors import LinuxError
from emu.linux.namespace import NO_ID, Extent, IdMap, UserNamespace, parse_map
from emu.proc.pidfile import PidFile

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

#: The capability that a map needs; a project needs none.
_NEEDS = {"uid": SETUID, "gid": SETGID}
_LONGEST_WORD = 8


def _caller(kernel: Kernel) -> Credentials:
    """Who asks, and who has opened the file."""
    return Credentials() if kernel.current is None else kernel.current.credentials


def show_map(kernel: Kernel, task: Task, *, kind: str) -> bytes:
    """The extents, their lower ids as the reader's namespace numbers them; its own, as the parent does."""
    ns, reader = task.credentials.user_ns, _caller(kernel).user_ns
    if ns is None:
        return b"%10d %10d %10d\n" % (0, 0, NO_ID)
    lower = ns.parent if reader is ns else reader
    lines = []
    for first, number, count in ns.maps[kind].extents:
        shown = number if lower is None else lower.maps[kind].up(number)
        lines.append(b"%10d %10d %10d\n" % (first, NO_ID if shown is None else shown, count))
    return b"".join(lines)


def set_map(kernel: Kernel, task: Task, data: bytes, *, kind: str) -> None:
    """map_write().  LinuxError(EPERM, EINVAL)."""
    ns, who = task.credentials.user_ns, _caller(kernel)
    if ns is None or who.user_ns not in (ns, ns.parent):
        raise LinuxError(errno.EPERM)
    if ns.maps[kind].extents:
        raise LinuxError(errno.EPERM)
    if kind in _NEEDS and not who.capable_in(SYS_ADMIN, ns):
        raise LinuxError(errno.EPERM)
    extents = parse_map(data)
    if not _permitted(ns, who, kind, extents):
        raise LinuxError(errno.EPERM)
    mapped = []
    for first, lower, count in extents:
        number = lower if ns.parent is None else ns.parent.maps[kind].down(lower, count)
        if number is None:
            raise LinuxError(errno.EPERM)
        mapped.append(Extent(first, number, count))
    ns.maps[kind] = IdMap(mapped)


def _permitted(ns: UserNamespace, who: Credentials, kind: str, extents: list[Extent]) -> bool:
    """new_idmap_permitted(): one's own id, or with the capability any of the parent's."""
    if kind == "uid" and any(extent.lower == 0 for extent in extents):  # verify_root_map()
        if not (ns.could_setfcap if who.user_ns is ns else who.capable_in(SETFCAP, ns.parent)):
            return False
    if kind not in _NEEDS:
        return True
    if len(extents) == 1 and extents[0].size == 1 and ns.owner == who.euid:
        lower = extents[0].lower
        number = lower if ns.parent is None else ns.parent.maps[kind].down(lower)
        if kind == "uid" and number == who.euid:
            return True
        if kind == "gid" and number == who.egid and not ns.setgroups_allowed:
            return True
    return who.capable_in(_NEEDS[kind], ns.parent)


def setgroups(kernel: Kernel, task: Task) -> bytes:
    """/proc/PID/setgroups."""
    ns = task.credentials.user_ns
    return b"allow\n" if ns is None or ns.setgroups_allowed else b"deny\n"


def set_setgroups(kernel: Kernel, task: Task, data: bytes) -> None:
    """proc_setgroups_write(): what is forbidden stays so, and once there are groups nothing is forbidden.

    LinuxError(EINVAL, EPERM, EACCES).
    """
    ns, who = task.credentials.user_ns, _caller(kernel)
    if not who.capable_in(SYS_ADMIN, ns):
        raise LinuxError(errno.EACCES)
    word = data.split(b"\0")[0]
    if len(data) >= _LONGEST_WORD or word.rstrip() not in (b"allow", b"deny"):
        raise LinuxError(errno.EINVAL)
    if word.rstrip() == b"allow":
        if ns is not None and not ns.setgroups_allowed:
            raise LinuxError(errno.EPERM)
    elif ns is None or ns.maps["gid"].extents:
        raise LinuxError(errno.EPERM)
    else:
        ns.setgroups_allowed = False


PID_FILES = {
    **{f"{kind}_map": PidFile(partial(show_map, kind=kind), 0o644, partial(set_map, kind=kind))
       for kind in ("uid", "gid", "projid")},
    "setgroups": PidFile(setgroups, 0o644, set_setgroups),
}  # fmt: skip
