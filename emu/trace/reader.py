"""Reading a trace file: the header, then one event after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from emu.trace.recorder import FORMAT, FORMAT_VERSION

#: A line that is longer than this is no event.
_MAX_LINE = 1 << 20
_HEADER = {"unimmu": str, "command": list, "memory_bytes": int, "seed": int}


class TraceError(Exception):
    """This is no trace, or a damaged one; the message is a line that says what is wrong."""


class TraceReader:
    """The events of a trace file.

    ``header`` is its first line.  Iterating gives every event as a dictionary; afterwards ``complete`` says whether
    the recorder came to its end, and ``cut_off`` whether the last line is only a part of one.  :class:`TraceError` for
    anything else.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self.name = name
        self.line = 0
        self.complete = False
        self.cut_off = False
        #: The kinds of events seen so far.
        self.kinds: set[str] = set()
        self.header = self._read_header()

    def _read_header(self) -> dict[str, Any]:
        first = self._next_line()
        self.line = 1
        if not first:
            raise TraceError(f"{self.name}: the file is empty")
        header = _parse(first)
        if header is None or header.get("format") != FORMAT:
            raise TraceError(f"{self.name}: this is not a trace that `unimmu run --trace` wrote")
        if header.get("version") != FORMAT_VERSION:
            found = header.get("version")
            raise TraceError(f"{self.name}: format version {found} is not known; this unimmu reads {FORMAT_VERSION}")
        if not all(isinstance(header.get(name), kind) for name, kind in _HEADER.items()):
            raise TraceError(f"{self.name}: line 1 is not a header")
        return header

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while line := self._next_line():
            self.line += 1
            event = _parse(line)
            if event is None or not isinstance(event.get("event"), str):
                if not line.endswith(b"\n") and len(line) < _MAX_LINE:
                    self.cut_off = True
                    return
                raise self.damaged()
            self.kinds.add(event["event"])
            if event["event"] == "end":
                self.complete = True
            yield event

    def _next_line(self) -> bytes:
        try:
            return self._file.readline(_MAX_LINE)
        except OSError as error:
            raise TraceError(f"{self.name}: {error.strerror}") from None

    def damaged(self) -> TraceError:
        """What to raise if the event that was read last makes no sense."""
        return TraceError(f"{self.name}: line {self.line} is not an event")


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
