"""Reading a trace file: the header, then one event after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from emu.linux.event_kind import EventError
from emu.trace.header import read_header
from emu.trace.schema import FORMAT, FORMAT_VERSION, Schema

#: A line that is longer than this is no event.
_MAX_LINE = 1 << 20


class TraceError(Exception):
    """This is no trace, or a damaged one; the message is a line that says what is wrong."""


class TraceReader:
    """The events of a trace file.

    ``header`` is its first line, ``schema`` has the rows of its events.  Iterating gives every event, with numbers for
    addresses and entries; afterwards ``complete`` says whether the recorder came to its end, and ``cut_off`` whether
    the last line is only a part of one.  :class:`TraceError` for anything else, and for an event that the schema does
    not have.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self.name = name
        self.line = 0
        self.complete = False
        self.cut_off = False
        #: The kinds of events seen so far.
        self.kinds: set[str] = set()
        self.header, self.schema = self._read_header()

    def _read_header(self) -> tuple[dict[str, Any], Schema]:
        first = self._next_line()
        self.line = 1
        if not first:
            raise TraceError(f"{self.name}: the file is empty")
        header = _parse(first)
        if header is None or header.get("format") != FORMAT:
            raise TraceError(
                f"{self.name}: line 1: this is not a trace that `unimmu run --trace` wrote as Parquet or lines of "
                "JSON, which can be read back"
            )
        if header.get("version") != FORMAT_VERSION:
            found = f"{header.get('version')!r:.60}"
            raise TraceError(
                f"{self.name}: line 1: format version {found} is not known; this unimmu reads {FORMAT_VERSION}"
            )
        try:
            return read_header(header)
        except EventError as error:
            raise TraceError(f"{self.name}: line 1: {error}") from None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while line := self._next_line():
            self.line += 1
            parsed = _parse(line)
            if parsed is None:
                if not line.endswith(b"\n") and len(line) < _MAX_LINE:
                    self.cut_off = True
                    return
                raise TraceError(f"{self.name}: line {self.line} is not an event")
            try:
                event = self.schema.decode(parsed)
            except EventError as error:
                raise TraceError(f"{self.name}: line {self.line}: {error}") from None
            self.kinds.add(event["event"])
            if event["event"] == "end":
                self.complete = True
            yield event

    def _next_line(self) -> bytes:
        try:
            return self._file.readline(_MAX_LINE)
        except OSError as error:
            raise TraceError(f"{self.name}: {error.strerror}") from None


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line.decode("utf-8"))  # of bytes it would guess the encoding
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
