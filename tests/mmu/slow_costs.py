"""What translations cost, once more: lists, written from docs/mmu.md and not from mmu.walk_cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mmu.latency import LINE_BYTES, Latency, WalkCache
from mmu.registers import Access


class SlowCache:
    """Sets of lines, the least recently used one first."""

    def __init__(self, shape: WalkCache) -> None:
        self.shape = shape
        self.sets: list[list[int]] = [[] for _ in range(shape.sets)]

    def has(self, paddr: int) -> bool:
        """Whether it has the line of an address; it has from now on."""
        line = paddr // LINE_BYTES
        lines = self.sets[line % self.shape.sets]
        found = line in lines
        if found:
            lines.remove(line)
        elif len(lines) == self.shape.ways:
            lines.pop(0)
        lines.append(line)
        return found


class SlowCosts:
    """The cycles and loads of all translations."""

    def __init__(self, latency: Latency) -> None:
        self.latency = latency
        self.caches = [SlowCache(shape) for shape in latency.walk_caches]
        self.stlb = dict.fromkeys(Access, 0)
        self.walks = dict.fromkeys(Access, 0)
        self.answered: Counter[tuple[str, bool]] = Counter()

    def load(self, paddr: int, access: Access) -> int:
        """The cycles of reading an entry."""
        for cache in self.caches:
            if cache.has(paddr):
                self.answered[cache.shape.name, access == Access.FETCH] += 1
                return cache.shape.cycles
        self.answered["memory", access == Access.FETCH] += 1
        return self.latency.load

    def access(self, access: Access, level: int, walked: bool, start: int, reads: Sequence[int]) -> int:
        """An access that hit at a level, or walked from a structure-cache entry of level ``start`` and read entries at
        these addresses.
        """
        if not walked:
            cycles = self.latency.stlb_hit if level == 2 else 0
            self.stlb[access] += cycles
            return cycles
        cycles = self.latency.walk + (self.latency.structure_hit if start else 0)
        cycles += sum(self.load(paddr, access) for paddr in reads)
        self.walks[access] += cycles
        return cycles
