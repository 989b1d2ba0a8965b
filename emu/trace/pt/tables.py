"""Every page table of a machine at one moment, copied from physical memory: what `unimmu pt` shows.

Nothing here is what the kernel believes of its tables: entries are followed from each CR3 down, as the processor does.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from emu.linux.event_kind import printable
from emu.mm.pagetable import ADDRESS, P, span
from emu.proc.memory import vma_name
from mmu.entries import PS
from mmu.memory import PAGE_SHIFT, PAGE_SIZE
from mmu.registers import CR4

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.kernel.task import Task
    from emu.machine import Machine
    from emu.mm.address_space import AddressSpace
    from mmu.registers import Registers

#: The 512 entries of a table.
Entries: TypeAlias = "npt.NDArray[np.uint64]"
_PRESENT, _PS, _ADDRESS = np.uint64(P), np.uint64(int(PS)), np.uint64(ADDRESS)


class Mapped(NamedTuple):
    """What a process has asked for: [start, end) with rights as in /proc/PID/maps (``rw-p``), and a name or "" ."""

    start: int
    end: int
    rights: str
    name: str


@dataclass(frozen=True)
class Space:
    """An address space: its top table, whom it belongs to, and what the kernel accounts for it.

    ``pids`` are the processes that run in it; a region's own, which no CPU loads, has none.  ``kept`` tables are in no
    place yet: each waits for when a transparent huge page is split.  ``mappings`` are in the order of their
    addresses.  In a dump of a machine nobody says which processes there are: ``cpus`` are the vCPUs that had it loaded,
    perhaps none; None in what is no dump.
    """

    name: str
    pids: tuple[int, ...]
    pgd: int
    kept: int = 0
    mappings: tuple[Mapped, ...] = ()
    cpus: tuple[int, ...] | None = None

    @property
    def is_region(self) -> bool:
        """Whether no CPU ever loads it."""
        return not self.pids and self.cpus is None

    @property
    def title(self) -> str:
        """Who it is, for people: nothing in it moves a terminal's cursor."""
        name = printable(self.name)
        if not self.pids:
            return name
        word = "process" if len(self.pids) == 1 else "processes"
        return f"{word} {', '.join(map(str, self.pids))} ({name})"

    def mappings_in(self, start: int, end: int) -> Iterator[Mapped]:
        """The mappings that cover a part of [start, end)."""
        at = bisect_right(self.mappings, start, key=lambda mapping: mapping.end)
        while at < len(self.mappings) and self.mappings[at].start < end:
            yield self.mappings[at]
            at += 1

    def mapping_at(self, vaddr: int) -> Mapped | None:
        """The mapping that covers an address."""
        return next(self.mappings_in(vaddr, vaddr + 1), None)


@dataclass(frozen=True)
class Table:
    """One table: its level (1 is the PTE table), and its entries."""

    level: int
    entries: Entries


@dataclass(frozen=True, eq=False)
class PageTablesSnapshot:
    """All tables of a machine at one moment.

    ``registers`` are those that a walk needs besides CR3, at CPL 3; ``moment`` says in words when that was.  ``tables``
    are by physical address; every table that an entry in them points at is there too, if it lies in memory, and the
    dump that they are of holds it.
    """

    command: tuple[str, ...]
    moment: str
    instructions: int
    memory_bytes: int
    registers: Registers
    spaces: tuple[Space, ...]
    tables: Mapping[int, Table]
    _by_pid: dict[int, Space] = field(default_factory=dict, repr=False)

    @property
    def levels(self) -> int:
        """How many levels the tables have."""
        return self.registers.levels

    @property
    def is_dump(self) -> bool:
        """Whether they are of a dump of a machine, in which tables may be missing."""
        return any(space.cpus is not None for space in self.spaces)

    @property
    def processes(self) -> tuple[Space, ...]:
        """The address spaces in which processes run."""
        return tuple(space for space in self.spaces if space.pids)

    def space_of(self, pid: int) -> Space | None:
        """The address space of a process."""
        if not self._by_pid:
            self._by_pid.update((pid, space) for space in self.spaces for pid in space.pids)
        return self._by_pid.get(pid)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PageTablesSnapshot):
            return NotImplemented
        mine, others = (
            (s.command, s.moment, s.instructions, s.memory_bytes, s.registers, s.spaces, s.tables.keys())
            for s in (self, other)
        )
        return mine == others and all(
            table.level == other.tables[at].level and np.array_equal(table.entries, other.tables[at].entries)
            for at, table in self.tables.items()
        )

    __hash__ = object.__hash__


def children(level: int, entries: Entries) -> Iterator[tuple[int, int]]:
    """(index, physical address of the table) of each entry that points at a table."""
    if level == 1:
        return
    mask = _PRESENT if level >= 4 else _PRESENT | _PS
    for index in np.flatnonzero((entries & mask) == _PRESENT).tolist():
        yield index, int(entries[index] & _ADDRESS)


def address_of(index: int, level: int, base: int) -> int:
    """The first address that an entry translates, in a table whose first entry translates ``base``."""
    return base + index * span(level)


def shown_address(vaddr: int, levels: int) -> int:
    """An address with its bits above the linear-address width as they must be: equal to the highest one."""
    bits = PAGE_SHIFT + 9 * levels
    return vaddr | (-1 << bits & 0xFFFF_FFFF_FFFF_FFFF) if vaddr >> (bits - 1) & 1 else vaddr


def take_tables(machine: Machine, moment: str, command: tuple[str, ...] = ()) -> PageTablesSnapshot:
    """Copy every table of every process that lives, and of every region.  The machine does not notice."""
    kernel = machine.kernel
    users: dict[AddressSpace, list[Task]] = {}
    for task in machine.tasks:
        users.setdefault(_living(task).mm, []).append(task)
    spaces = [_space(machine, mm, tasks) for mm, tasks in users.items()]
    spaces += [
        _space(machine, mm, [])
        for mm in kernel.mm_context.address_spaces.values()
        if mm.shared_tables
    ]  # fmt: skip
    registers = replace(
        kernel.cpu.mmu.registers, cr3=0, cr4=kernel.cpu.mmu.registers.cr4 & ~CR4.PCIDE, cpl=3, ac=False
    )  # fmt: skip
    return PageTablesSnapshot(
        command=command,
        moment=moment,
        instructions=kernel.cpu.clock,
        memory_bytes=machine.ram.size,
        registers=registers,
        spaces=tuple(spaces),
        tables=_copied(machine, [space.pgd for space in spaces], registers.levels),
    )


def _living(task: Task) -> Task:
    """The leader of a process, or a thread that is still there if the leader has ended."""
    return task if task.alive else next(iter(task.group.threads.values()))


def _space(machine: Machine, mm: AddressSpace, tasks: list[Task]) -> Space:
    mappings = []
    rights = (("r", 1), ("w", 2), ("x", 4))
    for vma in mm.vmas:
        letters = "".join(letter if vma.prot & bit else "-" for letter, bit in rights)
        said = vma_name(machine.kernel, tasks[0], vma) if tasks else vma.ops.name(vma) or ""
        mappings.append(Mapped(vma.start, vma.end, letters + ("s" if vma.shared else "p"), said))
    return Space(
        name=tasks[0].comm if tasks else mm.name,
        pids=tuple(task.tgid for task in tasks),
        pgd=mm.tables.pgd_paddr,
        kept=sum(1 for frame in mm.tables.transparent.values() if frame),
        mappings=tuple(mappings),
    )


def _copied(machine: Machine, roots: list[int], levels: int) -> dict[int, Table]:
    """Each table that the roots lead to, once; what lies outside memory cannot be copied."""
    words, size = machine.ram.words, machine.ram.size
    tables: dict[int, Table] = {}
    todo = [(root, levels) for root in reversed(roots)]
    while todo:
        at, level = todo.pop()
        if at in tables or at >= size:
            continue
        entries = words[at >> 3 : (at + PAGE_SIZE) >> 3].copy()
        tables[at] = Table(level, entries)
        todo += [(child, level - 1) for _, child in children(level, entries)]
    return tables
