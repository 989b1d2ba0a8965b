"""Traces: recorded, written in formats, read, shown."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu.trace.opened import Trace


def open(path: str | PathLike[str], format: str | None = None) -> Trace:
    """The trace in a file, whose events come as they are asked for: as Arrow tables, for pandas, Polars and DuckDB, as
    batches or one by one.

    ``format`` is the name of a format; without it the file says by its first bytes what it is.
    :class:`emu.trace.reader.TraceError` if it is no trace.

    >>> import emu.trace
    >>> trace = emu.trace.open("t.parquet")
    >>> trace.header["command"]
    ['/bin/hello']
    """
    from emu.trace.opened import Trace

    return Trace(path, format)
