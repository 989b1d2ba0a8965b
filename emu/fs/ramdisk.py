"""/dev/ram0: the block device to which a machine swaps (drivers/block/brd.c).  Nothing can open it."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from emu.fs.libfs import FixedDirectory, Node
from emu.linux.fileflags import makedev

if TYPE_CHECKING:
    from emu.fs.inode import Inode
    from emu.fs.vfs import Vfs

_NAME, _RAMDISK_MAJOR = "ram0", 1


def add_ramdisk(vfs: Vfs) -> tuple[str, Inode]:
    """Make its node; returns its name and the inode."""
    directory = vfs.walker(None).resolve("/dev").inode
    assert isinstance(directory, FixedDirectory)
    inode = Node(directory.sb, stat.S_IFBLK | 0o660, makedev(_RAMDISK_MAJOR, 0))
    directory.add(_NAME, inode)
    return f"/dev/{_NAME}", inode
