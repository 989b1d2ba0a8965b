"""Splitting transparent huge pages: an entry of 2 MiB becomes a table of small ones, and a page its frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.mm import rss
from emu.mm.flags import VmFlags
from emu.mm.hugepmd import (
    PMD_SIZE,
    U64,
    as_ptes,
    block,
    head_of,
    huge_entries,
    huge_slot,
    zap_entry,
)
from emu.mm.pageflags import (
    BLOCK_FRAMES,
    PG_DIRTY,
    PG_LARGE,
    PG_LAZYFREE,
    FrameKind,
)  # fmt: skip
from emu.mm.pagetable import ADDRESS, RW, SPECIAL, TABLE_FLAGS, A, D
from emu.mm.swapops import here
from emu.mm.thp import PMD_ORDER
from mmu.late import np
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.mm.address_space import AddressSpace


def split(mm: AddressSpace, start: int, slot: int) -> None:
    """Replace an entry by a table of small ones (__split_huge_pmd); that of a page of the page cache goes."""
    q, table = mm.frames.ram.qwords, mm.tables.transparent[slot]
    mm.context.thp.count("thp_split_pmd")
    if not table:
        zap_entry(mm, start, slot)
        return
    flush = mm.obligation(start, start + PMD_SIZE, "split")
    mm.tables.words[table << 9 : (table + 1) << 9] = as_ptes(mm, slot)
    q[slot] = table << PAGE_SHIFT | TABLE_FLAGS
    del mm.tables.transparent[slot]
    flush.flush()


def split_at(mm: AddressSpace, address: int) -> None:
    """An entry that maps both sides of an address is split (vma_adjust_trans_huge)."""
    if address % PMD_SIZE:
        slot = huge_slot(mm, address)
        if slot is not None:
            split(mm, address & -PMD_SIZE, slot)


def split_range(mm: AddressSpace, start: int, end: int) -> None:
    """Every entry that maps a part of [start, end) is split."""
    for address, slot in list(huge_entries(mm, start, end)):
        split(mm, address, slot)


def split_page(mm: AddressSpace, start: int, slot: int) -> None:
    """Not only the entry is split but the page: its frames have nothing to do with each other (split_folio)."""
    head = head_of(mm.frames.ram.qwords[slot])
    split(mm, start, slot)
    _split_folio(mm, start, head)


def _split_folio(mm: AddressSpace, start: int, head: int) -> None:
    """A page that the PTE table of an address maps, or a part of it, becomes small ones, and those that are full of
    zeros give way to the zero page, unless they are locked (try_to_map_unused_to_zeropage).
    """
    belong = mm.frames.flags[block(head)] & PG_LARGE != 0  # others have been freed, and may have another use
    mm.frames.flags[block(head)] &= ~PG_LARGE & 0xFF
    mm.context.thp.count("thp_split_page")
    mm.context.thp.stats[PMD_ORDER]["split"] += 1
    first = start & -PMD_SIZE
    for table in (first - PMD_SIZE, first, first + PMD_SIZE):  # it may have been moved over a border
        _forget_zeros(mm, table, head, belong)


def _forget_zeros(mm: AddressSpace, start: int, head: int, belong: npt.NDArray[np.bool_]) -> None:
    """Pages of zeros that one PTE table maps, of those of a block that belong to a page."""
    slot, words = mm.tables.entry_slot(start, 1), mm.tables.words
    if slot is None:
        return
    view = words[slot : slot + BLOCK_FRAMES]
    frames = ((view & np.uint64(ADDRESS)) >> np.uint64(PAGE_SHIFT)).astype(np.int64)
    at = np.flatnonzero(here(view) & (frames >= head) & (frames < head + BLOCK_FRAMES))
    at = at[belong[frames[at] - head]]
    at = at[~words.reshape(-1, BLOCK_FRAMES)[frames[at]].any(axis=1)]
    for vma in mm.vmas.overlapping(start, start + PMD_SIZE):
        if vma.flags & VmFlags.LOCKED:
            at = at[(start + at * PAGE_SIZE < vma.start) | (start + at * PAGE_SIZE >= vma.end)]
    if not len(at):
        return
    zero = np.uint64(mm.frames.zero_frame << PAGE_SHIFT | SPECIAL)
    view[at] = view[at] & np.uint64(~(ADDRESS | RW | D) & U64) | zero
    mm.obligation(start, start + PMD_SIZE, "split").flush()
    mm.note_peak()
    mm.rss_anon -= len(at)
    mm.frames.put_many(np.sort(frames[at]))


def split_partly_meant(mm: AddressSpace, start: int, end: int) -> list[int]:
    """Pages that small entries map, of which [start, end) has only a part, are split before they are given up or called
    cold; returns the heads of those that others map too, which are left alone.
    """
    frames, left = mm.frames, list[int]()
    for vaddr, slot, number in mm.tables.pte_tables(start, end) if mm.context.thp.used else ():
        pages = rss.pages_of(mm.tables.words[slot : slot + number])
        large = pages[(frames.flags[pages] & PG_LARGE != 0) & (frames.kinds[pages] == FrameKind.ANON)] & -BLOCK_FRAMES
        for head in sorted(set(large.tolist())):
            shared = (frames.counts[block(head)] > 1) & (frames.flags[block(head)] & PG_LARGE != 0)
            if np.count_nonzero(large == head) < BLOCK_FRAMES:
                if shared.any():
                    left.append(head)
                else:
                    _split_folio(mm, vaddr, head)
    return left


def whole_or_split(mm: AddressSpace, start: int, end: int) -> list[tuple[int, int]]:
    """(address, slot) of the entries of [start, end), after those were split that map more than that."""
    if not mm.tables.transparent:
        return []
    split_at(mm, start)
    split_at(mm, end)
    return list(huge_entries(mm, start, end))


def split_to_swap(mm: AddressSpace, start: int, end: int, *, spares: bool = False) -> list[int]:
    """Entries of private pages that nobody else maps, and of shared memory, are split, so that the pages can go to
    swap; with ``spares`` only those that have not been used since the last time.  Returns where pages of shared memory
    were, whose entries are gone.
    """
    q, frames, shared = mm.frames.ram.qwords, mm.frames, []
    for address, slot in list(huge_entries(mm, start, end)):
        part = block(head_of(q[slot]))
        anon = frames.is_anon(part.start)
        if q[slot] & SPECIAL or (anon and (frames.counts[part] > 1).any()):
            continue
        if spares and q[slot] & A:
            q[slot] &= ~A
            mm.obligation(address, address + PMD_SIZE, "reclaim").flush()
            continue
        split(mm, address, slot)
        if anon:
            mm.context.thp.count("thp_swpout")
        else:
            shared.append(address)
    return shared


def split_given_up(mm: AddressSpace, start: int, end: int) -> None:
    """Pages that were given up and not written since are split where they are to be dropped."""
    q = mm.frames.ram.qwords
    for address, slot in list(huge_entries(mm, start, end)):
        entry = q[slot]
        if entry & (SPECIAL | D) or (mm.frames.flags[block(head_of(entry))] & PG_DIRTY).any():
            continue
        if mm.frames.has_flag(head_of(entry), PG_LAZYFREE):
            split_page(mm, address, slot)
