"""sysfs and debugfs: what the kernel and its modules show; guests only read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.fs.inode import Inode
from emu.fs.libfs import FixedDirectory
from emu.fs.pseudo import Text, TextFile
from emu.fs.superblock import FileSystemType, SuperBlock

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel

SYSFS_MAGIC = 0x62656572
DEBUGFS_MAGIC = 0x64626720


class SysfsSuperBlock(SuperBlock):
    """The one tree of a type; ``mode`` is that of its root."""

    def __init__(self, kernel: Kernel, fstype: FileSystemType, magic: int, mode: int) -> None:
        super().__init__(kernel, fstype)
        self.magic = magic
        self.root: FixedDirectory = FixedDirectory(self, mode)

    def create_directory(self, name: str) -> FixedDirectory:
        """The directory ``a/b/c``, made with those above it where they are missing."""
        directory = self.root
        for part in name.split("/"):
            inode: Inode | None = directory.entries.get(part)
            if inode is None:
                inode = FixedDirectory(self)
                directory.add(part, inode)
            if not isinstance(inode, FixedDirectory):
                raise ValueError(f"{self.fstype.name}: {part} in {name} is no directory")
            directory = inode
        return directory

    def create_mount_point(self, name: str) -> None:
        """An empty directory on which a module's file system is to be mounted (sysfs_create_mount_point)."""
        self.create_directory(name)

    def remove_mount_point(self, name: str) -> None:
        """Take the directory away again (sysfs_remove_mount_point)."""
        parent, _, last = name.rpartition("/")
        directory = self.create_directory(parent) if parent else self.root
        directory.remove(last).nlink = 0

    def create_file(self, name: str, text: Text, mode: int = 0o444, size: int = 4096) -> None:
        """A text file ``a/b/c``; its directories are made where they are missing."""
        parent, _, last = name.rpartition("/")
        directory = self.create_directory(parent) if parent else self.root
        directory.add(last, TextFile(self, text, mode, size))


class Sysfs(FileSystemType):
    """The file system type ``sysfs``; every mount shows the same tree."""

    name = "sysfs"

    def __init__(self, kernel: Kernel) -> None:
        self.tree = SysfsSuperBlock(kernel, self, SYSFS_MAGIC, 0o555)

    def mount(self, kernel: Kernel, options: str) -> SuperBlock:
        return self.tree


class Debugfs(FileSystemType):
    """The file system type ``debugfs``: only root can enter it; every mount shows the same tree."""

    name = "debugfs"

    def __init__(self, kernel: Kernel) -> None:
        self.tree = SysfsSuperBlock(kernel, self, DEBUGFS_MAGIC, 0o700)

    def mount(self, kernel: Kernel, options: str) -> SuperBlock:
        return self.tree


def add_cpus(tree: SysfsSuperBlock, count: int) -> None:
    """/sys/devices/system/cpu: which CPUs there are, as glibc's and Go's start-up read it."""
    cpus = f"0-{count - 1}\n" if count > 1 else "0\n"
    for name in ("online", "possible", "present"):
        tree.create_file(f"devices/system/cpu/{name}", cpus.encode)
    for cpu in range(count):
        tree.create_directory(f"devices/system/cpu/cpu{cpu}")
