"""/dev: a tmpfs with the device nodes in it (devtmpfs), and the memory devices (drivers/char/mem.c, random.c)."""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING

from emu.fs.file import File
from emu.fs.libfs import FixedDirectory, Node, Symlink
from emu.fs.superblock import FileSystemType, SuperBlock
from emu.fs.tmpfs import TmpfsDirectory, TmpfsSuperBlock
from emu.linux.errors import LinuxError
from emu.linux.fileflags import makedev
from emu.linux.mman import MapFlags
from emu.mm.shmem import SharedAnonymous
from emu.mm.unmapped_area import IN_PLACE, thp_area
from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    from emu.fs.resources import Resources
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma

NULL = makedev(1, 3)
ZERO = makedev(1, 5)
FULL = makedev(1, 7)
RANDOM = makedev(1, 8)
URANDOM = makedev(1, 9)
USERFAULTFD = makedev(10, 257)
TTY = makedev(5, 0)
PTMX = makedev(5, 2)
#: Those from which as many bytes come as are wanted.
ENDLESS = frozenset({ZERO, FULL, RANDOM, URANDOM})
#: The devices in /dev.
DEVICES = {"null": NULL, "zero": ZERO, "full": FULL, "random": RANDOM, "urandom": URANDOM, "tty": TTY}


class NullFile(File):
    """/dev/null: empty, and takes everything."""

    nowait = takes_unseen = True

    @property
    def pollable(self) -> bool:
        return False

    def read(self, count: int) -> bytes:
        return b""

    def write(self, data: bytes) -> int:
        return len(data)

    def pread(self, count: int, pos: int) -> bytes:
        return b""

    def pwrite(self, data: bytes, pos: int) -> int:
        return len(data)

    def lseek(self, offset: int, whence: int) -> int:
        self.pos = 0
        return 0


class ZeroFile(NullFile):
    """/dev/zero: endless zeros; a mapping is anonymous memory."""

    def read(self, count: int) -> bytes:
        return bytes(count)

    def pread(self, count: int, pos: int) -> bytes:
        return bytes(count)

    def mmap(self, mm: AddressSpace, vma: Vma) -> None:
        # As shmem_zero_setup(): a shared mapping is a new object of its own; a private one is anonymous memory, which
        # only /proc/PID/maps shows as the device's.
        if vma.shared:
            vma.file, vma.pgoff = None, 0
            vma.page_cache = SharedAnonymous(mm, vma.length, vma.flags)

    def get_unmapped_area(self, mm: AddressSpace, address: int, length: int, pgoff: int, flags: int) -> int | None:
        if flags & (MapFlags.SHARED | IN_PLACE):
            return None
        return thp_area(mm, address, length, MapFlags(flags), pgoff << PAGE_SHIFT)


class FullFile(ZeroFile):
    """/dev/full: zeros to read, no room to write."""

    def write(self, data: bytes) -> int:
        raise LinuxError(errno.ENOSPC)

    def pwrite(self, data: bytes, pos: int) -> int:
        raise LinuxError(errno.ENOSPC)

    def mmap(self, mm: AddressSpace, vma: Vma) -> None:
        raise LinuxError(errno.ENODEV)


class RandomFile(NullFile):
    """/dev/random and /dev/urandom: bytes from the machine's seed."""

    @property
    def pollable(self) -> bool:
        return self.inode.rdev == RANDOM

    def read(self, count: int) -> bytes:
        return self.inode.sb.resources.random.randbytes(count)

    def pread(self, count: int, pos: int) -> bytes:
        return self.read(count)

    def lseek(self, offset: int, whence: int) -> int:
        return self.pos


def register_devices(resources: Resources) -> None:
    """The devices behind the device numbers."""
    resources.register_device(NULL, NullFile)
    resources.register_device(ZERO, ZeroFile)
    resources.register_device(FULL, FullFile)
    resources.register_device(RANDOM, RandomFile)
    resources.register_device(URANDOM, RandomFile)


class DevTmpfs(FileSystemType):
    """The file system type ``devtmpfs``: every mount shows the same /dev."""

    name = "devtmpfs"
    has_btime = True

    def __init__(self, resources: Resources) -> None:
        self.tree = TmpfsSuperBlock(resources, self, "mode=755")
        _add_nodes(self.tree)

    def mount(self, resources: Resources, options: str) -> SuperBlock:
        return self.tree


def _add_nodes(sb: TmpfsSuperBlock) -> None:
    root = sb.root
    assert isinstance(root, FixedDirectory)
    for name, rdev in DEVICES.items():
        root.add(name, Node(sb, stat.S_IFCHR | 0o666, rdev))
    root.add("userfaultfd", Node(sb, stat.S_IFCHR | 0o600, USERFAULTFD))
    links = {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}
    for name, rest in links.items():
        root.add(name, Symlink(sb, "/proc/self/fd" + rest))
    root.add("shm", TmpfsDirectory(sb, 0o1777))
    root.add("ptmx", Node(sb, stat.S_IFCHR | 0o666, PTMX))
    root.add("pts", TmpfsDirectory(sb, 0o755))
