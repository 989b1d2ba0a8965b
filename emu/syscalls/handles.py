"""name_to_handle_at and open_by_handle_at: files without their names (fs/fhandle.c)."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from emu.fs.dentry import Path
from emu.fs.handle import FILEID_INVALID, decode, encode
from emu.fs.open import check_open_flags, open_path
from emu.linux.argument import DIRFD, INT, U64, Bits, Named, Pointer, Scalar
from emu.linux.capability import DAC_READ_SEARCH
from emu.linux.errors import LinuxError
from emu.linux.fileflags import AT_FDCWD, AtFlags, OpenFlags
from emu.linux.layout import LATE_PATH, Opaque
from emu.linux.syscall import DESCRIPTOR, Syscall
from emu.syscalls.paths import resolve_at

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_NOFOLLOW, _EMPTY_PATH, _FOLLOW = int(AtFlags.SYMLINK_NOFOLLOW), int(AtFlags.EMPTY_PATH), int(AtFlags.SYMLINK_FOLLOW)
_HANDLE_FID, _HANDLE_MNT_ID_UNIQUE, _HANDLE_CONNECTABLE = 0x200, 1, 2
_MAX_HANDLE = 128
#: struct file_handle up to the bytes: how many there are, and of what type.
_HEAD = struct.Struct("<Ii")
_UNIQUE = Scalar("u64", U64)


def sys_name_to_handle_at(
    kernel: Kernel, task: Task, dirfd: int, address: int, handle: int, mount_id: int, flags: int
) -> int:
    """name_to_handle_at(2)."""
    known = _FOLLOW | _EMPTY_PATH | _HANDLE_FID | _HANDLE_MNT_ID_UNIQUE | _HANDLE_CONNECTABLE
    if flags & ~known or (flags & _HANDLE_FID and flags & _HANDLE_CONNECTABLE):
        raise LinuxError(errno.EINVAL)
    how = flags & _EMPTY_PATH | (0 if flags & _FOLLOW else _NOFOLLOW)
    _, path = resolve_at(kernel, task, dirfd, address, how)
    kind, data = encode(path.inode, identify_only=bool(flags & _HANDLE_FID))
    room, _ = _HEAD.unpack(task.mm.read(handle, _HEAD.size))
    if room > _MAX_HANDLE:
        raise LinuxError(errno.EINVAL)
    fits = len(data) <= room
    if flags & _HANDLE_MNT_ID_UNIQUE:
        _UNIQUE.write(task.mm, mount_id, path.mount.unique_id)
    else:
        INT.write(task.mm, mount_id, path.mount.id)
    task.mm.write(handle, _HEAD.pack(len(data), kind if fits else FILEID_INVALID) + (data if fits else b""))
    if not fits:
        raise LinuxError(errno.EOVERFLOW)
    return 0


def sys_open_by_handle_at(kernel: Kernel, task: Task, mount_fd: int, handle: int, flags: int) -> int:
    """open_by_handle_at(2)."""
    size, kind = _HEAD.unpack(task.mm.read(handle, _HEAD.size))
    if not 0 < size <= _MAX_HANDLE or kind < 0:
        raise LinuxError(errno.EINVAL)
    place: Path = task.fs.cwd if mount_fd == AT_FDCWD else task.files.get(mount_fd).path
    if not task.credentials.capable(DAC_READ_SEARCH):
        raise LinuxError(errno.EPERM)
    path = decode(place.mount, task.mm.read(handle + _HEAD.size, size))
    task.files.check_room()
    flags = check_open_flags(flags | int(OpenFlags.LARGEFILE))
    file = open_path(kernel.vfs.walker(task), path, flags)
    return task.files.open(file, bool(flags & OpenFlags.CLOEXEC))


_HANDLE = Pointer(Opaque("file_handle"))
_FLAGS = Bits("AT_", SYMLINK_FOLLOW=_FOLLOW, EMPTY_PATH=_EMPTY_PATH, HANDLE_FID=_HANDLE_FID)

TABLE = (
    Syscall(303, "name_to_handle_at", sys_name_to_handle_at, (DIRFD, LATE_PATH, _HANDLE, Pointer(INT), _FLAGS)),
    Syscall(304, "open_by_handle_at", sys_open_by_handle_at, (DIRFD, _HANDLE, Named(OpenFlags)), DESCRIPTOR),
)
