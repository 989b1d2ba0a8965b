"""The x87 register stack and the status word."""

from __future__ import annotations

from emu.arithmetic.extended import DE, IE, ZE
from emu.arithmetic.wide import M64
from emu.instructions.executed.engine import FPSW, Engine, write_register
from mmu.native import native

EXCEPTIONS = 0x3F
_ES_AND_BUSY = 0x8080
_TOP_FIELD = 0x3800
_NOT_FROM_RESULT = IE | DE | ZE  # the exceptions that come before there is a result


@native
def physical(status: int, number: int) -> int:
    """Which register ST(number) is."""
    return ((status >> 11) + number) & 7


@native
def is_empty(tags: int, physical: int) -> bool:
    """Whether FTW says that a register is empty."""
    return (tags >> (2 * physical)) & 3 == 3


@native
def with_top(status: int, top: int) -> int:
    """FSW with another TOP."""
    return (status & (0xFFFF ^ _TOP_FIELD)) | ((top & 7) << 11)


@native
def traps(control: int, flags: int) -> bool:
    """Whether an exception is unmasked that leaves the operands as they are."""
    return flags & (M64 ^ control) & _NOT_FROM_RESULT != 0


@native
def set_status(engine: Engine, status: int, control: int, conditions: int, flags: int) -> None:
    """Write FSW, with these condition codes replaced; ES and B with an exception that is not masked."""
    status = (status & (0xFFFF ^ conditions)) | flags
    if status & (M64 ^ control) & EXCEPTIONS:
        status |= _ES_AND_BUSY
    write_register(engine, FPSW, status)
