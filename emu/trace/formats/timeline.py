"""A trace as a time line: what the pictures of Perfetto and Chrome have in common.

A thread has a slice for each system call, a vCPU one for each run of a thread.  Walks, faults and what the kernel tells
are instants of their thread, invalidations of their vCPU; a shootdown is one of its sender, with an arrow to each
receiver.  Fills, the setting of A and D, loads of CR3 and single accesses are not shown.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from emu.trace.batch import Batch, Note
from emu.trace.formats.processes import OF_PROGRAMS, Processes
from emu.trace.formats.record import Fields, NoteFields, each, fields_of
from emu.trace.formats.sink import Sink
from emu.trace.schema import Schema
from mmu.entries import ADDRESS
from mmu.events import EventKind

_SHOWN = (EventKind.WALK, EventKind.FAULT, EventKind.FLUSH)


class Track(NamedTuple):
    """A line of the picture: of a ``thread``, of a ``process`` (``tid`` is 0), or of the vCPU ``pid``."""

    kind: str
    pid: int
    tid: int = 0


class Timeline(Sink):
    """Tells of tracks, and of what is on them, in the order of time; times are ns."""

    told = OF_PROGRAMS

    @abstractmethod
    def declare(self, track: Track, name: str) -> None:
        """A track comes into being, or has another name."""

    @abstractmethod
    def begin_slice(self, time: int, track: Track, kind: str, name: str, fields: Fields) -> None:
        """Something begins."""

    @abstractmethod
    def end_slice(self, time: int, track: Track, fields: Fields) -> None:
        """What began last on this track ends."""

    @abstractmethod
    def instant(self, time: int, track: Track, kind: str, fields: Fields) -> None:
        """Something happens."""

    @abstractmethod
    def arrow(self, time: int, number: int, sender: Track, receivers: list[Track], kind: str, fields: Fields) -> None:
        """Something goes from one track to others."""

    @abstractmethod
    def count(self, time: int, track: Track | None, name: str, value: int) -> None:
        """A count has changed: of a process, or of the machine."""

    # -- from the events to these ----------------------------------------------------------------------------------

    def begin(self, header: Mapping[str, Any], schema: Schema, levels: int) -> None:
        self._notes = NoteFields(schema)
        self._processes = Processes()
        self._declared: dict[Track, str] = {}
        #: By vCPU, process and thread: where an event of theirs is shown.
        self._places: dict[tuple[int, int, int], Track] = {}
        #: Tracks with a slice that has not ended.
        self._open: set[Track] = set()
        self._faults: Counter[int] = Counter()
        #: How often each shared table is linked, by its address.
        self._links: Counter[int] = Counter()
        self._time = 0

    def write(self, batch: Batch) -> None:
        for record, note in each(batch, _SHOWN):
            self._time = record.time
            if note is None:
                self._hardware(record)
            elif note.kind != "end":
                self._kernel(record, note)

    def end(self) -> None:
        for track in sorted(self._open):
            self.end_slice(self._time, track, {})
        self._open.clear()
        self.flush()

    def _hardware(self, record: Any) -> None:
        kind = EventKind(record.kind).name.lower()
        flush = record.kind == EventKind.FLUSH
        self.instant(record.time, self._cpu(record.cpu) if flush else self._thread(record), kind, fields_of(record))
        if record.kind == EventKind.FAULT and record.asid:
            self._faults[record.asid] += 1
            self.count(record.time, self._process(record.asid), "page faults", self._faults[record.asid])

    def _kernel(self, record: Any, note: Note) -> None:
        if note.kind in OF_PROGRAMS:
            self._processes.told(record.asid, note)
            self._places.clear()
        if not note.chosen:
            return
        track, fields = self._thread(record), self._notes.of(note)
        if note.kind == "syscall_enter":
            self._end(track, {})
            self._begin(track, note.kind, note.fields["name"], fields)
        elif note.kind == "syscall_exit":
            self._end(track, {name: value for name, value in fields.items() if name != "name"})
        elif note.kind == "switch":
            cpu = self._cpu(record.cpu)
            self._end(cpu, {})
            name = f"{self._processes.name(record.asid)} {record.tid}"
            self._begin(cpu, note.kind, name, {"pid": record.asid, "tid": record.tid})
        elif note.kind == "shootdown":
            receivers = [self._cpu(number) for number in note.fields["receivers"]]
            sender = self._cpu(note.fields["sender"])
            self.arrow(record.time, record.seq, sender, receivers, note.kind, fields)
        else:
            if note.kind == "exit":
                self._end(track, {})
            self.instant(record.time, track, note.kind, fields)
            if note.kind in ("link", "unlink"):
                self._linked(note)

    def _linked(self, note: Note) -> None:
        linked = note.kind == "link"
        table = int(note.fields["after" if linked else "before"], 16) & ADDRESS
        self._links[table] += 1 if linked else -1
        if not self._links[table]:
            del self._links[table]
        self.count(self._time, None, "links", self._links.total())
        self.count(self._time, None, "shared tables", len(self._links))

    def _begin(self, track: Track, kind: str, name: str, fields: Fields) -> None:
        self.begin_slice(self._time, track, kind, name, fields)
        self._open.add(track)

    def _end(self, track: Track, fields: Fields) -> None:
        """A call has an end without a beginning where a thread is made in it, or the recording began."""
        if track in self._open:
            self.end_slice(self._time, track, fields)
            self._open.remove(track)

    # -- tracks ----------------------------------------------------------------------------------------------------

    def _thread(self, record: Any) -> Track:
        """The thread of an event; its process or its vCPU where there is none."""
        key = record.cpu, record.asid, record.tid
        found = self._places.get(key)
        if found is None:
            found = self._places[key] = self._place(*key)
        return found

    def _place(self, cpu: int, pid: int, tid: int) -> Track:
        if not pid:
            return self._cpu(cpu)
        process = self._process(pid)
        return self._known(Track("thread", pid, tid), pid) if tid else process

    def _process(self, pid: int) -> Track:
        return self._known(Track("process", pid), pid)

    def _known(self, track: Track, pid: int) -> Track:
        name = self._processes.name(pid)
        if self._declared.get(track) != name:
            self._declared[track] = name
            self.declare(track, name)
        return track

    def _cpu(self, number: int) -> Track:
        track = Track("cpu", number)
        if track not in self._declared:
            self._declared[track] = f"CPU {number}"
            self.declare(track, f"CPU {number}")
        return track
