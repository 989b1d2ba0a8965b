"""The second dimension of a walk: guest-physical addresses through EPT paging structures (SDM vol. 3, 29.3).

The tables are real ones, in host memory of their own; they map guest-physical memory to the same host-physical
addresses, and lie above it.  A hypervisor has mapped all of it: an entry that nobody has read yet is written when it
is read first.  Guest-physical mappings (the last entries) and paging-structure entries of EPT are cached apart from
those of the guest, and nothing that a guest does invalidates them (SDM vol. 3, 29.4.3).
"""

from __future__ import annotations

import ctypes

from mmu.entries import ADDRESS, PS
from mmu.native import inlined, load64, native, store64
from mmu.nested import NESTED_LEVELS
from mmu.state import MmuState, WordArray, fields
from mmu.structure_cache import CACHE_BYTES, StructureCache, find_table, install_table, note_use

LEVELS = NESTED_LEVELS
#: Of an EPT entry: read, write and execute; of one that maps a page, write-back memory (SDM vol. 3, 29.3.2).
_RWX, _WRITE_BACK = 7, 6 << 3
_INDEX = 511


class NestedTables(ctypes.Structure):
    """EPT and its caches, of one vCPU.  Every field is a uint64, or an array of uint64."""

    host: int  # address of the tables in this process
    base: int  # their host-physical address; the first is the PML4 table
    first: WordArray  # by level: the number of the first table of entries of this level
    page_level: int  # of the entries that map pages
    caches: int  # address of StructureCache[6]: by level those of entries that refer to tables; at 0, of pages
    walks: int  # translations that had to read entries
    loads: int
    tlb_hits: int  # translations that a guest-physical mapping gave
    cycles: int

    _fields_ = fields(__annotations__, first=ctypes.c_uint64 * 6)


@inlined
def _cache(nested: NestedTables, number: int) -> StructureCache:
    return StructureCache.from_address(nested.caches + number * CACHE_BYTES)


@inlined
def _slot(nested: NestedTables, gpaddr: int, level: int) -> int:
    """Where the entry of this level for a guest-physical address is, from the beginning of the tables."""
    number = gpaddr >> (12 + 9 * (level - 1))
    return ((nested.first[level] + (number >> 9)) << 12) | ((number & _INDEX) << 3)


@native
def read_entry(nested: NestedTables, gpaddr: int, level: int) -> int:
    """The entry of this level for a guest-physical address."""
    at = nested.host + _slot(nested, gpaddr, level)
    entry = load64(at)
    if entry != 0:
        return entry
    if level == nested.page_level:
        size = 1 << (12 + 9 * (level - 1))
        entry = (gpaddr & ADDRESS & (0xFFFF_FFFF_FFFF_FFFF ^ (size - 1))) | _RWX | _WRITE_BACK
        if level != 1:
            entry |= PS
    else:
        entry = (nested.base + (_slot(nested, gpaddr, level - 1) >> 12 << 12)) | _RWX
    store64(at, entry)
    return entry


@native
def entry_paddr(nested: NestedTables, gpaddr: int, level: int) -> int:
    """The host-physical address of that entry, by the arithmetic of the tables' places."""
    return nested.base + _slot(nested, gpaddr, level)


@native
def find_page(state: MmuState, nested: NestedTables, gpaddr: int) -> bool:
    """Whether a guest-physical mapping is cached for the address."""
    pages = _cache(nested, 0)
    if pages.entries == 0:
        return False
    pages.lookups += 1
    found = find_table(pages, gpaddr, nested.page_level, 0)
    if found == 0:
        return False
    pages.hits += 1
    nested.tlb_hits += 1
    note_use(state, pages, found - 1, False)
    return True


@native
def first_level(state: MmuState, nested: NestedTables, gpaddr: int) -> int:
    """The level of the first entry to read: behind the deepest one that is cached."""
    level = nested.page_level + 1
    while level <= LEVELS:
        cache = _cache(nested, level)
        if cache.entries != 0:
            cache.lookups += 1
            found = find_table(cache, gpaddr, level, 0)
            if found != 0:
                cache.hits += 1
                note_use(state, cache, found - 1, False)
                return level - 1
        level += 1
    return LEVELS


@native
def keep_entry(state: MmuState, nested: NestedTables, gpaddr: int, level: int, entry: int) -> None:
    """Cache an entry that was read: one that refers to a table, or the page that it maps."""
    number = 0 if level == nested.page_level else level
    cache = _cache(nested, number)
    if cache.entries != 0:
        install_table(state, cache, gpaddr, level, 0, entry & ADDRESS, _RWX, 0)
