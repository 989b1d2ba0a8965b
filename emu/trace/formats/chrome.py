"""A trace as Chrome's JSON ("Trace Event Format", Google, 2016), which Perfetto and Speedscope read too.

Times are microseconds there, with the ns behind the point; addresses are text, because its readers have doubles.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from emu.trace.formats.record import Fields, Hex
from emu.trace.formats.sink import Pieces, Write
from emu.trace.formats.timeline import Timeline, Track
from emu.trace.schema import Schema

#: The process that vCPUs are shown in: above the largest number of one (PID_MAX_LIMIT, 1 << 22).
MACHINE = 1 << 23
_encode = json.JSONEncoder(separators=(",", ":")).encode


class Chrome(Timeline):
    """Writes the object with ``traceEvents``."""

    def __init__(self, write: Write) -> None:
        self._pieces = Pieces(write)
        self._comma = b""

    def begin(self, header: Mapping[str, Any], schema: Schema, levels: int) -> None:
        super().begin(header, schema, levels)
        #: Slices that have not ended: when they began, kind, name, fields.
        self._begun: dict[Track, tuple[int, str, str, Fields]] = {}
        about = {"displayTimeUnit": "ns", "otherData": dict(header)}
        self._pieces.put(f'{_encode(about)[:-1]},"traceEvents":['.encode())
        self._put(ph="M", name="process_name", pid=MACHINE, tid=MACHINE, args={"name": "machine"})

    def flush(self) -> None:
        self._pieces.flush()

    def end(self) -> None:
        super().end()
        self._pieces.put(b"\n]}\n")
        self._pieces.flush()

    def _put(self, **event: Any) -> None:
        self._pieces.put(b"%b\n%b" % (self._comma, _encode(event).encode()))
        self._comma = b","

    def _event(self, time: int, track: Track | None, phase: str, name: str, fields: Fields, **more: Any) -> None:
        pid, tid = _numbers(track)
        self._put(ph=phase, ts=time / 1000, pid=pid, tid=tid, name=name, **more, args=_shown(fields))

    def declare(self, track: Track, name: str) -> None:
        pid, tid = _numbers(track)
        what = "process_name" if track.kind == "process" else "thread_name"
        self._put(ph="M", name=what, pid=pid, tid=tid, args={"name": name})

    def begin_slice(self, time: int, track: Track, kind: str, name: str, fields: Fields) -> None:
        self._begun[track] = time, kind, name, fields

    def end_slice(self, time: int, track: Track, fields: Fields) -> None:
        """Two events with the same name and fields, or one where no time passed.

        The format leaves the name of an end free, and Speedscope ends no slice without it, nor one whose end has the
        time of its beginning.  One event for each slice would overlap the next: start and duration do not add up in
        doubles.
        """
        start, kind, name, begun = self._begun.pop(track)
        fields = begun | fields
        if start == time:
            self._event(start, track, "X", name, fields, cat=kind, dur=0)
        else:
            self._event(start, track, "B", name, fields, cat=kind)
            self._event(time, track, "E", name, fields, cat=kind)

    def instant(self, time: int, track: Track, kind: str, fields: Fields) -> None:
        self._event(time, track, "i", kind, fields, cat=kind, s="p" if track.kind == "process" else "t")

    def arrow(self, time: int, number: int, sender: Track, receivers: list[Track], kind: str, fields: Fields) -> None:
        """An arrow goes from slice to slice: each end is one without a duration."""
        self._event(time, sender, "X", kind, fields, cat=kind, dur=0)
        for place, receiver in enumerate(receivers):
            one = f"{number}.{place}"
            self._event(time, receiver, "X", f"{kind} received", {"sender": sender.pid}, cat=kind, dur=0)
            self._event(time, sender, "s", kind, {}, cat=kind, id=one)
            self._event(time, receiver, "f", kind, {}, cat=kind, id=one, bp="e")

    def count(self, time: int, track: Track | None, name: str, value: int) -> None:
        self._event(time, track, "C", name, {"value": value})


def _numbers(track: Track | None) -> tuple[int, int]:
    if track is None:
        return MACHINE, MACHINE
    if track.kind == "cpu":
        return MACHINE, MACHINE + 1 + track.pid
    return track.pid, track.tid or track.pid


def _shown(fields: Fields) -> dict[str, Any]:
    return {name: _text(value) for name, value in fields.items()}


def _text(value: Any) -> Any:
    if isinstance(value, Hex):
        return f"{value:#x}"
    return [_text(one) for one in value] if isinstance(value, list) else value
