"""How often each of many millions of numbers occurs, in memory that does not grow with them."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator
from typing import IO

import numpy as np
import numpy.typing as npt

from emu.trace.reader import TraceError

_U64 = npt.NDArray[np.uint64]
#: Numbers that wait before equal ones are made one, and different ones that are kept in memory.
_WAITING, _KEPT = 1 << 20, 1 << 20
#: Into so many pieces those are divided that have no room.
_PIECE_BITS = 6
_PIECES = 1 << _PIECE_BITS
#: Knuth's multiplicative hash (The Art of Computer Programming, 6.4).
_HASH = np.uint64(0x9E37_79B9_7F4A_7C15)
_ENTRY = np.dtype([("number", "<u8"), ("count", "<u8")])


class Occurrences:
    """Counts numbers of 64 bits; what has no room in memory waits in a temporary file.

    Numbers that differ in their lowest ``together`` bits alone come in the same piece.

    >>> counted = Occurrences()
    >>> counted.add(np.array([7, 7, 8], np.uint64))
    >>> [(numbers.tolist(), counts.tolist()) for numbers, counts in counted.pieces()]
    [([7, 8], [2, 1])]
    """

    def __init__(self, together: int = 0) -> None:
        self._together = np.uint64(together)
        self._waiting: list[_U64] = []
        self._waits = 0
        self._parts: list[tuple[_U64, _U64]] = []
        self._file: IO[bytes] | None = None
        #: Of each piece, where in the file there is a part of it, and of how many entries.
        self._extents: list[list[tuple[int, int]]] = [[] for _ in range(_PIECES)]

    def add(self, numbers: _U64) -> None:
        """Count these."""
        self._waiting.append(numbers)
        self._waits += len(numbers)
        if self._waits >= _WAITING:
            self._settle()

    def pieces(self) -> Iterator[tuple[_U64, _U64]]:
        """Each number once, and how often it occurs; rising in each of a few pieces."""
        self._settle()
        if self._file is None:
            yield from self._parts  # one, or none
            return
        self._spill()
        for extents in self._extents:
            if extents:
                yield _merged([self._read(self._file, *extent) for extent in extents])

    def _settle(self) -> None:
        """Make equal numbers one."""
        if not self._waits:
            return
        numbers = np.concatenate(self._waiting)
        self._waiting, self._waits = [], 0
        numbers.sort()
        first = np.flatnonzero(np.append(True, numbers[1:] != numbers[:-1]))
        counts = np.diff(np.append(first, len(numbers))).astype(np.uint64)
        self._parts.append((numbers[first], counts))
        if len(first) * 2 > _KEPT:  # there are many
            self._spill()
            return
        self._parts = [_merged(self._parts)]
        if len(self._parts[0][0]) > _KEPT:
            self._spill()

    def _spill(self) -> None:
        """What is in memory goes to the file."""
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="unimmu-trace-")  # noqa: SIM115 (until this is gone)
                weakref.finalize(self, self._file.close)
            for numbers, counts in self._parts:
                piece = ((numbers >> self._together) * _HASH >> np.uint64(64 - _PIECE_BITS)).astype(np.uint8)
                order = np.argsort(piece, kind="stable")
                entries = np.empty(len(numbers), _ENTRY)
                entries["number"], entries["count"] = numbers[order], counts[order]
                at, begin = self._file.tell(), 0
                self._file.write(entries.data)
                for number, count in enumerate(np.bincount(piece, minlength=_PIECES).tolist()):
                    if count:
                        self._extents[number].append((at + begin * _ENTRY.itemsize, count))
                    begin += count
        except OSError as error:
            raise _unusable(error) from None
        self._parts = []

    def _read(self, file: IO[bytes], at: int, count: int) -> tuple[_U64, _U64]:
        try:
            file.seek(at)
            entries = np.frombuffer(file.read(count * _ENTRY.itemsize), _ENTRY)
        except OSError as error:
            raise _unusable(error) from None
        return entries["number"], entries["count"]


def _unusable(error: OSError) -> TraceError:
    return TraceError(f"what is counted has no room in memory, nor in a temporary file: {error.strerror}")


def _merged(parts: list[tuple[_U64, _U64]]) -> tuple[_U64, _U64]:
    """Of parts that rise, each number once."""
    if len(parts) == 1:
        return parts[0]
    numbers, counts = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.argsort(numbers, kind="stable")
    numbers = numbers[order]
    first = np.flatnonzero(np.append(True, numbers[1:] != numbers[:-1]))
    return numbers[first], np.add.reduceat(counts[order], first)
