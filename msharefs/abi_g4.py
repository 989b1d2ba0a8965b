"""The calls that were described in 2026: regions are descriptors without names (LWN "Revisiting mshare", 13 May 2026;
Anthony Yznaga's topic for LSF/MM/BPF, 23 February 2026).

Nobody has published numbers, structs or errors: those here are **unimmu's own** and may change when official ones are
published. docs/mshare-g4.md lists them all.  A machine has the calls once an instance with ``abi=g4`` has been mounted;
regions are made in the first one.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING

from emu.fs.dentry import Path, unnamed_path
from emu.fs.file import File
from emu.fs.hugetlbfs import HugetlbFile
from emu.linux.argument import ADDRESS, DESCRIPTOR_FLAGS, FD, HEX, HEX32, S32, SIZE, UINT, Named, Pointer
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags
from emu.linux.layout import Struct
from emu.linux.mman import Advice, MapFlags, Prot
from emu.linux.syscall import AT_ADDRESS, DESCRIPTOR, Returned, Syscall
from emu.mm.flags import VmFlags
from emu.mm.hugetlb import HPAGE_SIZE
from emu.mm.mmap import do_mmap, do_munmap
from emu.mm.unmapped_area import unmapped_area
from emu.mm.vma import Vma
from mmu.memory import PAGE_SHIFT, PAGE_SIZE
from msharefs.charging import OWNER
from msharefs.control import MAP_FLAGS, PROT, ControlFile, object_file
from msharefs.filesystem import Abi, ClosedDirectory, MshareSuperBlock, RegionInode
from msharefs.objects import advise_range, check_window, map_object, protect_range, unmap_range
from msharefs.region import Region
from msharefs.window import WindowOperations

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.caller import Caller
    from emu.mm.address_space import AddressSpace


class Number(IntEnum):
    """The calls' numbers, which no kernel has."""

    CREATE = 600
    ATTACH = 601
    DETACH = 602
    MAP = 603
    UNMAP = 604
    PROTECT = 605
    ADVISE = 606


class AttachFlags(IntFlag):
    """MSHARE_ATTACH_*."""

    #: Only at the given address.
    FIXED = 1


_CLOEXEC = int(OpenFlags.CLOEXEC)
MAP_ARGS = Struct(
    "mshare_map_args", offset=HEX, size=SIZE, file_offset=SIZE, prot=PROT, flags=MAP_FLAGS, fd=FD, _reserved=UINT
)
_REGION_OFFSET = Returned("offset in the region")
_HUGE_SIZE = 0x3F << 26
_MAP_FLAGS = int(
    MapFlags.TYPE | MapFlags.ANONYMOUS | MapFlags.FIXED | MapFlags.FIXED_NOREPLACE | MapFlags.NORESERVE
    | MapFlags.HUGETLB | _HUGE_SIZE
)  # fmt: skip
_RIGHTS = int(Prot.READ | Prot.WRITE | Prot.EXEC)


class PartOfRegion(WindowOperations):
    """A window on whole units of a region, starting at the VMA's offset."""

    def to_host(self, vma: Vma) -> int:
        return self.region.host_base + (vma.pgoff << PAGE_SHIFT) - vma.start


class RegionG4(RegionInode):
    """The inode behind a region's descriptors."""

    def __init__(self, sb: MshareSuperBlock, uid: int, gid: int, region: Region) -> None:
        super().__init__(sb, 0o600, uid, gid, region)
        self.nlink = 0
        self.ops = PartOfRegion(region)

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        return FileG4(path, flags)

    def truncate(self, size: int) -> None:
        """Set the size: once, a multiple of the unit, and not 0."""
        region = self.region
        if region.size or not size or size % region.unit:
            raise LinuxError(errno.EINVAL)
        self.size = region.size = size
        self.touch()


class FileG4(ControlFile):
    """A region's descriptor."""

    inode: RegionG4

    def flush(self, owner: object) -> None:
        """The owner has closed its last descriptor: the region ends, even if others have descriptors."""
        super().flush(owner)
        region = self.region
        process, current = region.owner, region.kernel.current
        if process is None or current is None or current.group is not process.group:
            return
        if not region.dies_with_owner or region.orphaned:
            return
        if not any(current.files.get_any(fd).inode is self.inode for fd in current.files):
            region.lose_owner()

    def check_alive(self) -> None:
        """LinuxError: EOWNERDEAD for a region that has ended with its owner, EINVAL for one without a size."""
        if self.region.orphaned:
            raise LinuxError(errno.EOWNERDEAD)
        if not self.region.size:
            raise LinuxError(errno.EINVAL)


class AttachedFile(FileG4):
    """The file of a window's VMA: unlike the descriptor, it can be mapped."""

    def get_unmapped_area(self, mm: AddressSpace, address: int, length: int, pgoff: int, flags: int) -> int | None:
        """The address that mshare_attach() asks for.

        LinuxError(EINVAL) for remap_file_pages(), which would replace a part.
        """
        if flags & MapFlags.FIXED:
            raise LinuxError(errno.EINVAL)
        return address if flags & MapFlags.FIXED_NOREPLACE else unmapped_area(mm, length, address, self.region.unit)

    def mmap(self, mm: AddressSpace, vma: Vma) -> None:
        check_window(self.region, vma.prot)
        vma.ops = self.inode.ops
        vma.flags |= VmFlags.DONTEXPAND


class DescriptorCalls:
    """mshare_create(2) and the other calls."""

    def __init__(self, mounted: Sequence[MshareSuperBlock]) -> None:
        self._mounted = mounted
        self.table = (
            Syscall(Number.CREATE, "mshare_create", self.create, (DESCRIPTOR_FLAGS,), DESCRIPTOR),
            Syscall(Number.ATTACH, "mshare_attach", self.attach, (FD, HEX, SIZE, ADDRESS, HEX32), AT_ADDRESS),
            Syscall(Number.DETACH, "mshare_detach", self.detach, (ADDRESS,)),
            Syscall(Number.MAP, "mshare_map", self.map, (FD, Pointer(MAP_ARGS), SIZE), _REGION_OFFSET),
            Syscall(Number.UNMAP, "mshare_unmap", self.unmap, (FD, HEX, SIZE)),
            Syscall(Number.PROTECT, "mshare_protect", self.protect, (FD, HEX, SIZE, PROT)),
            Syscall(Number.ADVISE, "mshare_advise", self.advise, (FD, HEX, SIZE, Named(Advice, S32))),
        )

    def create(self, kernel: Kernel, task: Task, flags: int) -> int:
        """int mshare_create(unsigned int flags): a region without a size, owned by the caller."""
        sb = next((sb for sb in self._mounted if sb.options.abi == "g4"), None)
        if sb is None:
            raise LinuxError(errno.ENOSYS)
        if flags & ~_CLOEXEC:
            raise LinuxError(errno.EINVAL)
        task.files.check_room()
        name = f"mshare:{sb.next_ino()}"
        region = sb.new_region(name, at_owner_exit="die", tlb="sharers", charge=OWNER)
        inode = RegionG4(sb, task.credentials.euid, task.credentials.egid, region)
        mount = next(mount for mount in kernel.vfs.mount_table if mount.sb is sb)
        try:
            file = inode.open(unnamed_path(mount, inode, f"/{name} (deleted)"), OpenFlags.RDWR, task)
        except LinuxError:
            sb.regions.abandon(region)
            raise
        return task.files.open(file, bool(flags & _CLOEXEC))

    @staticmethod
    def _file(task: Task, fd: int, *, to_change: bool = True) -> FileG4:
        """The region's descriptor.  LinuxError: EBADF, also for a read-only one if ``to_change``; EINVAL for
        another kind of file.
        """
        file = task.files.get(fd)
        if not isinstance(file, FileG4):
            raise LinuxError(errno.EINVAL)
        if to_change and not file.writable:
            raise LinuxError(errno.EBADF)
        file.check_alive()
        return file

    def attach(self, kernel: Kernel, task: Task, fd: int, offset: int, size: int, address: int, flags: int) -> int:
        """long mshare_attach(int fd, u64 offset, u64 size, void *addr, unsigned int flags): a window; its address."""
        file = self._file(task, fd, to_change=False)
        region = file.region
        if flags & ~int(AttachFlags.FIXED) or not size or (offset | size) % region.unit or offset + size > region.size:
            raise LinuxError(errno.EINVAL)
        if flags & AttachFlags.FIXED and address % region.unit:
            raise LinuxError(errno.EINVAL)
        how = MapFlags.SHARED | (MapFlags.FIXED_NOREPLACE if flags & AttachFlags.FIXED else 0)
        attached = AttachedFile(file.path, OpenFlags.RDWR)
        try:
            return do_mmap(task.mm, address, size, Prot.READ | Prot.WRITE, how, attached, offset)
        finally:
            attached.put()  # the VMA has its own reference

    def detach(self, kernel: Kernel, task: Task, address: int) -> int:
        """int mshare_detach(void *addr): remove the window that begins there."""
        vma = task.mm.vmas.find(address)
        if vma is None or vma.start != address or not isinstance(vma.ops, PartOfRegion):
            raise LinuxError(errno.EINVAL)
        do_munmap(task.mm, address, vma.length)
        return 0

    def map(self, kernel: Kernel, task: Task, fd: int, pointer: int, size: int) -> int:
        """long mshare_map(int fd, const struct mshare_map_args *args, size_t size): an object; its offset."""
        file = self._file(task, fd)
        arguments: tuple[int, ...] = MAP_ARGS.read_sized(task.mm, pointer, size)
        at, length, file_offset, prot, flags, object_fd, reserved = arguments
        region, anonymous = file.region, flags & MapFlags.ANONYMOUS
        if reserved or prot & ~_RIGHTS or flags & ~_MAP_FLAGS or flags & MapFlags.TYPE != MapFlags.SHARED:
            raise LinuxError(errno.EINVAL)
        if not length or at % PAGE_SIZE or file_offset % PAGE_SIZE or (anonymous and object_fd != -1):
            raise LinuxError(errno.EINVAL)
        mapped = None if anonymous else object_file(task, object_fd, flags, prot)
        if not flags & (MapFlags.FIXED | MapFlags.FIXED_NOREPLACE):
            at = self._place(region, at, length, mapped, flags)
        elif at + length > region.size:
            raise LinuxError(errno.EINVAL)
        map_object(region, task, at, length, prot, flags | MapFlags.FIXED, mapped, file_offset)
        return at

    @staticmethod
    def _place(region: Region, hint: int, length: int, mapped: File | None, flags: int) -> int:
        """A free range of the region: at the hint if that is free, else the lowest.  LinuxError(ENOMEM)."""
        align = HPAGE_SIZE if flags & MapFlags.HUGETLB or isinstance(mapped, HugetlbFile) else PAGE_SIZE
        length = (length + align - 1) & -align
        base, end = region.host_base, region.host_base + region.size
        for first in (base + hint, base):
            at = (first + align - 1) & -align
            while at + length <= end:
                busy = region.host.vmas.overlapping(at, at + length)
                if not busy:
                    return at - base
                if first != base:
                    break
                at = (busy[-1].end + align - 1) & -align
        raise LinuxError(errno.ENOMEM)

    def unmap(self, kernel: Kernel, task: Task, fd: int, offset: int, size: int) -> int:
        """int mshare_unmap(int fd, u64 offset, u64 size): every sharer loses the range."""
        unmap_range(self._file(task, fd).region, offset, size)
        return 0

    def protect(self, kernel: Kernel, task: Task, fd: int, offset: int, size: int, prot: int) -> int:
        """int mshare_protect(int fd, u64 offset, u64 size, int prot): change the rights, for every sharer at once."""
        protect_range(self._file(task, fd).region, offset, size, prot)
        return 0

    def advise(self, kernel: Kernel, task: Task, fd: int, offset: int, size: int, advice: int) -> int:
        """int mshare_advise(int fd, u64 offset, u64 size, int advice): MADV_* on the shared tables."""
        advise_range(self._file(task, fd).region, task, offset, size, advice)
        return 0


def own_calls(mounted: Sequence[MshareSuperBlock]) -> tuple[Syscall, ...]:
    """The calls, for a machine that has mounted an instance."""
    return DescriptorCalls(mounted).table


ABI = Abi(
    "g4",
    "calls on descriptors, as described in 2026; numbers, structs and errors are unimmu's own",
    directory=ClosedDirectory,
    root_mode=0o755,
    own_calls=own_calls,
)
