"""FSIN, FCOS, FPTAN, FPATAN, F2XM1, FYL2X and FYL2XP1 are rounded correctly: held against integers of 400 bits."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from emu.arithmetic import circular, exponential
from emu.arithmetic.extended import C1, C2, DE, IE, PE, SF, ZE, Kind, Result, kind
from tests.arithmetic import oracle
from tests.arithmetic.oracle import ONE, Operand

ONE_WORDS, PI_WORDS = (0x3FFF, 1 << 63), (0x4000, 0xC90FDAA22168C235)
INDEFINITE = (0xFFFF, 0xC000000000000000)
Words = tuple[int, int]


def operands(seed: int, low: int, high: int, *, positive: bool = False) -> Iterator[Words]:
    """Numbers with exponents in [low, high), often with few bits, and the ends of the range of significands."""
    draw = random.Random(seed)
    while True:
        mantissa = draw.choice((1 << 63, (1 << 64) - 1, draw.getrandbits(63) | 1 << 63, draw.getrandbits(63) | 1 << 63))
        if draw.random() < 0.3:
            mantissa = mantissa >> (cut := draw.randrange(63)) << cut
        sign = 0 if positive else draw.getrandbits(1)
        yield sign << 15 | 16383 + draw.randrange(low, high), mantissa


def control(rc: int) -> int:
    return 0x37F | rc << 10


def one_operand(seed: int, low: int, high: int, count: int) -> list[tuple[Words, int]]:
    numbers = operands(seed, low, high)
    return [(next(numbers), n % 4) for n in range(count)]


@pytest.mark.parametrize(("low", "high"), [(-70, 0), (-3, 8), (0, 63), (60, 63)])
def test_sine_and_cosine(low: int, high: int) -> None:
    for words, rc in one_operand(1, low, high, 60):
        x = Operand.of(*words)
        assert circular.fsin(*words, control(rc))[:2] == oracle.rounded(oracle.sin(x), rc), (words, rc)
        assert circular.fcos(*words, control(rc))[:2] == oracle.rounded(oracle.cos(x), rc), (words, rc)
        tangent = oracle.sin(x) * ONE // oracle.cos(x)
        assert circular.fptan(*words, control(rc))[:2] == oracle.rounded(tangent, rc), (words, rc)


def test_near_multiples_of_pi() -> None:
    for multiple in range(1, 200):
        value = multiple * oracle.PI_66
        cut = value.bit_length() - 64
        words = 16383 + value.bit_length() - 1 - 67, value >> cut
        assert circular.fsin(*words, 0x37F)[:2] == oracle.rounded(oracle.sin(Operand.of(*words)), 0), multiple
        assert circular.fcos(*words, 0x37F)[:2] == oracle.rounded(oracle.cos(Operand.of(*words)), 0), multiple


@pytest.mark.parametrize("spread", [1, 4, 40])
def test_arc_tangent(spread: int) -> None:
    ys, xs = operands(2, -spread, spread), operands(3, -spread, spread)
    for n in range(150):
        y, x, rc = next(ys), next(xs), n % 4
        found = circular.fpatan(Result(*y, 0), Result(*x, 0), control(rc))
        angle = oracle.atan2(Operand.of(*y).fixed, Operand.of(*x).fixed)
        assert found[:2] == oracle.rounded(angle, rc), (y, x, rc)


def test_power_of_two() -> None:
    for words, rc in one_operand(4, -80, 0, 200):
        power = oracle.exp(Operand.of(*words).fixed * oracle.LN_2 // ONE) - ONE
        assert exponential.f2xm1(*words, control(rc))[:2] == oracle.rounded(power, rc), (words, rc)


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (-100, 100)])
def test_logarithm(low: int, high: int) -> None:
    ys, xs = operands(5, -10, 10), operands(6, low, high, positive=True)
    for n in range(150):
        y, x, rc = next(ys), next(xs), n % 4
        if x[1] == 1 << 63:
            continue
        log = oracle.log2(Operand.of(*x).fixed)
        found = exponential.fyl2x(Result(*y, 0), Result(*x, 0), control(rc))
        assert found[:2] == oracle.rounded(Operand.of(*y).fixed * log // ONE, rc), (y, x, rc)


@pytest.mark.parametrize(("low", "high"), [(-3, -1), (-80, -1), (-2, 3)])
def test_logarithm_of_one_more(low: int, high: int) -> None:
    ys, xs = operands(7, -10, 10), operands(8, low, high)
    for n in range(150):
        y, x, rc = next(ys), next(xs), n % 4
        if Operand.of(*x).fixed <= -ONE or x[1] == 1 << 63:
            continue
        log = oracle.log2(ONE + Operand.of(*x).fixed)
        found = exponential.fyl2xp1(Result(*y, 0), Result(*x, 0), control(rc))
        assert found[:2] == oracle.rounded(Operand.of(*y).fixed * log // ONE, rc), (y, x, rc)


def test_logarithms_of_powers_of_two_are_exact() -> None:
    for power in (*range(-20, 20), -16382, 16383):
        found = exponential.fyl2x(Result(*ONE_WORDS, 0), Result(16383 + power, 1 << 63, 0), 0x37F)
        sign, exponent, mantissa = found.exponent >> 15, found.exponent & 0x7FFF, found.mantissa
        assert mantissa * (-1) ** sign == power * 2 ** (16383 + 63 - exponent) if power else mantissa == 0


# What a CPU gives for operands of every kind: function, y, x, result, flags.
ZERO, MINUS_ZERO, INFINITY, MINUS_INFINITY = (0, 0), (0x8000, 0), (0x7FFF, 1 << 63), (0xFFFF, 1 << 63)
QUIET, SIGNALLING = (0x7FFF, 0xC000000012345678), (0xFFFF, 0x8000000012345678)
TWO, MINUS_TWO, HALF = (0x4000, 1 << 63), (0xC000, 1 << 63), (0x3FFE, 1 << 63)
UNSUPPORTED, DENORMAL = (0x3FFF, 1 << 62), (0, 1)
TWO_OPERANDS: tuple[tuple[Callable[..., Result], Words, Words, Words, int], ...] = (
    (exponential.fyl2x, TWO, ZERO, MINUS_INFINITY, ZE),
    (exponential.fyl2x, MINUS_TWO, MINUS_ZERO, INFINITY, ZE),
    (exponential.fyl2x, ZERO, ZERO, INDEFINITE, IE),
    (exponential.fyl2x, TWO, MINUS_TWO, INDEFINITE, IE),
    (exponential.fyl2x, TWO, MINUS_INFINITY, INDEFINITE, IE),
    (exponential.fyl2x, TWO, INFINITY, INFINITY, 0),
    (exponential.fyl2x, INFINITY, ONE_WORDS, INDEFINITE, IE),
    (exponential.fyl2x, INFINITY, HALF, MINUS_INFINITY, 0),
    (exponential.fyl2x, MINUS_TWO, ONE_WORDS, MINUS_ZERO, 0),
    (exponential.fyl2x, QUIET, TWO, QUIET, 0),
    (exponential.fyl2x, QUIET, SIGNALLING, QUIET, IE),
    (exponential.fyl2x, TWO, SIGNALLING, (0xFFFF, 0xC000000012345678), IE),
    (exponential.fyl2x, TWO, UNSUPPORTED, INDEFINITE, IE),
    (exponential.fyl2xp1, TWO, MINUS_ZERO, MINUS_ZERO, 0),
    (exponential.fyl2xp1, INFINITY, ZERO, INDEFINITE, IE),
    (exponential.fyl2xp1, INFINITY, (0xBFFE, 1 << 63), MINUS_INFINITY, 0),
    (exponential.fyl2xp1, ZERO, INFINITY, INDEFINITE, IE),
    (circular.fpatan, ZERO, TWO, ZERO, 0),
    (circular.fpatan, MINUS_ZERO, MINUS_ZERO, (0xC000, 0xC90FDAA22168C235), PE | C1),
    (circular.fpatan, TWO, INFINITY, ZERO, 0),
    (circular.fpatan, INFINITY, INFINITY, (0x3FFE, 0xC90FDAA22168C235), PE | C1),
    (circular.fpatan, INFINITY, MINUS_INFINITY, (0x4000, 0x96CBE3F9990E91A8), PE | C1),
    (circular.fpatan, TWO, ZERO, (0x3FFF, 0xC90FDAA22168C235), PE | C1),
    (circular.fpatan, SIGNALLING, TWO, (0xFFFF, 0xC000000012345678), IE),
)  # fmt: skip


@pytest.mark.parametrize(("function", "y", "x", "value", "flags"), TWO_OPERANDS)
def test_special_operands(function: Callable[..., Result], y: Words, x: Words, value: Words, flags: int) -> None:
    assert function(Result(*y, 0), Result(*x, 0), 0x37F) == Result(*value, flags)


ONE_OPERAND: tuple[tuple[Callable[..., Result], Words, Words, int], ...] = (
    (circular.fsin, MINUS_ZERO, MINUS_ZERO, 0),
    (circular.fcos, MINUS_ZERO, ONE_WORDS, 0),
    (circular.fsin, INFINITY, INDEFINITE, IE),
    (circular.fsin, (0x403E, 1 << 63), (0x403E, 1 << 63), C2),
    (circular.fptan, (0xC03E, 1 << 63), (0xC03E, 1 << 63), C2),
    (circular.fcos, QUIET, QUIET, 0),
    (circular.fcos, SIGNALLING, (0xFFFF, 0xC000000012345678), IE),
    (exponential.f2xm1, ONE_WORDS, ONE_WORDS, PE),
    (exponential.f2xm1, (0xBFFF, 1 << 63), (0xBFFE, 1 << 63), PE),
    (exponential.f2xm1, MINUS_INFINITY, (0xBFFF, 1 << 63), 0),
    (exponential.f2xm1, INFINITY, INFINITY, 0),
    (exponential.f2xm1, MINUS_ZERO, MINUS_ZERO, 0),
    (exponential.f2xm1, UNSUPPORTED, INDEFINITE, IE),
)  # fmt: skip


@pytest.mark.parametrize(("function", "x", "value", "flags"), ONE_OPERAND)
def test_a_special_operand(function: Callable[..., Result], x: Words, value: Words, flags: int) -> None:
    assert function(*x, 0x37F) == Result(*value, flags)


def test_the_smallest_operands() -> None:
    for rc, expected in ((0, 1), (1, 0), (2, 1), (3, 0)):
        found = circular.fsin(*DENORMAL, control(rc))
        assert (found.exponent, found.mantissa) == (0, expected)
        assert found.flags & (DE | PE) == DE | PE
    assert circular.fcos(*DENORMAL, control(3))[:2] == (0x3FFE, (1 << 64) - 1)


def test_the_constants() -> None:
    log2_10 = oracle.log2(10 * ONE)
    values = (log2_10, ONE * ONE // oracle.LN_2, oracle.PI, ONE * ONE // log2_10, oracle.LN_2)
    for which, value in enumerate(values, start=1):
        for rc in range(4):
            assert exponential.constant(which, control(rc))[:2] == oracle.rounded(value, rc), (which, rc)


def test_kinds() -> None:
    words = (ZERO, DENORMAL, TWO, INFINITY, QUIET, SIGNALLING, UNSUPPORTED)
    assert [kind(*each) for each in words] == list(Kind)
    assert SF == 64 and PI_WORDS[1] == exponential.constant(3, 0x37F).mantissa
