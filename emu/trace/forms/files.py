"""Files and what is done with descriptors, as strace writes them."""

from __future__ import annotations

import stat
import struct
from typing import Any

from emu.fs.scoped import Resolve
from emu.linux.argument import S32, Shown, View
from emu.linux.fileflags import AtFlags, OpenFlags
from emu.linux.words import huge_bits, octal, pointer, quote
from emu.syscalls.types import file_mode_words
from emu.trace.forms.form import (
    ADDRESS,
    DECIMAL,
    MOST_SHOWN,
    SIGNED,
    UINT,
    Bare,
    Box,
    Form,
    Forms,
    Record,
    argument,
    array,
    beyond,
    bits_of,
    buffer,
    filled,
    flags,
    given,
    got,
    hexed,
    names_of,
    number,
    one_of,
    owner,
    pointed,
    result,
    string,
)
from emu.trace.forms.machine import device

# -- about files ---------------------------------------------------------------------------------------------------

_FILE_SYSTEMS = {
    0x01021994: "TMPFS_MAGIC", 0x9FA0: "PROC_SUPER_MAGIC", 0x62656572: "SYSFS_MAGIC", 0x1CD1: "DEVPTS_SUPER_MAGIC",
    0x50495045: "PIPEFS_MAGIC", 0x534F434B: "SOCKFS_MAGIC", 0x09041934: "ANON_INODE_FS_MAGIC",
    0xEF53: "EXT2_SUPER_MAGIC",
    0x958458F6: "HUGETLBFS_MAGIC", 0x63677270: "CGROUP2_SUPER_MAGIC", 0x6E736673: "NSFS_MAGIC",
    0x19800202: "MQUEUE_MAGIC", 0x794C7630: "OVERLAYFS_SUPER_MAGIC",
}  # fmt: skip
_MOUNTED = bits_of(
    "ST_", "RDONLY NOSUID NODEV NOEXEC SYNCHRONOUS VALID MANDLOCK - - - NOATIME NODIRATIME RELATIME NOSYMFOLLOW"
)
_MOUNTED = {0x20: "ST_VALID", **_MOUNTED}


class _Statfs(Record):
    """struct statfs."""

    def __init__(self) -> None:
        super().__init__("QqQQQQQIIqqq32x")

    def words(self, values: tuple[Any, ...]) -> str:
        kind, size, blocks, free, available, inodes, free_inodes, low, high, length, fragment, mounted = values
        return (
            f"{{f_type={_FILE_SYSTEMS.get(kind, f'{kind:#x}')}, f_bsize={size}, f_blocks={blocks}, f_bfree={free}, "
            f"f_bavail={available}, f_files={inodes}, f_ffree={free_inodes}, "
            f"f_fsid={{val=[{hexed(low)}, {hexed(high)}]}}, "
            f"f_namelen={length}, f_frsize={fragment}, f_flags={flags(_MOUNTED, 'ST_')(mounted)}}}"
        )


_STATX_MASK = bits_of("STATX_", "TYPE MODE NLINK UID GID ATIME MTIME CTIME INO SIZE BLOCKS BTIME MNT_ID DIOALIGN")
_STATX_ATTRIBUTES = {
    0x4: "STATX_ATTR_COMPRESSED", 0x10: "STATX_ATTR_IMMUTABLE", 0x20: "STATX_ATTR_APPEND", 0x40: "STATX_ATTR_NODUMP",
    0x800: "STATX_ATTR_ENCRYPTED", 0x1000: "STATX_ATTR_AUTOMOUNT", 0x2000: "STATX_ATTR_MOUNT_ROOT",
    0x100000: "STATX_ATTR_VERITY", 0x200000: "STATX_ATTR_DAX",
}  # fmt: skip


_statx_mask = flags({0xFFF: "STATX_ALL", 0x7FF: "STATX_BASIC_STATS", **_STATX_MASK}, "STATX_")
_SYNC = {0x2000: "AT_STATX_FORCE_SYNC", 0x4000: "AT_STATX_DONT_SYNC", 0x6000: "AT_STATX_FORCE_SYNC|AT_STATX_DONT_SYNC"}
_at = AtFlags.names()
_AT = {bit: _at[bit] for bit in (0x100, 0x200, 0x400, 0x800, 0x1000, 0x8000)} | {0x200: "AT_REMOVEDIR"}


def _statx_flags(value: int) -> str:
    sync = _SYNC.get(value & 0x6000, "AT_STATX_SYNC_AS_STAT")
    rest = value & ~0x6000
    return f"{sync}|{flags(_AT, '')(rest)}" if rest else sync


class _Statx(Record):
    """struct statx, as far as strace shows it."""

    def __init__(self) -> None:
        super().__init__("IIQIIIHxxQQQQ")

    def words(self, values: tuple[Any, ...]) -> str:
        mask_, _, attributes, _, _, _, mode, _, size, _, _ = values
        shown = flags(_STATX_ATTRIBUTES, "STATX_ATTR_")(attributes)
        return (
            f"{{stx_mask={_statx_mask(mask_)}, stx_attributes={shown}, stx_mode={file_mode_words(mode)}, "
            f"stx_size={size}, ...}}"
        )


_ENTRY_LENGTH_AT = 16


def _entries(at: int, call: Shown) -> str:
    """How many directory entries there are."""
    address, length = call.values[at], call.result or 0
    if call.failed:
        return pointer(address)
    data, count, place = call.view.peek(address, min(length, 1 << 20)), 0, 0
    while place + _ENTRY_LENGTH_AT + 2 <= len(data):
        place += max(1, int.from_bytes(data[place + _ENTRY_LENGTH_AT : place + _ENTRY_LENGTH_AT + 2], "little"))
        count += 1
    return f"{pointer(address)} /* {count} entries */"


_ENTRIES = Form(_entries, written=True)


def _handle(at: int, call: Shown, *, written: bool) -> str:
    """struct file_handle, whose size a caller gives and name_to_handle_at sets."""
    head = call.view.peek(call.values[at], 8) if call.values[at] else b""
    if len(head) < 8:
        return pointer(call.values[at])
    size, kind = struct.unpack("<Ii", head)
    if written:
        before = call.before.get(at, str(size))
        if call.failed:
            return f"{{handle_bytes={before}{f' => {size}' if before != str(size) else ''}}}"
    data = call.view.peek(call.values[at] + 8, min(size, 128))
    text = "".join(f"\\x{byte:02x}" for byte in data)
    return f'{{handle_bytes={size}, handle_type={kind}, f_handle="{text}"}}'


_XATTR = number(flags({1: "XATTR_CREATE", 2: "XATTR_REPLACE"}, "XATTR_"))
_MOST_OF_XATTR = 65536


def _xattr_value(at: int, call: Shown) -> str:
    """The value of an attribute; a NUL that ends what is shown of it is left out."""
    address, size = call.values[at : at + 2]
    data = call.view.peek(address, min(size, MOST_SHOWN)) if address else b""
    if size > _MOST_OF_XATTR or not address or len(data) < min(size, MOST_SHOWN):
        return pointer(address)
    return quote(data[:-1]) if data.endswith(b"\0") else quote(data, cut=size > len(data))


_SET: Forms = {2: Form(_xattr_value), 4: _XATTR}
_GET: Forms = {2: filled()}
_LIST: Forms = {1: filled()}
_POSITION, _PLACE_IN_FILE = Box("q"), Box("Q")
OFFSET = given(_POSITION)


def _moved(at: int, call: Shown) -> str:
    """The offset of sendfile, and what becomes of it."""
    after = pointed(_PLACE_IN_FILE, call.view, call.values[at])
    before = call.before.get(at, after)
    return after if not call.result or call.failed or not after.startswith("[") else f"{before} => {after}"


# -- memory and files, splicing, mounts ----------------------------------------------------------------------------

_MEMFD = {1: "MFD_CLOEXEC", 2: "MFD_ALLOW_SEALING", 4: "MFD_HUGETLB"}


def _memfd(value: int) -> list[str]:
    return huge_bits(value & 0xFFFFFFFF, _MEMFD, "MFD_", alone=True)


_FLOCK = {
    1: "LOCK_SH", 2: "LOCK_EX", 4: "LOCK_NB", 8: "LOCK_UN", 0x20: "LOCK_MAND", 0xC0: "LOCK_RW", 0x40: "LOCK_READ",
    0x80: "LOCK_WRITE",
}  # fmt: skip
_FALLOCATE = bits_of(
    "FALLOC_FL_", "KEEP_SIZE PUNCH_HOLE NO_HIDE_STALE COLLAPSE_RANGE ZERO_RANGE INSERT_RANGE UNSHARE_RANGE WRITE_ZEROES"
)
_ADVICE = names_of("POSIX_FADV_", "NORMAL RANDOM SEQUENTIAL WILLNEED DONTNEED NOREUSE")
_SPLICE = bits_of("SPLICE_F_", "MOVE NONBLOCK MORE GIFT")
_FSCONFIG = names_of(
    "FSCONFIG_", "SET_FLAG SET_STRING SET_BINARY SET_PATH SET_PATH_EMPTY SET_FD CMD_CREATE CMD_RECONFIGURE"
)
_MOVE_MOUNT = {
    1: "MOVE_MOUNT_F_SYMLINKS", 2: "MOVE_MOUNT_F_AUTOMOUNTS", 4: "MOVE_MOUNT_F_EMPTY_PATH",
    0x10: "MOVE_MOUNT_T_SYMLINKS",
    0x20: "MOVE_MOUNT_T_AUTOMOUNTS", 0x40: "MOVE_MOUNT_T_EMPTY_PATH", 0x100: "MOVE_MOUNT_SET_GROUP",
}  # fmt: skip
_MOUNT_ATTRIBUTES = {
    1: "MOUNT_ATTR_RDONLY", 2: "MOUNT_ATTR_NOSUID", 4: "MOUNT_ATTR_NODEV", 8: "MOUNT_ATTR_NOEXEC",
    0x10: "MOUNT_ATTR_NOATIME", 0x20: "MOUNT_ATTR_STRICTATIME", 0x80: "MOUNT_ATTR_NODIRATIME",
    0x100000: "MOUNT_ATTR_IDMAP",
    0x200000: "MOUNT_ATTR_NOSYMFOLLOW",
}  # fmt: skip
_attributes = flags(_MOUNT_ATTRIBUTES, "MOUNT_ATTR_")
_PROPAGATION = {0x20000: "MS_UNBINDABLE", 0x40000: "MS_PRIVATE", 0x80000: "MS_SLAVE", 0x100000: "MS_SHARED"}


def _propagation(value: int) -> str:
    return _PROPAGATION.get(value) or f"{hexed(value)} /* MS_??? */"


_MOUNT_ATTR = Record(
    "4Q", ("attr_set", _attributes), ("attr_clr", _attributes), ("propagation", _propagation),
    ("userns_fd", str),
)  # fmt: skip


_OPEN_TREE = {
    0x1: "OPEN_TREE_CLONE", 0x80000: "OPEN_TREE_CLOEXEC", 0x100: "AT_SYMLINK_NOFOLLOW", 0x200: "AT_REMOVEDIR",
    0x400: "AT_SYMLINK_FOLLOW", 0x800: "AT_NO_AUTOMOUNT", 0x1000: "AT_EMPTY_PATH", 0x8000: "AT_RECURSIVE",
}  # fmt: skip
_UMOUNT = {1: "MNT_FORCE", 2: "MNT_DETACH", 4: "MNT_EXPIRE", 8: "UMOUNT_NOFOLLOW"}
_SETATTR = {bit: name for bit, name in _AT.items() if bit not in (0x200, 0x400)}


def _mount_attr(at: int, call: Shown) -> str:
    """struct mount_attr, in the size that is given."""
    size = call.values[at + 1]
    if size < _MOUNT_ATTR.size:
        return pointer(call.values[at])
    text = pointed(_MOUNT_ATTR, call.view, call.values[at])
    return text[:-1] + beyond(call.view, call.values[at], _MOUNT_ATTR.size, size) + "}" if text[0] == "{" else text


def _mount_data(at: int, call: Shown) -> str:
    return string().text(at, call)


def _fsconfig_value(at: int, call: Shown) -> str:
    if S32(call.values[1]) == 2:
        return buffer(4).text(at, call)
    return string(None if S32(call.values[1]) in (3, 4) else 32).text(at, call)


def fsconfig(values: tuple[int, ...], view: View) -> Forms:
    """fsconfig(2), of whose unknown commands nobody knows what they look at."""
    return {} if S32(values[1]) in _FSCONFIG else {2: ADDRESS, 3: ADDRESS}


_MS_REMOUNT, _MS_NO_TYPE = 0x20, 0x1000 | 0x2000 | 0x1E0000


def mount(values: tuple[int, ...], view: View) -> Forms:
    """mount(2): to move or bind a mount, or to say who hears of it, takes no type and no options."""
    if values[3] & _MS_REMOUNT:
        return {2: ADDRESS}
    return {2: ADDRESS, 4: ADDRESS} if values[3] & _MS_NO_TYPE else {}


_RIGHTS = {4: "R_OK", 2: "W_OK", 1: "X_OK"}


def _access(value: int) -> str:
    """What access is asked about."""
    value &= 0xFFFFFFFF
    return f"{value:#x} /* ?_OK */" if value and not value & 7 else flags(_RIGHTS, "", "F_OK")(value)


_EACCESS = {0x100: "AT_SYMLINK_NOFOLLOW", 0x200: "AT_EACCESS", 0x1000: "AT_EMPTY_PATH"}
_ACCESS, _ACCESS_FLAGS = number(_access), number(flags(_EACCESS, "AT_"))
_FSPICK = {1: "FSPICK_CLOEXEC", 2: "FSPICK_SYMLINK_NOFOLLOW", 4: "FSPICK_NO_AUTOMOUNT", 8: "FSPICK_EMPTY_PATH"}
_RESIDENT = Bare("B", lambda value: str(value & 1))
_LENGTH = number(lambda value: str(value & 0xFFFFFFFFFFFFFFFF))
_CLASSES = {0: "FAN_CLASS_NOTIF", 4: "FAN_CLASS_CONTENT", 8: "FAN_CLASS_PRE_CONTENT"}
_FANOTIFY = {
    1: "FAN_CLOEXEC", 2: "FAN_NONBLOCK", 0x10: "FAN_UNLIMITED_QUEUE", 0x20: "FAN_UNLIMITED_MARKS",
    0x40: "FAN_ENABLE_AUDIT",
    0x80: "FAN_REPORT_PIDFD", 0x100: "FAN_REPORT_TID", 0x200: "FAN_REPORT_FID", 0x400: "FAN_REPORT_DIR_FID",
    0x800: "FAN_REPORT_NAME", 0x1000: "FAN_REPORT_TARGET_FID",
}  # fmt: skip


_FANOTIFY_EVENTS = {
    1: "FAN_ACCESS", 2: "FAN_MODIFY", 4: "FAN_ATTRIB", 8: "FAN_CLOSE_WRITE", 0x10: "FAN_CLOSE_NOWRITE",
    0x20: "FAN_OPEN",
    0x40: "FAN_MOVED_FROM", 0x80: "FAN_MOVED_TO", 0x100: "FAN_CREATE", 0x200: "FAN_DELETE", 0x400: "FAN_DELETE_SELF",
    0x800: "FAN_MOVE_SELF", 0x1000: "FAN_OPEN_EXEC", 0x4000: "FAN_Q_OVERFLOW", 0x8000: "FAN_FS_ERROR",
    0x10000: "FAN_OPEN_PERM", 0x20000: "FAN_ACCESS_PERM", 0x40000: "FAN_OPEN_EXEC_PERM", 0x80000: "FAN_DIR_MODIFY",
    0x40000000: "FAN_ONDIR", 0x8000000: "FAN_EVENT_ON_CHILD", 0x10000000: "FAN_RENAME",
}  # fmt: skip


def _fanotify(value: int) -> str:
    kind, rest = value & 0xC, value & 0xFFFFFFFF & ~0xC
    name = _CLASSES.get(kind, f"{kind:#x} /* FAN_CLASS_??? */")
    return f"{name}|{flags(_FANOTIFY, 'FAN_')(rest)}" if rest else name


def _open_how(at: int, call: Shown) -> str:
    """struct open_how, whose mode counts only where a file may be made."""
    data = call.view.peek(call.values[at], 24) if call.values[at] and call.values[at + 1] >= 24 else b""
    if len(data) < 24:
        return pointer(call.values[at])
    kinds, mode, resolve = struct.unpack("<3Q", data)
    creates = f", mode={octal(mode)}" if mode or kinds & 0o20000100 else ""
    more = beyond(call.view, call.values[at], 24, call.values[at + 1])
    return f"{{flags={OpenFlags.words(kinds)}{creates}, resolve={Resolve.words(resolve)}{more}}}"


def epoll_ctl(values: tuple[int, ...], view: View) -> Forms:
    """epoll_ctl(2), which does not look at an event to delete one."""
    return {3: ADDRESS} if values[1] == 2 else {}


FORMS: dict[str, Forms] = {
    "statfs": {1: got(_Statfs())},
    "fstatfs": {1: got(_Statfs())},
    "statx": {2: number(_statx_flags), 3: number(_statx_mask), 4: got(_Statx())},
    "getdents": {1: _ENTRIES},
    "getdents64": {1: _ENTRIES},
    "name_to_handle_at": {2: Form(lambda at, call: _handle(at, call, written=True), written=True), 3: got(UINT)},
    "open_by_handle_at": {1: Form(lambda at, call: _handle(at, call, written=False))},
    "setxattr": _SET, "lsetxattr": _SET, "fsetxattr": _SET,
    "getxattr": _GET, "lgetxattr": _GET, "fgetxattr": _GET,
    "listxattr": _LIST, "llistxattr": _LIST, "flistxattr": _LIST,
    "listxattrat": {3: filled()},
    "sendfile": {2: Form(_moved, written=True)},
    "splice": {1: OFFSET, 3: OFFSET},
    "copy_file_range": {1: OFFSET, 3: OFFSET, 5: DECIMAL},
    "vmsplice": {3: number(flags(_SPLICE, "SPLICE_F_"))},
    "memfd_create": {1: number(lambda value: "|".join(_memfd(value)) or "0")},
    "flock": {1: number(flags(_FLOCK, "LOCK_"))}, "fallocate": {1: number(flags(_FALLOCATE, "FALLOC_FL_"))},
    "userfaultfd": {0: number(flags({1: "UFFD_USER_MODE_ONLY", 0x800: "O_NONBLOCK", 0x80000: "O_CLOEXEC"}, "UFFD_"))},
    "truncate": {1: _LENGTH}, "ftruncate": {1: _LENGTH},
    "fanotify_init": {0: number(_fanotify), 1: number(OpenFlags.words)},
    "fanotify_mark": {2: number(flags(_FANOTIFY_EVENTS, "FAN_"))},
    "openat2": {2: Form(_open_how)},
    "fadvise64": {3: number(one_of(_ADVICE, "POSIX_FADV_"))},
    "mincore": {2: array(_RESIDENT, lambda call: (call.values[1] + 4095) >> 12, written=True)},
    "acct": {0: string(None)},
    "mount": {4: Form(_mount_data)},
    "fsopen": {1: number(flags({1: "FSOPEN_CLOEXEC"}, "FSOPEN_"))},
    "access": {1: _ACCESS}, "faccessat": {2: _ACCESS}, "faccessat2": {2: _ACCESS, 3: _ACCESS_FLAGS},
    "readlink": {2: _LENGTH}, "readlinkat": {3: _LENGTH},
    "fspick": {2: number(flags(_FSPICK, "FSPICK_"))},
    "fsmount": {1: number(flags({1: "FSMOUNT_CLOEXEC"}, "FSMOUNT_")), 2: number(_attributes)},
    "open_tree": {2: number(flags(_OPEN_TREE, "OPEN_TREE_"))},
    "open_tree_attr": {2: number(flags(_OPEN_TREE, "OPEN_TREE_")), 3: Form(_mount_attr)},
    "umount2": {1: number(flags(_UMOUNT, "MNT_"))},
    "fsconfig": {1: number(one_of(_FSCONFIG, "FSCONFIG_")), 3: Form(_fsconfig_value)},
    "move_mount": {4: number(flags(_MOVE_MOUNT, "MOVE_MOUNT_"))},
    "mount_setattr": {2: number(flags(_SETATTR, "AT_")), 3: Form(_mount_attr)},
    "execveat": {4: number(flags({**_AT, 0x10000: "AT_EXECVE_CHECK"}, "AT_"))},
    "getgroups": {1: array(Bare("I", owner), result, written=True)},
    "setgroups": {0: SIGNED, 1: array(Bare("I", owner), argument(0), most=65536)},
}  # fmt: skip


def _handle_bytes(at: int, call: Shown) -> str:
    """How large a handle may be."""
    data = call.view.peek(call.values[at], 4) if call.values[at] else b""
    return str(int.from_bytes(data, "little")) if len(data) == 4 else ""


def mknod(values: tuple[int, ...], view: View) -> Forms:
    """mknod(2) and mknodat(2), which look at a number for devices only."""
    at = len(values) - 1
    return {at: number(device) if stat.S_IFMT(values[at - 1]) in (stat.S_IFCHR, stat.S_IFBLK) else None}


COMMANDS = {"epoll_ctl": epoll_ctl, "mknod": mknod, "mknodat": mknod, "mount": mount, "fsconfig": fsconfig}
#: What is looked at when a call begins, as the call changes it.
BEFORE: dict[str, Forms] = {"sendfile": {2: given(_PLACE_IN_FILE)}, "name_to_handle_at": {2: Form(_handle_bytes)}}
