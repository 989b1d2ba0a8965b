"""``python -m emu.instructions``: write :mod:`emu.instructions.listed` anew, after a change of the table's opcodes."""

from __future__ import annotations

import pathlib
import re

from emu.instructions import listed
from emu.instructions.opcodes import MAPS, Follows, Mode
from emu.instructions.table import ROWS


def listed_opcodes(mode: Mode) -> str:
    """By map and opcode, whether the rows of a mode list it: a hexadecimal digit for two opcodes, 1 in its form with a
    memory operand, 2 in any other, and four times that for the second one."""
    found = [[0] * 256 for _ in range(MAPS)]
    for row in ROWS:
        if row.mode == mode:
            for opcode in row.opcodes:
                found[opcode.opcode_map][opcode.opcode] |= opcode.follows // Follows.LISTED_MEMORY
    return "".join(f"{row[n] | row[n + 1] << 2:x}" for row in found for n in range(0, 256, 2))


def lines(mode: Mode) -> str:
    """As they stand in the file."""
    text = listed_opcodes(mode)
    return "".join(f'        "{text[n : n + 64]}"\n' for n in range(0, len(text), 64))


def main() -> None:
    """Write the file."""
    path = pathlib.Path(listed.__file__)
    body = "".join(f"    Mode.{mode.name}: (\n{lines(mode)}    ),\n" for mode in (Mode(0), *Mode))
    path.write_text(re.sub(r"(?s)(= \{\n).*?(\n?\}\n)", lambda m: m[1] + body + "}\n", path.read_text(), count=1))


if __name__ == "__main__":
    main()
