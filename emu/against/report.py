"""What a comparison has found, for people and for programs."""

from __future__ import annotations

import json
import os
from typing import Any

from emu.against.compare import Comparison, Difference
from emu.against.record import Record, TaskName, Where


class Symbols:
    """The names of functions, by file and offset; ``root`` is the directory that the program sees as ``/``."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._tables: dict[str, list[tuple[int, int, str]]] = {}

    def name(self, where: Where) -> str:
        """``file+0x1234 (function+0x8)``."""
        if not where.file:
            return f"{where.offset:#x}"
        place = f"{where.file}+{where.offset:#x}"
        for start, size, name in self._functions(where.file):
            if start <= where.offset < start + max(size, 1):
                return f"{place} ({name}+{where.offset - start:#x})"
        return place

    def _functions(self, file: str) -> list[tuple[int, int, str]]:
        if file not in self._tables:
            self._tables[file] = self._read(os.path.join(self._root, file.lstrip("/")))
        return self._tables[file]

    @staticmethod
    def _read(path: str) -> list[tuple[int, int, str]]:
        from elftools.common.exceptions import ELFError
        from elftools.elf.elffile import ELFFile

        found = []
        try:
            with open(path, "rb") as file:
                elf = ELFFile(file)
                loads = [s for s in elf.iter_segments() if s["p_type"] == "PT_LOAD"]
                for section in (".symtab", ".dynsym"):
                    table: Any = elf.get_section_by_name(section)
                    for symbol in () if table is None else table.iter_symbols():
                        if symbol["st_info"]["type"] in ("STT_FUNC", "STT_GNU_IFUNC") and symbol["st_value"]:
                            found.append((_offset(loads, symbol["st_value"]), symbol["st_size"], symbol.name))
        except (OSError, ELFError):
            return []
        return found


def _offset(loads: list[Any], address: int) -> int:
    for segment in loads:
        if segment["p_vaddr"] <= address < segment["p_vaddr"] + segment["p_memsz"]:
            return int(address - segment["p_vaddr"] + segment["p_offset"])
    return address


def text_of(found: Comparison, symbols: Symbols) -> list[str]:
    """Lines for a person."""
    lines = []
    for number, difference in enumerate(found.differences, 1):
        head = f"difference {number}: {difference.kind}"
        lines += _lines_of(head, difference, symbols)
    passed = f", {found.passed} that depend on who runs when were passed over" if found.passed else ""
    what = "no difference" if not found.differences else _number(len(found.differences), "difference")
    lines.append(f"{_number(found.compared, 'call')} compared{passed}: {what}")
    return lines


def _number(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"


def _lines_of(head: str, difference: Difference, symbols: Symbols) -> list[str]:
    task = difference.task
    if task is not None:
        head += f" in {task.program or 'the first program'} (process {task.pid}{_ancestry(task.name)})"
    lines = [f"{head}: {difference.what}"]
    lines += [f"      before      {record.line}" for record in difference.before]
    places = []
    for side, record in (("the machine", difference.guest), ("Linux      ", difference.native)):
        if record is not None:
            lines.append(f"      {side} {record.line}")
            if record.number >= 0 and record.where not in places:
                places.append(record.where)
    return lines + [f"      at          {symbols.name(place)}" for place in places]


def _ancestry(name: TaskName) -> str:
    """``, child 2 of child 1 of the first``."""
    return "".join(f", child {number + 1} of" for number in reversed(name)).replace(" of,", " of") + (
        " the first" if name else ""
    )


def json_of(found: Comparison, symbols: Symbols, **more: object) -> bytes:
    """The same for a program."""
    document = {
        **more,
        "calls_compared": found.compared,
        "calls_passed_over": found.passed,
        "differences": [_as_json(difference, symbols) for difference in found.differences],
    }
    return (json.dumps(document, indent=2) + "\n").encode()


def _as_json(difference: Difference, symbols: Symbols) -> dict[str, object]:
    def side(record: Record | None) -> dict[str, object] | None:
        if record is None:
            return None
        return {
            "kind": record.kind.value, "name": record.name, "number": record.number, "text": record.line,
            "errno": record.failed, "where": symbols.name(record.where),
        }  # fmt: skip

    task = difference.task
    return {
        "kind": difference.kind,
        "what": difference.what,
        "process": None if task is None else task.pid,
        "program": None if task is None else task.program,
        "ancestry": None if task is None else list(task.name),
        "machine": side(difference.guest),
        "linux": side(difference.native),
        "before": [record.line for record in difference.before],
    }
