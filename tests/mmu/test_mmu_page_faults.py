"""Accesses that the tables do not allow: a handler repairs them, or they are reported exactly."""

from __future__ import annotations

import pytest

from mmu import Access, BusError, GeneralProtection, PageFault
from mmu.hooks import PHYSMAP
from tests.mmu.guest import (
    ADD,
    CODE,
    CODE_PADDR,
    DATA,
    DATA_PADDR,
    JUMP,
    LOAD,
    OTHER,
    OTHER_PADDR,
    STORE,
    Guest,
)
from tests.mmu.tables import Tables

# ---- page faults that a handler resolves


def test_demand_paging(guest: Guest) -> None:
    asked: list[tuple[int, int]] = []

    def on_page_fault(fault: PageFault) -> bool:
        asked.append((fault.vaddr, fault.error_code))
        guest.ram.write_u64(OTHER_PADDR + 0x18, 1000)
        guest.tables.map_page(OTHER, OTHER_PADDR)
        return True

    guest.mmu.on_page_fault = on_page_fault
    guest.program(ADD, LOAD, LOAD)
    assert guest.run(rbx=OTHER + 0x18, rax=1) == 1001
    assert asked == [(OTHER, 2)], "the address within the page is not known inside a fill"
    assert guest.mmu.counters.page_faults == 1
    assert guest.mmu.take_failure() is None


def test_copy_on_write_within_the_fill(guest: Guest) -> None:
    """The handler gives another frame: the store goes there, and a read through the old translation does not follow."""
    guest.tables.map_page(DATA, DATA_PADDR, RW=0)
    guest.ram.write(DATA_PADDR, b"original")

    def on_page_fault(fault: PageFault) -> bool:
        assert (fault.vaddr, fault.error_code) == (DATA, 0x3)
        guest.ram.write(OTHER_PADDR, guest.ram.read(DATA_PADDR, 4096))
        guest.tables.map_page(DATA, OTHER_PADDR)
        guest.mmu.invlpg(DATA)
        return True

    guest.mmu.on_page_fault = on_page_fault
    guest.program(LOAD, ADD, LOAD)
    rax = guest.run(rbx=DATA)
    assert guest.ram.read(DATA_PADDR, 8) == b"original"
    assert guest.ram.read_u64(OTHER_PADDR) == rax == 2 * int.from_bytes(b"original", "little") % 2**64


def test_a_handler_may_load_another_cr3(guest: Guest) -> None:
    other = Tables(guest.ram, 0x80_0000)
    other.map_page(CODE, CODE_PADDR, RW=0)
    other.map_page(OTHER, OTHER_PADDR)
    guest.ram.write_u64(OTHER_PADDR, 77)

    def on_page_fault(_fault: PageFault) -> bool:
        guest.mmu.load_cr3(other.cr3)
        return True

    guest.mmu.on_page_fault = on_page_fault
    guest.program(LOAD)
    assert guest.run(rbx=OTHER) == 77
    assert guest.mmu.registers.cr3 == other.cr3


def test_demand_paged_code(guest: Guest) -> None:
    guest.program("90")
    guest.tables.unmap(CODE)
    asked: list[PageFault] = []

    def on_page_fault(fault: PageFault) -> bool:
        asked.append(fault)
        guest.tables.map_page(CODE, CODE_PADDR)
        return True

    guest.mmu.on_page_fault = on_page_fault
    guest.run()
    assert [(fault.vaddr, fault.error_code) for fault in asked] == [(CODE, 0x10)]


def test_a_handler_that_refuses(guest: Guest) -> None:
    """The access can be made again after a repair: nothing of the instruction has happened."""
    guest.mmu.on_page_fault = lambda fault: False
    guest.program("48ffc1", ADD, "48ffc2")  # inc rcx; add [rbx], rax; inc rdx
    fault, access = guest.fails(rbx=OTHER + 0x1F8, rax=9, rcx=0, rdx=0)
    assert isinstance(fault, PageFault)
    assert (fault.vaddr, fault.error_code, access) == (OTHER + 0x1F8, 2, Access.WRITE)
    assert (guest["rip"], guest["rcx"], guest["rdx"]) == (CODE + 3, 1, 0)
    guest.tables.map_page(OTHER, OTHER_PADDR)
    guest.run(guest["rip"])
    assert guest.ram.read_u64(OTHER_PADDR + 0x1F8) == 9
    assert (guest["rcx"], guest["rdx"]) == (1, 1)


def test_a_broken_handler(guest: Guest) -> None:
    """The handler says that the page is present, but it is not."""
    calls: list[int] = []

    def handler(fault: PageFault) -> bool:
        calls.append(fault.vaddr)
        return True

    guest.mmu.on_page_fault = handler
    guest.program(LOAD)
    with pytest.raises(RuntimeError, match="64 times that 0x7fffffff0000 is fixed, and it is not"):
        guest.run(rbx=OTHER)
    assert calls == [OTHER] * 64
    assert guest.mmu.take_failure() is None


class Broken(Exception):
    pass


def test_an_exception_in_the_handler(guest: Guest) -> None:
    def on_page_fault(fault: PageFault) -> bool:
        raise Broken(fault.vaddr)

    guest.mmu.on_page_fault = on_page_fault
    guest.program(LOAD)
    with pytest.raises(Broken) as caught:
        guest.run(rbx=OTHER)
    assert caught.value.args == (OTHER,)
    assert guest.mmu.take_failure() is None, "an exception is raised once"
    guest.run(rbx=DATA)


def test_an_exception_hides_an_older_failure(guest: Guest) -> None:
    guest.program(LOAD)
    guest.stops(rbx=OTHER)  # and nobody asks why

    def on_page_fault(fault: PageFault) -> bool:
        raise Broken

    guest.mmu.on_page_fault = on_page_fault
    with pytest.raises(Broken):
        guest.run(rbx=OTHER + 0x5000)
    assert guest.mmu.take_failure() is None, "what failed before is long gone"


def test_a_keyboard_interrupt_in_the_handler(guest: Guest) -> None:
    def on_page_fault(fault: PageFault) -> bool:
        raise KeyboardInterrupt

    guest.mmu.on_page_fault = on_page_fault
    guest.program(LOAD)
    with pytest.raises(KeyboardInterrupt):
        guest.run(rbx=OTHER)


# ---- accesses that nobody resolves


def test_no_failure_is_none(guest: Guest) -> None:
    assert guest.mmu.take_failure() is None
    guest.program(LOAD)
    guest.run(rbx=DATA)
    assert guest.mmu.take_failure() is None
    guest.fails(rbx=OTHER)
    assert guest.mmu.take_failure() is None, "a failure is taken once"


@pytest.mark.parametrize(
    ("instruction", "access", "code"), [(LOAD, Access.READ, 0x0), (STORE, Access.WRITE, 0x2), (ADD, Access.WRITE, 0x2)]
)
@pytest.mark.parametrize("offset", range(-7, 1))
def test_the_address_of_an_access_across_pages(
    guest: Guest, instruction: str, access: Access, code: int, offset: int
) -> None:
    """CR2 is the first byte that cannot be reached; nothing is written."""
    guest.program(instruction)
    fault, made = guest.fails(rbx=DATA + 0x1000 + offset, rax=0xFFFF_FFFF_FFFF_FFFF)
    assert isinstance(fault, PageFault)
    assert (fault.vaddr, fault.error_code, made) == (DATA + 0x1000, code, access)
    assert not any(guest.ram.read(DATA_PADDR, 0x2000))


@pytest.mark.parametrize("offset", range(-7, 0))
@pytest.mark.parametrize("instruction", [LOAD, STORE, ADD])
def test_the_first_page_of_two_is_missing(guest: Guest, instruction: str, offset: int) -> None:
    guest.program(instruction)
    fault, _ = guest.fails(rbx=DATA + offset, rax=0xFFFF_FFFF_FFFF_FFFF)
    assert fault.vaddr == DATA + offset
    assert not any(guest.ram.read(DATA_PADDR, 0x1000))


@pytest.mark.parametrize("offset", range(-7, 0))
def test_both_pages_on_demand(guest: Guest, offset: int) -> None:
    asked: list[int] = []

    def on_page_fault(fault: PageFault) -> bool:
        asked.append(fault.vaddr)
        guest.tables.map_page(fault.vaddr, OTHER_PADDR + (fault.vaddr & 0x1000))
        return True

    guest.mmu.on_page_fault = on_page_fault
    guest.program(STORE, LOAD)
    value = 0x1122_3344_5566_7788
    assert guest.run(rbx=OTHER + 0x1000 + offset, rax=value) == value
    assert sorted(asked) == [OTHER, OTHER + 0x1000]
    assert guest.ram.read(OTHER_PADDR + 0x1000 + offset, 8) == value.to_bytes(8, "little")


@pytest.mark.parametrize(
    "vaddr", [1 << 47, 0x1234_5678_9ABC_DEF0, 1 << 63, PHYSMAP + DATA_PADDR, 0xFFFF_7FFF_FFFF_FFF0]
)
@pytest.mark.parametrize(("instruction", "access"), [(LOAD, Access.READ), (STORE, Access.WRITE), (JUMP, Access.FETCH)])
def test_addresses_that_are_not_canonical(guest: Guest, vaddr: int, instruction: str, access: Access) -> None:
    """No handler is asked, and not even the MMU's own window on physical memory can be seen."""
    guest.mmu.on_page_fault = lambda fault: pytest.fail("#GP is no page fault")
    guest.program(instruction)
    fault, made = guest.fails(rbx=vaddr)
    assert isinstance(fault, GeneralProtection)
    assert (fault.vaddr, made) == (vaddr, access)


def test_an_access_into_the_gap(guest: Guest) -> None:
    guest.tables.map_page((1 << 47) - 0x1000, OTHER_PADDR)
    guest.program(LOAD)
    fault, _ = guest.fails(rbx=(1 << 47) - 3)
    assert isinstance(fault, GeneralProtection) and fault.vaddr == 1 << 47


@pytest.mark.parametrize("instruction", [LOAD, STORE, JUMP])
def test_a_frame_outside_memory(guest: Guest, instruction: str) -> None:
    guest.mmu.on_page_fault = lambda fault: pytest.fail("a bus error is no page fault")
    guest.tables.map_page(OTHER, guest.ram.size)
    guest.program(instruction)
    guest.stops(rbx=OTHER + 8)
    with pytest.raises(BusError, match="0x7fffffff0000 outside physical memory of 0x1000000 bytes"):
        guest.mmu.take_failure()
    guest.program(LOAD)
    guest.run(rbx=DATA)


@pytest.mark.parametrize("level", [3, 2, 1])
def test_a_table_outside_memory(guest: Guest, level: int) -> None:
    guest.tables.map_page(OTHER, OTHER_PADDR)
    guest.ram.write_u64(guest.tables.slot(OTHER, level + 1), guest.ram.size | 7)
    guest.program(LOAD)
    guest.stops(rbx=OTHER)
    with pytest.raises(BusError):
        guest.mmu.take_failure()
