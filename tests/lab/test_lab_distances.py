"""Stack distances and miss curves against a list that is searched, and against TLBs of each size."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

from emu.lab.batch import EVERY_PCID, GLOBALS, Batch, Op, Register, controls_of
from emu.lab.distances import COLD, INVALIDATED, LEFT_OUT
from emu.lab.lru_stack import LruStack
from mmu.registers import CR4
from tests.lab.stacks import Page, SlowTlb, by_chance, pages_of, piece

UPPER = 0xFFFF_8000_0000_0000
WITH_PCIDS = (0, Op.REGISTER, 0, int(Register.CR4), int(CR4.PCIDE))


def slow_distances(pages: list[Page]) -> list[int]:
    stack: list[Page] = []
    found = []
    for page in pages:
        found.append(stack[::-1].index(page) if page in stack else COLD)
        if page in stack:
            stack.remove(page)
        stack.append(page)
    return found


@pytest.mark.parametrize(("seed", "count", "pages"), [(1, 3000, 40), (2, 4000, 300), (3, 500, 1)])
def test_distances_are_those_of_a_list(seed: int, count: int, pages: int) -> None:
    batch, stack = by_chance(seed, count, pages), LruStack()
    found = np.zeros(count, np.uint64)
    for first in range(0, count, 700):
        stack.take(piece(batch, slice(first, first + 700)), found[first : first + 700])
    expected = slow_distances(pages_of(batch))
    assert found.tolist() == expected
    curve = stack.curve()
    assert curve.cold == expected.count(COLD) == stack.pages
    assert curve.histogram.tolist() == [expected.count(d) for d in range(len(curve.histogram))]
    assert curve.accesses == count


def test_pages_of_a_gigabyte_at_the_end_of_memory_are_pages() -> None:
    end = (1 << 64) - 1
    stack, found = LruStack(), np.zeros(4, np.uint64)
    stack.take(Batch.of(vaddr=[end, end - (1 << 30), end - 4096, end - (1 << 30)], shift=30), found)
    assert found.tolist() == [COLD, COLD, 1, 1]
    gone = controls_of([(0, Op.INVLPG, 0, end, 0)])
    stack.take(Batch.of(gone, vaddr=[end, end - (1 << 30)], shift=30), found[:2])
    assert found[:2].tolist() == [INVALIDATED, 1]


def test_the_row_and_the_table_grow_and_memory_is_that_of_the_pages() -> None:
    """A cycle has one distance; with more pages than the first row and the first table have places for."""
    pages, stack = 10_000, LruStack()
    cycle = Batch.of(vaddr=[UPPER + 4096 * i for i in range(pages)], shift=12)
    found = np.zeros(pages, np.uint64)
    stack.take(cycle)
    used = []
    for _ in range(6):
        stack.take(cycle, found)
        assert set(found.tolist()) == {pages - 1}
        used.append(stack.host_bytes)
    assert used[0] == used[-1] < pages * 300
    assert stack.curve().misses_of(pages - 1) == 7 * pages and stack.curve().misses_of(pages) == pages


def test_blocks_are_counted() -> None:
    """A row of more than 262144 places, whose marks are counted by blocks."""
    pages, chosen, stack = 300_000, [(i * 7919 + 13) % 300_000 for i in range(100)], LruStack()
    stack.take(Batch.of(vaddr=np.arange(pages, dtype=np.uint64) << np.uint64(12) | np.uint64(UPPER), shift=12))
    found = np.zeros(len(chosen), np.uint64)
    stack.take(Batch.of(vaddr=[UPPER + page * 4096 for page in chosen], shift=12), found)
    behind = [sum(1 for other in chosen[:i] if other < page) for i, page in enumerate(chosen)]
    assert found.tolist() == [pages - 1 - page + n for page, n in zip(chosen, behind, strict=True)]


def test_only_the_accesses_that_are_asked_for_count() -> None:
    batch = by_chance(5, 1000, 30)
    stack, found = LruStack(kinds=0b011, vcpu=1, least_shift=21), np.zeros(1000, np.uint64)
    stack.take(batch, found)
    wanted = (batch.kind < 2) & (batch.vcpu == 1)
    assert (found == LEFT_OUT).tolist() == (~wanted).tolist()
    assert found[wanted].tolist() == slow_distances(pages_of(piece(batch, wanted), 21))


def test_accesses_that_faulted_count_only_where_that_is_asked_for() -> None:
    batch = Batch.of(vaddr=[UPPER, UPPER, 0x1000], shift=[0, 12, 0])
    for faults, expected in ((False, [LEFT_OUT, COLD, LEFT_OUT]), (True, [COLD, 0, COLD])):
        found = np.zeros(3, np.uint64)
        LruStack(faults=faults).take(batch, found)
        assert found.tolist() == expected


def invalidation(chance: random.Random, batch: Batch) -> tuple[tuple[Op, int, int], Callable[[Page], bool]]:
    """What invalidates, with its operands, and which pages it concerns."""
    pcid, vaddr = chance.randrange(3), int(chance.choice(batch.vaddr))
    match chance.choice(("page", "page", "fault", "pcid", "every")):
        case "page":
            return (Op.INVPCID, vaddr, pcid), lambda page: page.space == pcid and page.number == vaddr >> page.shift
        case "fault":
            return (Op.PAGE_FAULT, vaddr, pcid), lambda page: page.space == pcid and page.number == vaddr >> page.shift
        case "pcid":
            return (Op.INVALIDATE, pcid, 0), lambda page: page.space == pcid
        case _:
            return (Op.INVALIDATE, 0, EVERY_PCID | GLOBALS), lambda page: True


@pytest.mark.parametrize("seed", range(6))
def test_misses_of_every_size_with_invalidations(seed: int) -> None:
    """Pages, PCIDs and everything are invalidated in between; a free entry is used before a page is evicted."""
    chance, pages = random.Random(seed), 14
    batch = by_chance(seed, 1500, pages)
    tlbs, each = [SlowTlb(entries) for entries in range(pages + 2)], pages_of(batch)
    without, controls = LruStack(invalidations=False), []
    for at, page in enumerate(each):
        if at and chance.random() < 0.1:
            (op, a, b), concerns = invalidation(chance, batch)
            controls.append((at, op, 0, a, b))
            for tlb in tlbs:
                tlb.held = [held for held in tlb.held if not concerns(held)]
        for tlb in tlbs:
            tlb.access(page)
    stack = LruStack()
    whole = piece(batch, slice(None), controls_of(controls))
    stack.take(whole)
    without.take(whole)
    curve = stack.curve()
    assert [curve.misses_of(tlb.entries) for tlb in tlbs] == [tlb.misses for tlb in tlbs]
    assert curve.cold == len(set(each)) and curve.invalidated > 0
    expected = slow_distances(each)
    assert without.curve().histogram.tolist() == [expected.count(d) for d in range(max(set(expected) - {COLD}) + 1)]


def test_holes_outlast_the_moving_of_marks() -> None:
    """Many holes far down, and a row that is moved together again and again."""
    stack, tlbs = LruStack(), [SlowTlb(entries) for entries in (1, 50, 150, 199, 200)]
    chance = random.Random(7)
    for turn in range(40):
        gone = [chance.randrange(200) for _ in range(turn)]
        batch = Batch.of(
            controls_of([(0, Op.INVLPG, 0, UPPER + 4096 * number, 0) for number in gone]),
            vaddr=[UPPER + 4096 * chance.randrange(200) for _ in range(300)],
            shift=12,
        )
        for tlb in tlbs:
            tlb.held = [page for page in tlb.held if page.number - (UPPER >> 12) not in gone]
            for page in pages_of(batch):
                tlb.access(page)
        stack.take(batch)
    assert [stack.curve().misses_of(tlb.entries) for tlb in tlbs] == [tlb.misses for tlb in tlbs]


def test_a_page_is_invalidated_for_the_pcid_that_is_loaded() -> None:
    """INVLPG goes by CR3 where CR4.PCIDE is set, and a vCPU's controls concern that vCPU."""

    def distances(*rows: tuple[int, Op, int, int, int], vcpu: int = 0) -> list[int]:
        found, stack = np.zeros(4, np.uint64), LruStack(vcpu=vcpu)
        columns = {"vaddr": UPPER, "space": [7, 8, 7, 8], "pcid": [1, 2, 1, 2], "shift": 12, "vcpu": vcpu}
        stack.take(Batch.of(controls_of(rows), **columns), found)
        return list(found.tolist())

    def with_cr3(cr3: int, vcpu: int = 0, of: int = 0) -> list[int]:
        return distances(WITH_PCIDS, (1, Op.CR3, of, cr3, 0), (2, Op.INVLPG, of, UPPER + 8, 0), vcpu=vcpu)

    assert distances() == [COLD, COLD, 1, 1]
    assert with_cr3(0x5001) == [COLD, COLD, INVALIDATED, 1]
    assert with_cr3(0x5002) == [COLD, COLD, 1, INVALIDATED]
    assert with_cr3(0x5003) == [COLD, COLD, 1, 1]
    assert with_cr3(0x5001, vcpu=1, of=1) == [COLD, COLD, INVALIDATED, 1]
    assert with_cr3(0x5001, vcpu=1, of=0) == [COLD, COLD, 1, 1]


def test_another_pcid_finds_nothing() -> None:
    stack, found = LruStack(), np.zeros(6, np.uint64)
    rows = controls_of([(4, Op.CR3, 0, 0x5003, 0)])
    stack.take(
        Batch.of(rows, vaddr=[UPPER, 0x1000, UPPER, UPPER, UPPER, UPPER], pcid=[1, 1, 2, 2, 3, 3], shift=12), found
    )
    assert found.tolist() == [COLD, COLD, INVALIDATED, 0, INVALIDATED, 0]


def test_without_invalidations_a_pcid_makes_no_difference() -> None:
    stack, found = LruStack(invalidations=False), np.zeros(3, np.uint64)
    stack.take(Batch.of(vaddr=[UPPER, 0x1000, UPPER], pcid=[1, 1, 2], shift=12), found)
    assert found.tolist() == [COLD, COLD, 1]


def test_controls_behind_the_last_access_are_done() -> None:
    stack, found = LruStack(), np.zeros(1, np.uint64)
    stack.take(Batch.of(controls_of([(1, Op.INVALIDATE, 0, 0, 0)]), vaddr=[UPPER], shift=12))
    stack.take(Batch.of(controls_of([(0, Op.TURN, 0, 0, 0)])))
    stack.take(Batch.of(vaddr=[UPPER], shift=12), found)
    assert found.tolist() == [INVALIDATED]


def test_a_closed_form() -> None:
    """A cycle of N pages misses always in a TLB of fewer entries, and only the first time in one of N."""
    stack = LruStack()
    for _ in range(5):
        stack.take(Batch.of(vaddr=[4096 * i for i in range(64)], shift=12))
    assert stack.curve().misses().tolist() == [320] * 64 + [64]


def test_curves_add_up() -> None:
    batch, both = by_chance(9, 2000, 60), [LruStack(vcpu=0), LruStack(vcpu=1)]
    for stack in both:
        stack.take(batch)
    first, second = (stack.curve() for stack in both)
    together = first + second
    assert together.accesses == 2000
    for entries in (0, 1, 5, 30, 100):
        assert together.misses_of(entries) == first.misses_of(entries) + second.misses_of(entries)


@pytest.mark.parametrize("wrong", [np.zeros(3, np.uint64), np.zeros(4, np.int64), np.zeros((2, 2), np.uint64)])
def test_a_wrong_array_for_distances_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(TypeError):
        LruStack().take(Batch.of(vaddr=[1, 2, 3, 4]), wrong)
