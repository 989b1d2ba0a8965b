"""The second series (Khalid Aziz, June 2022): files only, without a system call or an ioctl.

The first mmap of a region's file fixes the range: everybody maps the same address and length, which reading the file
tells.  All of it is private anonymous memory of the host mm.  What a kernel with this series answered:
mshare-observed.md, section 13.  What differs here is in docs/mshare-generations.md.
"""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING

from emu.fs.dentry import Path
from emu.fs.file import File
from emu.fs.inode import Inode, NewOwner
from emu.fs.libfs import Node
from emu.linux.errors import LinuxError
from emu.linux.mman import MapFlags, Prot
from emu.mm.address_space import AddressSpace
from emu.mm.flags import VmFlags
from emu.mm.mmap import do_mmap
from emu.mm.vma import Vma
from msharefs.control import EarlyRegionInode, RangeFile, early_fallocate
from msharefs.early_window import PartedWindow
from msharefs.filesystem import Abi, MshareDirectory, MshareSuperBlock
from msharefs.objects import check_window
from msharefs.region import Region

if TYPE_CHECKING:
    from emu.linux.caller import Caller

_HOST_FLAGS = MapFlags.PRIVATE | MapFlags.ANONYMOUS | MapFlags.FIXED | MapFlags.NORESERVE


class RegionV2(EarlyRegionInode):
    """A region's file."""

    def __init__(self, sb: MshareSuperBlock, mode: int, uid: int, gid: int, region: Region) -> None:
        super().__init__(sb, mode, uid, gid, region)
        self.ops = PartedWindow(region)

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        return FileV2(path, flags)

    def fix_range(self, start: int, length: int, prot: Prot) -> None:
        """The first mmap: the whole range becomes memory of the host mm, with the rights of this mapping."""
        region = self.region
        do_mmap(region.host, start, length, prot, _HOST_FLAGS)
        for vma in region.host.vmas.overlapping(start, start + length):
            vma.flags |= VmFlags.NOHUGEPAGE
        region.host_base, region.size = start, length

    def leave(self, mm: AddressSpace) -> None:
        """Take the region out of an address space."""
        for vma in list(mm.vmas):
            if vma.ops is self.ops:
                mm.remove(vma)


def create_v2(sb: MshareSuperBlock, name: str, owner: NewOwner) -> RegionV2:
    """creat(2): a region without a range, which outlives its creator."""
    return RegionV2(sb, owner.mode, owner.uid, owner.gid, sb.new_region(name))


class FileV2(RangeFile):
    """An open region."""

    inode: RegionV2

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        early_fallocate(offset, length)

    def mmap(self, mm: AddressSpace, vma: Vma) -> None:
        """The first mmap fixes the range, at multiples of the unit; every other must have the same range (EINVAL)."""
        region = self.region
        check_window(region, vma.prot)
        if not region.size:
            if (vma.start | vma.end) % region.unit:
                raise LinuxError(errno.EINVAL)
            self.inode.fix_range(vma.start, vma.length, vma.prot)
        elif (vma.start, vma.length) != (region.host_base, region.size):
            raise LinuxError(errno.EINVAL)
        vma.ops = self.inode.ops
        vma.flags |= VmFlags.SHARED | VmFlags.DONTEXPAND


class DirectoryV2(MshareDirectory):
    """A directory of this series."""

    def mknod(self, name: str, owner: NewOwner, kind: int, rdev: int) -> Inode:
        """FIFOs can be made, as observed."""
        if kind != stat.S_IFIFO:
            return super().mknod(name, owner, kind, rdev)
        inode = Node(self.sb, kind | owner.mode, 0, owner.uid, owner.gid)
        self.add(name, inode)
        return inode

    def unlink(self, name: str, inode: Inode) -> None:
        """unlink(2) of a region unmaps it from the caller too (7/9)."""
        task = self.sb.regions.kernel.current
        if isinstance(inode, RegionV2) and task is not None:
            inode.leave(task.mm)  # while it has a name: so that the region is not freed with the last window
        super().unlink(name, inode)


ABI = Abi("v2", "Khalid Aziz, second series, June 2022", create_v2, directory=DirectoryV2)
