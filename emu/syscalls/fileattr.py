"""FS_IOC_GETFLAGS and its relatives, file_getattr and file_setattr: what chattr(1) and lsattr(1) use."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.fileattr import as_xflags, from_xflags, get_flags, set_flags
from emu.linux.argument import DIRFD, SIZE, UINT, Named, Pointer
from emu.linux.errors import LinuxError
from emu.linux.fileflags import AtFlags
from emu.linux.layout import LATE_PATH, Layout, Opaque
from emu.linux.syscall import Syscall
from emu.syscalls.paths import resolve_at

if TYPE_CHECKING:
    from emu.fs.file import File
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

GETFLAGS, SETFLAGS, FSGETXATTR, FSSETXATTR = 0x80086601, 0x40086602, 0x801C581F, 0x401C5820
ATTRIBUTE_IOCTLS = frozenset({GETFLAGS, SETFLAGS, FSGETXATTR, FSSETXATTR})
#: struct fsxattr: flags, extent size, extents, project, extent size of copy-on-write.
FSXATTR = Layout("fsxattr", "5I8x")
#: struct file_attr of 6.17: the same, with 64 bits of flags.
FILE_ATTR = Layout("file_attr", "Q4I")
_NOFOLLOW, _EMPTY_PATH = int(AtFlags.SYMLINK_NOFOLLOW), int(AtFlags.EMPTY_PATH)


def attribute_ioctl(task: Task, file: File, command: int, argument: int) -> int:
    """The four requests."""
    if command == GETFLAGS:
        UINT.write(task.mm, argument, get_flags(file.inode))
    elif command == SETFLAGS:
        get_flags(file.inode)
        set_flags(file.path, UINT.read(task.mm, argument), task.credentials)
    elif command == FSGETXATTR:
        FSXATTR.write(task.mm, argument, (as_xflags(get_flags(file.inode)), 0, 0, 0, 0))
    else:
        get_flags(file.inode)
        set_flags(file.path, from_xflags(FSXATTR.read(task.mm, argument)[0]), task.credentials)
    return 0


def _check(flags: int, size: int) -> None:
    if flags & ~(_NOFOLLOW | _EMPTY_PATH):
        raise LinuxError(errno.EINVAL)
    FILE_ATTR.check_size(size)


def sys_file_getattr(kernel: Kernel, task: Task, dirfd: int, path: int, attr: int, size: int, flags: int) -> int:
    """file_getattr(2)."""
    _check(flags, size)
    _, place = resolve_at(kernel, task, dirfd, path, flags, null=True)
    try:
        xflags = as_xflags(get_flags(place.inode))
    except LinuxError:
        raise LinuxError(errno.EOPNOTSUPP) from None
    task.mm.write(attr, FILE_ATTR.pack(xflags, 0, 0, 0, 0).ljust(size, b"\0"))
    return 0


def sys_file_setattr(kernel: Kernel, task: Task, dirfd: int, path: int, attr: int, size: int, flags: int) -> int:
    """file_setattr(2)."""
    _check(flags, size)
    xflags = FILE_ATTR.read_sized(task.mm, attr, size)[0]
    _, place = resolve_at(kernel, task, dirfd, path, flags, null=True)
    try:
        get_flags(place.inode)
    except LinuxError:
        raise LinuxError(errno.EOPNOTSUPP) from None
    set_flags(place, from_xflags(xflags), task.credentials)
    return 0


_ATTR = Pointer(Opaque("file_attr"))

TABLE = (
    Syscall(468, "file_getattr", sys_file_getattr, (DIRFD, LATE_PATH, _ATTR, SIZE, Named(AtFlags))),
    Syscall(469, "file_setattr", sys_file_setattr, (DIRFD, LATE_PATH, _ATTR, SIZE, Named(AtFlags))),
)
