"""sysfs and debugfs: files that the kernel and its modules make and guests only read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.fs.libfs import FixedDirectory
from emu.fs.pseudo import LateDirectory, PseudoSuperBlock
from emu.fs.superblock import FileSystemType, SuperBlock

if TYPE_CHECKING:
    from emu.fs.resources import Resources

SYSFS_MAGIC = 0x62656572
DEBUGFS_MAGIC = 0x64626720


class SysfsSuperBlock(PseudoSuperBlock):
    """The one tree of a type; ``mode`` is that of its root."""

    file_size = 4096

    def __init__(self, resources: Resources, fstype: FileSystemType, magic: int, mode: int) -> None:
        super().__init__(resources, fstype)
        self.magic = magic
        #: Adds the files that few programs ask for, once.
        self.late: Callable[[], None] | None = None
        self.root = LateDirectory(self, self.complete, mode)

    def complete(self) -> None:
        """Add them, when the first program does."""
        if self.late is not None:
            late, self.late = self.late, None
            late()

    def new_directory(self, name: str) -> FixedDirectory:
        return LateDirectory(self, self.complete)


class Sysfs(FileSystemType):
    """The file system type ``sysfs``; every mount shows the same tree."""

    name = "sysfs"
    for_users = True

    def __init__(self, resources: Resources) -> None:
        self.tree = SysfsSuperBlock(resources, self, SYSFS_MAGIC, 0o555)

    def mount(self, resources: Resources, options: str) -> SuperBlock:
        return self.tree


class Debugfs(FileSystemType):
    """The file system type ``debugfs``: only root can enter it; every mount shows the same tree."""

    name = "debugfs"

    def __init__(self, resources: Resources) -> None:
        self.tree = SysfsSuperBlock(resources, self, DEBUGFS_MAGIC, 0o700)

    def mount(self, resources: Resources, options: str) -> SuperBlock:
        return self.tree


def add_cpus(tree: PseudoSuperBlock, count: int, late: Callable[[], None]) -> None:
    """/sys/devices/system/cpu: the CPUs, as the start-up code of glibc and Go reads them.  ``late`` adds the rest."""
    assert isinstance(tree, SysfsSuperBlock)
    tree.late = late
    cpus = f"0-{count - 1}\n" if count > 1 else "0\n"
    for name in ("online", "possible", "present"):
        tree.create_file(f"devices/system/cpu/{name}", cpus.encode)
    for cpu in range(count):
        tree.create_directory(f"devices/system/cpu/cpu{cpu}")
