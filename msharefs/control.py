"""Common parts of the files of several interface generations: a control file, and one whose range can be read."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.file import File
from emu.fs.hugetlbfs import HugetlbFile
from emu.linux.argument import FD, HEX, SIZE, Named
from emu.linux.errors import LinuxError
from emu.linux.layout import Struct
from emu.linux.mman import MapFlags, Prot
from msharefs.filesystem import RegionInode
from msharefs.region import Region

if TYPE_CHECKING:
    from emu.kernel.task import Task

MSHARE_INFO = Struct("mshare_info", start=HEX, size=SIZE)
#: Rights and flags of mmap(), in 32 bits.
PROT, MAP_FLAGS = Named(Prot), Named(MapFlags)


def mshare_create(where: str) -> Struct:
    """struct mshare_create, whose first field is an address or, in later series, an offset; ``offset`` is that in the
    file.
    """
    first = {where: HEX}
    return Struct("mshare_create", **first, size=SIZE, offset=SIZE, prot=PROT, flags=MAP_FLAGS, fd=FD)


def mshare_unmap(where: str) -> Struct:
    """struct mshare_unmap likewise."""
    return Struct("mshare_unmap", **{where: HEX}, size=SIZE)


#: s_maxbytes of a file system that does not set it: 2 GiB - 1 (MAX_NON_LFS).
MAX_NON_LFS = (1 << 31) - 1


class ControlFile(File):
    """An open region: its contents cannot be read or written."""

    inode: RegionInode

    @property
    def region(self) -> Region:
        """The region behind the file."""
        return self.inode.region

    def check_may_change(self) -> None:
        """EACCES if the mount option ``strict-fd`` requires a writable descriptor and this one is not."""
        if self.region.options.strict_fd == "on" and not self.writable:
            raise LinuxError(errno.EACCES)

    def lseek(self, offset: int, whence: int) -> int:
        raise LinuxError(errno.ESPIPE)

    def fsync(self, data_only: bool) -> None:
        raise LinuxError(errno.EINVAL)


def object_file(task: Task, fd: int, flags: int, prot: int) -> File:
    """The open file of an object.  LinuxError: EBADF; EINVAL for a region, or MAP_HUGETLB with another kind of file;
    EACCES for rights that the descriptor does not allow.
    """
    file = task.files.get(fd)
    if (flags & MapFlags.HUGETLB and not isinstance(file, HugetlbFile)) or isinstance(file.inode, RegionInode):
        raise LinuxError(errno.EINVAL)
    if not file.readable or (prot & Prot.WRITE and not file.writable):
        raise LinuxError(errno.EACCES)
    return file


class RangeFile(ControlFile):
    """An open region whose range can be read: 16 bytes, the same at every position (first and second series)."""

    def range(self) -> tuple[int, int]:
        """Start and size, both 0 as long as the region has no size."""
        region = self.region
        return (region.host_base, region.size) if region.size else (0, 0)

    def pread(self, count: int, pos: int) -> bytes:
        if not count:
            raise LinuxError(errno.EFAULT)  # the posted code takes "nothing was copied" for a fault
        return MSHARE_INFO.pack(*self.range())[:count]

    def read(self, count: int) -> bytes:
        return self.pread(count, 0)


class EarlyRegionInode(RegionInode):
    """A region's file whose size has no meaning: ftruncate accepts any size of a small file, and st_size stays 0
    (mshare-observed.md, section 13).
    """

    def truncate(self, size: int) -> None:
        if size > MAX_NON_LFS:
            raise LinuxError(errno.EFBIG)


def early_fallocate(offset: int, length: int) -> None:
    """fallocate(2) on a file without that operation: the size limit is checked first."""
    raise LinuxError(errno.EFBIG if offset + length > MAX_NON_LFS else errno.EOPNOTSUPP)
