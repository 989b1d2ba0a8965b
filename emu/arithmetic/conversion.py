"""Conversions between the formats: FISTTP, FBSTP, and the single and double formats of SSE."""

from __future__ import annotations

from typing import NamedTuple

from emu.arithmetic.extended import (
    C1,
    DE,
    IE,
    OE,
    ORIGIN,
    PE,
    UE,
    Kind,
    Number,
    Result,
    Rounding,
    goes_up,
    kind,
    number,
    quiet,
    rounding,
)
from emu.arithmetic.wide import M64, TOP, Wide, leading_zeros, right
from mmu.native import cold

#: The largest number of 18 decimal digits.
_EIGHTEEN_NINES = 999_999_999_999_999_999


class Stored(NamedTuple):
    """What is stored in memory, and the bits that are set in FSW."""

    high: int  # of FBSTP: the last two bytes
    low: int
    flags: int


class Integer(NamedTuple):
    """A magnitude and what was cut off; ``fits`` is 0 for what has no integer of 64 bits."""

    magnitude: int
    rest: int
    fits: int


@cold
def _whole(exponent: int, mantissa: int) -> Integer:
    """The integer part of the magnitude of an operand."""
    what = kind(exponent, mantissa)
    if what == Kind.ZERO:
        return Integer(0, 0, 1)
    if what > Kind.NORMAL:
        return Integer(0, 0, 0)
    x = number(exponent, mantissa)
    if x.exponent > ORIGIN + 63:
        return Integer(0, 0, 0)
    parts = right(Wide(x.high, 0), ORIGIN + 63 - x.exponent)
    return Integer(parts.high, parts.low, 1)


@cold
def fisttp(exponent: int, mantissa: int, bits: int) -> Stored:
    """FISTTP to 16, 32 or 64 bits."""
    part, sign = _whole(exponent, mantissa), exponent >> 15
    limit = 1 << (bits - 1)
    if part.fits == 0 or part.magnitude > limit or (part.magnitude == limit and sign == 0):
        return Stored(0, limit, IE)
    value = (M64 - part.magnitude + 1) & M64 if sign else part.magnitude
    return Stored(0, value, PE if part.rest else 0)


@cold
def fbstp(exponent: int, mantissa: int, control: int) -> Stored:
    """FBSTP: 18 decimal digits and the sign."""
    part, sign = _whole(exponent, mantissa), exponent >> 15
    up = goes_up(rounding(control), sign, part.magnitude & 1, part.rest)
    magnitude, flags = part.magnitude, PE if part.rest else 0
    if part.fits and up and magnitude <= _EIGHTEEN_NINES:
        magnitude, flags = magnitude + 1, flags | C1
    if part.fits == 0 or magnitude > _EIGHTEEN_NINES:
        return Stored(0xFFFF, 0xC000_0000_0000_0000, IE)
    low, place = 0, 0
    while place < 64:
        low |= (magnitude % 10) << place
        magnitude, place = magnitude // 10, place + 4
    return Stored((sign << 15) | (magnitude // 10 << 4) | magnitude % 10, low, flags)


@cold
def widened(value: int, fraction_bits: int, exponent_bits: int) -> Result:
    """A value in the single (23 and 8 bits) or the double format (52 and 11)."""
    sign = value >> (fraction_bits + exponent_bits)
    top = (1 << exponent_bits) - 1
    biased = (value >> fraction_bits) & top
    fraction = (value & ((1 << fraction_bits) - 1)) << (63 - fraction_bits)
    bias = top >> 1
    if biased == top:
        if fraction:
            return quiet((sign << 15) | 0x7FFF, TOP | fraction)
        return Result((sign << 15) | 0x7FFF, TOP, 0)
    if biased:
        return Result((sign << 15) | (biased + 16383 - bias), TOP | fraction, 0)
    if fraction == 0:
        return Result(sign << 15, 0, 0)
    zeros = leading_zeros(Wide(fraction, 0))
    return Result((sign << 15) | (1 + 16383 - bias - zeros), (fraction << zeros) & M64, DE)


@cold
def narrow(x: Number, fraction_bits: int, exponent_bits: int, rc: int) -> Stored:
    """A number in the single or the double format."""
    bias = (1 << (exponent_bits - 1)) - 1
    least = ORIGIN + 1 - bias  # the exponent of the smallest normal number
    shift = 63 - fraction_bits
    tiny = x.exponent < least
    if tiny:
        shift += least - x.exponent
    parts = right(Wide(x.high, x.low), shift)
    word, flags = parts.high, 0
    if parts.low:
        flags = PE
    if goes_up(rc, x.sign, word & 1, parts.low):
        word, flags = word + 1, flags | C1
    # the unit of a normal number counts as one in the exponent
    encoded = word if tiny else ((x.exponent - least) << fraction_bits) + word
    if tiny and parts.low and not _rounds_to_normal(x, least, fraction_bits, rc):
        flags |= UE
    top = ((1 << exponent_bits) - 1) << fraction_bits
    if x.exponent > ORIGIN + bias or encoded >= top:
        away = rc == Rounding.NEAREST or rc == (Rounding.DOWN if x.sign else Rounding.UP)
        encoded, flags = (top, OE | PE | C1) if away else (top - 1, OE | PE)
    return Stored(0, (x.sign << (fraction_bits + exponent_bits)) | encoded, flags)


@cold
def _rounds_to_normal(x: Number, least: int, fraction_bits: int, rc: int) -> bool:
    """Whether a number below the normal ones would not be so with an exponent of any size."""
    if x.exponent + 1 != least:
        return False
    parts = right(Wide(x.high, x.low), 63 - fraction_bits)
    return parts.high + 1 == 2 << fraction_bits and goes_up(rc, x.sign, 1, parts.low)
