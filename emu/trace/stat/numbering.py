"""Small numbers for combinations of values, so that one number a row says them all."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


class Numbering:
    """Numbers combinations of values, from 0 on, as they come.

    >>> numbering = Numbering()
    >>> numbering.of(np.array([5, 6, 5], np.uint64), np.array([1, 1, 1], np.uint64)).tolist()
    [0, 1, 0]
    >>> numbering.values
    [(5, 1), (6, 1)]
    """

    def __init__(self) -> None:
        self.values: list[tuple[int, ...]] = []
        self._numbers: dict[tuple[int, ...], int] = {}

    def of(self, *columns: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
        """The number of the combination in each row.  The columns have few values."""
        places, tuples = combined(columns)
        own = [self._number(values) for values in tuples]
        return np.asarray(np.array(own, np.uint64)[places])

    def _number(self, values: tuple[int, ...]) -> int:
        number = self._numbers.setdefault(values, len(self.values))
        if number == len(self.values):
            self.values.append(values)
        return number


def combined(columns: tuple[npt.NDArray[Any], ...]) -> tuple[npt.NDArray[Any], list[tuple[int, ...]]]:
    """The combinations of values that occur in these columns; and which of them is in each row."""
    count = len(columns[0])
    rows: npt.NDArray[Any] = np.zeros(count, np.int32)
    tuples: list[tuple[int, ...]] = [()] if count else []
    for column in columns:
        if not count or (column == column[0]).all():
            tuples = [(*values, int(column[0])) for values in tuples]
            continue
        encoded = pa.array(column).dictionary_encode()
        places, own = np.asarray(encoded.indices), encoded.dictionary.to_pylist()
        if len(tuples) == 1:
            rows, tuples = places, [(*tuples[0], value) for value in own]
            continue
        pairs = pa.array(rows.astype(np.int64) * len(own) + places).dictionary_encode()
        rows = np.asarray(pairs.indices)
        tuples = [(*tuples[pair // len(own)], own[pair % len(own)]) for pair in pairs.dictionary.to_pylist()]
    return rows, tuples
