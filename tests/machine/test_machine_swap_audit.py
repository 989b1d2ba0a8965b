"""The audit knows swap: each count that is falsified is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from emu.audit import audit
from emu.kernel.sched import StopReason
from emu.mm.address_space import AddressSpace
from emu.mm.pageflags import PG_SWAPCACHE
from emu.mm.swapcache import Swap
from emu.mm.swapfile import SwapArea
from emu.mm.swapops import swap_entry
from tests.booted import Booted, MakeMachine

PLACE = 0x2000_0000
#: Pages 0 and 1 lie in swap, in slots 1 and 2; page 2 is in memory and has slot 3 still; nothing is in page 3.
SCRIPT = (
    f"@p = mmap {PLACE} 16K RW PRIVATE|MAP_FIXED -1 0; @store p 1; @store p+4K 1; @store p+8K 1;"
    "@madvise p 16K 21; @load p+8K; @pause"
)


class Pages:
    """A process with pages in swap."""

    def __init__(self, booted: Booted) -> None:
        self.booted = booted
        self.mm: AddressSpace = booted.tasks[0].mm
        self.swap: Swap = self.mm.context.swap
        (self.area,) = self.swap.areas.active
        slot = self.mm.tables.entry_slot(PLACE, 1)
        assert slot is not None
        self.slot: int = slot

    @property
    def q(self) -> memoryview[int]:
        return self.booted.ram.qwords

    def cached(self) -> int:
        return int(self.area.frame[3])


@pytest.fixture
def pages(machine: MakeMachine) -> Iterator[Pages]:
    booted = machine(16 << 20, swap=1 << 20)
    assert booted.kernel.swap_device is not None
    booted.kernel.swap_device.synchronous = False
    booted.kernel.mm_context.swap.page_cluster = 0
    booted.guest("calls", SCRIPT)
    assert booted.run(timeout_s=30) == StopReason.IDLE
    pages = Pages(booted)
    assert audit(booted.kernel) == []
    assert pages.area.counts[1:4].tolist() == [1 | 1 << 30, 1 | 1 << 30, 1 << 30]
    yield pages
    assert audit(booted.kernel) == []


def _set(target: object, name: str, more: int) -> Callable[[], None]:
    before = getattr(target, name)
    setattr(target, name, before + more)
    return lambda: setattr(target, name, before)


def _poke(view: memoryview[int] | np.ndarray, at: int, value: int) -> Callable[[], None]:
    before = view[at]
    view[at] = value
    return lambda: view.__setitem__(at, before)


def test_one_use_too_many(pages: Pages) -> None:
    undo = _poke(pages.area.count, 1, pages.area.count[1] + 1)
    assert audit(pages.booted.kernel) == ["slot 1 of /dev/ram0 has 2 uses, and 1 were found"]
    undo()


def test_a_slot_that_is_lost(pages: Pages) -> None:
    undo = _poke(pages.area.count, 9, 1)
    assert audit(pages.booted.kernel) == [
        "slot 9 of /dev/ram0 has 1 uses, and 0 were found",
        "3 slots of /dev/ram0 are accounted for as used, and 4 are",
    ]
    undo()


def test_an_entry_that_nobody_counted(pages: Pages) -> None:
    undo = _poke(pages.q, pages.slot + 3, swap_entry(0, 1))
    assert audit(pages.booted.kernel) == [
        "calls accounts for 2 pages that lie in swap, and 3 do",
        "slot 1 of /dev/ram0 has 1 uses, and 2 were found",
    ]
    undo()


def test_an_entry_where_nothing_is_mapped(pages: Pages) -> None:
    undo = _poke(pages.q, pages.slot + 4, swap_entry(0, 1))
    assert f"calls: the PTE of {PLACE + 0x4000:#x} lies in swap, but no VMA covers it" in audit(pages.booted.kernel)
    undo()


def test_an_entry_of_an_area_that_is_none(pages: Pages) -> None:
    undo = _poke(pages.q, pages.slot + 3, swap_entry(1, 1))
    assert audit(pages.booted.kernel) == [
        f"calls: the PTE of {PLACE + 0x3000:#x} maps nothing and is no marker: {swap_entry(1, 1):#x}"
    ]
    undo()


def test_an_entry_behind_the_area(pages: Pages) -> None:
    undo = _poke(pages.q, pages.slot + 3, swap_entry(0, 256))
    assert audit(pages.booted.kernel) == [
        f"calls: the PTE of {PLACE + 0x3000:#x} maps nothing and is no marker: {swap_entry(0, 256):#x}"
    ]
    undo()


def test_a_page_that_forgets_its_slot(pages: Pages) -> None:
    frame = pages.cached()
    undo = _poke(
        pages.booted.kernel.frames.flags, frame, pages.booted.kernel.frames.flags[frame] & (0xFF - PG_SWAPCACHE)
    )
    told = audit(pages.booted.kernel)
    undo()
    assert f"frame {frame:#x} does not know the slot of /dev/ram0 that it is the page of" in told
    assert "2 frames say that they are in the swap cache, and 3 are" in told


def test_a_slot_that_forgets_its_page(pages: Pages) -> None:
    frame = pages.cached()
    undo = _poke(pages.area.frame, 3, 0)
    told = audit(pages.booted.kernel)
    undo()
    assert told == [
        "slot 3 of /dev/ram0 says otherwise than the swap cache whether a page has it",
        "3 pages are accounted for as in the swap cache, and 2 are",
        "3 frames say that they are in the swap cache, and 2 are",
        f"frame {frame:#x} (ANON) has 2 references, and 1 were found",
    ]


def test_figures(pages: Pages) -> None:
    area: SwapArea = pages.area
    for target, name, words in (
        (pages.mm, "rss_swap", "calls accounts for 3 pages that lie in swap, and 2 do"),
        (area, "in_use", "4 slots of /dev/ram0 are accounted for as used, and 3 are"),
        (pages.swap, "cached", "4 pages are accounted for as in the swap cache, and 3 are"),
    ):
        undo = _set(target, name, 1)
        assert audit(pages.booted.kernel) == [words]
        undo()
