"""Nested walks: equal to a slow model, and to the formulas of two dimensions."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from mmu import Access
from mmu.geometry import Array, Geometry, IndexHash, Kinds, PageSizes, Replacement
from mmu.latency import Latency, WalkCache
from mmu.model import TlbModel
from mmu.nested import Nested
from mmu.state import MmuState
from tests.mmu.tables import Tables
from tests.mmu.test_mmu_latency import random_latency
from tests.mmu.test_mmu_tlb_model import small
from tests.mmu.tlb_pair import GIB, MIB2, Pair, Trace

READ, WRITE = Access.READ, Access.WRITE
PAGE, FIRST = 4096, 0x4000_0000


def geometry(nested: Nested, structures: dict[int, int] | None = None, latency: Latency | None = None) -> Geometry:
    arrays = (Array("L1D", 1, Kinds.DATA, PageSizes.ALL, 1, 4), Array("L2", 2, Kinds.ALL, PageSizes.ALL, 4, 4))
    return Geometry("test", arrays, structures or {}, nested=nested, latency=latency)


def mapped(shape: Geometry, pages: int = 1, level: int = 1, levels: int = 4) -> Pair:
    pair = Pair(shape, levels=levels)
    step = 1 << 12 + 9 * (level - 1)
    for ram in pair.rams:
        tables = Tables(ram, levels=levels)
        for n in range(pages):
            tables.map_page(FIRST + n * step, (n + 256) * step, level)  # where no table is
    return pair


def loads(pair: Pair) -> tuple[int, int]:
    """Entries that were read: of the guest, and of the second dimension."""
    assert pair.model.second is not None
    return pair.state.walk_loads, pair.model.second.counts.loads


# ---- against the slow model


@pytest.mark.parametrize("page_level", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_nested_walks_are_as_the_slow_model_says(page_level: int, seed: int) -> None:
    rng = random.Random(seed)
    nested = Nested(page_level, {level: rng.randrange(5) for level in (2, 3, 4)}, rng.choice((0, 1, 8)))
    shape = small(Replacement.LRU, IndexHash.LINEAR, seed % 2 == 0, seed == 3, seed)
    latency = None if seed == 1 else random_latency(rng)
    trace = Trace(Pair(replace(shape, nested=nested, latency=latency), seed=seed, levels=4 + seed % 2), seed)
    for _ in range(3):
        trace.run(300)
    held = [entry for entries in trace.pair.model.contents().values() for entry in entries]
    assert max(entry.page_size for entry in held) <= 1 << 12 + 9 * (page_level - 1)
    assert page_level != 1 or any(entry.smashed for entry in held)


# ---- closed forms


@pytest.mark.parametrize("levels", [4, 5])
@pytest.mark.parametrize(("page_level", "depth"), [(1, 4), (2, 3), (3, 2)])
def test_a_cold_walk_reads_what_two_dimensions_have(levels: int, page_level: int, depth: int) -> None:
    """Each of the guest's entries, and the page, is translated by a walk of its own: 24 loads with 4 levels of each."""
    pair = mapped(geometry(Nested(page_level)), levels=levels)
    pair.access(FIRST)
    assert loads(pair) == (levels, (levels + 1) * depth)
    assert levels != 4 or depth != 4 or sum(loads(pair)) == 24
    pair.access(FIRST)
    assert sum(loads(pair)) == levels + (levels + 1) * depth, "a hit costs nothing"
    pair.check()


def test_pages_of_2m_over_4k_are_held_in_pieces_and_leave_as_one() -> None:
    pair = mapped(geometry(Nested(1)), pages=2, level=2)
    for vaddr in (FIRST, FIRST + PAGE, FIRST + MIB2):
        assert pair.access(vaddr).walked
    assert loads(pair) == (3 * 3, 3 * 4 * 4)
    held = pair.model.contents()["L2"]
    assert [(entry.page_size, entry.smashed) for entry in held] == [(PAGE, True)] * 3
    pair.invlpg(FIRST + 100 * PAGE)
    assert [entry.vaddr for entry in pair.model.contents()["L2"]] == [FIRST + MIB2]
    pair.check()


def test_pages_of_2m_over_2m_are_held_whole() -> None:
    pair = mapped(geometry(Nested(2)), level=2)
    pair.access(FIRST)
    assert pair.access(FIRST + PAGE).level == 1
    assert loads(pair) == (3, 4 * 3)
    pair.check()


def test_structure_caches_of_both_dimensions() -> None:
    """Pages side by side: behind a PDE of the guest and one of EPT, a walk reads the PTE, and for it and the page one
    entry of EPT each."""
    structures = {2: 4, 3: 4, 4: 2}
    pair = mapped(geometry(Nested(1, structures), structures), pages=64)
    pair.access(FIRST)
    before = loads(pair)
    for n in range(1, 64):
        pair.access(FIRST + n * PAGE)
    after = loads(pair)
    assert (after[0] - before[0], after[1] - before[1]) == (63, 63 * 2)
    pair.check()


def test_a_tlb_of_guest_physical_pages() -> None:
    """The page of the PTEs is always found there; that of the data never is."""
    pair = mapped(geometry(Nested(1, {2: 4, 3: 4, 4: 2}, tlb=8), {2: 4, 3: 4, 4: 2}), pages=64)
    pair.access(FIRST)
    before = loads(pair)[1]
    for n in range(1, 64):
        pair.access(FIRST + n * PAGE)
    assert loads(pair)[1] - before == 63
    assert pair.model.second is not None and pair.model.second.counts.tlb_hits == 63
    pair.check()


def test_what_a_guest_invalidates_leaves_the_second_dimension_alone() -> None:
    pair = mapped(geometry(Nested(1, tlb=64)))
    pair.access(FIRST)
    before = loads(pair)[1]
    pair.invpcid(2)
    pair.access(FIRST)
    assert loads(pair) == (8, before)
    pair.check()


def test_cycles_of_both_dimensions() -> None:
    latency = Latency(0, walk=1, load=100, walk_caches=(WalkCache("L1D", 64, 8, 5),))
    pair = mapped(geometry(Nested(1), latency=latency))
    pair.access(FIRST)
    model = pair.model
    assert model.costs is not None and model.second is not None
    found, nested = model.costs.loads(), model.costs.loads(nested=True)
    assert sum(map(sum, found.values())) == 4 and sum(map(sum, nested.values())) == 20
    cycles = sum(loads["L1D"][0] * 5 + loads["memory"][0] * 100 for loads in (found, nested))
    assert model.costs.cycles()[READ].walks == 1 + cycles
    assert model.second.counts.cycles == nested["L1D"][0] * 5 + nested["memory"][0] * 100


def test_a_walk_that_faults_translates_no_page() -> None:
    pair = mapped(geometry(Nested(1)))
    assert pair.access(FIRST + GIB).paddr is None
    assert loads(pair) == (2, 2 * 4)
    pair.check()


@pytest.mark.parametrize("page_level", [1, 2, 3])
def test_a_page_beyond_the_memory_is_translated_by_no_table(page_level: int) -> None:
    """As a stream may say that was made to do harm: there is no table that could be read for it, or written to."""
    pair = Pair(geometry(Nested(page_level, tlb=2)))
    far = pair.state.ram_bytes + 5 * GIB
    for ram in pair.rams:
        Tables(ram).map_page(FIRST, far)
    assert pair.model.lookup(FIRST, READ) is not None
    assert loads(pair)[0] == 4
    assert pair.model.second is not None
    walks = pair.model.second.counts
    assert walks.walks + walks.tlb_hits == 4, "the entries of the guest's tables, and not the page"


@pytest.mark.parametrize(
    ("nested", "message"),
    [
        (Nested(4), "nested: pages of level 4; there are levels 1 to 3"),
        (Nested(1, {5: 4}), "nested: there is no structure cache of level 5"),
        (Nested(1, {2: -4}), "nested: a structure cache of -4 entries"),
        (Nested(1, tlb=-1), "nested: a TLB of -1 entries"),
    ],
)
def test_what_cannot_be_modelled_is_refused(nested: Nested, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TlbModel(MmuState(ram_bytes=1 << 20), geometry(nested))


def test_more_memory_than_ept_maps_is_refused() -> None:
    with pytest.raises(ValueError, match="EPT of 4 levels maps 256 TiB"):
        TlbModel(MmuState(ram_bytes=1 << 52), geometry(Nested(1)))
