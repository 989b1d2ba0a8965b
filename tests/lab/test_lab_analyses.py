"""Working sets and candidates for large pages against what a few lines of Python count."""

from __future__ import annotations

import numpy as np
import pytest

from emu.lab.analysis import HugeCandidates
from emu.lab.batch import Batch
from emu.lab.columns import Columns
from emu.lab.huge_pages import HugePages
from emu.lab.spaces import Spaces
from emu.lab.working_set import WorkingSet
from tests.lab.stacks import SlowTlb, by_chance, pages_of, piece


@pytest.mark.parametrize(("window", "kinds"), [(1, 7), (10, 7), (333, 7), (50, 0b100), (5000, 7)])
def test_the_working_set_is_that_of_sets(window: int, kinds: int) -> None:
    batch, working_set = by_chance(1, 4000, 200), WorkingSet(window, kinds)
    for first in range(0, 4000, 777):
        working_set.take(piece(batch, slice(first, first + 777)))
    pages = [page for page, kind in zip(pages_of(batch), batch.kind.tolist(), strict=True) if kinds >> kind & 1]
    whole = len(pages) // window * window
    assert working_set.pages.tolist() == [len(set(pages[i : i + window])) for i in range(0, whole, window)]
    assert working_set.unfinished == (len(pages) - whole, len(set(pages[whole:])))


def test_the_table_of_a_working_set_grows() -> None:
    """In the middle of a batch, with windows that have ended before."""
    working_set = WorkingSet(4000)
    vaddr = np.arange(10_000, dtype=np.uint64) << np.uint64(12) | np.uint64(0xFFFF_8000_0000_0000)
    working_set.take(Batch.of(vaddr=np.concatenate([vaddr, vaddr]), shift=12))
    assert working_set.pages.tolist() == [4000] * 5


@pytest.mark.parametrize(("shift", "entries"), [(21, 1), (21, 8), (30, 3)])
def test_candidates_are_what_two_tlbs_count(shift: int, entries: int) -> None:
    batch, huge = by_chance(4, 5000, 400), HugePages(shift, entries)
    for first in range(0, 5000, 1300):
        huge.take(piece(batch, slice(first, first + 1300)))
    small, large = SlowTlb(entries), SlowTlb(entries)
    expected: dict[tuple[int, int], list[int]] = {}
    pieces: dict[tuple[int, int], set[int]] = {}
    for page, big, vaddr in zip(pages_of(batch), pages_of(batch, shift), batch.vaddr.tolist(), strict=True):
        missed, missed_large = not small.access(page), not large.access(big)
        if page.shift <= shift - 9:
            key = (vaddr >> shift << shift, page.space)
            counts = expected.setdefault(key, [0, 0, 0])
            pieces.setdefault(key, set()).add(vaddr >> (shift - 9))
            for i, counted in enumerate((True, missed, missed_large)):
                counts[i] += counted
    found = huge.candidates()
    assert {(one.vaddr, one.space): [one.accesses, one.misses_small, one.misses_large] for one in found} == expected
    assert {(one.vaddr, one.space): one.pieces for one in found} == {key: len(held) for key, held in pieces.items()}
    assert [one.saved for one in found] == sorted((one.saved for one in found), reverse=True)


def test_the_table_of_candidates_grows() -> None:
    huge = HugePages(21, 64)
    ranges = 1000
    vaddr = [0xFFFF_8000_0000_0000 + (i << 21) + (j << 12) for i in range(ranges) for j in (0, 511)]
    huge.take(Batch.of(vaddr=vaddr, shift=12))
    assert {(one.pieces, one.misses_small, one.misses_large) for one in huge.candidates()} == {(2, 2, 1)}
    assert len(huge.candidates()) == ranges


@pytest.mark.parametrize("wrong", [lambda: WorkingSet(0), lambda: WorkingSet(1, 8), lambda: HugePages(22, 1)])
def test_what_makes_no_sense_is_refused(wrong: object) -> None:
    assert callable(wrong)
    with pytest.raises(ValueError, match="no "):
        wrong()


def test_a_process_is_named_by_the_address_spaces_that_it_had() -> None:
    """Space 7 is that of 101 after a vfork, which it borrowed from 100; 8 to 10 come with execve."""
    spaces = Spaces()
    spaces.take(Batch.of(space=[7, 7, 7, 8, 8], pid=[100, 101, 100, 101, 101]))
    spaces.take(Batch.of(space=[7, 9, 10], pid=[100, 101, 101]))
    assert [spaces.name(space) for space in (7, 8, 9, 10)] == ["100", "101", "101 after execve", "101 after 2 execve"]
    assert [spaces.pid(space) for space in (7, 9, 11)] == [100, 101, 0]


def test_candidates_say_what_their_pages_are_parts_of() -> None:
    huge, batch = HugeCandidates(1), Batch.of(vaddr=[0, 1 << 21, 1 << 12], space=[1, 1, 2], pid=5, shift=12)
    huge.take(batch, Columns.of(batch))
    small, large = huge.finding().listings
    assert (small.headers[2], large.headers[2]) == ("pages used of 512", "2 MiB used of 512")
    assert [row[1:3] for row in large.rows] == [("5", "2"), ("5 after execve", "1")]
