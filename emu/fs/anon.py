"""Open files without a name or an inode of their own: event counters, timers, sets of watched files
(fs/anon_inodes.c).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.file import File
from emu.fs.inode import Inode
from emu.fs.libfs import PseudoSuperBlock
from emu.fs.superblock import FileSystemType, SuperBlock
from emu.linux.errors import LinuxError
from emu.mm.kmem import ANON_FILE

if TYPE_CHECKING:
    from emu.fs.resources import Resources

ANON_INODE_FS_MAGIC = 0x09041934


class AnonFile(File):
    """An open file on the one inode that all of its kind share.  It has no position, and lseek does not mind."""

    struct_size = ANON_FILE
    seekable = False
    one_message = True

    def lseek(self, offset: int, whence: int) -> int:
        return 0

    def prepare_write(self, count: int) -> int:
        raise LinuxError(errno.EINVAL)

    def unread(self, data: bytes, stored: int) -> int:
        """What the buffer could not hold is lost."""
        return 0


class AnonInode(Inode):
    """The inode: permission bits and no type.  It cannot be changed, nor opened again."""

    unchangeable = True


class AnonSuperBlock(PseudoSuperBlock):
    """The one instance."""

    def __init__(self, resources: Resources, fstype: FileSystemType) -> None:
        super().__init__(resources, fstype, ANON_INODE_FS_MAGIC)
        self.inode = AnonInode(self, 0o600)


class AnonFsType(FileSystemType):
    """The type ``anon_inodefs``."""

    name = "anon_inodefs"

    def mount(self, resources: Resources, options: str) -> SuperBlock:
        return AnonSuperBlock(resources, self)
