"""A trace as Parquet, each column encoded as it becomes smallest, with zstd."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from emu.trace.batch import Batch
from emu.trace.columns import COLUMNS, Tabulator, arrow_schema, join
from emu.trace.formats.sink import Sink, Write
from emu.trace.schema import Schema

#: Events that are collected before they are written: a row group.
ROWS = 1 << 18
#: The key of the file's metadata that has the header, as JSON.
HEADER = b"unimmu-trace"
#: Those that only rise; all others are best as dictionaries.
_RISING = ("seq", "clock", "time")
#: By which readers leave row groups out.
_SOUGHT = ("seq", "clock", "time", "vaddr", "pid")


class Parquet(Sink):
    """Writes row groups."""

    def __init__(self, write: Write) -> None:
        self._file = _Pieces(write)
        self._batches: list[pa.RecordBatch] = []
        self._rows = 0

    def begin(self, header: Mapping[str, Any], schema: Schema, levels: int) -> None:
        self._tabulator = Tabulator(schema, levels)
        names = [column.name for column in COLUMNS]
        self._writer = pq.ParquetWriter(
            pa.PythonFile(self._file, mode="w"),
            arrow_schema().with_metadata({HEADER: json.dumps(header).encode()}),
            compression="zstd",
            compression_level=1,
            use_dictionary=[name for name in names if name not in _RISING],
            column_encoding=dict.fromkeys(_RISING, "DELTA_BINARY_PACKED"),
            write_statistics=list(_SOUGHT),
        )

    def write(self, batch: Batch) -> None:
        self._batches.append(self._tabulator.table(batch))
        self._rows += len(batch.records)
        if self._rows >= ROWS:
            self.flush()

    def flush(self) -> None:
        if self._batches:
            self._writer.write_table(join(self._batches), ROWS * 2)
            self._batches.clear()
            self._rows = 0

    def end(self) -> None:
        self.flush()
        self._writer.close()


class _Pieces(io.RawIOBase):
    """A file that is given away in pieces."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._at = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._at += len(piece)
        self._write(piece)
        return len(piece)
