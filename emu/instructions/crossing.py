"""Stores of more than 8 bytes across the end of a page: if the next page cannot be written, nothing is stored.

The engine makes such a store in parts.  Who could see that: a handler of SIGSEGV or SIGBUS; so it is looked at in
processes that have had one.  FXSAVE tries its last byte first, FNSAVE and FNSTENV their first word, and then
their last byte.
"""

from __future__ import annotations

from emu.instructions.computed import fault
from emu.instructions.instruction import Instruction
from emu.instructions.opcodes import Mode
from emu.instructions.raised import GP, Raised
from emu.instructions.row import Check, CheckNative, Row, opcodes
from emu.instructions.view import CpuView
from mmu.memory import PAGE_SIZE
from mmu.registers import Access

_WRONG = "the part of a store that lies before the end of a page is made although the next page cannot be written"
_TEST = "tests/instructions/test_instructions_crossing.py"
_FXSAVE_BYTES, _FNSAVE_BYTES, _WORD = 512, 108, 4


def _stored(instruction: Instruction) -> int:
    return 10 if instruction.opcode == 0xDB else 16


def _fxsave(view: CpuView, instruction: Instruction) -> None:
    if view.effective_address(instruction) % 16:
        raise Raised(GP)
    view.reach(instruction, Access.WRITE, _FXSAVE_BYTES - 1)
    view.reach(instruction, Access.WRITE)


def _fnsave(view: CpuView, instruction: Instruction) -> None:
    start = view.effective_address(instruction)
    view.reach(instruction, Access.WRITE)
    if start // PAGE_SIZE != (start + _WORD - 1) // PAGE_SIZE:
        view.reach(instruction, Access.WRITE, -start % PAGE_SIZE)
    view.reach(instruction, Access.WRITE, _FNSAVE_BYTES - 1)


ROWS = (
    Row(
        "movups, movupd, movdqu, fstp m80", opcodes("NP 0F 11 m", "66 0F 11 m", "F3 0F 7F m", "DB /7 m"), _WRONG,
        CheckNative("emu.instructions.executed.crossing", "check", _stored, fault), _TEST, mode=Mode.CATCHES_FAULTS,
    ),
    Row(
        "fxsave", opcodes("NP 0F AE /0 m"), "a misaligned operand raises no #GP; " + _WRONG, Check(_fxsave), _TEST,
    ),
    Row("fnsave", opcodes("DD /6 m"), _WRONG, Check(_fnsave), _TEST, mode=Mode.CATCHES_FAULTS),
)  # fmt: skip
