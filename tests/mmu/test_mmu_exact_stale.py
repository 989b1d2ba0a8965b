"""Exact mode's stale translations: a guest uses one exactly as long as the model holds it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mmu import CR4, PageFault
from mmu.geometry import Geometry
from mmu.registers import CR3_NO_FLUSH
from tests.mmu.exact_guest import PAGE, ExactGuest, R, rbx, tiny, touches
from tests.mmu.guest import DATA, DATA_PADDR, LOAD, LOAD_OTHER, OTHER, OTHER_PADDR, STORE, Guest, returns

NEW_PADDR = 0x38_0000
STACK, STACK_PADDR = 0x9000_0000, 0x50_0000


def remap(guest: Guest, vaddr: int, paddr: int, **fields: int) -> None:
    """Change the tables without an invalidation."""
    guest.tables.map_page(vaddr, paddr, **fields)


@pytest.fixture
def stale() -> ExactGuest:
    """DATA holds 1 where the TLB will remember it, and 2 where the tables put it afterwards."""
    guest = ExactGuest(tiny(4))
    guest.tables.map_page(DATA, DATA_PADDR)
    for n in range(8):
        guest.tables.map_page(OTHER - PAGE * n, OTHER_PADDR + PAGE * n)
    guest.ram.write_u64(DATA_PADDR, 1)
    guest.ram.write_u64(NEW_PADDR, 2)
    return guest


def test_a_stale_read_after_a_missing_invlpg_and_none_after_it(stale: ExactGuest) -> None:
    stale.program(LOAD)
    assert stale.run(rbx=DATA) == 1
    remap(stale, DATA, NEW_PADDR)
    assert stale.run(rbx=DATA) == 1
    stale.mmu.invlpg(DATA)
    assert stale.run(rbx=DATA) == 2


def test_stale_until_evicted_and_not_an_access_longer(stale: ExactGuest) -> None:
    """Three other pages leave DATA in the set of four; a fourth evicts it."""
    others = [OTHER - PAGE * n for n in range(4)]
    for number, value in ((3, 1), (4, 2)):
        stale.mmu.flush()
        remap(stale, DATA, DATA_PADDR)
        stale.code(touches(DATA))
        remap(stale, DATA, NEW_PADDR)
        stale.code(touches(*others[:number], DATA))
        assert stale.get("rcx") == value, number


def test_a_stale_store_goes_to_the_old_frame(stale: ExactGuest) -> None:
    stale.program(STORE)
    stale.run(rbx=DATA, rax=7)
    remap(stale, DATA, NEW_PADDR)
    stale.run(rbx=DATA, rax=8)
    assert (stale.u64(DATA_PADDR), stale.u64(NEW_PADDR)) == (8, 2)
    stale.mmu.invlpg(DATA)
    stale.run(rbx=DATA, rax=9)
    assert (stale.u64(DATA_PADDR), stale.u64(NEW_PADDR)) == (8, 9)


def test_a_stale_load_becomes_fresh_with_the_first_store(stale: ExactGuest) -> None:
    """D is clear in the entry: the store walks, and the result replaces the entry."""
    stale.program(LOAD)
    assert stale.run(rbx=DATA) == 1
    remap(stale, DATA, NEW_PADDR)
    stale.program(LOAD, "48ffc0", STORE)
    assert stale.run(rbx=DATA) == 2
    assert (stale.u64(DATA_PADDR), stale.u64(NEW_PADDR)) == (1, 2)
    assert stale.run(rbx=DATA) == 3


def test_stale_rights_and_stale_absence(stale: ExactGuest) -> None:
    stale.program(STORE)
    stale.run(rbx=DATA, rax=5)
    stale.tables.unmap(DATA)
    stale.run(rbx=DATA, rax=6)  # as if nothing had happened
    assert stale.u64(DATA_PADDR) == 6
    stale.mmu.invlpg(DATA)
    fault, _ = stale.fails(rbx=DATA)
    assert str(fault) == str(PageFault(DATA, 2))
    stale.tables.map_page(DATA, DATA_PADDR)  # what was not present is not cached
    stale.run(rbx=DATA, rax=7)
    assert stale.u64(DATA_PADDR) == 7


def test_a_stale_instruction_is_fetched(stale: ExactGuest) -> None:
    function = 0x7000_0000
    stale.ram.write(0x60_0000, returns(3))
    stale.ram.write(0x61_0000, returns(4))
    stale.tables.map_page(function, 0x60_0000, RW=0)
    stale.tables.map_page(STACK, STACK_PADDR)
    stale.program("ffd3")
    assert stale.run(rbx=function, rsp=STACK + 0x800) == 3
    stale.tables.map_page(function, 0x61_0000, RW=0)
    assert stale.run(rbx=function, rsp=STACK + 0x800) == 3
    stale.program("488b0b", "ffd3")  # as data it is not stale: the data array never held it
    assert stale.run(rbx=function, rsp=STACK + 0x800) == 3
    assert stale.get("rcx").to_bytes(8, "little")[:6] == returns(4)
    stale.mmu.invlpg(function)
    assert stale.run(rbx=function, rsp=STACK + 0x800) == 4


def test_structure_caches_are_stale_too() -> None:
    """An entry that refers to a table, changed without INVLPG, is used as it was."""
    guest = ExactGuest(tiny(1, structures={2: 4}))
    guest.tables.map_page(DATA, DATA_PADDR)
    guest.tables.map_page(DATA + PAGE, DATA_PADDR + PAGE)
    guest.ram.write_u64(DATA_PADDR + PAGE, 1)
    guest.ram.write_u64(NEW_PADDR, 2)
    guest.code(touches(DATA))
    table = 0x70_0000  # another page table, in which the second page is elsewhere
    guest.ram.write_u64(table + (guest.tables.slot(DATA + PAGE) & 0xFF8), NEW_PADDR | 7)
    slot = guest.tables.slot(DATA, level=2)
    guest.ram.write_u64(slot, table | 7)
    guest.code(touches(DATA + PAGE))
    assert guest.get("rcx") == 1
    guest.mmu.invlpg(DATA)  # every structure-cache entry of the PCID goes; the page itself was another one
    guest.mmu.invlpg(DATA + PAGE)
    guest.code(touches(DATA + PAGE))
    assert guest.get("rcx") == 2


def test_the_detector_reports_stale_hits_only(stale: ExactGuest) -> None:
    stale.mmu.check_tlb()
    stale.program(LOAD)
    stale.run(rbx=DATA)
    stale.run(rbx=DATA)
    assert stale.mmu.stale == []
    remap(stale, DATA, NEW_PADDR)
    stale.run(rbx=DATA)
    (hit,) = stale.mmu.stale
    assert (hit.vaddr, hit.access, hit.cached_paddr, hit.fresh_paddr) == (DATA, R, DATA_PADDR, NEW_PADDR)
    stale.tables.unmap(DATA)
    stale.run(rbx=DATA)
    assert stale.mmu.stale[1].fresh_paddr is None
    stale.mmu.invlpg(DATA)
    stale.stops(rbx=DATA)
    assert len(stale.mmu.stale) == 2
    with pytest.raises(ValueError, match="exact mode"):
        Guest().mmu.check_tlb()


# ---- within one run, where nothing is flushed from outside: the guest changes its own tables

TABLES = 0x5000_0000
SEE = "488b0b" + "49c1e008" + "4901c8"  # mov rcx, [rbx]; shl r8, 8; add r8, rcx


def see(*addresses: int) -> str:
    """Load each, and append it to R8 as a byte."""
    return "".join(rbx(address) + SEE for address in addresses)


def change(guest: ExactGuest, vaddr: int, old: int, new: int, level: int = 1) -> str:
    """Code that moves a page from one frame to another, through an alias of its table, which is mapped here."""
    slot = guest.tables.slot(vaddr, level)
    alias = TABLES + PAGE * level
    guest.tables.map_page(alias, slot & -PAGE, A=1, D=1)
    entry = guest.u64(slot) ^ old ^ new | 0x20
    return rbx(alias + (slot & 0xFFF)) + (b"\x48\xb8" + entry.to_bytes(8, "little")).hex() + STORE


def seen(guest: ExactGuest, program: str, number: int) -> list[int]:
    guest.set(r8=0, rsp=STACK + 0x800)
    guest.code(program)
    return list(guest.get("r8").to_bytes(8, "big")[8 - number :])


def self_changing(geometry: str | Geometry) -> ExactGuest:
    guest = ExactGuest(geometry)
    guest.tables.map_page(DATA, DATA_PADDR, D=1)
    guest.tables.map_page(STACK, STACK_PADDR)
    for n in range(12):
        guest.tables.map_page(OTHER - PAGE * n, OTHER_PADDR + PAGE * n)
    guest.ram.write_u64(DATA_PADDR, 1)
    guest.ram.write_u64(NEW_PADDR, 2)
    return guest


@pytest.mark.parametrize("level_2", [0, 8])
def test_stale_until_evicted_within_one_block(level_2: int) -> None:
    guest = self_changing(tiny(4, level_2=level_2))
    program = touches(DATA) + change(guest, DATA, DATA_PADDR, NEW_PADDR) + see(DATA)
    # the code, DATA, the table page and these fill the last level; then as many as fit beside DATA; then one more
    for number in (5, 7, 8) if level_2 else (2, 3, 4):
        program += touches(*(OTHER - PAGE * n for n in range(number))) + see(DATA)
    assert seen(guest, program, 4) == [1, 1, 1, 2]


def test_without_a_tlb_a_load_is_never_stale() -> None:
    guest = self_changing("none")
    program = see(DATA) + change(guest, DATA, DATA_PADDR, NEW_PADDR) + see(DATA)
    assert seen(guest, program, 2) == [1, 2]


def test_without_a_tlb_a_store_is_never_stale() -> None:
    guest = self_changing("none")
    store = rbx(DATA) + "48c70307000000"  # mov qword [rbx], 7
    guest.code(store + change(guest, DATA, DATA_PADDR, NEW_PADDR) + store.replace("07000000", "09000000"))
    assert (guest.u64(DATA_PADDR), guest.u64(NEW_PADDR)) == (7, 9)


def test_what_code_is_fetched_through_is_not_what_data_is_read_through() -> None:
    """The instruction array holds the page, stale; the data array never did, and reads what the tables say."""
    guest = self_changing(tiny(4))
    function, old, new = 0x7000_0000, 0x60_0000, 0x61_0000
    guest.ram.write(old, bytes.fromhex("90" * 8 + "b803000000c3"))  # mov eax, 3; ret
    guest.ram.write(new, bytes.fromhex("02" + "00" * 7 + "b804000000c3"))
    guest.tables.map_page(function, old)
    call = rbx(function + 8) + "ffd3" + "49c1e0084901c0"  # shl r8, 8; add r8, rax
    program = call + change(guest, function, old, new) + call + see(function) + call
    assert seen(guest, program, 4) == [3, 3, 2, 3]


@pytest.mark.parametrize("by", ["loads", "stores"])
def test_the_pieces_of_a_large_page_go_with_it(by: str) -> None:
    """Unicorn holds 4K pieces; when the model evicts the 2M page, all are forgotten, in the same block."""
    guest = self_changing(tiny(4))
    large, old, new = 0x4000_0000, 0x40_0000, 0x60_0000
    guest.tables.map_page(large, old, level=2, D=1)
    for n in range(5):
        guest.ram.write_u64(old + PAGE * n, 1)
        guest.ram.write_u64(new + PAGE * n, 2)
    pieces = [large + PAGE * n for n in range(5)]
    others = [OTHER - PAGE * n for n in range(4)]
    evict = touches(*others) if by == "loads" else "".join(rbx(page) + STORE for page in others)
    program = touches(*pieces) + change(guest, large, old, new, level=2) + see(*pieces[:2]) + evict + see(*pieces)
    assert seen(guest, program, 7) == [1, 1, 2, 2, 2, 2, 2]


def test_more_pieces_than_are_listed() -> None:
    """2,000 pieces of four large pages: Unicorn is emptied on the way, and no piece stays behind."""
    guest = ExactGuest(tiny(4), ram_bytes=32 << 20)
    larges = [0x4000_0000 + (n << 21) for n in range(4)]
    for n, large in enumerate(larges):
        guest.tables.map_page(large, (n + 8) << 21, level=2, D=1)
    guest.tables.map_page(OTHER, OTHER_PADDR)
    guest.mmu.events.enable()
    # mov rcx, 2000; loop: mov rax, [rbx]; add rbx, 0x1000; dec ecx; jnz
    walk = rbx(larges[0]) + "48c7c1d0070000" + "488b03" + "4881c300100000" + "ffc9" + "75f2"
    guest.code(walk + walk)
    assert guest.mmu.counters.fills >= 4000
    assert guest.tlb.access_counters()[R]["walk_completed_2m"] == 4
    assert guest.mmu.state.pieces_number <= 1024


# ---- PCIDs and globals


def pcid_guest() -> ExactGuest:
    guest = ExactGuest(tiny(8))
    registers = guest.mmu.registers
    guest.mmu.registers = replace(registers, cr4=registers.cr4 | CR4.PCIDE | CR4.PGE)
    guest.tables.map_page(DATA, DATA_PADDR)
    guest.tables.map_page(OTHER, OTHER_PADDR, G=1)
    for paddr in (DATA_PADDR, OTHER_PADDR):
        guest.ram.write_u64(paddr, 1)
    guest.ram.write_u64(NEW_PADDR, 2)
    return guest


def see_both(guest: ExactGuest) -> tuple[int, int]:
    """What the guest reads at DATA, and at OTHER, which is global."""
    guest.program(LOAD, LOAD_OTHER)
    value = guest.run(rbx=DATA, rdx=OTHER)
    return value, guest.get("rcx")


@pytest.mark.parametrize(("keep", "seen"), [(True, (1, 1)), (False, (2, 1))])
def test_a_change_of_pcid_keeps_with_bit_63_and_globals_survive(keep: bool, seen: tuple[int, int]) -> None:
    guest = pcid_guest()
    assert see_both(guest) == (1, 1)
    remap(guest, DATA, NEW_PADDR)
    remap(guest, OTHER, NEW_PADDR, G=1)
    guest.mmu.load_cr3(guest.tables.cr3 | 5)
    assert see_both(guest) == (2, 1)  # another PCID does not see DATA's, but the global one
    guest.mmu.load_cr3(guest.tables.cr3 | (CR3_NO_FLUSH if keep else 0))
    assert see_both(guest) == seen


def test_a_toggle_of_pge_takes_globals_too() -> None:
    guest = pcid_guest()
    see_both(guest)
    remap(guest, OTHER, NEW_PADDR, G=1)
    guest.mmu.load_cr3(guest.tables.cr3)
    assert see_both(guest) == (1, 1)
    guest.mmu.registers = replace(guest.mmu.registers, cr4=guest.mmu.registers.cr4 & ~CR4.PGE)
    assert see_both(guest) == (1, 2)
