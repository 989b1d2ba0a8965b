"""FPREM, FPREM1, FXTRACT and FSCALE."""

from __future__ import annotations

from typing import NamedTuple

from emu.arithmetic.extended import (
    C0,
    C1,
    C2,
    C3,
    DE,
    ORIGIN,
    ZE,
    Kind,
    Number,
    Result,
    denormal_flag,
    indefinite,
    infinity,
    kind,
    nan_of_two,
    number,
    quiet,
    rounded,
    rounding,
    zero,
)
from emu.arithmetic.wide import M64, Wide, leading_zeros
from mmu.native import cold, inlined


class Parts(NamedTuple):
    """What FXTRACT makes of a value: the exponent as a value, and the significand."""

    exponent: Result
    significand: Result


@inlined
def unchanged(x: Result, flags: int) -> Result:
    """An operand; one with a first bit that its exponent does not know of gets the exponent that it stands for."""
    if x.exponent & 0x7FFF == 0 and x.mantissa >> 63:
        return Result(x.exponent | 1, x.mantissa, flags)
    return Result(x.exponent, x.mantissa, flags)


@cold
def fprem(x: Result, y: Result, nearest: bool) -> Result:
    """FPREM, or FPREM1 where ``nearest``: the remainder of ST(0), x, by ST(1), y.

    The quotient's low bits are in C0, C3 and C1; C2 is set where the exponents differ by 64 or more and only a part was
    done, as much as on Intel's.
    """
    kind_x, kind_y = kind(x.exponent, x.mantissa), kind(y.exponent, y.mantissa)
    if kind_x > Kind.INFINITE or kind_y > Kind.INFINITE:
        return nan_of_two(x, y)
    if kind_x == Kind.INFINITE or kind_y == Kind.ZERO:
        return indefinite(0)
    flags = DE if kind_x == Kind.DENORMAL or kind_y == Kind.DENORMAL else 0
    if kind_x == Kind.ZERO or kind_y == Kind.INFINITE:
        return unchanged(x, flags)
    a, b = number(x.exponent, x.mantissa), number(y.exponent, y.mantissa)
    if a.exponent + 1 < b.exponent or (a.exponent < b.exponent and not nearest):
        return unchanged(x, flags)
    return _divided(a, b, nearest, flags)


@cold
def _divided(a: Number, b: Number, nearest: bool, flags: int) -> Result:
    """The remainder of two numbers of which the first is no less than about half the second."""
    rest, divisor, exponent, quotient, steps = a.high, b.high, b.exponent, 0, 0
    if a.exponent < b.exponent:
        # half of b at least: in units that are half as large
        exponent = a.exponent
        return _nearest(a.sign, exponent, Wide(0, rest), Wide(divisor >> 63, (divisor << 1) & M64), 0, flags)
    steps = a.exponent - b.exponent
    if steps >= 64:
        steps = (steps & 31) | 32
        flags |= C2
        exponent = a.exponent - steps
    carry = 0
    while True:
        if carry or rest >= divisor:
            rest, quotient = (rest - divisor) & M64, quotient | 1
        if steps == 0:
            break
        steps -= 1
        carry = rest >> 63
        rest, quotient = (rest << 1) & M64, (quotient << 1) & M64
    if flags & C2:
        quotient = 0
    elif nearest:
        return _nearest(a.sign, exponent, Wide(0, rest), Wide(0, divisor), quotient, flags)
    return _exact(a.sign, exponent, Wide(0, rest), quotient, flags)


@cold
def _nearest(sign: int, exponent: int, rest: Wide, divisor: Wide, quotient: int, flags: int) -> Result:
    """FPREM1 takes the divisor off once more where that leaves less, or as much and an even quotient."""
    # twice the rest, which is below 2^64, against the divisor, which is below 2^65
    double = Wide(rest.low >> 63, (rest.low << 1) & M64)
    more = double.high > divisor.high or (double.high == divisor.high and double.low > divisor.low)
    same = double.high == divisor.high and double.low == divisor.low
    if more or (same and quotient & 1):
        left = (divisor.low - rest.low) & M64
        return _exact(sign ^ 1, exponent, Wide(0, left), quotient + 1, flags)
    return _exact(sign, exponent, rest, quotient, flags)


@cold
def _exact(sign: int, exponent: int, rest: Wide, quotient: int, flags: int) -> Result:
    """A remainder, and the three low bits of the quotient."""
    flags |= C0 if quotient & 4 else 0
    flags |= C3 if quotient & 2 else 0
    c1 = C1 if quotient & 1 else 0
    if rest.low == 0:
        return zero(sign, flags | c1)
    zeros = leading_zeros(Wide(rest.low, 0))
    value = rounded(Number(sign, exponent - zeros, (rest.low << zeros) & M64, 0), 0, 0)
    return Result(value.exponent, value.mantissa, flags | c1)


@cold
def fxtract(exponent: int, mantissa: int) -> Parts:
    """FXTRACT: the exponent, which replaces ST(0), and the significand, which is pushed."""
    what, sign = kind(exponent, mantissa), exponent >> 15
    if what == Kind.ZERO:
        return Parts(infinity(1, ZE), zero(sign, 0))
    if what == Kind.INFINITE:
        return Parts(infinity(0, 0), infinity(sign, 0))
    if what > Kind.INFINITE:
        both = indefinite(0) if what == Kind.UNSUPPORTED else quiet(exponent, mantissa)
        return Parts(both, both)
    x = number(exponent, mantissa)
    return Parts(integer(x.exponent, denormal_flag(exponent)), Result((sign << 15) | 16383, x.high, 0))


@cold
def integer(exponent: int, flags: int) -> Result:
    """The exponent of a Number as a value."""
    if exponent == ORIGIN:
        return zero(0, flags)
    below = exponent < ORIGIN
    size = ORIGIN - exponent if below else exponent - ORIGIN
    zeros = leading_zeros(Wide(size, 0))
    return Result((0x8000 if below else 0) | (16383 + 63 - zeros), (size << zeros) & M64, flags)


@cold
def fscale(x: Result, y: Result, control: int) -> Result:
    """FSCALE: ST(0), x, times 2 to the power of ST(1), y, cut off to an integer."""
    kind_x, kind_y = kind(x.exponent, x.mantissa), kind(y.exponent, y.mantissa)
    if kind_x > Kind.INFINITE or kind_y > Kind.INFINITE:
        return nan_of_two(x, y)
    sign, down = x.exponent >> 15, y.exponent >> 15
    flags = DE if kind_x == Kind.DENORMAL or kind_y == Kind.DENORMAL else 0
    if kind_y == Kind.INFINITE:
        if (kind_x == Kind.ZERO and not down) or (kind_x == Kind.INFINITE and down):
            return indefinite(0)
        return zero(sign, flags) if down else infinity(sign, flags)
    if kind_x == Kind.ZERO or kind_x == Kind.INFINITE or kind_y == Kind.ZERO:
        return unchanged(x, flags)
    value, power = number(x.exponent, x.mantissa), number(y.exponent, y.mantissa)
    count = 0
    if power.exponent >= ORIGIN:
        count = 1 << 16 if power.exponent > ORIGIN + 16 else power.high >> (63 + ORIGIN - power.exponent)
    if count == 0:
        return unchanged(x, flags)
    count = min(count, 1 << 16)
    exponent = value.exponent - count if down else value.exponent + count
    return rounded(Number(sign, exponent, value.high, 0), rounding(control), flags)
