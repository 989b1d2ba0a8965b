"""Plain tables of addresses, as CSV or Parquet.

A column ``vaddr``, ``address`` or ``addr`` has the addresses: whole numbers, or in CSV hexadecimal with 0x.  There may
be ``kind`` (load, store, fetch; L, S, I; R, W; or 0, 1, 2; without it all are loads), ``rip`` (or ``ip``, ``pc``),
``pid`` and ``size``, in bytes.  A CSV file without names has one column, the addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
#: Where a row is, in words, by its number, which counts from 0.
_Where = Callable[[int], str]


class _Wrong(Exception):
    """A value that cannot be: the number of its row in a batch, and why."""

    def __init__(self, row: int, why: str) -> None:
        super().__init__(why)
        self.row = row


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
    types, done = dict.fromkeys(options.column_names, pa.string()), 0
    where: _Where = lambda row: f"{path}:{_line_of(path, options.skip_rows, row)}"  # noqa: E731
    try:
        reader = pa.csv.open_csv(path, options, convert_options=pa.csv.ConvertOptions(column_types=types))
        for batch in reader:
            yield from _batches(path, batch, columns, done, where)
            done += len(batch)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise StreamError(f"{path}: {first_line(error)}") from None


def read_parquet(path: str, fields: Sequence[str]) -> Iterator[Batch]:
    """The accesses of a Parquet file with such columns."""
    try:
        file = pq.ParquetFile(path)
        if HEADER in (file.schema_arrow.metadata or {}):
            raise StreamError(f"{path}: this is a trace of `unimmu run --trace`; a stream is what --record writes")
        columns = _columns(path, [name.lower() for name in file.schema_arrow.names])
        done, where = 0, lambda row: f"{path}, row {row + 1}"
        for batch in file.iter_batches(BATCH, columns=[file.schema_arrow.names[at] for at in columns.values()]):
            yield from _batches(path, batch, {name: at for at, name in enumerate(columns)}, done, where)
            done += len(batch)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise StreamError(f"{path}: {first_line(error)}") from None


def _line_of(path: str, skipped: int, row: int) -> int:
    """The line, from 1 on, with a row of a CSV file, from 0 on; empty lines are no rows."""
    with open(path, "rb") as file:
        rows = (number for number, line in enumerate(file, 1) if number > skipped and line.strip(b"\r\n"))
        return next(number for at, number in enumerate(rows) if at == row)


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


def _batches(path: str, rows: pa.RecordBatch, columns: dict[str, int], done: int, where: _Where) -> Iterator[Batch]:
    """``done`` rows were before."""
    for begin in range(0, len(rows), BATCH):
        some = rows.slice(begin, BATCH)
        try:
            given = {name: _numbers(name, some.column(at)) for name, at in columns.items()}
        except _Wrong as wrong:
            raise StreamError(f"{where(done + begin + wrong.row)}: {wrong}") from None
        size = given.pop("size", np.zeros(len(some), np.uint64))
        vaddr, which = crossing(path, given.pop("vaddr"), size)
        space = given.pop("pid", np.zeros(len(some), np.uint64)).astype(np.uint32)[which]
        rest = {name: values[which] for name, values in given.items()}
        yield Batch.of(vaddr=vaddr, pid=space.astype(np.int32), space=space, **rest)


def _numbers(name: str, column: Any) -> npt.NDArray[np.uint64]:
    if pa.types.is_integer(column.type) and name != "kind" and not column.null_count:
        numbers: npt.NDArray[np.uint64] = numbers_of(column).astype(np.uint64)
    else:
        few = column.cast(pa.string()).dictionary_encode()
        kinds = [_number(name, text) for text in few.dictionary.to_pylist()]
        wrong = [why for why in kinds if isinstance(why, str)]
        if wrong or few.indices.null_count:
            codes = few.indices.to_pylist()
            row = next(row for row, code in enumerate(codes) if code is None or isinstance(kinds[code], str))
            raise _Wrong(row, f"a row without {name}" if codes[row] is None else str(kinds[codes[row]]))
        index: npt.NDArray[np.int32] = numbers_of(few.indices)
        numbers = np.array(kinds, np.uint64)[index]
    if name == "pid" and (numbers > _MOST_PID).any():
        row = int((numbers > _MOST_PID).argmax())
        raise _Wrong(row, f"{numbers[row]} is no pid: it is below 0 or above {_MOST_PID}")
    return numbers


def _number(name: str, text: str | None) -> int | str:
    """The number that a value stands for, or why it is none."""
    if text is None:  # a dictionary of Parquet may have null among its values
        return f"a row without {name}"
    text = text.strip()
    if name == "kind":
        known = _KINDS.get(text.lower())
        return f"{text[:_SHOWN]!r} is no kind of access: load, store or fetch" if known is None else known
    if not _is_number(text):
        return f"{text[:_SHOWN]!r} is no {name}: a whole number, or 0x and hexadecimal digits"
    return int(text, 0) if text[:2].lower() == "0x" else int(text)


def _is_number(text: str) -> bool:
    try:
        return 0 <= (int(text, 16) if text[:2].lower() == "0x" else int(text)) < _TOP
    except ValueError:
        return False
