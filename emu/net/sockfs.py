"""sockfs: the file system in which sockets have their inodes (net/socket.c)."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from emu.fs.libfs import Node

if TYPE_CHECKING:
    from emu.fs.superblock import SuperBlock

SOCKFS_MAGIC = 0x534F434B


class SocketInode(Node):
    """The inode of a socket."""

    def __init__(self, sb: SuperBlock) -> None:
        super().__init__(sb, stat.S_IFSOCK | 0o777)
