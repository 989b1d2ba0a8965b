"""A trace that has been recorded, opened for reading."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from importlib import import_module
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Protocol, cast

from emu.trace.batch import Batch
from emu.trace.formats.registry import BY_NAME, FORMATS, Format, UnknownFormat
from emu.trace.reader import TraceError
from emu.trace.schema import Schema

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

#: What a Parquet file begins with.
PARQUET_MAGIC = b"PAR1"


class Source(Protocol):
    """What a format's reader gives."""

    header: dict[str, Any]
    schema: Schema
    #: How many events there are, or None where that is not known before the last.
    count: int | None

    def batches(self) -> Iterator[Batch]:
        """The events, in their order."""

    def tables(self, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        """The same as rows, with all columns or these."""

    def is_complete(self) -> bool:
        """Whether the run was recorded to its end."""


class Trace:
    """The events of a file.

    ``header`` says what was run on what machine (docs/tracing.md), ``schema`` has the rows of its kinds of events.
    Nothing of the file is kept: each method reads it anew.
    """

    def __init__(self, path: str | PathLike[str], format: str | None = None) -> None:
        self.path = fspath(path)
        self.format = _format_of(self.path, format)
        self._source = self._open()
        self.header, self.schema = self._source.header, self._source.schema

    def _open(self) -> Source:
        module, _, name = self.format.reader.partition(":")
        return cast(Source, getattr(import_module(f"emu.trace.formats.{module}"), name)(self.path))

    @property
    def levels(self) -> int:
        """Of the machine's page tables."""
        return int(self.header.get("levels", 4))

    @property
    def count(self) -> int | None:
        """How many events there are; None where the file does not say."""
        return self._source.count

    @property
    def complete(self) -> bool:
        """Whether the run was recorded to its end."""
        return self._source.is_complete()

    def batches(self) -> Iterator[Batch]:
        """The events in their order, many at a time."""
        return self._open().batches()

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The events as rows (:data:`emu.trace.columns.COLUMNS`), many at a time, with all columns or these."""
        return self._open().tables(columns)

    def reader(self, columns: Sequence[str] | None = None) -> pa.RecordBatchReader:
        """The rows for whoever takes an Arrow stream: ``duckdb.from_arrow(trace.reader())``."""
        import pyarrow as pa

        from emu.trace.columns import arrow_schema

        return pa.RecordBatchReader.from_batches(arrow_schema(columns), self.tables(columns))

    def arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows as an Arrow table."""
        return self.reader(columns).read_all()

    def pandas(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """All rows for pandas, with Arrow's types: null is not NaN, and addresses stay whole numbers."""
        import pandas as pd

        return self.arrow(columns).to_pandas(types_mapper=pd.ArrowDtype)

    def polars(self) -> pl.LazyFrame:
        """The rows for Polars: of a Parquet file it reads what a query needs."""
        import polars as pl

        if self.format.name == "parquet":
            return pl.scan_parquet(self.path)
        return cast("pl.DataFrame", pl.from_arrow(self.arrow())).lazy()


def _format_of(path: str, name: str | None) -> Format:
    if name is not None:
        form = BY_NAME.get(name)
        if form is None or not form.reader:
            can = ", ".join(form.name for form in FORMATS if form.reader)
            raise UnknownFormat(f"a trace can be read as {can}, not as {name!r}")
        return form
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind):
            raise TraceError(
                f"{path}: this is a pipe, and a trace is read several times; `unimmu trace view -` reads one"
            )
        with open(path, "rb") as file:
            begins = file.read(4)
    except (OSError, ValueError) as error:
        raise TraceError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    return BY_NAME["parquet" if begins == PARQUET_MAGIC else "jsonl"]
