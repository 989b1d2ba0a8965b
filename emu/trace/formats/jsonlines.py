"""A trace as lines of JSON: the header, then an event a line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from emu.linux.event_kind import Type
from emu.trace.batch import Batch, Note
from emu.trace.formats.sink import Sink, Write
from emu.trace.lines import HardwareLines
from emu.trace.reader import TraceError, TraceReader
from emu.trace.schema import HardwareKind, Schema
from mmu.event_table import EVENT_COLUMNS, Events
from mmu.events import EventKind

if TYPE_CHECKING:
    import pyarrow as pa

#: Events that are read at a time.
_READ = 1 << 14
#: What every event has, and where its record has it.
_COMMON = {"seq": "seq", "clock": "clock", "time": "time", "pid": "asid", "tid": "tid", "cpu": "cpu", "rip": "rip"}

#: Characters that are collected before they are written.
_BUFFER = 1 << 20
_T = TypeVar("_T")
_Events = Sequence[Mapping[str, Any]]
_encode = json.JSONEncoder(separators=(",", ":")).encode


class JsonLines(Sink):
    """Writes whole lines."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._lines: list[str] = []
        self._buffered = 0

    def begin(self, header: Mapping[str, Any], schema: Schema, levels: int) -> None:
        self._several = header.get("cpus", 1) > 1
        self._hardware = HardwareLines(levels, cpus=header.get("cpus", 1))
        self._put(_encode(header))

    def write(self, batch: Batch) -> None:
        for records, note in batch.pieces():
            if note is None:
                self._put("\n".join(self._hardware.format(records)))
            else:
                self._put(_encode(self._event(records, note)))

    def _event(self, records: Events, note: Note) -> dict[str, Any]:
        record = records[0]
        who = {name: int(record[of]) for name, of in (("pid", "asid"), ("tid", "tid")) if record[of]}
        if self._several:
            who["cpu"] = int(record["cpu"])
        when = {name: int(record[name]) for name in ("seq", "clock", "time")}
        return {**when, **who, "rip": f"{record['rip']:#x}", "event": note.kind, **note.fields}

    def _put(self, text: str) -> None:
        self._lines.append(text)
        self._buffered += len(text)
        if self._buffered > _BUFFER:
            self.flush()

    def flush(self) -> None:
        if self._lines:
            self._lines.append("")
            self._write("\n".join(self._lines).encode("ascii"))
            self._lines.clear()
            self._buffered = 0


class _Source:
    """Reads lines, many at a time."""

    def __init__(self, path: str) -> None:
        self._path = path
        with self._reader() as reader:
            self.header, self.schema = reader.header, reader.schema
        #: How many events there are is not known before the end.
        self.count = None

    @contextmanager
    def _reader(self) -> Iterator[TraceReader]:
        try:
            file = open(self._path, "rb")  # noqa: SIM115 (it is closed below)
        except OSError as error:
            raise TraceError(f"{self._path}: {error.strerror}") from None
        try:
            yield TraceReader(file, self._path)
        finally:
            file.close()

    def batches(self) -> Iterator[Batch]:
        """The events."""
        return self._made(lambda events: batch_of_events(events, self.schema))

    def tables(self, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        """The same as rows, with all columns or these."""
        from emu.trace.columns import arrow_schema
        from emu.trace.tabulator import Tabulator

        tabulator, names = Tabulator(self.header.get("levels", 4)), arrow_schema(columns).names
        return self._made(lambda events: tabulator.table(batch_of_events(events, self.schema)).select(names))

    def _made(self, make: Callable[[_Events], _T]) -> Iterator[_T]:
        """What is made of the events, many at a time."""
        with self._reader() as reader:
            events, line = iter(reader), 2
            while some := list(islice(events, _READ)):
                yield self._fitting(some, line, make)
                line += len(some)

    def _fitting(self, events: _Events, line: int, make: Callable[[_Events], _T]) -> _T:
        """What is made of events, the first of which is in this line.  :class:`TraceError` for a number that no event
        can have."""
        try:
            return make(events)
        except (OverflowError, ValueError):
            for at, event in enumerate(events, line):
                try:
                    make([event])
                except (OverflowError, ValueError):
                    kind = event["event"]
                    raise TraceError(f"{self._path}: line {at}: {kind}: a number is out of range") from None
            raise

    def is_complete(self) -> bool:
        """Whether the last event says so."""
        with self._reader() as reader:
            for _ in reader:
                pass
            return reader.complete


def read(path: str) -> _Source:
    """A trace in lines of JSON.  :class:`emu.trace.reader.TraceError` if it is none."""
    return _Source(path)


def batch_of_events(events: Sequence[Mapping[str, Any]], schema: Schema) -> Batch:
    """Events that were read, as the records of which they were made."""
    records = np.zeros(len(events), EVENT_COLUMNS)
    notes = []
    for record, event in zip(records, events, strict=True):
        for name, of in _COMMON.items():
            record[of] = event.get(name, 0)
        kind = schema[event["event"]]
        if isinstance(kind, HardwareKind):
            _fill(record, event, kind)
        else:
            record["kind"] = EventKind.NOTE
            fields = {name: value for name, value in event.items() if name not in _COMMON and name != "event"}
            notes.append(Note(kind.name, kind.encode(fields)))
    return Batch(records, notes)


def _fill(record: Any, event: Mapping[str, Any], kind: HardwareKind) -> None:
    record["kind"] = kind.number
    for field in kind.form_of({name: event[name] for name in event if name not in _COMMON and name != "event"}).fields:
        value = event.get(field.name)
        if field.type is Type.ENTRIES:
            for level, entry in event["entries"].items():
                record[f"entry_{level}"] = entry
        elif value is not None and field.type is not Type.TRUE and field.name != "cached_level":
            column = kind.columns.get(field.name, field.name)
            record[column] = field.choices.index(value) if field.type is Type.TEXT else value
