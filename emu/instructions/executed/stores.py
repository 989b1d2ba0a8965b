"""FISTTP, FBSTP and FNSTENV."""

from __future__ import annotations

from emu.arithmetic.conversion import fbstp, fisttp
from emu.arithmetic.extended import C1, IE, SF
from emu.arithmetic.wide import M64
from emu.engine.hooks import effective_address
from emu.engine.records import Hit
from emu.instructions.executed.engine import (
    FCS,
    FDP,
    FDS,
    FIP,
    FOP,
    FPCW,
    FPSW,
    FPTAG,
    Engine,
    reachable,
    read_fp,
    read_register,
    store,
    write_register,
)
from emu.instructions.executed.operation import Code, Outcome, bits_of, code_of
from emu.instructions.executed.stack import EXCEPTIONS, is_empty, physical, set_status, traps, with_top
from mmu.native import cold, entry


@cold
def _fisttp(engine: Engine, vaddr: int, bits: int) -> int:
    """FISTTP m16, m32 or m64."""
    status, control = read_register(engine, FPSW), read_register(engine, FPCW)
    tags, at = read_register(engine, FPTAG), physical(status, 0)
    x = read_fp(engine, at)
    stored = fisttp(x.exponent, x.mantissa, bits)
    flags, value = stored.flags, stored.low
    if is_empty(tags, at):
        flags, value = IE | SF, 1 << (bits - 1)
    if not traps(control, flags):
        if not reachable(engine, vaddr, bits >> 3, True):
            return Outcome.FAULT
        store(engine, vaddr, bits, value)
        write_register(engine, FPTAG, tags | (3 << (2 * at)))
        status = with_top(status, at + 1)
    set_status(engine, status, control, C1, flags)
    return Outcome.DONE


@cold
def _fbstp(engine: Engine, vaddr: int) -> int:
    """FBSTP m80."""
    status, control = read_register(engine, FPSW), read_register(engine, FPCW)
    tags, at = read_register(engine, FPTAG), physical(status, 0)
    x = read_fp(engine, at)
    stored = fbstp(x.exponent, x.mantissa, control)
    flags, low, high = stored.flags, stored.low, stored.high
    if is_empty(tags, at):
        flags, low, high = IE | SF, 0xC000_0000_0000_0000, 0xFFFF
    if not traps(control, flags):
        if not reachable(engine, vaddr, 10, True):
            return Outcome.FAULT
        store(engine, vaddr, 64, low)
        store(engine, (vaddr + 8) & M64, 16, high)
        write_register(engine, FPTAG, tags | (3 << (2 * at)))
        status = with_top(status, at + 1)
    set_status(engine, status, control, C1, flags)
    return Outcome.DONE


@cold
def _fnstenv(engine: Engine, vaddr: int) -> int:
    """FNSTENV of 28 bytes, which masks every exception."""
    control = read_register(engine, FPCW)
    # a processor tries the first word, and then the last byte
    if not reachable(engine, vaddr, 4, True) or not reachable(engine, (vaddr + 27) & M64, 1, True):
        return Outcome.FAULT
    high = 0xFFFF_0000
    store(engine, vaddr, 32, high | control)
    store(engine, (vaddr + 4) & M64, 32, high | read_register(engine, FPSW))
    store(engine, (vaddr + 8) & M64, 32, high | read_register(engine, FPTAG))
    store(engine, (vaddr + 12) & M64, 32, read_register(engine, FIP) & 0xFFFF_FFFF)
    store(engine, (vaddr + 16) & M64, 32, (read_register(engine, FOP) << 16) | read_register(engine, FCS))
    store(engine, (vaddr + 20) & M64, 32, read_register(engine, FDP) & 0xFFFF_FFFF)
    store(engine, (vaddr + 24) & M64, 32, high | read_register(engine, FDS))
    write_register(engine, FPCW, control | EXCEPTIONS)
    return Outcome.DONE


@entry("u64", "u64", Hit, "u64")
def execute(uc: int, hit: Hit, address: int) -> int:
    """Execute an instruction, but for RIP.  Says what became of it: an :class:`Outcome`; 0 if it is done."""
    engine, code = Engine.from_address(hit.engine), code_of(hit.number)
    vaddr = effective_address(hit, engine.registers)
    if code == Code.FISTTP:
        return _fisttp(engine, vaddr, bits_of(hit.number))
    return _fbstp(engine, vaddr) if code == Code.FBSTP else _fnstenv(engine, vaddr)
