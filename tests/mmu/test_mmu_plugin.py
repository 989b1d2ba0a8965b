"""Mmu on a bare Uc: what the guest sees of its page tables, and what becomes of an access that they do not allow."""

from __future__ import annotations

import gc
import weakref

import pytest
from unicorn import UC_ARCH_X86, UC_MODE_64, Uc, UcError

from mmu import CR0, Access, BusError, GeneralProtection, Mmu, PageFault, PhysicalMemory, Registers
from mmu.hooks import PHYSMAP
from mmu.native import reference_mode
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
    LOAD_OTHER,
    OTHER,
    OTHER_PADDR,
    STORE,
    Guest,
)
from tests.mmu.tables import Tables

A, D = 1 << 5, 1 << 6


def raises_at_the_end(guest: Guest, **registers: int) -> None:
    with pytest.raises(UcError):
        guest.run(**registers)


# ---- attaching


def test_the_mode_is_what_the_environment_asks_for(guest: Guest) -> None:
    assert guest.mmu.mode == ("reference" if reference_mode() else "native")


def test_a_tlb_model_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="'skylake-sp' is not built yet"):
        Mmu(Uc(UC_ARCH_X86, UC_MODE_64), PhysicalMemory(4096), tlb="skylake-sp")


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
    """As with every hook of a Uc: nobody else has to hold it."""
    guest = Guest()
    guest.tables.map_page(DATA, DATA_PADDR)
    guest.program(LOAD)
    guest.ram.write_u64(DATA_PADDR, 5)
    alive = weakref.ref(guest.mmu)
    del guest.mmu
    gc.collect()
    assert alive() is not None, "the hook would run into freed memory"
    assert guest.run(rbx=DATA) == 5


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


def test_a_read_modify_write_asks_twice(guest: Guest) -> None:
    """Unicorn asks for the read, then for the write; the second sets D."""
    asked: list[str] = []
    guest.mmu.on_page_fault = lambda fault: asked.append(str(fault.access.name)) or False
    guest.program(ADD)
    guest.run(rbx=DATA, rax=1)
    assert guest.ram.read_u64(guest.tables.slot(DATA)) & D
    assert (guest.mmu.counters.fills, asked) == (3, [])


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
    assert (fault, access) == (fault, Access.READ)
    assert isinstance(fault, PageFault) and fault.error_code == 0x5
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
    assert asked == [(OTHER, 0)], "the address within the page is not known inside a fill"
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
    assert (fault.vaddr, fault.error_code, access) == (OTHER + 0x1F8, 0, Access.READ)
    assert (guest["rip"], guest["rcx"], guest["rdx"]) == (CODE + 3, 1, 0)
    guest.tables.map_page(OTHER, OTHER_PADDR)
    guest.run(guest["rip"])
    assert guest.ram.read_u64(OTHER_PADDR + 0x1F8) == 9
    assert (guest["rcx"], guest["rdx"]) == (1, 1)


def test_a_broken_handler(guest: Guest) -> None:
    """It says that the page is there, and it is not."""
    calls: list[int] = []
    guest.mmu.on_page_fault = lambda fault: calls.append(fault.vaddr) or True
    guest.program(LOAD)
    raises_at_the_end(guest, rbx=OTHER)
    with pytest.raises(RuntimeError, match="64 times that 0x7fffffff0000 is fixed, and it is not"):
        guest.mmu.take_failure()
    assert calls == [OTHER] * 64
    assert guest.mmu.take_failure() is None


class Broken(Exception):
    pass


def test_an_exception_in_the_handler(guest: Guest) -> None:
    def on_page_fault(fault: PageFault) -> bool:
        raise Broken(fault.vaddr)

    guest.mmu.on_page_fault = on_page_fault
    guest.program(LOAD)
    raises_at_the_end(guest, rbx=OTHER)
    with pytest.raises(Broken) as caught:
        guest.mmu.take_failure()
    assert caught.value.args == (OTHER,)
    assert guest.mmu.take_failure() is None, "an exception is raised once"
    guest.run(rbx=DATA)


def test_an_exception_hides_an_older_failure(guest: Guest) -> None:
    guest.program(LOAD)
    raises_at_the_end(guest, rbx=OTHER)  # and nobody asks why

    def on_page_fault(fault: PageFault) -> bool:
        raise Broken

    guest.mmu.on_page_fault = on_page_fault
    raises_at_the_end(guest, rbx=OTHER + 0x5000)
    with pytest.raises(Broken):
        guest.mmu.take_failure()
    assert guest.mmu.take_failure() is None, "what failed before is long gone"


def test_a_keyboard_interrupt_in_the_handler(guest: Guest) -> None:
    def on_page_fault(fault: PageFault) -> bool:
        raise KeyboardInterrupt

    guest.mmu.on_page_fault = on_page_fault
    guest.program(LOAD)
    raises_at_the_end(guest, rbx=OTHER)
    with pytest.raises(KeyboardInterrupt):
        guest.mmu.take_failure()


# ---- accesses that nobody resolves


def test_no_failure_is_none(guest: Guest) -> None:
    assert guest.mmu.take_failure() is None
    guest.program(LOAD)
    guest.run(rbx=DATA)
    assert guest.mmu.take_failure() is None
    guest.fails(rbx=OTHER)
    assert guest.mmu.take_failure() is None, "a failure is taken once"


@pytest.mark.parametrize(
    ("instruction", "access", "code"), [(LOAD, Access.READ, 0x0), (STORE, Access.WRITE, 0x2), (ADD, Access.READ, 0x0)]
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
    raises_at_the_end(guest, rbx=OTHER + 8)
    with pytest.raises(BusError, match="0x7fffffff0000 outside physical memory of 0x1000000 bytes"):
        guest.mmu.take_failure()
    guest.program(LOAD)
    guest.run(rbx=DATA)


@pytest.mark.parametrize("level", [3, 2, 1])
def test_a_table_outside_memory(guest: Guest, level: int) -> None:
    guest.tables.map_page(OTHER, OTHER_PADDR)
    guest.ram.write_u64(guest.tables.slot(OTHER, level + 1), guest.ram.size | 7)
    guest.program(LOAD)
    raises_at_the_end(guest, rbx=OTHER)
    with pytest.raises(BusError):
        guest.mmu.take_failure()


# ---- invalidation


@pytest.fixture
def remapped(guest: Guest) -> Guest:
    """DATA and OTHER have been read; then both entries came to map other frames, and nobody has flushed."""
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
    guest.run(rbx=DATA)


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
