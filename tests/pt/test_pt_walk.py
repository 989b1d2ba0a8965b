"""A walk in words: to its end as the MMU walks it, or to where it faults, with the error code and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

import guests
from emu.kernel.sched import StopReason
from emu.machine import Machine
from emu.mm.swapops import GUARD_ENTRY, POISONED_ENTRY, swap_entry
from emu.trace.pt.tables import Mapped, PageTablesSnapshot, take_tables
from emu.trace.pt.walk import error_fields, walk
from mmu import Access, PageFault, Walker
from mmu.entries import encode
from tests.booted import MIB
from tests.pt.conftest import Sharing3, by_hand

PML4, PDPT, PD, PT = range(0x1000, 0x5000, 0x1000)
TABLE = {"P": 1, "RW": 1, "US": 1, "A": 1}
HEAP = Mapped(0x400000, 0x410000, "rw-p", "[heap]")


def one(entry: int, level: int = 1, mapping: Mapped = HEAP, **above: int) -> PageTablesSnapshot:
    """A process with one entry of this level for 0x400000."""
    tables = {
        PML4: {0: encode(4, ADDRESS=PDPT, **{**TABLE, **above})},
        PDPT: {0: encode(3, ADDRESS=PD, **TABLE)},
        PD: {2: encode(2, ADDRESS=PT, **TABLE)},
        PT: {},
    }
    tables[{1: PT, 2: PD, 3: PDPT}[level]] = {{1: 0, 2: 2, 3: 0}[level]: entry}
    return by_hand(tables, PML4, mappings=(mapping,), memory=2 << 30)


def told(snapshot: PageTablesSnapshot, vaddr: int, access: Access = Access.READ) -> str:
    return "\n".join(walk(snapshot, snapshot.spaces[0], vaddr, access).lines())


def test_to_the_byte(machine: Callable[..., Machine]) -> None:
    booted = machine()
    booted.spawn(guests.path("sharers"), ["plain", "1", str(MIB)])
    assert booted.run(timeout_s=60) == StopReason.IDLE
    snapshot = take_tables(booted, "it waits")
    story = walk(snapshot, snapshot.spaces[0], 0x401000, Access.FETCH, booted.ram)
    assert story.paddr is not None
    code = booted.ram.read(story.paddr, 8)
    assert story.data == code
    assert code in guests.path("sharers").read_bytes()
    assert story.ending[-1] == f"The byte there is {code[0]:#04x} (from there on: {code.hex(' ')})."


def test_every_number_of_it_is_there() -> None:
    lines = told(one(encode(1, P=1, US=1, ADDRESS=0x9000)), 0x400123)
    for words in (
        "process 100 (prog) reads 0x400123",
        "CR3 holds 0x1000: there the PGD table (PML4) begins, of 4 levels.",
        "Step 3: PMD table (PD) at 0x3000",
        "Bits 29:21 of the address are 0b000000010 = 2.",
        "Entry 2 is at 0x3000 + 2 * 8 = 0x3010, and holds 0x0000000000004027:",
        "So the PTE table at 0x4000 comes next.",
        "5  A        0  not accessed yet: a walk sets it",
        "So it maps a page of 4 KiB at 0x9000.",
        "Bits 11:0 of the address are the offset in it: 0x9000 + 0x123 = 0x9123.",
        "The physical address of 0x400123 is 0x9123.",
        "The processor sets A in the PTE.",
    ):
        assert words in lines


@pytest.mark.parametrize(("level", "size", "bits"), [(2, "2 MiB", 20), (3, "1 GiB", 29)])
def test_a_large_page_ends_the_walk(level: int, size: str, bits: int) -> None:
    frame = 1 << 30
    snapshot = one(encode(level, PS=1, D=1, ADDRESS=frame, **TABLE), level)
    lines = told(snapshot, 0x400123, Access.WRITE)
    assert f"maps a page of {size} at {frame:#x}" in lines
    assert f"Bits {bits}:0 of the address are the offset" in lines
    assert "Step 4" not in lines
    assert f"is {frame + (0x400123 & ((1 << (bits + 1)) - 1)):#x}." in lines


@pytest.mark.parametrize(
    ("entry", "access", "code", "why", "linux"),
    [
        (0, Access.READ, 0x4, "P is 0, so the walk ends here: not present.", "the kernel finds a page"),
        (0, Access.WRITE, 0x6, "P is 0", "the kernel finds a page"),
        (0, Access.FETCH, 0x14, "P is 0", "does not allow the access, so this is SIGSEGV"),
        (swap_entry(0, 9), Access.READ, 0x4, "in swap area 0, slot 9", "the kernel finds a page"),
        (GUARD_ENTRY, Access.READ, 0x4, "guard page", "a guard page is SIGSEGV"),
        (POISONED_ENTRY, Access.READ, 0x4, "poisoned", "a poisoned page is SIGBUS"),
        (0x9000 | 1 << 8 | 4, Access.READ, 0x4, "PROT_NONE", "the kernel finds a page"),
        (encode(1, P=1, US=1, ADDRESS=0x9000), Access.WRITE, 0x7, "RW is 0 in the PTE", "the kernel finds a page"),
        (encode(1, P=1, RW=1, ADDRESS=0x9000), Access.READ, 0x5, "US is 0 in the PTE", "the kernel finds a page"),
        (encode(1, P=1, US=1, XD=1, ADDRESS=0x9000), Access.FETCH, 0x15, "XD is 1 in the PTE", "SIGSEGV"),
        (encode(1, P=1, US=1) | 1 << 50, Access.READ, 0xD, "Bits that must be 0 are set (0x4000000000000)", "finds"),
    ],
)
def test_a_fault_says_why(entry: int, access: Access, code: int, why: str, linux: str) -> None:
    snapshot = one(entry)
    lines = told(snapshot, 0x400010, access)
    assert f"Page fault (#PF): CR2 becomes 0x400010, and the error code is {code:#x}:" in lines
    assert why in lines
    assert linux in lines.splitlines()[-1]


def test_rights_that_an_entry_above_takes_away_are_its_own_fault() -> None:
    lines = told(one(encode(1, P=1, RW=1, US=1, ADDRESS=0x9000), RW=0), 0x400000, Access.WRITE)
    assert "the access is not allowed: RW is 0 in the PML4E." in lines


def test_an_address_without_a_mapping() -> None:
    assert "no mapping of the process covers the address, so this is SIGSEGV" in told(one(0), 0x500000)


def test_an_address_that_is_not_canonical_is_not_walked() -> None:
    lines = told(one(0), 1 << 62)
    assert "There is no walk" in lines
    assert "Step" not in lines
    assert "bits 63:47 of 0x4000000000000000 are not all equal" in lines


def test_tables_outside_memory() -> None:
    snapshot = one(encode(2, ADDRESS=1 << 40, **TABLE), 2)
    assert "The walk leaves physical memory" in told(snapshot, 0x400000)


def test_the_error_code_in_words() -> None:
    assert [field.value for field in error_fields(0x15)] == [1, 0, 1, 0, 1, 0]
    assert error_fields(0x2)[1].means == "a write"


@pytest.mark.parametrize("options", [{}, {"la57": True}])
def test_the_story_is_the_walk_of_the_machine_s_mmu(machine: Callable[..., Machine], options: dict[str, bool]) -> None:
    """Every address where a process has a mapping, and where one ends, told from the copy and walked in its memory."""
    booted = machine(**options)
    booted.spawn(guests.path("sharers"), ["mshare", "2", str(6 * MIB)])
    assert booted.run(timeout_s=60) == StopReason.IDLE
    snapshot, walker = take_tables(booted, "they wait"), Walker(booted.ram, marks=False)
    for space in snapshot.processes:
        registers = replace(snapshot.registers, cr3=space.pgd)
        for vaddr in {at for m in space.mappings for at in (m.start, m.end - 1, m.end)}:
            story = walk(snapshot, space, vaddr, Access.WRITE)
            try:
                found = walker.translate(registers, vaddr, Access.WRITE)
                assert (story.paddr, story.error_code) == (found.paddr, None)
                steps = found.steps
            except PageFault as fault:
                assert (story.paddr, story.error_code) == (None, fault.error_code)
                steps = fault.steps
            assert [(e.level, e.paddr, e.value) for e in story.entries] == [(s.level, s.paddr, s.value) for s in steps]
            text = "\n".join(story.lines())
            assert all(f"= {s.paddr:#x}, and holds {s.value:#018x}:" in text for s in steps)


def test_nothing_changes(sharers: Sharing3) -> None:
    snapshot = sharers(processes=2)
    before = {at: table.entries.copy() for at, table in snapshot.tables.items()}
    walk(snapshot, snapshot.spaces[0], 2 << 40, Access.WRITE)
    assert all((before[at] == table.entries).all() for at, table in snapshot.tables.items())
