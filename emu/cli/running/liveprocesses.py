"""The processes in the view of --live: as many columns as there is room for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from emu.linux.event_kind import printable


class Column(NamedTuple):
    """A column; where there is no room for all, those of the highest ``rank`` are left out first."""

    heading: str
    key: str
    rank: int


_COLUMNS = (
    Column("PID", "pid", 0), Column("PPID", "ppid", 10), Column("S", "state", 5), Column("%CPU", "cpu", 1),
    Column("INSTR", "instructions", 2), Column("MINFLT", "minor_faults", 6), Column("MAJFLT", "major_faults", 9),
    Column("LINKS", "link_faults", 7), Column("#PF", "hardware_faults", 8), Column("RES", "rss_bytes", 4),
    Column("TABLES", "pagetable_bytes", 3),
)  # fmt: skip
#: Characters that the command has at least.
_COMMAND = 12


def processes_table(rows: Sequence[dict[str, Any]], left_out: int, width: int) -> Table:
    """The processes, in a table of so many characters; ``left_out`` are not shown."""
    cells = {column: [_cell(column.key, row[column.key]) for row in rows] for column in _COLUMNS}
    shown = _fitting({column: _width([column.heading, *texts]) for column, texts in cells.items()}, width)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="reverse", expand=True)
    for column in shown:
        table.add_column(column.heading, justify="right", no_wrap=True)
    table.add_column("COMMAND", no_wrap=True, overflow="ellipsis", ratio=1)
    for at, row in enumerate(rows):
        table.add_row(*(cells[column][at] for column in shown), Text(printable(" ".join(row["argv"]))))
    if left_out:
        table.add_row(*[""] * len(shown), f"... and {left_out:,} more")
    return table


def _width(texts: Iterable[str]) -> int:
    return max(map(len, texts)) + 1


def _fitting(widths: dict[Column, int], width: int) -> list[Column]:
    """The columns that fit beside the command, in their order."""
    kept = sorted(widths, key=lambda column: column.rank)
    while len(kept) > 1 and sum(widths[column] for column in kept) + _COMMAND > width:
        kept.pop()
    return [column for column in widths if column in kept]


def _cell(key: str, value: object) -> str:
    if isinstance(value, str) or key in ("pid", "ppid"):
        return str(value)
    assert isinstance(value, int)
    if key.endswith("bytes"):
        return f"{value >> 10:,}K" if value < 100 << 20 else f"{value >> 20:,}M"
    return f"{value:,}" if value < 10_000_000 else f"{value // 1_000_000:,}M"


def folded(line: str, width: int) -> list[str]:
    """A line whose parts have commas between them, in as many lines as it takes."""
    lines: list[str] = []
    for part in line.split(", "):
        if lines and len(lines[-1]) + len(part) + 2 < width:
            lines[-1] += f", {part}"
        else:
            if lines:
                lines[-1] += ","
            lines.append(part)
    return lines
