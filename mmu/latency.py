"""What translations cost, in cycles: data only, no behaviour.

A hit in the first level costs nothing more than the access itself.  A hit in the second level costs ``stlb_hit``.  A
walk costs ``walk``, in which the lookup in the second level is that came before it, and for each entry that it reads
what the first of the ``walk_caches`` that has its line says, or ``load``; where it begins behind an entry of a
paging-structure cache, ``structure_hit`` besides.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Bytes of a line of a data cache.
LINE_BYTES = 64
#: The most cycles that a figure may say, and the most caches and lines that are modelled: what the longest walk costs,
#: of 5 levels over 4, stays below 65,536.
MAX_CYCLES, MAX_CACHES, MAX_LINES = 1500, 4, 1 << 22
#: What is behind the last walk cache, where loads are counted.
MEMORY = "memory"


@dataclass(frozen=True)
class WalkCache:
    """A data cache through which walks read: sets (a power of two) of ways of lines of 64 bytes, with LRU.

    It sees the loads of walks alone.  ``cycles``: what a load costs that hits here.
    """

    name: str
    sets: int
    ways: int
    cycles: int

    @property
    def bytes(self) -> int:
        """Its size."""
        return self.sets * self.ways * LINE_BYTES


@dataclass(frozen=True)
class Latency:
    """The cycles that translations cost; ``walk_caches`` from the first level on.

    >>> fixed = Latency(stlb_hit=7, walk=10, load=20)
    >>> fixed.walk + 4 * fixed.load     # a walk of four levels
    90
    """

    stlb_hit: int
    walk: int = 0
    structure_hit: int = 0
    load: int = 0
    walk_caches: tuple[WalkCache, ...] = ()


def wrong_in_latency(latency: Latency) -> str | None:
    """What of it cannot be modelled."""
    for name in ("stlb_hit", "walk", "structure_hit", "load"):
        if not 0 <= getattr(latency, name) <= MAX_CYCLES:
            return f"latency: {name}: {getattr(latency, name)} cycles; from 0 to {MAX_CYCLES} are modelled"
    if len(latency.walk_caches) > MAX_CACHES:
        return f"latency: {len(latency.walk_caches)} walk caches; at most {MAX_CACHES} are modelled"
    names = [cache.name for cache in latency.walk_caches]
    for place, name in enumerate(names):
        if name in (*names[:place], MEMORY):
            return f"latency: walk cache {place + 1}: {name!r} is the name of another one, or of memory"
    for cache in latency.walk_caches:
        if cache.sets < 1 or cache.sets & (cache.sets - 1) or cache.ways < 1:
            return f"latency: {cache.name}: {cache.sets} sets of {cache.ways} ways; the sets must be a power of two"
        if cache.sets * cache.ways > MAX_LINES:
            return f"latency: {cache.name}: {cache.sets * cache.ways} lines; at most {MAX_LINES} are modelled"
        if not 0 <= cache.cycles <= MAX_CYCLES:
            return f"latency: {cache.name}: {cache.cycles} cycles; from 0 to {MAX_CYCLES} are modelled"
    return None
