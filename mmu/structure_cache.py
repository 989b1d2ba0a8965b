"""Paging-structure caches (SDM vol. 3, 4.10.3): for each level, the entries that refer to a table, in sets of ways.

Entries come from completed walks only.  An entry is found by the address bits that select it and the PCID, and keeps
the table's address, the AND of R/W and U/S and the OR of XD from the top down to here.  Caches above the tables' number
of levels are not looked up.
"""

from __future__ import annotations

import ctypes

from mmu.array_tags import page_of
from mmu.entries import A
from mmu.geometry import Replacement
from mmu.native import inlined, load64, native, store64
from mmu.registers import PCID_MASK
from mmu.replacement import next_random, used_once_more
from mmu.state import MmuState, fields
from mmu.walk import WalkStart

_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF


class StructureCache(ctypes.Structure):
    """The structure cache of one level.  Every field is a uint64."""

    held: int  # address of HeldTable[]
    entries: int  # number of entries; 0: the processor has no such cache
    ways: int
    set_mask: int
    replacement: int  # as mmu.geometry.Replacement, without PLRU
    lookups: int
    hits: int
    hints: int  # address of uint64[HINTS], by page number: the address of the entry where that was found last, or 0

    _fields_ = fields(__annotations__)


#: A search begins with the entry that a page of this number, without its upper bits, was found in last.
HINTS = 64


class HeldTable(ctypes.Structure):
    """An entry of a structure cache: the table that a paging-structure entry refers to.  Every field is a uint64."""

    key: int  # 0: free
    table: int  # its address
    every: int  # AND of the entries from the top down to here
    any_xd: int  # OR
    time: int  # of its last use, or of its installation; of LFU, as mmu.replacement.used_once_more says

    _fields_ = fields(__annotations__)


CACHE_BYTES = ctypes.sizeof(StructureCache)
_HELD_BYTES = ctypes.sizeof(HeldTable)


@inlined
def _cache(state: MmuState, level: int) -> StructureCache:
    """The cache of the entries of this level."""
    return StructureCache.from_address(state.structure_caches + level * CACHE_BYTES)


@native
def _key(vaddr: int, level: int, pcid: int) -> int:
    """The bits of the address that select the entry, and the PCID; never 0."""
    return (page_of(vaddr, level) << 16) | (pcid << 3) | 1


@inlined
def _set_at(cache: StructureCache, vaddr: int, level: int) -> int:
    """The host address of the ways in which the entry may be."""
    return cache.held + (page_of(vaddr, level) & cache.set_mask) * cache.ways * _HELD_BYTES


@native
def find_table(cache: StructureCache, vaddr: int, level: int, pcid: int) -> int:
    """The host address of the entry; 0 if it is not held."""
    key = _key(vaddr, level, pcid)
    hint = cache.hints + (page_of(vaddr, level) & (HINTS - 1)) * 8
    at = load64(hint)
    if at != 0 and HeldTable.from_address(at).key == key:
        return at
    at = _set_at(cache, vaddr, level)
    end = at + cache.ways * _HELD_BYTES
    while at < end:
        if HeldTable.from_address(at).key == key:
            store64(hint, at)
            return at
        at += _HELD_BYTES
    return 0


@native
def begin_walk(state: MmuState, vaddr: int, root: WalkStart, quiet: bool) -> WalkStart:
    """Where the next walk begins: below the deepest cached entry for the address, or at the root.

    ``quiet``: without statistics, and without noting the use.
    """
    level = 2
    while level <= root.level:
        cache = _cache(state, level)
        if cache.entries != 0:
            if not quiet:
                cache.lookups += 1
            at = find_table(cache, vaddr, level, state.pcid)
            if at != 0:
                held = HeldTable.from_address(at)
                if not quiet:
                    cache.hits += 1
                    note_use(state, cache, held, False)
                return WalkStart(level, level - 1, held.table, held.every, held.any_xd)
        level += 1
    return root


@native
def cache_structure_entry(state: MmuState, vaddr: int, level: int, table: int, every: int, any_xd: int) -> None:
    """Install an entry that refers to a table, read by a completed walk, in the cache of its level."""
    cache = _cache(state, level)
    if cache.entries != 0:
        install_table(state, cache, vaddr, level, state.pcid, table, every, any_xd)


@native
def install_table(
    state: MmuState, cache: StructureCache, vaddr: int, level: int, pcid: int, table: int, every: int, any_xd: int
) -> None:
    """Install an entry of this level in a cache, which has some."""
    at = first = _set_at(cache, vaddr, level)
    end = at + cache.ways * _HELD_BYTES
    chosen, oldest, full = at, _ALL_ONES, True
    while at < end:
        held = HeldTable.from_address(at)
        if held.key == 0:
            chosen, full = at, False
            break
        if held.time < oldest:
            chosen, oldest = at, held.time
        at += _HELD_BYTES
    if full and cache.replacement == Replacement.RANDOM:
        chosen = first + next_random(state) % cache.ways * _HELD_BYTES
    held = HeldTable.from_address(chosen)
    held.key = _key(vaddr, level, pcid)
    held.table = table
    held.every = every | A
    held.any_xd = any_xd
    note_use(state, cache, held, True)


@inlined
def note_use(state: MmuState, cache: StructureCache, held: HeldTable, installed: bool) -> None:
    """Note a use of an entry, for replacement."""
    state.tlb_time += 1
    if cache.replacement == Replacement.LFU:
        held.time = used_once_more(0 if installed else held.time, state.tlb_time)
    elif cache.replacement != Replacement.FIFO or installed:
        held.time = state.tlb_time


@native
def invalidate_structures(state: MmuState, pcid: int, every_pcid: bool) -> None:
    """Forget every entry of a PCID, or of all."""
    level = 2
    while level <= 5:
        at = _cache(state, level).held
        end = at + _cache(state, level).entries * _HELD_BYTES
        while at < end:
            held = HeldTable.from_address(at)
            if held.key != 0 and (every_pcid or (held.key >> 3) & PCID_MASK == pcid):
                held.key = 0
            at += _HELD_BYTES
        level += 1


@native
def invalidate_structures_of(state: MmuState, vaddr: int, pcid: int) -> None:
    """Forget the entries that a walk for this address would use."""
    level = 2
    while level <= 5:
        cache = _cache(state, level)
        if cache.entries != 0:
            at = find_table(cache, vaddr, level, pcid)
            if at != 0:
                HeldTable.from_address(at).key = 0
        level += 1
