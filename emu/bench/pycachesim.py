"""pycachesim, a simulator of caches (PyPI), as one of TLBs: a cache with lines of 4096 bytes and nothing but loads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from emu.lab.batch import BATCH, Batch
from emu.lab.page_policy import TABLE_BYTES, PageMapper, PagePolicy
from emu.lab.simulation import Simulation
from mmu.geometry import Array, Geometry, Kinds, PageSizes, Replacement

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_POLICIES = {Replacement.LRU: "LRU", Replacement.FIFO: "FIFO"}
_PAGE, _MODULE = 4096, "cachesim"


class Level(NamedTuple):
    """Hits and misses of a level."""

    hits: int
    misses: int


def is_installed() -> bool:
    """Whether this Python has it."""
    return find_spec(_MODULE) is not None


def two_levels(first: tuple[int, int], second: tuple[int, int], policy: Replacement) -> Geometry:
    """A TLB of two levels, of so many sets and ways each, for pages of 4K and any access."""
    arrays = (
        Array(f"L{level}", level, Kinds.ALL, PageSizes.K4, sets, ways, policy)
        for level, (sets, ways) in ((1, first), (2, second))
    )
    return Geometry("two levels", tuple(arrays), {4: 4, 3: 8, 2: 32})


def batches_of(vaddrs: npt.NDArray[np.uint64]) -> Iterator[Batch]:
    """Loads from these addresses, each of whose pages is mapped when it is first used."""
    parts = (vaddrs[begin : begin + BATCH] for begin in range(0, len(vaddrs), BATCH))
    return PageMapper(PagePolicy.FOUR_K).mapped(Batch.of(vaddr=part) for part in parts)


def ours(geometry: Geometry, batches: Iterable[Batch]) -> list[Level]:
    """What the model counts, by level."""
    simulation = Simulation([geometry], TABLE_BYTES)
    for batch in batches:
        simulation.add(batch)
    levels = simulation.figures()[0]["tlb"]
    counted = [levels[f"L{array.level}"][array.name] for array in geometry.arrays]
    return [Level(counts["hits"], counts["misses"]) for counts in counted]


def theirs(geometry: Geometry, vaddrs: list[int]) -> list[Level]:
    """What pycachesim counts, by level.  ModuleNotFoundError without it."""
    cachesim = import_module(_MODULE)
    memory, below = cachesim.MainMemory(), None
    for array in reversed(geometry.arrays):
        shape = array.name, array.sets, array.ways, _PAGE, _POLICIES[array.replacement]
        cache = cachesim.Cache(*shape, load_from=below, store_to=below)
        if below is None:
            memory.load_to(cache)
            memory.store_from(cache)
        below = cache
    simulator = cachesim.CacheSimulator(below, memory)
    simulator.load(vaddrs)
    counted = {level["name"]: level for level in simulator.stats()}
    return [Level(counted[array.name]["HIT_count"], counted[array.name]["MISS_count"]) for array in geometry.arrays]
