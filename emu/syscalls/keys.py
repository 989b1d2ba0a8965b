"""add_key, request_key, keyctl: keys of programs (security/keys/keyctl.c)."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.fs.dentry import decode_name, encode_name
from emu.ipc.key import (
    ALL,
    KEYRING,
    LINK,
    LOGON,
    PERMISSIONS,
    POSSESSOR,
    READ,
    SEARCH,
    SETATTR,
    USER_TYPE,
    VIEW,
    WRITE,
)
from emu.ipc.keys import check_payload, may_administer
from emu.kernel.process_keys import OWNED, join_session, lookup, lookup_ring, searched_rings
from emu.linux.argument import ADDRESS, INT, S32, SIZE, U32, Named, Pointer
from emu.linux.errors import LinuxError
from emu.linux.fileflags import PAGE_SIZE
from emu.linux.layout import STRING
from emu.linux.syscall import NUMBER, Syscall
from emu.linux.words import Choice

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_TYPE_MAX, _DESCRIPTION_MAX, _PAYLOAD_MAX = 32, 4096, (1 << 20) - 1
_LAST_DEFAULT = 6
_SAME = 0xFFFFFFFF
_CAPABILITIES = bytes([0x01 | 0x20 | 0x80, 0])  # this call, invalidation, moving


def _text(task: Task, address: int, most: int) -> str:
    try:
        return decode_name(task.mm.read_cstring(address, most))
    except LinuxError as error:
        raise LinuxError(errno.EINVAL if error.errno == errno.ENAMETOOLONG else error.errno) from None


def _type(task: Task, address: int) -> str:
    """key_get_type_from_user().  LinuxError(EFAULT, EINVAL, EPERM)."""
    kind = _text(task, address, _TYPE_MAX)
    if not kind:
        raise LinuxError(errno.EINVAL)
    if kind[0] == ".":
        raise LinuxError(errno.EPERM)
    return kind


def sys_add_key(kernel: Kernel, task: Task, kind_at: int, name: int, payload_at: int, size: int, ring_id: int) -> int:
    """add_key(2): the types keyring, user and logon."""
    keys, who = kernel.keys, task.credentials
    keys.collect()
    if size > _PAYLOAD_MAX:
        raise LinuxError(errno.EINVAL)
    kind = _type(task, kind_at)
    description = _text(task, name, _DESCRIPTION_MAX) if name else ""
    if kind == KEYRING and description[:1] == ".":
        raise LinuxError(errno.EPERM)
    payload = task.mm.read(payload_at, size) if size else b""
    ring, possessed = lookup(kernel.keys, task, ring_id, WRITE, create=True)
    check_payload(kind, description, b"" if kind == KEYRING and not payload else payload)
    if not ring.is_ring:
        raise LinuxError(errno.ENOTDIR)
    if not description:
        raise LinuxError(errno.EINVAL)
    old = ring.links.get((kind, description))
    if old is not None and kind != KEYRING and not keys.error_of(old):
        if not old.allows(WRITE, who, possessed):
            raise LinuxError(errno.EACCES)
        keys.store(old, payload)
        return old.serial
    perm = ALL << POSSESSOR | OWNED
    if kind == LOGON:
        perm &= ~(READ << POSSESSOR)
    made = keys.make(kind, description, who.fsuid, who.fsgid, perm, payload)
    try:
        keys.link(ring, made)
    finally:
        keys.put(made)
    return made.serial


def sys_request_key(kernel: Kernel, task: Task, kind_at: int, name: int, callout: int, ring_id: int) -> int:
    """request_key(2): there is no program that makes a missing key (ENOENT where one is asked for)."""
    keys = kernel.keys
    keys.collect()
    kind = _type(task, kind_at)
    description = _text(task, name, _DESCRIPTION_MAX)
    if callout:
        _text(task, callout, PAGE_SIZE)
    target = lookup_ring(kernel.keys, task, ring_id, WRITE, create=True) if ring_id else None
    for ring in searched_rings(kernel.keys, task):
        try:
            found = keys.search(ring, kind, description, task.credentials)
        except LinuxError:
            continue
        if found is not None:
            if target is not None:
                keys.link(target, found)
            return found.serial
    raise LinuxError(errno.ENOENT if callout and kind == USER_TYPE else errno.ENOKEY)


# keyctl


class KeyctlOp(Choice, prefix="KEYCTL_"):
    """KEYCTL_*."""

    GET_KEYRING_ID = 0
    JOIN_SESSION_KEYRING = 1
    UPDATE = 2
    REVOKE = 3
    CHOWN = 4
    SETPERM = 5
    DESCRIBE = 6
    CLEAR = 7
    LINK = 8
    UNLINK = 9
    SEARCH = 10
    READ = 11
    INSTANTIATE = 12
    NEGATE = 13
    SET_REQKEY_KEYRING = 14
    SET_TIMEOUT = 15
    ASSUME_AUTHORITY = 16
    GET_SECURITY = 17
    INVALIDATE = 21
    RESTRICT_KEYRING = 29
    MOVE = 30
    CAPABILITIES = 31


Arguments = tuple[int, int, int, int]


def _get_ring_id(kernel: Kernel, task: Task, a: Arguments) -> int:
    return lookup(kernel.keys, task, S32(a[0]), SEARCH, create=bool(U32(a[1])))[0].serial


def _join_session(kernel: Kernel, task: Task, a: Arguments) -> int:
    name = _text(task, a[0], _DESCRIPTION_MAX) if a[0] else None
    if name is not None and name[:1] == ".":
        raise LinuxError(errno.EPERM)
    return join_session(kernel.keys, task, name)


def _update(kernel: Kernel, task: Task, a: Arguments) -> int:
    if a[2] > PAGE_SIZE:
        raise LinuxError(errno.EINVAL)
    payload = task.mm.read(a[1], a[2]) if a[1] and a[2] else b""
    key, _ = lookup(kernel.keys, task, S32(a[0]), WRITE)
    if key.is_ring:
        raise LinuxError(errno.EOPNOTSUPP)
    check_payload(key.kind, key.description, payload)
    kernel.keys.store(key, payload)
    return 0


def _revoke(kernel: Kernel, task: Task, a: Arguments) -> int:
    key, possessed = lookup(kernel.keys, task, S32(a[0]), 0)
    who = task.credentials
    if not (key.allows(WRITE, who, possessed) or key.allows(SETATTR, who, possessed)):
        raise LinuxError(errno.EACCES)
    key.revoked = True
    kernel.keys.store(key, b"")
    kernel.keys.clear(key)
    return 0


def _chown(kernel: Kernel, task: Task, a: Arguments) -> int:
    uid, gid, who = U32(a[1]), U32(a[2]), task.credentials
    if uid == gid == _SAME:
        return 0
    key, _ = lookup(kernel.keys, task, S32(a[0]), SETATTR, partial=True)
    if not may_administer(who):
        if uid not in (_SAME, key.uid) or (gid not in (_SAME, key.gid) and not who.in_group(gid)):
            raise LinuxError(errno.EACCES)
    if uid != _SAME:
        kernel.keys.give_to(key, uid)
    key.gid = key.gid if gid == _SAME else gid
    return 0


def _setperm(kernel: Kernel, task: Task, a: Arguments) -> int:
    perm = U32(a[1])
    if perm & ~PERMISSIONS:
        raise LinuxError(errno.EINVAL)
    key, _ = lookup(kernel.keys, task, S32(a[0]), SETATTR, partial=True)
    if key.uid != task.credentials.fsuid and not may_administer(task.credentials):
        raise LinuxError(errno.EACCES)
    key.perm = perm
    return 0


def _describe(kernel: Kernel, task: Task, a: Arguments) -> int:
    key, _ = lookup(kernel.keys, task, S32(a[0]), VIEW, partial=True)
    text = encode_name(f"{key.kind};{S32(key.uid)};{S32(key.gid)};{key.perm:08x};{key.description}") + b"\0"
    return _answer(task, text, a[1], a[2])


def _answer(task: Task, data: bytes, buffer: int, size: int) -> int:
    """Store what fits as a whole; the length."""
    if buffer and len(data) <= size:
        task.mm.write(buffer, data)
    return len(data)


def _clear(kernel: Kernel, task: Task, a: Arguments) -> int:
    kernel.keys.clear(lookup_ring(kernel.keys, task, S32(a[0]), WRITE, create=True))
    return 0


def _link(kernel: Kernel, task: Task, a: Arguments) -> int:
    ring, _ = lookup(kernel.keys, task, S32(a[1]), WRITE, create=True)
    key, _ = lookup(kernel.keys, task, S32(a[0]), LINK, create=True)
    if not ring.is_ring:
        raise LinuxError(errno.ENOTDIR)
    kernel.keys.link(ring, key)
    return 0


def _unlink(kernel: Kernel, task: Task, a: Arguments) -> int:
    ring, _ = lookup(kernel.keys, task, S32(a[1]), WRITE)
    key, _ = lookup(kernel.keys, task, S32(a[0]), 0, partial=True)
    if not ring.is_ring:
        raise LinuxError(errno.ENOTDIR)
    kernel.keys.unlink(ring, key)
    return 0


def _search(kernel: Kernel, task: Task, a: Arguments) -> int:
    kind = _type(task, a[1])
    description = _text(task, a[2], _DESCRIPTION_MAX)
    ring, possessed = lookup(kernel.keys, task, S32(a[0]), SEARCH)
    target = lookup(kernel.keys, task, S32(a[3]), WRITE, create=True)[0] if S32(a[3]) else None
    if not ring.is_ring:
        raise LinuxError(errno.ENOTDIR)
    found = kernel.keys.search(ring, kind, description, task.credentials, possessed=possessed)
    if found is None:
        raise LinuxError(errno.ENOKEY)
    if target is not None:
        kernel.keys.link(target, found)
    return found.serial


def _read(kernel: Kernel, task: Task, a: Arguments) -> int:
    key, possessed = lookup(kernel.keys, task, S32(a[0]), 0)
    if not key.allows(READ, task.credentials, possessed) and not possessed:
        raise LinuxError(errno.EACCES)
    if key.kind == LOGON:
        raise LinuxError(errno.EOPNOTSUPP)
    data = key.payload
    if key.is_ring:
        data = b"".join(struct.pack("<i", linked.serial) for linked in key.links.values())
    return _answer(task, data, a[1], a[2])


def _without_authority(kernel: Kernel, task: Task, a: Arguments) -> int:
    """Only who was asked to make a key may do it, and nobody is ever asked."""
    raise LinuxError(errno.EPERM)


def _set_default(kernel: Kernel, task: Task, a: Arguments) -> int:
    wanted = S32(a[0])
    before = task.request_key_default
    if wanted == -1:
        return before
    if not 0 <= wanted <= _LAST_DEFAULT:
        raise LinuxError(errno.EINVAL)
    task.request_key_default = wanted
    return before


def _set_timeout(kernel: Kernel, task: Task, a: Arguments) -> int:
    key, _ = lookup(kernel.keys, task, S32(a[0]), SETATTR, partial=True)
    kernel.keys.expire(key, U32(a[1]))
    return 0


def _assume(kernel: Kernel, task: Task, a: Arguments) -> int:
    number = S32(a[0])
    if number < 0:
        raise LinuxError(errno.EINVAL)
    if number:
        raise LinuxError(errno.ENOKEY)
    return 0


def _security(kernel: Kernel, task: Task, a: Arguments) -> int:
    lookup(kernel.keys, task, S32(a[0]), VIEW, partial=True)
    return _answer(task, b"\0", a[1], a[2])


def _invalidate(kernel: Kernel, task: Task, a: Arguments) -> int:
    key, _ = lookup(kernel.keys, task, S32(a[0]), SEARCH)
    kernel.keys.invalidate(key)
    return 0


def _restrict(kernel: Kernel, task: Task, a: Arguments) -> int:
    """No keyring is restricted by a type here."""
    lookup_ring(kernel.keys, task, S32(a[0]), SETATTR)
    raise LinuxError(errno.EOPNOTSUPP)


def _move(kernel: Kernel, task: Task, a: Arguments) -> int:
    flags = U32(a[3])
    if flags & ~1:
        raise LinuxError(errno.EINVAL)
    key, _ = lookup(kernel.keys, task, S32(a[0]), LINK)
    source, target = (lookup_ring(kernel.keys, task, S32(number), WRITE) for number in a[1:3])
    if source is target:
        return 0
    if source.links.get(key.place) is not key:
        raise LinuxError(errno.ENOENT)
    if flags and key.place in target.links:
        raise LinuxError(errno.EEXIST)
    kernel.keys.link(target, key)
    kernel.keys.unlink(source, key)
    return 0


def _capabilities(kernel: Kernel, task: Task, a: Arguments) -> int:
    task.mm.write(a[0], _CAPABILITIES[: a[1]].ljust(min(a[1], PAGE_SIZE), b"\0"))
    return len(_CAPABILITIES)


_OPERATIONS: dict[int, Callable[[Kernel, Task, Arguments], int]] = {
    KeyctlOp.GET_KEYRING_ID: _get_ring_id, KeyctlOp.JOIN_SESSION_KEYRING: _join_session, KeyctlOp.UPDATE: _update,
    KeyctlOp.REVOKE: _revoke, KeyctlOp.CHOWN: _chown, KeyctlOp.SETPERM: _setperm, KeyctlOp.DESCRIBE: _describe,
    KeyctlOp.CLEAR: _clear, KeyctlOp.LINK: _link, KeyctlOp.UNLINK: _unlink, KeyctlOp.SEARCH: _search,
    KeyctlOp.READ: _read, KeyctlOp.INSTANTIATE: _without_authority, KeyctlOp.NEGATE: _without_authority,
    KeyctlOp.SET_REQKEY_KEYRING: _set_default, KeyctlOp.SET_TIMEOUT: _set_timeout,
    KeyctlOp.ASSUME_AUTHORITY: _assume, KeyctlOp.GET_SECURITY: _security, KeyctlOp.INVALIDATE: _invalidate,
    KeyctlOp.RESTRICT_KEYRING: _restrict, KeyctlOp.MOVE: _move, KeyctlOp.CAPABILITIES: _capabilities,
}  # fmt: skip


def sys_keyctl(kernel: Kernel, task: Task, operation: int, a: int, b: int, c: int, d: int) -> int:
    """keyctl(2); nothing that computes with keys (EOPNOTSUPP)."""
    handler = _OPERATIONS.get(operation)
    if handler is None:
        raise LinuxError(errno.EOPNOTSUPP)
    kernel.keys.collect()
    return handler(kernel, task, (a, b, c, d))


TABLE = (
    Syscall(248, "add_key", sys_add_key, (STRING, Pointer(STRING.target, null=True), ADDRESS, SIZE, INT), NUMBER),
    Syscall(249, "request_key", sys_request_key, (STRING, STRING, Pointer(STRING.target, null=True), INT), NUMBER),
    Syscall(250, "keyctl", sys_keyctl, (Named(KeyctlOp), ADDRESS, ADDRESS, ADDRESS, ADDRESS), NUMBER),
)
