"""What the engine fetches ahead of time, or looks up behind its end, is no access of the guest's."""

from __future__ import annotations

from typing import Any

import pytest
from unicorn import UC_HOOK_CODE, Uc, UcError
from unicorn.unicorn_const import UC_ERR_EXCEPTION

from mmu import Access, EventKind, PageFault
from tests.mmu.guest import CODE, CODE_PADDR, DATA, DATA_PADDR, HLT, LOAD, OTHER_PADDR, STORE, Guest

NEXT, NEXT_PADDR = CODE + 0x1000, CODE_PADDR + 0x1000
NOP, INC_RAX, INC_RDX = "90", "48ffc0", "48ffc2"


class Border(Guest):
    """Code that ends with its page, and a next page that is not there; a handler that maps it if it may."""

    def __init__(self, tlb: str, code: str, *, maps: bool = True) -> None:
        super().__init__(tlb=tlb)
        self.start = NEXT - len(code) // 2
        self.tables.map_page(CODE, CODE_PADDR)
        self.tables.map_page(DATA, DATA_PADDR)
        self.ram.write(CODE_PADDR + 0x1000 - len(code) // 2, bytes.fromhex(code))
        self.ram.write(NEXT_PADDR, bytes.fromhex(INC_RDX + HLT))
        self.maps = maps
        self.seen: list[tuple[int, Access, int]] = []
        self.mmu.on_page_fault = self.fault

    def fault(self, fault: PageFault) -> bool:
        self.seen.append((fault.vaddr, fault.access, self["rip"]))
        if self.maps:
            self.tables.map_page(fault.vaddr, NEXT_PADDR if fault.vaddr == NEXT else OTHER_PADDR)
        return self.maps


TLBS = pytest.mark.parametrize("tlb", ["off", "textbook"])


@TLBS
@pytest.mark.parametrize("nops", [0, 1, 100, 1000, 4000])
def test_the_next_page_is_fetched_when_all_before_it_has_run(tlb: str, nops: int) -> None:
    guest = Border(tlb, NOP * nops + INC_RAX, maps=False)
    with pytest.raises(UcError) as caught:
        guest.run(guest.start, rax=0)
    assert caught.value.errno == UC_ERR_EXCEPTION
    assert (guest["rax"], guest["rip"], guest.seen) == (1, NEXT, [(NEXT, Access.FETCH, NEXT)])
    failure = guest.mmu.take_failure()
    assert failure is not None and failure[0].vaddr == NEXT and failure[1] == Access.FETCH
    guest.maps = True
    guest.run(NEXT, rdx=0)
    assert (guest["rdx"], len(guest.seen)) == (1, 2)


@TLBS
def test_faults_come_in_the_order_of_the_program(tlb: str) -> None:
    guest = Border(tlb, LOAD + NOP * 8)
    guest.run(guest.start, rbx=DATA + 0x5000, rdx=0)
    assert [each[:2] for each in guest.seen] == [(DATA + 0x5000, Access.READ), (NEXT, Access.FETCH)]
    assert [each[2] for each in guest.seen] == [guest.start, NEXT] and guest["rdx"] == 1


@TLBS
def test_a_store_that_fails_before_it_is_the_failure(tlb: str) -> None:
    guest = Border(tlb, STORE + NOP * 8, maps=False)
    fault, access = guest.fails(guest.start, rbx=DATA + 0x5000)
    assert (fault.vaddr, access, guest["rip"]) == (DATA + 0x5000, Access.WRITE, guest.start)
    assert [each[:2] for each in guest.seen] == [(DATA + 0x5000, Access.WRITE)]


@TLBS
def test_an_instruction_in_both_pages_needs_both(tlb: str) -> None:
    guest = Border(tlb, INC_RAX + INC_RAX[:4])
    guest.ram.write(NEXT_PADDR, bytes.fromhex(INC_RAX[4:] + INC_RDX + HLT))
    guest.run(guest.start, rax=0, rdx=0)
    assert (guest["rax"], guest["rdx"], guest.seen) == (2, 1, [(NEXT, Access.FETCH, NEXT - 2)])


@TLBS
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
def test_count_counts_across_the_border(tlb: str, count: int) -> None:
    guest = Border(tlb, NOP * 2 + INC_RAX + NOP)
    guest["rax"] = guest["rdx"] = 0
    guest.uc.emu_start(guest.start, 0, count=count)
    ends = [guest.start + 1, guest.start + 2, NEXT - 1, NEXT, NEXT + 3, NEXT + 4]
    assert guest["rip"] == ends[count - 1]
    assert (guest["rax"], guest["rdx"]) == (int(count >= 3), int(count >= 5))
    assert len(guest.seen) == int(count >= 5)


@TLBS
def test_until_is_reached_first(tlb: str) -> None:
    for until in (-3, -1, 0):
        guest = Border(tlb, NOP * 8)
        guest.uc.emu_start(guest.start, NEXT + until)
        assert (guest["rip"], guest.seen) == (NEXT + until, [])


@TLBS
def test_an_until_that_cannot_be_fetched_is_not_asked_for(tlb: str) -> None:
    """The engine looks up the page of ``until`` when it has ended."""
    for until in (NEXT + 3, DATA + 0x8000, (1 << 64) - 1):
        guest = Border(tlb, HLT + NOP * 8)
        guest.uc.emu_start(guest.start, until)
        assert (guest["rip"], guest.seen) == (guest.start + 1, []) and guest.mmu.take_failure() is None
    guest = Border(tlb, NOP * 8)
    guest.uc.emu_start(guest.start, NEXT + 3)
    assert (guest["rip"], len(guest.seen)) == (NEXT + 3, 1)


@TLBS
def test_emu_stop_stops_before_the_border(tlb: str) -> None:
    guest = Border(tlb, NOP * 8)

    def stop(uc: Uc, _address: int, _size: int, _data: Any) -> None:
        uc.emu_stop()

    guest.uc.hook_add(UC_HOOK_CODE, stop, begin=NEXT - 2, end=NEXT - 2)
    guest.uc.emu_start(guest.start, 0)
    assert (guest["rip"], guest.seen) == (NEXT - 2, [])


@TLBS
def test_an_exception_of_a_hook_comes_out_from_there(tlb: str) -> None:
    guest = Border(tlb, LOAD + NOP * 8)

    def refuse(_fault: PageFault) -> bool:
        raise KeyError("mine")

    guest.mmu.on_page_fault = refuse
    with pytest.raises(KeyError, match="mine"):
        guest.run(guest.start, rbx=DATA + 0x5000)
    assert guest["rip"] == guest.start


def test_what_is_no_access_is_not_counted() -> None:
    guest = Border("off", NOP * 8)
    before = guest.mmu.counters
    guest.run(guest.start)
    counted = guest.mmu.counters
    assert counted.page_faults - before.page_faults == 1
    assert counted.walks - before.walks == 3, "the first page, and the next one before and after the fault"


@TLBS
def test_what_is_no_access_is_no_event(tlb: str) -> None:
    guest = Border(tlb, LOAD + NOP * 8)
    guest.mmu.events.enable(EventKind.FAULT, EventKind.WALK)
    guest.run(guest.start, rbx=DATA + 0x5000)
    events = guest.mmu.events.drain()
    faults = events[events["kind"] == EventKind.FAULT]
    assert faults[["vaddr", "access"]].tolist() == [(DATA + 0x5000, Access.READ), (NEXT, Access.FETCH)]
    walked = events[(events["kind"] == EventKind.WALK) & (events["vaddr"] == NEXT)]
    assert [bool(each["error_code"]) for each in walked] == [True, False]


def test_the_model_does_not_see_it() -> None:
    guest = Border("textbook", NOP * 8)
    guest.run(guest.start)
    assert guest.mmu.tlb is not None
    counted = guest.mmu.tlb.access_counters()[Access.FETCH]
    assert (counted["walk_faults"], counted["walk_completed_4k"]) == (1, 2)


@TLBS
def test_a_page_that_has_gone_again_faults_again(tlb: str) -> None:
    guest = Border(tlb, NOP * 8)
    for turn in (1, 2, 3):
        guest.run(guest.start, rdx=0)
        assert (guest["rdx"], len(guest.seen)) == (1, turn)
        guest.tables.unmap(NEXT)
        guest.mmu.invlpg(NEXT)


@TLBS
def test_a_jump_away_never_fetches_it(tlb: str) -> None:
    guest = Border(tlb, "ebfc")  # jmp to two bytes before
    guest.ram.write(CODE_PADDR + 0xFFC, bytes.fromhex("f490"))
    guest.run(NEXT - 2)
    assert (guest["rip"], guest.seen) == (NEXT - 3, [])
