"""The native loop that reads lackey's lines."""

from __future__ import annotations

from mmu.native import entry, load8, native, store64
from mmu.registers import Access

#: The most accesses that are read at a time, each as three words: kind, address, size.
MOST = 1 << 17
_SPACE, _COMMA, _NEWLINE = 0x20, 0x2C, 0x0A
_ZERO, _NINE, _A, _F = 0x30, 0x39, 0x61, 0x66
_I, _L, _M, _S = 0x49, 0x4C, 0x4D, 0x53
_NO_DIGIT = 255


@native
def _digit(byte: int) -> int:
    if _ZERO <= byte <= _NINE:
        return byte - _ZERO
    if _A <= byte <= _F:
        return byte - _A + 10
    return _NO_DIGIT


@native
def _kind(at: int) -> int:
    """What a line says that begins there, of three characters; _NO_DIGIT if it is no access."""
    first, second = load8(at), load8(at + 1)
    if load8(at + 2) != _SPACE:
        return _NO_DIGIT
    if first == _I and second == _SPACE:
        return Access.FETCH
    if first == _SPACE:
        if second == _L:
            return Access.READ
        if second == _S or second == _M:  # noqa: SIM109 (compiled: no tuples here)
            return Access.WRITE
    return _NO_DIGIT


@native
def _line(at: int, end: int, row: int) -> bool:
    """Read the line that ends in a newline at ``end``; False if it is no access."""
    if end - at < 6:
        return False
    kind = _kind(at)
    if kind == _NO_DIGIT:
        return False
    at += 3
    address, size, digits = 0, 0, 0
    while at < end and load8(at) != _COMMA:
        digit = _digit(load8(at))
        if digit == _NO_DIGIT or digits == 16:
            return False
        address, digits = address << 4 | digit, digits + 1
        at += 1
    at += 1
    if digits == 0 or at >= end:
        return False
    while at < end:
        digit = _digit(load8(at))
        if digit > 9 or size >= 1 << 20:
            return False
        size = size * 10 + digit
        at += 1
    store64(row, kind)
    store64(row + 8, address)
    store64(row + 16, size)
    return True


@entry("void", "u64", "u64", "u64", "u64")
def parse(text: int, last: int, rows: int, counted: int) -> None:
    """Read the lines between two host addresses, each of which ends in a newline; says how many accesses were found,
    and how many bytes were read."""
    at, made = text, 0
    while at < last and made < MOST:
        end = at
        while load8(end) != _NEWLINE:
            end += 1
        if _line(at, end, rows + made * 24):
            made += 1
        at = end + 1
    store64(counted, made)
    store64(counted + 8, at - text)
