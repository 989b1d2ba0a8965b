"""DPPS and DPPD: products and sums in the single and the double format, in the order in which a CPU adds."""

from __future__ import annotations

from typing import NamedTuple

from emu.arithmetic.conversion import narrow, widened
from emu.arithmetic.extended import (
    C1,
    DE,
    IE,
    ORIGIN,
    PE,
    SIGN,
    UE,
    Kind,
    Number,
    Rounding,
    kind,
    normalized,
    number,
)
from emu.arithmetic.wide import M64, Wide, is_less, minus, plus, product, right
from mmu.native import cold, inlined

_DAZ, _FTZ = 0x40, 0x8000
# The format of operands, as a number.
_SINGLE, _DOUBLE = 0, 1


class Value(NamedTuple):
    """A value in its format, and the exceptions of MXCSR."""

    bits: int
    flags: int


class Dot(NamedTuple):
    """The 128 bits of a result, and the exceptions of MXCSR."""

    high: int
    low: int
    flags: int


@inlined
def _fraction_bits(double: int) -> int:
    return 52 if double else 23


@inlined
def _exponent_bits(double: int) -> int:
    return 11 if double else 8


@inlined
def _sign_bit(double: int) -> int:
    return 1 << 63 if double else 1 << 31


@inlined
def _infinity(double: int) -> int:
    return 0x7FF0_0000_0000_0000 if double else 0x7F80_0000


@inlined
def _indefinite(double: int) -> Value:
    return Value(0xFFF8_0000_0000_0000 if double else 0xFFC0_0000, IE)


@cold
def _operand(bits: int, double: int, mxcsr: int) -> Value:
    """An operand as DAZ has it."""
    magnitude = bits & (_sign_bit(double) - 1)
    if magnitude and magnitude >> _fraction_bits(double) == 0:
        if mxcsr & _DAZ:
            return Value(bits & _sign_bit(double), 0)
        return Value(bits, DE)
    return Value(bits, 0)


@cold
def _nan(a: int, b: int, double: int) -> Value:
    """What two operands give of which one is a NaN: the first one that is (SDM vol. 1, table 4-7)."""
    infinite, quiet_bit = _infinity(double), 1 << (_fraction_bits(double) - 1)
    size_a, size_b = a & (_sign_bit(double) - 1), b & (_sign_bit(double) - 1)
    signalling = (size_a > infinite and a & quiet_bit == 0) or (size_b > infinite and b & quiet_bit == 0)
    return Value((a if size_a > infinite else b) | quiet_bit, IE if signalling else 0)


@cold
def _is_nan(bits: int, double: int) -> bool:
    return bits & (_sign_bit(double) - 1) > _infinity(double)


@cold
def _encoded(value: Number, double: int, mxcsr: int, flags: int) -> Value:
    """A number rounded to its format, as RC and FTZ have it."""
    stored = narrow(value, _fraction_bits(double), _exponent_bits(double), (mxcsr >> 13) & 3)
    exceptions = stored.flags & (M64 ^ C1)
    magnitude = stored.low & (_sign_bit(double) - 1)
    if mxcsr & _FTZ and magnitude >> _fraction_bits(double) == 0:
        return Value(stored.low & _sign_bit(double), flags | UE | PE)
    return Value(stored.low, flags | exceptions)


@cold
def multiplied(a: int, b: int, double: int, mxcsr: int) -> Value:
    """MULSS or MULSD."""
    if _is_nan(a, double) or _is_nan(b, double):
        return _nan(a, b, double)
    first, second = _operand(a, double, mxcsr), _operand(b, double, mxcsr)
    flags = first.flags | second.flags
    sign = (first.bits ^ second.bits) & _sign_bit(double)
    x = widened(first.bits, _fraction_bits(double), _exponent_bits(double))
    y = widened(second.bits, _fraction_bits(double), _exponent_bits(double))
    kind_x, kind_y = kind(x.exponent, x.mantissa), kind(y.exponent, y.mantissa)
    if kind_x == Kind.INFINITE or kind_y == Kind.INFINITE:
        if kind_x == Kind.ZERO or kind_y == Kind.ZERO:
            return _indefinite(double)
        return Value(sign | _infinity(double), flags)
    if kind_x == Kind.ZERO or kind_y == Kind.ZERO:
        return Value(sign, flags)
    one, other = number(x.exponent, x.mantissa), number(y.exponent, y.mantissa)
    value = normalized(one.sign ^ other.sign, one.exponent + other.exponent + 1 - ORIGIN, product(one.high, other.high))
    return _encoded(value, double, mxcsr, flags)


@cold
def added(a: int, b: int, double: int, mxcsr: int) -> Value:
    """ADDSS or ADDSD."""
    if _is_nan(a, double) or _is_nan(b, double):
        return _nan(a, b, double)
    first, second = _operand(a, double, mxcsr), _operand(b, double, mxcsr)
    flags = first.flags | second.flags
    x = widened(first.bits, _fraction_bits(double), _exponent_bits(double))
    y = widened(second.bits, _fraction_bits(double), _exponent_bits(double))
    kind_x, kind_y = kind(x.exponent, x.mantissa), kind(y.exponent, y.mantissa)
    if kind_x == Kind.INFINITE or kind_y == Kind.INFINITE:
        if kind_x == kind_y and (x.exponent ^ y.exponent) & SIGN:
            return _indefinite(double)
        return Value(first.bits if kind_x == Kind.INFINITE else second.bits, flags)
    if kind_x == Kind.ZERO and kind_y == Kind.ZERO:
        if first.bits == second.bits:
            return Value(first.bits, flags)
        return Value(_zero_sum(double, mxcsr), flags)
    if kind_x == Kind.ZERO:
        return _encoded(number(y.exponent, y.mantissa), double, mxcsr, flags)
    if kind_y == Kind.ZERO:
        return _encoded(number(x.exponent, x.mantissa), double, mxcsr, flags)
    return _sum(number(x.exponent, x.mantissa), number(y.exponent, y.mantissa), double, mxcsr, flags)


@inlined
def _zero_sum(double: int, mxcsr: int) -> int:
    """The zero that two opposites give."""
    return _sign_bit(double) if (mxcsr >> 13) & 3 == Rounding.DOWN else 0


@cold
def _sum(x: Number, y: Number, double: int, mxcsr: int, flags: int) -> Value:
    larger, smaller = x, y
    if x.exponent < y.exponent or (x.exponent == y.exponent and x.high < y.high):
        larger, smaller = y, x
    above = right(Wide(larger.high, 0), 1)
    below = right(Wide(smaller.high, 0), 1 + larger.exponent - smaller.exponent)
    if larger.sign == smaller.sign:
        return _encoded(normalized(larger.sign, larger.exponent + 1, plus(above, below)), double, mxcsr, flags)
    if not is_less(below, above):
        return Value(_zero_sum(double, mxcsr), flags)
    return _encoded(normalized(larger.sign, larger.exponent + 1, minus(above, below)), double, mxcsr, flags)


@cold
def _product_of(a: Wide, b: Wide, number_: int, imm: int, mxcsr: int) -> Value:
    """The product of elements of the single format, or 0 where the immediate leaves it out."""
    if (imm >> (4 + number_)) & 1 == 0:
        return Value(0, 0)
    word_a, word_b = (a.high, b.high) if number_ >= 2 else (a.low, b.low)
    shift = 32 * (number_ & 1)
    return multiplied((word_a >> shift) & 0xFFFF_FFFF, (word_b >> shift) & 0xFFFF_FFFF, _SINGLE, mxcsr)


@cold
def _total(p0: Value, p1: Value, p2: Value, p3: Value, element: int, mxcsr: int) -> Value:
    """The sum for one element of the result: only of NaNs, of which the first counts, is it not the same for each."""
    if element & 1:
        lower, upper = added(p0.bits, p1.bits, _SINGLE, mxcsr), added(p2.bits, p3.bits, _SINGLE, mxcsr)
    else:
        lower, upper = added(p1.bits, p0.bits, _SINGLE, mxcsr), added(p3.bits, p2.bits, _SINGLE, mxcsr)
    if element & 2:
        lower, upper = upper, lower
    total = added(lower.bits, upper.bits, _SINGLE, mxcsr)
    return Value(total.bits, lower.flags | upper.flags | total.flags)


@cold
def dpps(a: Wide, b: Wide, imm: int, mxcsr: int) -> Dot:
    """DPPS: (p0 + p1) + (p2 + p3)."""
    p0, p1 = _product_of(a, b, 0, imm, mxcsr), _product_of(a, b, 1, imm, mxcsr)
    p2, p3 = _product_of(a, b, 2, imm, mxcsr), _product_of(a, b, 3, imm, mxcsr)
    total = _total(p0, p1, p2, p3, 0, mxcsr)
    flags = p0.flags | p1.flags | p2.flags | p3.flags | total.flags
    differ = _is_nan(total.bits, _SINGLE)
    high, low, element = 0, 0, 0
    while element < 4:
        if (imm >> element) & 1:
            if differ:
                total = _total(p0, p1, p2, p3, element, mxcsr)
            if element & 2:
                high |= total.bits << (32 * (element & 1))
            else:
                low |= total.bits << (32 * (element & 1))
        element += 1
    return Dot(high, low, flags)


@cold
def dppd(a: Wide, b: Wide, imm: int, mxcsr: int) -> Dot:
    """DPPD: p0 + p1."""
    p0 = multiplied(a.low, b.low, _DOUBLE, mxcsr) if imm & 0x10 else Value(0, 0)
    p1 = multiplied(a.high, b.high, _DOUBLE, mxcsr) if imm & 0x20 else Value(0, 0)
    total, other = added(p0.bits, p1.bits, _DOUBLE, mxcsr), added(p1.bits, p0.bits, _DOUBLE, mxcsr)
    return Dot(other.bits if imm & 2 else 0, total.bits if imm & 1 else 0, p0.flags | p1.flags | total.flags)
