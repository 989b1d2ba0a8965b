"""Instructions that load control words: which exceptions of the floating-point units are masked.

Where what follows is to be looked through in another mode, it begins a piece of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.instructions.instruction import Instruction
from emu.instructions.opcodes import Mode
from emu.instructions.raised import GP, Raised
from emu.instructions.row import Check, Row, opcodes
from emu.instructions.unmasked import wait
from emu.instructions.view import CpuView

_TEST = "tests/instructions/test_instructions_unmasked.py"
_X87_MASKS, _MXCSR_MASKS, _RESERVED = 0x3F, 0x1F80, 0xFFFF_0000


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
    """FXRSTOR, and XRSTOR, of which the legacy region comes first (which of it is loaded stands in RFBM and XSTATE_BV:
    whatever it is, MXCSR is checked)."""
    if view.effective_address(instruction) % (64 if instruction.digit == 5 else 16):
        raise Raised(GP)
    image = view.load(instruction, 28)
    _mxcsr(view, int.from_bytes(image[24:28], "little"), int.from_bytes(image[:2], "little"))


def _initialized(view: CpuView, instruction: Instruction) -> None:
    """FNINIT and FNSAVE mask every exception of the x87."""
    view.set_mode(Mode.UNMASKED, view.fpu.mxcsr & _MXCSR_MASKS != _MXCSR_MASKS)


def _row(name: str, opcode: tuple[str, ...], wrong: str, function: Callable[[CpuView, Instruction], None]) -> Row:
    return Row(name, opcodes(*opcode), wrong, Check(function, ends=True), _TEST)


_NOT_MASKED = "what is not masked is not raised"
ROWS = (
    _row("ldmxcsr", ("NP 0F AE /2 m",), "reserved bits are no #GP; " + _NOT_MASKED, _ldmxcsr),
    _row(
        "fxrstor, xrstor", ("NP 0F AE /1 m", "NP 0F AE /5 m"), "reserved bits of MXCSR are no #GP; " + _NOT_MASKED,
        _fxrstor,
    ),
    _row("fldcw, fldenv, frstor", ("D9 /5 m", "D9 /4 m", "DD /4 m"), _NOT_MASKED, _x87),
    Row(
        "fninit, fnsave", opcodes("DB E3", "DD /6 m"), "none, and all is masked behind it",
        Check(_initialized, ends=True), _TEST, mode=Mode.UNMASKED,
    ),
)  # fmt: skip
