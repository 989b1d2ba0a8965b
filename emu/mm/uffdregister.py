"""Registering ranges with a userfaultfd (fs/userfaultfd.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError
from emu.mm.flags import UFFD_FLAGS, VmFlags
from emu.mm.uffdfill import is_shmem
from emu.mm.uffdwp import uffd_wp_range
from emu.mm.vma import MMAP_MIN_ADDR
from emu.mm.vmamodify import carve, check_map_count, may_split
from emu.mm.vmatree import merge_neighbours
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.userfault import UserfaultContext
    from emu.mm.vma import Vma


def check_range(mm: AddressSpace, start: int, length: int) -> None:
    """LinuxError(EINVAL) for what no pages of a process can be (validate_range)."""
    if (start | length) & (PAGE_SIZE - 1) or not length:
        raise LinuxError(errno.EINVAL)
    if start < MMAP_MIN_ADDR or start >= mm.task_size or length > mm.task_size - start:
        raise LinuxError(errno.EINVAL)


def _can_userfault(vma: Vma, flags: VmFlags, *, wp_async: bool) -> bool:
    """Whether a mapping can be registered so (vma_can_userfault)."""
    if vma.flags & VmFlags.DROPPABLE or vma.ops.leaf_level != 1:
        return False
    if flags & VmFlags.UFFD_MINOR and not is_shmem(vma):
        return False
    if wp_async and flags == VmFlags.UFFD_WP:
        return True
    return vma.anonymous or is_shmem(vma)


def register(mm: AddressSpace, context: UserfaultContext, start: int, end: int, flags: VmFlags) -> None:
    """UFFDIO_REGISTER.  LinuxError: EINVAL, EPERM, EBUSY, ENOMEM."""
    vmas = mm.vmas.overlapping(start, end)
    if not vmas:
        raise LinuxError(errno.EINVAL)
    for vma in vmas:
        if not _can_userfault(vma, flags, wp_async=context.wp_async):
            raise LinuxError(errno.EINVAL)
        if vma.flags & VmFlags.NEVERWRITE:
            raise LinuxError(errno.EPERM)
        if vma.uffd is not None and vma.uffd is not context:
            raise LinuxError(errno.EBUSY)
    for vma in vmas:
        mm.stop.check()
        low, high = max(vma.start, start), min(vma.end, end)
        if vma.uffd is context and vma.flags & flags == flags:
            continue
        may_split(mm, vma, low, high)
        wanted = vma.flags & ~UFFD_FLAGS | flags
        check_map_count(mm, vma, low, high, flags=wanted, uffd=context)
        part = carve(mm, vma, low, high)
        part.flags, part.uffd = wanted, context
        merge_neighbours(mm.vmas, part)


def unregister(mm: AddressSpace, context: UserfaultContext, start: int, end: int) -> None:
    """UFFDIO_UNREGISTER; who waits there goes on.  LinuxError: EINVAL, ENOMEM."""
    vmas = mm.vmas.overlapping(start, end)
    if not vmas:
        raise LinuxError(errno.EINVAL)
    for vma in vmas:
        if vma.uffd is not None and vma.uffd is not context:
            raise LinuxError(errno.EINVAL)
        if not _can_userfault(vma, vma.flags & UFFD_FLAGS, wp_async=context.wp_async):
            raise LinuxError(errno.EINVAL)
    for vma in vmas:
        mm.stop.check()
        if vma.uffd is None:
            continue
        low, high = max(vma.start, start), min(vma.end, end)
        context.wake(low, high - low)
        may_split(mm, vma, low, high)
        check_map_count(mm, vma, low, high, flags=vma.flags & ~UFFD_FLAGS, uffd=None)
        clear_vma(mm, carve(mm, vma, low, high))


def clear_vma(mm: AddressSpace, vma: Vma) -> None:
    """A VMA is registered no more (userfaultfd_clear_vma)."""
    if vma.flags & VmFlags.UFFD_WP:
        uffd_wp_range(mm, vma, vma.start, vma.end, on=False)
    vma.flags &= ~UFFD_FLAGS
    vma.uffd = None
    merge_neighbours(mm.vmas, vma)


def release(mm: AddressSpace, context: UserfaultContext) -> None:
    """The last descriptor is closed (userfaultfd_release)."""
    context.released = True
    if mm.users:
        for vma in [vma for vma in mm.vmas if vma.uffd is context]:
            clear_vma(mm, vma)
    context.release()
