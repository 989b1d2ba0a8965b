"""F2XM1, FYL2X, FYL2XP1, and the constants."""

from __future__ import annotations

from emu.arithmetic.extended import (
    DE,
    ORIGIN,
    PE,
    ZE,
    Kind,
    Number,
    Result,
    denormal_flag,
    indefinite,
    infinity,
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
    TOP,
    Wide,
    factorial_series,
    left,
    minus,
    odd_series,
    plus,
    product,
    quotient,
    right,
    times,
)
from mmu.native import cold

# ln 2 in units of 2^-128, and log2(e) in units of 2^-127.
_LN2_HIGH, _LN2_LOW = 0xB172_17F7_D1CF_79AB, 0xC9E3_B398_03F2_F6AF
_LOG2E_HIGH, _LOG2E_LOW = 0xB8AA_3B29_5C17_F0BB, 0xBE87_FED0_691D_3E88
#: The square root of 2 in units of 2^-63: about where the logarithm is taken of the half instead.
_ROOT_2 = 0xB504_F333_F9DE_6484


@cold
def f2xm1(exponent: int, mantissa: int, control: int) -> Result:
    """F2XM1; beyond 1, where nothing is defined, the operand stays as it is, as on Intel's."""
    what = kind(exponent, mantissa)
    if what == Kind.QUIET or what == Kind.SIGNALLING:
        return quiet(exponent, mantissa)
    if what == Kind.UNSUPPORTED:
        return indefinite(0)
    if what == Kind.INFINITE:
        return Result(0xBFFF, TOP, 0) if exponent >> 15 else Result(exponent, mantissa, 0)
    if what == Kind.ZERO:
        return Result(exponent, mantissa, 0)
    if exponent & 0x7FFF >= 16383:
        if mantissa == TOP and exponent & 0x7FFF == 16383:  # 2^1 - 1 and 2^-1 - 1
            return Result(0xBFFE, TOP, PE) if exponent >> 15 else Result(exponent, mantissa, PE)
        return Result(exponent, mantissa, PE)
    x = number(exponent, mantissa)
    # t = x ln 2, first normalized and then in units of 2^-128
    t = normalized(x.sign, x.exponent, times(Wide(x.high, 0), Wide(_LN2_HIGH, _LN2_LOW)))
    whole = Wide(t.high, t.low)
    factor = factorial_series(right(whole, ORIGIN - 1 - t.exponent), 2, 1, x.sign != 0)
    change = times(whole, factor)
    if x.sign:
        value = normalized(1, t.exponent, minus(whole, change))
    else:
        # the sum may have 129 bits
        value = normalized(0, t.exponent + 1, plus(right(whole, 1), right(change, 1)))
    return rounded(value, rounding(control), denormal_flag(exponent))


@cold
def _log2_of_ratio(sign: int, over: Number, under: Number) -> Number:
    """2 atanh(over/under) / ln 2, for a quotient of at most 0.18."""
    ratio = quotient(Wide(over.high, over.low), Wide(under.high, under.low))
    exponent = ORIGIN + over.exponent - under.exponent + ratio.whole - 1
    s = Wide(ratio.high, ratio.low)
    fraction = right(s, ORIGIN - 1 - exponent)
    s = plus(right(s, 1), right(times(s, odd_series(times(fraction, fraction), False)), 1))
    # 2 log2(e) s: the halving above and this one make up for units of 2^-127 and for the 2
    return normalized(sign, exponent + 3, times(s, Wide(_LOG2E_HIGH, _LOG2E_LOW)))


@cold
def _log2(x: Number) -> Number:
    """The logarithm of a positive number to base 2; with no bits set for 1."""
    scale, numerator = x.exponent, Wide(x.high, x.low)
    one = Wide(1 << 62, 0)
    m = right(numerator, 1)  # in units of 2^-126
    if x.high > _ROOT_2:
        m, scale = right(numerator, 2), scale + 1
    below = m.high < one.high
    distance = minus(one, m) if below else minus(m, one)
    negative = 1 if scale < ORIGIN else 0
    count = ORIGIN - scale if negative else scale - ORIGIN
    if distance.high == 0 and distance.low == 0:
        return Number(0, ORIGIN, 0, 0) if count == 0 else normalized(negative, ORIGIN + 63, Wide(count, 0))
    part = _log2_of_ratio(
        1 if below else 0, normalized(0, ORIGIN + 1, distance), normalized(0, ORIGIN + 1, plus(m, one))
    )
    if count == 0:
        return part
    # both in units of 2^-108
    shifted = right(Wide(part.high, part.low), ORIGIN + 19 - part.exponent)
    whole = left(Wide(0, count), 108)
    total = plus(whole, shifted) if part.sign == negative else minus(whole, shifted)
    return normalized(negative, ORIGIN + 19, total)


@cold
def _scaled(y: Number, log: Number, rc: int, flags: int) -> Result:
    """y times a logarithm."""
    upper, lower = product(y.high, log.high), product(y.high, log.low)
    whole = plus(upper, Wide(0, lower.high))
    if lower.low:
        whole = Wide(whole.high, whole.low | 1)
    return rounded(normalized(y.sign ^ log.sign, y.exponent + log.exponent + 1 - ORIGIN, whole), rc, flags | PE)


@cold
def fyl2x(y: Result, x: Result, control: int) -> Result:
    """FYL2X: ST(1), y, times the logarithm of ST(0), x."""
    kind_y, kind_x = kind(y.exponent, y.mantissa), kind(x.exponent, x.mantissa)
    if kind_y > Kind.INFINITE or kind_x > Kind.INFINITE:
        return nan_of_two(x, y)
    sign = y.exponent >> 15
    flags = DE if kind_y == Kind.DENORMAL or kind_x == Kind.DENORMAL else 0
    if kind_x == Kind.ZERO:
        if kind_y == Kind.ZERO:
            return indefinite(0)
        return infinity(sign ^ 1, flags if kind_y == Kind.INFINITE else flags | ZE)
    if x.exponent >> 15:
        return indefinite(0)
    if kind_x == Kind.INFINITE:
        return indefinite(0) if kind_y == Kind.ZERO else infinity(sign, flags)
    at_one = x.exponent == 16383 and x.mantissa == TOP
    below_one = x.exponent < 16383
    if kind_y == Kind.INFINITE:
        return indefinite(0) if at_one else infinity(sign ^ 1 if below_one else sign, flags)
    if kind_y == Kind.ZERO or at_one:
        return zero(sign ^ 1 if below_one else sign, flags)
    return _scaled(number(y.exponent, y.mantissa), _log2(number(x.exponent, x.mantissa)), rounding(control), flags)


@cold
def fyl2xp1(y: Result, x: Result, control: int) -> Result:
    """FYL2XP1: ST(1), y, times the logarithm of 1 + ST(0), x."""
    kind_y, kind_x = kind(y.exponent, y.mantissa), kind(x.exponent, x.mantissa)
    if kind_y > Kind.INFINITE or kind_x > Kind.INFINITE:
        return nan_of_two(x, y)
    sign, below = y.exponent >> 15, x.exponent >> 15
    flags = DE if kind_y == Kind.DENORMAL or kind_x == Kind.DENORMAL else 0
    if kind_x == Kind.ZERO:
        return indefinite(0) if kind_y == Kind.INFINITE else zero(sign ^ below, flags)
    if kind_x == Kind.INFINITE:
        return indefinite(0) if below or kind_y == Kind.ZERO else infinity(sign, flags)
    if kind_y == Kind.INFINITE:
        return infinity(sign ^ below, flags)
    if kind_y == Kind.ZERO:
        return zero(sign ^ below, flags)
    if below and x.exponent & 0x7FFF >= 16383:
        return Result(x.exponent, x.mantissa, flags | PE)  # as on Intel's: nothing is defined from -1 down
    return _scaled(
        number(y.exponent, y.mantissa), _log2_plus_1(number(x.exponent, x.mantissa)), rounding(control), flags
    )


@cold
def _log2_plus_1(x: Number) -> Number:
    """log2(1 + x), for x above -1."""
    if x.exponent >= ORIGIN + 126:
        return _log2(Number(0, x.exponent, x.high, x.low))
    if x.exponent < ORIGIN - 2:  # |x| < 1/4: x / (2 + x)
        part = right(Wide(x.high, 0), ORIGIN + 1 - x.exponent)  # in units of 2^-126
        two = Wide(TOP, 0)
        under = minus(two, part) if x.sign else plus(two, part)
        return _log2_of_ratio(x.sign, x, normalized(0, ORIGIN + 1, under))
    if x.exponent >= ORIGIN:
        one = right(Wide(TOP, 0), x.exponent - ORIGIN + 1)
        return _log2(normalized(0, x.exponent + 1, plus(right(Wide(x.high, 0), 1), one)))
    part = right(Wide(x.high, 0), ORIGIN + 1 - x.exponent)
    one = Wide(1 << 62, 0)
    return _log2(normalized(0, ORIGIN + 1, minus(one, part) if x.sign else plus(one, part)))


# -- constants ---------------------------------------------------------------------------------------------------------


@cold
def constant(which: int, control: int) -> Result:
    """FLDL2T, FLDL2E, FLDPI, FLDLG2 and FLDLN2: D9 E8 + ``which``, as RC has it (SDM vol. 1, 8.3.8)."""
    rc = rounding(control)
    up, down = rc == 2, rc == 1 or rc == 3
    if which == 1:
        return Result(0x4000, 0xD49A_784B_CD1B_8AFF if up else 0xD49A_784B_CD1B_8AFE, 0)
    if which == 2:
        return Result(0x3FFF, 0xB8AA_3B29_5C17_F0BB if down else 0xB8AA_3B29_5C17_F0BC, 0)
    if which == 3:
        return Result(0x4000, 0xC90F_DAA2_2168_C234 if down else 0xC90F_DAA2_2168_C235, 0)
    if which == 4:
        return Result(0x3FFD, 0x9A20_9A84_FBCF_F798 if down else 0x9A20_9A84_FBCF_F799, 0)
    return Result(0x3FFE, 0xB172_17F7_D1CF_79AB if down else 0xB172_17F7_D1CF_79AC, 0)
