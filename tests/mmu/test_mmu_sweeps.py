"""Cyclic sweeps around the capacities of every preset: where a curve rises, and what an access costs on its steps.

The closed forms are those of cycles: n pages side by side are spread evenly over the sets, so that n entries hold them
all, and with LRU none of the next round once each set has one page more than ways.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

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


@pytest.mark.parametrize("access", [READ, FETCH])
@pytest.mark.parametrize("name", NAMES)
def test_each_step_is_higher_than_the_one_before(name: str, access: Access) -> None:
    """As on every processor: a walk begins when the second level was asked in vain, and reads memory then."""
    geometry = find_preset(name).timed()
    first, second = arrays(geometry, access)
    steps = (first.entries, second.entries, 2 * second.entries, 8 * second.entries)
    costs = [Sweep(geometry, pages).round(access).cycles / pages for pages in steps]
    assert costs[0] == 0 < costs[1] < costs[2] <= costs[3]


class Published(NamedTuple):
    """What somebody published of accesses that go round over so many pages of 4K, of a preset's processor."""

    preset: str
    access: Access
    #: Up to so many pages an access costs no more than over one.
    flat: int | None = None
    #: Behind these it costs so many cycles more, from the least to the most that was said.
    cycles: tuple[int, int] | None = None
    #: Up to so many pages there is no walk.
    held: int | None = None
    #: Over so many pages there are walks.
    walks: int | None = None


#: jia.je: "AMD Zen 5" (11 November 2024), "Intel Golden Cove" (10 January 2025), "Intel Gracemont" (12 January 2025),
#: "Intel Redwood Cove" (Granite Rapids, 23 April 2025).
#:
#: chipsandcheese.com, C. Lam and G. Cozma: "AMD's Zen 4, Part 2: Memory Subsystem and Conclusion" (8 November 2022;
#: 4K pages: 288K without a cost, 12M with 7 to 8 cycles; Zen 3 and Golden Cove walk at 12M); "Loongson's 3A5000"
#: (9 April 2023; Zen 1: 7 to 8); "Deep Diving Neoverse N1" (22 October 2021; Zen 2: 7); "Goldmont Plus" (Skylake: 9,
#: Zen 2: 7); "Lion Cove: Intel's P-Core Roars" (27 September 2024; Zen 5 and Redwood Cove: 7); "Meteor Lake's E-Cores"
#: (13 May 2024; Gracemont: 9); "Sapphire Rapids: Golden Cove Hits Servers" (12 March 2023; 7).
#:
#: news.mynavi.jp, RightMark Memory Analyzer: "RYZEN", part 26 (2 March 2017; a Ryzen 7 1800X fetches from 64 pages as
#: from 16, and slower from 128); "Skylake", part 2 (26 August 2015; a Core i7-6700K fetches flat up to 128 pages, and
#: flat again up to 1000, where Haswell and Broadwell rise at 512).  7-cpu.com, Zen 2: 64 entries for fetches.
#:
#: anandtech.com, I. Cutress, "The Ice Lake Benchmark Preview" (1 August 2019): a Core i7-1065G7 is slower in the second
#: half of the 512K of its second cache, which its first-level entries do not reach.  Ice Lake-SP has the same core.
PUBLISHED = (
    Published("zen1", READ, cycles=(7, 8)),
    Published("zen1", FETCH, flat=64),
    Published("zen2", READ, cycles=(7, 7)),
    Published("zen2", FETCH, flat=64),
    Published("zen3", READ, held=2048, walks=3072),
    Published("zen4", READ, flat=72, cycles=(7, 8), held=3072),
    Published("zen5", READ, flat=96, cycles=(7, 7)),
    Published("zen5", FETCH, flat=64, held=2048, walks=4096),
    Published("skylake", READ, cycles=(9, 9)),
    Published("skylake", FETCH, flat=128, held=1000),
    Published("ice-lake-sp", READ, flat=64),
    Published("alder-lake-p:measured", READ, flat=96, cycles=(7, 7), walks=3072),
    Published("alder-lake-p:measured", FETCH, flat=256),
    Published("sapphire-rapids:measured", READ, flat=96, cycles=(7, 7), walks=3072),
    Published("sapphire-rapids:measured", FETCH, flat=256),
    Published("granite-rapids", READ, flat=96, cycles=(7, 7)),
    Published("granite-rapids", FETCH, flat=256),
    Published("alder-lake-e", READ, flat=48, cycles=(9, 9), held=2048, walks=4096),
    Published("alder-lake-e", FETCH, flat=64),
)


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda one: f"{one.preset}-{one.access.name.lower()}")
def test_the_curve_is_as_it_was_published(published: Published) -> None:
    """(Golden Cove's loads rose at 1600 pages of the 2048 of its second level; nobody knows why, and the model rises at
    2048.)"""
    geometry, access = find_preset(published.preset).timed(), published.access
    first, second = arrays(geometry, access)
    if published.flat is not None:
        found = Sweep(geometry, published.flat).round(access)
        assert (found.first_level, found.cycles) == (published.flat, 0)
        assert Sweep(geometry, 2 * published.flat).round(access).first_level == 0
    if published.cycles is not None:
        for pages in (2 * first.entries, published.held or second.entries):
            found = Sweep(geometry, pages).round(access)
            assert (found.first_level, found.walks) == (0, 0)
            assert published.cycles[0] <= found.cycles / pages <= published.cycles[1]
    if published.held is not None:
        assert Sweep(geometry, published.held).round(access).walks == 0
    if published.walks is not None:
        assert Sweep(geometry, published.walks).round(access).walks == published.walks


def test_skylake_sp_is_as_the_client_with_its_core() -> None:
    """No curve of it was found.  (jia.je has none, Chips and Cheese and news.mynavi.jp have clients', AnandTech has
    caches only; VUSec's tlbdr has sets, ways and hashes.)"""
    client, server = find_preset("skylake").timed(), find_preset("skylake-sp").timed()
    for access, pages in [(READ, 64), (READ, 128), (READ, 1536), (FETCH, 128), (FETCH, 1000)]:
        assert Sweep(client, pages).round(access) == Sweep(server, pages).round(access)


def test_the_manual_has_what_was_published_of_every_processor() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "mmu.md").read_text(encoding="utf-8")
    table = manual.partition("| preset | published | by |")[2].partition("\n\n")[0]
    rows = [re.findall(r"`([\w-]+)`", line.split("|")[1]) for line in table.splitlines()[2:]]
    assert sorted(name for row in rows for name in row) == sorted({name.partition(":")[0] for name in NAMES})


def test_zen_3_over_pages_of_2m() -> None:
    """chipsandcheese.com, "Deep Diving Zen 3 V-Cache" (G. Cozma, 21 January 2022): with pages of 2M translations cost
    nothing up to 128M, 64 of them."""
    geometry = find_preset("zen3").timed()
    assert Sweep(geometry, 64, large=True).round().cycles == 0
    found = Sweep(geometry, 128, large=True).round()
    assert (found.first_level, found.second_level) == (0, 128)


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
        latency=replace(find_preset("skylake").timed().latency, stlb_hit=8, walk=8 + 4),  # type: ignore[type-var]
    )
    costs = {pages: Sweep(haswell, pages).round().cycles / pages for pages in (64, 128, 1024, 2048, 16384)}
    assert costs[64] == 0 and costs[128] == costs[1024] == 8
    assert costs[2048] == 16 < costs[16384] < 24
