"""Calls that Linux has since 6.5, as newer versions of strace write them."""

from __future__ import annotations

import struct

from emu.linux.argument import Shown, shown_buffer
from emu.linux.words import pointer
from emu.trace.forms.form import (
    DECIMAL,
    HEXED,
    UINT,
    Bare,
    Form,
    Forms,
    Record,
    array,
    bits_of,
    flags,
    given,
    got,
    hexed,
    names_of,
    number,
    one_of,
    result,
)

# -- pages of a file in memory, attributes of files ----------------------------------------------------------------

_CACHE_RANGE = Record("QQ", ("off", hexed), ("len", str))
_CACHE = Record("5Q", *((f"nr_{name}", str) for name in ["cache", "dirty", "writeback", "evicted", "recently_evicted"]))
_XFLAGS = flags(
    bits_of(
        "FS_XFLAG_",
        "REALTIME PREALLOC - IMMUTABLE APPEND SYNC NOATIME NODUMP RTINHERIT PROJINHERIT NOSYMLINKS EXTSIZE "
        "EXTSZINHERIT NODEFRAG FILESTREAM DAX COWEXTSIZE",
    )
    | {0x80000000: "FS_XFLAG_HASATTR"},
    "FS_XFLAG_",
)
_FILE_ATTR = Record(
    "Q4I", ("fa_xflags", _XFLAGS), ("fa_extsize", str), ("fa_nextents", str), ("fa_projid", hexed),
    ("fa_cowextsize", str),
)  # fmt: skip
_xattr_flags = flags({1: "XATTR_CREATE", 2: "XATTR_REPLACE"}, "XATTR_")
_XATTR_ARGS = struct.Struct("<QII")


def _file_attr(at: int, call: Shown) -> str:
    """struct file_attr, in a size that is at least that of its first version."""
    return given(_FILE_ATTR).text(at, call) if call.values[at + 1] >= _FILE_ATTR.size else pointer(call.values[at])


def _got_file_attr(at: int, call: Shown) -> str:
    return pointer(call.values[at]) if call.failed else _file_attr(at, call)


def _xattr_args(at: int, call: Shown, *, written: bool) -> str:
    """struct xattr_args: the value, as far as it is there."""
    data = call.view.peek(call.values[at], _XATTR_ARGS.size) if call.values[at] else b""
    if len(data) < _XATTR_ARGS.size or call.values[at + 1] < _XATTR_ARGS.size:
        return pointer(call.values[at])
    place, size, kinds = _XATTR_ARGS.unpack(data)
    length = min(call.result or 0, size) if written else size
    unread = written and (call.failed or not size)
    value = pointer(place) if unread or not place else shown_buffer(call.view, place, length)
    return f"{{value={value}, size={size}, flags={_xattr_flags(kinds)}}}"


_SET_XATTR = Form(lambda at, call: _xattr_args(at, call, written=False))
_GET_XATTR = Form(lambda at, call: _xattr_args(at, call, written=True), written=True)

# -- mounts --------------------------------------------------------------------------------------------------------

_WANTED = flags(
    bits_of(
        "STATMOUNT_",
        "SB_BASIC MNT_BASIC PROPAGATE_FROM MNT_ROOT MNT_POINT FS_TYPE MNT_NS_ID MNT_OPTS FS_SUBTYPE "
        "SB_SOURCE OPT_ARRAY OPT_SEC_ARRAY SUPPORTED_MASK MNT_UIDMAP MNT_GIDMAP",
    ),
    "STATMOUNT_",
)
_LSMT_ROOT = (1 << 64) - 1
_MOUNT_REQUEST, _MOUNT_REQUEST_SIZE = struct.Struct("<IIQQQ"), 24
_STATMOUNT = Record("I4xQ", ("size", str), ("mask", _WANTED), rest=True)
_MOUNT_ID = Bare("Q", hexed)


def _mount_request(at: int, call: Shown, *, asks: bool) -> str:
    """struct mnt_id_req; the parameter is what is asked for (``asks``), or the last mount of a list."""
    data = call.view.peek(call.values[at], _MOUNT_REQUEST.size) if call.values[at] else b""
    if len(data) < _MOUNT_REQUEST_SIZE:
        return pointer(call.values[at])
    size, descriptor, mount, parameter, namespace = _MOUNT_REQUEST.unpack(data.ljust(_MOUNT_REQUEST.size, b"\0"))
    if size < _MOUNT_REQUEST_SIZE:
        return f"{{size={size}}}"
    texts = [f"size={size}"]
    if descriptor:
        texts.append(f"mnt_ns_fd={descriptor}")
    texts.append(f"mnt_id={'LSMT_ROOT' if mount == _LSMT_ROOT else hexed(mount)}")
    texts.append(f"param={_WANTED(parameter) if asks else hexed(parameter)}")
    if size >= _MOUNT_REQUEST.size:
        texts.append(f"mnt_ns_id={hexed(namespace)}")
    return "{" + ", ".join(texts) + "}"


# -- security modules ----------------------------------------------------------------------------------------------

_MODULES = names_of(
    "LSM_ID_", "CAPABILITY SELINUX SMACK TOMOYO APPARMOR YAMA LOADPIN SAFESETID LOCKDOWN BPF LANDLOCK IMA EVM IPE", 100
)
_module = one_of(_MODULES, "LSM_ID_")
_ATTRIBUTES = number(one_of(names_of("LSM_ATTR_", "CURRENT EXEC FSCREATE KEYCREATE PREV SOCKCREATE", 100), "LSM_ATTR_"))
_CONTEXT = Record("4Q", ("id", _module), ("flags", hexed), ("len", str), ("ctx_len", str), rest=True)
_SIZE = Form(lambda at, call: given(UINT).text(at, call), written=True)
_FUTEX2 = flags(
    {1: "FUTEX2_SIZE_U16", 2: "FUTEX2_SIZE_U32", 3: "FUTEX2_SIZE_U64", 4: "FUTEX2_NUMA", 0x80: "FUTEX2_PRIVATE"},
    "FUTEX2_",
)
_WAITER = Record("QQI4x", ("val", hexed), ("uaddr", pointer), ("flags", _FUTEX2))


#: The futexes that waiters leave and go to.
_TWO_WAITERS = array(_WAITER, lambda call: 2)
FORMS: dict[str, Forms] = {
    "cachestat": {1: given(_CACHE_RANGE), 2: got(_CACHE)},
    "file_getattr": {2: Form(_got_file_attr, written=True)}, "file_setattr": {2: Form(_file_attr)},
    "setxattrat": {4: _SET_XATTR}, "getxattrat": {4: _GET_XATTR},
    "statmount": {0: Form(lambda at, call: _mount_request(at, call, asks=True)), 1: got(_STATMOUNT)},
    "listmount": {
        0: Form(lambda at, call: _mount_request(at, call, asks=False)), 1: array(_MOUNT_ID, result, written=True),
        3: number(flags({1: "LISTMOUNT_REVERSE"}, "LISTMOUNT_")),
    },
    "lsm_get_self_attr": {0: _ATTRIBUTES, 1: got(_CONTEXT), 2: _SIZE}, "lsm_set_self_attr": {
        0: _ATTRIBUTES, 1: given(_CONTEXT), 2: DECIMAL, 3: HEXED,
    },
    "lsm_list_modules": {0: array(Bare("Q", _module), result, written=True), 1: _SIZE},
    "futex_requeue": {0: _TWO_WAITERS},
    "map_shadow_stack": {2: number(flags(bits_of("SHADOW_STACK_", "SET_TOKEN SET_MARKER"), "SHADOW_STACK_"))},
}  # fmt: skip
