"""A trace as one table: a row an event, a column a field, for Parquet, Arrow, pandas, Polars and DuckDB.

A column that an event does not have is null there.  Addresses and entries are uint64.  What the kernel tells of has its
most asked fields as columns, and all of its fields in ``detail``, as JSON.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from emu.trace.batch import MAX_ERRNO, Batch, KernelKind, Note, error_name
from emu.trace.resolution import RESOLUTIONS
from emu.trace.schema import Schema
from emu.trace.transpose import Field
from mmu.event_table import EVENT_COLUMNS, Events
from mmu.events import EventKind
from mmu.objectcode import load
from mmu.registers import Access

_K = EventKind
_ALL = frozenset({*EventKind, *KernelKind})
_NAMES: dict[str, tuple[str, ...]] = {
    "access": tuple(access.name.lower() for access in Access),
    "rights": tuple("".join(c if n >> i & 1 else "-" for i, c in enumerate("rwx")) for n in range(8)),
    "resolved": RESOLUTIONS,
}
_LEVELS = {"pte": 1, "pmd": 2, "pud": 3}
_ENTRIES = tuple(f"entry_{level}" for level in range(1, 6))
#: By the level of the entry.
_PAGE_SIZES = np.array([0, 1 << 12, 1 << 21, 1 << 30, 0, 0], np.uint32)


#: An array of truth values.
Mask = Any


class Columnar(Protocol):
    """The records, column by column."""

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """The column of a field of the record."""


#: Of the records, with the column's values: which have it.
Only = Callable[[Columnar, npt.NDArray[Any]], Mask]


@dataclass(frozen=True)
class Column:
    """A column: its Arrow type (``dict`` for text of a few values), what it says, and the kinds of the MMU's events
    that have it.

    ``of`` are the record's field and what is done with it; ``note`` gives the value of an event of the kernel from its
    fields as JSON has them, or None.
    """

    name: str
    type: str
    meaning: str
    unit: str = ""
    kinds: frozenset[IntEnum] = frozenset()
    of: str = ""
    #: Of the rows of these kinds, those that have it.
    only: Only | None = None
    note: Callable[[str, dict[str, Any]], Any] | None = None

    @property
    def arrow(self) -> pa.DataType:
        """The type that Arrow has for it."""
        return pa.dictionary(pa.int16(), pa.string()) if self.type == "dict" else getattr(pa, self.type)()


def _plain(name: str) -> Callable[[str, dict[str, Any]], Any]:
    return lambda kind, fields: fields.get(name)


def _hexed(name: str) -> Callable[[str, dict[str, Any]], Any]:
    def value(kind: str, fields: dict[str, Any]) -> int | None:
        text = fields.get(name)
        return int(text, 16) if isinstance(text, str) and text.startswith("0x") else None

    return value


def _signed(kind: str, fields: dict[str, Any]) -> int | None:
    if kind != "syscall_exit" or "result" not in fields:
        return None
    value = int(fields["result"], 16)
    return value - (1 << 64) if value >> 63 else value


def _of(*kinds: str) -> Callable[[str], Callable[[str, dict[str, Any]], Any]]:
    return lambda field: lambda kind, fields: fields.get(field) if kind in kinds else None


def _shared_level(kind: str, fields: dict[str, Any]) -> int | None:
    return _LEVELS.get(fields.get("level", "")) if kind in ("link", "unlink") else None


def _other_tid(kind: str, fields: dict[str, Any]) -> int | None:
    return fields.get("child", fields.get("previous"))


def _mapped(rows: Columnar, values: npt.NDArray[Any]) -> Mask:
    return (rows["kind"] != _K.WALK) | (rows["rights"] != 0)


def _with_place(rows: Columnar, values: npt.NDArray[Any]) -> Mask:
    kind = rows["kind"]
    return ((kind != _K.WALK) | (rows["rights"] != 0)) & ((kind != _K.ACCESS) | (rows["level"] != 0))


def _failed(rows: Columnar, values: npt.NDArray[Any]) -> Mask:
    return (rows["kind"] != _K.WALK) | (rows["rights"] == 0)


def _not_zero(rows: Columnar, values: npt.NDArray[Any]) -> Mask:
    return values != 0


def _was_read(name: str, level: int) -> Only:
    """Every entry that was read is present, but for the last."""
    return lambda rows, values: (values != 0) | (rows["level"] == level)


def _ranged(rows: Columnar, values: npt.NDArray[Any]) -> Mask:
    return (rows["kind"] != _K.FLUSH) | (rows["length"] != 0)


_WALKED = frozenset({_K.WALK, _K.FILL})
_EXIT = frozenset({KernelKind.SYSCALL_EXIT})
_BOTH = _EXIT | {KernelKind.SYSCALL_ENTER}
_AT = frozenset({_K.WALK, _K.FILL, _K.FAULT, _K.ACCESSED_DIRTY, _K.ACCESS})
COLUMNS = (
    Column("seq", "uint64", "the number of the event", kinds=_ALL, of="seq"),
    Column("clock", "uint64", "what all processes have retired", "instructions", _ALL, "clock"),
    Column("time", "uint64", "the machine's time", "ns", _ALL, "time"),
    Column("cpu", "uint16", "the vCPU", kinds=_ALL, of="cpu"),
    Column("pid", "uint32", "the process", kinds=_ALL, of="asid", only=_not_zero),
    Column("tid", "uint32", "the thread", kinds=_ALL, of="tid", only=_not_zero),
    Column("rip", "uint64", "the instruction that runs; in a system call the next", "virtual address", _ALL, "rip"),
    Column("event", "dict", "the kind of the event", kinds=_ALL, of="kind"),
    Column("access", "dict", "read, write or fetch", kinds=_AT, of="access"),
    Column(
        "vaddr", "uint64", "the address that is accessed, or where the range begins", "virtual address",
        _AT | {_K.FLUSH}, "vaddr", _ranged, _hexed("vaddr"),
    ),
    Column(
        "paddr", "uint64", "what it is translated to", "physical address", _WALKED | {_K.ACCESS}, "paddr", _with_place,
    ),
    Column("size", "uint16", "of the access", "bytes", frozenset({_K.ACCESS}), "size", _not_zero),
    Column("page_size", "uint32", "of the page that maps it", "bytes", _WALKED, "page_size", _mapped),
    Column(
        "level", "uint8", "of the last entry that was read or changed: 1 is a PTE",
        kinds=frozenset({_K.WALK, _K.FILL, _K.FAULT, _K.ACCESSED_DIRTY}), of="level",
    ),
    Column(
        "cached_level", "uint8", "of the entry that a paging-structure cache had, behind which the walk began",
        kinds=frozenset({_K.WALK}), of="cached_level", only=_not_zero,
    ),
    Column(
        "tlb_level", "uint8", "the TLB that answered; null: a walk follows", kinds=frozenset({_K.ACCESS}), of="level",
        only=_not_zero,
    ),
    Column("rights", "dict", "what the TLB may allow", kinds=_WALKED, of="rights", only=_mapped),
    Column("cpl", "uint8", "the current privilege level", kinds=frozenset({_K.WALK}), of="cpl"),
    Column("cr3", "uint64", "the register", "physical address", frozenset({_K.WALK}), "cr3"),
    *(
        Column(
            name, "uint64", f"what was read at level {name[-1]}, 1 being the PTE", "page-table entry",
            frozenset({_K.WALK}), name, _was_read(name, int(name[-1])),
        )
        for name in _ENTRIES
    ),
    Column(
        "shared_level", "uint8", "of the highest shared table that was read, or of the one that is linked",
        kinds=frozenset({_K.WALK}), of="shared_level", only=_not_zero, note=_shared_level,
    ),
    Column(
        "first_pid", "uint32", "the process that had this page put into the shared table", kinds=frozenset({_K.WALK}),
        of="first_pid", only=_not_zero,
    ),
    Column(
        "error_code", "uint16", "the error code that the processor pushes", "bits", frozenset({_K.WALK, _K.FAULT}),
        "error_code", _failed,
    ),
    Column("resolved", "dict", "how the fault was resolved", kinds=frozenset({_K.FAULT}), of="resolved"),
    Column(
        "entry_paddr", "uint64", "where the entry is that was changed", "physical address",
        frozenset({_K.ACCESSED_DIRTY}), "paddr", note=_hexed("entry_paddr"),
    ),
    Column(
        "before", "uint64", "the entry, or CR3, before", "page-table entry",
        frozenset({_K.ACCESSED_DIRTY, _K.CR3_LOAD}), "old", note=_hexed("before"),
    ),
    Column(
        "after", "uint64", "and after", "page-table entry", frozenset({_K.ACCESSED_DIRTY, _K.CR3_LOAD}), "new",
        note=_hexed("after"),
    ),
    Column("length", "uint64", "of the range; 0 is everything", "bytes", frozenset({_K.FLUSH}), "length",
           note=_plain("length")),
    Column("call", "dict", "the system call", kinds=_BOTH, note=_of("syscall_enter", "syscall_exit")("name")),
    Column("result", "int64", "what the call returns", kinds=_EXIT, note=_signed),
    Column("errno", "dict", "the name of its error", kinds=_EXIT, note=_plain("errno")),
    Column("signal", "dict", "the name of the signal", note=_plain("signal")),
    Column(
        "other_tid", "uint32", "the process or thread that is made, or that ran before a switch",
        kinds=frozenset({KernelKind.SWITCH}), of="error_code", only=_not_zero, note=_other_tid,
    ),
    Column("status", "int32", "the exit status", note=_of("exit")("status")),
    Column("region", "dict", "whose shared table it is", note=_plain("region")),
    Column("sharers", "uint32", "address spaces that have a window then", note=_plain("sharers")),
    Column("receivers", "uint16", "how many vCPUs a shootdown tells", "vCPUs",
           note=lambda kind, fields: len(fields["receivers"]) if kind == "shootdown" else None),
    Column("cost_cycles", "uint64", "what a shootdown costs all vCPUs", "cycles", note=_plain("cost_cycles")),
    Column("detail", "string", "the fields of an event of the kernel, as JSON"),
)  # fmt: skip
BY_NAME = {column.name: column for column in COLUMNS}
_OF_NOTES = tuple(column for column in COLUMNS if column.note is not None)


def arrow_schema(names: Sequence[str] | None = None) -> pa.Schema:
    """The table's columns, or these of them, as Arrow has them.  KeyError if one is none."""
    columns = COLUMNS if names is None else [BY_NAME[name] for name in names]
    return pa.schema([pa.field(column.name, column.arrow) for column in columns])


@cache
def _has(kinds: frozenset[IntEnum]) -> npt.NDArray[np.bool_]:
    """By the number of a kind: whether it is one of these."""
    table = np.zeros(256, bool)
    table[[int(kind) for kind in kinds]] = True
    return table


class Tabulator:
    """Makes tables of batches; every one has the same kinds of events."""

    def __init__(self, schema: Schema, levels: int) -> None:
        self._schema = arrow_schema()
        self._levels = levels
        self._names = [kind.name.lower() for kind in EventKind if kind != EventKind.NOTE]
        self._names += [name for name in schema.kinds if name not in self._names]
        self._number_of = {name: number for number, name in enumerate(self._names)}
        #: By the number of a kind.
        self._fixed = np.zeros(256, np.int16)
        for kind in (*EventKind, *KernelKind):
            self._fixed[kind] = self._number_of.get(kind.name.lower(), 0)
        self._dictionaries = {name: strings(texts) for name, texts in _NAMES.items()}
        self._dictionaries["event"] = strings(self._names)

    def table(self, batch: Batch) -> pa.RecordBatch:
        """The events of a batch as rows."""
        rows = _Rows(batch)
        return pa.RecordBatch.from_arrays([self._array(column, rows) for column in COLUMNS], schema=self._schema)

    def _array(self, column: Column, rows: _Rows) -> pa.Array:
        if column.name == "event":
            numbers = self._fixed[rows["kind"]]
            numbers[rows.noted] = [self._number_of[note.kind] for note in rows.notes]
            return self._made(column, numbers, None)
        if column.name == "detail":
            return _texts(rows.count, *_details(rows))
        some = _of_notes(column, rows)
        if not rows.present & column.kinds:
            return self._sparse(column, rows.count, some) if some else pa.nulls(rows.count, column.arrow)
        if column.name in _OF_CALLS:
            return self._sparse(column, rows.count, [*_OF_CALLS[column.name](rows), *some])
        values = self._values(column, rows)
        valid = None if rows.present <= column.kinds else _has(column.kinds)[rows["kind"]]
        if column.only is not None:
            only = column.only(rows, values)
            valid = only if valid is None else valid & only
        if some:
            valid = np.ones(rows.count, bool) if valid is None else valid
            for at, value in some:
                values[at], valid[at] = value, True
        return self._made(column, values, valid)

    def _sparse(self, column: Column, count: int, some: Sequence[tuple[int, Any]]) -> pa.Array:
        """A column that has these values, by row, and no others."""
        if not some:
            return pa.nulls(count, column.arrow)
        valid = np.zeros(count, bool)
        values = np.zeros(count, np.int16 if column.type == "dict" else column.type)
        places, given = map(list, zip(*some, strict=True))
        valid[places] = True
        if column.type != "dict":
            values[places] = given
            return self._made(column, values, valid)
        names = {name: number for number, name in enumerate(dict.fromkeys(given))}
        values[places] = [names[name] for name in given]
        return self._made(column, values, valid, strings(list(names)))

    def _values(self, column: Column, rows: _Rows) -> Any:
        if column.of == "page_size":
            return _PAGE_SIZES[rows["level"]]
        if column.of == "cached_level":
            return self._cached_level(rows)
        values = rows[column.of]
        wanted = np.dtype(np.int16 if column.type == "dict" else column.type)
        return values.astype(wanted) if values.dtype != wanted or column.note is not None else values

    def _cached_level(self, rows: _Rows) -> npt.NDArray[np.uint8]:
        """The level above the first that was read; every entry before the last is present, so not 0."""
        first = rows["level"].copy()
        for level in range(2, self._levels + 1):
            np.copyto(first, level, where=rows[f"entry_{level}"] != 0)
        return np.where(first < self._levels, first + 1, 0).astype(np.uint8)

    def _made(
        self, column: Column, values: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None, names: Any = None
    ) -> pa.Array:
        """An array of these very values."""
        type_ = pa.int16() if column.type == "dict" else column.arrow
        made = pa.Array.from_buffers(type_, len(values), [_bits(valid), pa.py_buffer(values)])
        if column.type != "dict":
            return made
        return pa.DictionaryArray.from_arrays(
            made, self._dictionaries[column.name] if names is None else names, safe=False
        )


def _bits(valid: npt.NDArray[np.bool_] | None) -> Any:
    return None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))


def strings(texts: Sequence[str]) -> pa.Array:
    """``pa.array(texts)``, which imports pandas where it is installed: 0.3 s."""
    return _texts(len(texts), np.arange(len(texts)), texts)


def _texts(count: int, places: npt.NDArray[np.intp], texts: Sequence[str]) -> pa.Array:
    """A column that has these texts, by row, and no others."""
    if not texts:
        return pa.nulls(count, pa.string())
    encoded = [text.encode() for text in texts]
    ends = np.zeros(count + 1, np.int32)
    ends[places + 1] = [*map(len, encoded)]
    valid = np.zeros(count, bool)
    valid[places] = True
    offsets = np.cumsum(ends, dtype=np.int32)
    return pa.Array.from_buffers(
        pa.string(), count, [_bits(valid), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    )


#: Kinds whose fields are all columns.
_WHOLE = ("switch", "syscall_exit")


def _details(rows: _Rows) -> tuple[npt.NDArray[np.intp], list[str]]:
    """The texts of the column ``detail``, and where they are: what records say is in other columns, but for the
    arguments of calls."""
    places = np.flatnonzero((rows["kind"] == EventKind.NOTE) | (rows["kind"] == KernelKind.SYSCALL_ENTER))
    events = [*zip(places.tolist(), rows.batch.kernel_events(places), strict=True)]
    told = [(at, note.detail) for at, note in events if note.kind not in _WHOLE]
    return np.array([at for at, _ in told], np.intp), [text for _, text in told]


def _of_notes(column: Column, rows: _Rows) -> list[tuple[int, Any]]:
    if column.note is None:
        return []
    values = ((at, column.note(note.kind, note.fields)) for at, note in zip(rows.noted, rows.notes, strict=True))
    return [(at, value) for at, value in values if value is not None]


def _calls(rows: _Rows) -> list[tuple[int, str]]:
    """The name of each system call, at both its events."""
    chosen = np.flatnonzero(_has(_BOTH)[rows["kind"]])
    return [*zip(chosen.tolist(), map(rows.calls.__getitem__, rows["error_code"][chosen].tolist()), strict=True)]


def _exits(rows: _Rows) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]]:
    chosen = np.flatnonzero(rows["kind"] == KernelKind.SYSCALL_EXIT)
    return chosen, rows["new"][chosen].astype(np.int64)


def _results(rows: _Rows) -> list[tuple[int, int]]:
    chosen, results = _exits(rows)
    well = (results >= 0) | (results < -MAX_ERRNO)
    return [*zip(chosen[well].tolist(), results[well].tolist(), strict=True)]


def _errors(rows: _Rows) -> list[tuple[int, str]]:
    chosen, results = _exits(rows)
    failed = (results < 0) & (results >= -MAX_ERRNO)
    return [*zip(chosen[failed].tolist(), (error_name(-result) for result in results[failed].tolist()), strict=True)]


#: Columns of system calls, whose events are records.
_OF_CALLS: dict[str, Callable[[_Rows], list[Any]]] = {"call": _calls, "result": _results, "errno": _errors}


class _Rows:
    """The records of a batch, column by column."""

    def __init__(self, batch: Batch) -> None:
        records = batch.records
        if not records.flags.c_contiguous:
            records = np.ascontiguousarray(records)
        self.count = len(records)
        self._columns = _transposed(records)
        kinds = np.flatnonzero(np.bincount(self["kind"], minlength=1))
        self.present = frozenset(kinds.tolist())
        self.batch = batch
        self.notes = batch.notes
        self.noted = np.flatnonzero(self["kind"] == EventKind.NOTE).tolist()
        self.calls = batch.calls

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self._columns[name]


def _transposed(records: Events) -> dict[str, npt.NDArray[Any]]:
    names = [name for name in EVENT_COLUMNS.names or () if name != "reserved"]
    columns = {name: np.empty(len(records), EVENT_COLUMNS[name]) for name in names}
    wanted = (Field * len(columns))()
    for field, (name, column) in zip(wanted, columns.items(), strict=True):
        offset: int = EVENT_COLUMNS.fields[name][1]  # type: ignore[index]
        field.offset, field.size, field.column = offset, column.itemsize, column.ctypes.data
    transpose = load("emu.trace.transpose")["transpose"].call
    transpose(records.ctypes.data, len(records), records.itemsize, ctypes.addressof(wanted), len(columns))
    return columns


# -- back --------------------------------------------------------------------------------------------------------------


def batch_of(rows: pa.RecordBatch | pa.Table) -> Batch:
    """The batch of which these rows were made."""
    numbers = {kind.name.lower(): int(kind) for kind in EventKind if kind != EventKind.NOTE}
    names = rows.column("event").to_numpy(zero_copy_only=False)
    kinds = np.array([numbers.get(name, int(EventKind.NOTE)) for name in names], np.uint8)
    records = np.zeros(len(kinds), EVENT_COLUMNS)
    records["kind"] = kinds
    for column in COLUMNS:
        here = _has(column.kinds)[kinds] if column.of else None
        if here is None or column.of in ("kind", "page_size", "cached_level") or not here.any():
            continue
        values = _numbers(column, rows.column(column.name))
        np.copyto(records[column.of], values.astype(records[column.of].dtype), where=here)
    return Batch(records, _notes(rows, names, np.flatnonzero(kinds == EventKind.NOTE)))


def _notes(rows: pa.RecordBatch | pa.Table, names: npt.NDArray[Any], places: npt.NDArray[np.intp]) -> list[Note]:
    chosen = rows.select(["detail", "call", "result", "errno", "other_tid"]).take(pa.array(places)).to_pylist()
    notes = []
    for name, row in zip(names[places].tolist(), chosen, strict=True):
        if name == "switch":
            fields: dict[str, Any] = {"previous": row["other_tid"]}
        elif name == "syscall_exit":
            fields = {"name": row["call"]}
            if row["errno"] is None:
                fields["result"] = f"{row['result'] & (1 << 64) - 1:#x}"
            else:
                fields["errno"] = row["errno"]
        else:
            fields = json.loads(row["detail"])
        notes.append(Note(name, fields))
    return notes


def _numbers(column: Column, values: Any) -> npt.NDArray[Any]:
    """A column's values as the record has them, 0 for null."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if column.type != "dict":
        return np.asarray(values.fill_null(0))
    names = {name: number for number, name in enumerate(_NAMES[column.name])}
    if isinstance(values, pa.DictionaryArray):
        table = np.array([names[name] for name in values.dictionary.to_pylist()] or [0])
        return np.asarray(table[np.asarray(values.indices.fill_null(0))])
    return np.array([names.get(name, 0) for name in values.to_pylist()])


def join(batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """Rows one after the other."""
    return pa.Table.from_batches(batches, arrow_schema())
