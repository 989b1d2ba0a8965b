"""SecondDimension: EPT tables for all of guest-physical memory, and what was counted of them."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mmu.host_array import HostArray
from mmu.nested import Nested
from mmu.nested_walk import LEVELS, NestedTables
from mmu.structure_cache import StructureCache, structure_memory

_INDEX_BITS, _PAGE_SHIFT = 9, 12


@dataclass(frozen=True)
class NestedCounts:
    """What was done in the second dimension: translations of guest-physical addresses that had to read entries, those
    entries, translations that a cached guest-physical mapping gave, and cycles.
    """

    walks: int
    loads: int
    tlb_hits: int
    cycles: int


class SecondDimension:
    """The tables of a virtual machine with ``memory`` bytes, and the caches of one vCPU.

    ``beside``: what another vCPU has, with the same tables.  ValueError for more memory than 4 levels can map.
    """

    def __init__(self, nested: Nested, memory: int, beside: SecondDimension | None = None) -> None:
        if memory > 1 << _PAGE_SHIFT + LEVELS * _INDEX_BITS:
            raise ValueError(f"EPT of 4 levels maps 256 TiB, not {memory} bytes")
        self.nested = nested
        self._keep: list[npt.NDArray[np.uint64]] = []
        #: By level, how many tables there are.
        tables = {level: _tables(memory, level) for level in range(LEVELS, nested.page_level - 1, -1)}
        tables_memory = HostArray(sum(tables.values()) << _INDEX_BITS, "Q") if beside is None else beside.memory
        #: That of the tables.
        self.memory: HostArray = tables_memory
        self._caches = (StructureCache * 6)()
        self.record = NestedTables(host=self.memory.address, page_level=nested.page_level)
        self.record.base = -(-memory // 4096) * 4096
        first = 0
        for level, number in tables.items():
            self.record.first[level] = first
            first += number
        self._make_cache(0, nested.tlb)
        for level, entries in nested.structure_caches.items():
            if level > nested.page_level:
                self._make_cache(level, entries)
        self.record.caches = ctypes.addressof(self._caches)

    def _make_cache(self, number: int, entries: int) -> None:
        cache = self._caches[number]
        self._keep += structure_memory(cache, entries)
        cache.ways = entries

    @property
    def counts(self) -> NestedCounts:
        """What was done so far."""
        record = self.record
        return NestedCounts(record.walks, record.loads, record.tlb_hits, record.cycles)

    def cache_counters(self) -> dict[int, tuple[int, int]]:
        """(lookups, hits) of each cache that there is: by level, and 0 for guest-physical mappings."""
        return {number: (cache.lookups, cache.hits) for number, cache in enumerate(self._caches) if cache.entries}

    def records(self) -> list[tuple[Any, type[ctypes.Structure]]]:
        """The memory of all that is counted, and what it holds."""
        record = (NestedTables * 1).from_address(ctypes.addressof(self.record))
        return [(record, NestedTables), (self._caches, StructureCache)]

    def entries(self, gpaddr: int) -> dict[int, int]:
        """The entries for a guest-physical address as they stand in the tables, by level, from EPTP down; 0 for one
        that nobody has read yet.
        """
        found, base = {}, self.record.base
        table = base
        for level in range(LEVELS, self.nested.page_level - 1, -1):
            index = gpaddr >> _PAGE_SHIFT + _INDEX_BITS * (level - 1) & 511
            found[level] = int(self.memory.view[(table - base >> 3) + index])
            table = found[level] & 0xF_FFFF_FFFF_F000
            if not table:
                break
        return found


def _tables(memory: int, level: int) -> int:
    """How many tables have the entries of a level."""
    return max(1, -(-memory // (1 << _PAGE_SHIFT + _INDEX_BITS * level)))
