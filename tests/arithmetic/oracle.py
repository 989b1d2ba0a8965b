"""A second, slow and obvious implementation of what the x87 FPU computes: integers of 400 bits."""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt
from typing import NamedTuple

BITS = 400
ONE = 1 << BITS
#: Pi as CPUs have it: 66 bits (SDM vol. 1, 8.3.8), in units of 2^-66.
PI_66 = 0xC90FDAA22168C234C


class Operand(NamedTuple):
    """A finite number but 0: magnitude / 2^scale."""

    sign: int
    magnitude: int
    scale: int

    @classmethod
    def of(cls, exponent: int, mantissa: int) -> Operand:
        """From its two words."""
        return cls(exponent >> 15, mantissa, 16383 + 63 - max(exponent & 0x7FFF, 1))

    @property
    def fixed(self) -> int:
        """In units of 2^-BITS, with its sign."""
        shift = BITS - self.scale
        value = self.magnitude << shift if shift >= 0 else self.magnitude >> -shift
        return -value if self.sign else value


def _series(x: int, factor: Callable[[int], tuple[int, int]], first: int) -> int:
    """first + first * f(1) + first * f(1) * f(2) ..., each f a quotient, times x."""
    total, term, n = first, first, 1
    while term:
        over, under = factor(n)
        term = (term * x // ONE) * over // under
        if abs(term) <= 1:
            break
        total, n = total + term, n + 1
    return total


def exp(x: int) -> int:
    """e^x, for a small x."""
    return _series(x, lambda n: (1, n), ONE)


def _atanh(x: int) -> int:
    square, power, total, n = x * x // ONE, x, x, 3
    while power not in (0, -1):
        power = power * square // ONE
        total, n = total + power // n, n + 2
    return total


def _atan(x: int) -> int:
    """Of at most about 0.2."""
    square, power, total, n = x * x // ONE, x, x, 3
    while power not in (0, -1):
        power = -power * square // ONE
        total, n = total + power // n, n + 2
    return total


PI = 4 * (4 * _atan(ONE // 5) - _atan(ONE // 239))
LN_2 = 2 * _atanh(ONE // 3)


def log2(x: int) -> int:
    """Of a positive number."""
    power = x.bit_length() - BITS
    m = x >> power if power >= 0 else x << -power
    return (power << BITS) + 2 * _atanh((m - ONE) * ONE // (m + ONE)) * ONE // LN_2


def atan2(y: int, x: int) -> int:
    """For any two numbers of which none is 0."""
    if y < 0:
        return -atan2(-y, x)
    if x < 0:
        return PI - atan2(y, -x)
    if y > x:
        return PI // 2 - atan2(x, y)
    q = y * ONE // x
    # atan(q) = 2 atan(q / (1 + sqrt(1 + q^2)))
    for _ in range(3):
        q = q * ONE // (ONE + isqrt(ONE * ONE + q * q))
    return 8 * _atan(q)


def reduced(x: Operand) -> tuple[int, int]:
    """The distance of |x| to the nearest multiple of pi/2 in units of 2^-BITS, and which; by the pi of 66 bits."""
    half = PI_66 << (BITS - 67)
    quotient = (2 * abs(x.fixed) + half) // (2 * half)
    return abs(x.fixed) - quotient * half, quotient


def sin(x: Operand) -> int:
    """The sine."""
    rest, quadrant = reduced(x)
    value = _cos(rest) if quadrant & 1 else _sin(rest)
    return -value if (quadrant >> 1 & 1) != x.sign else value


def cos(x: Operand) -> int:
    """The cosine."""
    rest, quadrant = reduced(x)
    value = _sin(rest) if quadrant & 1 else _cos(rest)
    return -value if quadrant & 3 in (1, 2) else value


def _sin(x: int) -> int:
    return _series(x * x // ONE, lambda n: (-1, 2 * n * (2 * n + 1)), x)


def _cos(x: int) -> int:
    return _series(x * x // ONE, lambda n: (-1, (2 * n - 1) * 2 * n), ONE)


def rounded(value: int, rc: int) -> tuple[int, int]:
    """The two words of a normal number in units of 2^-BITS, which is not exact."""
    sign, magnitude = (1, -value) if value < 0 else (0, value)
    cut = magnitude.bit_length() - 64
    mantissa, rest = (magnitude >> cut, magnitude & ((1 << cut) - 1)) if cut > 0 else (magnitude << -cut, 0)
    exponent = 16383 + 63 + cut - BITS
    up = rest > 1 << (cut - 1) if rc == 0 else (rc == 2 and not sign) or (rc == 1 and sign)
    if up:
        mantissa += 1
        if mantissa >> 64:
            mantissa, exponent = 1 << 63, exponent + 1
    return sign << 15 | exponent, mantissa
