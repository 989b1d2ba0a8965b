"""Stores of more than 8 bytes across the end of a page: if the next page cannot be written, nothing is stored.

The engine makes such a store in parts.  Who could see that: a handler of SIGSEGV or SIGBUS; so it is looked at in
processes that have had one.  FXSAVE tries its last byte first, FNSAVE and FNSTENV their first word, and then
their last byte; MASKMOVDQU tries the upper half of its 16 bytes first.
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
_FXSAVE_BYTES, _FNSAVE_BYTES, _WORD, _HALF = 512, 108, 4, 8
_RDI, _ALL_ONES = 7, (1 << 64) - 1


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


def _masked(view: CpuView, instruction: Instruction) -> None:
    """The upper half is stored first, and whatever the mask says both must be in reach (seen on a Xeon)."""
    start = view.registers[_RDI] & (0xFFFF_FFFF if 0x67 in instruction.legacy else _ALL_ONES)
    for prefix in (0x64, 0x65):
        if prefix in instruction.legacy:
            start += view.segment_base(prefix)
    halves = (_HALF, 0) if instruction.mandatory == 0x66 else (0,)
    for offset in halves:
        first, last = start + offset, start + offset + _HALF - 1
        view.reach_address(first, Access.WRITE)
        if first // PAGE_SIZE != last // PAGE_SIZE:
            view.reach_address(last & -PAGE_SIZE, Access.WRITE)


ROWS = (
    Row(
        "movups, movupd, movdqu, fstp m80", opcodes("NP 0F 11 m", "66 0F 11 m", "F3 0F 7F m", "DB /7 m"), _WRONG,
        CheckNative("emu.instructions.executed.crossing", "check", _stored, fault), _TEST, mode=Mode.CATCHES_FAULTS,
    ),
    Row(
        "fxsave", opcodes("NP 0F AE /0 m"), "a misaligned operand raises no #GP; " + _WRONG, Check(_fxsave), _TEST,
    ),
    Row(
        "maskmovdqu, maskmovq", opcodes("66 0F F7 r", "NP 0F F7 r"), _WRONG, Check(_masked), _TEST,
        mode=Mode.CATCHES_FAULTS,
    ),
    Row("fnsave", opcodes("DD /6 m"), _WRONG, Check(_fnsave), _TEST, mode=Mode.CATCHES_FAULTS),
)  # fmt: skip
