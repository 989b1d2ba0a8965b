"""The interface of the last posting (third series of Anthony Yznaga, August 2025): everything through the region's
file.

ftruncate or fallocate sets the size, once; two ioctls map objects into the region and unmap them; mmap of the whole
file makes a window.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.dentry import Path
from emu.fs.file import File
from emu.fs.inode import NewOwner
from emu.kernel.task import task_of
from emu.linux.argument import HEX, SIZE, Ioctl, Named
from emu.linux.errors import LinuxError
from emu.linux.layout import Struct
from emu.linux.mman import Advice, MapFlags
from emu.mm.address_space import AddressSpace, page_align
from emu.mm.flags import VmFlags
from emu.mm.unmapped_area import aligned_area
from emu.mm.vma import Vma
from msharefs.charging import OWNER
from msharefs.control import PROT, ControlFile, mshare_create, mshare_unmap, object_file
from msharefs.filesystem import Abi, MshareSuperBlock, RegionInode
from msharefs.objects import advise_range, check_window, is_shared_fixed, map_object, protect_range, unmap_range
from msharefs.region import Region
from msharefs.window import WindowOperations

if TYPE_CHECKING:
    from emu.kernel.task import Task
    from emu.linux.caller import Caller

#: _IOW('x', 0, struct mshare_create) and _IOW('x', 1, struct mshare_unmap).
MSHAREFS_CREATE_MAPPING = 0x40287800
MSHAREFS_UNMAP = 0x40107801
#: Not in any posting: _IOW('x', 0x20, ...) and _IOW('x', 0x21, ...), behind the block 00-1F that the third series
#: reserves.
MSHAREFS_PROTECT = 0x40187820
MSHAREFS_ADVISE = 0x40187821
_U64 = (1 << 64) - 1

_IOCTLS = {
    MSHAREFS_CREATE_MAPPING: Ioctl("MSHAREFS_CREATE_MAPPING", mshare_create("region_offset")),
    MSHAREFS_UNMAP: Ioctl("MSHAREFS_UNMAP", mshare_unmap("region_offset")),
    MSHAREFS_PROTECT: Ioctl("MSHAREFS_PROTECT", Struct("mshare_protect", region_offset=HEX, size=SIZE, prot=PROT)),
    MSHAREFS_ADVISE: Ioctl(
        "MSHAREFS_ADVISE", Struct("mshare_advise", region_offset=HEX, size=SIZE, advice=Named(Advice))
    ),
}


class RegionV3(RegionInode):
    """A region's file."""

    def __init__(self, sb: MshareSuperBlock, mode: int, uid: int, gid: int, region: Region) -> None:
        super().__init__(sb, mode, uid, gid, region)
        #: The size has been set; it may be 0, which makes the region useless.
        self.sized = False
        self.ops = WindowOperations(region)

    def truncate(self, size: int) -> None:
        """Set the size: once, a multiple of the unit (EINVAL).  A size of 0 makes the region useless for ever, as
        observed.
        """
        if self.sized or size % self.region.unit:
            raise LinuxError(errno.EINVAL)
        self.sized = True
        self.size = self.region.size = size
        self.touch()

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        return RegionFile(path, flags)


def create_v3(sb: MshareSuperBlock, name: str, owner: NewOwner) -> RegionV3:
    """creat(2): a region without a size, which ends with the process that makes it."""
    region = sb.new_region(name, at_owner_exit="die", charge=OWNER)
    return RegionV3(sb, owner.mode, owner.uid, owner.gid, region)


class RegionFile(ControlFile):
    """An open region."""

    inode: RegionV3

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        if mode:
            raise LinuxError(errno.EOPNOTSUPP)
        if offset:
            raise LinuxError(errno.EINVAL)
        self.inode.truncate(length)

    # -- the window ------------------------------------------------------------------------------------------------

    def get_unmapped_area(self, mm: AddressSpace, address: int, length: int, pgoff: int, flags: int) -> int | None:
        """MAP_FIXED must be aligned to the unit; a hint is rounded up to it; else the highest aligned place."""
        if flags & MapFlags.TYPE == MapFlags.PRIVATE:  # before anything is charged
            raise LinuxError(errno.EINVAL)
        return aligned_area(mm, address, length, self.region.unit, flags)

    def mmap(self, mm: AddressSpace, vma: Vma) -> None:
        inode, region = self.inode, self.region
        if not inode.sized or not vma.shared or vma.length != page_align(region.size):
            raise LinuxError(errno.EINVAL)
        check_window(region, vma.prot)
        vma.ops = inode.ops
        vma.flags |= VmFlags.DONTEXPAND

    # -- the objects -----------------------------------------------------------------------------------------------

    def ioctl(self, caller: Caller[Path], command: int, argument: int) -> int:
        task = task_of(caller)
        self.check_sized(task, command, argument)
        self.check_may_change()
        row = self.ioctl_row(command)
        if row is None:
            raise LinuxError(errno.ENOTTY)
        fields = row.target.read(task.mm, argument)
        if command == MSHAREFS_CREATE_MAPPING:
            self.create_mapping(task, *fields)
        elif command == MSHAREFS_PROTECT:
            protect_range(self.region, *fields)
        elif command == MSHAREFS_ADVISE:
            advise_range(self.region, task, *fields)
        else:
            unmap_range(self.region, *fields)
        return 0

    def ioctl_row(self, command: int) -> Ioctl | None:
        return _IOCTLS.get(command)

    def check_sized(self, task: Task, command: int, argument: int) -> None:
        """EINVAL without a size, whatever the command is."""
        if not self.inode.sized:
            raise LinuxError(errno.EINVAL)

    def create_mapping(
        self, task: Task, region_offset: int, size: int, offset: int, prot: int, flags: int, fd: int
    ) -> None:
        """MSHAREFS_CREATE_MAPPING, its checks in the order of the posting (18/22 and 20/22)."""
        region = self.region
        if region_offset >= region.size or not is_shared_fixed(flags):
            raise LinuxError(errno.EINVAL)
        file = self.object_file(task, fd, flags, prot)
        # as posted, in 64 bits with the host's address: a sum that wraps passes, and mmap gives ENOMEM for such a size
        end = region.host_base + region.size
        if (region.host_base + region_offset + size) & _U64 > end:
            raise LinuxError(errno.EINVAL)
        map_object(region, task, region_offset, size, prot, flags, file, offset)

    def object_file(self, task: Task, fd: int, flags: int, prot: int) -> File | None:
        """The file of an object; None for zero pages."""
        if flags & MapFlags.ANONYMOUS:
            return None
        return object_file(task, fd, flags, prot)


ABI = Abi("v3", "Anthony Yznaga, third series, August 2025", create_v3, calls=True)
