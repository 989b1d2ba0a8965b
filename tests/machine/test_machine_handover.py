"""Memory that is handed over to another address space: whole tables and single entries, and nothing of it is lost."""

from __future__ import annotations

import random

import pytest

from emu.linux.errors import LinuxError
from emu.linux.mman import MapFlags, Prot
from emu.mm.address_space import AddressSpace
from emu.mm.flags import FaultResult
from emu.mm.handover import hand_over
from emu.mm.mmap import do_mmap
from mmu import Access
from mmu.memory import PAGE_SIZE
from tests.booted import GIB, MIB, Booted, MakeMachine
from tests.exhaustive import by_default

RW = Prot.READ | Prot.WRITE
FIXED = MapFlags.ANONYMOUS | MapFlags.FIXED | MapFlags.NORESERVE
BASE = 1 << 41


def entries(mm: AddressSpace) -> dict[int, int]:
    """Every entry of every PTE table, by address."""
    words = mm.tables.words
    return {
        vaddr + (i << 12): int(words[slot + i])
        for vaddr, slot, number in mm.tables.pte_tables(0, 1 << 47)
        for i in range(number)
        if words[slot + i]
    }


def two(booted: Booted) -> tuple[AddressSpace, AddressSpace]:
    context = booted.kernel.mm_context
    return AddressSpace(context, "source"), AddressSpace(context, "target", shared_tables=True)


def map_at(mm: AddressSpace, start: int, length: int, kind: MapFlags = MapFlags.PRIVATE, prot: Prot = RW) -> None:
    do_mmap(mm, start, length, prot, FIXED | kind | MapFlags.POPULATE)


@pytest.mark.parametrize("seed", range(by_default(4, 8)))
def test_every_entry_is_found_at_the_same_address(machine: MakeMachine, seed: int) -> None:
    rng = random.Random(seed)
    booted = machine(256 * MIB)
    source, target = two(booted)
    at = BASE
    for _ in range(rng.randrange(1, 6)):
        at += rng.choice((0, PAGE_SIZE, 3 * MIB, 2 * MIB - at % (2 * MIB), 512 * MIB))
        pages = rng.choice((1, 511, 512, 1024, 1500, 3000))
        kind = rng.choice((MapFlags.PRIVATE, MapFlags.SHARED))
        map_at(source, at, pages * PAGE_SIZE, kind, rng.choice((RW, Prot.READ, RW)))
        at += pages * PAGE_SIZE
    map_at(source, at, 5 * PAGE_SIZE)  # stays
    stays = source.vmas.find(at)
    moving = [vma for vma in source.vmas if vma is not stays and vma.start < at]
    if stays is not None and stays.start < at:  # it has become one with its neighbour
        moving = []
    before, resident = entries(source), (source.rss_anon, source.rss_cache)
    hand_over(source, target, moving)
    moved = entries(target)
    assert {**entries(source), **moved} == before and not set(entries(source)) & set(moved)
    assert set(moved) == {a for a in before if any(vma.start <= a < vma.end for vma in target.vmas)}
    assert (source.rss_anon + target.rss_anon, source.rss_cache + target.rss_cache) == resident
    assert booted.audit() == []
    for mm in (source, target):
        mm.put()


@pytest.mark.parametrize("kind", [MapFlags.PRIVATE, MapFlags.SHARED])
def test_whole_tables_change_hands(machine: MakeMachine, kind: MapFlags) -> None:
    booted = machine()
    source, target = two(booted)
    do_mmap(source, BASE, GIB + 4 * MIB + PAGE_SIZE, RW, FIXED | kind)
    for at in range(BASE, BASE + GIB + 4 * MIB + 1, 2 * MIB):  # a page of each table
        assert source.handle_fault(at, Access.WRITE) == FaultResult.MINOR
    pmd, pte, last = (source.tables.entry_slot(at, level) for at, level in ((BASE, 2), (BASE, 1), (BASE + GIB, 1)))
    free = booted.kernel.frames.free
    hand_over(source, target, list(source.vmas))
    found = [target.tables.entry_slot(at, level) for at, level in ((BASE, 2), (BASE, 1), (BASE + GIB, 1))]
    assert found == [pmd, pte, last], "the very same tables"
    assert target.tables.tables == {4: 1, 3: 1, 2: 2, 1: 515} and source.tables.tables == {4: 1, 3: 0, 2: 0, 1: 0}
    assert booted.kernel.frames.free == free, "a PUD, a PMD and a PTE table are new, and the old ones are free"
    assert booted.audit() == []
    for mm in (source, target):
        mm.put()


def test_nothing_happens_without_memory_for_tables(machine: MakeMachine) -> None:
    booted = machine()
    source, target = two(booted)
    map_at(source, BASE + PAGE_SIZE, 3 * PAGE_SIZE)
    before = entries(source)
    for left in range(3):
        booted.take_frames(left)
        with pytest.raises(LinuxError):
            hand_over(source, target, list(source.vmas))
        booted.give_back_frames()
        assert entries(source) == before and len(source.vmas) == 1 and entries(target) == {} and booted.audit() == []
        target.tables.free_tables(0, 1 << 47)
    for mm in (source, target):
        mm.put()


def test_a_kept_mapping_beside_it_stays_where_it_is(machine: MakeMachine) -> None:
    booted = machine()
    source, target = two(booted)
    map_at(source, BASE, 2 * MIB)
    map_at(source, BASE + 2 * MIB, PAGE_SIZE, MapFlags.SHARED)
    first, second = source.vmas
    hand_over(source, target, [first])
    assert list(source.vmas) == [second] and list(entries(source)) == [BASE + 2 * MIB]
    assert source.tables.tables[1] == target.tables.tables[1] == 1
    assert booted.audit() == []
    for mm in (source, target):
        mm.put()
