"""What of an event is counted, as one number an event: so that many millions are counted by counting equal numbers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from emu.trace.reader import TraceError
from emu.trace.resolution import RESOLUTIONS
from emu.trace.schema import Schema
from mmu.registers import Access

Codes = npt.NDArray[np.uint64]
#: By the two bits that a code has for them.
PAGE_SIZES = (0, 1 << 12, 1 << 21, 1 << 30)

#: Columns of small numbers, with the largest that each may have; a null counts as 0.
_NUMBERS = {"level": 7, "cached_level": 7, "tlb_level": 3, "shared_level": 3, "cycles": 0xFFFF}
_ACCESSES = ("", *(access.name.lower() for access in Access))
_RESOLVED = ("", *RESOLUTIONS)
#: The bits of a code below the kind of the event.
KIND_SHIFT = np.uint64(10 + sum(most.bit_length() for most in _NUMBERS.values()))
_MOST_KINDS = 1 << 64 - int(KIND_SHIFT)
#: The columns of which a code is made.
COLUMNS = ("event", "access", "resolved", "page_size", *_NUMBERS)


class Facts(NamedTuple):
    """What a code says: a column an element, 0 or "" where the event has none."""

    event: str
    access: str
    resolved: str
    page_size: int
    level: int
    cached_level: int
    tlb_level: int
    shared_level: int
    cycles: int

    def loads(self, levels: int) -> int:
        """The entries that a walk read from memory, where the tables have so many levels."""
        return (self.cached_level or levels + 1) - self.level if self.event == "walk" else 0


class Coder:
    """Makes codes of rows, and facts of codes."""

    def __init__(self, schema: Schema, name: str) -> None:
        """``name`` is the file's, for what is wrong with it."""
        self._name = name
        self._kinds = ("", *schema.kinds)
        if len(self._kinds) > _MOST_KINDS:
            raise TraceError(f"{name}: there are more than {_MOST_KINDS - 1} kinds of events")
        self._facts: dict[int, Facts] = {}
        #: A bit position for each column, in the order of :class:`Facts`; the kinds of events come last.
        self._names = {"access": _ACCESSES, "resolved": _RESOLVED, "event": self._kinds}

    def codes(self, rows: pa.RecordBatch) -> Codes:
        """The code of each row, which has :data:`COLUMNS`.  :class:`TraceError` for a value that no event has."""
        codes = self._named(rows, "event")
        if len(codes) and not codes.all():
            raise TraceError(f"{self._name}: an event has no kind")
        for name in ("resolved", "access"):
            codes <<= np.uint64(4)
            if rows.column(name).null_count < len(codes):
                codes |= self._named(rows, name)
        codes <<= np.uint64(2)
        codes |= self._page_sizes(rows)
        for name, most in _NUMBERS.items():
            codes <<= np.uint64(most.bit_length())
            column = rows.column(name)
            if column.null_count < len(codes):
                values = numbers(column)
                if int(values.max()) > most:
                    raise TraceError(f"{self._name}: {name} is {values.max()}, which no event has")
                codes |= values
        return codes

    def kind(self, name: str) -> np.uint64:
        """What ``codes >> KIND_SHIFT`` is of this kind of event."""
        return np.uint64(self._kinds.index(name))

    def facts(self, code: int) -> Facts:
        """What a code says."""
        found = self._facts.get(code)
        if found is None:
            rest, values = code, []
            for most in reversed(_NUMBERS.values()):
                values.append(rest & most)
                rest >>= most.bit_length()
            page, access, resolved, event = rest & 3, rest >> 2 & 15, rest >> 6 & 15, rest >> 10
            found = Facts(
                self._kinds[event], _ACCESSES[access], _RESOLVED[resolved], PAGE_SIZES[page], *reversed(values)
            )
            self._facts[code] = found
        return found

    def _named(self, rows: pa.RecordBatch, column: str) -> Codes:
        """The number of each name, 0 for none."""
        values, names = rows.column(column), self._names[column]
        own = values.dictionary.to_pylist()
        wrong = next((name for name in own if name not in names or not name), None)
        if wrong is not None:
            raise TraceError(f"{self._name}: {column} is {wrong!r:.60}, which no event of this trace has")
        table = np.array([*map(names.index, own), 0], np.uint64)
        return np.asarray(table[numbers(values.indices, len(own))])

    def _page_sizes(self, rows: pa.RecordBatch) -> npt.NDArray[np.uint8]:
        values = numbers(rows.column("page_size"))
        found = np.zeros(len(values), np.uint8)
        known = values == 0
        for number, size in enumerate(PAGE_SIZES[1:], 1):
            here = values == size
            known |= here
            found |= here.view(np.uint8) * np.uint8(number)
        if not known.all():
            raise TraceError(f"{self._name}: page_size is {values[~known][0]}, which no page has")
        return found


def numbers(column: pa.Array, null: int = 0) -> npt.NDArray[Any]:
    """A column's values, and this one for null."""
    return np.asarray(column.fill_null(null) if column.null_count else column)
