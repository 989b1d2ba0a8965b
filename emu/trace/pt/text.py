"""Page tables as text: ranges in ptdump's look or a tree, then who shares what, and bytes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby

from emu.linux.event_kind import printable
from emu.mm.pagetable import level_name, span
from emu.trace.pt.folding import FULL
from emu.trace.pt.ranges import PageRange, hole_line, range_line, ranges_in, ranges_of
from emu.trace.pt.sharing import Account, Accounts, Link, SharedTable, Sharing, accounts, who
from emu.trace.pt.tables import PageTablesSnapshot, Space, address_of, children, shown_address
from emu.trace.report.units import kib, plural, size_text
from mmu.entries import TABLE_NAME

#: Tables of one parent of which the tree shows the first and the last alone, if they are more and look alike.
_MANY = 4


def table_name(level: int, levels: int) -> str:
    """A table by the kernel's name, in capitals: PGD, P4D, PUD, PMD or PTE."""
    return level_name(level, levels).upper()


def title_of(snapshot: PageTablesSnapshot) -> str:
    """What is shown, in a line."""
    command = printable(" ".join(snapshot.command)) or "a machine"
    title = f"page tables of {command}: {snapshot.moment}"
    return title if snapshot.is_dump else f"{title}, after {snapshot.instructions:,} instructions"


def names_in(space: Space, found: PageRange) -> str:
    """The names of the mappings that a range lies in."""
    names = dict.fromkeys(mapping.name for mapping in space.mappings_in(found.start, found.end) if mapping.name)
    return ", ".join(map(printable, names))


def ranges_text(
    snapshot: PageTablesSnapshot, sharing: Sharing, spaces: Sequence[Space], *, holes: bool = False
) -> Iterator[str]:
    """Each address space as ranges, one a line; with ``holes`` also what lies between.

    Of more than :data:`emu.trace.pt.folding.FULL`, those behind each other that have the lines of an earlier one are
    named in one line.
    """
    shared, earlier = sharing.shared, dict[tuple[str, ...], Space]()
    folded, like = list[Space](), ""
    for space in spaces:
        lines = tuple(_range_lines(snapshot, space, shared, holes))
        first = earlier.setdefault(lines, space) if len(spaces) > FULL else space
        if folded and (first is space or first.title != like):
            yield _the_same(snapshot, folded, like)
            folded = []
        if first is space:
            yield f"---[ {heading(snapshot, space)} ]---"
            yield from lines
        else:
            folded.append(space)
            like = first.title
    if folded:
        yield _the_same(snapshot, folded, like)


def _range_lines(snapshot: PageTablesSnapshot, space: Space, shared: Collection[int], holes: bool) -> Iterator[str]:
    at = 0
    for found in ranges_of(snapshot, space, shared):
        if holes and at < found.start:
            yield hole_line(at, found.start, snapshot.levels)
        yield range_line(found, snapshot.levels, names_in(space, found))
        at = found.end
    if holes and at < (end := span(snapshot.levels) << 8):  # of the lower half, which is user mode's
        yield hole_line(at, end, snapshot.levels)


def _the_same(snapshot: PageTablesSnapshot, spaces: Sequence[Space], like: str) -> str:
    tops = {space.pgd for space in spaces}
    numbers = frozenset(number for number, space in enumerate(snapshot.spaces) if space.pgd in tops)
    return f"---[ {who(snapshot, numbers)}: the same as {like} ]---"


def heading(snapshot: PageTablesSnapshot, space: Space) -> str:
    """An address space, and where its top table is."""
    what = f"{space.title}: PGD at {space.pgd:#x}"
    return what if space.pids or space.cpus else f"{what}, in no CPU's CR3"


# -- the tree ----------------------------------------------------------------------------------------------------------


def tree_text(snapshot: PageTablesSnapshot, sharing: Sharing, spaces: Sequence[Space]) -> Iterator[str]:
    """Each address space as a tree of tables; what a shared table holds is shown where it is met first."""
    seen: set[int] = set()
    for space in spaces:
        yield heading(snapshot, space)
        yield from _branch(snapshot, sharing, space.pgd, 0, "", seen)


def _branch(
    snapshot: PageTablesSnapshot, sharing: Sharing, at: int, base: int, indent: str, seen: set[int]
) -> Iterator[str]:
    table = snapshot.tables[at]
    twigs: list[tuple[int, str, int | None]] = [
        (index, f"[{index}]", child) for index, child in children(table.level, table.entries)
    ]
    for page in ranges_in(table, base):
        first = (page.start - base) // span(table.level)
        last = first + page.number - 1
        label = f"[{first}]" if first == last else f"[{first}-{last}]"
        twigs.append((first, f"{label} {_page(page, snapshot.levels)}", None))
    twigs = _shortened(sorted(twigs, key=lambda twig: twig[0]), snapshot, sharing)
    for number, (index, words, child) in enumerate(twigs):
        last_one = number == len(twigs) - 1
        lead, below = (f"{indent}└─ ", f"{indent}   ") if last_one else (f"{indent}├─ ", f"{indent}│  ")
        if child is None:
            yield lead + words
            continue
        low = address_of(index, table.level, base)
        yield f"{lead}{words} {_pointer(snapshot, sharing, child, table.level - 1, low)}" + (
            "  (see above)" if child in seen else ""
        )
        if child in snapshot.tables and child not in seen:
            if len(sharing.spaces_of[child]) > 1:
                seen.add(child)
            yield from _branch(snapshot, sharing, child, low, below, seen)


def _shortened(
    twigs: list[tuple[int, str, int | None]], snapshot: PageTablesSnapshot, sharing: Sharing
) -> list[tuple[int, str, int | None]]:
    """Of many PTE tables behind each other the first and the last."""
    leaves = [n for n, (_, _, child) in enumerate(twigs) if child in snapshot.tables and _is_leaf(snapshot, child)]
    if len(leaves) <= _MANY or leaves != list(range(leaves[0], leaves[-1] + 1)):
        return twigs
    first, last = leaves[0], leaves[-1]
    between = f"... {plural(len(leaves) - 2, 'more PTE table', 'more PTE tables')}"
    return [*twigs[: first + 1], (twigs[first + 1][0], between, None), *twigs[last:]]


def _is_leaf(snapshot: PageTablesSnapshot, at: int | None) -> bool:
    return at is not None and snapshot.tables[at].level == 1


def _page(page: PageRange, levels: int) -> str:
    start, end = shown_address(page.start, levels), shown_address(page.end - 1, levels) + 1
    return f"{start:#x}-{end:#x}: {' '.join(page.words().split())}"


def _pointer(snapshot: PageTablesSnapshot, sharing: Sharing, child: int, level: int, low: int) -> str:
    name = table_name(level, snapshot.levels)
    words = f"{shown_address(low, snapshot.levels):#x}: {name} table at {child:#x}"
    spaces = sharing.spaces_of.get(child)
    if spaces is None:
        return f"{words}, outside memory"
    return f"{words}, shared by {who(snapshot, spaces)}" if len(spaces) > 1 else words


# -- who shares what ---------------------------------------------------------------------------------------------------


def sharing_text(snapshot: PageTablesSnapshot, sharing: Sharing) -> Iterator[str]:
    """Each shared table with those that come to it; of more than FULL, the first that have it at an address, and the
    others together."""
    yield "---[ shared tables ]---"
    if not sharing.roots:
        yield "no table belongs to more than one address space"
    for root in sharing.roots:
        yield shared_words(snapshot, sharing, root)
        name, at = level_name(root.level + 1, snapshot.levels), dict[int, list[Link]]()
        for link in root.links:
            at.setdefault(link.vaddr if len(root.links) > FULL else len(at), []).append(link)
        for first, *others in at.values():
            vaddr = shown_address(first.vaddr, snapshot.levels)
            yield f"    {who(snapshot, first.spaces)}: by the {name} entry at {first.entry_paddr:#x}, for {vaddr:#x}"
            if others:
                spaces = frozenset[int]().union(*(link.spaces for link in others))
                entries = plural(len(others), f"{name} entry", f"other {name} entries")
                yield f"    {who(snapshot, spaces)}: by {entries}, for {vaddr:#x}"


def shared_words(snapshot: PageTablesSnapshot, sharing: Sharing, root: SharedTable) -> str:
    """A shared table in a sentence."""
    name = table_name(root.level, snapshot.levels)
    below = f" and {plural(root.tables - 1, 'table', 'tables')} below it" if root.tables > 1 else ""
    verb = "belong" if root.tables > 1 else "belongs"
    return f"{name} table at {root.paddr:#x}{below} {verb} to {who(snapshot, sharing.spaces_of[root.paddr])}"


def bytes_text(snapshot: PageTablesSnapshot, sharing: Sharing) -> Iterator[str]:
    """What the tables take, in KiB, with and without sharing."""
    found = accounts(snapshot, sharing)
    yield "---[ KiB of page tables ]---"
    yield f"{'its own':>12} {'shared':>12} {'if none were':>13}"
    for row, title in _rows(snapshot, found.rows):
        alone = kib(row.apart) if row.apart else "-"
        yield f"{kib(row.own):>12} {kib(row.shared):>12} {alone:>13}  {title}"
    yield in_words(snapshot, found)


def _rows(snapshot: PageTablesSnapshot, rows: Sequence[Account]) -> Iterator[tuple[Account, str]]:
    """The rows and what stands behind them; of more than FULL, equal ones behind each other together."""
    if len(rows) <= FULL:
        yield from ((row, row.title) for row in rows)
        return
    for _, group in groupby(enumerate(rows), lambda each: (each[1].own, each[1].shared, each[1].apart)):
        alike = list(group)
        several = who(snapshot, frozenset(number for number, _ in alike))
        yield alike[0][1], f"each of {several}" if len(alike) > 1 else alike[0][1].title


def in_words(snapshot: PageTablesSnapshot, found: Accounts) -> str:
    """What sharing saves, in a sentence."""
    tables = plural(found.as_they_are >> 12, "table", "tables")
    words = f"in all {size_text(found.as_they_are)} in {tables}"
    if found.apart == found.as_they_are:
        return f"{words}; nothing is shared"
    return f"{words}; without sharing it would be {size_text(found.apart)}"


def describe_table(level: int, levels: int) -> str:
    """A table's level by both names: ``PMD table (PD)``."""
    return f"{table_name(level, levels)} table ({TABLE_NAME[level]})"
