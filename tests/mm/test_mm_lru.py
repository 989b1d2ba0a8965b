"""What has been in its list the longest time goes first, whichever frames it has (mm/swap.c, mm/vmscan.c)."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

import guests
from emu.kernel.sched import StopReason
from emu.kernel.task import Task
from emu.mm.filepages import FilePages
from emu.mm.lazyfree import shrink_lazyfree
from emu.mm.lruorder import MANY, LruOrder
from emu.mm.pageflags import PG_ACTIVE, PG_REFERENCED
from emu.mm.pagetable import ADDRESS, P
from emu.mm.pagetable import A as ACCESSED
from emu.mm.swapops import slot_of
from tests.booted import MIB, Booted, MakeMachine

#: 16 pages each; c gets the frames that a had, which come before those of b.
A, B, C = 2 << 40, 3 << 40, 4 << 40
PAGES = 16
AREAS = (
    f"@a = mmap {A} 64K RW PRIVATE|MAP_FIXED -1 0; @touch a 64K; @b = mmap {B} 64K RW {{kind}}|MAP_FIXED -1 0;"
    f"@touch b 64K; @munmap a 64K; @c = mmap {C} 64K RW {{kind}}|MAP_FIXED -1 0; @touch c 64K;"
)


def ready(booted: Booted, script: str) -> Task:
    task = booted.guest("calls", script + "@pause")
    assert booted.run(timeout_s=30) == StopReason.IDLE
    return task


def out(task: Task, place: int) -> list[int]:
    """Which pages of an area are not in memory."""
    return [page for page in range(PAGES) if not task.mm.tables.pte(place + (page << 12)) & P]


def frame_of(task: Task, address: int) -> int:
    entry = task.mm.tables.pte(address)
    return (entry & ADDRESS) >> 12 if entry & P else 0


def take(booted: Booted, number: int) -> None:
    """So many pages of the two areas go, as far as they have not been used since the last time."""
    task, only = booted.tasks[0], np.zeros(booted.kernel.frames.total, dtype=np.bool_)
    only[[frame_of(task, place + (page << 12)) for place in (B, C) for page in range(PAGES)]] = True
    only[0] = False
    booted.kernel.reclaim.shrink(number, "direct", only)


def use(task: Task, address: int) -> None:
    slot = task.mm.tables.entry_slot(address, 1)
    assert slot is not None
    task.mm.frames.ram.qwords[slot] |= ACCESSED


def test_the_order_of_pages_against_a_list() -> None:
    """Pages are added and moved at random: as if each were taken out of a list, and put to its end."""
    chance, order, expected = random.Random(5), LruOrder(200), list[int]()
    for _ in range(2000):
        if chance.random() < 0.5:
            moved = [chance.randrange(200)]
            order.add(moved[0])
        else:
            moved = chance.sample(range(200), chance.choice([3, 100]))
            order.add_many(np.array(moved))
        expected = [frame for frame in expected if frame not in moved] + moved
        if chance.random() < 0.1:
            which = np.array([chance.random() < 0.5 for _ in range(200)])
            assert order.oldest_first(which).tolist() == [frame for frame in expected if which[frame]]


def test_a_huge_page_has_the_places_of_its_frames() -> None:
    order = LruOrder(2048)
    for frame in (1024, 600, 3):
        order.add(frame)
    order.add_block(1024)
    order.add(1500)
    order.add_block(512)
    order.add_block(1024)
    order.add(4)
    expected = [3, *range(512, 1024), *range(1024, 1536), 4]
    assert order.oldest_first(np.ones(2048, dtype=bool)).tolist() == expected


def test_what_is_kept_of_the_order_has_an_end() -> None:
    order = LruOrder(4)
    for _ in range(3 * MANY):
        order.add(1)
        order.add(3)
    assert len(order.single) <= MANY
    assert order.oldest_first(np.ones(4, dtype=bool)).tolist() == [1, 3]


@pytest.mark.parametrize("kind", ["PRIVATE", "MAP_SHARED|MAP_ANONYMOUS"])
def test_the_older_of_two_areas_goes_first(machine: MakeMachine, kind: str) -> None:
    booted = machine(16 * MIB, swap=4 * MIB)
    task = ready(booted, AREAS.format(kind=kind))
    assert frame_of(task, C) < frame_of(task, B)
    take(booted, 5)  # all have been used, and none lately when they are looked at again
    assert (out(task, B), out(task, C)) == ([0, 1, 2, 3, 4], [])
    take(booted, PAGES)
    assert (out(task, B), out(task, C)) == (list(range(PAGES)), [0, 1, 2, 3, 4])


def test_a_page_that_has_been_used_is_looked_at_again_after_all_others(machine: MakeMachine) -> None:
    booted = machine(16 * MIB, swap=4 * MIB)
    task = ready(booted, AREAS.format(kind="PRIVATE"))
    take(booted, 1)
    booted.kernel.frames.flags[:] &= ~PG_REFERENCED & 0xFF
    use(task, B + 0x3000)
    take(booted, 4)
    assert out(task, B) == [0, 1, 2, 4, 5]
    take(booted, 2 * PAGES - 6)
    assert (out(task, B), out(task, C)) == ([page for page in range(PAGES) if page != 3], list(range(PAGES)))


def test_an_active_page_becomes_inactive_behind_those_that_are(machine: MakeMachine) -> None:
    booted = machine(16 * MIB, swap=4 * MIB)
    task = ready(booted, AREAS.format(kind="PRIVATE"))
    take(booted, 1)
    frames = booted.kernel.frames
    frames.flags[frame_of(task, B + 0x1000)] |= PG_ACTIVE
    frames.deactivate(np.array([frame_of(task, B + 0x1000), frame_of(task, B + 0x2000)]))
    take(booted, 2)
    assert out(task, B) == [0, 2, 3]


def test_a_page_that_is_not_locked_any_more_comes_behind_the_others(machine: MakeMachine) -> None:
    booted = machine(16 * MIB, swap=4 * MIB)
    task = ready(booted, AREAS.format(kind="PRIVATE") + "@mlock b 8K; @munlock b 8K;")
    take(booted, 2 * PAGES - 2)
    assert (out(task, B), out(task, C)) == (list(range(2, PAGES)), list(range(PAGES)))


def test_what_was_given_up_first_goes_first(machine: MakeMachine) -> None:
    booted = machine(16 * MIB)
    task = ready(booted, AREAS.format(kind="PRIVATE") + "@madvise c 64K 8; @madvise b 32K 8;")
    assert shrink_lazyfree(booted.kernel.mm_context, 5) == 5
    assert (out(task, B), out(task, C)) == ([], [0, 1, 2, 3, 4])
    assert shrink_lazyfree(booted.kernel.mm_context, 15) == 15
    assert (out(task, B), out(task, C)) == ([0, 1, 2, 3], list(range(PAGES)))


def test_pages_that_have_arrived_in_swap_leave_in_their_order(machine: MakeMachine) -> None:
    booted = machine(16 * MIB, swap=4 * MIB)
    assert booted.kernel.swap_device is not None
    booted.kernel.swap_device.synchronous = False
    task = ready(booted, AREAS.format(kind="PRIVATE") + "@madvise b 64K 21; @madvise c 64K 21;")
    swap = booted.kernel.mm_context.swap
    assert swap.cached == 2 * PAGES
    booted.kernel.reclaim.shrink(5, "direct")
    slots = [slot_of(task.mm.tables.pte(place + (page << 12))) for place in (B, C) for page in range(PAGES)]
    assert [bool(swap.find(slot)) for slot in slots] == [False] * 5 + [True] * (2 * PAGES - 5)


def test_pages_of_files_go_in_the_order_in_which_they_were_read(machine: MakeMachine, tmp_path: Path) -> None:
    """The second file was read between two parts of the first."""
    for name, size in (("one", MIB), ("two", MIB + 1)):
        (tmp_path / name).write_bytes(b"x" * size)
    (tmp_path / "calls").write_bytes(Path(guests.path("calls")).read_bytes())
    (tmp_path / "calls").chmod(0o755)
    booted = machine(16 * MIB, root=str(tmp_path))
    script = (
        '@f = open "/one" 0; @d = mmap 2T 1M PROT_READ MAP_SHARED|MAP_FIXED f 0; @g = open "/two" 0;'
        "@e = mmap 3T 1M PROT_READ MAP_SHARED|MAP_FIXED g 0; @scan d 256K; @scan e 256K; @scan d+256K 256K; @pause"
    )
    booted.spawn("/calls", [script], in_guest=True)
    assert booted.run(timeout_s=30) == StopReason.IDLE
    frames = booted.kernel.frames
    files = [cache for cache in frames.page_caches if isinstance(cache, FilePages)]
    one, two = (next(file for file in files if file.size == size) for size in (MIB, MIB + 1))
    assert (len(one.clean), len(two.clean)) == (128, 64) and frames.reclaimer is not None
    only = np.zeros(frames.total, dtype=np.bool_)
    only[[file.find(page) or 0 for file in (one, two) for page in file.clean]] = True
    assert frames.reclaimer.mapped(128, only) == 128
    assert (len(one.clean), len(two.clean), min(one.clean)) == (64, 0, 64)
