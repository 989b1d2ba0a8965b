"""Reading, writing and translating at virtual addresses, and hooks that are told both addresses."""

from __future__ import annotations

import pytest
from unicorn import UcError

from mmu import Access, BusError, GeneralProtection, PageFault
from mmu.virtual import HookedAccess
from tests.mmu.guest import CODE, CODE_PADDR, DATA, DATA_PADDR, HLT, LOAD, OTHER, OTHER_PADDR, STORE, Guest

A, D = 1 << 5, 1 << 6
ADD_RBX, MOVDQU = "480103", "f30f6f03"  # add [rbx], rax; movdqu xmm0, [rbx]
NOP = "90"


@pytest.fixture(params=["off", "textbook"])
def guest(request: pytest.FixtureRequest) -> Guest:
    """DATA, and behind it a page whose frame is elsewhere."""
    guest = Guest(tlb=request.param)
    guest.tables.map_page(DATA, DATA_PADDR)
    guest.tables.map_page(DATA + 0x1000, OTHER_PADDR)
    return guest


# ---- read, write, translate


def test_what_is_written_is_read(guest: Guest) -> None:
    guest.mmu.write(DATA + 0xFFD, b"across")
    assert guest.mmu.read(DATA + 0xFFD, 6) == b"across"
    assert guest.ram.read(DATA_PADDR + 0xFFD, 3) + guest.ram.read(OTHER_PADDR, 3) == b"across"
    assert guest.mmu.read(DATA, 0) == b""


def test_translate_is_of_this_moment(guest: Guest) -> None:
    assert guest.mmu.translate(DATA + 5).paddr == DATA_PADDR + 5
    guest.tables.map_page(DATA, OTHER_PADDR)
    assert guest.mmu.translate(DATA + 5, Access.WRITE).paddr == OTHER_PADDR + 5


def test_looking_changes_nothing_and_a_store_sets_a_and_d(guest: Guest) -> None:
    before, tables = guest.mmu.counters, guest.ram.read(0x1000, 0x8000)
    guest.mmu.translate(DATA, Access.WRITE)
    guest.mmu.read(DATA, 8)
    assert guest.ram.read(0x1000, 0x8000) == tables
    guest.mmu.write(DATA, b"x")
    assert guest.ram.read_u64(guest.tables.slot(DATA)) & (A | D) == A | D
    assert guest.mmu.counters == before


def test_what_cannot_be_reached_is_a_typed_error(guest: Guest) -> None:
    with pytest.raises(PageFault) as fault:
        guest.mmu.read(DATA + 0x1FFF, 2)
    assert (fault.value.vaddr, fault.value.error_code) == (DATA + 0x2000, 0)
    with pytest.raises(GeneralProtection):
        guest.mmu.read(1 << 63, 1)
    guest.tables.map_page(OTHER, 1 << 40)
    with pytest.raises(BusError):
        guest.mmu.translate(OTHER)
    with pytest.raises(ValueError, match="range"):
        guest.mmu.read(DATA, -1)
    with pytest.raises(ValueError, match=r"Access\.READ"):
        guest.mmu.translate(DATA, "r")  # type: ignore[arg-type]


def test_a_write_that_fails_has_stored_nothing(guest: Guest) -> None:
    guest.tables.map_page(DATA + 0x1000, OTHER_PADDR, RW=0)
    guest.mmu.enter_user_mode()
    with pytest.raises(PageFault) as fault:
        guest.mmu.write(DATA + 0xFFF, b"xy")
    assert (fault.value.vaddr, fault.value.error_code) == (DATA + 0x1000, 7)
    assert guest.ram.read(DATA_PADDR + 0xFFF, 1) == b"\0"


def test_a_write_to_code_is_executed(guest: Guest) -> None:
    guest.program("b801000000")
    assert guest.run() == 1
    guest.tables.map_page(CODE, CODE_PADDR)
    guest.mmu.write(CODE + 1, b"\x02")
    assert guest.run() == 2


# ---- hooks


def hooked(guest: Guest, code: str, **registers: int) -> list[HookedAccess]:
    told: list[HookedAccess] = []
    guest.mmu.add_memory_hook(told.append)
    guest.program(code)
    guest.run(**registers)
    return told


def test_each_alias_is_told_by_its_own_address(guest: Guest) -> None:
    aliases = [0xA0_0000 + 0x1000 * number for number in range(12)]  # more than there are windows
    for alias in aliases:
        guest.tables.map_page(alias, DATA_PADDR)
    guest.ram.write_u64(DATA_PADDR + 8, 7)
    told: list[HookedAccess] = []
    guest.mmu.add_memory_hook(told.append)
    guest.program(STORE, LOAD)
    for alias in aliases * 2:
        guest.run(rbx=alias + 8)
    rip = CODE + 3
    reads = [each for each in told if each.access == Access.READ]
    assert reads == [HookedAccess(a + 8, DATA_PADDR + 8, 8, guest["rax"], Access.READ, rip) for a in aliases * 2]
    writes = [each for each in told if each.access == Access.WRITE]
    assert [each.vaddr for each in writes] == [each.vaddr for each in reads]


def test_a_hook_that_comes_late_sees_all_too(guest: Guest) -> None:
    guest.program(LOAD)
    guest.run(rbx=DATA)
    assert [told.vaddr for told in hooked(guest, LOAD, rbx=DATA + 0x10)] == [DATA + 0x10]


def test_value_access_and_instruction(guest: Guest) -> None:
    guest.ram.write_u64(DATA_PADDR, 0x10)
    assert hooked(guest, NOP + ADD_RBX, rbx=DATA, rax=(1 << 64) - 1) == [
        HookedAccess(DATA, DATA_PADDR, 8, 0x0F, Access.WRITE, CODE + 1),
    ]


@pytest.mark.parametrize("at", [0, 0xFF0, 0xFF4, 0xFF8, 0xFFC])
def test_sixteen_bytes_are_one_access(guest: Guest, at: int) -> None:
    guest.tables.map_page(DATA + 0x1000, DATA_PADDR + 0x1000)
    guest.ram.write(DATA_PADDR + at, bytes(range(16)))
    value = int.from_bytes(bytes(range(16)), "little")
    assert hooked(guest, MOVDQU + "f30f7f03", rbx=DATA + at) == [  # ...; movdqu [rbx], xmm0
        HookedAccess(DATA + at, DATA_PADDR + at, 16, value, Access.READ, CODE),
        HookedAccess(DATA + at, DATA_PADDR + at, 16, value, Access.WRITE, CODE + 4),
    ]


def test_an_exchange_of_sixteen_bytes_is_one_store(guest: Guest) -> None:
    (told,) = hooked(guest, "480fc70b", rbx=DATA)  # cmpxchg16b [rbx]
    assert (told.vaddr, told.size, told.access) == (DATA, 16, Access.WRITE)


def test_ten_bytes_are_one_access(guest: Guest) -> None:
    told = hooked(guest, "d9e8" + "db3b" + "db2b", rbx=DATA)  # fld1; fstp m80; fld m80
    value = 0x3FFF_8000_0000_0000_0000
    assert [(each.size, each.value, each.access) for each in told] == [
        (10, value, Access.WRITE), (10, value, Access.READ),
    ]  # fmt: skip


@pytest.mark.parametrize("code", [LOAD, STORE])
@pytest.mark.parametrize("mended", [True, False])
def test_an_access_of_two_pages_is_told_once_and_only_if_it_is_made(guest: Guest, code: str, mended: bool) -> None:
    guest.ram.write(DATA_PADDR + 0xFFC, b"ABCD")
    guest.ram.write(OTHER_PADDR, b"EFGH")
    guest.tables.unmap(DATA + 0x1000)

    def mend(fault: PageFault) -> bool:
        assert fault.vaddr == DATA + 0x1000
        guest.tables.map_page(DATA + 0x1000, OTHER_PADDR)
        return mended

    guest.mmu.on_page_fault = mend
    value = int.from_bytes(b"ABCDEFGH", "little")
    told: list[HookedAccess] = []
    guest.mmu.add_memory_hook(told.append)
    guest.program(code)
    if not mended:
        with pytest.raises(UcError):
            guest.run(rbx=DATA + 0xFFC, rax=value)
        assert told == []
    guest.run(rbx=DATA + 0xFFC, rax=value)
    access = Access.READ if code == LOAD else Access.WRITE
    assert told == [HookedAccess(DATA + 0xFFC, DATA_PADDR + 0xFFC, 8, value, access, CODE)]


def test_only_a_range_and_only_until_it_is_removed(guest: Guest) -> None:
    told: list[int] = []
    hook = guest.mmu.add_memory_hook(lambda access: told.append(access.vaddr), begin=DATA + 8, end=DATA + 16)
    guest.program(LOAD)
    for at in (DATA, DATA + 8, DATA + 15, DATA + 16):
        guest.run(rbx=at)
    assert told == [DATA + 8, DATA + 15]
    hook.remove()
    hook.remove()
    guest.run(rbx=DATA + 8)
    assert len(told) == 2


def test_what_a_hook_raises_comes_out(guest: Guest) -> None:
    def told(_access: HookedAccess) -> None:
        raise KeyError("mine")

    guest.mmu.add_memory_hook(told)
    guest.program(LOAD)
    with pytest.raises(KeyError, match="mine"):
        guest.run(rbx=DATA)


def test_no_hook_is_added_while_the_guest_runs(guest: Guest) -> None:
    guest.tables.unmap(DATA)
    guest.mmu.on_page_fault = lambda _fault: bool(guest.mmu.add_memory_hook(print))
    guest.program(LOAD)
    with pytest.raises(RuntimeError, match="before emu_start"):
        guest.run(rbx=DATA)


def test_instructions_are_told_with_their_frame(guest: Guest) -> None:
    guest.program(NOP, LOAD)
    guest.run(rbx=DATA)  # translated before there is a hook
    told: list[HookedAccess] = []
    hook = guest.mmu.add_code_hook(told.append)
    guest.run(rbx=DATA)
    assert told == [
        HookedAccess(CODE, CODE_PADDR, 1, 0x90, Access.FETCH, CODE),
        HookedAccess(CODE + 1, CODE_PADDR + 1, 3, 0x038B48, Access.FETCH, CODE + 1),
        HookedAccess(CODE + 4, CODE_PADDR + 4, 1, int(HLT, 16), Access.FETCH, CODE + 4),
    ]
    hook.remove()
    guest.run(rbx=DATA)
    assert len(told) == 3


def test_instructions_at_cpl_3_and_through_an_alias(guest: Guest) -> None:
    guest.program(NOP, "ebfe")
    guest.tables.map_page(OTHER, CODE_PADDR)
    guest.mmu.enter_user_mode()
    told: list[HookedAccess] = []
    guest.mmu.add_code_hook(told.append, begin=OTHER, end=OTHER + 1)
    guest.uc.emu_start(OTHER, 0, count=3)
    assert told == [HookedAccess(OTHER, CODE_PADDR, 1, 0x90, Access.FETCH, OTHER)]


def test_addresses_are_shown_in_hexadecimal() -> None:
    assert repr(HookedAccess(0x506000, 0x102000, 8, 0xAA, Access.READ, 0x400000)) == (
        "HookedAccess(vaddr=0x506000, paddr=0x102000, size=8, value=0xaa, access=<Access.READ: 0>, rip=0x400000)"
    )


def test_counters_are_the_same_with_a_hook() -> None:
    with_hook, without = Guest(), Guest()
    with_hook.mmu.add_memory_hook(lambda _access: None)
    for guest in (with_hook, without):
        guest.tables.map_page(DATA, DATA_PADDR)
        guest.program(STORE, LOAD)
        guest.run(rbx=DATA)
    assert with_hook.mmu.counters == without.mmu.counters
