"""What translations cost, once more: lists, written from docs/mmu.md and not from mmu.walk_cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mmu.latency import LINE_BYTES, Latency, WalkCache
from mmu.registers import Access
from tests.mmu.slow_nested import SlowNested


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
        self.second: SlowNested | None = None
        self.caches = [SlowCache(shape) for shape in latency.walk_caches]
        self.stlb = dict.fromkeys(Access, 0)
        self.walks = dict.fromkeys(Access, 0)
        #: Loads by where the entry was, whether it was of the second dimension, and whether for a fetch.
        self.answered: Counter[tuple[str, bool, bool]] = Counter()

    def load(self, paddr: int, access: Access, nested: bool = False) -> int:
        """The cycles of reading an entry."""
        for cache in self.caches:
            if cache.has(paddr):
                self.answered[cache.shape.name, nested, access == Access.FETCH] += 1
                return cache.shape.cycles
        self.answered["memory", nested, access == Access.FETCH] += 1
        return self.latency.load

    def _nested(self, gpaddr: int, access: Access) -> int:
        if self.second is None:
            return 0
        return self.second.translate(gpaddr, lambda paddr: self.load(paddr, access, True))

    def access(
        self, access: Access, level: int, walked: bool, start: int, reads: Sequence[int], page: int | None
    ) -> int:
        """An access that hit at a level, or walked from a structure-cache entry of level ``start``, read entries at
        these addresses, and found a page, or None.
        """
        if not walked:
            cycles = self.latency.stlb_hit if level == 2 else 0
            self.stlb[access] += cycles
            return cycles
        cycles = self.latency.walk + (self.latency.structure_hit if start else 0)
        for paddr in reads:
            cycles += self._nested(paddr, access) + self.load(paddr, access)
        if page is not None:
            cycles += self._nested(page, access)
        self.walks[access] += cycles
        return cycles
