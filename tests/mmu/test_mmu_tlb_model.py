"""The TLB model: equal to the slow one lookup by lookup, and correct where a formula gives the result."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmu import CR4, Access
from mmu.geometry import (
    Array,
    BadGeometry,
    Geometry,
    IndexHash,
    Kinds,
    PageSizes,
    Replacement,
    StructureShape,
    check_geometry,
)
from mmu.nested import Nested
from mmu.presets import all_presets, load_preset
from tests.exhaustive import by_default
from tests.mmu.tables import Tables
from tests.mmu.tlb_pair import GIB, MIB2, Pair, Trace

ROOT = Path(__file__).resolve().parents[2]
READ, WRITE, FETCH = Access.READ, Access.WRITE, Access.FETCH
PAGE = 4096


def array(sets: int = 1, ways: int = 4, name: str = "L1D", level: int = 1, **more: object) -> Array:
    return replace(Array(name, level, Kinds.DATA, PageSizes.ALL, sets, ways), **more)  # type: ignore[arg-type]


def geometry(
    *arrays: Array,
    structures: dict[int, int | StructureShape] | None = None,
    inclusive: bool = False,
    smash_1g: bool = False,
) -> Geometry:
    return Geometry("test", arrays, structures or {}, inclusive=inclusive, smash_1g=smash_1g)


# ---- against the slow model


def of_each_shape() -> list[str]:
    """Every preset but those that have all arrays of another one, and its structure caches for walks of four levels."""
    shapes: dict[object, str] = {}
    for name, preset in all_presets().items():
        shape = preset.geometry
        structures = tuple(shape.structure(level) for level in (4, 3, 2))
        shapes.setdefault((shape.arrays, structures, shape.inclusive, shape.smash_1g), name)
    return list(shapes.values())


@pytest.mark.parametrize("pages", [24, 200])
@pytest.mark.parametrize("preset", of_each_shape())
def test_every_preset_is_as_the_slow_model_says(preset: str, pages: int) -> None:
    trace = Trace(Pair(load_preset(preset), seed=pages), pages, pages=pages)
    for _ in range(by_default(2, 8)):
        trace.run(250)


#: The policies that a skewed array can have.
OF_SKEWED = [policy for policy in Replacement if policy not in (Replacement.TREE_PLRU, Replacement.BIT_PLRU)]
#: Way counts that a policy can have, small enough for sets to fill.
WAYS = {policy: (1, 2, 4) if policy == Replacement.TREE_PLRU else (1, 3, 4) for policy in Replacement}


def small(policy: Replacement, hashing: IndexHash, inclusive: bool, smash: bool, seed: int) -> Geometry:
    """Two levels, of few entries, split in one of several ways."""
    rng = random.Random(seed)

    def shape(name: str, level: int, kinds: Kinds, sizes: PageSizes) -> Array:
        return Array(name, level, kinds, sizes, rng.choice((1, 2, 4, 8)), rng.choice(WAYS[policy]), policy, hashing)

    k4, m2, g1 = PageSizes.K4, PageSizes.M2, PageSizes.G1
    level_1 = rng.choice((
        [(Kinds.FETCH, PageSizes.ALL), (Kinds.DATA, PageSizes.ALL)],
        [(Kinds.FETCH, k4), (Kinds.FETCH, m2), (Kinds.DATA, k4), (Kinds.DATA, m2), (Kinds.DATA, g1)],
        [(Kinds.FETCH, k4 | m2), (Kinds.LOAD, PageSizes.ALL), (Kinds.STORE, PageSizes.ALL)],
        [(Kinds.ALL, k4 | m2)],
    ))  # fmt: skip
    level_2 = rng.choice((
        [(Kinds.ALL, k4 | m2), (Kinds.ALL, k4 | g1)],
        [(Kinds.ALL, PageSizes.ALL)],
        [(Kinds.DATA, k4 | m2), (Kinds.FETCH, k4 | m2)],
        [],
    ))  # fmt: skip
    arrays = [shape(f"L1-{n}", 1, *what) for n, what in enumerate(level_1)]
    arrays += [shape(f"L2-{n}", 2, *what) for n, what in enumerate(level_2)]
    in_sets = Replacement.LRU if policy in (Replacement.TREE_PLRU, Replacement.BIT_PLRU) else policy
    structures = {
        level: rng.choice((0, 1, 2, 4, StructureShape(rng.choice((1, 2, 4)), rng.choice((1, 2, 3)), in_sets)))
        for level in (2, 3, 4, 5)
    }
    return Geometry("small", tuple(arrays), structures, inclusive=inclusive, smash_1g=smash)


@pytest.mark.parametrize("smash", [False, True])
@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("hashing", IndexHash)
@pytest.mark.parametrize("policy", Replacement)
def test_every_policy_is_as_the_slow_model_says(
    policy: Replacement, hashing: IndexHash, inclusive: bool, smash: bool
) -> None:
    if hashing == IndexHash.SKEWED and policy not in OF_SKEWED:
        with pytest.raises(BadGeometry, match="a skewed array has no sets for PLRU"):
            check_geometry(small(policy, hashing, inclusive, smash, 0))
        return
    first = 2 * (2 * inclusive + smash)  # each policy has all eight
    for seed in by_default(range(first, first + 2), range(8)):
        pair = Pair(small(policy, hashing, inclusive, smash, seed), seed=seed, levels=4 + seed % 2)
        Trace(pair, seed).run(by_default(300, 600))


def coalescing(shape: Geometry, seed: int) -> Geometry:
    """The geometry, of which some arrays coalesce pages of 4K."""
    rng = random.Random(seed)
    number = rng.choice((2, 4, 4, 8))
    arrays = [replace(one, coalesce=number if one.page_sizes & PageSizes.K4 and rng.random() < 0.7 else 1)
              for one in shape.arrays]  # fmt: skip
    return replace(shape, arrays=tuple(arrays))


@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("hashing", IndexHash)
@pytest.mark.parametrize("policy", Replacement)
def test_coalesced_pages_are_as_the_slow_model_says(policy: Replacement, hashing: IndexHash, inclusive: bool) -> None:
    if hashing == IndexHash.SKEWED and policy not in OF_SKEWED:
        return
    coalesced = 0
    for seed in by_default(range(2 * inclusive, 2 * inclusive + 2), range(4)):
        shape = coalescing(small(policy, hashing, inclusive, False, seed), seed)
        pair = Pair(shape, seed=seed, levels=4 + seed % 2)
        trace = Trace(pair, seed, groups=True)
        for _ in range(3):
            trace.run(by_default(60, 150))
            held = [entry for entries in pair.model.contents().values() for entry in entries]
            coalesced += sum(entry.coalesced for entry in held)
    assert coalesced > 5


@settings(max_examples=by_default(20, 60), deadline=None)
@given(
    st.sampled_from(Replacement), st.sampled_from(IndexHash), st.booleans(), st.booleans(), st.integers(0, 1 << 32),
    st.sampled_from((4, 5)), st.booleans(), st.booleans(),
)  # fmt: skip
def test_any_geometry_and_trace(
    policy: Replacement,
    hashing: IndexHash,
    inclusive: bool,
    smash: bool,
    seed: int,
    levels: int,
    pcide: bool,
    pge: bool,
) -> None:
    if hashing == IndexHash.SKEWED and policy not in OF_SKEWED:
        policy = Replacement.LRU
    shape = small(policy, hashing, inclusive, smash, seed)
    if seed % 2:
        shape = coalescing(shape, seed)
    pair = Pair(shape, seed=seed, levels=levels, pcide=pcide, pge=pge)
    Trace(pair, seed, pages=12, groups=bool(seed % 2)).run(150)


def test_the_random_traces_do_everything() -> None:
    """A comparison of models in which nothing happens would succeed too."""
    shape = small(Replacement.LRU, IndexHash.XOR, True, True, 1)
    trace = Trace(Pair(replace(shape, structure_caches={2: 2, 3: 2, 4: 1, 5: 1}), levels=5), 3)
    trace.run(3000)
    outcomes = trace.pair.outcomes
    assert {outcome.start for outcome in outcomes} >= {0, 2, 3, 4}
    assert {outcome.level for outcome in outcomes} == {0, 1, 2}
    assert sum(outcome.walked and outcome.level > 0 for outcome in outcomes) > 100
    assert sum(outcome.paddr is None for outcome in outcomes) > 100
    counters = trace.pair.model.array_counters().values()
    for what in ("hits", "misses", "evictions", "invalidations", "installs", "drops"):
        assert sum(getattr(one, what) for one in counters) > 10, what
    held = [entry for entries in trace.pair.model.contents().values() for entry in entries]
    assert {entry.page_size for entry in held} >= {PAGE, MIB2}
    assert len({entry.pcid for entry in held}) > 1


def test_a_page_held_as_global_and_as_not_is_found_in_the_order_of_ways() -> None:
    pair = Pair(geometry(array(ways=4)))
    vaddr = 0x40_0000
    for ram in pair.rams:
        for cr3, is_global in ((0x1000, 0), (0x20_0000, 1)):
            Tables(ram, cr3).map_page(vaddr, 0x5000 + 0x1000 * is_global, G=is_global)
    assert pair.access(vaddr).paddr == 0x5000
    pair.mov_cr3(0x20_0001, keep=True)
    assert pair.access(vaddr).paddr == 0x6000
    for cr3 in (0x1000, 0x20_0001, 0x1000):
        pair.mov_cr3(cr3, keep=True)
        assert pair.access(vaddr).level == 1
    pair.check()


def test_pml5e_caches_are_for_five_levels_only() -> None:
    for levels, lookups in ((4, 0), (5, 1)):
        pair = Pair(geometry(structures={5: 2}), levels=levels)
        for ram in pair.rams:
            Tables(ram, levels=levels).map_page(0x40_0000, 0x5000)
        pair.access(0x40_0000)
        assert pair.model.structure_counters() == {5: (lookups, 0)}
        pair.check()


# ---- closed forms


def mapped(shape: Geometry, number: int, level: int = 1, first: int = 0x4000_0000) -> Pair:
    """``number`` pages of one size, side by side."""
    pair = Pair(shape)
    step = 1 << 12 + 9 * (level - 1)
    for ram in pair.rams:
        tables = Tables(ram)
        for n in range(number):
            tables.map_page(first + n * step, (n + 1) * step, level)
    return pair


def cycle(pair: Pair, number: int, rounds: int, step: int = PAGE, first: int = 0x4000_0000) -> list[int]:
    """The level that each access of the last round hit."""
    for _ in range(rounds):
        levels = [pair.access(first + n * step).level for n in range(number)]
    pair.check()
    return levels


@pytest.mark.parametrize("sets", [1, 4, 16])
@pytest.mark.parametrize("ways", [1, 2, 4, 8])
def test_a_cycle_that_fits_always_hits_and_one_page_more_a_set_never(sets: int, ways: int) -> None:
    shape = geometry(array(sets, ways))
    fits, spills = sets * ways, sets * (ways + 1)
    assert set(cycle(mapped(shape, fits), fits, 3)) == {1}
    pair = mapped(shape, spills)
    assert set(cycle(pair, spills, 3)) == {0}
    counters = pair.model.array_counters()["L1D"]
    assert (counters.hits, counters.misses, counters.evictions) == (0, 3 * spills, 3 * spills - fits)


@pytest.mark.parametrize("stride", [1, 2, 4, 8, 16, 32])
def test_a_stride_has_the_capacity_of_the_sets_it_hits(stride: int) -> None:
    sets, ways = 16, 4
    reached = max(1, sets // stride)
    number = reached * ways
    pair = mapped(geometry(array(sets, ways)), stride * (number + reached))
    assert set(cycle(pair, number, 2, stride * PAGE)) == {1}
    pair.invpcid(2)
    assert set(cycle(pair, number + reached, 2, stride * PAGE)) == {0}


def test_two_levels_have_the_capacity_of_the_second() -> None:
    shape = geometry(array(1, 4), array(4, 4, name="L2", level=2))
    assert set(cycle(mapped(shape, 4), 4, 2)) == {1}
    assert set(cycle(mapped(shape, 16), 16, 2)) == {2}
    assert set(cycle(mapped(shape, 20), 20, 2)) == {0}


@pytest.mark.parametrize("preset", ["skylake-sp:cpuid", "zen3", "ice-lake-sp:cpuid"])
def test_a_chase_over_2m_pages_finds_the_2m_capacity(preset: str) -> None:
    shape = load_preset(preset)
    plain = tuple(replace(array, index_hash=IndexHash.LINEAR) for array in shape.arrays)  # skewed has no such form
    shape = replace(shape, arrays=plain)
    arrays = [one for one in shape.arrays if one.kinds & Kinds.LOAD and one.page_sizes & PageSizes.M2]
    level_1 = next(one.entries for one in arrays if one.level == 1)
    level_2 = next(one.entries for one in arrays if one.level == 2)
    rng = random.Random(1)
    for number, level in ((level_1, 1), (level_1 + 32, 2), (level_2, 2)):
        pair = mapped(shape, number, level=2)
        order = list(range(number))
        rng.shuffle(order)
        offsets = [n * MIB2 + rng.randrange(MIB2) for n in order]
        for _ in range(2):
            levels = {pair.access(0x4000_0000 + offset).level for offset in offsets}
        if number == level_1:
            assert levels == {1}
        else:
            assert levels <= {1, 2}
        assert pair.model.access_counters()[READ]["walk_completed_2m"] == number, level


def test_sequential_4k_walks_read_one_entry_each() -> None:
    """With a PDE cache, a walk in the same 2M reads the PTE only: 4 loads, then 1 each, 2 where a 2M begins."""
    pair = mapped(geometry(structures={2: 4, 3: 4, 4: 2}), 1024)
    cycle(pair, 1024, 1)
    assert pair.state.walk_loads == 4 + 511 + 2 + 511
    assert pair.model.structure_counters() == {2: (1024, 1022), 3: (2, 1), 4: (1, 0)}
    without = mapped(geometry(), 1024)
    cycle(without, 1024, 1)
    assert without.state.walk_loads == 4 * 1024


def test_capacity_of_the_pde_cache() -> None:
    for number, hits in ((4, 4), (5, 0)):
        pair = Pair(geometry(structures={2: 4}))
        for ram in pair.rams:
            tables = Tables(ram)
            for n in range(5):
                tables.map_page(n * MIB2, 0x5000)
        for _ in range(2):
            before = pair.model.structure_counters()[2][1]
            for n in range(number):
                pair.access(n * MIB2)
        assert pair.model.structure_counters()[2][1] - before == hits
        pair.check()


# ---- the rules, by hand


def test_the_first_store_to_a_clean_page_walks_again_and_counts_a_drop() -> None:
    pair = mapped(geometry(array(), array(name="L2", level=2)), 1)
    pair.access(0x4000_0000)
    first = pair.access(0x4000_0000, WRITE)
    assert (first.level, first.array, first.walked) == (1, "L1D", True)
    assert not pair.access(0x4000_0000, WRITE).walked
    assert [counters.drops for counters in pair.model.array_counters().values()] == [1, 1]


def test_a_stale_entry_serves_until_it_is_invalidated() -> None:
    pair = mapped(geometry(array()), 2)
    vaddr = 0x4000_0000
    old = pair.access(vaddr).paddr
    slots = [Tables(ram).slot(vaddr) for ram in pair.rams]
    for ram, slot in zip(pair.rams, slots, strict=True):
        ram.write_u64(slot, ram.read_u64(slot) + 0x7000)
    assert pair.access(vaddr).paddr == old
    pair.invlpg(vaddr + 5)
    assert pair.access(vaddr).paddr == old + 0x7000  # type: ignore[operator]


def test_a_smashed_page_goes_as_one() -> None:
    level_2 = array(16, 4, name="L2", level=2, page_sizes=PageSizes.K4 | PageSizes.M2)
    invalidations: tuple[Callable[[Pair], None], ...] = (
        lambda pair: pair.invlpg(GIB + 100 * MIB2),
        lambda pair: pair.page_fault(GIB + 100 * MIB2),
        lambda pair: pair.invpcid(0, 0, GIB + 100 * MIB2),
    )
    for invalidate in invalidations:
        pair = Pair(geometry(level_2, smash_1g=True))
        for ram in pair.rams:
            tables = Tables(ram)
            tables.map_page(GIB, GIB, level=3)
            tables.map_page(3 * GIB + MIB2, MIB2, level=2)
        for vaddr in (GIB, GIB + 7 * MIB2 + 3, 3 * GIB + MIB2):
            assert pair.access(vaddr).paddr == (vaddr if vaddr < 2 * GIB else MIB2)
        assert [entry.smashed for entry in pair.model.contents()["L2"]].count(True) == 2
        invalidate(pair)
        assert [entry.vaddr for entry in pair.model.contents()["L2"]] == [3 * GIB + MIB2]
        pair.check()


def test_a_bit_of_cr4_flushes_as_the_manual_says() -> None:
    for bit, gone in ((CR4.PGE, True), (CR4.SMEP, True), (CR4.SMAP, False), (CR4.PKE, False), (CR4.LA57, True)):
        pair = mapped(geometry(array()), 1)
        pair.access(0x4000_0000)
        old = pair.registers.cr4
        pair.model.mov_cr4(old, old ^ bit)
        assert (not pair.model.contents()["L1D"]) is gone, bit


def test_lookup_of_an_address_that_is_not_canonical() -> None:
    pair = mapped(geometry(array()), 1)
    assert pair.model.lookup(1 << 60, READ) is None
    assert pair.model.array_counters()["L1D"].lookups == 0


def test_a_batch_is_its_accesses_one_by_one() -> None:
    one, many = (mapped(load_preset("textbook"), 64) for _ in range(2))
    rng = random.Random(5)
    trace = [(0x4000_0000 + rng.randrange(64 * PAGE), rng.choice(list(Access))) for _ in range(3000)]
    for vaddr, access in trace:
        one.access(vaddr, access)
    many.model.accesses(*(np.array(column, dtype=np.uint64) for column in zip(*trace, strict=True)))
    assert one.model.array_counters() == many.model.array_counters()
    assert one.model.access_counters() == many.model.access_counters()
    assert one.model.places() == many.model.places()
    with pytest.raises(ValueError, match="uint64"):
        many.model.accesses(np.zeros(1, dtype=np.uint64), np.zeros(2, dtype=np.uint64))


def test_counters_by_access_add_up() -> None:
    trace = Trace(Pair(load_preset("textbook")), 9)
    trace.run(2000)
    for access, counted in trace.pair.model.access_counters().items():
        walks = sum(counted[f"walk_completed_{size}"] for size in ("4k", "2m", "1g"))
        assert counted["accesses"] == counted["l1_hits"] + counted["stlb_hits"] + walks + counted["walk_faults"] > 100
        assert walks and counted["l1_hits"] and counted["stlb_hits"], access


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (geometry(array(sets=3)), "power of two"),
        (geometry(array(ways=0)), "0 ways"),
        (geometry(array(level=3)), "levels 1 and 2"),
        (geometry(array(ways=12, replacement=Replacement.TREE_PLRU)), "tree-PLRU"),
        (geometry(array(ways=65, replacement=Replacement.BIT_PLRU)), "bit-PLRU"),
        (geometry(structures={1: 4}), "structure cache of level 1"),
        (geometry(*itertools.repeat(array(), 17)), "at most 16"),
    ],
)
def test_what_cannot_be_modelled_is_refused(wrong: Geometry, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Pair(wrong)


# ---- the reference mode


def reference_traces() -> list[object]:
    """Run short traces, compared with the slow model as they run; returns the results."""
    told: list[object] = []
    for seed, preset in enumerate(("textbook", "skylake-sp:measured", "zen2")):
        pair = Pair(load_preset(preset), seed=seed)
        Trace(pair, seed).run(150)
        told.append([repr(outcome) for outcome in pair.outcomes])
    for seed, policy in enumerate(Replacement):
        pair = Pair(small(policy, IndexHash.XOR, True, True, seed), seed=seed)
        Trace(pair, seed, pages=12).run(100)
        told.append([repr(outcome) for outcome in pair.outcomes])
    return told


def test_the_reference_mode_is_the_slow_model_too() -> None:
    code = (
        "import json; from mmu.model import exact_library; from tests.mmu.test_mmu_tlb_model import reference_traces;"
        "print(json.dumps([exact_library().mode, reference_traces()]))"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True)
    mode, told = json.loads(done.stdout)
    assert mode == "reference"
    assert told == reference_traces()


# ---- PCIDs that an array can tell apart


@pytest.mark.parametrize("policy", [Replacement.LRU, Replacement.TREE_PLRU])
@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("pcids", [0, 1, 2, 3])
def test_a_limit_on_pcids_is_as_the_slow_model_says(policy: Replacement, inclusive: bool, pcids: int) -> None:
    shape = small(policy, IndexHash.LINEAR, inclusive, False, pcids)
    shape = replace(shape, arrays=tuple(replace(one, pcids=(pcids + n) % 4) for n, one in enumerate(shape.arrays)))
    trace = Trace(Pair(shape, seed=pcids), pcids)
    for _ in range(3):
        trace.run(by_default(150, 400))
    assert any(counters.evictions for counters in trace.pair.model.array_counters().values())


@pytest.mark.parametrize("limit", [1, 2, 4])
def test_so_many_pcids_find_what_they_had(limit: int) -> None:
    """A cycle over as many PCIDs as an array can tell apart always hits; of one more, none does."""
    for number, level in ((limit, 1), (limit + 1, 0)):
        pair = mapped(geometry(array(ways=16, pcids=limit)), 1)
        for _ in range(3):
            for pcid in range(number):
                pair.mov_cr3(0x1000 | pcid, keep=True)
                last = pair.access(0x4000_0000)
        assert last.level == level
        pair.check()


def test_an_array_that_tells_none_apart_forgets_at_each_switch_but_what_is_global() -> None:
    pair = mapped(geometry(array(ways=16, pcids=0)), 1)
    for ram in pair.rams:
        Tables(ram, 0x20_0000).map_page(0x5000_0000, 0x5000, G=1)
    pair.access(0x4000_0000)
    assert pair.access(0x4000_0000).level == 1
    pair.mov_cr3(0x1000, keep=True)
    assert pair.access(0x4000_0000).level == 1, "the PCID is the same"
    pair.mov_cr3(0x20_0001, keep=True)
    assert not pair.model.contents()["L1D"]
    pair.access(0x5000_0000)
    pair.mov_cr3(0x1000, keep=True)
    assert [entry.pcid for entry in pair.model.contents()["L1D"]] == [None]
    pair.check()


@pytest.mark.parametrize("limit", [-1, 65])
def test_a_limit_on_pcids_that_is_not_modelled_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match=f"a limit of {limit} PCIDs; from 0 to 64 are modelled"):
        Pair(geometry(array(pcids=limit)))


# ---- prefetch of the next page


@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_prefetch_of_the_next_page_is_as_the_slow_model_says(seed: int, inclusive: bool) -> None:
    shape = replace(small(Replacement.LRU, IndexHash.XOR, inclusive, False, seed), prefetch_next=True)
    trace = Trace(Pair(shape, seed=seed, levels=4 + seed % 2), seed, pages=48)
    for _ in range(2):
        trace.run(by_default(150, 400))


def test_a_sweep_walks_once_a_line_where_the_next_page_is_prefetched() -> None:
    """The PTEs were used before: of the 8 in a line, each second one is there when it is asked for."""
    level_2 = array(1, 64, name="L2", level=2)
    pair = mapped(replace(geometry(array(1, 4), level_2), prefetch_next=True), 32)
    cycle(pair, 32, 1)
    assert pair.state.walks == 32, "A was not set"
    pair.invpcid(2)
    levels = cycle(pair, 32, 1)
    assert levels == [0, 2] * 16
    assert cycle(pair, 32, 1) == [2] * 32
    pair.invpcid(2)
    for n in range(32):
        pair.access(0x4000_0000 + n * PAGE, FETCH)
    assert pair.state.walks == 32 + 16 + 32, "fetches prefetch nothing"


def test_prefetch_does_not_go_with_a_second_dimension() -> None:
    with pytest.raises(ValueError, match="the next page is not prefetched over a second dimension"):
        Pair(replace(geometry(array()), prefetch_next=True, nested=Nested(1)))
