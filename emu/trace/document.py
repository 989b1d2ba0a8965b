"""The schema as the tables of docs/tracing.md.

``python -m emu.trace.document docs/tracing.md`` brings them up to date.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from emu.linux.event_kind import Field, Kind, Type
from emu.trace import header
from emu.trace.columns import COLUMNS
from emu.trace.schema import COMMON, HARDWARE, KERNEL
from mmu.events import EventKind

#: What stands between ``<!-- schema: NAME -->`` and ``<!-- end of NAME -->``.
_SECTION = re.compile(r"(<!-- schema: (\w+) -->\n).*?(<!-- end of \2 -->)", re.DOTALL)


def updated(text: str) -> str:
    """The document with its tables as the schema has them.  ValueError if it has no place for one."""
    sections = {
        "header": _table(map(_row, header.FIELDS)),
        "common": _table(map(_row, COMMON)),
        "hardware": "\n".join(map(_section, HARDWARE)),
        "kernel": "\n".join(map(_section, KERNEL)),
        "columns": _columns(),
    }
    found = [name for _, name, _ in _SECTION.findall(text)]
    if found != list(sections):
        raise ValueError(f"there should be places for the tables {', '.join(sections)}, not for {', '.join(found)}")
    return _SECTION.sub(lambda place: f"{place[1]}\n{sections[place[2]]}\n{place[3]}", text)


def _columns() -> str:
    """The columns of a table of events."""
    rows = []
    for column in COLUMNS:
        type_ = "text" if column.type in ("dict", "string") else column.type
        kinds = [kind.name.lower() for kind in sorted(column.kinds)]
        whose = "all" if len(kinds) > len(EventKind) else ", ".join(f"`{kind}`" for kind in kinds)
        rows.append([f"`{column.name}`", type_, column.unit, column.meaning, whose])
    return _table(rows, "of the MMU, calls and switches")


def _section(kind: Kind) -> str:
    """A heading, what happened, and a table; with several forms it says which of them has a field."""
    lines = [f"### `{kind.name}`", "", f"{kind.meaning[0].upper()}{kind.meaning[1:]}.", ""]
    fields = dict.fromkeys(field for form in kind.forms for field in form.fields)
    if not fields:
        return "\n".join(lines)
    if len(kind.forms) == 1:
        return "\n".join([*lines, _table(map(_row, fields))])
    shared = [field for field in fields if all(field in form.fields for form in kind.forms)]
    rows = [[*_row(field), "all"] for field in shared]
    rows += [[*_row(field), form.when] for form in kind.forms for field in form.fields if field not in shared]
    return "\n".join([*lines, _table(rows, "of")])


def _row(field: Field) -> list[str]:
    return [f"`{field.name}`", _type(field), field.unit, field.meaning]


def _type(field: Field) -> str:
    """How JSON writes it, or which values there are."""
    choices = [f"`{choice}`" for choice in field.choices]
    if field.type is Type.NUMBER and len(choices) > 2:
        choices = [f"{choices[0]} to {choices[-1]}"]
    written = ", ".join(choices) or re.sub("^an? ", "", field.type.value)
    return f"{written}{' or null' if field.nullable else ''}{', optional' if field.optional else ''}"


def _table(rows: Iterable[list[str]], *more: str) -> str:
    head = ["field", "type", "unit", "meaning", *more]
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n".replace("|  |", "| |") for line in lines)


def main(path: Path) -> None:
    """Bring the tables of the document up to date."""
    path.write_text(updated(path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
