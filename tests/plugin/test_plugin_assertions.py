"""The assertions: when they hold, and their messages when they do not."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from emu.kernel.task import Task
from emu.testing import (
    GuestMachine,
    assert_allows,
    assert_does_not_share_table,
    assert_no_fault,
    assert_pagetable_bytes,
    assert_same_frame,
    assert_shares_table,
    side_by_side,
    walk_of,
)
from msharefs.region import MSHARE_BASE

TIB = 1 << 40
#: Process a has the region at 2 TiB and has touched it; b, its child, has it at 2 and at 6 TiB and touches it after
#: mark 2 and mark 3.
PAIR = """
@fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600; @ftruncate fd SIZE; @create fd 0 8K RW OBJECT|MAP_NORESERVE
@w = mmap 2T SIZE RW MAP_SHARED|MAP_FIXED fd 0; @store w 7; @p = mmap 1T 4K RW ANON|MAP_FIXED -1 0; @store p 1
@fork c; @v = mmap 6T SIZE RW MAP_SHARED|MAP_FIXED fd 0; @store p 2; @mark 2; @load w; @load v; @mark 3; @store w 9
@mark 4; end; @mark 1; @wait c
"""


def start(machine: GuestMachine, level: str = "pmd") -> tuple[Task, Task]:
    a = machine.guest("calls", PAIR.replace("SIZE", str({"pte": 2 << 20, "pmd": 1 << 30, "pud": 512 << 30}[level])))
    machine.run_until_mark(a, 1)
    return a, machine.run_until_mark(None, 2)


def refused(doing: Callable[[], object]) -> list[str]:
    """The lines of the AssertionError, addresses of memory (which may change) as X."""
    with pytest.raises(AssertionError) as caught:
        doing()
    return [re.sub(r"0x[0-9a-f]{4,6}\b", "X", line.rstrip()) for line in str(caught.value).splitlines()]


@pytest.mark.unimmu(level=["pte", "pmd", "pud"])
def test_a_table_is_shared_once_it_is_linked(machine: GuestMachine) -> None:
    level = machine.level
    assert level is not None
    a, b = start(machine, level)
    assert_shares_table(a, machine.host_mms[0], 2 * TIB, MSHARE_BASE, level=level)
    assert_does_not_share_table(a, b, 2 * TIB, level=level)
    machine.run_until_mark(b, 3)
    assert_shares_table(a, b, 2 * TIB, level=level)
    assert_shares_table(a, b, 2 * TIB, 6 * TIB, level=level)
    assert_shares_table(b, b, 2 * TIB, 6 * TIB, level="pte")
    assert_same_frame(a, b, 2 * TIB, 6 * TIB)
    if level != "pud":
        assert_does_not_share_table(a, b, 2 * TIB, level="pud")


def test_a_table_that_is_not_shared_is_shown(machine: GuestMachine) -> None:
    a, b = start(machine)
    lines = refused(lambda: assert_shares_table(a, b, 2 * TIB, 6 * TIB, level="pmd"))
    assert lines[:3] == [
        "process 101 (calls) does not share the PMD table of process 100 (calls) (0x60000000000 and 0x20000000000).",
        "  PMD table of process 100 (calls): at X",
        "  PMD table of process 101 (calls): none, its PGD entry is not present",
    ]
    assert [line.split() for line in lines[4:10]] == [
        ["process", "100", "(calls)", "process", "101", "(calls)"],
        ["0x20000000000,", "CR3", "X", "0x60000000000,", "CR3", "X"],
        ["PGD", "[X]", "=", "X", "≠", "[X]", "=", "0x0"],
        ["PML4E", "PDPT", "table", "at", "X:", "P", "RW", "US", "A", "PML4E", "not", "present"],
        ["PUD", "[X]", "=", "X", "≠", "-"],
        ["PDPTE", "PD", "table", "at", "X:", "P", "RW", "US", "A", "the", "walk", "ended", "above"],
    ]
    assert lines[10].endswith("<- not one PMD table")


@pytest.mark.unimmu(la57=True)
def test_five_levels_are_shown(machine: GuestMachine) -> None:
    a, b = start(machine)
    lines = refused(lambda: assert_shares_table(a, b, TIB, level="pte"))
    rows = [line.split()[0] for line in lines[6:] if line.startswith("P")]
    assert rows == ["PGD", "P4D", "PUD", "PMD", "PTE"]
    assert "PML5E PML4 table at X: P RW US A" in lines[7]


def test_private_tables_are_not_shared(machine: GuestMachine) -> None:
    a, b = start(machine)
    assert_same_frame(a, b, TIB)  # MAP_SHARED memory, each through tables of its own
    lines = refused(lambda: assert_shares_table(a, b, TIB, level="pte"))
    assert lines[0] == "process 101 (calls) does not share the PTE table of process 100 (calls) at 0x10000000000."
    assert lines[-1].split() == ["physical", "X", "=", "physical", "X"]
    assert "->" in lines[-3] and lines[-3].endswith("<- not one PTE table")


def test_a_table_that_is_shared_and_should_not_be(machine: GuestMachine) -> None:
    a, b = start(machine)
    machine.run_until_mark(b, 3)
    lines = refused(lambda: assert_does_not_share_table(a, b, 2 * TIB, level="pmd"))
    assert lines[0].endswith("shares the PMD table of process 100 (calls) at 0x20000000000, and should not.")
    assert lines[1] == "  both use the one at X"
    rows = {line.split()[0]: line for line in lines if line.startswith(("PGD", "PUD", "PMD", "PTE"))}
    signs = {name: line.split()[4] for name, line in rows.items()}
    assert signs == {"PGD": "≠", "PUD": "->", "PMD": "=", "PTE": "="}
    assert [name for name, line in rows.items() if line.endswith("<- one table")] == ["PMD"]


def test_other_memory_is_shown(machine: GuestMachine) -> None:
    a, b = start(machine)
    stack = a.mm.start_stack & -4096
    lines = refused(lambda: assert_same_frame(a, b, stack))
    assert lines[0] == f"process 101 (calls) does not see the same memory as process 100 (calls) at {stack:#x}."
    assert lines[1:3] == ["  process 100 (calls): physical X", "  process 101 (calls): physical X"]
    assert lines[6].startswith("PGD ") and lines[6].endswith("<- here they part")
    machine.run_until_mark(b, 3)
    lines = refused(lambda: assert_same_frame(a, b, 2 * TIB, 6 * TIB + 4096))
    assert [line.split()[0] for line in lines if line.endswith("<- here they part")] == ["PTE"]
    lines = refused(lambda: assert_same_frame(a, b, 3 * TIB))
    assert lines[1] == "  process 100 (calls): nothing, its PGD entry is not present"


def test_looking_changes_nothing(machine: GuestMachine) -> None:
    a, _ = start(machine)
    before = machine.ram.words.copy()
    counts = machine.counts
    side_by_side(walk_of(a, 2 * TIB), walk_of(a, TIB))
    assert (machine.ram.words == before).all() and machine.counts == counts


def test_what_the_tables_allow(machine: GuestMachine) -> None:
    a, b = start(machine)
    for access in ("read", "write"):
        assert_allows(a, 2 * TIB, access)
    assert refused(lambda: assert_allows(a, 2 * TIB, "fetch"))[0] == (
        "a fetch of 0x20000000000 by process 100 (calls) would fault: its PTE entry does not allow it."
    )
    lines = refused(lambda: assert_allows(b, 2 * TIB))
    assert lines[0] == "a read of 0x20000000000 by process 101 (calls) would fault: its PGD entry is not present."
    assert lines[3] == "PGD  [X] = 0x0  PML4E not present  <- here"


def test_no_fault(machine: GuestMachine) -> None:
    a, b = start(machine)
    machine.run_until_mark(b, 3)
    with assert_no_fault(machine):
        machine.run_until_mark(b, 4)
    with pytest.raises(AssertionError, match=r"the machine: expected no hardware faults, counted [1-9]"):
        assert_no_fault(machine, lambda: machine.run_guest("hello"))
    assert_no_fault(machine, lambda: machine.run_guest("hello"), task=a)


def test_an_expectation_explains_itself(machine: GuestMachine) -> None:
    a, b = start(machine)
    with machine.expect(link_faults=2, minor_faults=0, hardware_faults=2, task=b) as seen:
        machine.run_until_mark(b, 3)
    assert (seen.counts.link_faults, seen.counts.fills) == (2, 0)
    assert [event.vaddr for event in seen.events.links] == [2 * TIB, 6 * TIB]

    def wrong() -> None:
        with machine.expect(hardware_faults=1, link_faults=0, task=a):
            machine.finish()

    assert refused(wrong)[:4] == [
        "process 100 (calls): expected 1 hardware fault, counted 0.",
        "",
        "link_faults          0  as expected",
        "hardware_faults      0  <- expected 1",
    ]


def test_an_expectation_shows_what_happened(machine: GuestMachine) -> None:
    def wrong() -> None:
        with machine.expect(link_faults=0):
            start(machine)

    lines = refused(wrong)
    assert lines[0] == "the machine: expected no link faults, counted 1."
    first = lines[lines.index("What happened meanwhile:") + 1]
    assert first == "  100 fault: #PF at X, error code 0x14: user fetch: not present"
    links = [line for line in lines if line.startswith("  100 link: the PMD table at X of region r is linked at")]
    assert len(links) == 1


def test_the_block_s_own_error_comes_first(machine: GuestMachine) -> None:
    with pytest.raises(KeyError), machine.expect(link_faults=5):
        raise KeyError


def test_shootdowns_are_counted(make_machine: Callable[..., GuestMachine]) -> None:
    machine = make_machine(cpus=2)
    script = """
        @fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600; @ftruncate fd 1G; @create fd 0 8K RW OBJECT
        @w = mmap 2T 1G RW MAP_SHARED|MAP_FIXED fd 0; @store w 7; @fork c; @load w; @await w 8; end; @store w+4K 1
        @await w+4K 1; @mark 1; @unmap fd 4K 4K; @mark 2; @store w 8; @wait c"""
    a = machine.guest("calls", script)
    machine.run_until_mark(a, 1)
    with machine.expect(shootdowns=1, ipis=1):
        machine.run_until_mark(a, 2)
    machine.finish()


def test_bytes_of_tables(machine: GuestMachine) -> None:
    a, _ = start(machine)
    host = machine.host_mm("r")
    assert machine.host_mms == [host]
    with pytest.raises(ValueError, match=r"there are 0 host mms of 's' \(host mms: host mm of r\)"):
        machine.host_mm("s")
    assert_pagetable_bytes(host, 4 * 4096)
    assert_pagetable_bytes(a, a.mm.tables.table_bytes)
    assert_pagetable_bytes(machine, machine.pagetable_bytes)
    assert refused(lambda: assert_pagetable_bytes(machine.host_mms[0], 8192)) == [
        "host mm of r should have 8192 bytes of page tables, and has 16384: 8192 too many.",
        "",
        "its own tables: 1 PGD, 1 PUD, 1 PMD, 1 PTE",
    ]
    lines = refused(lambda: assert_pagetable_bytes(machine, 1 << 20))
    assert lines[0].startswith("the machine should have 1048576 bytes of page tables, and has ")
    assert lines[0].endswith("too few.") and [line.split(maxsplit=1)[1] for line in lines[2:]] == [
        "calls", "host mm of r", "calls",
    ]  # fmt: skip


def test_bad_questions(machine: GuestMachine) -> None:
    a, b = start(machine)
    with pytest.raises(ValueError, match="there is no page-table level 'pgdir': the levels are pte, pmd, pud"):
        assert_shares_table(a, b, 0, level="pgdir")
    with pytest.raises(ValueError, match="there is no figure 'link_fault' of a machine; there are: minor_faults"):
        machine.expect(link_fault=1)
    with pytest.raises(ValueError, match="there is no figure 'flushes' of one process"):
        machine.expect(flushes=1, task=a)
    with pytest.raises(ValueError, match="there is no access 'execute': there are read, write, fetch"):
        assert_allows(a, 0, "execute")
    with pytest.raises(ValueError, match="nothing is expected"):
        machine.expect()
    machine.finish()
    with pytest.raises(ValueError, match="has ended, and its page tables are gone"):
        assert_same_frame(a, b, 0)
    with pytest.raises(ValueError, match="has ended, and its page tables are gone"):
        assert_pagetable_bytes(a, 0)
