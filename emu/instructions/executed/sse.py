"""The SSE and MMX instructions."""

from __future__ import annotations

from emu.arithmetic.dot import dppd, dpps
from emu.arithmetic.extended import DE, IE
from emu.arithmetic.horizontal import folded
from emu.arithmetic.strings import STATUS_FLAGS, explicit_length, index, length_to_zero, mask, matches
from emu.arithmetic.wide import M64, Wide
from emu.engine.hooks import effective_address
from emu.engine.records import Hit
from emu.instructions.executed.engine import (
    FPSW,
    FPTAG,
    MXCSR,
    Engine,
    load_wide,
    reachable,
    read_fp,
    read_general,
    read_register,
    read_xmm,
    write_fp,
    write_general,
    write_register,
    write_status_flags,
    write_xmm,
)
from emu.instructions.executed.operation import (
    Code,
    Outcome,
    code_of,
    first_of,
    immediate_of,
    is_in_memory,
    is_wide,
    second_of,
)
from mmu.native import cold, entry, native

_TOP_FIELD = 0x3800
_EXCEPTIONS = 0x3F
_RAX, _RCX, _RDX = 0, 1, 2


@cold
def _compare_strings(engine: Engine, number: int, second: Wide) -> int:
    """PCMPxSTRx."""
    first, imm, code = read_xmm(engine, first_of(number)), immediate_of(number), code_of(number)
    if code == Code.PCMPESTRI or code == Code.PCMPESTRM:
        wide = is_wide(number)
        length = explicit_length(read_general(engine, _RAX), wide, imm)
        other = explicit_length(read_general(engine, _RDX), wide, imm)
    else:
        length, other = length_to_zero(first, imm), length_to_zero(second, imm)
    found = matches(first, second, length, other, imm)
    if code == Code.PCMPISTRI or code == Code.PCMPESTRI:
        write_general(engine, _RCX, index(found.bits, imm))
    else:
        value = mask(found.bits, imm)
        write_xmm(engine, 0, value.high, value.low)
    write_status_flags(engine, STATUS_FLAGS, found.flags)
    return Outcome.DONE


@cold
def _dot_product(engine: Engine, number: int, second: Wide) -> int:
    """DPPS and DPPD."""
    first, mxcsr = read_xmm(engine, first_of(number)), read_register(engine, MXCSR)
    if code_of(number) == Code.DPPS:
        result = dpps(first, second, immediate_of(number), mxcsr)
    else:
        result = dppd(first, second, immediate_of(number), mxcsr)
    flags = result.flags
    unmasked = flags & (M64 ^ (mxcsr >> 7)) & _EXCEPTIONS
    if unmasked & (IE | DE):
        flags &= IE | DE  # which come before there is a result
    write_register(engine, MXCSR, mxcsr | flags)
    if unmasked:
        return Outcome.UNMASKED
    write_xmm(engine, first_of(number), result.high, result.low)
    return Outcome.DONE


@cold
def _with_second(engine: Engine, number: int, vaddr: int) -> int:
    """One whose second operand is an XMM register or 128 bits in memory, aligned for DPPS and DPPD."""
    if is_in_memory(number):
        if code_of(number) >= Code.DPPS and vaddr & 15:
            return Outcome.MISALIGNED
        if not reachable(engine, vaddr, 16, False):
            return Outcome.FAULT
        second = load_wide(engine, vaddr)
    else:
        second = read_xmm(engine, second_of(number))
    if code_of(number) >= Code.DPPS:
        return _dot_product(engine, number, second)
    return _compare_strings(engine, number, second)


@cold
def _horizontal(engine: Engine, number: int) -> int:
    """PHADD or PHSUB of an XMM register and itself."""
    value = read_xmm(engine, first_of(number))
    half = folded(value.low, immediate_of(number)) | (folded(value.high, immediate_of(number)) << 32)
    write_xmm(engine, first_of(number), half, half)
    return Outcome.DONE


@native
def _go_over_to_mmx(engine: Engine) -> None:
    """All registers are in use, and the first one is ST(0) (SDM vol. 3, 13.2.1)."""
    write_register(engine, FPSW, read_register(engine, FPSW) & (0xFFFF ^ _TOP_FIELD))
    write_register(engine, FPTAG, 0)


@cold
def _before_mmx(engine: Engine, number: int, vaddr: int) -> int:
    """What the engine does not do itself, once it is sure that it executes the instruction."""
    if is_in_memory(number) and not reachable(engine, vaddr, 8, False):
        return Outcome.FAULT
    _go_over_to_mmx(engine)
    return Outcome.DONE


@cold
def _horizontal_mmx(engine: Engine, number: int) -> int:
    """PHADD or PHSUB of an MMX register and itself."""
    _go_over_to_mmx(engine)
    part = folded(read_fp(engine, first_of(number)).mantissa, immediate_of(number))
    write_fp(engine, first_of(number), 0xFFFF, part | (part << 32))
    return Outcome.DONE


@entry("u64", "u64", Hit, "u64")
def execute(uc: int, hit: Hit, address: int) -> int:
    """Execute an instruction, but for RIP.  Says what became of it: an :class:`Outcome`; 0 if it is done."""
    engine, number = Engine.from_address(hit.engine), hit.number
    code = code_of(number)
    if code == Code.HORIZONTAL:
        return _horizontal(engine, number)
    if code == Code.HORIZONTAL_MMX:
        return _horizontal_mmx(engine, number)
    vaddr = effective_address(hit, engine.registers)
    return _before_mmx(engine, number, vaddr) if code == Code.MMX else _with_second(engine, number, vaddr)
