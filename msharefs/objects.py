"""Putting objects into a region: a mapping in the host mm, as the ioctls and calls of every generation make it."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.kernel.errors import LinuxError
from emu.mm.address_space import page_align
from emu.mm.mmap import do_mmap
from emu.mm.vma import MapFlags, Prot
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.fs.file import File
    from emu.kernel.task import Task
    from msharefs.region import Region

#: What is handed on to the mapping in the host mm; POPULATE and LOCKED have no effect there, as observed.
_PASSED_ON = MapFlags.TYPE | MapFlags.ANONYMOUS | MapFlags.NORESERVE | MapFlags.FIXED_NOREPLACE | MapFlags.FIXED


def is_shared_fixed(flags: int) -> bool:
    """Whether the flags of an object have MAP_SHARED (or MAP_SHARED_VALIDATE, which has the bit too) and MAP_FIXED."""
    kind = flags & MapFlags.TYPE
    return bool(flags & MapFlags.FIXED) and kind in (MapFlags.SHARED, MapFlags.SHARED_VALIDATE)


def map_object(
    region: Region, task: Task, offset: int, size: int, prot: int, flags: int, file: File | None, file_offset: int = 0
) -> None:
    """Map ``size`` bytes at ``offset`` of the region: a file, or zero pages.  The interface has checked the range.

    LinuxError as mmap(2) gives it (mshare-observed.md, section 3).
    """
    if flags & MapFlags.HUGETLB:
        region.kernel.log_once("a region's object with MAP_HUGETLB: there are no huge pages, ENOMEM")
        raise LinuxError(errno.ENOMEM)
    if offset % PAGE_SIZE or not size:
        raise LinuxError(errno.EINVAL)
    validate = flags & MapFlags.TYPE == MapFlags.SHARED_VALIDATE
    if (validate and file is None) or flags & MapFlags.GROWSDOWN:
        raise LinuxError(errno.EINVAL)
    if page_align(size) > region.host.task_size or region.host_base + offset + size > region.host.task_size:
        raise LinuxError(errno.ENOMEM)
    limit = task.mm.limit_bytes  # RLIMIT_AS of the caller, held against the size of the host mm
    if limit is not None and region.host.total_bytes + page_align(size) > limit:
        raise LinuxError(errno.ENOMEM)
    if validate and flags & MapFlags.SYNC:
        raise LinuxError(errno.EOPNOTSUPP)
    do_mmap(
        region.host,
        region.host_base + offset,
        size,
        Prot(prot & 7),
        MapFlags(flags & int(_PASSED_ON)),
        file,
        file_offset & -PAGE_SIZE,
    )
