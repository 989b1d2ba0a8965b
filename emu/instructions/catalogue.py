"""The rows of :mod:`emu.instructions.table` by opcode, of which a program loads those that it has instructions for."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from itertools import chain

from emu.instructions.instruction import Instruction
from emu.instructions.listed import LOCKED, subjects_of
from emu.instructions.row import Row


class Catalogue:
    """Finds the row for an instruction."""

    def __init__(self) -> None:
        #: Those that count, by opcode map, opcode and mode.
        self._found: dict[tuple[int, int, int], list[Row]] = {}

    @cached_property
    def _locked(self) -> list[Row]:
        return [row for subject in LOCKED for row in _rows(subject) if row.locked]

    def _of_opcode(self, opcode_map: int, opcode: int, mode: int) -> list[Row]:
        return [
            row
            for subject in subjects_of(opcode_map, opcode, mode)
            for row in _rows(subject)
            if row.counts(mode) and any((o.opcode_map, o.opcode) == (opcode_map, opcode) for o in row.opcodes)
        ]

    def find(self, instruction: Instruction, mode: int) -> Row | None:
        """The first row that matches, in the order of the table."""
        opcode = instruction.opcode_map, instruction.opcode, mode
        rows = self._found.get(opcode)
        if rows is None:
            rows = self._found[opcode] = self._of_opcode(*opcode)
        locked = (row for row in self._locked if row.counts(mode)) if instruction.locked else ()
        return next((row for row in chain(locked, rows) if row.matches(instruction)), None)


def _rows(subject: str) -> tuple[Row, ...]:
    rows: tuple[Row, ...] = import_module(f"emu.instructions.{subject}").ROWS
    return rows
