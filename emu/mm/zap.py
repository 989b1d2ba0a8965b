"""Taking pages out of the tables of a process (zap_pte_range in mm/memory.c)."""

from __future__ import annotations

import functools
from collections.abc import Collection
from typing import TYPE_CHECKING

from emu.linux.cost import Cost
from emu.mm import rss
from emu.mm.flags import VmFlags
from emu.mm.pagetable import ADDRESS, UFFD_WP_BIT, P
from emu.mm.swapops import (
    POISONED_ENTRY,
    UFFD_WP_ENTRY,
    here,
)
from mmu.late import np
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma


#: What is used there says nothing of what will be (vma_has_recency).
_NO_RECENCY = VmFlags.SEQ_READ | VmFlags.RAND_READ
_MAPPED = Cost.MAPPED


def locked_pages(vma: Vma, entries: rss.Entries | list[int]) -> Collection[int]:
    """The pages that are locked (PG_mlocked): those of a VMA's entries, or those that others have locked."""
    if vma.flags & VmFlags.LOCKED:
        return rss.pages_of(entries)
    return () if vma.page_cache is None else vma.page_cache.locked_frames()


def drop_used(mm: AddressSpace, vma: Vma, frames: list[int]) -> None:
    """These pages of a page cache have been used through entries of a VMA which native code has cleared."""
    for frame in frames:
        mm.frames.mark_accessed(frame, functools.partial(locked_pages, vma, [frame << PAGE_SHIFT | P]))
    for frame in sorted(frames, reverse=True):
        mm.frames.put(frame)


def zap_range(mm: AddressSpace, vma: Vma, start: int, end: int, *, markers: bool) -> None:
    """Zap every page of [start, end), with ``markers`` what the other entries say too."""
    entries_of = mm.context.entries
    if entries_of.can_clear(mm, vma, start, end):
        mm.note_peak()
        number = entries_of.clear(mm, vma, start, end, markers=markers)
        if number is not None:
            if number:
                mm.context.flusher.flush_range(mm, start, end, "unmap", entries_of.mapped)
                if entries_of.used:
                    drop_used(mm, vma, entries_of.used)
                mm.context.clock.charge(number * _MAPPED)
            return
    found = False
    mm.note_peak()
    stays = bool(vma.flags & VmFlags.UFFD_WP) and not markers and not vma.anonymous
    keeps = (UFFD_WP_BIT, UFFD_WP_ENTRY) if stays else None
    used = vma.page_cache is not None and not vma.flags & _NO_RECENCY
    away = mm.drop_swapped if mm.rss_swap else None
    for entries in mm.tables.clear_range(start, end, markers=markers, keeps=keeps, drops=POISONED_ENTRY, away=away):
        mm.obligation(start, end, "unmap").flush()
        if vma.shared:
            rss.note_dirty(mm, entries)
        if used:
            rss.note_used(mm, entries, functools.partial(locked_pages, vma, entries))
        rss.put_pages(mm, entries)
        mm.context.clock.charge(len(entries) * _MAPPED)
        found = True
    if not found:
        mm.obligation(start, end).nothing_present()


def zap_cached(mm: AddressSpace, vma: Vma, start: int, end: int) -> None:
    """Zap those of a private mapping's pages that belong to the page cache."""
    assert vma.page_cache is not None
    for first, slot, number in mm.tables.pte_tables(start, end):
        entries = mm.tables.words[slot : slot + number]
        at = np.flatnonzero(here(entries))
        frames = ((entries[at] & ADDRESS) >> PAGE_SHIFT).astype(np.int64)
        at = at[frames == vma.page_cache.find_each(at + vma.index_of(first))]
        if len(at):
            cleared = entries[at]
            entries[at] = 0
            low, high = (first + (int(at[edge]) << PAGE_SHIFT) for edge in (0, -1))
            mm.obligation(low, high + PAGE_SIZE, "unmap").flush()
            if not vma.flags & _NO_RECENCY:
                rss.note_used(mm, cleared, functools.partial(locked_pages, vma, cleared))
            rss.put_pages(mm, cleared)
