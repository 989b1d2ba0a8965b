"""Invalidations: what the guest sees after its tables have changed, without an invalidation and with one."""

from __future__ import annotations

import pytest

from tests.mmu.guest import (
    ADD,
    CODE,
    CODE_PADDR,
    DATA,
    DATA_PADDR,
    LOAD,
    LOAD_OTHER,
    OTHER,
    OTHER_PADDR,
    STORE,
    Guest,
)
from tests.mmu.tables import Tables


@pytest.fixture
def remapped(guest: Guest) -> Guest:
    """DATA and OTHER have been read; then both entries were changed to map other frames, without a flush."""
    guest.tables.map_page(OTHER, OTHER_PADDR)
    for number in range(4):
        guest.ram.write_u64(DATA_PADDR + 0x1000 * number, number)
        guest.ram.write_u64(OTHER_PADDR + 0x1000 * number, 0x10 + number)
    guest.program(LOAD, LOAD_OTHER)
    assert read_both(guest) == (0, 0x10)
    guest.tables.map_page(DATA, DATA_PADDR + 0x1000)
    guest.tables.map_page(OTHER, OTHER_PADDR + 0x1000)
    assert read_both(guest) == (0, 0x10), "as on hardware: the TLB still holds the old translations"
    return guest


def read_both(guest: Guest) -> tuple[int, int]:
    return guest.run(rbx=DATA, rdx=OTHER), guest["rcx"]


def test_invlpg_is_for_one_page(remapped: Guest) -> None:
    remapped.mmu.invlpg(DATA + 0x7FF)
    assert read_both(remapped) == (1, 0x10)
    remapped.mmu.invlpg(OTHER)
    assert read_both(remapped) == (1, 0x11)
    assert remapped.mmu.counters.flushes == 2


def test_flush_is_for_all(remapped: Guest) -> None:
    remapped.mmu.flush()
    assert read_both(remapped) == (1, 0x11)
    assert remapped.mmu.counters.flushes == 1


def test_load_cr3_invalidates(remapped: Guest) -> None:
    loads = remapped.mmu.counters.cr3_loads
    remapped.mmu.load_cr3(remapped.tables.cr3)
    assert read_both(remapped) == (1, 0x11)
    assert (remapped.mmu.counters.cr3_loads, remapped.mmu.counters.flushes) == (loads + 1, 0)


def test_assigning_registers_invalidates(remapped: Guest) -> None:
    remapped.mmu.registers = remapped.mmu.registers
    assert read_both(remapped) == (1, 0x11)


@pytest.mark.parametrize(
    ("start", "length", "seen"),
    [
        (DATA, 0x1000, (1, 0x10)),
        (DATA - 0x1000, 0x3000, (1, 0x10)),
        (DATA - 0x1000, 0x1000, (0, 0x10)),
        (DATA + 0x1000, 0x1000, (0, 0x10)),
        (DATA - 1, 2, (1, 0x10)),  # two pages, though it is two bytes
        (DATA - 0x1FFF, 0x2000, (1, 0x10)),
        (DATA + 0xFFF, 1, (1, 0x10)),
        (DATA - 32 * 0x1000, 33 * 0x1000, (1, None)),
        (OTHER, 0x1000, (0, 0x11)),
        (0, 1 << 47, (1, 0x11)),
    ],
)
def test_flush_range(remapped: Guest, start: int, length: int, seen: tuple[int, int | None]) -> None:
    remapped.mmu.flush_range(start, length)
    one, two = read_both(remapped)
    assert one == seen[0]
    assert seen[1] is None or two == seen[1], "more than was asked for may go with a large range only"


def test_invlpg_of_a_large_page(guest: Guest) -> None:
    """INVLPG invalidates the page that holds the address, whatever its size (SDM vol. 2, INVLPG)."""
    large = 0x4000_0000
    guest.tables.map_page(large, 0x20_0000, level=2)
    guest.ram.write_u64(0x20_0000, 1)
    guest.ram.write_u64(0x60_0000, 2)
    guest.program(LOAD)
    assert guest.run(rbx=large) == 1
    guest.tables.map_page(large, 0x60_0000, level=2)
    guest.mmu.invlpg(large + 0x12_3456)
    assert guest.run(rbx=large) == 2


def test_a_stale_right_is_refused_after_invlpg(guest: Guest) -> None:
    guest.program(STORE)
    guest.run(rbx=DATA, rax=1)
    guest.tables.map_page(DATA, DATA_PADDR, RW=0)
    guest.run(rbx=DATA, rax=2)
    assert guest.ram.read_u64(DATA_PADDR) == 2
    guest.mmu.invlpg(DATA)
    assert guest.fails(rbx=DATA, rax=3)[0].vaddr == DATA
    assert guest.ram.read_u64(DATA_PADDR) == 2


def test_more_rights_need_no_flush(guest: Guest) -> None:
    """An access that the TLB's entry does not allow walks again (SDM vol. 3, 4.10.4.3)."""
    guest.tables.map_page(DATA, DATA_PADDR, RW=0)
    guest.program(LOAD, STORE)
    guest.fails(rbx=DATA)
    guest.tables.map_page(DATA, DATA_PADDR, RW=1)
    guest.ram.write_u64(DATA_PADDR, 5)
    assert guest.run(rbx=DATA) == 5, "the load and the store were done"


def test_address_spaces(guest: Guest) -> None:
    other = Tables(guest.ram, 0x80_0000)
    other.map_page(CODE, CODE_PADDR, RW=0)
    other.map_page(DATA, OTHER_PADDR)
    guest.ram.write_u64(DATA_PADDR, 1)
    guest.ram.write_u64(OTHER_PADDR, 2)
    guest.program(LOAD, ADD)
    seen = []
    for _ in range(3):
        for cr3 in (guest.tables.cr3, other.cr3):
            guest.mmu.load_cr3(cr3)
            seen.append(guest.run(rbx=DATA))
    assert seen == [1, 2, 2, 4, 4, 8]
