"""Files and what is done with descriptors, as strace writes them."""

from __future__ import annotations

import stat
import struct
from typing import Any

from emu.fs.scoped import Resolve
from emu.linux.argument import S32, Shown, View
from emu.linux.fileflags import OpenFlags
from emu.linux.words import octal, pointer
from emu.syscalls.types import file_mode_words, sigset_words
from emu.trace.forms.form import (
    ADDRESS,
    DECIMAL,
    MOST_SHOWN,
    UINT,
    Bare,
    Box,
    Form,
    Forms,
    Record,
    argument,
    array,
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
    pointed,
    result,
    string,
)
from emu.trace.forms.times import TIMESPEC, TIMEVAL

# -- which descriptors are ready -----------------------------------------------------------------------------------

_POLL = {
    0x1: "POLLIN", 0x2: "POLLPRI", 0x4: "POLLOUT", 0x8: "POLLERR", 0x10: "POLLHUP", 0x20: "POLLNVAL",
    0x40: "POLLRDNORM",
    0x80: "POLLRDBAND", 0x100: "POLLWRNORM", 0x200: "POLLWRBAND", 0x400: "POLLMSG", 0x1000: "POLLREMOVE",
    0x2000: "POLLRDHUP", 0x8000: "POLL_BUSY_LOOP",
}  # fmt: skip
_EVENTS = flags(_POLL, "POLL")
_POLLFD = struct.Struct("<iHH")


class _Wanted(Record):
    """A pollfd as it is given; of a negative descriptor nothing is wanted."""

    def words(self, values: tuple[Any, ...]) -> str:
        fd, events, _ = values
        return f"{{fd={fd}}}" if fd < 0 else f"{{fd={fd}, events={_EVENTS(events)}}}"


_WANTED = _Wanted("iHH")


def _ready(view: View, address: int, count: int) -> str:
    """Those of an array of pollfd of which there is something to tell."""
    data = view.peek(address, _POLLFD.size * min(count, 1024))
    found = [each for each in _POLLFD.iter_unpack(data[: len(data) // 8 * 8]) if each[2]]
    texts = [f"{{fd={fd}, revents={_EVENTS(told)}}}" for fd, _, told in found]
    return f"[{', '.join(texts[:MOST_SHOWN])}{', ...' if len(texts) > MOST_SHOWN else ''}]"


def polled(number_ready: int, call: Shown) -> str:
    """The result of poll and ppoll."""
    if not number_ready:
        return "0 (Timeout)"
    text = _ready(call.view, call.values[0], call.values[1])
    left = pointed(TIMESPEC, call.view, call.values[2]) if len(call.values) > 3 and call.values[2] else ""
    return f"{number_ready} ({text}{', left ' + left if left else ''})"


def _set_at(view: View, address: int, count: int) -> str | None:
    """The descriptors of an fd_set."""
    size = (max(0, min(count, 1024)) + 63) // 64 * 8
    data = view.peek(address, size)
    if len(data) < size:
        return None
    bits = int.from_bytes(data, "little") & ((1 << max(0, min(count, 1024))) - 1)
    return "[" + " ".join(str(fd) for fd in range(min(count, 1024)) if bits >> fd & 1) + "]"


def _fd_set(at: int, call: Shown) -> str:
    address, count = call.values[at], S32(call.values[0])
    text = _set_at(call.view, address, count) if address and count >= 0 else None
    return text or pointer(address)


def selected(number_ready: int, call: Shown) -> str:
    """The result of select and pselect6."""
    if not number_ready:
        return "0 (Timeout)"
    count, timeout = S32(call.values[0]), TIMESPEC if len(call.values) == 6 else TIMEVAL
    texts = []
    for at, name in enumerate(("in", "out", "except"), 1):
        text = _set_at(call.view, call.values[at], count) if call.values[at] else None
        if text is not None and text != "[]":
            texts.append(f"{name} {text}")
    if call.values[4]:
        texts.append(f"left {pointed(timeout, call.view, call.values[4])}")
    return f"{number_ready} ({', '.join(texts)})"


def _mask_and_size(at: int, call: Shown) -> str:
    """The mask of pselect6, and its size."""
    data = call.view.peek(call.values[at], 16) if call.values[at] else b""
    if len(data) < 16:
        return pointer(call.values[at])
    mask, size = struct.unpack("<QQ", data)
    return f"{{sigmask={mask_at(call.view, mask, size)}, sigsetsize={size}}}"


def mask_at(view: View, address: int, size: int = 8) -> str:
    """A set of signals."""
    data = view.peek(address, 8) if address and size == 8 else b""
    return sigset_words(int.from_bytes(data, "little")) if len(data) == 8 else pointer(address)


def mask(size_at: int) -> Form:
    """A set of signals, whose size is another argument."""
    return Form(lambda at, call: mask_at(call.view, call.values[at], call.values[size_at]))


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
_AT = {0x100: "AT_SYMLINK_NOFOLLOW", 0x800: "AT_NO_AUTOMOUNT", 0x1000: "AT_EMPTY_PATH", 0x400: "AT_SYMLINK_FOLLOW"}


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
    return buffer(at + 1).text(at, call) if call.values[at + 1] <= _MOST_OF_XATTR else pointer(call.values[at])


_SET: Forms = {2: Form(_xattr_value), 4: _XATTR}
_GET: Forms = {2: filled()}
_LIST: Forms = {1: filled()}
_POSITION = Box("Q")
OFFSET = given(_POSITION)


def _moved(at: int, call: Shown) -> str:
    """The offset of sendfile, and what becomes of it."""
    after = pointed(_POSITION, call.view, call.values[at])
    before = call.before.get(at, after)
    return after if not call.result or call.failed or not after.startswith("[") else f"{before} => {after}"


# -- memory and files, splicing, mounts ----------------------------------------------------------------------------

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


def _mount_data(at: int, call: Shown) -> str:
    return string().text(at, call)


def _fsconfig_value(at: int, call: Shown) -> str:
    if S32(call.values[1]) == 2:
        return buffer(4).text(at, call)
    return string(None if S32(call.values[1]) in (3, 4) else 32).text(at, call)


_RIGHTS = {4: "R_OK", 2: "W_OK", 1: "X_OK"}


def _access(value: int) -> str:
    """What access is asked about."""
    value &= 0xFFFFFFFF
    return f"{value:#x} /* ?_OK */" if value and not value & 7 else flags(_RIGHTS, "", "F_OK")(value)


_ACCESS, _ACCESS_FLAGS = number(_access), number(flags({**_AT, 0x200: "AT_EACCESS"}, "AT_"))
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
    creates = f", mode={octal(mode)}" if kinds & 0o20000100 else ""
    return f"{{flags={OpenFlags.words(kinds)}{creates}, resolve={Resolve.words(resolve)}}}"


def _device(value: int) -> str:
    major, minor = value >> 8 & 0xFFF, value & 0xFF | value >> 12 & 0xFFF00
    return f"makedev({hexed(major)}, {hexed(minor)})"


def epoll_ctl(values: tuple[int, ...], view: View) -> Forms:
    """epoll_ctl(2), which does not look at an event to delete one."""
    return {3: ADDRESS} if values[1] == 2 else {}


FORMS: dict[str, Forms] = {
    "poll": {0: array(_WANTED, lambda call: call.values[1])},
    "ppoll": {0: array(_WANTED, lambda call: call.values[1]), 2: given(TIMESPEC), 3: mask(4)},
    "select": {1: Form(_fd_set), 2: Form(_fd_set), 3: Form(_fd_set), 4: given(TIMEVAL)},
    "pselect6": {
        1: Form(_fd_set), 2: Form(_fd_set), 3: Form(_fd_set), 4: given(TIMESPEC), 5: Form(_mask_and_size),
    },
    "epoll_pwait": {4: mask(5)},
    "epoll_pwait2": {3: given(TIMESPEC), 4: mask(5)},
    "signalfd": {1: mask(2)},
    "signalfd4": {1: mask(2)},
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
    "truncate": {1: _LENGTH}, "ftruncate": {1: _LENGTH},
    "fanotify_init": {0: number(_fanotify)},
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
    "fsconfig": {1: number(one_of(_FSCONFIG, "FSCONFIG_")), 3: Form(_fsconfig_value)},
    "move_mount": {4: number(flags(_MOVE_MOUNT, "MOVE_MOUNT_"))},
    "mount_setattr": {2: number(flags({0x8000: "AT_RECURSIVE", **_AT}, "AT_")), 3: given(_MOUNT_ATTR)},
    "getgroups": {1: array(Bare("I"), result, written=True)},
    "setgroups": {1: array(Bare("I"), argument(0), most=65536)},
}  # fmt: skip


def _handle_bytes(at: int, call: Shown) -> str:
    """How large a handle may be."""
    data = call.view.peek(call.values[at], 4) if call.values[at] else b""
    return str(int.from_bytes(data, "little")) if len(data) == 4 else ""


def mknod(values: tuple[int, ...], view: View) -> Forms:
    """mknod(2) and mknodat(2), which look at a number for devices only."""
    at = len(values) - 1
    return {at: number(_device) if stat.S_IFMT(values[at - 1]) in (stat.S_IFCHR, stat.S_IFBLK) else None}


COMMANDS = {"epoll_ctl": epoll_ctl, "mknod": mknod, "mknodat": mknod}
#: What is looked at when a call begins, as the call changes it.
BEFORE: dict[str, Forms] = {"sendfile": {2: given(_POSITION)}, "name_to_handle_at": {2: Form(_handle_bytes)}}
