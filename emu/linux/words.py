"""Numbers, strings and flags as strace writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum, IntFlag
from typing import ClassVar, TypeVar

#: Characters shown of a string that is not a path.
STRING_LIMIT = 32

_ESCAPES = {9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


def pointer(value: int) -> str:
    """An address."""
    return f"{value:#x}" if value else "NULL"


def hexadecimal(value: int) -> str:
    """A number printed for its bits."""
    return f"{value & (1 << 64) - 1:#x}" if value else "0"


def octal(value: int) -> str:
    """Permission bits."""
    return f"0{value:o}".zfill(3)


def quote(data: bytes, limit: int | None = None, *, cut: bool = False) -> str:
    """A string in C's notation; ``cut`` (or more bytes than ``limit``) puts dots behind it."""
    if limit is not None and len(data) > limit:
        data, cut = data[:limit], True
    parts = []
    for at, byte in enumerate(data):
        if byte in _ESCAPES:
            parts.append(_ESCAPES[byte])
        elif 32 <= byte < 127:
            parts.append(chr(byte))
        else:  # as short as can be, unless a digit follows
            digit_follows = 48 <= data[at + 1] <= 57 if at + 1 < len(data) else False
            parts.append(f"\\{byte:03o}" if digit_follows else f"\\{byte:o}")
    return '"' + "".join(parts) + '"' + ("..." if cut else "")


def quote_list(strings: Iterable[bytes]) -> str:
    """argv."""
    return "[" + ", ".join(quote(s, STRING_LIMIT) for s in strings) + "]"


def number_of_vars(count: int) -> str:
    """The environment of execve."""
    return f"{count} var" if count == 1 else f"{count} vars"


def unknown(value: int, prefix: str) -> str:
    """An ``int`` that is none of the numbers with names; strace prints it without a sign."""
    return f"{hexadecimal(value & 0xFFFFFFFF)} /* {prefix}??? */"


def named_bits(value: int, names: Mapping[int, str], zero: str = "0", prefix: str = "") -> str:
    """Bits by their names, in the order of ``names``; unnamed bits as a number, and where all are unnamed, with the
    ``prefix`` of the names.
    """
    parts = []
    for bit, name in names.items():
        if value & bit == bit:
            parts.append(name)
            value &= ~bit
    if value and not parts and prefix:
        return f"{value:#x} /* {prefix}??? */"
    if value or not parts:
        parts.append(f"{value:#x}" if value else zero)
    return "|".join(parts)


_HUGE_SHIFT, _HUGE_MASK = 26, 0x3F


def huge_bits(value: int, names: Mapping[int, str], prefix: str, *, alone: bool = False) -> list[str]:
    """The parts of flags with the size of huge pages in them (MAP_HUGE_SHIFT and its like); none for 0.

    ``alone``: no other flags stand before them.
    """
    huge, rest = value >> _HUGE_SHIFT & _HUGE_MASK, value & ~(_HUGE_MASK << _HUGE_SHIFT)
    parts = [named_bits(rest, names, prefix=prefix if alone else "")] if rest else []
    return [*parts, f"{huge}<<{prefix}HUGE_SHIFT"] if huge else parts


F = TypeVar("F", bound=type[IntFlag])


def tested_often(flags: F) -> F:
    """Flags that are tested all the time: what ``&`` gives is a plain int, which takes a tenth of the time that the
    member of that value would.  ``|`` gives the member, which is looked up.
    """
    known = flags._value2member_map_

    def united(self: IntFlag, other: int) -> int:
        value = int.__or__(self, other)
        member = known.get(value)
        return flags(value) if member is None else member  # type: ignore[return-value]

    for name in ("__and__", "__rand__"):
        setattr(flags, name, getattr(int, name))
    for name in ("__or__", "__ror__"):
        setattr(flags, name, united)
    return flags


class Flags(IntFlag):
    """Flag bits of a system call; ``prefix`` begins all their names, ``zero`` stands for no flag."""

    prefix: ClassVar[str]
    zero: ClassVar[str]

    def __init_subclass__(cls, prefix: str = "", zero: str = "0") -> None:
        cls.prefix, cls.zero = prefix, zero

    @classmethod
    def names(cls) -> dict[int, str]:
        """The single bits with their names, lowest first."""
        return {int(flag): cls.prefix + (flag.name or "").removeprefix(cls.prefix) for flag in cls}

    @classmethod
    def words(cls, value: int) -> str:
        """The flags as strace prints them."""
        return named_bits(value, cls.names(), cls.zero, cls.prefix)


class Choice(IntEnum):
    """One of several numbers; ``prefix`` begins all their names."""

    prefix: ClassVar[str]

    def __init_subclass__(cls, prefix: str = "") -> None:
        cls.prefix = prefix

    @classmethod
    def words(cls, value: int) -> str:
        """The number as strace prints it."""
        name = cls._value2member_map_.get(value)
        return unknown(value, cls.prefix) if name is None else f"{cls.prefix}{name.name}"
