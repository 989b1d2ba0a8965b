"""sysfs and debugfs: files that the kernel and its modules make and guests only read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from emu.fs.libfs import FixedDirectory
from emu.fs.pseudo import PseudoSuperBlock, TextFile
from emu.fs.superblock import FileSystemType, SuperBlock

if TYPE_CHECKING:
    from emu.fs.file import DirectoryEntry
    from emu.fs.inode import Inode
    from emu.fs.resources import Resources

_COUNTED = ("bytes", "packets", "errors", "dropped", "fifo_errors", "compressed")
SYSFS_MAGIC = 0x62656572
DEBUGFS_MAGIC = 0x64626720


class SysfsSuperBlock(PseudoSuperBlock):
    """The one tree of a type; ``mode`` is that of its root."""

    file_size = 4096

    def __init__(self, resources: Resources, fstype: FileSystemType, magic: int, mode: int) -> None:
        super().__init__(resources, fstype)
        self.magic = magic
        self.root = FixedDirectory(self, mode)


class Sysfs(FileSystemType):
    """The file system type ``sysfs``; every mount shows the same tree."""

    name = "sysfs"

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


def _of_lo() -> dict[str, object]:
    """The files of lo.  Most runs ask for none, and need no more of the network than this."""
    from emu.net.device import LO_INDEX, LO_MTU, LO_QUEUE, LO_TYPE

    return {
        "address": "00:00:00:00:00:00", "addr_assign_type": 0, "addr_len": 6, "broadcast": "00:00:00:00:00:00",
        "carrier": 1,
        "carrier_changes": 0, "dev_id": "0x0", "dev_port": 0, "dormant": 0, "flags": "0x9", "gro_flush_timeout": 0,
        "ifalias": "", "ifindex": LO_INDEX, "iflink": LO_INDEX, "link_mode": 0, "mtu": LO_MTU,
        "name_assign_type": 2, "netdev_group": 0, "operstate": "unknown", "proto_down": 0,
        "tx_queue_len": LO_QUEUE, "type": LO_TYPE, "uevent": "INTERFACE=lo\nIFINDEX=1",
    }  # fmt: skip


class LoDirectory(FixedDirectory):
    """/sys/devices/virtual/net/lo, made when somebody looks."""

    def __init__(self, tree: PseudoSuperBlock) -> None:
        super().__init__(tree)
        self._tree = tree

    def _fill(self) -> None:
        if not self.entries:
            for name, value in _of_lo().items():
                self.add(name, TextFile(self._tree, f"{value}\n".encode, size=self._tree.file_size))
            statistics = FixedDirectory(self._tree)
            self.add("statistics", statistics)
            for name in (f"{way}_{what}" for way in ("rx", "tx") for what in _COUNTED):
                statistics.add(name, TextFile(self._tree, b"0\n".__bytes__, size=self._tree.file_size))

    def lookup(self, name: str) -> Inode:
        self._fill()
        return super().lookup(name)

    def iterate(self) -> Iterable[DirectoryEntry]:
        self._fill()
        return super().iterate()


def add_lo(tree: PseudoSuperBlock) -> None:
    """/sys/class/net."""
    tree.create_directory("devices/virtual/net").add("lo", LoDirectory(tree))
    tree.create_link("class/net/lo", "../../devices/virtual/net/lo")


def add_cpus(tree: PseudoSuperBlock, count: int) -> None:
    """/sys/devices/system/cpu: the CPUs, as the start-up code of glibc and Go reads them."""
    cpus = f"0-{count - 1}\n" if count > 1 else "0\n"
    for name in ("online", "possible", "present"):
        tree.create_file(f"devices/system/cpu/{name}", cpus.encode)
    for cpu in range(count):
        tree.create_directory(f"devices/system/cpu/cpu{cpu}")
