"""Access control lists of POSIX (fs/posix_acl.c): their form as extended attributes, and what they permit."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, NamedTuple

from emu.linux.errors import LinuxError

if TYPE_CHECKING:
    from emu.linux.caller import Credentials

ACCESS, DEFAULT = b"system.posix_acl_access", b"system.posix_acl_default"
NAMES = (ACCESS, DEFAULT)
_VERSION = 2
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_ENTRY = struct.Struct("<HHI")
_UNDEFINED = 0xFFFFFFFF


class Entry(NamedTuple):
    """One entry: whom it is about, and read, write and execute as in a mode."""

    tag: int
    perm: int
    id: int = _UNDEFINED


Acl = tuple[Entry, ...]


def parse(data: bytes) -> Acl | None:
    """A list from an attribute's value (posix_acl_from_xattr).  LinuxError(EINVAL, EOPNOTSUPP)."""
    if len(data) < 4:
        raise LinuxError(errno.EINVAL)
    if int.from_bytes(data[:4], "little") != _VERSION:
        raise LinuxError(errno.EOPNOTSUPP)
    if len(data) % _ENTRY.size != 4:
        raise LinuxError(errno.EINVAL)
    entries = []
    for tag, perm, ident in _ENTRY.iter_unpack(data[4:]):
        if tag not in (USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER):
            raise LinuxError(errno.EINVAL)
        named = tag in (USER, GROUP)
        if named and ident == _UNDEFINED:
            raise LinuxError(errno.EINVAL)
        entries.append(Entry(tag, perm, ident if named else _UNDEFINED))
    return tuple(entries) or None


def pack(entries: Acl) -> bytes:
    """The attribute's value."""
    return _VERSION.to_bytes(4, "little") + b"".join(_ENTRY.pack(*entry) for entry in entries)


def check_valid(entries: Acl) -> None:
    """LinuxError(EINVAL) unless the entries are complete and in their order (posix_acl_valid)."""
    order = {USER_OBJ: 0, USER: 1, GROUP_OBJ: 2, GROUP: 3, MASK: 4, OTHER: 5}
    tags = [entry.tag for entry in entries]
    places = [order[tag] for tag in tags]
    single = all(tags.count(tag) == 1 for tag in (USER_OBJ, GROUP_OBJ, OTHER)) and tags.count(MASK) <= 1
    needs_mask = USER in tags or GROUP in tags
    bad_perm = any(entry.perm & ~7 for entry in entries)
    if places != sorted(places) or not single or (needs_mask and MASK not in tags) or bad_perm:
        raise LinuxError(errno.EINVAL)


def equivalent_mode(entries: Acl, mode: int) -> tuple[int, bool]:
    """The mode that goes with a list, and whether the list says more than that mode (posix_acl_equiv_mode)."""
    bits = {entry.tag: entry.perm for entry in entries}
    group = bits.get(MASK, bits[GROUP_OBJ])
    more = any(tag in bits for tag in (USER, GROUP, MASK))
    return mode & ~0o777 | bits[USER_OBJ] << 6 | group << 3 | bits[OTHER], more


def with_mode(entries: Acl, mode: int) -> Acl:
    """The list after chmod (__posix_acl_chmod)."""
    tags = {entry.tag for entry in entries}
    group = MASK if MASK in tags else GROUP_OBJ
    new = {USER_OBJ: mode >> 6 & 7, group: mode >> 3 & 7, OTHER: mode & 7}
    return tuple(entry._replace(perm=new.get(entry.tag, entry.perm)) for entry in entries)


def inherited(entries: Acl, mode: int) -> tuple[Acl | None, int]:
    """The list and the mode of what is made with ``mode`` in a directory with this default list
    (posix_acl_create_masq).
    """
    tags = {entry.tag for entry in entries}
    group = MASK if MASK in tags else GROUP_OBJ
    wanted = {USER_OBJ: mode >> 6 & 7, group: mode >> 3 & 7, OTHER: mode & 7}
    result = tuple(entry._replace(perm=entry.perm & wanted.get(entry.tag, 7)) for entry in entries)
    new_mode, more = equivalent_mode(result, mode)
    return (result if more else None), new_mode


def permits(entries: Acl, mask: int, who: Credentials, owner: int, group: int) -> bool:
    """Whether ``who`` may do all of ``mask`` (posix_acl_permission)."""
    limit = next((entry.perm for entry in entries if entry.tag == MASK), 7)
    groups = {who.fsgid, *who.groups}
    member = False
    for entry in entries:
        if entry.tag == USER_OBJ and who.fsuid == owner:
            return not mask & ~entry.perm
        if entry.tag == USER and entry.id == who.fsuid:
            return not mask & ~(entry.perm & limit)
        if (entry.tag == GROUP_OBJ and group in groups) or (entry.tag == GROUP and entry.id in groups):
            member = True
            if not mask & ~entry.perm:
                return not mask & ~limit
        if entry.tag == OTHER:
            return not member and not mask & ~entry.perm
    raise RuntimeError("posix_acl_permission: a list without an entry for others")
