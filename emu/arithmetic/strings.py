"""PCMPISTRI, PCMPISTRM, PCMPESTRI and PCMPESTRM (SDM vol. 2, 4.1)."""

from __future__ import annotations

from typing import NamedTuple

from emu.arithmetic.wide import M64, Wide
from mmu.native import cold, inlined

CF, ZF, SF, OF = 1, 0x40, 0x80, 0x800
#: The flags that all four define; AF and PF are cleared.
STATUS_FLAGS = 0x8D5


class Matches(NamedTuple):
    """IntRes2, a bit for each element, and the flags of RFLAGS."""

    bits: int
    flags: int


@inlined
def _element(value: Wide, number: int, imm: int) -> int:
    """An element of a string: bytes or words, as the immediate says; signed ones with the sign moved so that unsigned
    order is theirs."""
    if imm & 1:
        word = value.high if number >= 4 else value.low
        element = (word >> (16 * (number & 3))) & 0xFFFF
        return element ^ 0x8000 if imm & 2 else element
    word = value.high if number >= 8 else value.low
    element = (word >> (8 * (number & 7))) & 0xFF
    return element ^ 0x80 if imm & 2 else element


@cold
def length_to_zero(value: Wide, imm: int) -> int:
    """How many elements stand before the first 0."""
    size = 8 if imm & 1 else 16
    zero = (0x8000 if imm & 1 else 0x80) if imm & 2 else 0
    number = 0
    while number < size and _element(value, number, imm) != zero:
        number += 1
    return number


@cold
def explicit_length(register: int, wide: bool, imm: int) -> int:
    """What RAX or RDX says: its magnitude, at most the number of elements.  EAX or EDX counts without REX.W."""
    size = 8 if imm & 1 else 16
    half = 1 << 63
    if not wide:
        register, half = register & 0xFFFF_FFFF, 1 << 31
    if register >= half:
        register = half - (register - half)
    return size if register > size else register


@cold
def matches(a: Wide, b: Wide, length_a: int, length_b: int, imm: int) -> Matches:
    """What is found of the first operand, ``a``, in the second, ``b``, whose valid lengths are given."""
    size = 8 if imm & 1 else 16
    mode = (imm >> 2) & 3
    found = 0
    if mode == 0:
        found = _equal_any(a, b, length_a, length_b, imm)
    elif mode == 1:
        found = _ranges(a, b, length_a, length_b, imm)
    elif mode == 2:
        found = _equal_each(a, b, length_a, length_b, imm)
    else:
        found = _equal_ordered(a, b, length_a, length_b, imm)
    if imm & 0x10:
        found ^= (1 << length_b) - 1 if imm & 0x20 else (1 << size) - 1
    flags = CF if found else 0
    flags |= ZF if length_b < size else 0
    flags |= SF if length_a < size else 0
    flags |= OF if found & 1 else 0
    return Matches(found, flags)


@cold
def _equal_any(a: Wide, b: Wide, length_a: int, length_b: int, imm: int) -> int:
    found, j = 0, 0
    while j < length_b:
        i = 0
        while i < length_a:
            if _element(a, i, imm) == _element(b, j, imm):
                found |= 1 << j
            i += 1
        j += 1
    return found


@cold
def _ranges(a: Wide, b: Wide, length_a: int, length_b: int, imm: int) -> int:
    found, j = 0, 0
    while j < length_b:
        element, i = _element(b, j, imm), 0
        while i + 1 < length_a:
            if _element(a, i, imm) <= element and element <= _element(a, i + 1, imm):
                found |= 1 << j
            i += 2
        j += 1
    return found


@cold
def _equal_each(a: Wide, b: Wide, length_a: int, length_b: int, imm: int) -> int:
    """Elements that are equal, and those beyond the end of both."""
    size = 8 if imm & 1 else 16
    found, j = 0, 0
    while j < size:
        if j < length_a and j < length_b:
            if _element(a, j, imm) == _element(b, j, imm):
                found |= 1 << j
        elif j >= length_a and j >= length_b:
            found |= 1 << j
        j += 1
    return found


@cold
def _equal_ordered(a: Wide, b: Wide, length_a: int, length_b: int, imm: int) -> int:
    """Where the first operand begins in the second, also one that the end of the register cuts off."""
    size = 8 if imm & 1 else 16
    found, j = 0, 0
    while j < size:
        i = 0
        while i < length_a and i + j < size:
            if i + j >= length_b or _element(a, i, imm) != _element(b, i + j, imm):
                break
            i += 1
        if i >= length_a or i + j >= size:
            found |= 1 << j
        j += 1
    return found


@cold
def index(found: int, imm: int) -> int:
    """What PCMPxSTRI leaves in ECX."""
    size = 8 if imm & 1 else 16
    if found == 0:
        return size
    number = 0
    if imm & 0x40:
        while found >> (number + 1):
            number += 1
        return number
    while not (found >> number) & 1:
        number += 1
    return number


@cold
def mask(found: int, imm: int) -> Wide:
    """What PCMPxSTRM leaves in XMM0."""
    if not imm & 0x40:
        return Wide(0, found)
    bits = 16 if imm & 1 else 8
    each = (1 << bits) - 1
    per_word = 64 // bits
    high, low, number = 0, 0, 0
    while number < per_word:
        if (found >> number) & 1:
            low |= each << (bits * number)
        if (found >> (number + per_word)) & 1:
            high |= each << (bits * number)
        number += 1
    return Wide(high & M64, low & M64)
