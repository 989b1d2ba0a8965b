"""Floating-point instructions while an exception is not masked: the host's processor says what they do and raise.

The engine keeps no flags and raises nothing.  From the moment that a thread unmasks an exception, its floating-point
instructions are executed by :class:`emu.instructions.host.Host`, which takes some microseconds each.  What an x87
instruction raises is reported by the next one that waits, or by FWAIT (SDM vol. 1, 8.6).
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from emu.engine.fpu import ES_AND_BUSY
from emu.instructions.host import Host
from emu.instructions.instruction import Instruction
from emu.instructions.opcodes import Mode
from emu.instructions.raised import GP, MF, XM, Raised
from emu.instructions.row import Check, Execute, Row, opcodes
from emu.instructions.view import CpuView

_TEST = "tests/instructions/test_instructions_unmasked.py"
_WRONG = "an exception that is not masked is not raised"
_ALL_MASKED, _FLAGS = 0x1F80, 0x3F
_ARITHMETIC_FLAGS = 0x8D5
#: Invalid operation, denormal operand, division by zero: nothing is stored. The others come with a result.
_BEFORE_THE_RESULT = 0x07
#: x87 instructions with an operand in memory, by opcode and reg field: its bytes, negative for a store.
X87_MEMORY: dict[int, tuple[int, ...]] = {
    0xD8: (4,) * 8, 0xD9: (4, 0, -4, -4, 0, 0, 0, 0), 0xDA: (4,) * 8, 0xDB: (4, -4, -4, -4, 0, 10, 0, -10),
    0xDC: (8,) * 8, 0xDD: (8, -8, -8, -8, 0, 0, 0, 0), 0xDE: (2,) * 8, 0xDF: (2, -2, -2, -2, 10, 8, -10, -8),
}  # fmt: skip
#: Those without one that wait for no exception: FNCLEX, FNINIT, FNSTSW AX, and what is none.
_NOT_WAITING = {(0xDB, modrm) for modrm in range(0xE0, 0xE8)} | {(0xDF, 0xE0)}

#: Register forms that no processor has (SDM vol. 2, appendix A.5): the engine raises #UD, and the host's would end us.
_UNDEFINED = frozenset(
    (opcode, modrm)
    for opcode, ranges in {
        0xD9: ((0xD1, 0xD8), (0xE2, 0xE4), (0xE6, 0xE8), (0xEF, 0xF0)), 0xDA: ((0xE0, 0xE9), (0xEA, 0x100)),
        0xDB: ((0xE5, 0xE8), (0xF8, 0x100)), 0xDD: ((0xF0, 0x100),), 0xDE: ((0xD8, 0xD9), (0xDA, 0xE0)),
        0xDF: ((0xE1, 0xE8), (0xF8, 0x100)),
    }.items()
    for first, last in ranges
    for modrm in range(first, last)
)  # fmt: skip


def _host(view: CpuView) -> Host:
    if view.host is None:
        view.host = Host()
    return view.host


def _execute(
    view: CpuView, instruction: Instruction, image: bytes, operand: bytes, general: str
) -> tuple[bytes, int, int, bytes]:
    number = instruction.reg if general == "reg" else instruction.rm if general == "rm" else 0
    flags = view.rflags & _ARITHMETIC_FLAGS | 0x202
    return _host(view).execute(
        instruction, image, flags, view.registers[number] if general else 0, operand, general=general
    )


# -- SSE -----------------------------------------------------------------------------------------------------------


def _sse(size: int, general: str = "", *, compares: bool = False) -> Callable[[CpuView, Instruction], None]:
    """An SSE instruction with a memory operand of so many bytes; ``general``: see Host; ``compares``: to RFLAGS."""

    def execute(view: CpuView, instruction: Instruction) -> None:
        operand = b""
        kept = general if general == "reg" or not instruction.is_memory else ""
        if instruction.is_memory:
            if size == 16 and view.effective_address(instruction) % 16:
                raise Raised(GP)
            width = 8 if size == 0 and instruction.wide else size or 4
            operand = view.load(instruction, width)
        before = view.fpu.save()
        image, after = bytearray(before), bytearray(before)
        (mxcsr,) = struct.unpack_from("<I", before, 24)
        struct.pack_into("<I", image, 24, mxcsr & ~_FLAGS | _ALL_MASKED)
        image[2], image[3] = 0, image[3] & 0x7F
        got, flags, rax, _ = _execute(view, instruction, bytes(image), operand, kept)
        raised = got[24] & _FLAGS
        struct.pack_into("<I", after, 24, mxcsr | raised)
        unmasked = raised & ~(mxcsr >> 7)
        if not unmasked:
            after[160:416] = got[160:416]
        view.fpu.load(bytes(after))
        if unmasked:
            raise Raised(XM)
        if compares:
            view.rflags = view.rflags & ~_ARITHMETIC_FLAGS | flags & _ARITHMETIC_FLAGS
        elif kept == "reg":
            view.registers[instruction.reg] = rax

    return execute


def _rows_of_sse() -> list[Row]:
    forms: list[tuple[str, tuple[str, ...], Callable[[CpuView, Instruction], None]]] = []
    arithmetic = ("51", "58", "59", "5C", "5D", "5E", "5F", "C2")
    for prefix, size in (("NP", 16), ("66", 16), ("F3", 4), ("F2", 8)):
        forms.append((f"arithmetic ({prefix})", tuple(f"{prefix} 0F {n}" for n in arithmetic), _sse(size)))
    forms += [
        ("comiss, ucomiss", ("NP 0F 2E", "NP 0F 2F"), _sse(4, compares=True)),
        ("comisd, ucomisd", ("66 0F 2E", "66 0F 2F"), _sse(8, compares=True)),
        ("conversions of 4 bytes", ("F3 0F 5A",), _sse(4)),
        ("conversions of 8 bytes", ("F2 0F 5A", "NP 0F 5A"), _sse(8)),
        ("conversions of 16 bytes", ("66 0F 5A", "NP 0F 5B", "66 0F 5B", "F3 0F 5B", "66 0F E6", "F2 0F E6"), _sse(16)),
        ("addsub, hadd, hsub", tuple(f"{p} 0F {n}" for p in ("66", "F2") for n in ("D0", "7C", "7D")), _sse(16)),
        ("roundss", ("66 0F 3A 0A",), _sse(4)),
        ("roundsd", ("66 0F 3A 0B",), _sse(8)),
        ("roundps, roundpd, dpps, dppd", tuple(f"66 0F 3A {n}" for n in ("08", "09", "40", "41")), _sse(16)),
        ("cvtsi2ss, cvtsi2sd", ("F3 0F 2A", "F2 0F 2A"), _sse(0, "rm")),
        ("cvtss2si, cvttss2si", ("F3 0F 2C", "F3 0F 2D"), _sse(4, "reg")),
        ("cvtsd2si, cvttsd2si", ("F2 0F 2C", "F2 0F 2D"), _sse(8, "reg")),
    ]
    return [
        Row(name, opcodes(*texts), _WRONG, Execute(function), _TEST, mode=Mode.UNMASKED)
        for name, texts, function in forms
    ]


# -- x87 -----------------------------------------------------------------------------------------------------------


def wait(view: CpuView, _instruction: Instruction) -> None:
    """#MF if an earlier instruction has raised an exception that is not masked."""
    if view.fpu.pending:
        raise Raised(MF)


def _x87(view: CpuView, instruction: Instruction) -> None:
    """Execute an x87 instruction; what it raises is pending."""
    wait(view, instruction)
    size = X87_MEMORY[instruction.opcode][instruction.digit] if instruction.is_memory else 0
    operand = view.load(instruction, size) if size > 0 else bytes(-size)
    before = view.fpu.save()
    image = bytearray(before)
    image[0] |= _FLAGS
    image[2] &= ~(_FLAGS | 0xC0) & 0xFF
    image[3] &= 0x7F
    struct.pack_into("<I", image, 24, _ALL_MASKED)
    got, flags, _, stored = _execute(view, instruction, bytes(image), operand, "")
    raised = got[2] & _FLAGS
    unmasked = raised & ~before[0]
    after = bytearray(before)
    if not unmasked & _BEFORE_THE_RESULT:
        if size < 0:
            if unmasked & ~0x20:  # an overflow or underflow of what goes to memory: neither stored nor popped
                after[2] |= raised | ES_AND_BUSY & 0xFF
                after[3] |= ES_AND_BUSY >> 8
                view.fpu.load(bytes(after))
                return
            view.store(instruction, stored)
        after[2:5], after[32:160] = got[2:5], got[32:160]
        view.rflags = view.rflags & ~_ARITHMETIC_FLAGS | flags & _ARITHMETIC_FLAGS
    after[2] |= before[2] & (_FLAGS | 0x40) | raised
    if unmasked:
        after[2] |= ES_AND_BUSY & 0xFF
        after[3] |= ES_AND_BUSY >> 8
    view.fpu.load(bytes(after))


def _is_executed(instruction: Instruction) -> bool:
    """Not what saves or loads control words, what waits for nothing, and what is no instruction."""
    if instruction.is_memory:
        return X87_MEMORY[instruction.opcode][instruction.digit] != 0
    form = instruction.opcode, instruction.modrm
    return form not in _NOT_WAITING and form not in _UNDEFINED


ROWS = (
    *_rows_of_sse(),
    Row(
        "x87", opcodes(*(f"{opcode:02X}" for opcode in range(0xD8, 0xE0))), _WRONG, Execute(_x87), _TEST,
        only=_is_executed, mode=Mode.UNMASKED,
    ),
    Row("fwait", opcodes("9B"), _WRONG, Check(wait), _TEST, mode=Mode.UNMASKED),
)  # fmt: skip
