"""Unsigned numbers of 128 bits, for native functions: mostly fractions, in units of 2^-128."""

from __future__ import annotations

from typing import NamedTuple

from mmu.native import cold, inlined

M32 = 0xFFFF_FFFF
M64 = 0xFFFF_FFFF_FFFF_FFFF
TOP = 1 << 63


class Wide(NamedTuple):
    """high * 2^64 + low."""

    high: int
    low: int


class Quotient(NamedTuple):
    """128 bits of a quotient, the first of which is set; ``whole`` is 1 if that bit is the unit, 0 if it is a half."""

    high: int
    low: int
    whole: int


@cold
def product(a: int, b: int) -> Wide:
    """The product of two words."""
    low = (a & M32) * (b & M32)
    middle = (a >> 32) * (b & M32) + (low >> 32)
    other = (a & M32) * (b >> 32) + (middle & M32)
    return Wide((a >> 32) * (b >> 32) + (middle >> 32) + (other >> 32), ((other & M32) << 32) | (low & M32))


@inlined
def plus(a: Wide, b: Wide) -> Wide:
    """The sum, modulo 2^128."""
    low = (a.low + b.low) & M64
    carry = 1 if low < a.low else 0
    return Wide((a.high + b.high + carry) & M64, low)


@inlined
def minus(a: Wide, b: Wide) -> Wide:
    """The difference, modulo 2^128."""
    borrow = 1 if a.low < b.low else 0
    return Wide((a.high - b.high - borrow) & M64, (a.low - b.low) & M64)


@inlined
def is_less(a: Wide, b: Wide) -> bool:
    """Whether a is below b."""
    return a.high < b.high or (a.high == b.high and a.low < b.low)


@cold
def times(a: Wide, b: Wide) -> Wide:
    """The product of two fractions, at most three units too small."""
    whole = product(a.high, b.high)
    whole = plus(whole, Wide(0, product(a.high, b.low).high))
    return plus(whole, Wide(0, product(a.low, b.high).high))


@cold
def over(a: Wide, divisor: int) -> Wide:
    """The quotient by a number below 2^32."""
    rest = ((a.high % divisor) << 32) | (a.low >> 32)
    last = ((rest % divisor) << 32) | (a.low & M32)
    return Wide(a.high // divisor, ((rest // divisor) << 32) | (last // divisor))


@cold
def right(a: Wide, count: int) -> Wide:
    """Shifted to the right by any number of bits; the last bit is set if a bit is lost."""
    if count == 0:
        return a
    if count < 64:
        lost = 1 if (a.low << (64 - count)) & M64 else 0
        return Wide(a.high >> count, ((a.high << (64 - count)) & M64) | (a.low >> count) | lost)
    if count >= 128:
        return Wide(0, 1 if a.high | a.low else 0)
    lost = 1 if a.low else 0
    if count == 64:
        return Wide(0, a.high | lost)
    if (a.high << (128 - count)) & M64:
        lost = 1
    return Wide(0, (a.high >> (count - 64)) | lost)


@cold
def left(a: Wide, count: int) -> Wide:
    """Shifted to the left by fewer than 128 bits."""
    if count == 0:
        return a
    if count < 64:
        return Wide(((a.high << count) & M64) | (a.low >> (64 - count)), (a.low << count) & M64)
    return Wide((a.low << (count - 64)) & M64, 0)


@cold
def leading_zeros(a: Wide) -> int:
    """How many bits stand before the first that is set, which there must be."""
    word, zeros = a.high, 0
    if word == 0:
        word, zeros = a.low, 64
    step = 32
    while step:
        if word >> (64 - step) == 0:
            word, zeros = word << step, zeros + step
        step >>= 1
    return zeros


@cold
def quotient(a: Wide, b: Wide) -> Quotient:
    """The quotient of two numbers whose first bit is set, cut off."""
    high, low, whole, steps = 0, 0, 0, 128
    if not is_less(a, b):
        a, low, whole, steps = minus(a, b), 1, 1, 127
    while steps:
        carry = a.high >> 63
        a = Wide(((a.high << 1) & M64) | (a.low >> 63), (a.low << 1) & M64)
        high, low = ((high << 1) & M64) | (low >> 63), (low << 1) & M64
        if carry or not is_less(a, b):
            a, low = minus(a, b), low | 1
        steps -= 1
    return Quotient(high, low, whole)


@cold
def odd_series(square: Wide, alternating: bool) -> Wide:
    """square/3 + square^2/5 + square^3/7 ..., or the same with alternating signs: what atanh and atan add to 1."""
    power, total, n = square, Wide(0, 0), 3
    minus_next = False
    while power.high or power.low:
        term = over(power, n)
        total = minus(total, term) if minus_next else plus(total, term)
        power = times(power, square)
        minus_next = alternating and not minus_next
        n += 2
    return total


@cold
def factorial_series(x: Wide, n: int, step: int, alternating: bool) -> Wide:
    """With step 1, x/n + x^2/(n(n+1)) ...; with step 2, x/(n(n+1)) + x^2/(n(n+1)(n+2)(n+3)) ...; or alternating."""
    total, term, minus_next = Wide(0, 0), x, False
    while True:
        term = over(term, n if step == 1 else n * (n + 1))
        if term.high == 0 and term.low == 0:
            return total
        total = minus(total, term) if minus_next else plus(total, term)
        term = times(term, x)
        minus_next = alternating and not minus_next
        n += step
