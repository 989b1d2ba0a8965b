"""Paging-structure caches (SDM vol. 3, 4.10.3): for each level, the entries that refer to a table; fully associative,
LRU.

Entries come from completed walks only.  An entry is found by the address bits that select it and the PCID, and keeps
the table's address, the AND of R/W and U/S and the OR of XD from the top down to here.  No cache above the tables' own
number of levels is asked.
"""

from __future__ import annotations

from mmu.array_record import page_of
from mmu.entries import A
from mmu.native import load64, native, store64
from mmu.registers import PCID_MASK
from mmu.state import MmuState

#: Words of an entry: key (0: free), table address, AND, OR, time of last use.
STRUCTURE_WORDS = 5
_ENTRY = STRUCTURE_WORDS * 8
TABLE_AT, EVERY_AT, ANY_AT, TIME_AT = 8, 16, 24, 32
_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF


@native
def _key(vaddr: int, level: int, pcid: int) -> int:
    """The bits of the address that select the entry, and the PCID; never 0."""
    return (page_of(vaddr, level) << 16) | (pcid << 3) | 1


@native
def _find(state: MmuState, vaddr: int, level: int, pcid: int) -> int:
    """The address of the entry; 0 if it is not held."""
    key = _key(vaddr, level, pcid)
    at = load64(state.psc + level * 8)
    end = at + load64(state.psc_entries + level * 8) * _ENTRY
    while at < end:
        if load64(at) == key:
            return at
        at += _ENTRY
    return 0


@native
def _count(words: int, level: int) -> None:
    store64(words + level * 8, load64(words + level * 8) + 1)


@native
def begin_walk(state: MmuState, vaddr: int, levels: int, root: int, every: int, quiet: bool) -> int:
    """Where the next walk begins: below the deepest cached entry for the address, or at the root.

    Returns the level of that entry, 0 for the root.  ``quiet``: no statistics, and no use is noted.
    """
    state.walk_level, state.walk_table, state.walk_every, state.walk_any = levels, root, every, 0
    level = 2
    while level <= levels:
        if load64(state.psc_entries + level * 8) != 0:
            if not quiet:
                _count(state.psc_lookups, level)
            at = _find(state, vaddr, level, state.pcid)
            if at != 0:
                state.walk_level = level - 1
                state.walk_table = load64(at + TABLE_AT)
                state.walk_every = load64(at + EVERY_AT)
                state.walk_any = load64(at + ANY_AT)
                if not quiet:
                    _count(state.psc_hits, level)
                    state.tlb_time += 1
                    store64(at + TIME_AT, state.tlb_time)
                return level
        level += 1
    return 0


@native
def cache_structure_entry(state: MmuState, vaddr: int, level: int, table: int, every: int, any_xd: int) -> None:
    """An entry that refers to a table, read by a completed walk, enters the cache of its level."""
    entries = load64(state.psc_entries + level * 8)
    if entries == 0:
        return
    at = load64(state.psc + level * 8)
    end = at + entries * _ENTRY
    chosen, oldest = at, _ALL_ONES
    while at < end:
        if load64(at) == 0:
            chosen = at
            break
        if load64(at + TIME_AT) < oldest:
            chosen, oldest = at, load64(at + TIME_AT)
        at += _ENTRY
    state.tlb_time += 1
    store64(chosen, _key(vaddr, level, state.pcid))
    store64(chosen + TABLE_AT, table)
    store64(chosen + EVERY_AT, every | A)
    store64(chosen + ANY_AT, any_xd)
    store64(chosen + TIME_AT, state.tlb_time)


@native
def invalidate_structures(state: MmuState, pcid: int, every_pcid: bool) -> None:
    """Forget every entry of a PCID, or of all."""
    level = 2
    while level <= 5:
        at = load64(state.psc + level * 8)
        end = at + load64(state.psc_entries + level * 8) * _ENTRY
        while at < end:
            key = load64(at)
            if key != 0 and (every_pcid or (key >> 3) & PCID_MASK == pcid):
                store64(at, 0)
            at += _ENTRY
        level += 1


@native
def invalidate_structures_of(state: MmuState, vaddr: int, pcid: int) -> None:
    """Forget the entries that this address would use."""
    level = 2
    while level <= 5:
        if load64(state.psc_entries + level * 8) != 0:
            at = _find(state, vaddr, level, pcid)
            if at != 0:
                store64(at, 0)
        level += 1
