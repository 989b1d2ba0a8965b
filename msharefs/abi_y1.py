"""The third design's second posting (Anthony Yznaga, January 2025): abi_rfc3 with an ioctl that unmaps.

A window is the whole region, at its address, and cannot be changed; objects replace those that they overlap.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.dentry import Path
from emu.fs.file import File
from emu.fs.inode import NewOwner
from emu.linux.argument import Ioctl
from emu.linux.errors import LinuxError
from emu.linux.mman import MapFlags
from emu.mm.address_space import page_align
from emu.mm.mmap import do_munmap
from emu.mm.vma import Vma
from msharefs.abi_rfc3 import FileRfc3, RegionRfc3
from msharefs.charging import CREATOR
from msharefs.control import mshare_unmap
from msharefs.filesystem import Abi, MshareSuperBlock
from msharefs.region import Region
from msharefs.window import WindowOperations

if TYPE_CHECKING:
    from emu.kernel.task import Task
    from emu.linux.caller import Caller
    from emu.mm.address_space import AddressSpace

#: _IOW('x', 3, struct mshare_unmap).
MSHAREFS_UNMAP = 0x40107803
_UNMAP = Ioctl("MSHAREFS_UNMAP", mshare_unmap("addr"))


class RegionY1(RegionRfc3):
    """A region's file."""

    def __init__(self, sb: MshareSuperBlock, mode: int, uid: int, gid: int, region: Region) -> None:
        super().__init__(sb, mode, uid, gid, region)
        self.ops = WindowOperations(region, identity=True)

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        return FileY1(path, flags)


def create_y1(sb: MshareSuperBlock, name: str, owner: NewOwner) -> RegionY1:
    """creat(2): a region without a range, which outlives its creator."""
    return RegionY1(sb, owner.mode, owner.uid, owner.gid, sb.new_region(name, host_base=0, charge=CREATOR))


class FileY1(FileRfc3):
    """An open region."""

    def get_unmapped_area(self, mm: AddressSpace, address: int, length: int, pgoff: int, flags: int) -> int | None:
        """The region's own address: EINVAL for another, EEXIST if it is taken and MAP_FIXED does not replace that."""
        region = self.region
        fixed = flags & (MapFlags.FIXED | MapFlags.FIXED_NOREPLACE)
        if (
            flags & MapFlags.TYPE == MapFlags.PRIVATE
            or length != page_align(region.size)
            or ((address or fixed) and address != region.host_base)
        ):
            raise LinuxError(errno.EINVAL)
        if not fixed and mm.vmas.overlapping(region.host_base, region.host_base + length):
            raise LinuxError(errno.EEXIST)
        return region.host_base

    def mmap(self, mm: AddressSpace, vma: Vma) -> None:
        if not self.region.size or not vma.shared:
            raise LinuxError(errno.EINVAL)
        self._make_window(vma)

    def ioctl(self, caller: Caller[Path], command: int, argument: int) -> int:
        if command != MSHAREFS_UNMAP:
            return super().ioctl(caller, command, argument)
        self.check_may_change()
        self._unmap(*_UNMAP.target.read(caller.mm, argument))
        return 0

    def ioctl_row(self, command: int) -> Ioctl | None:
        return _UNMAP if command == MSHAREFS_UNMAP else super().ioctl_row(command)

    def set_size(self, start: int, size: int) -> None:
        """MSHAREFS_SET_SIZE: once, at multiples of the unit."""
        region = self.region
        if region.size or not size or (start | size) % region.unit:
            raise LinuxError(errno.EINVAL)
        region.host_base, region.size = start, size

    def create_mapping(self, task: Task, address: int, size: int, offset: int, prot: int, flags: int, fd: int) -> None:
        """MSHAREFS_CREATE_MAPPING: replaces the objects that it overlaps."""
        self.map_anonymous(task, address, size, prot, flags, fd)

    def _unmap(self, address: int, size: int) -> None:
        """MSHAREFS_UNMAP: all sharers lose the pages at once."""
        region = self.region
        if not region.size or not self._inside(address, 1) or not self._inside(address, size):
            raise LinuxError(errno.EINVAL)
        region.note_peaks()
        do_munmap(region.host, address, size)


ABI = Abi("y1", "Anthony Yznaga, first series, January 2025", create_y1)
