"""Control words that are about to be loaded, and RFLAGS: nearly always they mask every exception, and AC is clear."""

from __future__ import annotations

from enum import IntEnum

from emu.engine.hooks import effective_address
from emu.engine.records import Hit
from emu.instructions.executed.engine import Engine, reachable
from mmu.native import cold, entry, load8, load64

_PAGE, _OFFSET = 0x1000, 0xFFF
_IN_WINDOW = (1 << 40) - 1
_X87_MASKS, _MXCSR_MASKS, _MXCSR_WITH_RESERVED = 0x3F, 0x1F80, 0xFFFF_1F80
_MXCSR_AT, _AC, _RSP = 24, 1 << 18, 4
_NONE = 1 << 32
_X87_STATE, _WITH_MXCSR = 1, 6


class Loaded(IntEnum):
    """What an instruction loads; for an image, times 256, the bytes to which it must be aligned."""

    CONTROL = 0  # the control word of the x87, which comes first
    MXCSR = 1
    IMAGE = 2  # FXSAVE's
    FLAGS = 3  # from the stack
    STATES = 4  # XSAVE's image, of it what EAX asks for


@cold
def _peek(engine: Engine, vaddr: int) -> int:
    """32 bits that can be read, which is no access; _NONE if they cannot, or lie in two pages."""
    offset = vaddr & _OFFSET
    if offset + 4 > _PAGE or not reachable(engine, vaddr, 4, False):
        return _NONE
    at = engine.ram + (load64(engine.word) & _IN_WINDOW & (_IN_WINDOW ^ _OFFSET)) + offset
    return load8(at) | load8(at + 1) << 8 | load8(at + 2) << 16 | load8(at + 3) << 24


@entry("u64", "u64", Hit, "u64")
def check(uc: int, hit: Hit, address: int) -> int:
    """0 if nothing is to be done before the engine executes the instruction."""
    engine, kind = Engine.from_address(hit.engine), hit.number & 0xFF
    if kind == Loaded.FLAGS:
        flags = _peek(engine, load64(engine.registers + _RSP * 8))
        return 0 if flags < _NONE and flags & _AC == 0 else 1
    vaddr = effective_address(hit, engine.registers)
    first = _peek(engine, vaddr)
    if kind == Loaded.MXCSR:
        return 0 if first & _MXCSR_WITH_RESERVED == _MXCSR_MASKS and first < _NONE else 1
    wanted = load64(engine.registers) if kind == Loaded.STATES else _X87_STATE | _WITH_MXCSR
    if first >= _NONE or (wanted & _X87_STATE != 0 and first & _X87_MASKS != _X87_MASKS):
        return 1
    if kind == Loaded.CONTROL:
        return 0
    if vaddr & ((hit.number >> 8) - 1) != 0:
        return 1
    if wanted & _WITH_MXCSR == 0:
        return 0
    mxcsr = _peek(engine, vaddr + _MXCSR_AT)
    return 0 if mxcsr & _MXCSR_WITH_RESERVED == _MXCSR_MASKS and mxcsr < _NONE else 1
