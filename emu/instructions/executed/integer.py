"""LOCK NEG and CMPXCHG of registers."""

from __future__ import annotations

from emu.engine.hooks import effective_address
from emu.engine.records import Hit
from emu.instructions.executed.engine import (
    Engine,
    load,
    reachable,
    read_general,
    store,
    write_general,
    write_status_flags,
)
from emu.instructions.executed.operation import Code, Outcome, bits_of, code_of, first_of, second_of
from mmu.native import cold, entry, native

_CF, _PF, _AF, _ZF, _SF, _OF = 1, 4, 0x10, 0x40, 0x80, 0x800
_STATUS_FLAGS = 0x8D5
_M32 = 0xFFFF_FFFF


@native
def _subtraction_flags(a: int, b: int, bits: int) -> int:
    """The status flags of a - b."""
    ones = ((1 << (bits - 1)) - 1) * 2 + 1
    difference = (a - b) & ones
    flags = _CF if a < b else 0
    byte = difference & 0xFF
    byte ^= byte >> 4
    byte ^= byte >> 2
    byte ^= byte >> 1
    flags |= 0 if byte & 1 else _PF
    flags |= _AF if (a ^ b ^ difference) & 16 else 0
    flags |= _ZF if difference == 0 else 0
    flags |= _SF if difference >> (bits - 1) else 0
    flags |= _OF if ((a ^ b) & (a ^ difference)) >> (bits - 1) else 0
    return flags


@cold
def _lock_neg(engine: Engine, number: int, vaddr: int) -> int:
    """LOCK NEG, of which the engine forgets the flags."""
    bits = bits_of(number)
    if not reachable(engine, vaddr, bits >> 3, True):
        return Outcome.FAULT
    value = load(engine, vaddr, bits)
    ones = ((1 << (bits - 1)) - 1) * 2 + 1
    store(engine, vaddr, bits, (ones - value + 1) & ones)
    write_status_flags(engine, _STATUS_FLAGS, _subtraction_flags(0, value, bits))
    return Outcome.DONE


@cold
def _cmpxchg(engine: Engine, number: int) -> int:
    """CMPXCHG r32, r32: only the register that is written loses its upper half."""
    accumulator, value = read_general(engine, 0) & _M32, read_general(engine, first_of(number)) & _M32
    if accumulator == value:
        write_general(engine, first_of(number), read_general(engine, second_of(number)) & _M32)
    else:
        write_general(engine, 0, value)
    write_status_flags(engine, _STATUS_FLAGS, _subtraction_flags(accumulator, value, 32))
    return Outcome.DONE


@entry("u64", "u64", Hit, "u64")
def execute(uc: int, hit: Hit, address: int) -> int:
    """Execute an instruction, but for RIP.  Says what became of it: an :class:`Outcome`; 0 if it is done."""
    engine = Engine.from_address(hit.engine)
    if code_of(hit.number) == Code.CMPXCHG:
        return _cmpxchg(engine, hit.number)
    return _lock_neg(engine, hit.number, effective_address(hit, engine.registers))
