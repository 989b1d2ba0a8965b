"""FSIN, FCOS, FSINCOS, FPTAN and FPATAN."""

from __future__ import annotations

from typing import NamedTuple

from emu.arithmetic.extended import (
    C2,
    DE,
    ORIGIN,
    Kind,
    Number,
    Result,
    denormal_flag,
    indefinite,
    kind,
    nan_of_two,
    normalized,
    number,
    quiet,
    rounded,
    rounding,
    zero,
)
from emu.arithmetic.wide import (
    M64,
    TOP,
    Wide,
    factorial_series,
    is_less,
    left,
    minus,
    odd_series,
    plus,
    quotient,
    right,
    times,
)
from mmu.native import cold, inlined

# A CPU reduces by a pi of 66 bits (SDM vol. 1, 8.3.8): pi/2 and pi/4 in units of 2^-66.
_HALF_PI_66_HIGH, _HALF_PI_66_LOW = 0x6, 0x487E_D511_0B46_11A6
_QUARTER_PI_66_HIGH, _QUARTER_PI_66_LOW = 0x3, 0x243F_6A88_85A3_08D3
# Pi in units of 2^-126.
_PI_HIGH, _PI_LOW = 0xC90F_DAA2_2168_C234, 0xC4C6_628B_80DC_1CD1
# atan(1/4), atan(1/2) and atan(3/4) in units of 2^-128.
_ATAN_1_HIGH, _ATAN_1_LOW = 0x3EB6_EBF2_5901_BAC5, 0x5B71_E7BD_7DE8_85F9
_ATAN_2_HIGH, _ATAN_2_LOW = 0x76B1_9C15_86ED_3DA2, 0xB7F2_22F6_5E1D_4681
_ATAN_3_HIGH, _ATAN_3_LOW = 0xA4BC_7D19_34F7_0924, 0x19A8_7F2A_457D_AC9E


class Angle(NamedTuple):
    """|x| modulo pi/2, at most pi/4: high.low times 2^(exponent - ORIGIN), as in :class:`Number`.  Where ``folded``,
    it is the distance to the next multiple."""

    quadrant: int
    folded: int
    exponent: int
    high: int
    low: int


@cold
def reduced(x: Number) -> Angle:
    """An operand below 2^63 as an angle."""
    quarter = Wide(_QUARTER_PI_66_HIGH, _QUARTER_PI_66_LOW)
    if x.exponent < ORIGIN - 1:
        return Angle(0, 0, x.exponent, x.high, 0)
    # x >= 1/2 is x.high times 2^shift in units of 2^-66
    bits = 64 + x.exponent + 3 - ORIGIN
    half = Wide(_HALF_PI_66_HIGH, _HALF_PI_66_LOW)
    rest, word, quadrant = Wide(0, 0), x.high, 0
    while bits:
        rest = Wide((rest.high << 1) | (rest.low >> 63), ((rest.low << 1) & M64) | (word >> 63))
        word = (word << 1) & M64
        quadrant = (quadrant << 1) & 3
        if not is_less(rest, half):
            rest, quadrant = minus(rest, half), quadrant | 1
        bits -= 1
    folded = 0
    if is_less(quarter, rest):
        rest, folded = minus(half, rest), 1
    angle = normalized(0, ORIGIN + 61, rest)
    return Angle(quadrant, folded, angle.exponent, angle.high, angle.low)


@inlined
def _square(angle: Angle) -> Wide:
    """Of an angle, in units of 2^-128."""
    # an angle of less than 1 in units of 2^-128: its first bit counts 1/2 for an exponent of ORIGIN - 1
    fraction = right(Wide(angle.high, angle.low), ORIGIN - 1 - angle.exponent)
    return times(fraction, fraction)


@inlined
def _not_exact(whole: Wide, lost: Wide) -> Wide:
    """What remains of a value, and a little more: no series ends."""
    rest = minus(whole, lost if lost.high | lost.low else Wide(0, 1))
    return Wide(rest.high, rest.low | 1)


@cold
def _sine(angle: Angle) -> Number:
    """Its sine: angle - angle * (square/3! - square^2/5! ...)."""
    whole = Wide(angle.high, angle.low)
    lost = times(whole, factorial_series(_square(angle), 2, 2, True))
    return normalized(0, angle.exponent, _not_exact(whole, lost))


@cold
def _cosine(angle: Angle) -> Number:
    """Its cosine: 1 - (square/2! - square^2/4! ...)."""
    lost = factorial_series(_square(angle), 1, 2, True)
    return normalized(0, ORIGIN - 1, _not_exact(Wide(0, 0), lost))


@inlined
def _signed(value: Number, sign: int) -> Number:
    return Number(sign, value.exponent, value.high, value.low)


@cold
def sine_of(angle: Angle, sign: int) -> Number:
    """The sine of a reduced operand with this sign."""
    odd = (angle.quadrant & 1) ^ angle.folded
    value = _cosine(angle) if odd else _sine(angle)
    return _signed(value, sign ^ (angle.quadrant >> 1))


@cold
def cosine_of(angle: Angle) -> Number:
    """The cosine of a reduced operand."""
    odd = (angle.quadrant & 1) ^ angle.folded
    value = _sine(angle) if odd else _cosine(angle)
    return _signed(value, (angle.quadrant >> 1) ^ (angle.quadrant & 1))


@cold
def is_ordinary_angle(exponent: int, mantissa: int) -> bool:
    """Whether an operand has an angle: a finite number but 0 below 2^63."""
    what = kind(exponent, mantissa)
    return (what == Kind.NORMAL or what == Kind.DENORMAL) and exponent & 0x7FFF < 16383 + 63


@cold
def without_angle(exponent: int, mantissa: int, of_zero: Result) -> Result:
    """What FSIN, FCOS and FPTAN make of any other operand; of 0, ``of_zero``.  Beyond 2^63 they only set C2."""
    what = kind(exponent, mantissa)
    if what == Kind.ZERO:
        return of_zero
    if what == Kind.NORMAL:
        return Result(exponent, mantissa, C2)
    if what == Kind.QUIET or what == Kind.SIGNALLING:
        return quiet(exponent, mantissa)
    return indefinite(0)


@cold
def fsin(exponent: int, mantissa: int, control: int) -> Result:
    """FSIN."""
    if not is_ordinary_angle(exponent, mantissa):
        return without_angle(exponent, mantissa, Result(exponent, mantissa, 0))
    value = sine_of(reduced(number(exponent, mantissa)), exponent >> 15)
    return rounded(value, rounding(control), denormal_flag(exponent))


@cold
def fcos(exponent: int, mantissa: int, control: int) -> Result:
    """FCOS."""
    if not is_ordinary_angle(exponent, mantissa):
        return without_angle(exponent, mantissa, Result(16383, TOP, 0))
    value = cosine_of(reduced(number(exponent, mantissa)))
    return rounded(value, rounding(control), denormal_flag(exponent))


@cold
def fptan(exponent: int, mantissa: int, control: int) -> Result:
    """FPTAN, without the 1 that it pushes."""
    if not is_ordinary_angle(exponent, mantissa):
        return without_angle(exponent, mantissa, Result(exponent, mantissa, 0))
    angle = reduced(number(exponent, mantissa))
    if angle.exponent < ORIGIN - 60 and angle.quadrant == 0:
        tiny = Number(exponent >> 15, angle.exponent, angle.high, 1)  # a little more than the angle
        return rounded(tiny, rounding(control), denormal_flag(exponent))
    sine, cosine = sine_of(angle, exponent >> 15), cosine_of(angle)
    ratio = quotient(Wide(sine.high, sine.low), Wide(cosine.high, cosine.low))
    scale = ORIGIN + sine.exponent - cosine.exponent + ratio.whole - 1
    tangent = Number(sine.sign ^ cosine.sign, scale, ratio.high, ratio.low | 1)
    return rounded(tangent, rounding(control), denormal_flag(exponent))


# -- FPATAN ------------------------------------------------------------------------------------------------------------


@cold
def fpatan(y: Result, x: Result, control: int) -> Result:
    """FPATAN: the angle of the point whose coordinates are ST(0), x, and ST(1), y."""
    kind_y, kind_x = kind(y.exponent, y.mantissa), kind(x.exponent, x.mantissa)
    if kind_y > Kind.INFINITE or kind_x > Kind.INFINITE:
        return nan_of_two(x, y)
    sign, left_side, rc = y.exponent >> 15, x.exponent >> 15, rounding(control)
    flags = DE if kind_y == Kind.DENORMAL or kind_x == Kind.DENORMAL else 0
    if kind_y == Kind.ZERO or (kind_x == Kind.INFINITE and kind_y != Kind.INFINITE):
        if left_side:
            return rounded(Number(sign, ORIGIN + 1, _PI_HIGH, _PI_LOW), rc, flags)
        return zero(sign, flags)
    if kind_y == Kind.INFINITE and kind_x == Kind.INFINITE:
        quarter = Wide(_PI_HIGH >> 2, ((_PI_HIGH << 62) & M64) | (_PI_LOW >> 2))
        if left_side:
            quarter = minus(Wide(_PI_HIGH, _PI_LOW), quarter)
        return rounded(normalized(sign, ORIGIN + 1, quarter), rc, flags)
    if kind_x == Kind.ZERO or kind_y == Kind.INFINITE:
        return rounded(Number(sign, ORIGIN, _PI_HIGH, _PI_LOW), rc, flags)
    return rounded(_angle_of(sign, number(y.exponent, y.mantissa), number(x.exponent, x.mantissa)), rc, flags)


@cold
def _angle_of(sign: int, y: Number, x: Number) -> Number:
    """The angle of a point beside the axes."""
    steep = y.exponent > x.exponent or (y.exponent == x.exponent and y.high > x.high)
    small = _atan(x.exponent, x.high, y) if steep else _atan(y.exponent, y.high, x)
    if not steep and x.sign == 0:
        return Number(sign, small.exponent, small.high, small.low)
    # pi/2 - small, pi/2 + small or pi - small, in units of 2^-126
    part = right(Wide(small.high, small.low), ORIGIN + 1 - small.exponent)
    base = right(Wide(_PI_HIGH, _PI_LOW), 1) if steep else Wide(_PI_HIGH, _PI_LOW)
    whole = plus(base, part) if steep and x.sign else minus(base, part)
    return normalized(sign, ORIGIN + 1, whole)


@cold
def _atan(exponent: int, mantissa: int, x: Number) -> Number:
    """The arc tangent of a quotient of magnitudes that is at most 1: of y, given by its words, and x."""
    distance = x.exponent - exponent
    if distance > 2:
        return _small_atan(0, Wide(mantissa, 0), Wide(x.high, 0), ORIGIN - distance)
    # atan(y/x) = atan(j/4) + atan((4y - jx) / (4x + jy)), in units in which x is below 2^122
    above = right(Wide(mantissa, 0), 6 + distance)
    below = right(Wide(x.high, 0), 6)
    near = quotient(Wide(mantissa, 0), Wide(x.high, 0))
    j = ((near.high >> (61 + distance - near.whole)) + 1) >> 1
    top = minus(left(above, 2), _small_multiple(below, j))
    bottom = plus(left(below, 2), _small_multiple(above, j))
    negative = top.high >> 63
    if negative:
        top = minus(Wide(0, 0), top)
    base = _atan_of_quarters(j)
    if top.high == 0 and top.low == 0:
        return normalized(0, ORIGIN - 1, base)
    over, under = normalized(0, ORIGIN, top), normalized(0, ORIGIN, bottom)
    part = _small_atan(
        negative, Wide(over.high, over.low), Wide(under.high, under.low), ORIGIN + over.exponent - under.exponent
    )
    if j == 0:
        return part
    shifted = right(Wide(part.high, part.low), ORIGIN - 1 - part.exponent)
    return normalized(0, ORIGIN - 1, minus(base, shifted) if negative else plus(base, shifted))


@inlined
def _small_multiple(a: Wide, n: int) -> Wide:
    """a times 0 to 4."""
    if n == 0:
        return Wide(0, 0)
    if n == 1:
        return a
    if n == 3:
        return plus(left(a, 1), a)
    return left(a, n >> 1)


@inlined
def _atan_of_quarters(j: int) -> Wide:
    """atan(j/4) in units of 2^-128."""
    if j == 0:
        return Wide(0, 0)
    if j == 1:
        return Wide(_ATAN_1_HIGH, _ATAN_1_LOW)
    if j == 2:
        return Wide(_ATAN_2_HIGH, _ATAN_2_LOW)
    if j == 3:
        return Wide(_ATAN_3_HIGH, _ATAN_3_LOW)
    return Wide(_PI_HIGH, _PI_LOW)


@cold
def _small_atan(sign: int, over: Wide, under: Wide, exponent: int) -> Number:
    """The arc tangent of a quotient of two whose first bit is set, times 2^(exponent - ORIGIN): of at most 1/4."""
    ratio = quotient(over, under)
    t = Number(sign, exponent + ratio.whole - 1, ratio.high, ratio.low)
    fraction = right(Wide(t.high, t.low), ORIGIN - 1 - t.exponent)
    lost = times(Wide(t.high, t.low), odd_series(times(fraction, fraction), True))
    return normalized(sign, t.exponent, _not_exact(Wide(t.high, t.low), lost))
