"""File handles: an inode by its number, without a name (fs/exportfs)."""

from __future__ import annotations

import errno
import struct
from collections import deque
from typing import TYPE_CHECKING

from emu.fs.dentry import Path
from emu.fs.libfs import FixedDirectory
from emu.linux.errors import LinuxError

if TYPE_CHECKING:
    from emu.fs.dentry import Dentry
    from emu.fs.inode import Inode
    from emu.fs.mount import VfsMount

#: Types of handles: of a file system that can open it again, and of one that only tells files apart.
FILEID_SHMEM, FILEID_INO64_GEN, FILEID_INVALID = 1, 0x81, 0xFF
_SHMEM, _INO64 = struct.Struct("<III"), struct.Struct("<QI")


def _generation(inode: Inode) -> int:
    """What tells apart two inodes that have had the same number."""
    return inode.btime // 1000 & 0xFFFFFFFF


def encode(inode: Inode, *, identify_only: bool) -> tuple[int, bytes]:
    """The type of a handle and its bytes (exportfs_encode_fh).  LinuxError(EOPNOTSUPP)."""
    if inode.sb.exported:
        return FILEID_SHMEM, _SHMEM.pack(_generation(inode), inode.ino & 0xFFFFFFFF, inode.ino >> 32)
    if not identify_only:
        raise LinuxError(errno.EOPNOTSUPP)
    return FILEID_INO64_GEN, _INO64.pack(inode.ino, 0)


def decode(mount: VfsMount, data: bytes) -> Path:
    """The place of an inode (exportfs_decode_fh).  LinuxError(ESTALE) if there is none any more."""
    if not mount.sb.exported or len(data) < _SHMEM.size:
        raise LinuxError(errno.ESTALE)
    generation, low, high = _SHMEM.unpack_from(data)
    number = low | high << 32
    pending: deque[Dentry] = deque([mount.root])
    while pending:
        dentry = pending.popleft()
        inode = dentry.inode
        if inode.ino == number and _generation(inode) == generation:
            return Path(mount, dentry)
        if isinstance(inode, FixedDirectory):
            pending += [dentry.child(name, child) for name, child in inode.entries.items()]
    raise LinuxError(errno.ESTALE)
