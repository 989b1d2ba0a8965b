"""Extended attributes: setxattr, getxattr, listxattr, removexattr and their relatives (fs/xattr.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs import xattr
from emu.fs.simple_xattr import XATTR_CREATE, XATTR_REPLACE
from emu.linux.argument import ADDRESS, DIRFD, FD, SIZE, U64, UINT, Bits, Named, Pointer, Scalar
from emu.linux.errors import LinuxError
from emu.linux.fileflags import AT_FDCWD, AtFlags
from emu.linux.layout import LATE_PATH, PATHNAME, STRING, Struct
from emu.linux.syscall import BYTES, Syscall
from emu.linux.words import pointer
from emu.syscalls.paths import resolve_at

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

XATTR_NAME_MAX = 255
#: Of a value, and of a list of names.
XATTR_SIZE_MAX = XATTR_LIST_MAX = 65536
_FLAGS = Bits("XATTR_", CREATE=XATTR_CREATE, REPLACE=XATTR_REPLACE)
XATTR_ARGS = Struct("xattr_args", value=Scalar("address", U64, pointer), size=UINT, flags=_FLAGS)
_EMPTY, _NOFOLLOW = int(AtFlags.EMPTY_PATH), int(AtFlags.SYMLINK_NOFOLLOW)


def _name(task: Task, address: int) -> bytes:
    """import_xattr_name()."""
    try:
        name = task.mm.read_cstring(address, XATTR_NAME_MAX + 1)
    except LinuxError as error:
        raise LinuxError(errno.ERANGE if error.errno == errno.ENAMETOOLONG else error.errno) from None
    if not name:
        raise LinuxError(errno.ERANGE)
    return name


def _place(kernel: Kernel, task: Task, dirfd: int, address: int, flags: int) -> Path:
    """The place of a *at() call; an empty name means an open file, which must not be O_PATH."""
    if flags & _EMPTY and dirfd >= 0 and (not address or not PATHNAME.read(task.mm, address)):
        return task.files.get(dirfd).path
    return resolve_at(kernel, task, dirfd, address, flags, null=True)[1]


def _check_at(flags: int) -> None:
    if flags & ~(_EMPTY | _NOFOLLOW):
        raise LinuxError(errno.EINVAL)


def _given(kernel: Kernel, task: Task, address: int, size: int) -> tuple[int, int, int]:
    """A struct xattr_args of the size that the program knows."""
    value, length, flags = XATTR_ARGS.read_sized(task.mm, address, size)
    return value, length, flags


class _New:
    """A name and a value read from the program's memory (setxattr_copy)."""

    def __init__(self, task: Task, name: int, value: int, size: int, flags: int) -> None:
        if flags & ~(XATTR_CREATE | XATTR_REPLACE):
            raise LinuxError(errno.EINVAL)
        self.name = _name(task, name)
        if size > XATTR_SIZE_MAX:
            raise LinuxError(errno.E2BIG)
        self.value = task.mm.read(value, size) if size else b""
        self.flags = flags

    def store(self, task: Task, path: Path) -> int:
        """Set it."""
        xattr.setxattr(path, self.name, self.value, self.flags, task.credentials)
        return 0


def sys_setxattrat(
    kernel: Kernel, task: Task, dirfd: int, path: int, at_flags: int, name: int, args: int, size: int
) -> int:
    """setxattrat(2)."""
    value, length, flags = _given(kernel, task, args, size)
    _check_at(at_flags)
    new = _New(task, name, value, length, flags)
    return new.store(task, _place(kernel, task, dirfd, path, at_flags))


def sys_setxattr(kernel: Kernel, task: Task, path: int, name: int, value: int, size: int, flags: int) -> int:
    """setxattr(2)."""
    new = _New(task, name, value, size, flags)
    return new.store(task, _place(kernel, task, AT_FDCWD, path, 0))


def sys_lsetxattr(kernel: Kernel, task: Task, path: int, name: int, value: int, size: int, flags: int) -> int:
    """lsetxattr(2)."""
    new = _New(task, name, value, size, flags)
    return new.store(task, _place(kernel, task, AT_FDCWD, path, _NOFOLLOW))


def sys_fsetxattr(kernel: Kernel, task: Task, fd: int, name: int, value: int, size: int, flags: int) -> int:
    """fsetxattr(2)."""
    new = _New(task, name, value, size, flags)
    return new.store(task, task.files.get(fd).path)


def _answer(task: Task, data: bytes, buffer: int, size: int) -> int:
    """Store what was asked for, if it fits; its length."""
    if size:
        if len(data) > size:
            raise LinuxError(errno.ERANGE)
        task.mm.write(buffer, data)
    return len(data)


def _get(task: Task, path: Path, name: bytes, buffer: int, size: int) -> int:
    return _answer(task, xattr.getxattr(path, name, task.credentials), buffer, size)


def sys_getxattrat(
    kernel: Kernel, task: Task, dirfd: int, path: int, at_flags: int, name: int, args: int, size: int
) -> int:
    """getxattrat(2)."""
    value, length, flags = _given(kernel, task, args, size)
    if flags:
        raise LinuxError(errno.EINVAL)
    _check_at(at_flags)
    wanted = _name(task, name)
    return _get(task, _place(kernel, task, dirfd, path, at_flags), wanted, value, length)


def sys_getxattr(kernel: Kernel, task: Task, path: int, name: int, buffer: int, size: int) -> int:
    """getxattr(2)."""
    wanted = _name(task, name)
    return _get(task, _place(kernel, task, AT_FDCWD, path, 0), wanted, buffer, size)


def sys_lgetxattr(kernel: Kernel, task: Task, path: int, name: int, buffer: int, size: int) -> int:
    """lgetxattr(2)."""
    wanted = _name(task, name)
    return _get(task, _place(kernel, task, AT_FDCWD, path, _NOFOLLOW), wanted, buffer, size)


def sys_fgetxattr(kernel: Kernel, task: Task, fd: int, name: int, buffer: int, size: int) -> int:
    """fgetxattr(2)."""
    wanted = _name(task, name)
    return _get(task, task.files.get(fd).path, wanted, buffer, size)


def _list(task: Task, path: Path, buffer: int, size: int) -> int:
    return _answer(task, xattr.listxattr(path, task.credentials), buffer, size)


def sys_listxattrat(kernel: Kernel, task: Task, dirfd: int, path: int, at_flags: int, buffer: int, size: int) -> int:
    """listxattrat(2)."""
    _check_at(at_flags)
    return _list(task, _place(kernel, task, dirfd, path, at_flags), buffer, size)


def sys_listxattr(kernel: Kernel, task: Task, path: int, buffer: int, size: int) -> int:
    """listxattr(2)."""
    return _list(task, _place(kernel, task, AT_FDCWD, path, 0), buffer, size)


def sys_llistxattr(kernel: Kernel, task: Task, path: int, buffer: int, size: int) -> int:
    """llistxattr(2)."""
    return _list(task, _place(kernel, task, AT_FDCWD, path, _NOFOLLOW), buffer, size)


def sys_flistxattr(kernel: Kernel, task: Task, fd: int, buffer: int, size: int) -> int:
    """flistxattr(2)."""
    return _list(task, task.files.get(fd).path, buffer, size)


def sys_removexattrat(kernel: Kernel, task: Task, dirfd: int, path: int, at_flags: int, name: int) -> int:
    """removexattrat(2)."""
    _check_at(at_flags)
    wanted = _name(task, name)
    xattr.removexattr(_place(kernel, task, dirfd, path, at_flags), wanted, task.credentials)
    return 0


def sys_removexattr(kernel: Kernel, task: Task, path: int, name: int) -> int:
    """removexattr(2)."""
    return sys_removexattrat(kernel, task, AT_FDCWD, path, 0, name)


def sys_lremovexattr(kernel: Kernel, task: Task, path: int, name: int) -> int:
    """lremovexattr(2)."""
    return sys_removexattrat(kernel, task, AT_FDCWD, path, _NOFOLLOW, name)


def sys_fremovexattr(kernel: Kernel, task: Task, fd: int, name: int) -> int:
    """fremovexattr(2)."""
    unwanted = _name(task, name)
    xattr.removexattr(task.files.get(fd).path, unwanted, task.credentials)
    return 0


_AT_FLAGS, _ARGS = Named(AtFlags), Pointer(XATTR_ARGS)

TABLE = (
    Syscall(188, "setxattr", sys_setxattr, (LATE_PATH, STRING, ADDRESS, SIZE, _FLAGS)),
    Syscall(189, "lsetxattr", sys_lsetxattr, (LATE_PATH, STRING, ADDRESS, SIZE, _FLAGS)),
    Syscall(190, "fsetxattr", sys_fsetxattr, (FD, STRING, ADDRESS, SIZE, _FLAGS)),
    Syscall(191, "getxattr", sys_getxattr, (LATE_PATH, STRING, ADDRESS, SIZE), BYTES),
    Syscall(192, "lgetxattr", sys_lgetxattr, (LATE_PATH, STRING, ADDRESS, SIZE), BYTES),
    Syscall(193, "fgetxattr", sys_fgetxattr, (FD, STRING, ADDRESS, SIZE), BYTES),
    Syscall(194, "listxattr", sys_listxattr, (LATE_PATH, ADDRESS, SIZE), BYTES),
    Syscall(195, "llistxattr", sys_llistxattr, (LATE_PATH, ADDRESS, SIZE), BYTES),
    Syscall(196, "flistxattr", sys_flistxattr, (FD, ADDRESS, SIZE), BYTES),
    Syscall(197, "removexattr", sys_removexattr, (LATE_PATH, STRING)),
    Syscall(198, "lremovexattr", sys_lremovexattr, (LATE_PATH, STRING)),
    Syscall(199, "fremovexattr", sys_fremovexattr, (FD, STRING)),
    Syscall(463, "setxattrat", sys_setxattrat, (DIRFD, LATE_PATH, _AT_FLAGS, STRING, _ARGS, SIZE)),
    Syscall(464, "getxattrat", sys_getxattrat, (DIRFD, LATE_PATH, _AT_FLAGS, STRING, _ARGS, SIZE), BYTES),
    Syscall(465, "listxattrat", sys_listxattrat, (DIRFD, LATE_PATH, _AT_FLAGS, ADDRESS, SIZE), BYTES),
    Syscall(466, "removexattrat", sys_removexattrat, (DIRFD, LATE_PATH, _AT_FLAGS, STRING)),
)
