"""Where mappings go: in the highest gap, however many there are."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from emu.linux.errors import LinuxError
from emu.linux.mman import MapFlags, Prot
from emu.mm import unmapped_area
from emu.mm.address_space import AddressSpace
from emu.mm.mmap import do_mmap, do_munmap
from emu.mm.mprotect import do_mprotect
from emu.mm.mremap import MREMAP_MAYMOVE, do_mremap
from emu.mm.vma import MMAP_MIN_ADDR, Vma, vm_start_gap
from mmu.memory import PAGE_SIZE
from tests.booted import MIB, MakeMachine
from tests.exhaustive import by_default

NONE, RW = Prot.NONE, Prot.READ | Prot.WRITE
ANONYMOUS = MapFlags.PRIVATE | MapFlags.ANONYMOUS


@pytest.fixture
def mm(machine: MakeMachine) -> Iterator[AddressSpace]:
    booted = machine(64 * MIB)
    made = AddressSpace(booted.kernel.mm_context, "gaps")
    yield made
    made.put()


def highest_gap(mm: AddressSpace, length: int) -> int:
    """By looking through all."""
    high = mm.mmap_base
    for vma in reversed(list(mm.vmas)):
        if vma.start < mm.mmap_base and high - length >= max(vma.end, MMAP_MIN_ADDR):
            break
        high = min(high, vm_start_gap(vma))
    return high - length


@pytest.mark.parametrize("seed", range(by_default(3, 6)))
def test_it_is_the_highest_that_has_room(mm: AddressSpace, seed: int) -> None:
    random = Random(seed)
    for _ in range(400):
        vma = random.choice(list(mm.vmas)) if len(mm.vmas) else None
        pages = random.choice([1, 1, 2, 3, 7, 20])
        what = random.choice(["map", "map", "map", "unmap", "protect", "remap", "downwards"])
        if what == "map" or vma is None:
            wanted = highest_gap(mm, pages * PAGE_SIZE)
            assert do_mmap(mm, 0, pages * PAGE_SIZE, random.choice([NONE, RW]), ANONYMOUS) == wanted
            continue
        inside = vma.start + random.randrange(vma.length // PAGE_SIZE) * PAGE_SIZE
        try:
            if what == "unmap":
                do_munmap(mm, inside, pages * PAGE_SIZE)
            elif what == "protect":
                do_mprotect(mm, inside, PAGE_SIZE, random.choice([NONE, RW]))
            elif what == "remap":
                do_mremap(mm, vma.start, vma.length, pages * PAGE_SIZE, MREMAP_MAYMOVE, 0)
            else:
                flags = ANONYMOUS | MapFlags.GROWSDOWN | MapFlags.FIXED_NOREPLACE
                do_mmap(mm, vma.end + random.randrange(400) * PAGE_SIZE, PAGE_SIZE, RW, flags)
        except LinuxError:
            continue


def test_many_mappings_do_not_look_through_each_other(mm: AddressSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Vma] = []

    def noted(vma: Vma) -> int:
        seen.append(vma)
        return vm_start_gap(vma)

    monkeypatch.setattr(unmapped_area, "vm_start_gap", noted)
    for number in range(1000):
        do_mmap(mm, 0, (1 + number % 3) * PAGE_SIZE, RW if number % 2 else NONE, ANONYMOUS)
    assert len(mm.vmas) == 1000
    assert len(seen) < 20_000
    for number in range(1000):
        do_munmap(mm, do_mmap(mm, 0, (1 + number % 3) * PAGE_SIZE, RW, ANONYMOUS), PAGE_SIZE)
    assert len(seen) < 40_000
