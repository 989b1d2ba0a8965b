"""Paging-structure caches (SDM vol. 3, 4.10.3): for each level, the entries that refer to a table, in sets of ways.

Entries come from completed walks only.  An entry is found by the address bits that select it and the PCID, and keeps
the table's address, the AND of R/W and U/S and the OR of XD from the top down to here.  Caches above the tables' number
of levels are not looked up.
"""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt

from mmu.array_tags import page_of
from mmu.entries import A
from mmu.geometry import Replacement
from mmu.native import inlined, load64, native, store64
from mmu.registers import PCID_MASK
from mmu.replacement import next_random, used_once_more
from mmu.state import MmuState, fields
from mmu.walk import WalkStart
from mmu.ways import SPARE, first_equal, first_least

_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF


class StructureCache(ctypes.Structure):
    """The structure cache of one level.  Every field is a uint64.

    An entry is a place in three arrays: it has a key, 0 where it is free; what is held under that; and the time of its
    last use, or of its installation, of LFU as mmu.replacement.used_once_more says it, and 0 where it is free.
    """

    keys: int  # address of uint64[]
    times: int  # address of uint64[]
    held: int  # address of HeldTable[]
    entries: int  # number of entries; 0: the processor has no such cache
    occupied: int  # how many of them are held
    ways: int
    set_mask: int
    replacement: int  # as mmu.geometry.Replacement, without PLRU
    lookups: int
    hits: int
    hints: int  # address of uint64[HINTS], by page number: the place where that was found last, plus 1, or 0

    _fields_ = fields(__annotations__)


#: A search begins with the entry that a page of this number, without its upper bits, was found in last.
HINTS = 64


class HeldTable(ctypes.Structure):
    """The table that a paging-structure entry refers to.  Every field is a uint64."""

    table: int  # its address
    every: int  # AND of the entries from the top down to here
    any_xd: int  # OR

    _fields_ = fields(__annotations__)


CACHE_BYTES = ctypes.sizeof(StructureCache)
_HELD_BYTES = ctypes.sizeof(HeldTable)


@inlined
def structure_cache(state: MmuState, level: int) -> StructureCache:
    """The cache of the entries of this level."""
    return StructureCache.from_address(state.structure_caches + level * CACHE_BYTES)


@inlined
def table_at(cache: StructureCache, place: int) -> HeldTable:
    """What the entry at a place refers to."""
    return HeldTable.from_address(cache.held + place * _HELD_BYTES)


@inlined
def _key(vaddr: int, level: int, pcid: int) -> int:
    """The bits of the address that select the entry, and the PCID; never 0."""
    return (page_of(vaddr, level) << 16) | (pcid << 3) | 1


@inlined
def _first_of_set(cache: StructureCache, vaddr: int, level: int) -> int:
    """The first place of those where the entry may be."""
    return (page_of(vaddr, level) & cache.set_mask) * cache.ways


@inlined
def _hint(cache: StructureCache, vaddr: int, level: int) -> int:
    return cache.hints + (page_of(vaddr, level) & (HINTS - 1)) * 8


@native
def find_table(cache: StructureCache, vaddr: int, level: int, pcid: int) -> int:
    """The place of the entry, plus 1; 0 if it is not held, or there is no such cache."""
    if cache.occupied == 0:
        return 0
    key = _key(vaddr, level, pcid)
    found = load64(_hint(cache, vaddr, level))
    if found != 0 and load64(cache.keys + (found - 1) * 8) == key:
        return found
    first = _first_of_set(cache, vaddr, level)
    way = first_equal(cache.keys + first * 8, cache.ways, key, _ALL_ONES)
    if way == cache.ways:
        return 0
    store64(_hint(cache, vaddr, level), first + way + 1)
    return first + way + 1


@native
def begin_walk(state: MmuState, vaddr: int, root: WalkStart, quiet: bool) -> WalkStart:
    """Where the next walk begins: below the deepest cached entry for the address, or at the root.

    ``quiet``: without statistics, and without noting the use.
    """
    level = 2
    while level <= root.level:
        cache = structure_cache(state, level)
        if cache.entries != 0:
            if not quiet:
                cache.lookups += 1
            found = find_table(cache, vaddr, level, state.pcid)
            if found != 0:
                if not quiet:
                    cache.hits += 1
                    note_use(state, cache, found - 1, False)
                held = table_at(cache, found - 1)
                return WalkStart(level, level - 1, held.table, held.every, held.any_xd)
        level += 1
    return root


@native
def cache_structure_entry(state: MmuState, vaddr: int, level: int, table: int, every: int, any_xd: int) -> None:
    """Install an entry that refers to a table, read by a completed walk, in the cache of its level."""
    cache = structure_cache(state, level)
    if cache.entries != 0:
        install_table(state, cache, vaddr, level, state.pcid, table, every, any_xd)


@native
def install_table(
    state: MmuState, cache: StructureCache, vaddr: int, level: int, pcid: int, table: int, every: int, any_xd: int
) -> None:
    """Install an entry of this level in a cache, which has some: in the first place that is free, or for another."""
    first = _first_of_set(cache, vaddr, level)
    place = first + first_least(cache.times + first * 8, cache.ways)
    if cache.replacement == Replacement.RANDOM and load64(cache.keys + place * 8) != 0:
        place = first + next_random(state) % cache.ways
    if load64(cache.keys + place * 8) == 0:
        cache.occupied += 1
    store64(cache.keys + place * 8, _key(vaddr, level, pcid))
    held = table_at(cache, place)
    held.table = table
    held.every = every | A
    held.any_xd = any_xd
    note_use(state, cache, place, True)


@inlined
def note_use(state: MmuState, cache: StructureCache, place: int, installed: bool) -> None:
    """Note a use of an entry, for replacement."""
    state.tlb_time += 1
    at = cache.times + place * 8
    if cache.replacement == Replacement.LFU:
        store64(at, used_once_more(0 if installed else load64(at), state.tlb_time))
    elif cache.replacement != Replacement.FIFO or installed:
        store64(at, state.tlb_time)


@inlined
def _forget(cache: StructureCache, place: int) -> None:
    store64(cache.keys + place * 8, 0)
    store64(cache.times + place * 8, 0)
    cache.occupied -= 1


@native
def invalidate_structures(state: MmuState, pcid: int, every_pcid: bool) -> None:
    """Forget every entry of a PCID, or of all."""
    level = 2
    while level <= 5:
        cache = structure_cache(state, level)
        place, left = 0, cache.occupied
        while left != 0:
            key = load64(cache.keys + place * 8)
            if key != 0:
                left -= 1
                if every_pcid or (key >> 3) & PCID_MASK == pcid:
                    _forget(cache, place)
            place += 1
        level += 1


@native
def invalidate_structures_of(state: MmuState, vaddr: int, pcid: int) -> None:
    """Forget the entries that a walk for this address would use."""
    level = 2
    while level <= 5:
        cache = structure_cache(state, level)
        found = find_table(cache, vaddr, level, pcid)
        if found != 0:
            _forget(cache, found - 1)
        level += 1


def structure_memory(record: StructureCache, entries: int) -> list[npt.NDArray[np.uint64]]:
    """The memory of a structure cache, to which its record refers from now on: to be kept."""
    keys, times = (np.zeros(entries + SPARE, np.uint64) for _ in range(2))
    held = np.zeros(max(1, entries) * (_HELD_BYTES // 8), np.uint64)
    hints = np.zeros(HINTS, np.uint64)
    record.keys, record.times, record.held = keys.ctypes.data, times.ctypes.data, held.ctypes.data
    record.hints, record.entries = hints.ctypes.data, entries
    return [keys, times, held, hints]


def held_tables(cache: StructureCache) -> list[tuple[int, int]]:
    """Key and table's address of each entry that is held, by rising time."""
    keys, times = ((ctypes.c_uint64 * cache.entries).from_address(at) for at in (cache.keys, cache.times))
    held = (HeldTable * cache.entries).from_address(cache.held)
    order = sorted((place for place in range(cache.entries) if keys[place]), key=lambda place: times[place])
    return [(keys[place], held[place].table) for place in order]
