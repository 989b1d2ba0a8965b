"""The auxiliary vector of a program that is about to start (getauxval(3)), in its memory."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

AT_NULL, AT_IGNORE, AT_RANDOM, AT_SYSINFO_EHDR = 0, 1, 25, 33
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
        while (word := peek(at, _WORD)) and any(word) and at - stack < _MOST * _WORD:
            at += _WORD
        at += _WORD
    while len(data := peek(at, _PAIR.size)) == _PAIR.size:
        key, value = _PAIR.unpack(data)
        if key == AT_NULL:
            return
        yield Pair(at, key, value)
        at += _PAIR.size


def ignored() -> bytes:
    """The key of an entry that is not to be looked at."""
    return struct.pack("<Q", AT_IGNORE)
