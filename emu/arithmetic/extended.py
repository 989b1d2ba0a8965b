"""The double extended-precision format of the x87 FPU (SDM vol. 1, 4.2.2): classes, NaNs, and rounding."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from emu.arithmetic.wide import M64, TOP, Wide, leading_zeros, left, right
from mmu.native import cold, inlined

#: Bits of FSW (SDM vol. 1, 8.1.3).
IE, DE, ZE, OE, UE, PE, SF = 1, 2, 4, 8, 16, 32, 64
C0, C1, C2, C3 = 0x100, 0x200, 0x400, 0x4000

SIGN = 0x8000
INFINITE_EXPONENT = 0x7FFF
QUIET_BIT = 1 << 62
#: The exponent of a :class:`Number` from 1 on, far enough from 0 that no exponent is below it.
ORIGIN = 1 << 17
#: What is added to the exponent of the format to get that of a Number.
OFFSET = ORIGIN - 16383


class Kind(IntEnum):
    """What an operand is."""

    ZERO = 0
    DENORMAL = 1
    NORMAL = 2
    INFINITE = 3
    QUIET = 4
    SIGNALLING = 5
    UNSUPPORTED = 6  # an encoding that CPUs since the 80387 refuse


class Rounding(IntEnum):
    """RC, in FCW and in MXCSR."""

    NEAREST = 0
    DOWN = 1
    UP = 2
    ZERO = 3


class Result(NamedTuple):
    """A value in the format, and the bits that are set in FSW."""

    exponent: int  # with the sign
    mantissa: int
    flags: int


class Number(NamedTuple):
    """A finite number but 0: high.low, whose first bit is set and is the unit, times 2^(exponent - ORIGIN)."""

    sign: int
    exponent: int
    high: int
    low: int


@inlined
def rounding(control: int) -> int:
    """RC of FCW."""
    return (control >> 10) & 3


@cold
def kind(exponent: int, mantissa: int) -> int:
    """What an operand is: a :class:`Kind`."""
    exponent &= 0x7FFF
    if exponent == 0:
        return Kind.ZERO if mantissa == 0 else Kind.DENORMAL
    if mantissa >> 63 == 0:
        return Kind.UNSUPPORTED
    if exponent != INFINITE_EXPONENT:
        return Kind.NORMAL
    if mantissa == TOP:
        return Kind.INFINITE
    return Kind.QUIET if mantissa & QUIET_BIT else Kind.SIGNALLING


@inlined
def indefinite(flags: int) -> Result:
    """The answer to an invalid operation that is masked."""
    return Result(0xFFFF, 0xC000_0000_0000_0000, flags | IE)


@inlined
def zero(sign: int, flags: int) -> Result:
    """A zero; ``sign`` is 0 or 1."""
    return Result(sign << 15, 0, flags)


@inlined
def infinity(sign: int, flags: int) -> Result:
    """An infinity; ``sign`` is 0 or 1."""
    return Result((sign << 15) | INFINITE_EXPONENT, TOP, flags)


@inlined
def quiet(exponent: int, mantissa: int) -> Result:
    """What a NaN as the only operand gives."""
    return Result(exponent, mantissa | QUIET_BIT, 0 if mantissa & QUIET_BIT else IE)


@cold
def nan_of_two(a: Result, b: Result) -> Result:
    """What two operands of which one is a NaN or unsupported give (SDM vol. 1, table 4-7)."""
    kind_a, kind_b = kind(a.exponent, a.mantissa), kind(b.exponent, b.mantissa)
    if kind_a == Kind.UNSUPPORTED or kind_b == Kind.UNSUPPORTED:
        return indefinite(0)
    flags = IE if kind_a == Kind.SIGNALLING or kind_b == Kind.SIGNALLING else 0
    if kind_b < Kind.QUIET:
        first = True
    elif kind_a < Kind.QUIET:
        first = False
    elif kind_a != kind_b:
        first = kind_a == Kind.QUIET
    elif a.mantissa != b.mantissa:
        first = a.mantissa > b.mantissa
    else:
        first = a.exponent < b.exponent
    chosen = a if first else b
    return Result(chosen.exponent, chosen.mantissa | QUIET_BIT, flags)


@inlined
def denormal_flag(exponent: int) -> int:
    """DE for an operand that is finite and no zero."""
    return 0 if exponent & 0x7FFF else DE


@cold
def number(exponent: int, mantissa: int) -> Number:
    """A finite operand but 0."""
    biased = exponent & 0x7FFF
    if biased == 0:
        biased = 1
    zeros = leading_zeros(Wide(mantissa, 0))
    return Number(exponent >> 15, biased + OFFSET - zeros, (mantissa << zeros) & M64, 0)


@cold
def normalized(sign: int, exponent: int, value: Wide) -> Number:
    """``value``, not 0, whose first bit counts 2^(exponent - ORIGIN)."""
    zeros = leading_zeros(value)
    shifted = left(value, zeros)
    return Number(sign, exponent - zeros, shifted.high, shifted.low)


@inlined
def goes_up(rc: int, sign: int, odd: int, rest: int) -> bool:
    """Whether a magnitude is rounded up; ``rest`` is what is cut off, in units of 2^-64."""
    if rc == Rounding.NEAREST:
        return rest > TOP or (rest == TOP and odd != 0)
    return rest != 0 and ((rc == Rounding.UP and sign == 0) or (rc == Rounding.DOWN and sign != 0))


@cold
def rounded(value: Number, rc: int, flags: int) -> Result:
    """A number in the format, with PE, UE, OE and C1 where they are due and masked."""
    sign, exponent, high, low = value.sign, value.exponent, value.high, value.low
    tiny = False
    if exponent <= OFFSET:
        # tiny if it would be so after rounding with an exponent of any size (SDM vol. 1, 4.9.1.5)
        tiny = exponent < OFFSET or high != M64 or not goes_up(rc, sign, 1, low)
        shifted = right(Wide(high, low), OFFSET + 1 - exponent)
        high, low, exponent = shifted.high, shifted.low, OFFSET
    if low:
        flags |= PE | UE if tiny else PE
    if goes_up(rc, sign, high & 1, low):
        flags |= C1
        high = (high + 1) & M64
        if high == 0:
            high, exponent = TOP, exponent + 1
        elif exponent == OFFSET and high == TOP:
            exponent += 1
    biased = exponent - OFFSET
    if biased >= INFINITE_EXPONENT:
        return overflowed(sign, rc, flags)
    return Result((sign << 15) | biased, high, flags)


@inlined
def overflowed(sign: int, rc: int, flags: int) -> Result:
    """What a magnitude beyond the format is rounded to."""
    flags = (flags | OE | PE) & (M64 ^ C1)
    if rc == Rounding.NEAREST or (rc == Rounding.UP and sign == 0) or (rc == Rounding.DOWN and sign != 0):
        return infinity(sign, flags | C1)
    return Result((sign << 15) | (INFINITE_EXPONENT - 1), M64, flags)
