"""sockfs: the file system in which sockets have their inodes (net/socket.c)."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from emu.fs.libfs import FixedDirectory, Node
from emu.fs.superblock import FileSystemType, SuperBlock

if TYPE_CHECKING:
    from emu.fs.resources import Resources

SOCKFS_MAGIC = 0x534F434B


class SocketInode(Node):
    """The inode of a socket."""

    def __init__(self, sb: SuperBlock) -> None:
        super().__init__(sb, stat.S_IFSOCK | 0o777)


class SockSuperBlock(SuperBlock):
    """The one instance."""

    magic = SOCKFS_MAGIC

    def __init__(self, resources: Resources, fstype: FileSystemType) -> None:
        super().__init__(resources, fstype)
        self.root = FixedDirectory(self)


class SockFsType(FileSystemType):
    """The type ``sockfs``."""

    name = "sockfs"

    def mount(self, resources: Resources, options: str) -> SuperBlock:
        return SockSuperBlock(resources, self)
