"""A trace as CSV: the table of Parquet, with addresses and entries in hexadecimal.

As numbers they would be lost: DuckDB makes HUGEINT of a column with an address of the upper half, pyarrow float64.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.csv

from emu.trace.batch import Batch
from emu.trace.columns import COLUMNS, Column
from emu.trace.formats.sink import Sink, Write
from emu.trace.schema import Schema
from emu.trace.tabulator import Tabulator, strings

_HEXADECIMAL = ("virtual address", "physical address", "page-table entry")


class Csv(Sink):
    """Writes a line of names, and a line for each event."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._first = True

    def begin(self, header: Mapping[str, Any], schema: Schema, levels: int) -> None:
        self._tabulator = Tabulator(levels)

    def write(self, batch: Batch) -> None:
        rows = self._tabulator.table(batch)
        arrays = [_as_text(column, rows.column(column.name)) for column in COLUMNS]
        table = pa.RecordBatch.from_arrays(arrays, names=[column.name for column in COLUMNS])
        piece = io.BytesIO()
        pa.csv.write_csv(table, piece, pa.csv.WriteOptions(include_header=self._first, quoting_style="needed"))
        self._first = False
        self._write(piece.getvalue())

    def end(self) -> None:
        if self._first:
            self._write(f"{','.join(column.name for column in COLUMNS)}\n".encode())


def _as_text(column: Column, values: pa.Array) -> pa.Array:
    if column.type == "dict":
        return values.cast(pa.string())
    if column.unit not in _HEXADECIMAL:
        return values
    few = values.dictionary_encode()
    texts = strings([f"{value:#x}" for value in few.dictionary.to_pylist()])
    return texts.take(few.indices)
