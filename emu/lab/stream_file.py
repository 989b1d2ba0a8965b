"""An access stream in a Parquet file.

Row groups come in pairs.  The first of a pair has the controls of a batch (columns ``op``, ``at``, ``a``, ``b``,
``vcpu``), the second one its accesses (all other columns, and ``vcpu``); what a row does not have is null.  An address
is its page's number and the offset in it, so that who wants the page alone reads that alone:

    vaddr = page << 12 | offset
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from emu.lab.batch import CONTROL, FIELDS, Batch, Controls, StreamError

#: The key of the file's metadata, and the version of the format.
FORMAT_KEY, FORMAT_VERSION = b"unimmu-stream", b"1"
_ACCESS_COLUMNS = {
    "page": pa.uint64(), "offset": pa.uint16(), "kind": pa.uint8(), "rip": pa.uint64(), "pid": pa.int32(),
    "space": pa.uint32(), "pcid": pa.uint16(), "shift": pa.uint8(), "vcpu": pa.uint8(),
}  # fmt: skip
_CONTROL_COLUMNS = {"op": pa.uint8(), "at": pa.uint32(), "a": pa.uint64(), "b": pa.uint64()}
SCHEMA = pa.schema([(name, kind) for name, kind in {**_ACCESS_COLUMNS, **_CONTROL_COLUMNS}.items()])
#: Those with few values that come again; the others are compressed as they are.
_DICTIONARIES = ["page", "kind", "rip", "pid", "space", "pcid", "shift", "vcpu", "op"]
_PAGE = np.uint64(0xFFF)
_SHIFT = np.uint64(12)


class StreamWriter:
    """Writes batches to a file; to be closed."""

    def __init__(self, path: str | io.RawIOBase, facts: dict[str, str] | None = None) -> None:
        """``path``: a name, or a file to write to; ``facts``: what else the file's metadata is to say."""
        said = {FORMAT_KEY: FORMAT_VERSION, **{name.encode(): text.encode() for name, text in (facts or {}).items()}}
        self._writer = pq.ParquetWriter(
            path, SCHEMA.with_metadata(said), compression="zstd", compression_level=3, use_dictionary=_DICTIONARIES,
            write_statistics=["op", "pid", "page"], data_page_size=1 << 22, dictionary_pagesize_limit=1 << 22,
        )  # fmt: skip

    def write(self, batch: Batch) -> None:
        """The next batch."""
        controls = batch.controls
        if len(controls):
            self._put({name: np.ascontiguousarray(controls[name]) for name in (*_CONTROL_COLUMNS, "vcpu")})
        if len(batch):
            columns: dict[str, npt.NDArray[Any]] = {name: getattr(batch, name) for name in FIELDS if name != "vaddr"}
            columns["page"], columns["offset"] = batch.vaddr >> _SHIFT, (batch.vaddr & _PAGE).astype(np.uint16)
            self._put(columns)

    def _put(self, columns: dict[str, npt.NDArray[Any]]) -> None:
        length = len(next(iter(columns.values())))
        arrays = [
            pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(length, field.type)
            for field in SCHEMA
        ]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA), row_group_size=length)

    def close(self) -> None:
        """Write what is left, and close the file."""
        self._writer.close()


def read(path: str, fields: Sequence[str] = tuple(FIELDS)) -> Iterator[Batch]:
    """The batches of a file.  :class:`StreamError` if it is none; see emu.lab.stream.open_stream."""
    file = _open(path)
    metadata = file.metadata
    op = SCHEMA.get_field_index("op")
    controls = np.zeros(0, CONTROL)
    for group in range(metadata.num_row_groups):
        with _told(path):
            statistics = metadata.row_group(group).column(op).statistics
            if statistics is not None and statistics.has_min_max:
                controls = _read_controls(file, group)
                continue
            batch = _read_accesses(file, group, fields, controls)
        controls = np.zeros(0, CONTROL)
        yield batch
    if len(controls):
        yield Batch.of(controls)


def facts_of(path: str) -> dict[str, str]:
    """What the file's metadata says besides."""
    known = _open(path).schema_arrow.metadata or {}
    return {name.decode(): text.decode() for name, text in known.items() if name != FORMAT_KEY}


def _open(path: str) -> pq.ParquetFile:
    with open(path, "rb"):
        pass  # pyarrow's own words for one that cannot be read are long
    with _told(path):
        file = pq.ParquetFile(path, memory_map=True)
        version = (file.schema_arrow.metadata or {}).get(FORMAT_KEY)
    if version is None:
        raise StreamError(f"{path}: this is not a stream that `unimmu run --record` wrote")
    if version != FORMAT_VERSION:
        raise StreamError(f"{path}: format version {version.decode()!r:.60} is not known; this unimmu reads 1")
    return file


@contextmanager
def _told(path: str) -> Iterator[None]:
    """What is wrong with the file is told in a line."""
    try:
        yield
    except (pa.ArrowException, ValueError, LookupError) as error:
        what = (str(error).splitlines() or [type(error).__name__])[0]
        raise StreamError(f"{path}: {what}") from None


def _column(table: pa.Table, name: str) -> npt.NDArray[Any]:
    return np.asarray(table.column(name).to_numpy())


def _read_controls(file: pq.ParquetFile, group: int) -> Controls:
    names = [*_CONTROL_COLUMNS, "vcpu"]
    table = file.read_row_group(group, columns=names, use_threads=False)
    controls = np.zeros(len(table), CONTROL)
    for name in names:
        controls[name] = _column(table, name)
    return controls


def _read_accesses(file: pq.ParquetFile, group: int, fields: Sequence[str], controls: Controls) -> Batch:
    wanted = [name for name in fields if name in _ACCESS_COLUMNS]
    if "vaddr" in fields:
        wanted += ["page", "offset"]
    if not wanted:
        wanted = ["kind"]
    table = file.read_row_group(group, columns=list(dict.fromkeys(wanted)), use_threads=False)
    columns = {name: _column(table, name) for name in wanted if name in FIELDS}
    if "page" in wanted:
        columns["vaddr"] = _column(table, "page") << _SHIFT
        if "offset" in wanted:
            columns["vaddr"] |= _column(table, "offset")
    if not columns:
        raise StreamError(f"there is none of {', '.join(fields)} in a stream")
    return Batch.of(controls, **columns)
