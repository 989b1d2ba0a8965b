"""A few entries, frames and pages are handled one by one, and many as arrays: what is left is the same."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from emu.mm import pagecache, pagetable, rss
from emu.mm.frames import FrameAllocator
from emu.mm.pagecache import PageCache
from emu.mm.pageflags import FrameKind
from emu.mm.pagetable import RW, SPECIAL, UFFD_WP_BIT, P, PageTables
from emu.mm.sharecounts import ShareCounts
from emu.mm.swapcache import Swap
from emu.mm.swapops import GUARD_ENTRY, POISONED_ENTRY, UFFD_WP_ENTRY
from mmu.memory import PAGE_SHIFT, PAGE_SIZE, PhysicalMemory

PAGES = 80
#: The range lies under two entries of the PGD.
START = (1 << 39) - PAGES // 2 * PAGE_SIZE


class _Context:
    """What it shares with others."""

    def __init__(self, frames: FrameAllocator) -> None:
        self.swap = Swap(frames)


class _Mm:
    """The owner of counted memory."""

    def __init__(self) -> None:
        self.frames = FrameAllocator(PhysicalMemory(16 << 20), lambda frame: None, lambda frames: None)
        self.tables = PageTables(self.frames, ShareCounts())
        self.context = _Context(self.frames)
        self.rss_anon = self.rss_cache = self.rss_swap = 0
        self.payer: Callable[[], Any] | None = None

    def state(self) -> Any:
        frames = self.frames
        free = [frames.alloc(FrameKind.ANON) for _ in range(PAGES)]  # in the order in which they are taken
        return free, frames.counts.tolist(), frames.kinds.tolist(), frames.used, self.rss_anon, self.rss_cache


def _unmapped(seed: int) -> Any:
    """A range of pages, some of them mapped, some twice or by the zero page, is unmapped."""
    draw, mm, mapped = random.Random(seed), _Mm(), list[int]()
    for address in range(START, START + PAGES * PAGE_SIZE, PAGE_SIZE):
        how = draw.choice(("not", "new", "again", "zero", "guard", "poison", "protected"))
        if how == "not":
            continue
        slot = mm.tables.entry_slot_alloc(address, 1)
        if how == "zero":
            mm.frames.ram.qwords[slot] = mm.frames.zero_frame << PAGE_SHIFT | SPECIAL | P
            continue
        if how in ("guard", "poison"):
            mm.frames.ram.qwords[slot] = GUARD_ENTRY if how == "guard" else POISONED_ENTRY
            continue
        if how in ("new", "protected") or not mapped:
            mapped.append(rss.new_page(mm))
        else:
            mapped.append(draw.choice(mapped))
            mm.frames.get(mapped[-1])
            mm.rss_anon += 1
        protected = UFFD_WP_BIT if how == "protected" else RW
        mm.frames.ram.qwords[slot] = mapped[-1] << PAGE_SHIFT | P | protected
    left = []
    for low, high, markers in ((10, 50, False), (0, PAGES, True)):
        start, end = START + low * PAGE_SIZE, START + high * PAGE_SIZE
        keeps = None if markers else (UFFD_WP_BIT, UFFD_WP_ENTRY)
        for entries in mm.tables.clear_range(start, end, markers=markers, keeps=keeps, drops=POISONED_ENTRY):
            rss.put_pages(mm, entries)
        left.append([mm.tables.pte(address) for address in range(start, end, PAGE_SIZE)])
    assert not {GUARD_ENTRY, UFFD_WP_ENTRY} - set(left[0]) and set(left[0]) <= {0, GUARD_ENTRY, UFFD_WP_ENTRY}
    mm.tables.free_tables(START, START + PAGES * PAGE_SIZE)
    return left, *mm.state(), mm.tables.tables


@pytest.mark.parametrize("seed", range(10))
def test_a_range_is_unmapped(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    few = _unmapped(seed)
    monkeypatch.setattr(pagetable, "FEW", 0)
    assert few == _unmapped(seed)
    *_, anon, cached, tables = few
    assert (anon, cached) == (0, 0) and tables == {4: 1, 3: 0, 2: 0, 1: 0}


def _punched(seed: int) -> Any:
    """Parts of a file with a few pages go, then the file."""
    draw, mm, charged = random.Random(seed), _Mm(), list[int]()
    cache = PageCache(mm.frames, 1 << 40, charged.append)
    for index in draw.sample(range(500, 530), 12) + draw.sample(range(1 << 20), 3):
        cache.get_page(index)
    told = []
    for first, last in ((505, 514), (515, 516), (0, 520), (0, 1 << 52)):
        cache.punch(first, last)
        told.append((sorted(cache.pages()), cache.nr_pages, cache.nodes))
    return told, charged, mm.state()


@pytest.mark.parametrize("seed", range(10))
def test_pages_of_a_file_go(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    few = _punched(seed)
    monkeypatch.setattr(pagecache, "_FEW", 0)
    many = _punched(seed)
    assert few == many and few[0][-1] == ([], 0, 0)


@pytest.mark.parametrize("few", [0, 256])
def test_addresses_without_tables_are_passed_over(monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    """As far as the next entry of a table that is set, or the end."""
    monkeypatch.setattr(pagetable, "FEW", few)
    tables = _Mm().tables
    for address in (5 << 21, 3 << 30, 3 << 30 | 7 << 21, 9 << 39):
        tables.entry_slot_alloc(address, 1)
    found = [address for address, _, _ in tables.pte_tables(0x1000, 10 << 39)]
    assert found == [5 << 21, 3 << 30, 3 << 30 | 7 << 21, 9 << 39]
    assert [address for address, _, _ in tables.pte_tables(5 << 21, 3 << 30)] == [5 << 21]
    assert list(tables.pte_tables(6 << 21, (3 << 30) - 1)) == []
