"""Plain tables of addresses, as CSV or Parquet.

A column ``vaddr``, ``address`` or ``addr`` has the addresses: whole numbers, or in CSV hexadecimal with 0x.  There may
be ``kind`` (load, store, fetch; L, S, I; R, W; or 0, 1, 2; without it all are loads), ``rip`` (or ``ip``, ``pc``),
``pid`` and ``size``, in bytes.  A CSV file without names has one column, the addresses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from emu.lab.batch import BATCH, Batch, StreamError
from emu.lab.foreign.pieces import crossing, first_line
from emu.trace.arrow import numbers_of
from emu.trace.formats.parquet import HEADER

_NAMES = {
    "vaddr": ("vaddr", "address", "addr"), "kind": ("kind", "access", "type"), "rip": ("rip", "ip", "pc"),
    "pid": ("pid",), "size": ("size", "bytes"),
}  # fmt: skip
_KINDS = {
    "load": 0, "l": 0, "r": 0, "read": 0, "0": 0, "store": 1, "s": 1, "w": 1, "write": 1, "m": 1, "1": 1,
    "fetch": 2, "i": 2, "f": 2, "2": 2,
}  # fmt: skip
_TOP = 1 << 64
#: Characters that a message shows of what a file says.
_SHOWN = 60
_MOST_PID = 0xFFFF_FFFF


def read_csv(path: str, fields: Sequence[str]) -> Iterator[Batch]:
    """The accesses of a CSV file.  :class:`emu.lab.batch.StreamError` if it is none."""
    with open(path, "rb") as file:
        first = file.readline(1 << 16).decode("utf-8-sig", "replace").strip()
    names = [name.strip().strip('"').lower() for name in first.split(",")]
    options = pa.csv.ReadOptions(block_size=1 << 23)
    if len(names) == 1 and _is_number(names[0]):
        options.column_names = ["vaddr"]
    else:
        options.column_names, options.skip_rows = names, 1
    columns = _columns(path, names if options.skip_rows else ["vaddr"])
    types = dict.fromkeys(options.column_names, pa.string())
    try:
        reader = pa.csv.open_csv(path, options, convert_options=pa.csv.ConvertOptions(column_types=types))
        for batch in reader:
            yield from _batches(path, batch, columns)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise StreamError(f"{path}: {first_line(error)}") from None


def read_parquet(path: str, fields: Sequence[str]) -> Iterator[Batch]:
    """The accesses of a Parquet file with such columns."""
    try:
        file = pq.ParquetFile(path)
        if HEADER in (file.schema_arrow.metadata or {}):
            raise StreamError(f"{path}: this is a trace of `unimmu run --trace`; a stream is what --record writes")
        columns = _columns(path, [name.lower() for name in file.schema_arrow.names])
        for batch in file.iter_batches(BATCH, columns=[file.schema_arrow.names[at] for at in columns.values()]):
            yield from _batches(path, batch, {name: at for at, name in enumerate(columns)})
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise StreamError(f"{path}: {first_line(error)}") from None


def _columns(path: str, names: Sequence[str]) -> dict[str, int]:
    """Where the columns are that are known."""
    found = {
        name: names.index(alias) for name, aliases in _NAMES.items() for alias in aliases[::-1] if alias in names
    }  # fmt: skip
    if "vaddr" not in found:
        given = ", ".join(names)
        raise StreamError(f"{path}: no column of addresses (vaddr, address or addr), only {given:.{_SHOWN}}")
    for at in found.values():
        if names.count(names[at]) > 1:
            raise StreamError(f"{path}: several columns are called {names[at]}")
    return found


def _batches(path: str, rows: pa.RecordBatch, columns: dict[str, int]) -> Iterator[Batch]:
    for begin in range(0, len(rows), BATCH):
        some = rows.slice(begin, BATCH)
        given = {name: _numbers(path, name, some.column(at)) for name, at in columns.items()}
        size = given.pop("size", np.zeros(len(some), np.uint64))
        vaddr, which = crossing(path, given.pop("vaddr"), size)
        pid = given.pop("pid", np.zeros(len(some), np.uint64))
        if (pid > _MOST_PID).any():
            raise StreamError(f"{path}: {int(pid.max())} is no pid: it is below 0 or above {_MOST_PID}")
        space = pid.astype(np.uint32)[which]
        rest = {name: values[which] for name, values in given.items()}
        yield Batch.of(vaddr=vaddr, pid=space.astype(np.int32), space=space, **rest)


def _numbers(path: str, name: str, column: Any) -> npt.NDArray[np.uint64]:
    if column.null_count:
        raise StreamError(f"{path}: a row without {name}")
    if pa.types.is_integer(column.type) and name != "kind":
        numbers: npt.NDArray[np.uint64] = numbers_of(column).astype(np.uint64)
        return numbers
    few = column.cast(pa.string()).dictionary_encode()
    if few.dictionary.null_count or few.indices.null_count:  # of a dictionary that has null among its values
        raise StreamError(f"{path}: a row without {name}")
    values = [_number(path, name, text.strip()) for text in few.dictionary.to_pylist()]
    index: npt.NDArray[np.int32] = numbers_of(few.indices)
    return np.array(values, np.uint64)[index]


def _number(path: str, name: str, text: str) -> int:
    if name == "kind":
        if text.lower() not in _KINDS:
            raise StreamError(f"{path}: {text[:_SHOWN]!r} is no kind of access: load, store or fetch")
        return _KINDS[text.lower()]
    if not _is_number(text):
        raise StreamError(f"{path}: {text[:_SHOWN]!r} is no {name}: a whole number, or 0x and hexadecimal digits")
    return int(text, 0) if text[:2].lower() == "0x" else int(text)


def _is_number(text: str) -> bool:
    try:
        return 0 <= (int(text, 16) if text[:2].lower() == "0x" else int(text)) < _TOP
    except ValueError:
        return False
