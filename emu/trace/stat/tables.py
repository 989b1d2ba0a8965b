"""The counts of a trace as text, in the manner of perf stat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from emu.linux.event_kind import printable
from emu.trace.resolution import RESOLUTIONS
from emu.trace.sentences import size
from emu.trace.stat.counting import Totals
from emu.trace.stat.counts import NO_PAGE, Counts
from emu.trace.stat.groupings import Groups
from emu.trace.stat.pages import Page
from mmu.entries import ENTRY_NAME
from mmu.registers import Access

PER = "per 1,000 instructions"


class Column(NamedTuple):
    """A column of a table of groups."""

    title: str
    of: Callable[[tuple[Any, ...], Counts], str]


def per_thousand(number: int, instructions: int) -> str:
    """How many for 1,000 instructions."""
    return f"{1000 * number / instructions:.2f}" if instructions else "-"


def totals(title: str, found: Totals) -> Iterator[str]:
    """The table of a whole trace."""
    counts, instructions = found.counts, found.instructions
    yield ""
    yield f" Trace of '{printable(title)}': {counts.events.total():,} events, {instructions:,} instructions"

    def line(number: int, what: str, rate: bool = True) -> str:
        said = f"  # {per_thousand(number, instructions):>10} {PER}" if rate and instructions else ""
        return f"{number:>18,}  {what:42}{said}".rstrip()

    yield from ("", *(line(number, kind) for kind, number in _by_number(counts.events)))
    if counts.walks:
        yield from ("", " Walks, by the page that they found:")
        for found_size in sorted(counts.page_sizes, key=lambda n: n or 1 << 60):
            what = "none: a page fault" if found_size == NO_PAGE else f"a page of {size(found_size)}"
            yield line(counts.page_sizes[found_size], what)
        yield from ("", " Walks, by the last entry that they read:")
        for level in sorted(counts.answered):
            yield line(counts.answered[level], f"a {ENTRY_NAME.get(level, level)}")
        yield from ("", " Walks, by where they began:")
        for level in sorted(counts.began, key=lambda n: n or 9):
            where = f"behind a cached {ENTRY_NAME.get(level, level)}" if level else "at CR3"
            yield line(counts.began[level], where)
        yield line(counts.loads, f"entries read, {counts.loads / counts.walks:.2f} a walk")
    if counts.cycles:
        yield from ("", " Translations:")
        yield line(counts.cycles, "cycles, of walks and of hits in the L2 TLB" if counts.lookups else "cycles of walks")
    if counts.shared_walks:
        yield from ("", " Walks through shared tables, by the highest of them:")
        for level in sorted(set(counts.shared) - {0}):
            yield line(counts.shared[level], f"{('PTE', 'PMD', 'PUD')[level - 1]} table")
    if counts.resolved:
        yield from ("", " Faults, by how they were resolved:")
        order = {name: at for at, name in enumerate(RESOLUTIONS)}
        for name in sorted(counts.resolved, key=lambda name: (-counts.resolved[name], order.get(name, -1))):
            yield line(counts.resolved[name], name)
    if counts.lookups:
        yield from ("", " Accesses, by the TLB that answered:")
        yield from _lookups(counts, line)
    if counts.events["shootdown"]:
        yield from ("", " Shootdowns:")
        yield line(found.shootdown_receivers, "vCPUs told")
        yield line(found.shootdown_cycles, "cycles of all vCPUs", rate=False)
    yield ""


def _lookups(counts: Counts, line: Callable[[int, str], str]) -> Iterator[str]:
    for access in (access.name.lower() for access in Access):
        levels = sorted((level for name, level in counts.lookups if name == access), key=lambda n: n or 9)
        whole = sum(counts.lookups[access, level] for level in levels)
        for level in levels:
            number = counts.lookups[access, level]
            where = f"L{level}" if level else "no TLB"
            yield line(number, f"{access}: {where}, {100 * number / whole:.2f} %")


def _by_number(counted: Any) -> list[tuple[str, int]]:
    return sorted(((name, n) for name, n in counted.items() if n), key=lambda item: (-item[1], item[0]))


# -- groups ------------------------------------------------------------------------------------------------------------


def columns_of(found: Totals) -> list[Column]:
    """What is said of every group, in a trace of which this was counted."""
    instructions, whole = found.instructions, found.counts.walks
    columns = [
        Column("events", lambda label, counts: f"{counts.events.total():,}"),
        Column("walks", lambda label, counts: f"{counts.walks:,}"),
        Column("% walks", lambda label, counts: f"{100 * counts.walks / whole:.2f}" if whole else "-"),
        Column("walks/1000", lambda label, counts: per_thousand(counts.walks, instructions)),
        Column("loads", lambda label, counts: f"{counts.loads:,}"),
        Column("shared", lambda label, counts: f"{counts.shared_walks:,}"),
        Column("faults", lambda label, counts: f"{counts.events['fault']:,}"),
    ]
    if found.counts.lookups:
        columns.append(Column("misses", lambda label, counts: f"{counts.misses:,}"))
    if found.counts.cycles:
        columns.append(Column("cycles", lambda label, counts: f"{counts.cycles:,}"))
    return columns


def groups(title: str, labels: Sequence[str], found: Groups, columns: Sequence[Column], most: int) -> Iterator[str]:
    """A table of groups, those with most walks."""
    yield f" {title}"
    if not found:
        yield from ("  none", "")
        return
    ordered = sorted(found, key=lambda group: (-group[1].walks, -group[1].events.total(), str(group[0])))
    rows = [[column.of(label, counts) for column in columns] + [*map(shown, label)] for label, counts in ordered[:most]]
    yield from table([*(column.title for column in columns), *labels], rows, len(columns))
    if len(ordered) > most:
        yield f"  and {len(ordered) - most:,} more, with {sum(counts.walks for _, counts in ordered[most:]):,} walks"
    yield ""


def pages(found: Sequence[Page], whole: int) -> Iterator[str]:
    """A table of pages, in their order."""
    yield " Pages with most walks:"
    if not found:
        yield from ("  none", "")
        return
    timed = any(page.cycles for page in found)
    titles = ["walks", "% walks", "loads", *(["cycles"] if timed else []), "page size", "pid", "page"]
    rows = [
        [
            f"{page.walks:,}", f"{100 * page.walks / whole:.2f}" if whole else "-", f"{page.loads:,}",
            *([f"{page.cycles:,}"] if timed else []),
            size(page.size) if page.size else "none", str(page.pid), f"{page.vaddr:#x}",
        ]
        for page in found
    ]  # fmt: skip
    yield from table(titles, rows, len(titles) - 1)
    yield ""


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], right: int) -> Iterator[str]:
    """Lines of cells; the first ``right`` columns are aligned to the right."""
    cells = [titles, *rows]
    widths = [max(len(row[at]) for row in cells) for at in range(len(titles))]
    for row in cells:
        parts = [
            text.rjust(width) if at < right else text.ljust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  " + "  ".join(parts).rstrip()


def shown(part: Any) -> str:
    """A part of a label."""
    return printable(str(part)) or "-"
