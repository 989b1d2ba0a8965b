"""The third design's first posting (Anthony Yznaga, September 2024): ioctls give a region its range and its objects.

A region has an address, the same in every process; a window may be a part of it.  Objects are anonymous and never
replace one another.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.dentry import Path
from emu.fs.file import File
from emu.fs.inode import NewOwner
from emu.kernel.task import task_of
from emu.linux.argument import Ioctl
from emu.linux.errors import LinuxError
from emu.linux.mman import MapFlags
from emu.mm.flags import VmFlags
from emu.mm.vma import Vma
from msharefs.control import MSHARE_INFO, ControlFile, EarlyRegionInode, early_fallocate, mshare_create
from msharefs.early_window import EarlyWindow
from msharefs.filesystem import Abi, MshareSuperBlock
from msharefs.objects import check_window, is_shared_fixed, map_object
from msharefs.region import Region
from msharefs.window import WindowOperations

if TYPE_CHECKING:
    from emu.kernel.task import Task
    from emu.linux.caller import Caller
    from emu.mm.address_space import AddressSpace

#: _IOR('x', 0, struct mshare_info), _IOW('x', 1, struct mshare_info) and _IOW('x', 2, struct mshare_create).
MSHAREFS_GET_SIZE = 0x80107800
MSHAREFS_SET_SIZE = 0x40107801
MSHAREFS_CREATE_MAPPING = 0x40287802
MSHARE_CREATE = mshare_create("addr")
NO_FD = -1

_IOCTLS = {
    MSHAREFS_GET_SIZE: Ioctl("MSHAREFS_GET_SIZE", MSHARE_INFO, written=True),
    MSHAREFS_SET_SIZE: Ioctl("MSHAREFS_SET_SIZE", MSHARE_INFO),
    MSHAREFS_CREATE_MAPPING: Ioctl("MSHAREFS_CREATE_MAPPING", MSHARE_CREATE),
}


class RegionRfc3(EarlyRegionInode):
    """A region's file."""

    def __init__(self, sb: MshareSuperBlock, mode: int, uid: int, gid: int, region: Region) -> None:
        super().__init__(sb, mode, uid, gid, region)
        self.ops: WindowOperations = EarlyWindow(region)

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        return FileRfc3(path, flags)


def create_rfc3(sb: MshareSuperBlock, name: str, owner: NewOwner) -> RegionRfc3:
    """creat(2): a region without a range, which outlives its creator."""
    return RegionRfc3(sb, owner.mode, owner.uid, owner.gid, sb.new_region(name, host_base=0))


class FileRfc3(ControlFile):
    """An open region."""

    inode: RegionRfc3

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        early_fallocate(offset, length)

    # -- the window ------------------------------------------------------------------------------------------------

    def mmap(self, mm: AddressSpace, vma: Vma) -> None:
        """A range of whole units within the region (EINVAL), whatever the flags and the file's offset say."""
        region = self.region
        if not region.size or (vma.start | vma.end) % region.unit or not self._inside(vma.start, vma.length):
            raise LinuxError(errno.EINVAL)
        self._make_window(vma)

    def _make_window(self, vma: Vma) -> None:
        check_window(self.region, vma.prot)
        vma.ops = self.inode.ops
        vma.flags |= VmFlags.DONTEXPAND

    def _inside(self, address: int, size: int) -> bool:
        start = self.region.host_base
        return start <= address and address + size <= start + self.region.size

    # -- the ioctls ------------------------------------------------------------------------------------------------

    def ioctl(self, caller: Caller[Path], command: int, argument: int) -> int:
        task = task_of(caller)
        if command == MSHAREFS_GET_SIZE:
            MSHARE_INFO.write(task.mm, argument, (self.region.host_base, self.region.size))
        elif command == MSHAREFS_SET_SIZE:
            self.check_may_change()
            self.set_size(*MSHARE_INFO.read(task.mm, argument))
        elif command == MSHAREFS_CREATE_MAPPING:
            self.check_may_change()
            self.create_mapping(task, *MSHARE_CREATE.read(task.mm, argument))
        else:
            raise LinuxError(errno.ENOTTY)
        return 0

    def ioctl_row(self, command: int) -> Ioctl | None:
        return _IOCTLS.get(command)

    def set_size(self, start: int, size: int) -> None:
        """MSHAREFS_SET_SIZE: once; as in the posting, a start of 0 counts as unset, so then it can be set again."""
        region = self.region
        if region.host_base or start % region.unit or (start + size) % region.unit:
            raise LinuxError(errno.EINVAL)
        region.host_base, region.size = start, size

    def create_mapping(self, task: Task, address: int, size: int, offset: int, prot: int, flags: int, fd: int) -> None:
        """MSHAREFS_CREATE_MAPPING; EEXIST where something is mapped already (MAP_FIXED_NOREPLACE is added)."""
        self.map_anonymous(task, address, size, prot, flags | MapFlags.FIXED_NOREPLACE, fd)
        for vma in self.region.host.vmas.overlapping(address, address + size):
            vma.flags |= VmFlags.NOHUGEPAGE

    def map_anonymous(self, task: Task, address: int, size: int, prot: int, flags: int, fd: int) -> None:
        """Check an object's arguments in order, and map it: zero pages, whatever else the flags say."""
        region = self.region
        if not region.size or not self._inside(address, 1) or not is_shared_fixed(flags) or fd != NO_FD:
            raise LinuxError(errno.EINVAL)
        if not self._inside(address, size):
            raise LinuxError(errno.EINVAL)
        flags = flags & ~int(MapFlags.HUGETLB) | MapFlags.ANONYMOUS
        map_object(region, task, address - region.host_base, size, prot, flags, None)


ABI = Abi("rfc3", "Anthony Yznaga, RFC v3, September 2024", create_rfc3)
