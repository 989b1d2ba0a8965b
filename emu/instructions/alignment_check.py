"""Alignment checking (SDM vol. 3, 6.15, interrupt 17): while EFLAGS.AC is set, an access of a general-purpose or x87
instruction that is not a multiple of its size is #AC.  Linux has CR0.AM set.
"""

from __future__ import annotations

from emu.instructions.executed.masks import Loaded
from emu.instructions.instruction import Instruction
from emu.instructions.opcodes import Mode
from emu.instructions.raised import AC, Raised
from emu.instructions.row import Check, CheckNative, Row, opcodes
from emu.instructions.unmasked import X87_MEMORY
from emu.instructions.view import CpuView

_TEST = "tests/instructions/test_instructions_alignment_check.py"
_FLAG = 1 << 18
_RCX, _RSP, _RSI, _RDI = 1, 4, 6, 7
_POPF = 0x9D
#: Opcodes of one byte whose operand in memory has one byte, those of two bytes, and those without an access.
_BYTES = (
    *range(0, 0x40, 8),
    *range(2, 0x40, 8),
    0x80,
    0x82,
    0x84,
    0x86,
    0x88,
    0x8A,
    0xC0,
    0xC6,
    0xD0,
    0xD2,
    0xF6,
    0xFE,
)
_WORDS = (0x8C, 0x8E)
_LEA, _MOVSXD, _POP_M, _GROUP_5 = 0x8D, 0x63, 0x8F, 0xFF
#: Of the opcodes 0F xx: operands of the operand size, and of 1, 2, 4 and 8 bytes.
_WIDE_0F = (*range(0x40, 0x50), 0xA4, 0xA5, 0xAC, 0xAD, 0xAF, 0xB1, 0xB8, 0xBC, 0xBD, 0xC1, 0xC3)
_PUSHES = (*range(0x50, 0x58), 0x68, 0x6A, 0x9C, 0xE8)
_POPS = (*range(0x58, 0x60), 0x9D, 0xC2, 0xC3, 0xC9)
#: String instructions that are not of bytes, and the registers with their addresses.
_STRINGS = {0xA5: (_RSI, _RDI), 0xA7: (_RSI, _RDI), 0xAB: (_RDI,), 0xAD: (_RSI,), 0xAF: (_RDI,)}


def _size(instruction: Instruction) -> int:
    """The bytes of the operand in memory, as far as they must be aligned."""
    opcode, size = instruction.opcode, instruction.operand_bytes
    if instruction.opcode_map:
        return size if opcode in _WIDE_0F else 2 if opcode in (0xB7, 0xBF) else 8 if opcode == 0xC7 else 1
    if 0xD8 <= opcode <= 0xDF:
        return min(abs(X87_MEMORY[opcode][instruction.digit]), 8) or 1
    if opcode in _BYTES or opcode == _LEA:
        return 1
    if opcode == _POP_M or (opcode == _GROUP_5 and instruction.digit in (2, 4, 6)):
        return 8
    return 4 if opcode == _MOVSXD else 2 if opcode in _WORDS else size


def _check_operand(view: CpuView, instruction: Instruction) -> None:
    if view.effective_address(instruction) % _size(instruction):
        raise Raised(AC)


def _check_stack(view: CpuView, instruction: Instruction) -> None:
    """What is pushed is of 8 bytes, or of 2."""
    if view.registers[_RSP] % (2 if instruction.operand_bytes == 2 else 8):
        raise Raised(AC)


def _check_strings(view: CpuView, instruction: Instruction) -> None:
    if instruction.mandatory in (0xF2, 0xF3) and view.registers[_RCX] == 0:
        return
    size = instruction.operand_bytes
    if any(view.registers[register] % size for register in _STRINGS[instruction.opcode]):
        raise Raised(AC)


def _popf(view: CpuView, instruction: Instruction) -> None:
    """POPF, which may set or clear AC."""
    if instruction.operand_bytes != 2:
        flags = view.load_stack(8)
        view.set_mode(Mode.ALIGNMENT_CHECK, bool(flags & _FLAG))


def _popf_otherwise(view: CpuView, instruction: Instruction) -> None:
    view.mmu.take_failure()  # the native code's, which is met again
    _popf(view, instruction)


def _general(prefix: str, numbers: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(f"{prefix}{number:02X} m" for number in numbers)


_WRONG = "EFLAGS.AC means nothing"
_MODRM = (
    *(base + n for base in range(0, 0x40, 8) for n in range(4)), 0x63, 0x69, 0x6B, *range(0x80, 0x90), 0xC0, 0xC1, 0xC6,
    0xC7, *range(0xD0, 0xD4), *range(0xD8, 0xE0), 0xF6, 0xF7, 0xFE, 0xFF,
)  # fmt: skip
ROWS = (
    Row("popf", opcodes("9D"), _WRONG, Check(_popf, ends=True), _TEST, mode=Mode.ALIGNMENT_CHECK),
    Row(
        "popf", opcodes("9D"), _WRONG,
        CheckNative(
            "emu.instructions.executed.masks", "check", lambda instruction: Loaded.FLAGS, _popf_otherwise, ends=True
        ),
        _TEST,
    ),
    Row(
        "operands in memory", opcodes(*_general("", _MODRM), *_general("0F ", (*_WIDE_0F, 0xB7, 0xBF, 0xC7))), _WRONG,
        Check(_check_operand), _TEST, mode=Mode.ALIGNMENT_CHECK,
    ),
    Row(
        "push, pop, call, ret", opcodes(*(f"{number:02X}" for number in (*_PUSHES, *_POPS) if number != _POPF)), _WRONG,
        Check(_check_stack), _TEST, mode=Mode.ALIGNMENT_CHECK,
    ),
    Row(
        "movs, cmps, stos, lods, scas", opcodes(*(f"{number:02X}" for number in _STRINGS)), _WRONG,
        Check(_check_strings), _TEST, mode=Mode.ALIGNMENT_CHECK,
    ),
)  # fmt: skip
