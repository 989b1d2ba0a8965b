"""Pages that a process gives up, but not at once: MADV_FREE, MADV_COLD and MADV_PAGEOUT (mm/madvise.c), and what
becomes of them when memory is short (mm/vmscan.c).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

from emu.mm import hugememory, hugepmd, hugesplit, rss
from emu.mm.flags import VmFlags
from emu.mm.freeframes import Frames
from emu.mm.pageflags import BLOCK_FRAMES, PG_DIRTY, PG_LAZYFREE, FrameKind
from emu.mm.pagetable import ADDRESS, SPECIAL, A, D
from emu.mm.rmap import Mapped
from emu.mm.swapops import POISONED_ENTRY, here, swapped
from emu.mm.swapout import not_lazy, to_swap
from mmu.late import np
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.mm.address_space import AddressSpace
    from emu.mm.context import MmContext
    from emu.mm.freeframes import Frames
    from emu.mm.vma import Vma

#: This part of what was given up goes at once, since all tables are looked at each time.
_PART = 16
_OLD, _OLD_AND_CLEAN = (~bits & (1 << 64) - 1 for bits in (A, A | D))

Entries: TypeAlias = "npt.NDArray[np.uint64]"


def madvise_free(mm: AddressSpace, vma: Vma, start: int, end: int) -> None:
    """Pages that are not written again may be dropped: clean from now on (madvise_free_pte_range)."""
    mm.frames.lru_add_drain()
    for address, slot in list(hugepmd.huge_entries(mm, start, end)):
        if start < address:
            _free_small(mm, vma, start, address)
        if hugememory.make_old(mm, address, slot, start, end, lazyfree=True):
            start = min(address + hugepmd.PMD_SIZE, end)
    _free_small(mm, vma, start, end)


def _free_small(mm: AddressSpace, vma: Vma, start: int, end: int) -> None:
    left = hugesplit.split_partly_meant(mm, start, end)
    flush = mm.obligation(start, end, "MADV_FREE")
    found = False
    for _, slot, number in mm.tables.pte_tables(start, end):
        view = mm.tables.words[slot : slot + number]
        view[view == np.uint64(POISONED_ENTRY)] = 0
        if mm.rss_swap and len(away := np.flatnonzero(swapped(view))):
            gone, view[away] = view[away], 0
            mm.drop_swapped(gone)
        at = _not_written_by_others(mm, view, _outside(view, _counted(view), left))
        if len(at):
            found = True
            mm.frames.forget_written(_frames(view[at]))
            if vma.flags & VmFlags.DROPPABLE:  # its pages are of that kind from the beginning
                mm.frames.flags[_frames(view[at])] |= PG_LAZYFREE
                mm.frames.order.add_many(_frames(view[at]))
            else:
                mm.frames.mark_lazyfree(_frames(view[at]))
            view[at] &= _OLD_AND_CLEAN
    if found:
        flush.flush()
    else:
        flush.nothing_present()


def madvise_cold(mm: AddressSpace, vma: Vma, start: int, end: int, *, pageout: bool) -> None:
    """Pages that only this mapping has count as not used lately, and with ``pageout`` those go that can be had again
    (madvise_cold_or_pageout_pte_range).
    """
    mm.frames.lru_add_drain()
    if vma.ops.special:
        return
    if (backing := vma.ops.backing(vma)) is not None:  # the entries are another's, for all who link to them
        host, to_host = backing[0], backing[1] - vma.start
        for inner in host.vmas.overlapping(start + to_host, end + to_host):
            low, high = max(inner.start, start + to_host), min(inner.end, end + to_host)
            madvise_cold(host, inner, low, high, pageout=pageout)
        return
    private_only = pageout and vma.file is not None and not mm.context.may_write(vma.file)
    for address, slot in list(hugepmd.huge_entries(mm, start, end)):
        if pageout:
            hugememory.page_out(mm, vma, address, slot, start, end)
        else:
            hugememory.make_old(mm, address, slot, start, end, lazyfree=False)
    left = hugesplit.split_partly_meant(mm, start, end)
    indexes = list[int]()
    if pageout and mm.context.swap.areas.free:
        for address in hugesplit.split_to_swap(mm, start, end):
            indexes += range(vma.index_of(address), vma.index_of(address) + BLOCK_FRAMES)
    flush = mm.obligation(start, end, "MADV_PAGEOUT" if pageout else "MADV_COLD")
    found, gone, out = False, list[Entries](), list[Frames]()
    for vaddr, slot, number in mm.tables.pte_tables(start, end):
        view = mm.tables.words[slot : slot + number]
        at = _outside(view, _counted(view), left)
        at = at[_mapped_once(mm, _frames(view[at]))]
        if private_only:
            at = at[mm.frames.kinds[_frames(view[at])] == FrameKind.ANON]
        if mm.frames.left_locked:
            moves = mm.frames.can_move(_frames(view[at]))
            view[at[~moves]] &= _OLD
            at, found = at[moves], found or not moves.all()
        mm.frames.deactivate(_frames(view[at]))
        if pageout:
            can_go = _reclaimable(mm, vma, view[at])
            out.append(slot + at[~can_go])
            at = at[can_go]
            gone.append(view[at])
            indexes += (vma.index_of(vaddr) + at).tolist()
        if len(at):
            found = True
            view[at] = 0 if pageout else view[at] & _OLD
    if found:
        flush.flush()
        _drop(mm, gone)
    else:
        flush.nothing_present()
    if out and mm.context.swap.areas.free:
        _swap_out(mm, Mapped.at(mm, np.concatenate(out).astype(np.int64), start, end))
    if vma.page_cache is not None:
        vma.page_cache.reclaim_many(indexes)


def _swap_out(mm: AddressSpace, mapped: Mapped) -> None:
    """Private pages, each with this entry and no other, go to swap."""
    frames = not_lazy(mm.context, mapped.frames, mm.tables.words[mapped.slots])
    to_swap(mm.context, frames, [mapped])


def shrink_lazyfree(context: MmContext, wanted: int, among: npt.NDArray[np.bool_] | None = None) -> int:
    """Drop private pages that were given up and not written since, the first given up first, until so many are free;
    returns how many were.  ``among``: of these frames only.  Only where nobody holds an entry of a table.
    """
    context.frames.lru_add_drain()
    found = [
        part
        for mm in list(context.address_spaces.values())
        if not mm.shared_tables
        for vma in mm.vmas
        if vma.anonymous and not vma.flags & VmFlags.LOCKED
        for part in _given_up(mm, vma, among)
    ]
    if not found:
        return 0
    may_go = np.zeros(context.frames.total, dtype=np.bool_)
    for part in found:
        may_go[part.frames] = True
    oldest = context.frames.order.oldest_first(may_go)
    if among is None:
        wanted = max(wanted, len(oldest) // _PART)
    may_go[oldest[wanted:]] = False
    context.frames.happened("pglazyfreed", oldest[:wanted])
    for part in found:
        _take(part.part(may_go[part.frames]))
    return min(wanted, len(oldest))


def _given_up(mm: AddressSpace, vma: Vma, among: npt.NDArray[np.bool_] | None) -> Iterator[Mapped]:
    """The pages of a mapping that can be dropped."""
    hugesplit.split_given_up(mm, vma.start, vma.end)
    for vaddr, slot, number in mm.tables.pte_tables(vma.start, vma.end):
        view = mm.tables.words[slot : slot + number]
        at = _counted(view)
        at = at[_mapped_once(mm, _frames(view[at]))]
        if among is not None:
            at = at[among[_frames(view[at])]]
        at = at[_reclaimable(mm, vma, view[at])]
        if len(at):
            yield Mapped.at(mm, slot + at, vaddr, vaddr + number * PAGE_SIZE)


def _take(part: Mapped) -> None:
    words = part.mm.tables.words
    if len(part.slots):
        gone, words[part.slots] = words[part.slots], 0
        part.mm.obligation(part.start, part.end, "reclaim").flush()
        _drop(part.mm, [gone])


def _frames(entries: Entries) -> Frames:
    frames: Frames = ((entries & ADDRESS) >> PAGE_SHIFT).astype(np.int64)
    return frames


def _counted(entries: Entries) -> npt.NDArray[np.intp]:
    """Which entries map a page that is counted: not those of the zero page."""
    return np.flatnonzero(here(entries) & ((entries & SPECIAL) == 0))


def _outside(entries: Entries, at: npt.NDArray[np.intp], heads: list[int]) -> npt.NDArray[np.intp]:
    """Those of some entries that map nothing of these huge pages."""
    return at[~np.isin(_frames(entries[at]) & -BLOCK_FRAMES, heads)] if heads else at


def _not_written_by_others(mm: AddressSpace, entries: Entries, at: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Those without pages that others map, too, and that something but these entries says were written."""
    frames = _frames(entries[at])
    kept = (mm.frames.flags[frames] & PG_DIRTY != 0) & ~_mapped_once(mm, frames)
    return at[~kept] if kept.any() else at


def _mapped_once(mm: AddressSpace, frames: Frames) -> npt.NDArray[np.bool_]:
    """Which pages one entry maps, and no more."""
    once: npt.NDArray[np.bool_] = np.equal(mm.frames.mapcounts(frames), 1)
    return once


def _reclaimable(mm: AddressSpace, vma: Vma, entries: Entries) -> npt.NDArray[np.bool_]:
    """Which pages can be taken from a process: those of the page cache, and those that it gave up and has not written
    since (or made to be dropped, with MAP_DROPPABLE).
    """
    frames = _frames(entries)
    given_up = (mm.frames.flags[frames] & (PG_LAZYFREE | PG_DIRTY) == PG_LAZYFREE) & ((entries & D) == 0)
    if vma.flags & VmFlags.DROPPABLE:
        given_up |= True
    found: npt.NDArray[np.bool_] = np.logical_or(given_up, mm.frames.kinds[frames] == FrameKind.CACHE)
    return found


def _drop(mm: AddressSpace, gone: list[Entries]) -> None:
    """Give up the frames of entries that have been cleared and flushed."""
    mm.note_peak()
    for entries in gone:
        if len(entries):
            rss.note_dirty(mm, entries)
            rss.put_pages(mm, entries)
