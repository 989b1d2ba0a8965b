"""The third design's third posting (Anthony Yznaga, April 2025): abi_v3 without the additions of August 2025.

Objects are anonymous, and a region has no owner: it lives as long as it has a name, a descriptor or a window.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.dentry import Path
from emu.fs.file import File
from emu.fs.inode import NewOwner
from emu.linux.errors import LinuxError
from emu.linux.mman import MapFlags
from msharefs.abi_rfc3 import NO_FD
from msharefs.abi_v3 import RegionFile, RegionV3
from msharefs.charging import CREATOR
from msharefs.filesystem import Abi, MshareSuperBlock

if TYPE_CHECKING:
    from emu.kernel.task import Task
    from emu.linux.caller import Caller


class RegionY2(RegionV3):
    """A region's file."""

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        return FileY2(path, flags)


def create_y2(sb: MshareSuperBlock, name: str, owner: NewOwner) -> RegionY2:
    """creat(2): a region without a size, which outlives its creator."""
    return RegionY2(sb, owner.mode, owner.uid, owner.gid, sb.new_region(name, charge=CREATOR))


class FileY2(RegionFile):
    """An open region."""

    def check_sized(self, task: Task, command: int, argument: int) -> None:
        """The size is checked only once the argument has been copied in."""
        row = self.ioctl_row(command)
        if row is None:
            raise LinuxError(errno.ENOTTY)
        row.target.read(task.mm, argument)
        super().check_sized(task, command, argument)

    def create_mapping(
        self, task: Task, region_offset: int, size: int, offset: int, prot: int, flags: int, fd: int
    ) -> None:
        """MSHAREFS_CREATE_MAPPING; MAP_HUGETLB means nothing yet."""
        super().create_mapping(task, region_offset, size, offset, prot, flags & ~int(MapFlags.HUGETLB), fd)

    def object_file(self, task: Task, fd: int, flags: int, prot: int) -> File | None:
        """Anonymous memory only: EINVAL for any descriptor."""
        if fd != NO_FD:
            raise LinuxError(errno.EINVAL)
        return None


ABI = Abi("y2", "Anthony Yznaga, second series, April 2025", create_y2)
