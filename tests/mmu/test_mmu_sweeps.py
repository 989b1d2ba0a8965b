"""Cyclic sweeps around the capacities of every preset: where a curve rises, and what an access costs on its steps.

The closed forms are those of cycles: n pages side by side are spread evenly over the sets, so that n entries hold them
all, and with LRU none of the next round once each set has one page more than ways.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from mmu import Access
from mmu.geometry import Array, Geometry, Kinds, PageSizes, Replacement
from mmu.presets import find_preset, load_preset, preset_names
from tests.mmu.swept import Sweep

READ, FETCH = Access.READ, Access.FETCH
#: Presets of processors, with arrays of two levels.
NAMES = [name for name in preset_names() if name not in ("textbook", "none", "champsim")]


def arrays(geometry: Geometry, access: Access) -> tuple[Array, Array]:
    """What holds 4K pages for this access, by level; no preset has two at one level."""
    first, second = (
        [a for a in geometry.arrays if a.level == level and a.kinds & (1 << access) and a.page_sizes & PageSizes.K4]
        for level in (1, 2)
    )
    assert len(first) == len(second) == 1
    return first[0], second[0]


@pytest.mark.parametrize("access", [READ, FETCH])
@pytest.mark.parametrize("name", NAMES)
def test_the_curve_rises_where_the_capacities_are(name: str, access: Access) -> None:
    geometry = load_preset(name)
    first, second = arrays(geometry, access)
    for pages in (first.entries // 2, first.entries):
        found = Sweep(geometry, pages).round(access)
        assert (found.first_level, found.walks) == (pages, 0)
    spills = first.sets * (first.ways + 1)
    found = Sweep(geometry, spills).round(access)
    assert found.walks == 0
    if first.replacement == Replacement.LRU:
        assert found.second_level == spills
    else:  # tree-PLRU may keep some of a cycle that is one too long
        assert first.replacement == Replacement.TREE_PLRU and first.sets <= found.second_level <= spills
    found = Sweep(geometry, 2 * first.entries).round(access)
    assert (found.first_level, found.second_level) == (0, 2 * first.entries), (
        "twice as much is too much for each policy"
    )
    found = Sweep(geometry, second.entries).round(access)
    assert (found.first_level, found.walks) == (0, 0)
    assert second.replacement == Replacement.LRU
    spills = 2 * second.entries if second.index_hash else second.sets * (second.ways + 1)
    assert Sweep(geometry, spills).round(access).walks == spills


@pytest.mark.parametrize("name", NAMES)
def test_what_an_access_costs_on_each_step(name: str) -> None:
    """Level 1: nothing.  Level 2: ``stlb_hit``.  Behind it a walk reads one PTE, which is in the first walk cache while
    the lines of all PTEs fit there; then one load in 8 goes further.
    """
    geometry = find_preset(name).timed()
    latency = geometry.latency
    assert latency is not None
    first, second = arrays(geometry, READ)
    nearest, next_cache = latency.walk_caches[:2]
    assert Sweep(geometry, first.entries).round().cycles == 0
    assert Sweep(geometry, second.entries).round().cycles == second.entries * latency.stlb_hit
    fixed = latency.walk + latency.structure_hit
    lines = nearest.sets * nearest.ways
    shapes = (replace(array, sets=1, ways=1, replacement=Replacement.LRU) for array in geometry.arrays)
    small = replace(geometry, arrays=tuple(shapes))
    pages = 8 * (lines - 1)  # a line for a PDE
    found = Sweep(small, pages).round()
    tables = pages // 512
    assert (found.walks, geometry.structure(2).entries > tables) == (pages, True)
    assert found.cycles == pages * (fixed + nearest.cycles)
    pages = 8 * nearest.sets * (nearest.ways + 1)
    found = Sweep(small, pages).round()
    if geometry.structure(2).entries > pages // 512:
        each = fixed + (7 * nearest.cycles + next_cache.cycles) / 8
        assert found.cycles == pages * each


def test_skylake_as_it_was_measured() -> None:
    """RightMark Memory Analyzer 3.8 on a Core i7-6700K (news.mynavi.jp, 26 August 2015, Skylake part 2): fetches are
    flat up to 128 pages, then flat again up to 1000, where Haswell and Broadwell rise at 512."""
    geometry = load_preset("skylake")
    assert Sweep(geometry, 128).round(FETCH).first_level == 128
    found = Sweep(geometry, 1000).round(FETCH)
    assert (found.first_level, found.second_level, found.walks) == (0, 1000, 0)


def test_zen_2_as_it_was_described() -> None:
    """7-cpu.com, Zen 2: 64 first-level entries for instructions, of all page sizes."""
    geometry = load_preset("zen2")
    assert Sweep(geometry, 64).round(FETCH).first_level == 64
    assert Sweep(geometry, 65).round(FETCH).first_level == 0


#: Of pointer chases over pages, as published: up to how many pages a load is flat, and what it costs more behind them.
#: jia.je: "AMD Zen 5", 11 November 2024; "Intel Golden Cove", 10 January 2025; "Intel Gracemont", 12 January 2025;
#: "Intel Redwood Cove" (Granite Rapids), 23 April 2025.  chipsandcheese.com on Goldmont Plus: "Skylake's 9 cycles of L2
#: TLB latency, or AMD Zen 2's 7 cycles".
MEASURED_LOADS = {
    "zen5": (96, 7), "alder-lake-p:measured": (96, 7), "sapphire-rapids:measured": (96, 7), "granite-rapids": (96, 7),
    "alder-lake-e": (48, None), "skylake": (64, 9), "zen2": (64, 7),
}  # fmt: skip
#: The same of jumps, a page each, by jia.je: up to how many pages they are flat.
MEASURED_FETCHES = {
    "zen5": 64, "alder-lake-p:measured": 256, "sapphire-rapids:measured": 256, "granite-rapids": 256,
    "alder-lake-e": 64,
}  # fmt: skip


@pytest.mark.parametrize("name", MEASURED_LOADS)
def test_loads_rise_where_they_were_measured_to(name: str) -> None:
    pages, cycles = MEASURED_LOADS[name]
    geometry = find_preset(name).timed()
    assert Sweep(geometry, pages).round().cycles == 0
    behind = Sweep(geometry, 2 * pages).round()
    assert (behind.first_level, behind.walks) == (0, 0)
    if cycles is not None:
        assert behind.cycles == 2 * pages * cycles


@pytest.mark.parametrize("name", MEASURED_FETCHES)
def test_fetches_rise_where_they_were_measured_to(name: str) -> None:
    geometry, pages = load_preset(name), MEASURED_FETCHES[name]
    assert Sweep(geometry, pages).round(FETCH).first_level == pages
    assert Sweep(geometry, 2 * pages).round(FETCH).first_level == 0


def test_second_levels_rise_where_they_were_measured_to() -> None:
    """jia.je: Gracemont's loads at 2048 pages, Zen 5's fetches at 2048.  (Golden Cove's loads rose at 1600 pages of its
    2048; nobody knows why, and the model rises at 2048.)"""
    for name, access in (("alder-lake-e", READ), ("zen5", FETCH)):
        geometry = load_preset(name)
        assert Sweep(geometry, 2048).round(access).walks == 0
        assert Sweep(geometry, 4096).round(access).walks == 4096


@pytest.mark.parametrize(("stride", "pages"), [(8, 32), (16, 16), (32, 8), (64, 8), (128, 8)])
def test_golden_coves_fetches_with_strides(stride: int, pages: int) -> None:
    """jia.je, Golden Cove: jumps that are so many pages apart are flat up to so many of them: 32 sets of 8 ways."""
    geometry = load_preset("alder-lake-p")
    assert Sweep(geometry, pages, stride=stride).round(FETCH).first_level == pages
    assert Sweep(geometry, 2 * pages, stride=stride).round(FETCH).first_level == 0


@pytest.mark.parametrize("name", [name for name in NAMES if load_preset(name).coalesce > 1])
def test_coalesced_pages_reach_further(name: str) -> None:
    """With frames side by side each entry is several pages, at both levels; --tlb-set coalesce=1 does without."""
    geometry = load_preset(name)
    first, second = arrays(geometry, READ)
    assert first.coalesce == second.coalesce == geometry.coalesce
    pages = first.entries * first.coalesce
    assert Sweep(geometry, pages, contiguous=True).round().first_level == pages
    found = Sweep(geometry, 2 * pages, contiguous=True).round()
    assert found.walks == 0 and found.second_level == 2 * pages // first.coalesce
    assert found.first_level == 2 * pages - found.second_level, "the other pages of each entry hit"
    plain = replace(geometry, arrays=tuple(replace(array, coalesce=1) for array in geometry.arrays))
    assert Sweep(plain, 2 * first.entries, contiguous=True).round().first_level == 0


def test_haswells_step_in_cycles() -> None:
    """RightMark Memory Analyzer on Haswell (news.mynavi.jp, 21 June 2013, part 2, graph 105): a load costs 12 cycles
    behind 64 pages, 8 more than a first-level hit, and about 20 behind 1024 pages, in the second-level cache: 8 more.
    A model of these figures has the same two steps."""
    both, small = Kinds.DATA, PageSizes.K4
    haswell = Geometry(
        "haswell",
        (Array("L1D", 1, both, small, 16, 4), Array("STLB", 2, both, small, 128, 8)),
        structure_caches={4: 4, 3: 8, 2: 32},
        latency=replace(find_preset("skylake").timed().latency, stlb_hit=8, walk=4),  # type: ignore[type-var]
    )
    costs = {pages: Sweep(haswell, pages).round().cycles / pages for pages in (64, 128, 1024, 2048, 16384)}
    assert costs[64] == 0 and costs[128] == costs[1024] == 8
    assert costs[2048] == 4 + 4 and costs[2048] < costs[16384] < 20
