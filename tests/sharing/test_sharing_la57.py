"""Sharing under 5-level paging (CR4.LA57): the same answers, one level of tables more."""

from __future__ import annotations

import pytest

from emu.mm.pagetable import level_name
from mmu import Access, Walker
from tests.booted import MIB, UNIT, LinkChecker, MakeMachine, Recorder
from tests.exhaustive import in_turn
from tests.sharing import test_sharing_faults as faults
from tests.sharing import test_sharing_files as files
from tests.sharing import test_sharing_lifetime as lifetime
from tests.sharing import test_sharing_window_calls as calls
from tests.sharing.tables import FRESH, OBJECTS, SIZED, WINDOW, Table, expected, results
from tests.sharing.test_sharing_accesses import ACCESSING
from tests.sharing.test_sharing_mapping import MAPPING
from tests.sharing.test_sharing_objects import CREATING, UNMAPPING
from tests.sharing.test_sharing_sizing import SIZING, UNSIZED
from tests.sharing.test_sharing_truth import done, growth_kb, mshare_object, own_kb, run

TABLES: dict[str, tuple[Table, str]] = {
    "the size": (SIZING, FRESH),
    "before there is a size": (UNSIZED, FRESH),
    "MSHAREFS_CREATE_MAPPING": (CREATING, SIZED),
    "MSHAREFS_UNMAP": (UNMAPPING, OBJECTS),
    "mmap of the file": (MAPPING, OBJECTS),
    "accesses": (ACCESSING, WINDOW),
    "mshare_info": (files.INFORMATION, FRESH),
    "files and directories": (files.FILES, FRESH),
    "sharing, fork and lifetime": (lifetime.SHARING, lifetime.START),
    **{f"calls: {name}": tables for name, tables in calls.TABLES.items()},
}
#: Beyond the 47 bits of 4-level paging.
HIGH = 1 << 52


@pytest.mark.parametrize(("name", "level"), in_turn(TABLES, ["pte", "pmd"], 1, always=["pud"]))
def test_the_file_interface(machine: MakeMachine, name: str, level: str) -> None:
    table, before = TABLES[name]
    assert results(machine(level=level, la57=True), table, before) == expected(table, UNIT[level])


@pytest.mark.parametrize("level", UNIT)
def test_faults_are_counted_as_with_4_levels(machine: MakeMachine, level: str) -> None:
    booted = machine(level=level, la57=True)
    recorder = Recorder(booted)
    assert booted.calls(faults.script(faults.region_of(level))) == ["create = 0"] * 3 + ["wait = 0"]
    marks = recorder.marks
    counted = {row.event: marks[2 * n + 1].since(marks[2 * n]) for n, row in enumerate(faults.ROWS)}
    assert counted == {row.event: row.counts(level) for row in faults.ROWS}


#: 64 MiB at 2 TiB: kB of tables that each process needs above the links.  It has its P4D page, and the PUD page where
#: the stack is, already; the region has PTE, PMD and PUD tables, a P4D page and a PGD.
ABOVE_KB = {"pud": 0, "pmd": 4, "pte": 8}


@pytest.mark.parametrize("level", UNIT)
def test_64_mib(machine: MakeMachine, level: str) -> None:
    size = 64 * MIB
    booted = machine(100 * MIB, level=level, la57=True)
    touch = f"@touch w {size}"
    marks = run(booted, mshare_object(booted.unit, size), touch, {2: touch, 3: f"@scan w {size}"})
    for n in (1, 2):
        assert growth_kb(marks, n) - own_kb(marks) * (n - 1) == 4 * (32 + 1 + 1 + 1 + 1) + ABOVE_KB[level] * n
        assert done(marks, n).vm_pte_kb - marks[0].vm_pte_kb == ABOVE_KB[level]
    (region,) = booted.regions
    assert region.host.tables.tables == {5: 1, 4: 1, 3: 1, 2: 1, 1: 32}


@pytest.mark.parametrize("level", UNIT)
def test_a_window_far_up(machine: MakeMachine, level: str) -> None:
    """One P4D page a process, below it what the level needs, and the entry one level above the shared table."""
    booted = machine(level=level, la57=True)
    checker = LinkChecker(booted)
    unit = booted.unit
    booted.guest(
        "calls",
        f'@fd = open "/sys/fs/mshare/a" O_RDWR|O_CREAT 0600; @ftruncate fd {unit}; @create fd 0 8K RW OBJECT;'
        f"@mark 0; w = mmap {HIGH} {unit} RW MAP_SHARED fd 0; store w 7; @mark 1;"
        f"@fork c; v = mmap {HIGH + (1 << 50)} {unit} RW MAP_SHARED fd 0; load v; load w; @pause; end; @pause",
    )
    booted.run()
    parent, child = booted.tasks
    assert f"w = {HIGH:#x}\n" in booted.stdout and f"v = {HIGH + (1 << 50):#x}\n" in booted.stdout
    assert [event["entry_level"] for event in checker.events] == [level_name(UNIT_LEVEL[level] + 1, 5)] * 3
    above = checker.marks[1].vm_pte_kb - checker.marks[0].vm_pte_kb
    assert above == {"pud": 4, "pmd": 8, "pte": 12}[level]  # a P4D page; and a PUD, and a PMD page
    frames = set()
    for task, address in ((parent, HIGH), (child, HIGH), (child, HIGH + (1 << 50))):
        registers = booted.kernel.cpu.mmu.registers
        assert registers.levels == 5
        walk = Walker(booted.ram).translate(
            type(registers)(**{**vars(registers), "cr3": task.mm.tables.pgd_paddr}), address, Access.READ
        )
        assert len(walk.steps) == 5
        frames.add((walk.paddr, walk.steps[5 - UNIT_LEVEL[level]].paddr))
    assert len(frames) == 1  # the same page, by the same entry of the same shared table


UNIT_LEVEL = {"pte": 1, "pmd": 2, "pud": 3}


def test_what_is_not_asked_for_lies_below_47_bits(machine: MakeMachine) -> None:
    lines = machine(la57=True).calls("""
        @fd = open "/sys/fs/mshare/a" O_RDWR|O_CREAT 0600; @ftruncate fd 1G; @create fd 0 8K RW OBJECT
        @w = mmap 0 1G RW MAP_SHARED fd 0; mod w 1G; store w 1; @v = mmap -1 1G RW MAP_SHARED fd 0; mod v 1G; load v
        @p = mmap 0 4K RW PRIVATE -1 0; @q = mmap -1 4K RW PRIVATE -1 0
        say q-64K-64K-128M+4K; munmap q 4K; store w 2; load v
        mmap 0x7fffffffe000 8K RW PRIVATE -1 0; mmap 1T+1T 128T RW PRIVATE|MAP_NORESERVE -1 0
        mmap 0 128T RW PRIVATE|MAP_NORESERVE -1 0; mmap 0x100000000000000 4K RW PRIVATE|MAP_FIXED -1 0
        """)
    values = [line.split(" = ")[1] for line in lines]
    assert values[:4] == ["0", "0", "0", "1"]
    assert int(values[4], 16) >> 47  # the hint -1 is the idiom for "as high as it goes"
    assert values[5:8] == ["0", "0", "2"]
    assert int(values[8], 16) < 1 << 47  # a hint that crosses the border is not taken
    assert values[9:] == ["ENOMEM", "ENOMEM", "ENOMEM"]
