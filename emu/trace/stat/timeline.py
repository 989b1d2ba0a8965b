"""Which value each of some keys has at each row of a trace, as events change it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

#: What a key has that nothing was said of.
NONE = -1


class Change(NamedTuple):
    """From row ``at`` of a batch on, ``key`` has ``value``."""

    at: int
    key: int
    value: int


class Timeline:
    """The values of keys, batch by batch.

    >>> line = Timeline()
    >>> line.values(np.array([5, 5, 6], np.uint64), [Change(1, 5, 30)]).tolist()
    [-1, 30, -1]
    >>> line.values(np.array([5, 6], np.uint64), []).tolist()
    [30, -1]
    """

    def __init__(self) -> None:
        self.now: dict[int, int] = {}

    def values(self, keys: npt.NDArray[np.uint64], changes: Sequence[Change]) -> npt.NDArray[np.int64]:
        """The value of the key of each row; ``changes`` are those of these rows, and hold for what follows."""
        if not changes:
            encoded = pa.array(keys).dictionary_encode()
            told = [self.now.get(key, NONE) for key in encoded.dictionary.to_pylist()]
            return np.asarray(np.array(told, np.int64)[np.asarray(encoded.indices)])
        known = np.array(sorted({*self.now, *(change.key for change in changes)}), np.uint64)
        found = np.full(len(keys), NONE, np.int64)
        if len(keys):
            place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            rows = np.flatnonzero(known[place] == keys)
            found[rows] = self._at(known, place[rows], rows, len(keys), changes)
        for change in changes:
            self.now[change.key] = change.value
        return found

    def _at(
        self,
        known: npt.NDArray[np.uint64],
        place: npt.NDArray[Any],
        rows: npt.NDArray[Any],
        count: int,
        changes: Sequence[Change],
    ) -> npt.NDArray[np.int64]:
        """The values of the keys at ``place`` among the known ones, at these rows."""
        before = np.array([self.now.get(key, NONE) for key in known.tolist()], np.int64)
        # each key has a stretch of count + 1 numbers: its value before the first row, and where it changes
        keys = np.searchsorted(known, np.array([change.key for change in changes], np.uint64))
        begins = np.concatenate(
            [np.arange(len(known)) * (count + 1), keys * (count + 1) + [change.at + 1 for change in changes]]
        )
        values = np.concatenate([before, np.array([change.value for change in changes], np.int64)])
        order = np.argsort(begins, kind="stable")
        last = np.searchsorted(begins[order], place * (count + 1) + rows + 1, side="right") - 1
        return np.asarray(values[order][last])
