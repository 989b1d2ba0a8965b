"""Assertions about page tables that read as sentences, and show the two page walks where they do not hold.

A process is a :class:`emu.kernel.task.Task`; wherever one may stand, an address space may too, such as a region's
host mm.  Addresses are virtual, sizes in bytes; a level is the kernel's name of a table: "pte", "pmd", "pud", "pgd".
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, overload

from emu.kernel.task import Task
from emu.mm.address_space import AddressSpace
from emu.mm.pageflags import FrameKind
from emu.mm.pagetable import level_name
from emu.testing.walks import PageWalk, Who, level_number, listing, memory_of, name_of, side_by_side, walk_of
from mmu.memory import PAGE_SIZE
from mmu.registers import Access

if TYPE_CHECKING:
    from emu.testing.machine import GuestMachine


def assert_shares_table(a: Who, b: Who, vaddr: int, vaddr_b: int | None = None, *, level: str = "pmd") -> None:
    """Both walk through one and the same table of ``level``, to ``vaddr`` (and ``b`` to ``vaddr_b``, if it is given).

    AssertionError shows both walks, ValueError says that a process has ended, or that there is no such level.

    >>> assert_shares_table(parent, child, 2 << 40, level="pmd")
    """
    __tracebackhide__ = True
    number = level_number(level)
    left, right = walk_of(a, vaddr), walk_of(b, vaddr if vaddr_b is None else vaddr_b)
    if left.table(number) != right.table(number) or left.table(number) is None:
        name = level.upper()
        sentence = f"{right.name} does not share the {name} table of {left.name} {_at(left, right)}"
        tables = [_table(walk, number) for walk in (left, right)]
        _fail(sentence, tables, left, right, {number: f"<- not one {name} table"})


def assert_does_not_share_table(a: Who, b: Who, vaddr: int, vaddr_b: int | None = None, *, level: str = "pmd") -> None:
    """Each has a table of ``level`` of its own there, or none.  Errors as for :func:`assert_shares_table`.

    >>> assert_does_not_share_table(parent, child, 2 << 40, level="pud")
    """
    __tracebackhide__ = True
    number = level_number(level)
    left, right = walk_of(a, vaddr), walk_of(b, vaddr if vaddr_b is None else vaddr_b)
    table = left.table(number)
    if table == right.table(number) and table is not None:
        sentence = f"{right.name} shares the {level.upper()} table of {left.name} {_at(left, right)}, and should not"
        _fail(sentence, [f"both use the one at {table:#x}"], left, right, {number: "<- one table"})


def assert_same_frame(a: Who, b: Who, va: int, vb: int | None = None) -> None:
    """Both addresses are mapped, and to the same byte of physical memory.

    AssertionError shows both walks, ValueError says that a process has ended.

    >>> assert_same_frame(parent, child, 2 << 40)
    """
    __tracebackhide__ = True
    left, right = walk_of(a, va), walk_of(b, va if vb is None else vb)
    if left.paddr is None or left.paddr != right.paddr:
        sentence = f"{right.name} does not see the same memory as {left.name} {_at(left, right)}"
        _fail(sentence, [_mapped(walk) for walk in (left, right)], left, right, None)


def assert_allows(who: Who, vaddr: int, access: str = "read") -> None:
    """The tables let the process "read", "write" or "fetch" at ``vaddr`` as they are now: it would not fault.

    AssertionError shows the walk and the entry that is in the way, ValueError says that a process has ended, or that
    there is no such access.

    >>> assert_allows(child, 2 << 40, "write")
    """
    __tracebackhide__ = True
    if access.upper() not in Access.__members__:
        raise ValueError(f"there is no access {access!r}: there are {', '.join(Access.__members__).lower()}")
    wanted = Access[access.upper()]
    walk = walk_of(who, vaddr)
    missing = [step for step in walk.steps if not _permits(step.value, wanted)]
    if missing:
        name = walk.label(missing[0].level)
        bit = "is not present" if not missing[0].present else "does not allow it"
        sentence = f"a {access} of {vaddr:#x} by {walk.name} would fault: its {name} entry {bit}."
        raise AssertionError(f"{sentence}\n\n{listing(walk, {missing[0].level: '<- here'})}")


@overload
def assert_no_fault(
    machine: GuestMachine, doing: None = None, *, task: Task | None = None
) -> AbstractContextManager[object]: ...
@overload
def assert_no_fault(machine: GuestMachine, doing: Callable[[], object], *, task: Task | None = None) -> None: ...
def assert_no_fault(
    machine: GuestMachine, doing: Callable[[], object] | None = None, *, task: Task | None = None
) -> AbstractContextManager[object] | None:
    """No page-fault exception happens meanwhile: in a ``with`` block, or while ``doing()`` runs.

    With ``task``, only that process's faults count.  AssertionError lists the faults, TypeError says that the second
    argument cannot be called.  Without ``doing``, what it gives is for ``with``: by itself it checks nothing, which
    fails the test in the end.

    >>> with assert_no_fault(machine, task=parent):
    ...     other = machine.guest("hello")
    ...     machine.run_until_idle()
    """
    __tracebackhide__ = True
    if doing is not None and not callable(doing):
        raise TypeError(f"assert_no_fault: {doing!r} cannot be called; a process goes into task=")
    expectation = machine.expect(hardware_faults=0, task=task)
    if doing is None:
        return expectation
    with expectation:
        doing()
    return None


def assert_pagetable_bytes(whose: GuestMachine | Who, expected: int) -> None:
    """The page tables of a process, of a region's host mm or of the whole machine take exactly ``expected`` bytes.

    Tables that a process only links to are not its own: they are counted where they belong, once.  AssertionError
    says how many tables of each level there are, ValueError that a process has ended.

    >>> assert_pagetable_bytes(machine.host_mm("r"), 4 * 4096)      # PGD, PUD, PMD and PTE table
    """
    __tracebackhide__ = True
    if isinstance(whose, Task | AddressSpace):
        mm = memory_of(whose)
        name, found = name_of(whose), mm.tables.table_bytes
        counted = sorted(mm.tables.tables.items(), reverse=True)
        parts = [f"{n} {level_name(level, mm.tables.levels).upper()}" for level, n in counted]
        detail = f"its own tables: {', '.join(parts)}"
    else:
        name, found = "the machine", whose.kernel.frames.used[FrameKind.PAGETABLE] * PAGE_SIZE
        spaces = whose.kernel.mm_context.address_spaces.values()
        detail = "\n".join(f"{mm.tables.table_bytes:10}  {mm.name}" for mm in spaces)
    if found != expected:
        difference = f"{abs(found - expected)} {'too many' if found > expected else 'too few'}"
        raise AssertionError(
            f"{name} should have {expected} bytes of page tables, and has {found}: {difference}.\n\n{detail}"
        )


# -- words -------------------------------------------------------------------------------------------------------------


def _at(left: PageWalk, right: PageWalk) -> str:
    if left.vaddr == right.vaddr:
        return f"at {left.vaddr:#x}"
    return f"({right.vaddr:#x} and {left.vaddr:#x})"


def _table(walk: PageWalk, level: int) -> str:
    table = walk.table(level)
    found = f"none, {walk.end}" if table is None else f"at {table:#x}"
    return f"{walk.label(level)} table of {walk.name}: {found}"


def _mapped(walk: PageWalk) -> str:
    return f"{walk.name}: {f'nothing, {walk.end}' if walk.paddr is None else f'physical {walk.paddr:#x}'}"


def _permits(value: int, access: Access) -> bool:
    return bool(value & 1) and bool(value & 4) and {
        Access.READ: True, Access.WRITE: bool(value & 2), Access.FETCH: not value >> 63
    }[access]  # fmt: skip


def _fail(sentence: str, facts: list[str], left: PageWalk, right: PageWalk, notes: dict[int, str] | None) -> None:
    """``notes`` as for :func:`side_by_side`."""
    __tracebackhide__ = True
    lines = [f"{sentence}.", *(f"  {fact}" for fact in facts), "", side_by_side(left, right, notes)]
    raise AssertionError("\n".join(lines))
