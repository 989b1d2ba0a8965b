"""What is written to files of cgroups, as the kernel parses it (kstrtox.c, page_counter_memparse)."""

from __future__ import annotations

import errno

from emu.linux.errors import LinuxError

_INT_MAX = (1 << 31) - 1
_BASES = {"0x": 16, "0X": 16}
_UNITS = {"k": 10, "m": 20, "g": 30, "t": 40, "p": 50, "e": 60}
#: PAGE_COUNTER_MAX, in pages.
NO_LIMIT = (1 << 63) - 1 >> 12


def stripped(data: bytes) -> str:
    """The text without white space around it (strstrip)."""
    return data.split(b"\0")[0].decode("latin-1").strip(" \t\n\v\f\r")


def integer(text: str, low: int = -_INT_MAX - 1, high: int = _INT_MAX) -> int:
    """kstrtoint(text, 0).  LinuxError(EINVAL, ERANGE).

    >>> integer("0x10"), integer("010"), integer("-7")
    (16, 8, -7)
    """
    sign, digits = (-1, text[1:]) if text[:1] == "-" else (1, text[text[:1] == "+" :])
    base = _BASES.get(digits[:2], 8 if digits[:1] == "0" and len(digits) > 1 else 10)
    digits = digits[2:] if base == 16 else digits
    try:
        if not (digits.isascii() and digits.isalnum()):
            raise ValueError
        value = sign * int(digits, base)
    except ValueError:
        raise LinuxError(errno.EINVAL) from None
    if not low <= value <= high:
        raise LinuxError(errno.ERANGE)
    return value


def pages(text: str) -> int:
    """A number of bytes, with a unit or not, or ``max``, in pages.  LinuxError(EINVAL).

    >>> pages("1M"), pages("4097"), pages("max") == NO_LIMIT
    (256, 1, True)
    """
    if text == "max":
        return NO_LIMIT
    return min(size(text) >> 12, NO_LIMIT)


def size(text: str) -> int:
    """memparse() of a whole text.  LinuxError(EINVAL)."""
    shift = _UNITS.get(text[-1:].lower(), 0)
    digits = text[:-1] if shift else text
    base = _BASES.get(digits[:2], 8 if digits[:1] == "0" else 10)
    digits = digits[2:] if base == 16 else digits
    if not digits:
        if shift or base == 16:
            raise LinuxError(errno.EINVAL)
        return 0  # simple_strtoull() of nothing
    try:
        if not (digits.isascii() and digits.isalnum()):
            raise ValueError
        return int(digits, base) << shift & (1 << 64) - 1
    except ValueError:
        raise LinuxError(errno.EINVAL) from None


def shown(number: int) -> bytes:
    """A limit in pages as files show it, in bytes."""
    return b"max\n" if number >= NO_LIMIT else b"%d\n" % (number << 12)
