"""The slow TLB model itself, where the answer is known from a formula, a textbook example or by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from mmu.geometry import Array, Geometry, IndexHash, Kinds, PageSizes, Replacement
from mmu.registers import CR4
from tests.mmu.slow_tlb import SlowCounters, SlowTlb, Table, Walk, shift_of

LOAD, STORE, FETCH = Kinds.LOAD, Kinds.STORE, Kinds.FETCH
PAGE, MIB2, GIB = 1 << 12, 1 << 21, 1 << 30


class Tables:
    """A walk callback: every page is mapped to its own address with one size, unless ``pages`` says otherwise."""

    def __init__(self, size: int = 1, levels: int = 4, **facts: object) -> None:
        self.result = replace(Walk(size, 0), **facts)  # type: ignore[arg-type]
        self.levels = levels
        self.faults: set[int] = set()
        self.loads = 0

    def __call__(self, vaddr: int, kind: Kinds, start: Table | None) -> Walk | None:
        first = self.levels if start is None else start.level - 1
        size = self.result.size
        self.loads += first - size + 1
        if vaddr >> 12 in self.faults:
            return None
        tables = tuple(Table(level, level << 40) for level in range(first, size, -1))
        frame = vaddr >> shift_of(size) << shift_of(size)
        return replace(self.result, frame=frame, tables=tables, dirty=self.result.dirty or kind == STORE)


def array(sets: int = 1, ways: int = 4, name: str = "L1D", level: int = 1, **more: object) -> Array:
    """A data array for all page sizes."""
    shape = Array(name, level, Kinds.DATA, PageSizes.ALL, sets, ways)
    return replace(shape, **more)  # type: ignore[arg-type]


def model(
    *arrays: Array,
    structures: dict[int, int] | None = None,
    seed: int = 1,
    inclusive: bool = False,
    smash_1g: bool = False,
) -> SlowTlb:
    return SlowTlb(Geometry("test", arrays, structures or {}, inclusive=inclusive, smash_1g=smash_1g), seed)


def load_pages(tlb: SlowTlb, pages: Iterable[int], walk: Tables | None = None, kind: Kinds = LOAD) -> list[bool]:
    """Touch pages of the walk's size in PCID 0; which of the accesses were hits of level 1."""
    walk = walk or Tables()
    step = 1 << shift_of(walk.result.size)
    outcomes = []
    for page in pages:
        outcome = tlb.access(kind, page * step + 5, 0, walk)
        assert outcome.paddr == page * step + 5
        outcomes.append(outcome.level == 1)
    return outcomes


def held(tlb: SlowTlb, name: str = "L1D") -> list[int]:
    """The page numbers in the first set of an array, by way; -1 where a way is free."""
    return [-1 if entry is None else entry.number for entry in tlb.contents()[name][0]]


# ---- closed forms


@pytest.mark.parametrize("policy", [Replacement.LRU, Replacement.FIFO])
@pytest.mark.parametrize("ways", [1, 2, 3, 4, 8, 12])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_cycle_over_one_page_more_than_ways_never_hits(policy: Replacement, ways: int, size: int) -> None:
    tlb = model(array(ways=ways, replacement=policy))
    rounds = 5
    assert not any(load_pages(tlb, [*range(ways + 1)] * rounds, Tables(size)))
    counters = tlb.counters()["L1D"]
    accesses = rounds * (ways + 1)
    assert (counters.lookups, counters.hits, counters.misses) == (accesses, 0, accesses)
    assert counters.evictions == accesses - ways


@pytest.mark.parametrize("policy", Replacement)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_cycle_over_as_many_pages_as_ways_always_hits_from_the_second_round_on(
    policy: Replacement, size: int
) -> None:
    tlb = model(array(ways=8, replacement=policy))
    assert not any(load_pages(tlb, range(8), Tables(size)))
    assert all(load_pages(tlb, [*range(8)] * 3, Tables(size)))
    assert tlb.counters()["L1D"].evictions == 0


@pytest.mark.parametrize("stride", [1, 2, 4, 8, 16, 32])
def test_a_stride_uses_only_the_sets_that_it_reaches(stride: int) -> None:
    sets, ways = 16, 4
    reachable = max(1, sets // stride) * ways
    fits, spills = model(array(sets, ways)), model(array(sets, ways))
    assert load_pages(fits, [n * stride for n in range(reachable)] * 2) == [False] * reachable + [True] * reachable
    more = [n * stride for n in range(reachable + max(1, sets // stride))]  # one more for each of these sets
    assert not any(load_pages(spills, more * 3))


def test_the_xor_hash_spreads_a_stride_that_the_linear_index_cannot() -> None:
    linear = model(array(16, 1))
    hashed = model(array(16, 1, index_hash=IndexHash.XOR))
    pages = [n * 16 for n in range(16)] * 2
    assert not any(load_pages(linear, pages))
    assert load_pages(hashed, pages) == [False] * 16 + [True] * 16
    # and a stride of sets + 1 is what it cannot: n * 17 has equal low and next bits, so all XOR to 0
    assert not any(load_pages(model(array(16, 1, index_hash=IndexHash.XOR)), [n * 17 for n in range(16)] * 2))


def test_a_large_page_takes_one_entry_and_a_chase_over_large_pages_counts_them() -> None:
    tlb = model(array(ways=4))
    walk = Tables(size=2)
    for offset in range(0, MIB2, 64 * PAGE):
        tlb.access(LOAD, 3 * MIB2 + offset, 0, walk)
    assert tlb.counters()["L1D"] == SlowCounters(lookups=8, hits=7, misses=1, installs=1)
    assert held(tlb) == [3, -1, -1, -1]
    giant = model(array(ways=4))
    for offset in range(0, GIB, 64 * MIB2):
        outcome = giant.access(LOAD, 3 * GIB + offset, 0, Tables(size=3))
        assert outcome.paddr == 3 * GIB + offset
    assert giant.counters()["L1D"].hits == 7


# ---- replacement


def test_fifo_has_beladys_anomaly_and_lru_has_not() -> None:
    belady = [1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5]

    def misses(policy: Replacement, ways: int) -> int:
        return load_pages(model(array(ways=ways, replacement=policy)), belady).count(False)

    assert (misses(Replacement.FIFO, 3), misses(Replacement.FIFO, 4)) == (9, 10)
    assert (misses(Replacement.LRU, 3), misses(Replacement.LRU, 4)) == (10, 8)


def test_tree_plru_by_hand() -> None:
    """Bits as (root, left, right); 0 points left."""
    tlb = model(array(ways=4, replacement=Replacement.TREE_PLRU))
    tree = tlb.arrays[0].sets[0].tree
    expected = [
        (0, (1, 1, 0)),
        (1, (1, 0, 0)),
        (2, (0, 0, 1)),
        (3, (0, 0, 0)),
        (0, (1, 1, 0)),  # a hit in way 0: the victim is now way 2
    ]
    for page, bits in expected:
        load_pages(tlb, [page])
        assert tuple(tree[1:]) == bits
    load_pages(tlb, [4])
    assert held(tlb) == [0, 1, 4, 3]
    assert tuple(tree[1:]) == (0, 1, 1)
    load_pages(tlb, [5])  # left half, whose bit points right: page 1, though page 3 is used less recently
    assert held(tlb) == [0, 5, 4, 3]
    assert tuple(tree[1:]) == (1, 0, 1)
    load_pages(tlb, [6])
    assert held(tlb) == [0, 5, 4, 6]


def test_bit_plru_by_hand() -> None:
    tlb = model(array(ways=4, replacement=Replacement.BIT_PLRU))
    here = tlb.arrays[0].sets[0]
    for page, used in [(0, [1, 0, 0, 0]), (1, [1, 1, 0, 0]), (2, [1, 1, 1, 0]), (3, [0, 0, 0, 1]), (0, [1, 0, 0, 1])]:
        load_pages(tlb, [page])
        assert here.used == used
    load_pages(tlb, [4, 5])
    assert held(tlb) == [0, 4, 5, 3]
    assert here.used == [0, 0, 1, 0]
    load_pages(tlb, [6])
    assert held(tlb) == [6, 4, 5, 3]


def test_one_way_has_one_victim_under_every_policy() -> None:
    for policy in Replacement:
        assert not any(load_pages(model(array(ways=1, replacement=policy)), [0, 1] * 4))


def test_random_follows_xorshift64_star_from_the_seed() -> None:
    x, victims = 12345, []
    for _ in range(6):
        x ^= x >> 12
        x = (x ^ (x << 25)) % 2**64
        x ^= x >> 27
        victims.append((x * 2685821657736338717 % 2**64 >> 32) % 3)
    tlb = model(array(ways=3, replacement=Replacement.RANDOM), seed=12345)
    load_pages(tlb, range(3))
    expected = [0, 1, 2]
    for page, way in enumerate(victims, 3):
        load_pages(tlb, [page])
        expected[way] = page
        assert held(tlb) == expected
    assert model(array(), seed=0).random == 1


def test_a_tree_needs_a_power_of_two_of_ways_and_sets_always() -> None:
    with pytest.raises(ValueError, match="power of two of ways, not 12"):
        model(array(ways=12, replacement=Replacement.TREE_PLRU))
    with pytest.raises(ValueError, match="3 sets"):
        model(array(sets=3))


def test_free_ways_are_taken_lowest_first_and_an_invalidation_leaves_the_replacement_state() -> None:
    tlb = model(array(ways=4, replacement=Replacement.TREE_PLRU))
    load_pages(tlb, range(4))
    before = list(tlb.arrays[0].sets[0].tree)
    tlb.invlpg(2 * PAGE, 0)
    tlb.invlpg(1 * PAGE, 0)
    assert tlb.arrays[0].sets[0].tree == before
    load_pages(tlb, [7])
    assert held(tlb) == [0, 7, -1, 3]


# ---- two levels


def test_a_hit_in_level_2_fills_level_1() -> None:
    tlb = model(array(ways=2), array(ways=8, name="L2", level=2))
    load_pages(tlb, range(4))
    assert held(tlb) == [2, 3]
    outcome = tlb.access(LOAD, 0, 0, Tables())
    assert (outcome.level, outcome.array, outcome.walked) == (2, "L2", False)
    assert held(tlb) == [0, 3]
    assert tlb.counters()["L2"] == SlowCounters(lookups=5, hits=1, misses=4, installs=4)


def test_the_first_match_ends_the_search() -> None:
    first, second = array(ways=1, name="A"), array(ways=2, name="B")
    tlb = model(first, second)
    load_pages(tlb, [0, 1, 1, 0])  # the last is in B only
    assert tlb.counters()["A"] == SlowCounters(lookups=4, hits=1, misses=3, evictions=1, installs=2)
    assert tlb.counters()["B"] == SlowCounters(lookups=3, hits=1, misses=2, installs=2)


def test_kinds_choose_the_arrays() -> None:
    tlb = model(
        array(name="loads", kinds=LOAD),
        array(name="stores", kinds=STORE),
        array(name="code", kinds=FETCH),
        array(name="L2", level=2, kinds=Kinds.ALL),
    )
    for kind in (LOAD, STORE, FETCH):
        load_pages(tlb, [9], kind=kind)
    found = {name: (c.lookups, c.hits) for name, c in tlb.counters().items()}
    assert found == {"loads": (1, 0), "stores": (1, 0), "code": (1, 0), "L2": (3, 2)}


def test_an_inclusive_level_2_takes_its_victims_out_of_level_1() -> None:
    for inclusive in (False, True):
        tlb = model(array(ways=8), array(ways=2, name="L2", level=2), inclusive=inclusive)
        load_pages(tlb, range(3))
        assert held(tlb)[:3] == ([2, 1, -1] if inclusive else [0, 1, 2]) or held(tlb)[:3] == [-1, 1, 2]
        assert (0 in held(tlb)) is not inclusive
        assert tlb.counters()["L1D"].drops == inclusive


def test_inclusion_waits_for_the_last_array_of_level_2() -> None:
    small, large = array(ways=1, name="small", level=2), array(ways=2, name="large", level=2)
    tlb = model(array(ways=8), small, large, inclusive=True)
    load_pages(tlb, [0, 1])
    assert 0 in held(tlb)  # large still has it
    load_pages(tlb, [2])
    assert 0 not in held(tlb)


def test_a_smashed_gigabyte_page() -> None:
    level_2 = array(16, 4, name="L2", level=2, page_sizes=PageSizes.K4 | PageSizes.M2)
    whole = model(array(), level_2, smash_1g=True)
    walk = Tables(size=3)
    for vaddr in (5 * GIB, 5 * GIB + 7 * MIB2 + 3):
        assert whole.access(LOAD, vaddr, 0, walk).paddr == vaddr
    assert held(whole) == [5, -1, -1, -1]
    assert whole.counters()["L2"].installs == 1  # the second access hit in level 1
    pieces = model(array(page_sizes=PageSizes.K4 | PageSizes.M2), level_2, smash_1g=True)
    for vaddr in (5 * GIB, 5 * GIB + 7 * MIB2 + 3):
        assert pieces.access(LOAD, vaddr, 0, walk).paddr == vaddr
    assert held(pieces) == [5 * 512, 5 * 512 + 7, -1, -1]
    pieces.invlpg(5 * GIB + 100 * MIB2, 0)  # another piece of the same page
    assert not any(one for ways in pieces.contents().values() for one_set in ways for one in one_set)


def test_what_no_array_takes_is_not_cached() -> None:
    tlb = model(array(page_sizes=PageSizes.K4))
    assert not any(load_pages(tlb, [1, 1, 1], Tables(size=2)))
    assert tlb.counters()["L1D"] == SlowCounters(lookups=3, misses=3)


# ---- hits that cannot be used


def test_the_first_store_to_a_clean_page_walks_again() -> None:
    tlb = model(array(), array(name="L2", level=2))
    walk = Tables(dirty=False)
    load_pages(tlb, [1], walk)
    first = tlb.access(STORE, PAGE, 0, walk)
    assert (first.level, first.array, first.walked) == (1, "L1D", True)
    assert not tlb.access(STORE, PAGE, 0, walk).walked
    counters = tlb.counters()
    assert counters["L1D"] == SlowCounters(lookups=3, hits=2, misses=1, installs=2, drops=1)
    assert counters["L2"] == SlowCounters(lookups=1, misses=1, installs=2, drops=1)


def test_a_refused_hit_walks_again_and_a_fault_leaves_nothing() -> None:
    tlb = model(array(), array(name="L2", level=2), structures={2: 4})
    walk = Tables()
    load_pages(tlb, [1], walk)
    walk.faults = {1}
    outcome = tlb.access(LOAD, PAGE, 0, walk, lambda entry, kind: False)
    assert outcome.level == 1 and outcome.walked and outcome.paddr is None
    assert held(tlb) == held(tlb, "L2") == [-1] * 4
    assert outcome.start == 2 and len(tlb.structure_contents()[2]) == 1
    tlb.page_fault(PAGE, 0)
    assert not tlb.structure_contents()[2]


# ---- paging-structure caches


def test_a_walk_begins_at_the_deepest_structure_that_is_known() -> None:
    tlb = model(structures={4: 2, 3: 4, 2: 4})
    walk = Tables()
    loads = []
    for vaddr in (0, PAGE, MIB2, GIB, 512 * GIB):
        before = walk.loads
        tlb.access(LOAD, vaddr, 0, walk)
        loads.append(walk.loads - before)
    assert loads == [4, 1, 2, 3, 4]
    assert {level: len(one) for level, one in tlb.structure_contents().items()} == {2: 4, 3: 3, 4: 2}
    assert tlb.structure_counters()[2] == SlowCounters(lookups=5, hits=1, misses=4, installs=4)
    assert tlb.structure_counters()[3] == SlowCounters(lookups=4, hits=1, misses=3, installs=3)


def test_structure_caches_are_lru() -> None:
    tlb = model(structures={2: 2})
    walk = Tables()
    for vaddr in (0, MIB2, 0, 2 * MIB2):
        tlb.access(LOAD, vaddr, 0, walk)
    assert [bits for _, bits in tlb.structure_contents()[2]] == [0, 2]


def test_a_walk_that_faults_is_not_cached() -> None:
    tlb = model(structures={4: 2, 3: 2, 2: 2})
    walk = Tables()
    walk.faults = {0}
    assert tlb.access(LOAD, 0, 0, walk).paddr is None
    assert not any(tlb.structure_contents().values())


# ---- PCIDs, globals and invalidations


def mixed() -> tuple[SlowTlb, set[tuple[int, int]]]:
    """Pages 1 and 600 of PCIDs 0, 1 and 2, and page 3, global, of PCID 1; as (PCID, page), with 100 for global."""
    tlb = model(array(ways=16), array(ways=16, name="L2", level=2), structures={2: 16, 3: 16})
    for pcid in (0, 1, 2):
        for page in (1, 600):
            tlb.access(LOAD, page * PAGE, pcid, Tables())
    tlb.access(LOAD, 3 * PAGE, 1, Tables(is_global=True))
    return tlb, {(0, 1), (0, 600), (1, 1), (1, 600), (2, 1), (2, 600), (101, 3)}


def what(tlb: SlowTlb) -> set[tuple[int, int]]:
    found = [
        {(entry.pcid + 100 * entry.is_global, entry.number) for ways in sets for entry in ways if entry}
        for sets in tlb.contents().values()
    ]
    assert found[0] == found[1]
    return found[0]


def structures(tlb: SlowTlb) -> set[tuple[int, int, int]]:
    return {(level, *key) for level, one in tlb.structure_contents().items() for key in one}


ALL_STRUCTURES = {(2, pcid, n) for pcid in range(3) for n in (0, 1)} | {(3, pcid, 0) for pcid in range(3)}


def of(pcid: int) -> set[tuple[int, int, int]]:
    return {key for key in ALL_STRUCTURES if key[1] == pcid}


def test_pcids_do_not_see_each_other_and_all_see_globals() -> None:
    tlb, everything = mixed()
    assert what(tlb) == everything and structures(tlb) == ALL_STRUCTURES
    assert tlb.access(LOAD, 3 * PAGE, 2, Tables()).level == 1
    assert tlb.access(LOAD, PAGE, 3, Tables()).level == 0


@pytest.mark.parametrize(
    ("operation", "gone", "structures_gone"),
    [
        (lambda tlb: tlb.invlpg(PAGE + 1, 1), {(1, 1)}, of(1)),
        (lambda tlb: tlb.invlpg(3 * PAGE, 2), {(101, 3)}, of(2)),
        (lambda tlb: tlb.mov_cr3(0, pcide=False), {(0, 1), (0, 600)}, of(0)),
        (lambda tlb: tlb.mov_cr3(1, pcide=True), {(1, 1), (1, 600)}, of(1)),
        (lambda tlb: tlb.mov_cr3(1, pcide=True, bit_63=True), set(), set()),
        (lambda tlb: tlb.invpcid(0, 1, PAGE), {(1, 1)}, {(2, 1, 0), (3, 1, 0)}),
        (lambda tlb: tlb.invpcid(0, 1, 3 * PAGE), set(), {(2, 1, 0), (3, 1, 0)}),
        (lambda tlb: tlb.invpcid(1, 2), {(2, 1), (2, 600)}, of(2)),
        (lambda tlb: tlb.invpcid(2), None, ALL_STRUCTURES),
        (lambda tlb: tlb.invpcid(3), {(p, n) for p in range(3) for n in (1, 600)}, ALL_STRUCTURES),
        (lambda tlb: tlb.flush_all(), None, ALL_STRUCTURES),
        (lambda tlb: tlb.mov_cr4(0, CR4.PGE), None, ALL_STRUCTURES),
        (lambda tlb: tlb.mov_cr4(CR4.PGE, 0), None, ALL_STRUCTURES),
        (lambda tlb: tlb.mov_cr4(0, CR4.PCIDE), set(), set()),
        (lambda tlb: tlb.mov_cr4(CR4.PCIDE, 0), None, ALL_STRUCTURES),
        (lambda tlb: tlb.mov_cr4(0, CR4.SMEP, 1), {(1, 1), (1, 600), (101, 3)}, of(1)),
        (lambda tlb: tlb.mov_cr4(CR4.SMEP, 0), set(), set()),
        (lambda tlb: tlb.mov_cr4(0, CR4.SMAP | CR4.PKE), set(), set()),
        (lambda tlb: tlb.page_fault(600 * PAGE, 0), {(0, 600)}, {(2, 0, 1), (3, 0, 0)}),
    ],
)
def test_each_invalidation_does_what_the_manual_says(operation, gone, structures_gone) -> None:  # type: ignore[no-untyped-def]
    tlb, everything = mixed()
    gone = everything if gone is None else gone
    operation(tlb)
    assert what(tlb) == everything - gone
    assert structures(tlb) == ALL_STRUCTURES - structures_gone
    assert [counters.invalidations for counters in tlb.counters().values()] == [len(gone)] * 2


def test_an_unknown_type_of_invpcid() -> None:
    with pytest.raises(ValueError, match="no type 4"):
        model().invpcid(4)


def test_entries_are_accounted_for() -> None:
    tlb = model(array(4, 2), array(8, 2, name="L2", level=2), inclusive=True)
    walk = Tables(dirty=False)
    for step in range(400):
        kind = (LOAD, STORE)[step * 7 % 5 == 0]
        tlb.access(kind, (step * step + step // 3) % 37 * PAGE, step // 50 % 2, walk)
        if step % 29 == 0:
            tlb.invlpg(step % 37 * PAGE, 0)
    for name, counters in tlb.counters().items():
        left = sum(entry is not None for ways in tlb.contents()[name] for entry in ways)
        assert counters.lookups == counters.hits + counters.misses
        assert counters.installs == counters.evictions + counters.invalidations + counters.drops + left
        assert counters.hits and counters.evictions and counters.invalidations and counters.drops
