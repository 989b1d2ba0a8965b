"""A trace in a Parquet file, for reading.  Who writes one does without what reads any (30 ms of imports)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from emu.trace.batch import Batch
from emu.trace.columns import COLUMNS, arrow_schema, batch_of
from emu.trace.formats.parquet import HEADER, STREAM
from emu.trace.header import read_header
from emu.trace.reader import TraceError
from emu.trace.schema import FORMAT_VERSION

#: Rows that are read at a time.
_READ = 1 << 16


class ParquetFile:
    """Reads row groups, a part of one at a time."""

    def __init__(self, path: str) -> None:
        self._path = path
        with self._told():
            found = pq.read_schema(path)
            self.header, self.schema = read_header(self._header(found.metadata or {}))
        missing = [name for name in arrow_schema().names if name not in found.names]
        if missing:
            raise TraceError(f"{path}: there is no column {missing[0]}")
        with self._told():
            self._file = pq.ParquetFile(path, read_dictionary=[c.name for c in COLUMNS if c.type == "dict"])
        self.count = self._file.metadata.num_rows

    def _header(self, metadata: Mapping[bytes, bytes]) -> dict[str, Any]:
        text = metadata.get(HEADER)
        header = None if text is None else json.loads(text)
        if not isinstance(header, dict):
            other = ", but a stream of --record: unimmu tlb sim and analyze read it" if STREAM in metadata else ""
            raise TraceError(f"{self._path}: this is not a trace that `unimmu run --trace` wrote{other}")
        if header.get("version") != FORMAT_VERSION:
            found = f"{header.get('version')!r:.60}"
            raise TraceError(f"{self._path}: format version {found} is not known; this unimmu reads {FORMAT_VERSION}")
        return header

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What is wrong with the file is told in a line."""
        try:
            yield
        except (OSError, pa.ArrowException, ValueError, LookupError, RecursionError) as error:
            what = (str(error).splitlines() or [type(error).__name__])[0]
            raise TraceError(f"{self._path}: {what}") from None

    def tables(self, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        """The rows, with all columns or these."""
        schema = arrow_schema(columns)
        batches = self._file.iter_batches(_READ, columns=schema.names)
        while True:
            with self._told():
                batch = next(batches, None)
                if batch is None:
                    return
                arrays = [batch.column(field.name).cast(field.type) for field in schema]
                rows = pa.RecordBatch.from_arrays(arrays, schema=schema)
            yield rows

    def batches(self) -> Iterator[Batch]:
        """The events."""
        for table in self.tables(None):
            with self._told():
                batch = batch_of(table)
                for note in batch.notes:
                    self.schema[note.kind].decode(note.fields)
            yield batch

    def is_complete(self) -> bool:
        """Whether the last event says so."""
        last = self._file.metadata.num_row_groups - 1
        if last < 0:
            return False
        with self._told():
            events = self._file.read_row_group(last, columns=["event"]).column("event")
        return len(events) > 0 and events[-1].as_py() == "end"


def read(path: str) -> ParquetFile:
    """A trace in a Parquet file.  :class:`emu.trace.reader.TraceError` if it is none."""
    return ParquetFile(path)
