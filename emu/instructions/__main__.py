"""``python -m emu.instructions``: write :mod:`emu.instructions.listed` anew, after a change of the table's opcodes."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable

from emu.instructions import listed
from emu.instructions.opcodes import MAPS, Follows, Mode
from emu.instructions.row import Row
from emu.instructions.table import ROWS, SUBJECTS


def listed_opcodes(mode: Mode) -> str:
    """By map and opcode, whether the rows of a mode list it: a hexadecimal digit for two opcodes, 1 in its form with a
    memory operand, 2 in any other, and four times that for the second one."""
    found = [[0] * 256 for _ in range(MAPS)]
    for row in ROWS:
        if row.mode == mode:
            for opcode in row.opcodes:
                found[opcode.opcode_map][opcode.opcode] |= opcode.follows // Follows.LISTED_MEMORY
    return "".join(f"{row[n] | row[n + 1] << 2:x}" for row in found for n in range(0, 256, 2))


def rows_by_mode() -> dict[tuple[str, Mode], list[Row]]:
    """The rows of each subject and mode, without those for LOCK."""
    found: dict[tuple[str, Mode], list[Row]] = {}
    for name, rows in SUBJECTS.items():
        for row in rows:
            if not row.locked:
                found.setdefault((name, row.mode), []).append(row)
    return found


def opcodes_of(rows: Iterable[Row]) -> str:
    """By map and opcode, whether it is one of these rows: a hexadecimal digit for four opcodes, a bit for each."""
    found = {opcode.opcode_map * 256 + opcode.opcode for row in rows for opcode in row.opcodes}
    return "".join(f"{sum((n + bit in found) << bit for bit in range(4)):x}" for n in range(0, MAPS * 256, 4))


def lines(digits: str) -> str:
    """As they stand in the file."""
    return "".join(f'        "{digits[n : n + 64]}"\n' for n in range(0, len(digits), 64))


def main() -> None:
    """Write the file."""
    path = pathlib.Path(listed.__file__)
    of_mode = {f"Mode.{mode.name}": listed_opcodes(mode) for mode in (Mode(0), *Mode)}
    of_subject = {f'("{name}", Mode.{mode.name})': opcodes_of(rows) for (name, mode), rows in rows_by_mode().items()}
    text = path.read_text()
    for begin, entries in (("\nLISTED = {\n", of_mode), ("\nSUBJECTS = {\n", of_subject)):
        body = "".join(f"    {key}: (\n{lines(digits)}    ),\n" for key, digits in entries.items())
        head, _, rest = text.partition(begin)
        text = f"{head}{begin}{body}{rest[rest.index('}') :]}"
    path.write_text(text)


if __name__ == "__main__":
    main()
