"""A trace as one table: a row an event, a column a field, for Parquet, Arrow, pandas, Polars and DuckDB.

A column that an event does not have is null there.  Addresses and entries are uint64.  What the kernel tells of has its
most asked fields as columns, and all of its fields in ``detail``, as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from emu.trace.batch import Batch, KernelKind, Note
from emu.trace.encoder_state import Rule
from emu.trace.resolution import RESOLUTIONS
from mmu.event_table import EVENT_COLUMNS
from mmu.events import EventKind
from mmu.registers import Access

_K = EventKind
_ALL = frozenset({*EventKind, *KernelKind})
NAMES: dict[str, tuple[str, ...]] = {
    "access": tuple(access.name.lower() for access in Access),
    "rights": tuple("".join(c if n >> i & 1 else "-" for i, c in enumerate("rwx")) for n in range(8)),
    "resolved": RESOLUTIONS,
}
_LEVELS = {"pte": 1, "pmd": 2, "pud": 3}
_ENTRIES = tuple(f"entry_{level}" for level in range(1, 6))
#: An array of truth values.
Mask = Any


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
    only: Rule = Rule.ALWAYS
    note: Callable[[str, dict[str, Any]], Any] | None = None

    @property
    def arrow(self) -> pa.DataType:
        """The type that Arrow has for it."""
        return pa.dictionary(pa.int32(), pa.string()) if self.type == "dict" else getattr(pa, self.type)()


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


_WALKED = frozenset({_K.WALK, _K.FILL})
_EXIT = frozenset({KernelKind.SYSCALL_EXIT})
_BOTH = _EXIT | {KernelKind.SYSCALL_ENTER}
_AT = frozenset({_K.WALK, _K.FILL, _K.FAULT, _K.ACCESSED_DIRTY, _K.ACCESS})
COLUMNS = (
    Column("seq", "uint64", "the number of the event", kinds=_ALL, of="seq"),
    Column("clock", "uint64", "what all processes have retired", "instructions", _ALL, "clock"),
    Column("time", "uint64", "the machine's time", "ns", _ALL, "time"),
    Column("cpu", "uint16", "the vCPU", kinds=_ALL, of="cpu"),
    Column("pid", "uint32", "the process", kinds=_ALL, of="asid", only=Rule.NOT_ZERO),
    Column("tid", "uint32", "the thread", kinds=_ALL, of="tid", only=Rule.NOT_ZERO),
    Column("rip", "uint64", "the instruction that runs; in a system call the next", "virtual address", _ALL, "rip"),
    Column("event", "dict", "the kind of the event", kinds=_ALL, of="kind"),
    Column("access", "dict", "read, write or fetch", kinds=_AT, of="access"),
    Column(
        "vaddr", "uint64", "the address that is accessed, or where the range begins", "virtual address",
        _AT | {_K.FLUSH}, "vaddr", Rule.RANGED, _hexed("vaddr"),
    ),
    Column(
        "paddr", "uint64", "what it is translated to", "physical address", _WALKED | {_K.ACCESS}, "paddr", Rule.PLACED,
    ),
    Column("size", "uint16", "of the access", "bytes", frozenset({_K.ACCESS}), "size", Rule.NOT_ZERO),
    Column("page_size", "uint32", "of the page that maps it", "bytes", _WALKED, "page_size", Rule.MAPPED),
    Column(
        "level", "uint8", "of the last entry that was read or changed: 1 is a PTE",
        kinds=frozenset({_K.WALK, _K.FILL, _K.FAULT, _K.ACCESSED_DIRTY}), of="level",
    ),
    Column(
        "cached_level", "uint8", "of the entry that a paging-structure cache had, behind which the walk began",
        kinds=frozenset({_K.WALK}), of="cached_level", only=Rule.NOT_ZERO,
    ),
    Column(
        "tlb_level", "uint8", "the TLB that answered; null: a walk follows", kinds=frozenset({_K.ACCESS}), of="level",
        only=Rule.NOT_ZERO,
    ),
    Column("rights", "dict", "what the TLB may allow", kinds=_WALKED, of="rights", only=Rule.MAPPED),
    Column("cpl", "uint8", "the current privilege level", kinds=frozenset({_K.WALK}), of="cpl"),
    Column("cr3", "uint64", "the register", "physical address", frozenset({_K.WALK}), "cr3"),
    *(
        Column(
            name, "uint64", f"what was read at level {name[-1]}, 1 being the PTE", "page-table entry",
            frozenset({_K.WALK}), name, Rule.READ,
        )
        for name in _ENTRIES
    ),
    Column(
        "shared_level", "uint8", "of the highest shared table that was read, or of the one that is linked",
        kinds=frozenset({_K.WALK}), of="shared_level", only=Rule.NOT_ZERO, note=_shared_level,
    ),
    Column(
        "first_pid", "uint32", "the process that had this page put into the shared table", kinds=frozenset({_K.WALK}),
        of="first_pid", only=Rule.NOT_ZERO,
    ),
    Column(
        "error_code", "uint16", "the error code that the processor pushes", "bits", frozenset({_K.WALK, _K.FAULT}),
        "error_code", Rule.FAILED,
    ),
    Column(
        "cycles", "uint16", "what a walk, or a hit in the L2 TLB, cost", "cycles", frozenset({_K.WALK, _K.ACCESS}),
        "cycles", Rule.NOT_ZERO,
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
    Column("call", "dict", "the system call", kinds=_BOTH, of="error_code",
           note=_of("syscall_enter", "syscall_exit")("name")),
    Column("result", "int64", "what the call returns", kinds=_EXIT, of="new", only=Rule.RESULT, note=_signed),
    Column("errno", "dict", "the name of its error", kinds=_EXIT, of="errno", only=Rule.ERROR,
           note=_plain("errno")),
    Column("signal", "dict", "the name of the signal", note=_plain("signal")),
    Column(
        "other_tid", "uint32", "the process or thread that is made, or that ran before a switch",
        kinds=frozenset({KernelKind.SWITCH}), of="error_code", only=Rule.NOT_ZERO, note=_other_tid,
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


def arrow_schema(names: Sequence[str] | None = None) -> pa.Schema:
    """The table's columns, or these of them, as Arrow has them.  ValueError if one is none."""
    unknown = [name for name in names or () if name not in BY_NAME]
    if unknown:
        raise ValueError(f"a trace has no column {unknown[0]!r}; its columns are {', '.join(BY_NAME)}")
    columns = COLUMNS if names is None else [BY_NAME[name] for name in names]
    return pa.schema([pa.field(column.name, column.arrow) for column in columns])


@cache
def _has(kinds: frozenset[IntEnum]) -> npt.NDArray[np.bool_]:
    """By the number of a kind: whether it is one of these."""
    table = np.zeros(256, bool)
    table[[int(kind) for kind in kinds]] = True
    return table


# -- back --------------------------------------------------------------------------------------------------------------


def batch_of(rows: pa.RecordBatch | pa.Table) -> Batch:
    """The batch of which these rows were made.  ValueError if they are of none."""
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
            if row["errno"] is not None:
                fields["errno"] = row["errno"]
            elif row["result"] is not None:
                fields["result"] = f"{row['result'] & (1 << 64) - 1:#x}"
        else:
            fields = json.loads(row["detail"] or "null")
            if not isinstance(fields, dict):
                raise ValueError(f"{name!r:.40}: its detail is no object of JSON")
        notes.append(Note(name, fields))
    return notes


def _numbers(column: Column, values: Any) -> npt.NDArray[Any]:
    """A column's values as the record has them, 0 for null."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if column.type != "dict":
        return np.asarray(values.fill_null(0))
    names: dict[str | None, int] = {name: number for number, name in enumerate(NAMES[column.name])}
    found = values if isinstance(values, pa.DictionaryArray) else values.dictionary_encode()
    said = found.dictionary.to_pylist()
    if unknown := [name for name in said if name is not None and name not in names]:
        raise ValueError(f"{column.name} is {unknown[0]!r:.40}, and may be {', '.join(filter(None, names))}")
    table = np.array([*(names.get(name, 0) for name in said), 0])
    return np.asarray(table[np.asarray(found.indices.fill_null(-1))])
