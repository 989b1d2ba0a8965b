"""Instructions that load control words: which exceptions of the floating-point units are masked.

Where what follows is to be looked through in another mode, it begins a piece of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.engine.fpu import INITIAL_FCW
from emu.instructions.executed.masks import Loaded
from emu.instructions.instruction import Instruction
from emu.instructions.opcodes import Mode
from emu.instructions.raised import GP, Raised
from emu.instructions.row import Check, CheckNative, Function, Notice, Row, opcodes
from emu.instructions.unmasked import wait
from emu.instructions.view import CpuView

_TEST = "tests/instructions/test_instructions_unmasked.py"
_X87_MASKS, _MXCSR_MASKS, _RESERVED = 0x3F, 0x1F80, 0xFFFF_0000
_RAX, _LEGACY_BYTES, _X87_STATE, _WITH_MXCSR = 0, 512, 1, 6


def _x87(view: CpuView, instruction: Instruction) -> None:
    """FLDCW, and FLDENV and FRSTOR, which begin with it."""
    control = int.from_bytes(view.load(instruction, 2), "little")
    if view.fpu.pending:
        wait(view, instruction)
    if control & _X87_MASKS != _X87_MASKS and instruction.opcode == 0xD9 and instruction.digit == 5:
        view.fpu.pend(control)
    view.set_mode(Mode.UNMASKED, control & _X87_MASKS != _X87_MASKS or view.fpu.mxcsr & _MXCSR_MASKS != _MXCSR_MASKS)


def _mxcsr(view: CpuView, value: int, control: int) -> None:
    if value & _RESERVED:
        raise Raised(GP)
    view.set_mode(Mode.UNMASKED, value & _MXCSR_MASKS != _MXCSR_MASKS or control & _X87_MASKS != _X87_MASKS)


def _ldmxcsr(view: CpuView, instruction: Instruction) -> None:
    _mxcsr(view, int.from_bytes(view.load(instruction, 4), "little"), view.fpu.control)


def _fxrstor(view: CpuView, instruction: Instruction) -> None:
    if view.effective_address(instruction) % 16:
        raise Raised(GP)
    image = view.load(instruction, 28)
    _mxcsr(view, int.from_bytes(image[24:28], "little"), int.from_bytes(image[:2], "little"))


def _xrstor(view: CpuView, instruction: Instruction) -> None:
    """Of the legacy region, which comes first, what EAX asks for: the x87 state, which starts anew if XSTATE_BV leaves
    it out, and MXCSR with the state of SSE or AVX (SDM vol. 1, 13.8).
    """
    if view.effective_address(instruction) % 64:
        raise Raised(GP)
    wanted, image = view.registers[_RAX], view.load(instruction, _LEGACY_BYTES + 8)
    present = image[_LEGACY_BYTES]
    control, mxcsr = view.fpu.control, view.fpu.mxcsr
    if wanted & _X87_STATE:
        control = int.from_bytes(image[:2], "little") if present & _X87_STATE else INITIAL_FCW
    if wanted & _WITH_MXCSR:
        mxcsr = int.from_bytes(image[24:28], "little")
    _mxcsr(view, mxcsr, control)


def _initialized(view: CpuView, instruction: Instruction) -> None:
    """FNINIT and FNSAVE mask every exception of the x87."""
    view.set_mode(Mode.UNMASKED, view.fpu.mxcsr & _MXCSR_MASKS != _MXCSR_MASKS)


def _rows(
    name: str, opcode: tuple[str, ...], wrong: str, function: Function, number: Callable[[Instruction], int]
) -> tuple[Row, Row]:
    """Native code looks first, unless an exception is unmasked already."""

    def otherwise(view: CpuView, instruction: Instruction) -> None:
        view.mmu.take_failure()  # the native code's, which is met again
        function(view, instruction)

    native = CheckNative("emu.instructions.executed.masks", "check", number, otherwise, ends=True)
    return (
        Row(name, opcodes(*opcode), wrong, Check(function, ends=True), _TEST, mode=Mode.UNMASKED),
        Row(name, opcodes(*opcode), wrong, native, _TEST),
    )


_NOT_MASKED = "what is not masked is not raised"
ROWS = (
    *_rows(
        "ldmxcsr", ("NP 0F AE /2 m",), "reserved bits are no #GP; " + _NOT_MASKED, _ldmxcsr,
        lambda instruction: Loaded.MXCSR,
    ),
    *_rows(
        "fxrstor", ("NP 0F AE /1 m",), "reserved bits of MXCSR are no #GP; " + _NOT_MASKED, _fxrstor,
        lambda instruction: Loaded.IMAGE | 16 << 8,
    ),
    *_rows(
        "xrstor", ("NP 0F AE /5 m",), "reserved bits of MXCSR are no #GP; " + _NOT_MASKED, _xrstor,
        lambda instruction: Loaded.STATES | 64 << 8,
    ),
    *_rows(
        "fldcw, fldenv, frstor", ("D9 /5 m", "D9 /4 m", "DD /4 m"), _NOT_MASKED, _x87,
        lambda instruction: Loaded.CONTROL,
    ),
    Row(
        "fninit, fnsave", opcodes("DB E3", "DD /6 m"), "none, and all is masked behind it",
        Check(_initialized, ends=True), _TEST, mode=Mode.UNMASKED,
    ),
    Row(
        "stmxcsr and fnstsw in one block, which is how C libraries test exception flags",
        opcodes("NP 0F AE /3 m", "DD /7 m", "DF E0"), "few instructions set a flag",
        Notice(
            "a program reads the flags of floating-point exceptions: most are never set while all are masked "
            "(docs/instructions.md)"
        ),
        _TEST,
    ),
)  # fmt: skip
