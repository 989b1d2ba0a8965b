"""An access stream in a Parquet file.

Row groups come in pairs.  The first of a pair has the controls of a batch: columns ``op``, ``at``, ``vcpu``, ``a`` and
``b``.  The first of these, with ``op`` 255, are no controls but the pages of the batch in rising order: ``a`` is by how
much the page's number is above that of the one before.  The second row group has the accesses, in all other columns,
and in ``vcpu``; the address of an access is

    vaddr = number of the batch's page ``page`` << 12 | ``offset``

and ``access`` is its kind, and of its page's size one of the bits 2 (4K), 3 (2M) and 4 (1G), or none.  What a row does
not have is 0 or null.  So who simulates reads three bytes an access, of which hardly any are in the file.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from emu.lab.batch import CONTROL, FIELDS, Batch, Controls, StreamError
from emu.lab.foreign.pieces import first_line
from emu.lab.soundness import MOST_ROWS, check_batch, check_facts
from emu.trace.arrow import arrow_of, numbers_of
from emu.trace.formats.parquet import STREAM

#: The key of the file's metadata, and the version of the format.
FORMAT_KEY, FORMAT_VERSION = STREAM, b"1"
_COLUMNS = {
    "page": pa.uint16(), "offset": pa.uint16(), "access": pa.uint8(), "rip": pa.uint64(), "pid": pa.int32(),
    "space": pa.uint32(), "pcid": pa.uint16(), "vcpu": pa.uint8(), "op": pa.uint8(), "at": pa.uint32(),
    "a": pa.uint64(), "b": pa.uint64(),
}  # fmt: skip
_CONTROL_COLUMNS = ("op", "at", "a", "b", "vcpu")
#: Those that accesses do not have are null there, which costs nothing; zeros would have to be compressed.
_NULL = ("at", "a", "b")
SCHEMA = pa.schema([pa.field(name, kind, nullable=name in _NULL) for name, kind in _COLUMNS.items()])
#: Those with few values that come again; and those whose bytes are compressed apart, as the upper ones hardly change.
_DICTIONARIES = ["rip", "pid", "space", "pcid", "vcpu", "op"]
_IN_BYTES = ["page", "offset", "access", "at"]
#: Those that a simulation reads are to be read fast.
_COMPRESSION = {name: "lz4" if name in ("page", "access") else "zstd" for name in _COLUMNS}
#: The op of a page, and how many pages a batch may have.
_PAGE, _MOST_PAGES = 255, 1 << 16
_SHIFT, _OFFSET = np.uint64(12), np.uint64(0xFFF)
#: By ``access`` >> 2: log2 of the page's size.
_SHIFTS = np.zeros(64, np.uint8)
_SHIFTS[[1, 2, 4]] = 12, 21, 30
#: By log2 of the page's size: the bit of ``access``.
_SIZES = np.zeros(256, np.uint8)
_SIZES[[12, 21, 30]] = 1 << 2, 1 << 3, 1 << 4
_KNOWN = _SIZES != 0
_KNOWN[0] = True
_MOST_KIND = 2


@dataclass(frozen=True, eq=False)
class PageBatch:
    """As much of a batch as a simulation looks at: accesses by the page, whose first address is in a table."""

    pages: npt.NDArray[np.uint64]
    page: npt.NDArray[np.uint16]  # index in pages
    access: npt.NDArray[np.uint8]
    controls: Controls

    def __len__(self) -> int:
        return len(self.page)

    def part(self, begin: int, end: int) -> PageBatch:
        """As :meth:`emu.lab.batch.Batch.part`."""
        at = self.controls["at"]
        controls = self.controls[(at >= begin) & ((at < end) | (end == len(self)))].copy()
        controls["at"] -= begin
        return PageBatch(self.pages, self.page[begin:end], self.access[begin:end], controls)


# -- writing -----------------------------------------------------------------------------------------------------------


class StreamWriter:
    """Writes batches to a file; to be closed."""

    def __init__(self, path: str | io.RawIOBase, facts: dict[str, str] | None = None) -> None:
        """``path``: a name, or a file to write to; ``facts``: what else the file's metadata is to say."""
        said = {FORMAT_KEY: FORMAT_VERSION, **{name.encode(): text.encode() for name, text in (facts or {}).items()}}
        self._writer = pq.ParquetWriter(
            path, SCHEMA.with_metadata(said), compression=_COMPRESSION,
            use_dictionary=_DICTIONARIES, column_encoding=dict.fromkeys(_IN_BYTES, "BYTE_STREAM_SPLIT"),
            write_statistics=["op"], data_page_size=1 << 23, dictionary_pagesize_limit=1 << 22,
        )  # fmt: skip

    def write(self, batch: Batch) -> None:
        """The next batch.  ValueError for a kind of access or a size of a page that there is not."""
        if len(batch) and (batch.kind.max() > _MOST_KIND or not _KNOWN[batch.shift].all()):
            raise ValueError("an access is of kind 0, 1 or 2, and of a page of 2**12, 2**21 or 2**30 bytes, or 0")
        pages, page = _indexed(batch.vaddr >> _SHIFT)
        if len(batch.controls) > MOST_ROWS - _MOST_PAGES:
            raise ValueError(f"a batch has no more than {MOST_ROWS - _MOST_PAGES} controls")
        if len(pages) > _MOST_PAGES or len(batch) > MOST_ROWS:
            middle = len(batch) // 2
            self.write(batch.part(0, middle))
            self.write(batch.part(middle, len(batch)))
            return
        controls = np.zeros(len(pages) + len(batch.controls), CONTROL)
        controls["op"], controls["a"][: len(pages)] = _PAGE, np.diff(pages, prepend=np.uint64(0))
        controls[len(pages) :] = batch.controls
        if len(controls):
            self._put({name: np.ascontiguousarray(controls[name]) for name in _CONTROL_COLUMNS})
        if len(batch):
            columns: dict[str, npt.NDArray[Any]] = {name: getattr(batch, name) for name in FIELDS if name in _COLUMNS}
            columns["page"], columns["offset"] = page.astype(np.uint16), (batch.vaddr & _OFFSET).astype(np.uint16)
            columns["access"] = batch.kind | _SIZES[batch.shift]
            self._put(columns)

    def _put(self, columns: dict[str, npt.NDArray[Any]]) -> None:
        length = len(next(iter(columns.values())))
        arrays = [_array(columns, field, length) for field in SCHEMA]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA), row_group_size=length)

    def close(self, facts: dict[str, str] | None = None) -> None:
        """Write what is left, and close the file; ``facts``: what is known now that its metadata is to say."""
        if facts:
            self._writer.add_key_value_metadata(facts)
        self._writer.close()


def _array(columns: dict[str, npt.NDArray[Any]], field: pa.Field, length: int) -> pa.Array:
    """A column, or zeros or nulls in its place."""
    if field.name in columns:
        return arrow_of(columns[field.name], field.type)
    return pa.nulls(length, field.type) if field.nullable else arrow_of(np.zeros(length, np.uint8), field.type)


def _indexed(numbers: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.intp]]:
    """The different numbers in rising order, and the index of each there."""
    found = arrow_of(numbers, pa.uint64()).dictionary_encode()
    values, index = numbers_of(found.dictionary), numbers_of(found.indices)
    order = np.argsort(values)
    rank = np.empty(len(order), np.intp)
    rank[order] = np.arange(len(order))
    return values[order], rank[index]


# -- reading -----------------------------------------------------------------------------------------------------------


def read(path: str, fields: Sequence[str] = tuple(FIELDS)) -> Iterator[Batch]:
    """The batches of a file.  :class:`StreamError` if it is none; see emu.lab.stream.open_stream."""
    wanted = [name for name in fields if name in _COLUMNS]
    if not {"kind", "shift"}.isdisjoint(fields):
        wanted.append("access")
    if "vaddr" in fields:
        wanted += ["page", "offset"]
    for pages, controls, columns in _groups(path, list(dict.fromkeys(wanted)) or ["access"]):
        if "page" in columns:
            columns["vaddr"] = pages[columns.pop("page")]
        if "offset" in columns:
            columns["vaddr"] |= columns.pop("offset")
        if "access" in columns:
            access = columns.pop("access")
            columns["kind"], columns["shift"] = access & np.uint8(3), _SHIFTS[access >> np.uint8(2)]
        yield Batch.of(controls, **columns)


def read_pages(path: str) -> Iterator[PageBatch]:
    """The batches of a file as a simulation wants them."""
    for pages, controls, columns in _groups(path, ["page", "access"]):
        empty = np.zeros(0, np.uint16)
        yield PageBatch(pages, columns.get("page", empty), columns.get("access", empty.astype(np.uint8)), controls)


def facts_of(path: str) -> dict[str, str]:
    """What the file's metadata says besides."""
    file = _open(path)
    with _told(path):
        known = {**(file.metadata.metadata or {}), **(file.schema_arrow.metadata or {})}
        known.pop(b"ARROW:schema", None)
        facts = {name.decode(): text.decode() for name, text in known.items() if name != FORMAT_KEY}
        check_facts(facts)
    return facts


def is_recorded(path: str) -> bool:
    """Whether a Parquet file is a stream that was recorded."""
    with _told(path):
        return FORMAT_KEY in (pq.read_schema(path).metadata or {})


def _open(path: str) -> pq.ParquetFile:
    with open(path, "rb"):
        pass  # pyarrow's own words for one that cannot be read are long
    with _told(path):
        file = pq.ParquetFile(path, memory_map=True)
        version = (file.schema_arrow.metadata or {}).get(FORMAT_KEY)
    if version is None:
        raise StreamError(f"{path}: this is not a stream that `unimmu run --record` wrote")
    if version != FORMAT_VERSION:
        known = version.decode(errors="replace")
        raise StreamError(f"{path}: format version {known!r:.60} is not known; this unimmu reads 1")
    if not file.schema_arrow.equals(SCHEMA):
        raise StreamError(f"{path}: its columns are not those of a stream that was recorded")
    return file


@contextmanager
def _told(path: str) -> Iterator[None]:
    """What is wrong with the file is told in a line."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, LookupError) as error:
        raise StreamError(f"{path}: {first_line(error)}") from None


Columns = dict[str, npt.NDArray[Any]]


def _groups(path: str, wanted: Sequence[str]) -> Iterator[tuple[npt.NDArray[np.uint64], Controls, Columns]]:
    """The batches: the first addresses of the pages, the controls, and columns of the accesses."""
    file = _open(path)
    op = SCHEMA.get_field_index("op")
    nothing = np.zeros(0, np.uint64), np.zeros(0, CONTROL)
    pages, controls = nothing
    for group in range(file.metadata.num_row_groups):
        with _told(path):
            if (rows := file.metadata.row_group(group).num_rows) > MOST_ROWS:
                raise StreamError(f"row group {group} has {rows} rows; no more than {MOST_ROWS} are written")
            statistics = file.metadata.row_group(group).column(op).statistics
            if statistics is None or not statistics.has_min_max:
                raise StreamError(f"row group {group} does not say what it has")
            if statistics.max:
                if len(controls):
                    raise StreamError(f"row groups {group - 1} and {group} are both of controls")
                pages, controls = _controls(_table(file, group, _CONTROL_COLUMNS))
                continue
            columns = _table(file, group, wanted)
            check_batch(pages, controls, columns, rows)
        yield pages, controls, columns
        pages, controls = nothing
    if len(controls):
        with _told(path):
            check_batch(pages, controls, {}, 0)
        yield pages, controls, {}


def _table(file: pq.ParquetFile, group: int, names: Sequence[str]) -> Columns:
    table = file.read_row_group(group, columns=list(names), use_threads=False)
    return {name: numbers_of(table.column(name)) for name in names}


def _controls(columns: Columns) -> tuple[npt.NDArray[np.uint64], Controls]:
    number = int(np.count_nonzero(columns["op"] == _PAGE))
    controls = np.zeros(len(columns["op"]) - number, CONTROL)
    for name in _CONTROL_COLUMNS:
        controls[name] = columns[name][number:]
    return np.cumsum(columns["a"][:number]) << _SHIFT, controls
