"""A trace as lines of JSON: the header, then an event a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from emu.trace.batch import Batch, Note
from emu.trace.formats.sink import Sink, Write
from emu.trace.lines import HardwareLines
from emu.trace.schema import Schema
from mmu.event_table import Events

#: Characters that are collected before they are written.
_BUFFER = 1 << 20
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
