"""Exact mode on a bare engine: every access is seen at its exact address, and the model decides what the guest gets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mmu import EventKind, PageFault
from tests.mmu.exact_guest import PAGE, ExactGuest, R, W, X, rbx, touches
from tests.mmu.guest import (
    ADD,
    CODE,
    DATA,
    DATA_PADDR,
    HLT,
    LOAD,
    LOAD_OTHER,
    OTHER,
    OTHER_PADDR,
    STORE,
    Guest,
)

NEW_PADDR = 0x38_0000
STACK, STACK_PADDR = 0x9000_0000, 0x50_0000


@pytest.fixture
def exact() -> ExactGuest:
    guest = ExactGuest()
    guest.tables.map_page(DATA, DATA_PADDR)
    guest.tables.map_page(OTHER, OTHER_PADDR)
    guest.tables.map_page(STACK, STACK_PADDR)
    return guest


# ---- every access, at its address


def test_loads_stores_and_fetches_are_logged_with_their_addresses(exact: ExactGuest) -> None:
    exact.program(LOAD, STORE, ADD, LOAD_OTHER)
    exact.run(rbx=DATA + 0x18, rdx=OTHER + 0x7F8)
    log = [(one.access, one.vaddr) for one in exact.log()]
    at, other = DATA + 0x18, OTHER + 0x7F8
    assert log == [(X, CODE), (R, at), (W, at), (W, at), (R, other)]


def test_calls_pushes_and_returns(exact: ExactGuest) -> None:
    # push rbx; push 5; pop rax; call +1; hlt; ret
    exact.program("53", "6a05", "58", "e801000000", HLT, "c3")
    exact.run(rsp=STACK + 0x800, rbx=1)
    top = STACK + 0x800
    assert exact.data() == [(W, top - 8), (W, top - 16), (R, top - 16), (W, top - 16), (R, top - 16)]


def test_rep_movsb_reads_and_writes_each_byte(exact: ExactGuest) -> None:
    exact.program("f3a4")
    exact.set(rcx=20, rdi=OTHER + 0x10)
    exact.run(rsi=DATA + 0xFF0 - 0x10)
    expected = []
    for n in range(20):
        expected += [(R, DATA + 0xFE0 + n), (W, OTHER + 0x10 + n)]
    assert exact.data() == expected


def test_locked_and_exchanging_instructions_are_one_store(exact: ExactGuest) -> None:
    for code in ("f0480fc103", "488703", "f0480fb10b"):  # lock xadd; xchg; lock cmpxchg [rbx], rcx
        exact.program(code)
        exact.run(rbx=DATA + 8, rax=1)
        assert exact.data() == [(W, DATA + 8)], code


def test_sixteen_bytes_are_one_access_of_each_page(exact: ExactGuest) -> None:
    exact.tables.map_page(DATA + PAGE, OTHER_PADDR + PAGE)
    exact.ram.write(DATA_PADDR + 0xFF4, bytes(range(12)))
    exact.ram.write(OTHER_PADDR + PAGE, bytes(range(12, 20)))
    exact.program("f30f6f03", "f30f7f4308")  # movdqu xmm0, [rbx]; movdqu [rbx + 8], xmm0
    exact.run(rbx=DATA + 0xFF4)
    at = DATA + 0xFF4
    # the engine makes each in two halves; the second one of the load, and the first one of the store, cross
    crossing = DATA + PAGE
    assert exact.data() == [(R, at), (R, crossing), (W, at + 8), (W, crossing)]
    assert exact.ram.read(OTHER_PADDR + PAGE, 12) == bytes([*range(4, 16)])


@pytest.mark.parametrize("offset", range(0xFF9, 0x1000))
def test_an_access_that_crosses_counts_both_pages_once(exact: ExactGuest, offset: int) -> None:
    exact.tables.map_page(DATA + PAGE, OTHER_PADDR + PAGE)
    exact.ram.write(DATA_PADDR + 0xFF8, bytes(range(1, 9)))
    exact.ram.write(OTHER_PADDR + PAGE, bytes(range(9, 17)))
    exact.program(LOAD, STORE, ADD)
    start = offset - 0xFF8
    value = int.from_bytes(bytes(range(start + 1, start + 9)), "little")
    assert exact.run(rbx=DATA + offset) == value
    pages = (DATA + offset, DATA + PAGE)
    assert exact.data() == [(kind, at) for kind in (R, W, W) for at in pages]
    doubled = (2 * value).to_bytes(9, "little")[:8]
    whole = exact.ram.read(DATA_PADDR + offset, PAGE - offset) + exact.ram.read(OTHER_PADDR + PAGE, 8)
    assert whole[:8] == doubled


def test_an_access_that_just_does_not_cross(exact: ExactGuest) -> None:
    exact.program(LOAD)
    exact.run(rbx=DATA + 0xFF8)
    assert exact.data() == [(R, DATA + 0xFF8)]


def test_fetches_are_counted_per_block_and_page(exact: ExactGuest) -> None:
    code = CODE + 0xFF0
    exact.tables.map_page(CODE, 0x10_0000, RW=0)
    exact.tables.map_page(CODE + PAGE, 0x11_0000, RW=0)
    # 12 nops, then a mov that lies across, then jmp +0; hlt
    exact.ram.write(0x10_0FF0, bytes.fromhex("90" * 12 + "b8010203"))
    exact.ram.write(0x11_0000, bytes.fromhex("04" + "eb00" + HLT))
    assert exact.run(code) == 0x04030201
    assert [one.vaddr for one in exact.log()] == [code, CODE + PAGE, CODE + PAGE + 3]


def test_a_loop_counts_each_turn(exact: ExactGuest) -> None:
    exact.program(LOAD, "ffc9", "75f9")  # dec ecx; jnz
    exact.set(rcx=100)
    exact.run(rbx=DATA)
    log = exact.log()
    assert len([one for one in log if one.access == R]) == 100
    assert len([one for one in log if one.access == X]) == 101
    counters = exact.tlb.access_counters()
    assert counters[R] == {"l1_hits": 99, "stlb_hits": 0, "walk_completed_4k": 1, "walk_completed_2m": 0,
                           "walk_completed_1g": 0, "walk_faults": 0, "accesses": 100}  # fmt: skip
    assert counters[X]["accesses"] == 101


def test_large_pages(exact: ExactGuest) -> None:
    exact.tables.map_page(0x4000_0000, 0x20_0000, level=2)
    exact.tables.map_page(0x80_0000_0000, 0, level=3)
    exact.ram.write_u64(0x31_2340, 77)
    exact.code(touches(0x4011_2340, 0x4000_0008, 0x80_0031_2340, 0x80_0000_0010))
    assert exact.get("rcx") == exact.u64(0x10)
    log = [one for one in exact.log() if one.access == R]
    assert [(one.vaddr, one.level) for one in log] == [
        (0x4011_2340, 0), (0x4000_0008, 1), (0x80_0031_2340, 0), (0x80_0000_0010, 1)]  # fmt: skip
    assert exact.tlb.access_counters()[R]["walk_completed_2m"] == 1
    assert exact.tlb.access_counters()[R]["walk_completed_1g"] == 1


# ---- aliases and windows


@pytest.mark.parametrize("aliases", [2, 3, 8, 9, 20])
def test_aliases_of_one_frame_keep_their_addresses(exact: ExactGuest, aliases: int) -> None:
    pages = [0x1000_0000 + 0x5000 * n for n in range(aliases)]
    for page in pages:
        exact.tables.map_page(page, DATA_PADDR)
    order = [pages[(7 * n + n // aliases) % aliases] for n in range(4 * aliases)]
    # mov rbx, alias; add qword [rbx + 8 n], 1
    code = "".join(rbx(page) + f"488343{8 * (n % 8):02x}01" for n, page in enumerate(order))
    exact.code(code)
    expected = []
    for n, page in enumerate(order):
        expected.append((W, page + 8 * (n % 8)))
    assert exact.data() == expected
    counts = [len([n for n in range(4 * aliases) if n % 8 == k]) for k in range(8)]
    assert [exact.u64(DATA_PADDR + 8 * k) for k in range(8)] == counts


def test_a_copy_between_aliases_and_across_them(exact: ExactGuest) -> None:
    """Neighbouring pages of one frame: a crossing access wraps inside the frame."""
    for n in range(12):
        exact.tables.map_page(0x1000_0000 + PAGE * n, DATA_PADDR)
    exact.ram.write(DATA_PADDR, bytes(range(256)) * 16)
    expected, data = bytearray(exact.ram.read(DATA_PADDR, PAGE)), []
    program = ""
    for n in range(11):
        at = 0x1000_0000 + PAGE * n + 0xFFC
        program += rbx(at) + LOAD + "48ffc0" + STORE  # inc rax
        word = int.from_bytes(expected[0xFFC:] + expected[:4], "little") + 1 & (1 << 64) - 1
        expected[0xFFC:], expected[:4] = word.to_bytes(8, "little")[:4], word.to_bytes(8, "little")[4:]
        data += [(kind, address) for kind in (R, W) for address in (at, at + 4)]
    exact.code(program)
    assert exact.data() == data
    assert exact.ram.read(DATA_PADDR, PAGE) == expected


# ---- D


def test_the_first_store_walks_again_and_sets_d(exact: ExactGuest) -> None:
    slot = exact.tables.slot(DATA)
    exact.program(LOAD, LOAD, STORE, STORE)
    exact.run(rbx=DATA)
    assert exact.u64(slot) & 0x60 == 0x60
    assert [one.level for one in exact.log() if one.access != X] == [0, 1, 0, 1]
    assert exact.tlb.access_counters()[W]["walk_completed_4k"] == 1


# ---- faults


def test_a_fault_in_exact_mode_is_counted_and_invalidates_the_page(exact: ExactGuest) -> None:
    exact.tables.map_page(DATA, DATA_PADDR, RW=0)
    exact.mmu.events.enable(EventKind.ACCESS, EventKind.FAULT)
    exact.program(LOAD, STORE)
    exact.mmu.registers = replace(exact.mmu.registers, cpl=3)
    fault, access = exact.fails(rbx=DATA + 8)
    assert (str(fault), access) == (str(PageFault(DATA + 8, 7)), W)
    assert not any(entry.vaddr == DATA for entries in exact.tlb.contents().values() for entry in entries)
    events = exact.mmu.events.drain()
    kinds = [(int(kind), int(access)) for kind, access in events[["kind", "access"]].tolist()]
    assert kinds == [(7, X), (7, R), (7, W), (3, W)]
    assert exact.mmu.counters.page_faults == exact.tlb.access_counters()[W]["walk_faults"] == 1


@pytest.mark.parametrize("offset", [0x100, 0xFFC])
def test_demand_paging_within_the_access(exact: ExactGuest, offset: int) -> None:
    area, faults = 0x2000_0000, []

    def handler(fault: PageFault) -> bool:
        faults.append(fault.vaddr)
        exact.tables.map_page(fault.vaddr, 0x60_0000 + (fault.vaddr - area))
        exact.mmu.invlpg(fault.vaddr)
        return True

    exact.mmu.on_page_fault = handler
    exact.program(STORE, LOAD)
    assert exact.run(rbx=area + offset, rax=0x1122_3344_5566_7788) == 0x1122_3344_5566_7788
    assert exact.ram.read(0x60_0000 + offset, 8) == 0x1122_3344_5566_7788.to_bytes(8, "little")
    pages = [area] if offset == 0x100 else [area, area + PAGE]
    assert faults == pages
    counted = exact.tlb.access_counters()
    assert counted[W]["walk_faults"] == len(pages) == counted[W]["walk_completed_4k"]
    assert counted[W]["accesses"] == 2 * len(pages)
    assert counted[R]["accesses"] == counted[R]["l1_hits"] == len(pages)


def test_the_preset_none_walks_for_each_access() -> None:
    guest = ExactGuest("none")
    guest.tables.map_page(DATA, DATA_PADDR)
    guest.tables.map_page(OTHER, OTHER_PADDR)
    guest.program(*["488b03", "488b02", "488903"] * 5)
    guest.run(rbx=DATA, rdx=OTHER)
    assert len(guest.data()) == 15
    counters = guest.tlb.access_counters()
    assert counters[R]["walk_completed_4k"] == 10 and counters[W]["walk_completed_4k"] == 5
    assert guest.mmu.counters.walks == 16 and guest.mmu.counters.walk_loads == 64
    # and nothing is ever stale
    guest.ram.write_u64(NEW_PADDR, 9)
    guest.tables.map_page(DATA, NEW_PADDR)
    guest.program(LOAD)
    assert guest.run(rbx=DATA) == 9


def test_a_full_ring_of_events_loses_nothing() -> None:
    guest = ExactGuest(ring_capacity=64)
    seen: list[int] = []
    guest.mmu.events.subscribe(lambda events: seen.extend(events["vaddr"].tolist()))
    guest.tables.map_page(DATA, DATA_PADDR)
    guest.program(LOAD, "ffc9", "75f9")
    guest.set(rcx=500)
    guest.run(rbx=DATA)
    guest.mmu.events.flush()
    assert len(seen) == 1001 and guest.mmu.events.lost == 0


def test_mode_is_told() -> None:
    assert (ExactGuest().mmu.mode, Guest().mmu.mode) == ("exact", "filtered")
