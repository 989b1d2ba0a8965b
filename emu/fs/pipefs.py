"""pipefs: where the inodes of pipes (and of the console's streams) live; in no tree."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from emu.fs.inode import Inode
from emu.fs.libfs import FixedDirectory
from emu.fs.superblock import FileSystemType, SuperBlock

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel

PIPEFS_MAGIC = 0x50495045


class PipeInode(Inode):
    """The inode of a pipe."""

    def __init__(self, sb: SuperBlock) -> None:
        super().__init__(sb, stat.S_IFIFO | 0o600)


class PipeSuperBlock(SuperBlock):
    """The one instance."""

    magic = PIPEFS_MAGIC

    def __init__(self, kernel: Kernel, fstype: FileSystemType) -> None:
        super().__init__(kernel, fstype)
        self.root = FixedDirectory(self)


class PipeFsType(FileSystemType):
    """The type ``pipefs``."""

    name = "pipefs"

    def mount(self, kernel: Kernel, options: str) -> SuperBlock:
        return PipeSuperBlock(kernel, self)
