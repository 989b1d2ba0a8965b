"""Rows of a trace as events, each a dict that a kind's row of the schema can say in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from emu.trace.choice import Choice
from emu.trace.columns import batch_of
from emu.trace.formats.jsonlines import JsonLines
from emu.trace.opened import Trace
from emu.trace.reader import TraceError

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows that are made events at a time: somebody may want to see only the first.
_AT_ONCE = 1 << 10


class Decoder:
    """Makes events of the rows of a trace, which have all columns."""

    def __init__(self, trace: Trace) -> None:
        self._path, self._schema = trace.path, trace.schema
        self._pieces: list[bytes] = []
        self._lines = JsonLines(self._pieces.append)
        self._lines.begin(trace.header, trace.schema, trace.levels)
        self._lines.flush()

    def events(self, rows: pa.RecordBatch) -> list[dict[str, Any]]:
        """The events, with numbers for addresses.  :class:`TraceError` if a row is none."""
        self._pieces.clear()
        try:
            self._lines.write(batch_of(rows))
            self._lines.flush()
            lines = b"".join(self._pieces).split(b"\n")[:-1]
            return [self._schema.decode(json.loads(line)) for line in lines]
        except ValueError as error:
            raise TraceError(f"{self._path}: {error!s:.200}") from None
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise TraceError(f"{self._path}: a row is no event: {error!r:.80}") from None


class RowReader:
    """The chosen events of a trace that is a table; as :class:`emu.trace.reader.TraceReader` has those of lines."""

    cut_off = False
    line = 0

    def __init__(self, trace: Trace, choice: Choice) -> None:
        self._trace, self._choice = trace, choice
        self.header, self.schema, self.complete = trace.header, trace.schema, trace.complete
        #: The kinds of events seen so far.
        self.kinds: set[str] = set()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        import numpy as np
        import pyarrow as pa

        decoder = Decoder(self._trace)
        for rows in self._trace.tables():
            self.kinds.update(filter(None, rows.column("event").unique().to_pylist()))
            mask = self._choice.mask(rows)
            chosen = rows if mask is None else rows.take(pa.array(np.flatnonzero(mask)))
            for at in range(0, chosen.num_rows, _AT_ONCE):
                yield from decoder.events(chosen.slice(at, _AT_ONCE))
