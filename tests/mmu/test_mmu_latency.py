"""What translations cost: equal to a slow model, and to formulas."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from mmu import Access
from mmu.geometry import Array, Geometry, IndexHash, Kinds, PageSizes, Replacement
from mmu.latency import Latency, WalkCache
from mmu.model import TlbModel
from mmu.state import MmuState
from tests.mmu.tables import Tables
from tests.mmu.test_mmu_tlb_model import cycle, mapped, small
from tests.mmu.tlb_pair import GIB, MIB2, Pair, Trace

READ, WRITE, FETCH = Access.READ, Access.WRITE, Access.FETCH
PAGE, FIRST = 4096, 0x4000_0000
FIXED = Latency(stlb_hit=7, walk=10, structure_hit=2, load=20)


def geometry(
    latency: Latency, *, ways: int = 4, second: int = 16, structures: dict[int, int] | None = None
) -> Geometry:
    """One fully associative array of data a level."""
    arrays = [Array("L1D", 1, Kinds.DATA, PageSizes.ALL, 1, ways)]
    if second:
        arrays.append(Array("L2", 2, Kinds.ALL, PageSizes.ALL, 1, second))
    return Geometry("test", tuple(arrays), structures or {}, latency=latency)


def cost_of(pair: Pair) -> tuple[int, int]:
    """Cycles of loads: of hits in the second level, and of walks."""
    assert pair.model.costs is not None
    cycles = pair.model.costs.cycles()[READ]
    return cycles.stlb_hits, cycles.walks


# ---- against the slow model


def random_latency(rng: random.Random) -> Latency:
    caches = [
        WalkCache(name, rng.choice((1, 2, 4, 8)), rng.choice((1, 2, 3, 4)), 5 + 10 * number)
        for number, name in enumerate(("L1D", "L2", "L3")[: rng.randrange(4)])
    ]
    return Latency(rng.randrange(10), rng.randrange(20), rng.randrange(4), rng.randrange(300), tuple(caches))


@pytest.mark.parametrize("seed", range(12))
def test_costs_are_as_the_slow_model_says(seed: int) -> None:
    rng = random.Random(seed)
    shape = small(rng.choice((Replacement.LRU, Replacement.FIFO)), IndexHash.XOR, False, seed % 3 == 0, seed)
    trace = Trace(Pair(replace(shape, latency=random_latency(rng)), seed=seed, levels=4 + seed % 2), seed)
    for _ in range(3):
        trace.run(300)
    assert trace.pair.state.walk_loads > 300


# ---- closed forms


def test_walks_of_fixed_cost() -> None:
    """Without structure caches each walk reads 4 entries; hits in the second level cost what they do."""
    pair = mapped(geometry(FIXED), 16)
    cycle(pair, 16, 3)
    assert cost_of(pair) == (2 * 16 * 7, 16 * (10 + 4 * 20))
    larger = mapped(geometry(FIXED), 17)
    cycle(larger, 17, 3)
    assert cost_of(larger) == (0, 3 * 17 * (10 + 4 * 20))


def test_a_walk_from_a_structure_cache_costs_its_hit_and_the_rest() -> None:
    pair = mapped(geometry(FIXED, structures={2: 4}), 64)
    cycle(pair, 64, 1)
    assert cost_of(pair) == (0, 10 + 4 * 20 + 63 * (10 + 2 + 20))


def test_a_level_1_hit_costs_nothing() -> None:
    pair = mapped(geometry(FIXED), 4)
    cycle(pair, 4, 10)
    assert cost_of(pair) == (0, 4 * (10 + 4 * 20))


@pytest.mark.parametrize("lines", [4, 8, 16])
def test_a_cycle_of_ptes_costs_what_the_lines_of_the_walk_cache_hold(lines: int) -> None:
    """Pages side by side: 8 PTEs share a line.  With an entry for every table in the structure caches, a walk reads
    the PTE alone, and a sweep of 8 pages a line hits in a cache of as many lines, and misses once a line if there is
    one line more.
    """
    latency = Latency(0, load=100, walk_caches=(WalkCache("L1D", 1, lines, 5),))
    shape = geometry(latency, ways=1, second=0, structures={2: 4})
    for number, missing in ((lines, 0), (lines + 1, lines + 1)):
        pair = mapped(shape, 8 * number)
        cycle(pair, 8 * number, 2)
        before = cost_of(pair)[1]
        cycle(pair, 8 * number, 1)
        assert cost_of(pair)[1] - before == missing * 100 + (8 * number - missing) * 5


def test_the_second_cache_has_what_the_first_has_not() -> None:
    latency = Latency(0, load=100, walk_caches=(WalkCache("L1D", 1, 2, 5), WalkCache("L2", 4, 4, 14)))
    pair = mapped(geometry(latency, ways=1, second=0, structures={2: 4}), 8 * 12)
    cycle(pair, 8 * 12, 2)
    before = cost_of(pair)[1]
    cycle(pair, 8 * 12, 1)
    assert cost_of(pair)[1] - before == 12 * 14 + 12 * 7 * 5


def test_loads_are_counted_for_data_and_for_fetches() -> None:
    pair = mapped(geometry(Latency(0, load=100, walk_caches=(WalkCache("L1D", 8, 8, 5),))), 1)
    pair.access(FIRST)
    pair.access(FIRST, FETCH)  # in the second level
    assert pair.model.costs is not None
    assert pair.model.costs.loads() == {"L1D": (0, 0), "memory": (4, 0)}
    pair.invlpg(FIRST)
    pair.access(FIRST, FETCH)
    assert pair.model.costs.loads() == {"L1D": (0, 4), "memory": (4, 0)}
    assert pair.model.costs.cycles()[FETCH].walks == 4 * 5


def test_a_walk_that_faults_costs_what_it_read() -> None:
    pair = Pair(geometry(FIXED))
    for ram in pair.rams:
        Tables(ram).map_page(FIRST, 0x5000)
    assert pair.access(FIRST + GIB).paddr is None
    assert cost_of(pair) == (0, 10 + 2 * 20), "the PML4E, and the PDPTE that is not there"
    pair.check()


def test_pages_of_2m_are_walked_in_three() -> None:
    pair = mapped(geometry(FIXED), 4, level=2)
    for n in range(4):
        pair.access(FIRST + n * MIB2 + PAGE, WRITE)
    assert pair.model.costs is not None
    assert pair.model.costs.cycles()[WRITE].walks == 4 * (10 + 3 * 20)


def test_nobody_counts_without_a_latency() -> None:
    pair = mapped(replace(geometry(FIXED), latency=None), 4)
    cycle(pair, 4, 2)
    assert pair.model.costs is None and pair.state.walk_cost == 0


@pytest.mark.parametrize(
    ("latency", "message"),
    [
        (Latency(-1), "latency: stlb_hit: -1 cycles; from 0 to 1500 are modelled"),
        (Latency(1, load=1501), "latency: load: 1501 cycles"),
        (Latency(1, walk_caches=(WalkCache("L1D", 3, 4, 5),)), "latency: L1D: 3 sets of 4 ways; the sets must be"),
        (Latency(1, walk_caches=(WalkCache("L1D", 4, 4, -5),)), "latency: L1D: -5 cycles"),
        (Latency(1, walk_caches=(WalkCache("L1D", 1 << 22, 4, 5),)), "lines; at most 4194304 are modelled"),
        (
            Latency(1, walk_caches=(WalkCache("L1D", 4, 4, 5),) * 2),
            "latency: walk cache 2: 'L1D' is the name of another",
        ),
        (Latency(1, walk_caches=(WalkCache("memory", 4, 4, 5),)), "latency: walk cache 1: 'memory' is the name"),
        (Latency(1, walk_caches=(WalkCache("L1D", 4, 4, 5),) * 5), "5 walk caches; at most 4 are modelled"),
    ],
)
def test_a_latency_that_cannot_be_modelled_is_refused(latency: Latency, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TlbModel(MmuState(), geometry(latency))
