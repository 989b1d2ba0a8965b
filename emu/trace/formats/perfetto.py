"""A trace for Perfetto: TrackEvents as protos/perfetto/trace declares them (perfetto.dev, "Synthetic track event").

Names are interned: said once, then by number.  Addresses are pointers and entries are unsigned numbers, because what
Perfetto counts with is signed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from emu.trace.formats.protobuf import chunk, fixed64, number, text
from emu.trace.formats.record import Address, Fields, Hex
from emu.trace.formats.sink import Pieces, Write
from emu.trace.formats.timeline import Timeline, Track
from emu.trace.schema import Schema

# Fields of the messages, by the names of their .proto files.
TRACE_PACKET = 1
TIMESTAMP, SEQUENCE_ID, TRACK_EVENT, INTERNED_DATA, SEQUENCE_FLAGS, TRACK_DESCRIPTOR = 8, 10, 11, 12, 13, 60
STATE_CLEARED, NEEDS_STATE = 1, 2  # SequenceFlags
CATEGORY_IIDS, DEBUG_ANNOTATIONS, TYPE, NAME_IID, TRACK_UUID = 3, 4, 9, 10, 11
COUNTER_VALUE, FLOW_IDS, TERMINATING_FLOW_IDS = 30, 47, 48
SLICE_BEGIN, SLICE_END, INSTANT, COUNTER = 1, 2, 3, 4
ANNOTATION_NAME_IID, BOOL, UINT, INT, POINTER, ARRAY, STRING_IID = 1, 2, 3, 4, 7, 12, 17
CATEGORIES, EVENT_NAMES, ANNOTATION_NAMES, STRINGS = 1, 2, 3, 29  # InternedData
IID, INTERNED = 1, 2
UUID, NAME, PROCESS, THREAD, PARENT, COUNTER_DESCRIPTOR = 1, 2, 3, 4, 5, 8
PID, TID, THREAD_NAME, PROCESS_NAME = 1, 2, 5, 6
UNIT, UNIT_COUNT = 3, 2

#: All is of one sequence, whose numbers of names hold to its end.
_SEQUENCE = number(SEQUENCE_ID, 1)
_NEEDS = number(SEQUENCE_FLAGS, NEEDS_STATE)
_MACHINE, _COUNTERS = 1, 1 << 61
#: Annotations that are kept as they are written.
_MOST = 1 << 16
_SPACE = {"process": 2 << 56, "thread": 3 << 56, "cpu": 4 << 56}


class Perfetto(Timeline):
    """Writes packets."""

    def __init__(self, write: Write) -> None:
        self._pieces = Pieces(write)
        self._names: dict[int, dict[str, int]] = {
            kind: {} for kind in (CATEGORIES, EVENT_NAMES, ANNOTATION_NAMES, STRINGS)
        }
        #: Names that the next packet must bring.
        self._new: list[bytes] = []
        self._counters: dict[tuple[Track | None, str], int] = {}
        #: Annotations as they are written: most come again.
        self._annotated: dict[tuple[str, type, Any], bytes] = {}
        self._titles: dict[tuple[str, str], bytes] = {}

    def begin(self, header: Mapping[str, Any], schema: Schema, levels: int) -> None:
        super().begin(header, schema, levels)
        self._packet(number(SEQUENCE_FLAGS, STATE_CLEARED | NEEDS_STATE))
        self._track(_MACHINE, text(NAME, "machine"))

    def flush(self) -> None:
        self._pieces.flush()

    def declare(self, track: Track, name: str) -> None:
        if track.kind == "cpu":
            self._track(_uuid(track), text(NAME, name) + number(PARENT, _MACHINE))
        elif track.kind == "process":
            process = number(PID, track.pid) + text(PROCESS_NAME, name)
            self._track(_uuid(track), chunk(PROCESS, process))
        else:
            thread = number(PID, track.pid) + number(TID, track.tid) + text(THREAD_NAME, name)
            self._track(_uuid(track), chunk(THREAD, thread) + number(PARENT, _uuid(Track("process", track.pid))))

    def begin_slice(self, time: int, track: Track, kind: str, name: str, fields: Fields) -> None:
        self._event(time, SLICE_BEGIN, _uuid(track), self._called(kind, name) + self._annotations(fields))

    def end_slice(self, time: int, track: Track, fields: Fields) -> None:
        self._event(time, SLICE_END, _uuid(track), self._annotations(fields))

    def instant(self, time: int, track: Track, kind: str, fields: Fields) -> None:
        self._event(time, INSTANT, _uuid(track), self._called(kind, kind) + self._annotations(fields))

    def arrow(self, time: int, number: int, sender: Track, receivers: list[Track], kind: str, fields: Fields) -> None:
        flows = [(number << 16 | place) + 1 for place in range(len(receivers))]
        body = (
            self._called(kind, kind) + self._annotations(fields) + b"".join(fixed64(FLOW_IDS, flow) for flow in flows)
        )
        self._event(time, INSTANT, _uuid(sender), body)
        for receiver, flow in zip(receivers, flows, strict=True):
            told = self._called(kind, f"{kind} received") + self._annotations({"sender": sender.pid})
            self._event(time, INSTANT, _uuid(receiver), told + fixed64(TERMINATING_FLOW_IDS, flow))

    def count(self, time: int, track: Track | None, name: str, value: int) -> None:
        uuid = self._counters.get((track, name))
        if uuid is None:
            uuid = self._counters[track, name] = _COUNTERS + len(self._counters)
            unit = chunk(COUNTER_DESCRIPTOR, number(UNIT, UNIT_COUNT))
            self._track(uuid, text(NAME, name) + unit + number(PARENT, _MACHINE if track is None else _uuid(track)))
        self._event(time, COUNTER, uuid, number(COUNTER_VALUE, value))

    # -- packets ---------------------------------------------------------------------------------------------------

    def _event(self, time: int, type: int, uuid: int, body: bytes) -> None:
        names = chunk(INTERNED_DATA, b"".join(self._new)) if self._new else b""
        self._new.clear()
        event = number(TYPE, type) + number(TRACK_UUID, uuid) + body
        self._packet(number(TIMESTAMP, time) + names + _NEEDS + chunk(TRACK_EVENT, event))

    def _track(self, uuid: int, body: bytes) -> None:
        self._packet(chunk(TRACK_DESCRIPTOR, number(UUID, uuid) + body))

    def _packet(self, body: bytes) -> None:
        self._pieces.put(chunk(TRACE_PACKET, body + _SEQUENCE))

    def _called(self, category: str, name: str) -> bytes:
        found = self._titles.get((category, name))
        if found is None:
            iids = self._interned(CATEGORIES, category), self._interned(EVENT_NAMES, name)
            found = self._titles[category, name] = number(CATEGORY_IIDS, iids[0]) + number(NAME_IID, iids[1])
        return found

    def _annotations(self, fields: Fields) -> bytes:
        return b"".join([self._annotation(name, value) for name, value in fields.items()])

    def _annotation(self, name: str, value: Any) -> bytes:
        if type(value) is list:
            return self._annotate(name, value)
        key = name, type(value), value
        found = self._annotated.get(key)
        if found is None:
            if len(self._annotated) == _MOST:
                self._annotated.clear()
            found = self._annotated[key] = self._annotate(name, value)
        return found

    def _annotate(self, name: str, value: Any) -> bytes:
        named = number(ANNOTATION_NAME_IID, self._interned(ANNOTATION_NAMES, name))
        return chunk(DEBUG_ANNOTATIONS, named + self._value(value))

    def _value(self, value: Any) -> bytes:
        match value:
            case bool():
                return number(BOOL, value)
            case Address():
                return number(POINTER, value)
            case Hex():
                return number(UINT, value)
            case int():
                return number(UINT if value >= 0 else INT, value)
            case list():
                return b"".join(chunk(ARRAY, self._value(one)) for one in value)
        return number(STRING_IID, self._interned(STRINGS, str(value)))

    def _interned(self, kind: int, name: str) -> int:
        known = self._names[kind]
        found = known.get(name)
        if found is None:
            found = known[name] = len(known) + 1
            self._new.append(chunk(kind, number(IID, found) + text(INTERNED, name)))
        return found


@lru_cache(1 << 14)
def _uuid(track: Track) -> int:
    return _SPACE[track.kind] | track.pid << 24 | track.tid
