"""The auxiliary vector of a program that is about to start (getauxval(3)), in its memory."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

AT_NULL, AT_IGNORE, AT_HWCAP, AT_RANDOM, AT_HWCAP2, AT_SYSINFO_EHDR, AT_MINSIGSTKSZ = 0, 1, 16, 25, 26, 33, 51
_WORD, _PAIR = 8, struct.Struct("<2Q")
#: As many words are looked through at most.
_MOST = 1 << 20


class Pair(NamedTuple):
    """An entry, and where it lies."""

    address: int
    key: int
    value: int


def auxiliary_vector(peek: Callable[[int, int], bytes], stack: int) -> Iterator[Pair]:
    """The entries behind argc, argv and envp, which begin at the stack pointer."""
    at = stack + _WORD
    for _ in range(2):  # argv and envp end with a NULL each
        while (found := peek(at, _WORD)) and any(found) and at - stack < _MOST * _WORD:
            at += _WORD
        at += _WORD
    while len(data := peek(at, _PAIR.size)) == _PAIR.size:
        key, value = _PAIR.unpack(data)
        if key == AT_NULL:
            return
        yield Pair(at, key, value)
        at += _PAIR.size


def word(value: int) -> bytes:
    """A key or a value as it lies in memory."""
    return struct.pack("<Q", value)


def of_host() -> dict[int, int]:
    """The values that this process was given."""
    with open("/proc/self/auxv", "rb") as file:
        return dict(_PAIR.iter_unpack(file.read()))
