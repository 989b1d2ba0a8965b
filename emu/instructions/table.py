"""The table of instructions that the engine is not left alone with."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from emu.instructions import alignment, alignment_check, computed, control, crossing, refused, unmasked
from emu.instructions.instruction import Instruction
from emu.instructions.row import Row

#: One row a kind of instruction; where two rows match, the first one counts.  After a change of opcodes,
#: ``python -m emu.instructions`` writes :mod:`emu.instructions.listed` anew.
ROWS: tuple[Row, ...] = (
    *refused.ROWS, *control.ROWS, *unmasked.ROWS, *computed.ROWS, *alignment.ROWS, *alignment_check.ROWS,
    *crossing.ROWS,
)  # fmt: skip


class Catalogue:
    """The rows by opcode."""

    def __init__(self, rows: Iterable[Row] = ROWS) -> None:
        self._locked: list[Row] = []
        self._by_opcode: dict[tuple[int, int], list[Row]] = {}
        for row in rows:
            if row.locked:
                self._locked.append(row)
            for number in {(opcode.opcode_map, opcode.opcode) for opcode in row.opcodes}:
                self._by_opcode.setdefault(number, []).append(row)

    def find(self, instruction: Instruction, mode: int) -> Row | None:
        """The row for an instruction."""
        rows = self._by_opcode.get((instruction.opcode_map, instruction.opcode), ())
        found = chain(self._locked if instruction.locked else (), rows)
        return next((row for row in found if row.counts(mode) and row.matches(instruction)), None)
