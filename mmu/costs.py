"""TranslationCosts: what the translations of one vCPU cost, counted natively, for Python."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mmu.latency import MEMORY, Latency
from mmu.registers import Access
from mmu.second_dimension import SecondDimension
from mmu.state import MmuState
from mmu.walk_cost import WalkCacheRecord, WalkCost

#: The fields of records that count something.
COUNTED: dict[type[ctypes.Structure], tuple[str, ...]] = {
    WalkCost: ("memory_loads", "stlb_cycles", "walk_cycles"),
    WalkCacheRecord: ("hits",),
}


@dataclass(frozen=True)
class AccessCycles:
    """The cycles of one kind of access: of hits in the second level, and of walks."""

    stlb_hits: int
    walks: int


class TranslationCosts:
    """Cycles and loads; ``state`` has the place of the record from here on."""

    def __init__(self, state: MmuState, latency: Latency, second: SecondDimension | None = None) -> None:
        self.latency = latency
        self._keep: list[npt.NDArray[np.uint64]] = []
        self._caches = (WalkCacheRecord * max(1, len(latency.walk_caches)))()
        self.record = WalkCost(
            stlb_hit=latency.stlb_hit, walk=latency.walk, structure_hit=latency.structure_hit, load=latency.load
        )
        for cache, shape in zip(self._caches, latency.walk_caches, strict=False):
            cache.lines, cache.times = self._words(shape.sets * shape.ways), self._words(shape.sets * shape.ways)
            cache.set_mask, cache.ways, cache.cycles = shape.sets - 1, shape.ways, shape.cycles
        self.record.caches = ctypes.addressof(self._caches)
        self.record.caches_end = self.record.caches + len(latency.walk_caches) * ctypes.sizeof(WalkCacheRecord)
        self.record.nested = 0 if second is None else ctypes.addressof(second.record)
        state.walk_cost = ctypes.addressof(self.record)

    def _words(self, number: int) -> int:
        words = np.zeros(number, dtype=np.uint64)
        self._keep.append(words)
        return words.ctypes.data

    @property
    def total(self) -> int:
        """All cycles."""
        return sum(self.record.stlb_cycles) + sum(self.record.walk_cycles)

    def cycles(self) -> dict[Access, AccessCycles]:
        """Cycles by kind of access."""
        record = self.record
        return {access: AccessCycles(record.stlb_cycles[access], record.walk_cycles[access]) for access in Access}

    def loads(self, *, nested: bool = False) -> dict[str, tuple[int, int]]:
        """Loads of walks by the cache that had the line, or "memory": of walks for data, and for fetches; of entries of
        the guest, or of the second dimension (``nested``).
        """
        caches = zip(self.latency.walk_caches, self._caches, strict=False)
        counted = {**{shape.name: cache.hits for shape, cache in caches}, MEMORY: self.record.memory_loads}
        data, fetch = (2, 3) if nested else (0, 1)
        return {name: (loads[data], loads[fetch]) for name, loads in counted.items()}

    def records(self) -> list[tuple[Any, type[ctypes.Structure]]]:
        """The memory of all that is counted, and what it holds."""
        return [((WalkCost * 1).from_address(ctypes.addressof(self.record)), WalkCost), (self._caches, WalkCacheRecord)]
