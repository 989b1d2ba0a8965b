"""Coalesced pages, case by case; the slow model does the same, and is compared at each access."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mmu import Access
from mmu.geometry import Array, Geometry, Kinds, PageSizes
from tests.mmu.tables import Tables
from tests.mmu.tlb_pair import Pair

READ, WRITE = Access.READ, Access.WRITE
PAGE, FIRST, FRAME = 0x1000, 0x40_0000, 0x80_0000


def geometry(coalesce: int = 4, *, first: int = 1) -> Geometry:
    """Two levels; ``first``: how many pages the first one coalesces."""
    arrays = (
        Array("L1D", 1, Kinds.DATA, PageSizes.ALL, 1, 8, coalesce=first),
        Array("L2", 2, Kinds.DATA, PageSizes.ALL, 8, 4, coalesce=coalesce),
    )
    return Geometry("two levels", arrays)


def mapped(shape: Geometry, *, frame: int = FRAME, pages: int = 8, **fields: int) -> Pair:
    """Pages side by side, and so are their frames; A and D are set."""
    pair = Pair(shape)
    change(pair, *((FIRST + n * PAGE, frame + n * PAGE) for n in range(pages)), **fields)
    return pair


def change(pair: Pair, *pages: tuple[int, int], **fields: int) -> None:
    for ram in pair.rams:
        for vaddr, paddr in pages:
            Tables(ram).map_page(vaddr, paddr, **{"A": 1, "D": 1, **fields})


def held(pair: Pair, array: str) -> set[tuple[int, int]]:
    """The pages that an array has, by number from the first, and how many each entry is."""
    pair.check()
    return {((entry.vaddr - FIRST) // PAGE, entry.page_size // PAGE) for entry in pair.model.contents()[array]}


def test_four_pages_are_one_entry_of_the_array_that_coalesces() -> None:
    pair = mapped(geometry())
    assert pair.access(FIRST + 5 * PAGE + 8).paddr == FRAME + 5 * PAGE + 8
    assert (held(pair, "L1D"), held(pair, "L2")) == ({(5, 1)}, {(4, 4)})
    for n in (4, 6, 7):
        found = pair.access(FIRST + n * PAGE + 16)
        assert (found.level, found.paddr) == (2, FRAME + n * PAGE + 16)
    assert pair.access(FIRST + 3 * PAGE).level == 0
    assert held(pair, "L2") == {(0, 4), (4, 4)}


def test_both_levels_may() -> None:
    pair = mapped(geometry(first=4))
    assert [pair.access(FIRST + n * PAGE).level for n in range(8)] == [0, 1, 1, 1, 0, 1, 1, 1]


@pytest.mark.parametrize("coalesce", [2, 4, 8])
def test_as_many_as_the_geometry_says(coalesce: int) -> None:
    pair = mapped(geometry(coalesce))
    pair.access(FIRST + 7 * PAGE)
    assert held(pair, "L2") == {(8 - coalesce, coalesce)}


@pytest.mark.parametrize(
    "fields", [{"P": 0}, {"A": 0}, {"D": 0}, {"RW": 0}, {"US": 0}, {"XD": 1}, {"G": 1}, {"PCD": 1}], ids=str
)
def test_a_pte_that_is_otherwise_keeps_its_group_apart(fields: dict[str, int]) -> None:
    pair = mapped(geometry())
    change(pair, (FIRST + 2 * PAGE, FRAME + 2 * PAGE), **fields)
    pair.access(FIRST + PAGE)
    pair.access(FIRST + 5 * PAGE)
    assert held(pair, "L2") == {(1, 1), (4, 4)}


def test_frames_that_are_not_in_order_or_not_aligned_keep_pages_apart() -> None:
    pair = mapped(geometry())
    change(pair, (FIRST + 2 * PAGE, FRAME + 3 * PAGE))
    pair.access(FIRST + PAGE)
    assert held(pair, "L2") == {(1, 1)}
    pair = mapped(geometry(), frame=FRAME + PAGE)
    pair.access(FIRST + PAGE)
    assert held(pair, "L2") == {(1, 1)}


def test_invlpg_of_one_page_drops_all() -> None:
    pair = mapped(geometry(first=4))
    pair.access(FIRST)
    pair.access(FIRST + 4 * PAGE)
    pair.invlpg(FIRST + 3 * PAGE)
    assert held(pair, "L1D") == held(pair, "L2") == {(4, 4)}
    counters = pair.model.array_counters()["L2"]
    assert (counters.invalidations, counters.installs) == (1, 2)


def test_the_first_store_to_clean_pages_ends_what_they_were_together() -> None:
    pair = mapped(geometry(first=4), D=0)
    assert pair.access(FIRST).level == 0
    assert held(pair, "L1D") == {(0, 4)}
    found = pair.access(FIRST + PAGE, WRITE)
    assert (found.level, found.walked) == (1, True)
    assert held(pair, "L1D") == held(pair, "L2") == {(1, 1)}
    assert pair.model.array_counters()["L1D"].drops == 1
    for n in (0, 2, 3):
        pair.access(FIRST + n * PAGE, WRITE)
    assert held(pair, "L2") == {(0, 4)}, "the last one has found all alike again"


def test_what_was_there_alone_leaves_when_the_group_comes() -> None:
    """Even where it is stale: page 1 is elsewhere since, and nobody was told."""
    pair = mapped(geometry(first=4))
    change(pair, (FIRST + PAGE, 0x90_0000))
    assert pair.access(FIRST + PAGE).paddr == 0x90_0000
    change(pair, (FIRST + PAGE, FRAME + PAGE))
    assert pair.access(FIRST + PAGE).paddr == 0x90_0000
    pair.access(FIRST)
    assert pair.access(FIRST + PAGE).paddr == FRAME + PAGE
    assert held(pair, "L1D") == held(pair, "L2") == {(0, 4)}
    assert [counters.drops for counters in pair.model.array_counters().values()] == [1, 1]


def test_a_group_is_of_one_pcid_or_global() -> None:
    pair = mapped(geometry(first=4))
    pair.access(FIRST)
    pair.mov_cr3(0x1000 | 5, keep=True)
    assert pair.access(FIRST).level == 0
    change(pair, *((FIRST + n * PAGE, FRAME + n * PAGE) for n in range(4, 8)), G=1)
    pair.access(FIRST + 4 * PAGE)
    pair.mov_cr3(0x1000 | 6, keep=True)
    assert [pair.access(FIRST + n * PAGE).level for n in (6, 2)] == [1, 0]
    pair.invpcid(3)
    assert held(pair, "L1D") == {(4, 4)}


def test_an_inclusive_second_level_takes_the_group_out_of_the_first() -> None:
    shape = replace(geometry(first=4), inclusive=True)
    shape = replace(shape, arrays=(shape.arrays[0], replace(shape.arrays[1], sets=1, ways=1)))
    pair = mapped(shape)
    pair.access(FIRST)
    pair.access(FIRST + 4 * PAGE)
    assert held(pair, "L1D") == held(pair, "L2") == {(4, 4)}
