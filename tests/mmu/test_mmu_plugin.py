"""Mmu on a bare Uc: attaching, TLB fills, and the rights that the guest gets."""

from __future__ import annotations

import gc
import weakref

import pytest
from unicorn import UC_ARCH_X86, UC_MODE_64, Uc

from mmu import CR0, Access, EventKind, Mmu, PageFault, PhysicalMemory, Registers
from mmu.native import reference_mode
from mmu.presets import UnknownPreset
from mmu.registers import CR0_LONG_MODE, EFER_LONG_MODE
from tests.mmu.guest import (
    ADD,
    CODE,
    CODE_PADDR,
    DATA,
    DATA_PADDR,
    HLT,
    JUMP,
    LOAD,
    OTHER,
    OTHER_PADDR,
    STORE,
    Guest,
)

A, D = 1 << 5, 1 << 6


# ---- attaching


def test_the_code_is_what_the_environment_asks_for(guest: Guest) -> None:
    assert guest.mmu.code == ("reference" if reference_mode() else "native")
    assert guest.mmu.mode == "filtered"


def test_a_tlb_model_that_is_not_there_is_refused() -> None:
    with pytest.raises(UnknownPreset, match="no TLB preset 'pentium-ii'; there are textbook"):
        Mmu(Uc(UC_ARCH_X86, UC_MODE_64), PhysicalMemory(4096), tlb="pentium-ii")


@pytest.mark.parametrize("capacity", [0, 1, 16, 32, 100, -64])
def test_refused_ring_capacities(capacity: int) -> None:
    with pytest.raises(ValueError, match="power of two above 32"):
        Guest(ring_capacity=capacity)


def test_two_engines_do_not_mix() -> None:
    one, two = Guest(), Guest()
    for number, guest in enumerate((one, two), 1):
        guest.tables.map_page(DATA, DATA_PADDR)
        guest.ram.write_u64(DATA_PADDR, number)
        guest.program(LOAD)
    assert (one.run(rbx=DATA), two.run(rbx=DATA)) == (1, 2)
    assert one.mmu.counters == two.mmu.counters


def test_a_terabyte_of_ram_less_half() -> None:
    """The largest memory: the last page is as near as the first."""
    guest = Guest(512 << 30)
    guest.tables.map_page(DATA, (512 << 30) - 4096)
    guest.program(STORE, LOAD)
    assert guest.run(rbx=DATA + 8, rax=7) == 7
    assert guest.ram.read_u64((512 << 30) - 4088) == 7


def test_the_engine_keeps_its_mmu() -> None:
    """As with every hook of a Uc, the caller need not keep a reference."""
    guest = Guest()
    guest.tables.map_page(DATA, DATA_PADDR)
    guest.program(LOAD)
    guest.ram.write_u64(DATA_PADDR, 5)
    alive = weakref.ref(guest.mmu)
    del guest.mmu
    gc.collect()
    assert alive() is not None, "the hook would run into freed memory"
    assert guest.run(rbx=DATA) == 5


def test_both_go_when_nobody_needs_them() -> None:
    guest = Guest()
    engine, mmu = weakref.ref(guest.uc), weakref.ref(guest.mmu)
    del guest
    gc.collect()
    assert (engine(), mmu()) == (None, None)


def test_the_usual_end_of_a_script(guest: Guest) -> None:
    """``until`` may be an address, if it is mapped."""
    guest.program(LOAD, "48ffc0", "48ffc0")  # inc rax; inc rax
    guest["rbx"] = DATA
    guest.uc.emu_start(CODE, CODE + 6)
    assert (guest["rax"], guest["rip"]) == (1, CODE + 6)
    assert guest.mmu.take_failure() is None


# ---- fills


def test_loads_and_stores_go_through_the_tables(guest: Guest) -> None:
    guest.program(LOAD, ADD)
    guest.ram.write_u64(DATA_PADDR + 0x18, 21)
    assert guest.run(rbx=DATA + 0x18) == 21
    assert guest.ram.read_u64(DATA_PADDR + 0x18) == 42


@pytest.mark.parametrize(("level", "paddr"), [(1, 0x20_0000), (2, 0x20_0000), (3, 0)])
def test_every_page_size(level: int, paddr: int) -> None:
    guest = Guest()
    far = (8 << 20) + 0x3000 if level == 3 else (1 << (3 + 9 * level)) - 0x1000
    guest.tables.map_page(0x40_0000_0000, paddr, level)
    guest.ram.write_u64(paddr + far + 8, 99)
    guest.program(LOAD)
    assert guest.run(rbx=0x40_0000_0000 + far + 8) == 99


def test_a_page_is_filled_once(guest: Guest) -> None:
    guest.program(*[LOAD] * 10)
    guest.run(rbx=DATA)
    first = guest.mmu.counters
    assert (first.fills, first.walks, first.page_faults) == (2, 2, 0)
    assert first.walk_loads == 2 * 4
    guest.run(rbx=DATA + 0x123)
    assert guest.mmu.counters == first


def test_a_read_grants_no_write_until_dirty(guest: Guest) -> None:
    slot = guest.tables.slot(DATA)
    guest.program(LOAD)
    guest.run(rbx=DATA)
    before = guest.mmu.counters.fills
    assert guest.ram.read_u64(slot) & (A | D) == A
    guest.program(STORE)
    guest.run(rbx=DATA)
    guest.run(rbx=DATA)
    assert guest.ram.read_u64(slot) & (A | D) == A | D
    assert guest.mmu.counters.fills - before == 2  # the new code, and the upgrade of the data page


def test_a_read_of_a_dirty_page_grants_write(guest: Guest) -> None:
    guest.tables.map_page(DATA, DATA_PADDR, D=1)
    guest.program(LOAD, STORE, ADD)
    guest.run(rbx=DATA)
    assert guest.mmu.counters.fills == 2


def test_a_read_modify_write_is_one_fill(guest: Guest) -> None:
    """Unicorn asks for the read first; the answer is that of the write, with D set."""
    guest.program(ADD)
    guest.mmu.events.enable(EventKind.FILL)
    guest.run(rbx=DATA, rax=1)
    assert guest.mmu.events.drain()[["vaddr", "access"]].tolist() == [(CODE, 2), (DATA, 1)]
    assert guest.ram.read_u64(guest.tables.slot(DATA)) & D


def test_accessed_and_dirty_are_counted(guest: Guest) -> None:
    guest.tables.map_page(CODE, CODE_PADDR)
    guest.program(STORE)
    guest.run(rbx=DATA)
    # A: PML4E, PDPTE, one PDE for the code and one for the data, the data's PTE (with D); the code's PTE has A
    assert guest.mmu.counters.ad_updates == 5
    assert all(guest.ram.read_u64(guest.tables.slot(DATA, level)) & A for level in (4, 3, 2, 1))


def test_zero_dirty_bits_stay_zero_where_nothing_is_written(guest: Guest) -> None:
    guest.program(LOAD)
    guest.run(rbx=DATA)
    assert not any(guest.ram.read_u64(guest.tables.slot(vaddr)) & D for vaddr in (CODE, DATA))


# ---- rights


def test_a_write_to_a_read_only_page(guest: Guest) -> None:
    guest.tables.map_page(DATA, DATA_PADDR, RW=0)
    guest.program(LOAD, STORE)
    fault, access = guest.fails(rbx=DATA + 0x10)
    assert isinstance(fault, PageFault)
    assert (fault.vaddr, fault.error_code, access) == (DATA + 0x10, 0x3, Access.WRITE)
    assert guest["rip"] == CODE + len(bytes.fromhex(LOAD))


def test_without_wp_a_supervisor_writes_anywhere(guest: Guest) -> None:
    guest.tables.map_page(DATA, DATA_PADDR, RW=0)
    guest.mmu.registers = Registers(cr3=guest.tables.cr3, cr0=CR0_LONG_MODE & ~CR0.WP, cpl=0)
    guest.program(STORE)
    guest.run(rbx=DATA, rax=3)
    assert guest.ram.read_u64(DATA_PADDR) == 3


def test_a_user_is_kept_out_of_supervisor_pages(guest: Guest) -> None:
    guest.tables.map_page(OTHER, OTHER_PADDR, US=0)
    guest.program(LOAD)
    guest.mmu.registers = Registers(cr3=guest.tables.cr3, cpl=3)
    guest.run(rbx=DATA)
    fault, access = guest.fails(rbx=OTHER)
    assert isinstance(fault, PageFault)
    assert (fault.vaddr, fault.error_code, access) == (OTHER, 0x5, Access.READ)
    guest.mmu.registers = Registers(cr3=guest.tables.cr3, cpl=0)
    guest.run(rbx=OTHER)


def test_execute_disable(guest: Guest) -> None:
    guest.tables.map_page(DATA, DATA_PADDR, XD=1)
    guest.ram.write(DATA_PADDR + 0x20, bytes.fromhex(HLT))
    guest.program(LOAD, JUMP)
    fault, access = guest.fails(rbx=DATA + 0x20)
    assert isinstance(fault, PageFault)
    assert (fault.vaddr, fault.error_code, access, fault.access) == (DATA + 0x20, 0x11, Access.FETCH, Access.FETCH)
    assert guest["rip"] == DATA + 0x20
    guest.tables.map_page(DATA, DATA_PADDR, XD=0)
    guest.mmu.invlpg(DATA)
    guest.run(rbx=DATA + 0x20)


def test_a_reserved_bit(guest: Guest) -> None:
    guest.ram.write_u64(guest.tables.slot(DATA), DATA_PADDR | 7 | 1 << 50)
    guest.program(STORE)
    fault, _ = guest.fails(rbx=DATA)
    assert isinstance(fault, PageFault) and fault.error_code == 0xB


def test_the_registers_are_what_was_set(guest: Guest) -> None:
    registers = Registers(cr3=guest.tables.cr3, cr0=CR0_LONG_MODE & ~CR0.WP, efer=EFER_LONG_MODE, cpl=3, maxphyaddr=40)
    before = guest.mmu.counters.flushes
    guest.mmu.registers = registers
    assert guest.mmu.registers == registers
    assert guest.mmu.counters.flushes == before + 1
