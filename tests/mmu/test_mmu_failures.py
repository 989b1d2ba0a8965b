"""What a script is told of a fault: the walk until it ended, which handler lies, and what really ended emulation."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from unicorn import UC_PROT_ALL, UC_PROT_NONE, UcError
from unicorn.unicorn_const import UC_ERR_EXCEPTION, UC_ERR_READ_PROT

from mmu import Access, PageFault, translate
from mmu.entries import decode
from tests.mmu.guest import CODE, DATA, DATA_PADDR, LOAD, STORE, Guest

UD2, DIV = "0f0b", "f7f1"  # div ecx


@pytest.fixture(params=["off", "textbook"])
def guest(request: pytest.FixtureRequest) -> Guest:
    guest = Guest(tlb=request.param)
    guest.tables.map_page(DATA, DATA_PADDR)
    return guest


# ---- the steps of a walk that failed


def read(guest: Guest, *levels: int) -> list[int]:
    """In exact mode the fetch of CODE has left the upper ones in the structure caches."""
    return [level for level in levels if guest.mmu.mode == "filtered" or level < 3]


def test_a_fault_carries_the_walk_until_it_ended(guest: Guest) -> None:
    guest.tables.unmap(DATA, 2)
    seen: list[PageFault] = []

    def mend(fault: PageFault) -> bool:
        seen.append(fault)
        guest.tables.map_page(DATA, DATA_PADDR)
        return True

    guest.mmu.on_page_fault = mend
    guest.program(LOAD)
    guest.run(rbx=DATA)
    (fault,) = (fault for fault in seen if fault.vaddr == DATA)
    assert [step.level for step in fault.steps] == read(guest, 4, 3, 2)
    assert fault.steps[-1].value == 0, "as it was before the handler"
    assert fault.steps[-1].paddr == guest.tables.slot(DATA, 2)
    for upper, lower in pairwise(fault.steps):
        assert decode(upper.level, upper.value)["ADDRESS"] == lower.paddr & -0x1000


@pytest.mark.parametrize(("fields", "code"), [({"RW": 0}, STORE), ({"P": 0}, LOAD)])
def test_a_fault_that_nobody_mends(guest: Guest, fields: dict[str, int], code: str) -> None:
    entry = guest.tables.map_page(DATA, DATA_PADDR, **fields)
    guest.program(code)
    fault, _ = guest.fails(rbx=DATA)
    assert isinstance(fault, PageFault)
    assert [step.level for step in fault.steps] == read(guest, 4, 3, 2, 1) and fault.steps[-1].paddr == entry
    assert fault.steps[-1].value == guest.ram.read_u64(entry)


def test_translate_says_it_too(guest: Guest) -> None:
    with pytest.raises(PageFault) as caught:
        translate(guest.ram, guest.mmu.registers, 1 << 46)
    assert [(step.level, step.value) for step in caught.value.steps] == [(4, 0)]
    assert PageFault(DATA, 0).steps == (), "nobody has walked"


def test_a_walk_begins_behind_what_a_structure_cache_holds() -> None:
    guest = Guest(tlb="textbook")
    guest.tables.map_page(DATA, DATA_PADDR)
    guest.program(LOAD)
    guest.run(rbx=DATA)
    fault, _ = guest.fails(rbx=DATA + 0x1000)
    assert isinstance(fault, PageFault) and [step.level for step in fault.steps] == [1]


# ---- a handler that lies


class Handlers:
    """Of which one says that it has mended what it has not."""

    def lies(self, _fault: PageFault) -> bool:
        """Nothing is mapped."""
        return True


def test_a_handler_that_mends_nothing_is_named(guest: Guest) -> None:
    guest.tables.unmap(DATA)
    guest.program(LOAD)
    guest.mmu.on_page_fault = Handlers().lies
    with pytest.raises(RuntimeError, match=re.escape(f"{__name__}.Handlers.lies said 64 times that {DATA:#x}")):
        guest.run(rbx=DATA)


# ---- take_failure


def test_after_a_clean_run_there_is_none(guest: Guest) -> None:
    guest.program(LOAD)
    guest.run(rbx=DATA)
    assert guest.mmu.take_failure() is None


def test_a_look_up_is_no_access(guest: Guest) -> None:
    """uc.mem_protect drops the code of a range, and asks for its translation."""
    asked: list[PageFault] = []

    def refuse(fault: PageFault) -> bool:
        asked.append(fault)
        return False

    guest.mmu.on_page_fault = refuse
    guest.program(LOAD)
    guest.run(rbx=DATA)
    guest.uc.mem_protect(DATA_PADDR, 0x1000, UC_PROT_NONE)
    with pytest.raises(UcError) as caught:
        guest.run(rbx=DATA)
    assert caught.value.errno == UC_ERR_READ_PROT
    assert guest.mmu.take_failure() is None and asked == []
    guest.uc.mem_protect(DATA_PADDR, 0x1000, UC_PROT_ALL)
    guest.run(rbx=DATA)


def test_a_failure_that_nobody_took_is_not_that_of_the_next_run(guest: Guest) -> None:
    guest.program(LOAD, "31c9", DIV)
    guest.stops(rbx=DATA + 0x5000)
    with pytest.raises(UcError) as caught:
        guest.run(rbx=DATA)
    assert caught.value.errno == UC_ERR_EXCEPTION, "a divide error that no hook handles"
    assert guest.mmu.take_failure() is None


def test_another_error_is_no_fault(guest: Guest) -> None:
    guest.program(UD2)
    with pytest.raises(UcError):
        guest.run()
    assert guest.mmu.take_failure() is None
    assert guest["rip"] == CODE and guest.mmu.translate(CODE, Access.FETCH)
