"""How often each combination of values occurs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

#: Rows that are kept of batches before equal ones are made one.
_KEPT = 1 << 20
COUNT = "count"


class Tally:
    """Counts rows of some columns.

    >>> tally = Tally("pid", "page")
    >>> tally.add(np.array([7, 7, 8], np.uint64), np.array([1, 1, 1], np.uint64))
    >>> tally.rows()
    [(7, 1, 2), (8, 1, 1)]
    """

    def __init__(self, *names: str) -> None:
        self._names = names
        self._parts: list[pa.Table] = []
        self._kept = 0

    def add(self, *columns: npt.NDArray[Any]) -> None:
        """Count some rows."""
        if not len(columns[0]):
            return
        encoded = [pa.array(column).dictionary_encode() for column in columns]
        combined = np.asarray(encoded[0].indices).astype(np.uint64)
        for column in encoded[1:]:
            combined *= np.uint64(len(column.dictionary))
            combined += np.asarray(column.indices).astype(np.uint64)
        counted = pc.value_counts(pa.array(combined))
        rest, parts = np.asarray(counted.field("values")), []
        for column in reversed(encoded):
            size = np.uint64(len(column.dictionary))
            parts.append(column.dictionary.take(pa.array(rest % size)))
            rest = rest // size
        self._parts.append(pa.table([*reversed(parts), counted.field("counts")], [*self._names, COUNT]))
        self._kept += self._parts[-1].num_rows
        if self._kept > _KEPT:
            self._parts = [self.table()]
            self._kept = 0

    def table(self, by: Sequence[str] | None = None) -> pa.Table:
        """A row for each combination of these columns, or of all, and how often it occurs."""
        names = self._names if by is None else tuple(by)
        if not self._parts:
            return pa.table({name: pa.array([], pa.uint64()) for name in (*names, COUNT)})
        rows = pa.concat_tables(self._parts)
        summed = rows.group_by([*names], use_threads=False).aggregate([(COUNT, "sum")])
        return summed.rename_columns([*names, COUNT])

    def rows(self, by: Sequence[str] | None = None) -> list[tuple[int, ...]]:
        """All of :meth:`table`, in rising order."""
        return sorted(zip(*(column.to_pylist() for column in self.table(by).columns), strict=True))
