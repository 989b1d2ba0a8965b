"""What a snapshot says of tables is what stands in memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emu.trace.report.snapshot import Snapshot, pages_of_range, tables_of_range
from mmu import PhysicalMemory
from mmu.entries import encode
from tests.booted import MIB

Peak = Callable[..., Snapshot]

SIZE = 6 * MIB
GIB = 1 << 30
PML4, PDPT, PD, PT, OTHER_PT = range(0x1000, 0x6000, 0x1000)


def pages(snapshot: Snapshot, level: int) -> set[tuple[int, ...]]:
    return {process.tables[level] for process in snapshot.processes}


def test_apart(peak: Peak) -> None:
    snapshot = peak("plain", 3, SIZE)
    assert not any(snapshot.is_shared(level) for level in (1, 2, 3))
    for level, number in ((4, 1), (3, 1), (2, 1), (1, 3)):
        assert {len(tables) for tables in pages(snapshot, level)} == {number}
        assert len({table for tables in pages(snapshot, level) for table in tables}) == 3 * number
    assert snapshot.hosts == ()
    assert snapshot.pagetable_bytes == sum(process.pagetable_bytes for process in snapshot.processes)


@pytest.mark.parametrize(("level", "shared"), [("pmd", (1, 2)), ("pud", (1, 2, 3)), ("pte", (1,))])
def test_shared(peak: Peak, level: str, shared: tuple[int, ...]) -> None:
    snapshot = peak("mshare", 3, SIZE, level)
    assert [k for k in (1, 2, 3) if snapshot.is_shared(k)] == list(shared)
    for k in (1, 2, 3, 4):
        assert len(pages(snapshot, k)) == (1 if k in shared else 3)
    assert [len(host.tables[1]) for host in snapshot.hosts] == [3]
    assert snapshot.hosts[0].tables[shared[-1]] == snapshot.processes[0].tables[shared[-1]]
    assert snapshot.hosts[0].pagetable_bytes == 6 * 4096  # PGD, PUD, PMD, three PTE tables
    own = sum(process.pagetable_bytes for process in snapshot.processes)
    assert snapshot.pagetable_bytes == own + snapshot.hosts[0].pagetable_bytes


@pytest.mark.parametrize("mode", ["plain", "mshare"])
def test_the_other_tables(peak: Peak, mode: str) -> None:
    """A PUD, a PMD and PTE tables for the program and the stack each, whatever is shared."""
    snapshot = peak(mode, 2, SIZE)
    assert {snapshot.other_tables(process) for process in snapshot.processes} == {7}


def test_each_process_walks_from_its_own_cr3(peak: Peak) -> None:
    snapshot = peak("mshare", 3, SIZE)
    walks = [process.walk for process in snapshot.processes]
    assert [[step.level for step in walk] for walk in walks] == [[4, 3, 2, 1]] * 3
    assert [walk[0].paddr & -4096 for walk in walks] == [process.tables[4][0] for process in snapshot.processes]
    assert len({walk[1].paddr for walk in walks}) == 3, "three entries"
    assert len({walk[1].value for walk in walks}) == 1, "with the same value"
    assert {walk[2].paddr & -4096 for walk in walks} == set(snapshot.processes[0].tables[2])


def test_faults(peak: Peak) -> None:
    apart, shared = (peak(mode, 3, SIZE) for mode in ("plain", "mshare"))
    pages_read = SIZE // 4096
    for before, after in zip(apart.processes[1:], shared.processes[1:], strict=True):
        assert before.minor_faults - after.minor_faults == pages_read // 16  # 16 pages a fault
        assert (before.link_faults, after.link_faults) == (0, 1)
        assert after.hardware_faults == after.minor_faults + 1


# ---- tables_of_range, on tables made by hand


@pytest.fixture
def ram() -> PhysicalMemory:
    ram = PhysicalMemory(1 << 20)
    ram.write_u64(PML4 + 8 * 4, encode(4, P=1, ADDRESS=PDPT))
    ram.write_u64(PDPT + 8 * 1, encode(3, P=1, ADDRESS=PD))
    ram.write_u64(PD + 8 * 0, encode(2, P=1, ADDRESS=PT))
    ram.write_u64(PD + 8 * 3, encode(2, P=1, ADDRESS=OTHER_PT))
    return ram


START = (4 << 39) + GIB


@pytest.mark.parametrize(
    ("start", "length", "found"),
    [
        (START, 4096, {4: (PML4,), 3: (PDPT,), 2: (PD,), 1: (PT,)}),
        (START, 8 * MIB, {4: (PML4,), 3: (PDPT,), 2: (PD,), 1: (PT, OTHER_PT)}),
        (START + 2 * MIB, 4 * MIB, {4: (PML4,), 3: (PDPT,), 2: (PD,), 1: ()}),
        (START + 4 * MIB, 2 * MIB + 1, {4: (PML4,), 3: (PDPT,), 2: (PD,), 1: (OTHER_PT,)}),
        (START - GIB, GIB, {4: (PML4,), 3: (PDPT,), 2: (), 1: ()}),
        (0, 1 << 47, {4: (PML4,), 3: (PDPT,), 2: (PD,), 1: (PT, OTHER_PT)}),
        (0, GIB, {4: (PML4,), 3: (), 2: (), 1: ()}),
    ],
)
def test_tables_of_range(ram: PhysicalMemory, start: int, length: int, found: dict[int, tuple[int, ...]]) -> None:
    assert tables_of_range(ram, PML4, start, start + length) == found


def test_a_large_page_is_no_table(ram: PhysicalMemory) -> None:
    ram.write_u64(PD + 8 * 3, encode(2, P=1, PS=1, ADDRESS=0))
    assert tables_of_range(ram, PML4, START, START + GIB)[1] == (PT,)


def test_a_table_that_is_linked_twice_counts_once(ram: PhysicalMemory) -> None:
    ram.write_u64(PD + 8 * 7, encode(2, P=1, ADDRESS=PT))
    assert tables_of_range(ram, PML4, START, START + GIB)[1] == (PT, OTHER_PT)


def test_a_page_that_several_processes_map_counts_once(ram: PhysicalMemory) -> None:
    second = 0x6000
    ram.write_u64(second + 8 * 4, ram.read_u64(PML4 + 8 * 4))
    for table, index in ((PT, 1), (PT, 511), (OTHER_PT, 0), (OTHER_PT, 7)):
        ram.write_u64(table + 8 * index, encode(1, P=1, ADDRESS=0x9000))
    ram.write_u64(PD + 8 * 4, encode(2, P=1, PS=1, ADDRESS=0))
    assert pages_of_range(ram, [PML4, second], START, START + GIB) == 4 + 512
    assert pages_of_range(ram, [PML4], START + 2 * 4096, START + 6 * MIB + 7 * 4096) == 2, "not the first, not the last"
    assert pages_of_range(ram, [PML4], START + 10 * MIB - 4096, START + 20 * MIB) == 1, "the end of the large page"
    assert pages_of_range(ram, [PML4], START - GIB, START) == 0
