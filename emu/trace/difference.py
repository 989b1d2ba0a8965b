"""Where two traces part."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from emu.trace.choice import ALL, Choice
from emu.trace.columns import COLUMNS
from emu.trace.events import Decoder
from emu.trace.opened import Trace

Event = dict[str, Any]


@dataclass(frozen=True)
class Difference:
    """The first events that are not the same in both; None where a trace has no more."""

    first: Event | None
    second: Event | None
    #: The last events before these, the same in both, as the first trace has them.
    before: Sequence[Event]
    #: The fields that differ.
    fields: Sequence[str]


def compare(
    first: Trace, second: Trace, *, ignore: Collection[str] = (), choice: Choice = ALL, before: int = 3
) -> Difference | int:
    """Where the chosen events part, with as many ``before`` as are asked for; or how many there are, all the same.

    ``ignore`` are columns, or fields of the kernel's events.  Where not all events are chosen their numbers (``seq``)
    may differ.
    """
    ignored = {*ignore, *(["seq"] if choice != ALL else [])}
    sides = _Side(first, choice), _Side(second, choice)
    comparer, count = _Comparer(ignored), 0
    last: list[pa.RecordBatch] = []
    while (here := sides[0].rows()) is not None and (there := sides[1].rows()) is not None:
        same = min(here.num_rows, there.num_rows)
        here, there = here.slice(0, same), there.slice(0, same)
        at = comparer.first_difference(here, there)
        step = same if at is None else at
        last = _last([*last, here.slice(0, step)], before)
        count += step
        for side in sides:
            side.skip(step)
        if at is not None:
            break
    if sides[0].rows() is None and sides[1].rows() is None:
        return count
    one, other = (side.event() for side in sides)
    return Difference(one, other, sides[0].decoded(last), _unequal(one, other, ignored))


class _Side:
    """The chosen rows of a trace that are still to be compared."""

    def __init__(self, trace: Trace, choice: Choice) -> None:
        self._decoder, self._choice = Decoder(trace), choice
        self._tables = trace.tables()
        self._rows: pa.RecordBatch | None = None

    def rows(self) -> pa.RecordBatch | None:
        """Some of them; None if there are no more."""
        while self._rows is None or not self._rows.num_rows:
            table = next(self._tables, None)
            if table is None:
                return None
            mask = self._choice.mask(table)
            self._rows = table if mask is None else table.take(pa.array(np.flatnonzero(mask)))
        return self._rows

    def skip(self, count: int) -> None:
        """These are done."""
        if self._rows is not None:
            self._rows = self._rows.slice(count)

    def event(self) -> Event | None:
        """The next one."""
        rows = self.rows()
        return None if rows is None else self._decoder.events(rows.slice(0, 1))[0]

    def decoded(self, batches: Sequence[pa.RecordBatch]) -> list[Event]:
        """The events of these rows."""
        return [event for rows in batches for event in self._decoder.events(rows)]


class _Comparer:
    """Compares rows, but for what is ignored."""

    def __init__(self, ignored: Collection[str]) -> None:
        self._ignored = frozenset(ignored)
        self._columns = [column for column in COLUMNS if column.name not in ignored]
        self._numbers: dict[str, dict[str, int]] = {column.name: {} for column in COLUMNS if column.type == "dict"}

    def first_difference(self, here: pa.RecordBatch, there: pa.RecordBatch) -> int | None:
        """The first row that is not the same."""
        first = None
        for column in self._columns:
            a, b = here.column(column.name), there.column(column.name)
            if a.equals(b):
                continue
            if column.name == "detail":
                rows = self._other_details(a, b)
            else:
                rows = iter(np.flatnonzero(self._unequal(column.name, a, b))[:1].tolist())
            at = next(rows, None)
            if at is not None and (first is None or at < first):
                first = at
        return first

    def _unequal(self, name: str, a: pa.Array, b: pa.Array) -> npt.NDArray[np.bool_]:
        if name in self._numbers:
            return np.asarray(self._named(name, a) != self._named(name, b))
        valid = [np.asarray(values.is_valid()) for values in (a, b)]
        values = [np.asarray(values.fill_null(0)) for values in (a, b)]
        return np.asarray((valid[0] != valid[1]) | (values[0] != values[1]))

    def _named(self, name: str, values: pa.Array) -> npt.NDArray[np.int64]:
        """A number for each value, the same in both traces; -1 for null."""
        known = self._numbers[name]
        table = [known.setdefault(text, len(known)) for text in values.dictionary.to_pylist()]
        places = np.asarray(values.indices.cast(pa.int32()).fill_null(-1))
        return np.asarray(np.array([*table, -1], np.int64)[places])

    def _other_details(self, a: pa.Array, b: pa.Array) -> Iterator[int]:
        unequal = pc.fill_null(pc.not_equal(a, b), True)
        unequal = pc.and_(unequal, pc.or_(pc.is_valid(a), pc.is_valid(b)))
        for at in np.flatnonzero(np.asarray(unequal)).tolist():
            if self._fields(a[at].as_py()) != self._fields(b[at].as_py()):
                yield at

    def _fields(self, text: str | None) -> Any:
        if not self._ignored or text is None:
            return text
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            return text
        if not isinstance(fields, dict):
            return text
        return {name: value for name, value in fields.items() if name not in self._ignored}


def _last(batches: Sequence[pa.RecordBatch], count: int) -> list[pa.RecordBatch]:
    """The last rows of these."""
    kept: list[pa.RecordBatch] = []
    for rows in reversed(batches):
        if count > 0 and rows.num_rows:
            kept.insert(0, rows.slice(max(rows.num_rows - count, 0)))
            count -= kept[0].num_rows
    return kept


def _unequal(first: Event | None, second: Event | None, ignored: Collection[str]) -> list[str]:
    if first is None or second is None:
        return []
    names = dict.fromkeys([*first, *second])
    return [name for name in names if name not in ignored and first.get(name) != second.get(name)]
