"""mlock and its like (mm/mlock.c): locked pages are accounted for, faulted in at once, and never reclaimed."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from enum import IntFlag

from emu.linux.errors import LinuxError, NoIntr, NoPage
from emu.linux.limits import Rlimit
from emu.mm.address_space import AddressSpace, page_align
from emu.mm.flags import LOCK_FLAGS, VmFlags
from emu.mm.gup import access_to_populate, fault_in
from emu.mm.hugepmd import leaves
from emu.mm.pageflags import FrameKind
from emu.mm.rss import pages_of
from emu.mm.vma import Vma
from emu.mm.vmamodify import modify_flags
from mmu.memory import PAGE_SIZE


class MlockAll(IntFlag):
    """MCL_*."""

    CURRENT = 1
    FUTURE = 2
    ONFAULT = 4


def do_mlock(mm: AddressSpace, address: int, length: int, flags: VmFlags) -> None:
    """mlock(2) and mlock2(2); ``flags`` are VM_LOCKED, with VM_LOCKONFAULT if pages need not be faulted in at once."""
    limit = mm.context.limit(Rlimit.MEMLOCK)
    if limit == 0:
        raise LinuxError(errno.EPERM)
    start, end = _range(address, length)
    if limit is not None and mm.locked_bytes + end - start > limit & -PAGE_SIZE:
        already = sum(
            min(vma.end, end) - max(vma.start, start)
            for vma in mm.vmas.overlapping(start, end)
            if vma.flags & VmFlags.LOCKED
        )
        if mm.locked_bytes + end - start - already > limit & -PAGE_SIZE:
            raise LinuxError(errno.ENOMEM)
    _check_end(end)
    _apply(mm, start, end, flags)
    for vma, low, high in mm.vmas.pieces_to_the_hole(start, end):
        try:
            _populate(mm, vma, low, high)
        except (NoIntr, NoPage):
            raise
        except LinuxError as error:  # __mlock_posix_error_return()
            raise LinuxError(errno.ENOMEM if error.errno == errno.EFAULT else errno.EAGAIN) from None


def locked_pages(spaces: Iterable[AddressSpace]) -> set[int]:
    """The frames of the present pages of locked mappings: Mlocked in /proc/meminfo, which excludes huge pages."""
    frames: set[int] = set()
    for mm in spaces:
        mm.stop.check()
        for vma in mm.vmas:
            if not vma.flags & VmFlags.LOCKED:
                continue
            for _, slot, number in mm.tables.pte_tables(vma.start, vma.end):
                mm.stop.check()
                view = mm.tables.words[slot : slot + number]
                frames.update(pages_of(view[view != 0]).tolist())
            for _, ptes in leaves(mm, vma.start, vma.end):
                frames.update(pages_of(ptes).tolist())
    return frames


def do_munlock(mm: AddressSpace, address: int, length: int) -> None:
    """munlock(2)."""
    start, end = _range(address, length)
    _check_end(end)
    _apply(mm, start, end, VmFlags.NONE)


def do_mlockall(mm: AddressSpace, flags: int) -> None:
    """mlockall(2); pages that cannot be faulted in stay absent."""
    wanted = MlockAll(flags & 7)
    if not flags or flags & ~7 or wanted == MlockAll.ONFAULT:
        raise LinuxError(errno.EINVAL)
    limit = mm.context.limit(Rlimit.MEMLOCK)
    if limit == 0:
        raise LinuxError(errno.EPERM)
    if limit is not None and wanted & MlockAll.CURRENT and mm.total_bytes > limit & -PAGE_SIZE:
        raise LinuxError(errno.ENOMEM)
    lock = VmFlags.LOCKED | (VmFlags.LOCKONFAULT if wanted & MlockAll.ONFAULT else VmFlags.NONE)
    mm.default_lock = lock if wanted & MlockAll.FUTURE else VmFlags.NONE
    if not wanted & MlockAll.CURRENT:
        return
    for vma in list(mm.vmas):
        _fix_up(mm, vma, vma.start, vma.end, lock)
    for vma in list(mm.vmas):
        try:
            _populate(mm, vma, vma.start, vma.end)
        except NoIntr:
            raise
        except LinuxError:
            continue


def do_munlockall(mm: AddressSpace) -> None:
    """munlockall(2)."""
    mm.default_lock = VmFlags.NONE
    for vma in list(mm.vmas):
        _fix_up(mm, vma, vma.start, vma.end, VmFlags.NONE)


def _range(address: int, length: int) -> tuple[int, int]:
    start = address & -PAGE_SIZE
    end = start + (page_align(length + (address & (PAGE_SIZE - 1))) & 0xFFFF_FFFF_FFFF_FFFF)
    return start, end


def _check_end(end: int) -> None:
    if end > 0xFFFF_FFFF_FFFF_FFFF:
        raise LinuxError(errno.EINVAL)


def _apply(mm: AddressSpace, start: int, end: int, lock: VmFlags) -> None:
    for vma, low, high in mm.vmas.pieces_to_the_hole(start, end):
        _fix_up(mm, vma, low, high, lock)


def _fix_up(mm: AddressSpace, vma: Vma, start: int, end: int, lock: VmFlags) -> None:
    """mlock_fixup(): a special VMA (a window) is skipped, and stays unlocked."""
    mm.stop.check()
    if not vma.flags & (VmFlags.DONTEXPAND | VmFlags.DROPPABLE):
        if (vma.flags ^ lock) & VmFlags.LOCKED:  # mlock_vma_pages_range()
            mm.frames.lru_add_drain()
        if vma.flags & VmFlags.LOCKED and not lock & VmFlags.LOCKED:
            _unlocked(mm, start, end)
        modify_flags(mm, vma, start, end, vma.flags & ~LOCK_FLAGS | lock)


def _unlocked(mm: AddressSpace, start: int, end: int) -> None:
    """Small pages come to the head of their lists again (munlock_folio)."""
    for _, slot, number in mm.tables.pte_tables(start, end):
        frames = pages_of(mm.tables.words[slot : slot + number])
        mm.frames.order.add_many(frames[mm.frames.kinds[frames] > FrameKind.PAGETABLE])


def _populate(mm: AddressSpace, vma: Vma, start: int, end: int) -> None:
    if vma.flags & (VmFlags.LOCKONFAULT | VmFlags.IO):
        return
    if not vma.prot:
        raise LinuxError(errno.EFAULT)
    try:
        fault_in(mm, vma, start, end, access_to_populate(vma))
    finally:
        mm.frames.lru_add_drain()
