"""Populating: every page of a range faulted in before it is touched (MAP_POPULATE, mm/gup.c).

A table of PTEs in which nothing is mapped yet is filled at once, with the frames, entries and counts that one fault
after the other would give; any other page is faulted in by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from emu.linux.errors import LinuxError
from emu.mm.fault import FAULT_AROUND_BYTES, handle_mm_fault
from emu.mm.frames import FrameKind
from emu.mm.hugetlb import HPAGE_SIZE
from emu.mm.pagetable import RW, SPECIAL, A, D, span
from emu.mm.vma import FaultResult, Prot, Vma
from mmu.memory import PAGE_SHIFT, PAGE_SIZE
from mmu.registers import Access

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace

_PTE_TABLE_SPAN = span(2)
#: The least number of pages for which it pays to look at a table as a whole.
_WORTHWHILE = 16


def populate(mm: AddressSpace, vma: Vma) -> None:
    """MAP_POPULATE: fault every page in; stops quietly where that fails, as the kernel does."""
    if vma.ops is not None and vma.ops.owns_tables:
        return
    # a shared mapping is only read: nothing would be gained by making its pages dirty
    access = Access.WRITE if vma.prot & Prot.WRITE and not vma.shared else Access.READ
    # no more pages than there is memory: the zero page could be mapped for ever
    populate_range(mm, vma, vma.start, min(vma.end, vma.start + mm.frames.total * PAGE_SIZE), access)


def populate_range(mm: AddressSpace, vma: Vma, start: int, end: int, access: Access) -> FaultResult | None:
    """Fault in every page of [start, end), which lies in the VMA; the result is that of the fault that failed, or None.

    The faults count as taken by the kernel for the current process.
    """
    address = start
    while address < end:
        stop = min((address & -_PTE_TABLE_SPAN) + _PTE_TABLE_SPAN, end)
        faults = None if vma.huge else _fill_table(mm, vma, address, stop, access)
        if faults is None:
            for page in range(address, stop, HPAGE_SIZE if vma.huge else PAGE_SIZE):
                result = handle_mm_fault(mm, page, access)
                if not result.resolved:
                    return result
                if mm.on_kernel_fault is not None:
                    mm.on_kernel_fault(result, 1)
        elif mm.on_kernel_fault is not None:
            mm.on_kernel_fault(FaultResult.MINOR, faults)
        address = stop
    return None


def _fill_table(mm: AddressSpace, vma: Vma, start: int, end: int, access: Access) -> int | None:
    """Map every page of a part of one PTE table; how many faults that stands for, or None: not this way."""
    number, tables, cache = (end - start) >> PAGE_SHIFT, mm.tables, vma.page_cache
    if number < _WORTHWHILE or not vma.allows(access) or not (cache is None or _can_map(vma, start, end, access)):
        return None
    slot = tables.entry_slot(start, 1)
    if slot is not None and tables.words[slot : slot + number].any():
        return None
    if mm.frames.free < number + 3:  # with three tables: let the single faults find out how far it goes
        return None
    try:
        slot = tables.entry_slot_alloc(start, 1)
        if cache is None:
            entries, faults = _anonymous(mm, vma, number, access), number
        else:
            entries, faults = _cached(mm, vma, start, number)
    except LinuxError:  # no room in the file system: the tables serve the single faults
        return None
    tables.words[slot : slot + number] = entries
    mm.obligation(start, end).none_needed("no TLB holds a translation of a not-present entry (SDM vol. 3, 4.10.2.3)")
    return faults


def _can_map(vma: Vma, start: int, end: int, access: Access) -> bool:
    """Whether all faults of [start, end) map pages of the object itself, and bring none outside of the range."""
    assert vma.page_cache is not None
    if access != Access.READ or vma.index_of(end - PAGE_SIZE) >= vma.page_cache.end_index:
        return False
    return (start == vma.start or not start % FAULT_AROUND_BYTES) and (end == vma.end or not end % FAULT_AROUND_BYTES)


def _anonymous(mm: AddressSpace, vma: Vma, number: int, access: Access) -> npt.NDArray[np.uint64]:
    """The entries of fresh pages of zeros; for reads, of the one that everybody shares."""
    if access != Access.WRITE:
        entry = mm.frames.zero_frame << PAGE_SHIFT | vma.page_bits | SPECIAL
        return np.full(number, entry, dtype=np.uint64)
    frames = mm.frames.alloc_many(FrameKind.ANON, number)
    vma.anon = True
    mm.rss_anon += number
    return (frames.astype(np.uint64) << np.uint64(PAGE_SHIFT)) | np.uint64(vma.page_bits | RW | D)


def _cached(mm: AddressSpace, vma: Vma, start: int, number: int) -> tuple[npt.NDArray[np.uint64], int]:
    """The entries of pages of the page cache, and the faults.

    The first fault in each aligned 64 KiB brings the pages around it that exist already, without the A bit.
    """
    assert vma.page_cache is not None
    frames, faulted = vma.page_cache.get_many(vma.index_of(start), number)
    around = FAULT_AROUND_BYTES >> PAGE_SHIFT
    faulted[0] = True
    faulted[-(start >> PAGE_SHIFT) % around :: around] = True
    mm.frames.get_many(frames)
    mm.rss_cache += number
    bits = vma.page_bits | (RW if vma.shared and vma.allows(Access.WRITE) else 0)
    entries = (frames.astype(np.uint64) << np.uint64(PAGE_SHIFT)) | np.uint64(bits)
    entries[~faulted] &= np.uint64(~A & (1 << 64) - 1)
    return entries, int(np.count_nonzero(faulted))
