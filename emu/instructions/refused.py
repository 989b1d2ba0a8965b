"""Instructions that a processor refuses at CPL 3, or has not, and that the engine executes."""

from __future__ import annotations

from emu.instructions.instruction import Instruction
from emu.instructions.raised import DB, GP, OF, UD, Raised
from emu.instructions.row import Check, Execute, Refuse, Row, opcodes
from emu.instructions.view import CpuView

_TEST = "tests/instructions/test_instructions_refused.py"
#: Gates of the IDT that CPL 3 may use: INT3, INTO, and INT 80h, which Linux may have.
_USER_GATES = (3, OF, 0x80)
_IDT = 2
_USER_SS = 0x2B
#: Opcodes that LOCK may stand before, if their destination is in memory; where there is one, by the reg field.
_LOCKABLE: dict[int, dict[int, range]] = {
    0: {
        **{base + n: range(8) for base in range(0, 0x38, 8) for n in range(2)},
        **dict.fromkeys((0x80, 0x81, 0x83), range(7)),
        **dict.fromkeys((0x86, 0x87), range(8)),
        **dict.fromkeys((0xF6, 0xF7), range(2, 4)),
        **dict.fromkeys((0xFE, 0xFF), range(2)),
    },
    1: {
        **dict.fromkeys((0xAB, 0xB0, 0xB1, 0xB3, 0xBB, 0xC0, 0xC1), range(8)),
        0xBA: range(5, 8),
        0xC7: range(1, 2),
    },
}


def _cannot_be_locked(instruction: Instruction) -> bool:
    """SDM vol. 2, LOCK: everything but read-modify-write of memory is #UD."""
    digits = _LOCKABLE.get(instruction.opcode_map, {}).get(instruction.opcode, range(0))
    return not digits or instruction.digit not in digits or not instruction.is_memory


def _is_xop(instruction: Instruction) -> bool:
    """8F is POP only where the reg field, of what is no ModRM byte otherwise, is 0."""
    return instruction.digit != 0


def _load_ss(view: CpuView, instruction: Instruction) -> None:
    """MOV SS: the only stack segment that Linux has for 64-bit code is there already."""
    if instruction.is_memory:
        selector = int.from_bytes(view.load(instruction, 2), "little")
    else:
        selector = view.registers[instruction.rm] & 0xFFFF
    if selector != _USER_SS:
        raise Raised(GP, selector & ~3)


def _reach_line(view: CpuView, instruction: Instruction) -> None:
    """CLFLUSH faults as a load of a byte does."""
    view.reach(instruction)


ROWS = (
    Row(
        "VEX, EVEX", opcodes("C4", "C5", "62"),
        "VEX.128 runs as the SSE instruction of two operands", Refuse(UD), _TEST,
    ),
    Row("XOP", opcodes("8F"), "none, and it is named", Refuse(UD), _TEST, only=_is_xop),
    Row(
        "LOCK before what cannot be locked", (),
        "some run (MOV, LEA, BT)", Refuse(UD), _TEST, only=_cannot_be_locked, locked=True,
    ),
    Row(
        "INT n by a gate of the kernel's", opcodes("CD"),
        "n arrives as exception n, behind the instruction",
        Refuse(GP, lambda instruction: instruction.immediate << 3 | _IDT), _TEST,
        only=lambda instruction: instruction.immediate not in _USER_GATES,
    ),
    Row(
        "INT 4", opcodes("CD"), "none, and Linux says which vector it was", Refuse(OF, trap=True), _TEST,
        only=lambda instruction: instruction.immediate == OF,
    ),
    Row("INT1", opcodes("F1"), "#UD", Refuse(DB, trap=True), _TEST),
    Row(
        "IN, OUT, INS, OUTS", opcodes("E4", "E5", "E6", "E7", "EC", "ED", "EE", "EF", "6C", "6D", "6E", "6F"),
        "allowed at every CPL", Refuse(GP), _TEST,
    ),
    Row("RDPMC", opcodes("0F 33"), "no #GP (CR4.PCE is 0)", Refuse(GP), _TEST),
    Row(
        "SSE4A", opcodes("66 0F 78 r", "F2 0F 78 r", "66 0F 79 r", "F2 0F 79 r", "F2 0F 2B m", "F3 0F 2B m"),
        "run although CPUID does not offer them", Refuse(UD), _TEST,
    ),
    Row(
        "XABORT, XBEGIN, XTEST, XEND", opcodes("C6 /7 r", "C7 /7 r", "0F 01 /2 r"),
        "run although CPUID does not offer them", Refuse(UD), _TEST,
        only=lambda instruction: instruction.modrm in ((0xF8,) if instruction.opcode_map == 0 else (0xD5, 0xD6)),
    ),
    Row("MOV SS", opcodes("8E /2"), "#GP for the selector that is there: there is no GDT", Execute(_load_ss), _TEST),
    Row("CLFLUSH", opcodes("0F AE /7 m"), "no fault for a page that cannot be read", Check(_reach_line), _TEST),
)  # fmt: skip
