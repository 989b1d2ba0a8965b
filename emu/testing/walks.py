"""Page walks for people: the entries that translate an address, and two walks side by side.

Looking changes nothing: no accessed bit is set, no fault is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emu.kernel.task import Task
from emu.mm.address_space import AddressSpace
from emu.mm.pagetable import LEVEL_OF, level_name
from mmu.entries import decode, describe, is_leaf, page_bytes

if TYPE_CHECKING:
    from mmu import PhysicalMemory

#: Whose tables are meant: a process, or an address space (a host mm too).
Who = Task | AddressSpace


@dataclass(frozen=True)
class Step:
    """One entry of a walk: its level, its physical address and its value."""

    level: int
    paddr: int
    value: int

    @property
    def present(self) -> bool:
        """P is set."""
        return bool(self.value & 1)

    @property
    def target(self) -> int | None:
        """Where the entry points, without the bits that say how; None if it is not present."""
        return decode(self.level, self.value)["ADDRESS"] if self.present else None


@dataclass(frozen=True)
class PageWalk:
    """The walk of one address: who walks, and the entries from the top level down to the last that could be read.

    ``vaddr`` is the address, ``pgd`` the physical address of the top-level table, and ``steps`` has an entry a level.

    >>> walk_of(child, 1 << 40).end
    'its PGD entry is not present'
    """

    name: str
    vaddr: int
    pgd: int
    steps: tuple[Step, ...]

    def step(self, level: int) -> Step | None:
        """The entry that was read at a level."""
        return next((step for step in self.steps if step.level == level), None)

    def table(self, level: int) -> int | None:
        """The physical address of the table of ``level``; None if the walk does not come to one."""
        step = self.step(level)
        return None if step is None else step.paddr & -4096

    @property
    def paddr(self) -> int | None:
        """Where the address is in physical memory; None if it is not mapped."""
        last = self.steps[-1]
        if last.target is None or not is_leaf(last.level, last.value):
            return None
        return last.target + self.vaddr % page_bytes(last.level)

    @property
    def end(self) -> str:
        """How the walk ends, as half a sentence."""
        last = self.steps[-1]
        name = self.label(last.level)
        return f"its {name} entry {f'maps a page at {last.target:#x}' if last.present else 'is not present'}"

    def label(self, level: int) -> str:
        """The kernel's name of a level, in capitals."""
        return level_name(level, self.steps[0].level).upper()


def name_of(who: Who) -> str:
    """``process 101 (donor)``, or the address space's own name."""
    return f"process {who.pid} ({who.comm})" if isinstance(who, Task) else who.name


def memory_of(who: Who) -> AddressSpace:
    """Whose tables are walked."""
    __tracebackhide__ = True
    mm = who.mm if isinstance(who, Task) else who
    if mm.users == 0:
        raise ValueError(f"{name_of(who)} has ended, and its page tables are gone: look before it exits")
    return mm


def walk_of(who: Who, vaddr: int) -> PageWalk:
    """The walk of ``vaddr`` for a process or an address space: what the tables say, read without touching them.

    ValueError if it has ended.

    >>> walk = walk_of(child, 2 << 40)
    >>> [walk.label(step.level) for step in walk.steps], walk.paddr == walk_of(parent, 2 << 40).paddr
    (['PGD', 'PUD', 'PMD', 'PTE'], True)
    """
    __tracebackhide__ = True
    mm = memory_of(who)
    pgd = mm.tables.pgd_paddr
    return PageWalk(name_of(who), vaddr, pgd, tuple(_steps(mm.frames.ram, pgd, mm.tables.levels, vaddr)))


def _steps(ram: PhysicalMemory, table: int, level: int, vaddr: int) -> Iterator[Step]:
    while True:
        paddr = table | (vaddr // page_bytes(level) & 511) << 3
        step = Step(level, paddr, int(ram.qwords[paddr >> 3]))
        yield step
        if step.target is None or is_leaf(level, step.value):
            return
        table, level = step.target, level - 1


def level_number(level: str) -> int:
    """The number of a level by the kernel's name.  ValueError for another word."""
    __tracebackhide__ = True
    if level not in LEVEL_OF:
        raise ValueError(f"there is no page-table level {level!r}: the levels are {', '.join(LEVEL_OF)}")
    return LEVEL_OF[level]


# -- side by side ------------------------------------------------------------------------------------------------------


def side_by_side(left: PageWalk, right: PageWalk, note: dict[int, str] | None = None) -> str:
    """Two walks in two columns, a level a row: the table's address, the entry and its words.

    Between the columns: ``=`` one and the same entry of one table; ``->`` entries of two tables that lead to the same
    place, which is how a table is shared; ``≠`` entries that lead to different places.  ``note`` puts words behind a
    level; without it, the level is marked from which on the walks lead to different places.

    >>> print(side_by_side(walk_of(parent, 1 << 40), walk_of(child, 1 << 40)))      # doctest: +ELLIPSIS
         process 100 (calls)         process 101 (calls)
         0x10000000000, CR3 0x...   0x10000000000, CR3 0x...
    PGD  [0x...] = 0x0       ≠   [0x...] = 0x0       <- here they part
         PML4E not present           PML4E not present
    """
    rows: list[tuple[str, str, str, str]] = [("", left.name, "", right.name)]
    rows.append(("", f"{left.vaddr:#x}, CR3 {left.pgd:#x}", "", f"{right.vaddr:#x}, CR3 {right.pgd:#x}"))
    top = max(left.steps[0].level, right.steps[0].level)
    notes = _difference(left, right) if note is None else note
    for level in range(top, 0, -1):
        steps = left.step(level), right.step(level)
        if steps == (None, None):
            break
        sign = _sign(*steps)
        end = f"{_entry(steps[1])}\t{notes.get(level, '')}"
        rows.append((left.label(level), _entry(steps[0]), sign, end))
        rows.append(("", _meaning(steps[0]), "", _meaning(steps[1])))
    if left.paddr is not None or right.paddr is not None:
        sign = "=" if left.paddr == right.paddr else "≠"
        rows.append(("", _address(left), sign, _address(right)))
    return "\n".join(_aligned(rows))


def listing(walk: PageWalk, note: dict[int, str]) -> str:
    """One walk, a level a line, with ``note`` behind its level."""
    lines = [f"{walk.name}: {walk.vaddr:#x}, CR3 {walk.pgd:#x}"]
    for step in walk.steps:
        words = note.get(step.level, "")
        lines.append(f"{walk.label(step.level):4} {_entry(step)}  {_meaning(step)}  {words}".rstrip())
    return "\n".join([*lines, f"     {_address(walk)}"])


def _difference(left: PageWalk, right: PageWalk) -> dict[int, str]:
    """Where two walks part: behind the last entry that leads both to the same place, or at the top."""
    parted: int | None = None
    for step in left.steps:
        if _sign(step, right.step(step.level)) != "≠":
            parted = None
        elif parted is None:
            parted = step.level
    return {} if parted is None else {parted: "<- here they part"}


def _sign(left: Step | None, right: Step | None) -> str:
    if left is None or right is None:
        return "≠"
    if left.paddr == right.paddr:
        return "="
    return "->" if left.target == right.target is not None else "≠"


def _entry(step: Step | None) -> str:
    return "-" if step is None else f"[{step.paddr:#x}] = {step.value:#x}"


def _meaning(step: Step | None) -> str:
    return "the walk ended above" if step is None else describe(step.level, step.value)


def _address(walk: PageWalk) -> str:
    return "not mapped" if walk.paddr is None else f"physical {walk.paddr:#x}"


def _aligned(rows: list[tuple[str, str, str, str]]) -> Iterator[str]:
    width = max(len(row[1]) for row in rows)
    last = max(len(row[3].partition("\t")[0]) for row in rows)
    for label, left, sign, right in rows:
        right, _, words = right.partition("\t")
        yield f"{label:4} {left:{width}}  {sign:^2}  {right:{last}}  {words}".rstrip()
