"""Zapping: taking pages out of the tables and giving up their frames (mm/memory.c: zap_page_range)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from emu.mm.hugefault import unmap_huge_range
from emu.mm.pagetable import ADDRESS, SPECIAL
from emu.mm.tlbflush import Flush
from emu.mm.vma import Vma
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace


def zap_range(mm: AddressSpace, vma: Vma, start: int, end: int, *, even_cows: bool = True) -> None:
    """Take the pages of [start, end) out of the tables and drop their references.

    With ``even_cows`` False, private copies stay: a hole punched into the file does not take them, truncation does.
    """
    if vma.ops is not None and vma.ops.owns_tables:
        vma.ops.unmap(mm, vma, start, end)
        return
    if vma.huge:
        unmap_huge_range(mm, vma, start, end, even_cows=even_cows)
        return
    if not even_cows and not vma.shared:
        _zap_cached(mm, vma, start, end)
        return
    found = False
    for entries in mm.tables.clear_range(start, end):
        _drop(mm, entries, mm.obligation(start, end, "unmap"))
        found = True
    if not found:
        mm.obligation(start, end).none_needed("no entry was present")


def _zap_cached(mm: AddressSpace, vma: Vma, start: int, end: int) -> None:
    assert vma.page_cache is not None
    for first, slot, number in mm.tables.pte_tables(start, end):
        entries = mm.tables.words[slot : slot + number]
        at = np.flatnonzero(entries)
        frames = ((entries[at] & np.uint64(ADDRESS)) >> np.uint64(PAGE_SHIFT)).astype(np.int64)
        at = at[frames == vma.page_cache.find_each(at + vma.index_of(first))]
        if len(at):
            cleared = entries[at]
            entries[at] = 0
            low, high = (first + (int(at[edge]) << PAGE_SHIFT) for edge in (0, -1))
            _drop(mm, cleared, mm.obligation(low, high + PAGE_SIZE, "unmap"))


def _drop(mm: AddressSpace, entries: np.ndarray[tuple[int], np.dtype[np.uint64]], flush: Flush) -> None:
    """Flush, then give up the frames of cleared entries."""
    flush.flush()
    counted = entries[(entries & np.uint64(SPECIAL)) == 0]
    frames = ((counted & np.uint64(ADDRESS)) >> np.uint64(PAGE_SHIFT)).astype(np.int64)
    anon = int(np.count_nonzero(mm.frames.kinds[frames] == 3))
    mm.rss_anon -= anon
    mm.rss_cache -= len(frames) - anon
    mm.frames.put_many(frames)
