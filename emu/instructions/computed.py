"""Instructions that the engine computes wrongly: native code executes them (:mod:`emu.instructions.executed`)."""

from __future__ import annotations

from collections.abc import Callable

from emu.instructions.executed.operation import Code, packed
from emu.instructions.instruction import Instruction
from emu.instructions.raised import GP, SS, XM, Raised
from emu.instructions.row import CheckNative, ExecuteNative, Row, opcodes
from emu.instructions.scan import OPERAND_SIZE
from emu.instructions.view import CpuView, Unresolved
from mmu import GeneralProtection

_TEST = "tests/machine/test_machine_computed.py"
_EXECUTED = "emu.instructions.executed"
_X87 = {
    0xE5: Code.FXAM,
    0xE9: Code.FLDL2T, 0xEA: Code.FLDL2E, 0xEB: Code.FLDPI, 0xEC: Code.FLDLG2, 0xED: Code.FLDLN2, 0xF0: Code.F2XM1,
    0xF1: Code.FYL2X, 0xF2: Code.FPTAN, 0xF3: Code.FPATAN, 0xF4: Code.FXTRACT, 0xF5: Code.FPREM1, 0xF8: Code.FPREM,
    0xF9: Code.FYL2XP1, 0xFB: Code.FSINCOS, 0xFD: Code.FSCALE, 0xFE: Code.FSIN, 0xFF: Code.FCOS,
}  # fmt: skip
_FISTTP_BITS = {0xDB: 32, 0xDD: 64}
#: The last byte of the opcodes of the SSSE3 instructions that there are with MMX registers.
_SSSE3 = (*range(0x0C), 0x1C, 0x1D, 0x1E)
_HORIZONTAL = (1, 2, 3, 5, 6, 7)


def fault(view: CpuView, instruction: Instruction) -> None:
    """Native code could not do it: its memory operand faults, or is not aligned, or an exception is not masked."""
    failure = view.mmu.take_failure()
    if failure is None:
        misaligned = instruction.is_memory and view.effective_address(instruction) & 15
        raise Raised(GP if misaligned else XM)
    fault, access = failure
    if isinstance(fault, GeneralProtection):
        raise Raised(SS if instruction.memory.on_stack else GP)
    raise Unresolved(fault, access)


def _executed(module: str, number: Callable[[Instruction], int]) -> ExecuteNative:
    return ExecuteNative(f"{_EXECUTED}.{module}", "execute", number, fault)


def _string(instruction: Instruction) -> int:
    return packed(
        Code(Code.PCMPESTRM + instruction.opcode - 0x60), first=instruction.reg, second=instruction.rm,
        memory=instruction.is_memory, immediate=instruction.immediate, wide=instruction.wide,
    )  # fmt: skip


def _dot(instruction: Instruction) -> int:
    return packed(
        Code(Code.DPPS + instruction.opcode - 0x40), first=instruction.reg, second=instruction.rm,
        memory=instruction.is_memory, immediate=instruction.immediate,
    )  # fmt: skip


def _horizontal(instruction: Instruction) -> int:
    code = Code.HORIZONTAL if instruction.mandatory else Code.HORIZONTAL_MMX
    register = instruction.rm if instruction.mandatory else instruction.rm & 7
    return packed(code, first=register, immediate=instruction.opcode)


def _mmx(instruction: Instruction) -> int:
    return packed(Code.MMX, memory=instruction.is_memory)


def _neg(instruction: Instruction) -> int:
    return packed(Code.NEG, bits=8 if instruction.opcode == 0xF6 else instruction.operand_bytes * 8)


def _is_same_register(instruction: Instruction) -> bool:
    if instruction.mandatory:
        return instruction.reg == instruction.rm
    return instruction.reg & 7 == instruction.rm & 7


def _is_neg(instruction: Instruction) -> bool:
    return instruction.opcode_map == 0 and instruction.opcode in (0xF6, 0xF7) and instruction.digit == 3


ROWS = (
    Row(
        "fyl2x, fyl2xp1, f2xm1, fpatan, fptan, fsin, fcos, fsincos, fprem, fprem1, fxtract, fscale, fxam, fldpi ...",
        opcodes(*(f"D9 {modrm:02X}" for modrm in _X87)),
        "in double precision; no result and no pop for some operands; RC ignored; encodings that are none accepted",
        _executed("x87", lambda instruction: packed(_X87[instruction.modrm])), _TEST,
    ),
    Row(
        "fisttp m32, m64", opcodes("DB /1 m", "DD /1 m"), "an overflow is the largest number, not the indefinite one",
        _executed("stores", lambda instruction: packed(Code.FISTTP, bits=_FISTTP_BITS[instruction.opcode])), _TEST,
    ),
    Row(
        "fbstp", opcodes("DF /6 m"), "numbers of more than 18 digits are stored; -0 loses its sign",
        _executed("stores", lambda instruction: packed(Code.FBSTP)), _TEST,
    ),
    Row(
        "fnstenv", opcodes("D9 /6 m"), "does not mask the exceptions",
        _executed("stores", lambda instruction: packed(Code.FNSTENV)), _TEST,
        only=lambda instruction: not instruction.prefixes & OPERAND_SIZE,
    ),
    Row(
        "pcmpistri, pcmpistrm, pcmpestri, pcmpestrm", opcodes(*(f"66 0F 3A {n:X}" for n in range(0x60, 0x64))),
        "equal ordered: a match that the end of the register cuts off is not found", _executed("sse", _string), _TEST,
    ),
    Row(
        "dpps, dppd", opcodes("66 0F 3A 40", "66 0F 3A 41"), "adds from left to right; a misaligned operand is no #GP",
        _executed("sse", _dot), _TEST,
    ),
    Row(
        "phaddw, phaddd, phaddsw, phsubw, phsubd, phsubsw of a register and itself",
        opcodes(*(f"{prefix} 0F 38 {number:02X} r" for prefix in ("66", "NP") for number in _HORIZONTAL)),
        "reads what it has just written", _executed("sse", _horizontal), _TEST, only=_is_same_register,
    ),
    Row(
        "SSSE3 on MMX registers", opcodes(*(f"NP 0F 38 {number:02X}" for number in _SSSE3), "NP 0F 3A 0F"),
        "leaves TOP and the tags of the x87 FPU as they are",
        CheckNative(f"{_EXECUTED}.sse", "execute", _mmx, fault), _TEST,
    ),
    Row("lock neg", (), "loses the flags", _executed("integer", _neg), _TEST, only=_is_neg, locked=True),
    Row(
        "cmpxchg r32, r32", opcodes("0F B1 r"), "clears the upper half of the destination where it is not written",
        _executed("integer", lambda instruction: packed(Code.CMPXCHG, first=instruction.rm, second=instruction.reg)),
        _TEST,
        only=lambda instruction: instruction.operand_bytes == 4,
    ),
)  # fmt: skip
