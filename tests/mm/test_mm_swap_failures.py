"""Memory that is missing on the way: nothing is lost, and nothing leaks."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from emu.audit import audit
from emu.kernel.sched import StopReason
from emu.linux.errors import LinuxError
from emu.mm.frames import FrameAllocator
from emu.mm.pageflags import FrameKind
from tests.booted import MIB, Booted, MakeMachine

PLACE = 0x2000_0000
SETUP = (
    f"@p = mmap {PLACE} 64K RW PRIVATE|MAP_FIXED -1 0; @touch p 64K;"
    f"@s = mmap {PLACE + MIB} 64K RW ANON|MAP_FIXED -1 0; @touch s 64K;"
    "@madvise p 64K 21; @madvise s 64K 21; @fork c; @store p 1; @pause; end; @sched_yield; @pause"
)


@contextmanager
def failing(frames: FrameAllocator, at: int) -> Iterator[list[int]]:
    """The allocation with this number finds no frame; yields how many there were."""
    counted, plain = [0], frames.alloc

    def alloc(kind: FrameKind, *rest: object) -> int:
        counted[0] += 1
        if counted[0] == at:
            raise LinuxError(errno.ENOMEM)
        return plain(kind, *rest)  # type: ignore[arg-type]

    vars(frames)["alloc"] = alloc
    try:
        yield counted
    finally:
        del vars(frames)["alloc"]


def swapped(machine: MakeMachine, *, synchronous: bool) -> Booted:
    booted = machine(16 * MIB, swap=MIB)
    assert booted.kernel.swap_device is not None
    booted.kernel.swap_device.synchronous = synchronous
    booted.guest("calls", SETUP)
    assert booted.run(timeout_s=30) == StopReason.IDLE
    assert booted.tasks[0].mm.rss_swap == 16
    return booted


@pytest.mark.parametrize("synchronous", [True, False])
@pytest.mark.parametrize("page", [0, 3, 256, 259])
def test_faults(machine: MakeMachine, page: int, synchronous: bool) -> None:
    """Each allocation of a fault fails once: the fault is resolved by the second attempt, or not at all."""
    from mmu.registers import Access

    for access in (Access.READ, Access.WRITE):
        at = 1
        while True:
            booted = swapped(machine, synchronous=synchronous)
            mm = booted.tasks[0].mm
            with failing(booted.kernel.frames, at) as counted:
                mm.handle_fault(PLACE + (page << 12), access)
            assert audit(booted.kernel) == []
            content = mm.read(PLACE + (page << 12), 1)
            assert content == b"\x01"
            assert audit(booted.kernel) == []
            booted.kill_all()
            if counted[0] < at:
                break
            at += 1


@pytest.mark.parametrize("synchronous", [True, False])
def test_swapoff_that_has_no_room(machine: MakeMachine, synchronous: bool) -> None:
    from emu.mm.swapoff import try_to_unuse

    booted = swapped(machine, synchronous=synchronous)
    context = booted.kernel.mm_context
    (area,) = context.swap.areas.active
    at, failures = 1, 0
    while True:
        area.closing = True
        with failing(booted.kernel.frames, at) as counted:
            try:
                try_to_unuse(context, area)
            except LinuxError as error:
                assert error.errno == errno.ENOMEM
                failures += 1
        area.closing = False
        assert audit(booted.kernel) == []
        if counted[0] < at:
            break
        at = 2  # the next time one page comes back
    assert area.in_use == 0 and failures >= (20 if synchronous else 0)
    mm = booted.tasks[0].mm
    assert all(mm.read(PLACE + (n << 12), 1) == b"\x01" for n in range(16))


def test_reading_ahead_without_memory(machine: MakeMachine) -> None:
    booted = swapped(machine, synchronous=False)
    booted.kernel.reclaim.shrink(200, "direct")
    swap, mm = booted.kernel.mm_context.swap, booted.tasks[0].mm
    assert not swap.cached
    with failing(booted.kernel.frames, 2):
        mm.read(PLACE + 0x5000, 1)
    assert audit(booted.kernel) == []
    assert swap.events["swap_ra"] >= 1


def test_a_fork_of_what_lies_in_swap(machine: MakeMachine) -> None:
    from emu.mm.fork import dup_mm

    booted = swapped(machine, synchronous=True)
    parent, at = booted.tasks[0].mm, 1
    while True:
        with failing(booted.kernel.frames, at) as counted:
            try:
                child = dup_mm(parent, "child")
            except LinuxError:
                assert audit(booted.kernel) == []
                at += 1
                continue
        break
    assert counted[0] < at and child.rss_swap == parent.rss_swap == 16
    child.put()
    assert audit(booted.kernel) == []
