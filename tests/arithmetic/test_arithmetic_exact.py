"""FPREM, FPREM1, FXTRACT, FSCALE, FISTTP and FBSTP have exact results: held against fractions."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

from emu.arithmetic.conversion import fbstp, fisttp
from emu.arithmetic.extended import C0, C1, C2, C3, IE, OE, PE, SF, UE, ZE, Result
from emu.arithmetic.remainder import fprem, fscale, fxtract

INDEFINITE = Result(0xFFFF, 0xC000000000000000, IE)
ONE = Result(0x3FFF, 1 << 63, 0)


def value(words: Result) -> Fraction:
    magnitude = Fraction(words.mantissa) * Fraction(2) ** (max(words.exponent & 0x7FFF, 1) - 16383 - 63)
    return -magnitude if words.exponent >> 15 else magnitude


def draw(random_: random.Random, low: int, high: int) -> Result:
    mantissa = random_.getrandbits(63) | 1 << 63
    cut = random_.randrange(64)
    exponent = 16383 + random_.randrange(low, high)
    return Result(random_.getrandbits(1) << 15 | exponent, mantissa >> cut << cut, 0)


@pytest.mark.parametrize("nearest", [False, True])
def test_remainders(nearest: bool) -> None:
    numbers = random.Random(1)
    for _ in range(400):
        x, y = draw(numbers, -5, 62), draw(numbers, -1, 10)
        if (x.exponent & 0x7FFF) - (y.exponent & 0x7FFF) > 63:
            continue
        quotient = value(x) / value(y)
        whole = round(quotient) if nearest else int(quotient)
        found = fprem(x, y, nearest)
        assert value(found) == value(x) - whole * value(y), (x, y)
        assert found.exponent >> 15 == x.exponent >> 15 or value(found) != 0
        low = abs(whole) & 7
        assert found.flags == (low >> 2) * C0 | (low >> 1 & 1) * C3 | (low & 1) * C1


@pytest.mark.parametrize("nearest", [False, True])
def test_a_remainder_in_steps(nearest: bool) -> None:
    numbers = random.Random(2)
    for _ in range(20):
        x, y, steps = draw(numbers, 5000, 9000), draw(numbers, -100, 100), 0
        exact = value(x) - (round(value(x) / value(y)) if nearest else int(value(x) / value(y))) * value(y)
        while True:
            x = fprem(x, y, nearest)
            steps += 1
            if not x.flags & C2:
                break
        assert value(x) == exact and steps > 80


def test_remainders_of_the_smallest() -> None:
    assert fprem(Result(0x8000, 5, 0), Result(0, 3, 0), False)[:2] == (0x8000, 2)
    assert fprem(Result(0x8000, 5, 0), Result(0, 3, 0), True)[:2] == (0, 1)
    assert fprem(ONE, Result(0, 0, 0), False) == INDEFINITE
    assert fprem(Result(0x7FFF, 1 << 63, 0), ONE, False) == INDEFINITE
    assert fprem(ONE, Result(0xFFFF, 1 << 63, 0), True) == ONE


def test_exponent_and_significand() -> None:
    parts = fxtract(0xC00A, 0xA000000000000000)
    assert value(parts.exponent) == 11 and value(parts.significand) == Fraction(-5, 4)
    parts = fxtract(0, 1)
    assert value(parts.exponent) == -16445 and value(parts.significand) == 1
    assert fxtract(0x8000, 0).exponent == Result(0xFFFF, 1 << 63, ZE)
    assert fxtract(0xFFFF, 1 << 63).exponent == Result(0x7FFF, 1 << 63, 0)


def test_scaling() -> None:
    numbers = random.Random(3)
    for _ in range(200):
        x, y = draw(numbers, -50, 50), draw(numbers, -3, 12)
        assert value(fscale(x, y, 0x37F)) == value(x) * Fraction(2) ** int(value(y))
    big = Result(0x400D, 1 << 63, 0)  # 2^14
    assert fscale(Result(0x7FFE, 1 << 63, 0), big, 0x37F) == Result(0x7FFF, 1 << 63, OE | PE | C1)
    assert fscale(Result(0x7FFE, 1 << 63, 0), big, 0xF7F) == Result(0x7FFE, (1 << 64) - 1, OE | PE)
    assert fscale(Result(100, 1 << 63, 0), Result(0xC00D, 1 << 63, 0), 0x37F) == Result(0, 0, UE | PE)


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_truncation(bits: int) -> None:
    numbers = random.Random(bits)
    for _ in range(300):
        x = draw(numbers, -4, bits + 1)
        whole = int(value(x))
        stored = fisttp(x.exponent, x.mantissa, bits)
        if -(1 << bits - 1) <= whole < 1 << bits - 1:
            assert stored.low & (1 << bits) - 1 == whole & (1 << bits) - 1
            assert stored.flags == (PE if whole != value(x) else 0)
        else:
            assert (stored.low, stored.flags) == (1 << bits - 1, IE)


def test_decimal_digits() -> None:
    numbers = random.Random(5)
    for _ in range(300):
        x = draw(numbers, -4, 60)
        stored = fbstp(x.exponent, x.mantissa, 0x37F)
        digits = round(abs(value(x)))
        if digits < 10**18:
            assert f"{stored.high & 0x7FFF:02x}{stored.low:016x}" == f"{digits:018d}"
            assert stored.high >> 15 == x.exponent >> 15
        else:
            assert stored == (0xFFFF, 0xC000000000000000, IE)
    assert fbstp(0x3FFE, 1 << 63, 0xB7F)[:2] == (0, 1)  # a half, up
    assert fbstp(0xBFFE, 1 << 63, 0xB7F)[:2] == (0x8000, 0)
    assert SF not in (IE, PE)
