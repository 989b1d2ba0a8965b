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
        self._by_opcode: dict[tuple[int, int], list[Row]] = {}

    @cached_property
    def _locked(self) -> list[Row]:
        return [row for subject in LOCKED for row in _rows(subject) if row.locked]

    def _of_opcode(self, opcode_map: int, opcode: int) -> list[Row]:
        return [
            row
            for subject in subjects_of(opcode_map, opcode)
            for row in _rows(subject)
            if any((each.opcode_map, each.opcode) == (opcode_map, opcode) for each in row.opcodes)
        ]

    def find(self, instruction: Instruction, mode: int) -> Row | None:
        """The first row that matches, in the order of the table."""
        number = instruction.opcode_map, instruction.opcode
        rows = self._by_opcode.get(number)
        if rows is None:
            rows = self._by_opcode[number] = self._of_opcode(*number)
        found = chain(self._locked if instruction.locked else (), rows)
        return next((row for row in found if row.counts(mode) and row.matches(instruction)), None)


def _rows(subject: str) -> tuple[Row, ...]:
    rows: tuple[Row, ...] = import_module(f"emu.instructions.{subject}").ROWS
    return rows
