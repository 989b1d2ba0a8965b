"""The x87 instructions that have no operand in memory."""

from __future__ import annotations

from emu.arithmetic.circular import fcos, fpatan, fptan, fsin
from emu.arithmetic.exponential import constant, f2xm1, fyl2x, fyl2xp1
from emu.arithmetic.extended import C0, C1, C2, C3, IE, SF, Kind, Result, indefinite, kind
from emu.arithmetic.remainder import fprem, fscale, fxtract
from emu.arithmetic.wide import TOP
from emu.engine.records import Hit
from emu.instructions.executed.engine import FPCW, FPSW, FPTAG, Engine, read_fp, read_register, write_fp, write_register
from emu.instructions.executed.operation import Code, Outcome
from emu.instructions.executed.stack import is_empty, physical, set_status, traps, with_top
from mmu.native import cold, entry, native


@cold
def _unary(engine: Engine, code: int, status: int, control: int, tags: int) -> int:
    """ST(0) is replaced by the result."""
    at = physical(status, 0)
    x = read_fp(engine, at)
    conditions = C1
    if is_empty(tags, at):
        result = indefinite(SF)
    elif code == Code.F2XM1:
        result = f2xm1(x.exponent, x.mantissa, control)
    elif code == Code.FSIN:
        conditions, result = C1 | C2, fsin(x.exponent, x.mantissa, control)
    else:
        conditions, result = C1 | C2, fcos(x.exponent, x.mantissa, control)
    if not traps(control, result.flags):
        write_fp(engine, at, result.exponent, result.mantissa)
        if result.flags & SF:
            write_register(engine, FPTAG, tags & (0xFFFF ^ (3 << (2 * at))))
    set_status(engine, status, control, conditions, result.flags)
    return Outcome.DONE


@cold
def _popping(engine: Engine, code: int, status: int, control: int, tags: int) -> int:
    """ST(1) is replaced by the result, and the stack popped."""
    at, other = physical(status, 0), physical(status, 1)
    x, y = read_fp(engine, at), read_fp(engine, other)
    if is_empty(tags, at) or is_empty(tags, other):
        result = indefinite(SF)
    elif code == Code.FPATAN:
        result = fpatan(y, x, control)
    elif code == Code.FYL2X:
        result = fyl2x(y, x, control)
    else:
        result = fyl2xp1(y, x, control)
    if not traps(control, result.flags):
        write_fp(engine, other, result.exponent, result.mantissa)
        tags = (tags | (3 << (2 * at))) & (0xFFFF ^ (3 << (2 * other)))
        write_register(engine, FPTAG, tags)
        status = with_top(status, other)
    set_status(engine, status, control, C1, result.flags)
    return Outcome.DONE


@cold
def _binary(engine: Engine, code: int, status: int, control: int, tags: int) -> int:
    """ST(0) is replaced by what it and ST(1) give."""
    at, other = physical(status, 0), physical(status, 1)
    x, y = read_fp(engine, at), read_fp(engine, other)
    conditions = C1
    if is_empty(tags, at) or is_empty(tags, other):
        result = indefinite(SF)
    elif code == Code.FSCALE:
        result = fscale(x, y, control)
    else:
        conditions = C0 | C1 | C2 | C3
        result = fprem(x, y, code == Code.FPREM1)
    if not traps(control, result.flags):
        write_fp(engine, at, result.exponent, result.mantissa)
        write_register(engine, FPTAG, tags & (0xFFFF ^ (3 << (2 * at))))
    set_status(engine, status, control, conditions, result.flags)
    return Outcome.DONE


@native
def _push(engine: Engine, status: int, tags: int, value: Result) -> int:
    """Push a value; the new status word."""
    at = physical(status, 7)
    write_fp(engine, at, value.exponent, value.mantissa)
    write_register(engine, FPTAG, tags & (0xFFFF ^ (3 << (2 * at))))
    return with_top(status, at)


@cold
def _pushing(engine: Engine, code: int, status: int, control: int, tags: int) -> int:
    """ST(0) is replaced by one result, and another is pushed: FPTAN, FSINCOS and FXTRACT."""
    at, above = physical(status, 0), physical(status, 7)
    x = read_fp(engine, at)
    conditions = C1 if code == Code.FXTRACT else C1 | C2
    if is_empty(tags, at):
        first, second = indefinite(SF), indefinite(SF)
    elif not is_empty(tags, above):
        first, second = indefinite(SF | C1), indefinite(SF | C1)
    elif code == Code.FXTRACT:
        parts = fxtract(x.exponent, x.mantissa)
        first, second = parts.exponent, parts.significand
    elif code == Code.FPTAN:
        first, second = fptan(x.exponent, x.mantissa, control), Result(16383, TOP, 0)
        if first.flags & IE or first.exponent & 0x7FFF == 0x7FFF:
            second = first
    else:
        first, second = fsin(x.exponent, x.mantissa, control), fcos(x.exponent, x.mantissa, control)
    flags = first.flags | second.flags
    if flags & C2 == 0 and not traps(control, flags):
        write_fp(engine, at, first.exponent, first.mantissa)
        status = _push(engine, status, tags & (0xFFFF ^ (3 << (2 * at))), second)
    set_status(engine, status, control, conditions, flags)
    return Outcome.DONE


@cold
def _pushed(engine: Engine, status: int, control: int, tags: int, value: Result) -> int:
    """A value is pushed."""
    if not is_empty(tags, physical(status, 7)):
        value = indefinite(SF | C1)
    if not traps(control, value.flags):
        status = _push(engine, status, tags, value)
    set_status(engine, status, control, C1, value.flags)
    return Outcome.DONE


@cold
def _fxam(engine: Engine, status: int, control: int, tags: int) -> int:
    """The class of ST(0) in C3, C2 and C0, and its sign in C1 (SDM vol. 1, table 8-3)."""
    at = physical(status, 0)
    x = read_fp(engine, at)
    what, found = kind(x.exponent, x.mantissa), 0
    if is_empty(tags, at):
        found = C3 | C0
    elif what == Kind.ZERO:
        found = C3
    elif what == Kind.DENORMAL:
        found = C3 | C2
    elif what == Kind.NORMAL:
        found = C2
    elif what == Kind.INFINITE:
        found = C2 | C0
    elif what != Kind.UNSUPPORTED:
        found = C0
    set_status(engine, status, control, C0 | C1 | C2 | C3, found | (C1 if x.exponent >> 15 else 0))
    return Outcome.DONE


@entry("u64", "u64", Hit, "u64")
def execute(uc: int, hit: Hit, address: int) -> int:
    """Execute an instruction, but for RIP.  Says what became of it: an :class:`Outcome`; 0 if it is done."""
    engine, code = Engine.from_address(hit.engine), hit.number & 0xFF
    status, control = read_register(engine, FPSW), read_register(engine, FPCW)
    tags = read_register(engine, FPTAG)
    if code == Code.FXAM:
        return _fxam(engine, status, control, tags)
    if code >= Code.FLDL2T and code <= Code.FLDLN2:
        return _pushed(engine, status, control, tags, constant(code - Code.FLDL2T + 1, control))
    if code == Code.FSIN or code == Code.FCOS or code == Code.F2XM1:
        return _unary(engine, code, status, control, tags)
    if code == Code.FYL2X or code == Code.FYL2XP1 or code == Code.FPATAN:
        return _popping(engine, code, status, control, tags)
    if code == Code.FPREM or code == Code.FPREM1 or code == Code.FSCALE:
        return _binary(engine, code, status, control, tags)
    return _pushing(engine, code, status, control, tags)
