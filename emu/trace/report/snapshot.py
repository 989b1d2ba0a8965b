"""A machine's page tables at one moment: what each process has, and which tables its own CR3 leads to.

Everything about sharing is read from the entries in physical memory, so that a report cannot claim what is not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from emu.kernel.report import describe_process
from emu.mm.pagetable import ADDRESS, P, span
from mmu import Access, PhysicalMemory, Walker, WalkStep
from mmu.entries import PS
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.kernel.task import Task
    from emu.machine import Machine
    from emu.mm.address_space import AddressSpace

_PRESENT, _PS, _ADDRESS = np.uint64(P), np.uint64(int(PS)), np.uint64(ADDRESS)

#: The physical addresses of tables, by their level (the highest is the PGD).
Tables = Mapping[int, tuple[int, ...]]


def tables_of_range(ram: PhysicalMemory, pgd: int, start: int, end: int, levels: int = 4) -> dict[int, tuple[int, ...]]:
    """Every table that translates a part of [start, end), found from the PGD down; no entry is changed."""
    covering = _covering(ram, pgd, start, end, levels)
    return {level: tuple(dict.fromkeys(table for table, _ in tables)) for level, tables in covering.items()}


def _covering(ram: PhysicalMemory, pgd: int, start: int, end: int, levels: int) -> dict[int, list[tuple[int, int]]]:
    """The tables of each level, with the first address that each covers."""
    covered = [(pgd, 0)]
    found = {levels: covered}
    for level in range(levels, 1, -1):
        step = span(level)
        below: list[tuple[int, int]] = []
        for table, origin in covered:
            first = max(start - origin, 0) // step
            last = min((end - 1 - origin) // step, 511)
            entries = ram.words[(table >> 3) + first : (table >> 3) + last + 1]
            mask = _PRESENT if level >= 4 else _PRESENT | _PS  # a large page is no table
            for index in np.flatnonzero((entries & mask) == _PRESENT).tolist():
                below.append((int(entries[index] & _ADDRESS), origin + (first + index) * step))
        found[level - 1] = covered = below
    return found


def pages_of_range(ram: PhysicalMemory, pgds: Sequence[int], start: int, end: int, levels: int = 4) -> int:
    """How many pages of 4 KiB of [start, end) any of these address spaces maps, each counted once."""
    mapped = np.zeros((end - start) >> PAGE_SHIFT, np.bool_)
    seen = set[tuple[int, int]]()
    for pgd in pgds:
        covering = _covering(ram, pgd, start, end, levels)
        for level in (1, 2):
            step = span(level)
            for table, origin in set(covering[level]) - seen:
                seen.add((table, origin))
                first = max(start - origin, 0) // step
                last = min((end - 1 - origin) // step, 511)
                entries = ram.words[(table >> 3) + first : (table >> 3) + last + 1]
                wanted = _PRESENT | _PS if level == 2 else _PRESENT
                for index in np.flatnonzero((entries & wanted) == wanted).tolist():
                    at = origin + (first + index) * step - start
                    mapped[max(at, 0) >> PAGE_SHIFT : (at + step) >> PAGE_SHIFT] = True
    return int(np.count_nonzero(mapped))


@dataclass(frozen=True)
class ProcessTables:
    """One process: its figures, the tables that translate the range for it, and its own walk of the first address."""

    pid: int
    minor_faults: int
    link_faults: int
    hardware_faults: int
    pagetable_bytes: int  # tables that it owns, the PGD included
    tables: Tables
    walk: tuple[WalkStep, ...]


@dataclass(frozen=True)
class HostTables:
    """A region's own address space, which no CPU loads: the owner of the tables that processes share."""

    name: str
    pagetable_bytes: int
    tables: Tables


@dataclass(frozen=True)
class Snapshot:
    """Processes that use one range of ``length`` bytes at ``start``.

    ``label`` is one word, ``title`` the same in words for people; ``wall_s`` is how long it took, in seconds.
    """

    label: str
    title: str
    start: int
    length: int
    #: The pages of 4 KiB there that some process's tables map, each counted once.
    mapped_pages: int
    processes: tuple[ProcessTables, ...]
    hosts: tuple[HostTables, ...]
    walks: int
    walk_loads: int
    fills: int
    wall_s: float

    @property
    def pagetable_bytes(self) -> int:
        """All tables of the processes and of the regions, each counted once."""
        return sum(p.pagetable_bytes for p in self.processes) + sum(h.pagetable_bytes for h in self.hosts)

    @property
    def shared_tables(self) -> frozenset[int]:
        """The physical addresses of tables that processes are linked to but do not own."""
        return frozenset(table for host in self.hosts for level in host.tables.values() for table in level)

    def is_shared(self, level: int) -> bool:
        """Whether every process reaches the range's tables of this level through tables that a region owns."""
        shared = self.shared_tables
        tables = [process.tables[level] for process in self.processes]
        return all(tables) and all(shared.issuperset(t) for t in tables)

    def other_tables(self, process: ProcessTables) -> int:
        """How many tables the process has besides those that translate the range: for its program and its stack."""
        own = {table for level in process.tables.values() for table in level} - self.shared_tables
        return process.pagetable_bytes // PAGE_SIZE - len(own)


def take_snapshot(
    machine: Machine,
    label: str,
    title: str,
    start: int,
    length: int,
    wall_s: float,
    tasks: Sequence[Task] | None = None,
) -> Snapshot:
    """Measure every living process, in the order of their pids, or those of ``tasks``.

    Each process's walk is the MMU's, from its own CR3 (and sets A bits, as any walk does).  Raises
    :class:`mmu.PageFault` where a process has not touched the range's first page.
    """
    kernel = machine.kernel
    counters = kernel.cpu.mmu.counters
    walker = Walker(machine.ram)
    hosts = [mm for mm in kernel.mm_context.address_spaces.values() if mm.shared_tables]
    measured = machine.tasks if tasks is None else tasks
    pgds = list(dict.fromkeys(task.mm.tables.pgd_paddr for task in measured))
    levels = measured[0].mm.tables.levels
    return Snapshot(
        label=label,
        title=title,
        start=start,
        length=length,
        mapped_pages=pages_of_range(machine.ram, pgds, start, start + length, levels),
        processes=tuple(_process(machine, walker, task, start, length) for task in measured),
        hosts=tuple(HostTables(mm.name, mm.tables.table_bytes, _all_tables(mm)) for mm in hosts),
        walks=counters.walks,
        walk_loads=counters.walk_loads,
        fills=counters.fills,
        wall_s=wall_s,
    )


def _all_tables(mm: AddressSpace) -> Tables:
    return tables_of_range(mm.frames.ram, mm.tables.pgd_paddr, 0, mm.task_size, mm.tables.levels)


def _process(machine: Machine, walker: Walker, task: Task, start: int, length: int) -> ProcessTables:
    figures = describe_process(task.group)
    pgd = task.mm.tables.pgd_paddr
    registers = replace(machine.kernel.cpu.mmu.registers, cr3=pgd)
    return ProcessTables(
        pid=task.pid,
        minor_faults=figures["minor_faults"],
        link_faults=figures["link_faults"],
        hardware_faults=figures["hardware_faults"],
        pagetable_bytes=figures["pagetable_bytes"],
        tables=tables_of_range(machine.ram, pgd, start, start + length, task.mm.tables.levels),
        walk=walker.translate(registers, start, Access.READ).steps,
    )
