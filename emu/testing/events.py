"""What happened in a machine, as a list that can be filtered: walks, fills, faults, flushes, links and the rest.

The events are those of the trace format (docs/tracing.md), with its names; addresses and entries are numbers here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from emu import __name__ as _PACKAGE
from emu.linux.event_kind import EventError, Kind
from emu.trace.formats.jsonlines import JsonLines
from emu.trace.recorder import MOST, Recorder
from emu.trace.schema import Schema
from mmu.events import EventKind

if TYPE_CHECKING:
    from emu.machine import Machine

#: What every machine for tests records: enough to say why a count is not the expected one, and cheap.
FEW = (EventKind.FAULT, EventKind.FLUSH)
#: Everything but each single access.
MANY = MOST
#: What an event has beside its fields.
_APART = ("seq", "clock", "time", "pid", "tid", "rip", "event")


@dataclass(frozen=True)
class MmuEvent:
    """One event: ``kind`` is its name in the trace format, every other field of it is an attribute.

    ``pid`` is None where no process is concerned; ``clock`` counts retired instructions.  docs/tracing.md says
    which fields there are; AttributeError names those of an event.

    >>> link = machine.events.links[0]
    >>> link.kind, link.pid, link.level, hex(link.vaddr), link.length >> 30
    ('link', 100, 'pmd', '0x20000000000', 1)
    """

    kind: str
    pid: int | None
    clock: int
    fields: Mapping[str, Any]
    #: The event as the trace file has it.
    raw: Mapping[str, Any]
    #: The row of the schema that says what its fields are.
    row: Kind

    def __getattr__(self, name: str) -> Any:
        fields = self.__dict__.get("fields", {})
        if name in fields:
            return fields[name]
        raise AttributeError(f"a {self.__dict__.get('kind')} event has no field {name!r}; it has {', '.join(fields)}")

    def touches(self, vaddr: int) -> bool:
        """Whether the event concerns ``vaddr``: its page, or the range that it names."""
        start = self.fields.get("vaddr")
        if start is None:
            return bool(self.fields.get("all"))
        length = self.fields.get("length") or 4096
        low = start & -4096 if length == 4096 else start
        return bool(low <= vaddr < low + length)

    def __str__(self) -> str:
        who = "" if self.pid is None else f"{self.pid} "
        return f"{who}{self.kind}: {self.row.describe(self.fields)[0]}"


def parse_event(line: str, schema: Schema) -> MmuEvent:
    """One line of a trace."""
    raw = json.loads(line)
    event = schema.decode(raw)
    fields = {name: value for name, value in event.items() if name not in _APART}
    return MmuEvent(event["event"], event.get("pid"), event["clock"], fields, raw, schema[event["event"]])


class MmuEvents(Sequence[MmuEvent]):
    """Events in the order in which they happened; a selection of them is such a list again.

    The whole list of a machine grows while the machine runs, a selection does not.  ``schema`` says what can be asked.

    >>> [link.pid for link in machine.events.links]
    [100, 101]
    >>> len(machine.events.where("fault", vaddr=2 << 40, pid=child.pid))
    1
    """

    def __init__(self, source: Callable[[], Sequence[MmuEvent]], schema: Schema) -> None:
        self._source = source
        self._schema = schema

    def where(
        self,
        kind: str | None = None,
        *,
        pid: int | None = None,
        vaddr: int | None = None,
        test: Callable[[MmuEvent], bool] | None = None,
        **fields: object,
    ) -> MmuEvents:
        """Those of a kind, of a process, that concern an address, for which ``test`` holds, and that have these fields.

        :class:`EventError` if there is no such kind, or if its events do not have such fields or values.
        """
        self._schema.check_filter(kind, fields)
        if not isinstance(pid, int | None):
            raise EventError(f"pid should be a number, and is {pid!r}; a process's is task.pid")
        chosen = [
            event
            for event in self._source()
            if (kind is None or event.kind == kind)
            and (pid is None or event.pid == pid)
            and (vaddr is None or event.touches(vaddr))
            and all(event.fields.get(name) == value for name, value in fields.items())
            and (test is None or test(event))
        ]
        return MmuEvents(lambda: chosen, self._schema)

    @property
    def walks(self) -> MmuEvents:
        """Page walks, each with the entries that it read (``entries``, by level)."""
        return self.where("walk")

    @property
    def fills(self) -> MmuEvents:
        """Translations that the CPU asked for and got."""
        return self.where("fill")

    @property
    def faults(self) -> MmuEvents:
        """Page faults, resolved or not (``error_code``)."""
        return self.where("fault")

    @property
    def flushes(self) -> MmuEvents:
        """Invalidations: a range, or ``all``."""
        return self.where("flush")

    @property
    def links(self) -> MmuEvents:
        """Shared tables that were linked into a process."""
        return self.where("link")

    @property
    def unlinks(self) -> MmuEvents:
        """Shared tables that were unlinked from a process."""
        return self.where("unlink")

    @property
    def kinds(self) -> list[str]:
        """The kind of each event, in order."""
        return [event.kind for event in self._source()]

    @overload
    def __getitem__(self, index: int) -> MmuEvent: ...
    @overload
    def __getitem__(self, index: slice) -> MmuEvents: ...
    def __getitem__(self, index: int | slice) -> MmuEvent | MmuEvents:
        if isinstance(index, int):
            return self._source()[index]
        chosen = self._source()[index]
        return MmuEvents(lambda: chosen, self._schema)

    def __len__(self) -> int:
        return len(self._source())

    def __iter__(self) -> Iterator[MmuEvent]:
        return iter(self._source())

    def __str__(self) -> str:
        return "\n".join(map(str, self._source())) or "no events"

    def __repr__(self) -> str:
        kinds = Counter(self.kinds)
        return f"<{len(self)} events: {', '.join(f'{n} {kind}' for kind, n in kinds.items())}>"


class EventLog:
    """Records a machine from now on."""

    def __init__(self, machine: Machine) -> None:
        self._chunks: list[bytes] = []
        self._parsed: list[MmuEvent] = []
        self._ring = machine.kernel.cpu.mmu.events
        self._recorder = Recorder(machine, JsonLines(self._chunks.append), command=[_PACKAGE], seed=0, version="")
        self._recorder.syscalls = self._recorder.switches = False
        self._header = True
        machine.kernel.tracer = self._recorder
        self.record(FEW)
        #: Everything that was recorded.
        self.events = MmuEvents(self._all, self._recorder.schema)

    def record(self, kinds: Sequence[EventKind], *, syscalls: bool = False) -> None:
        """From now on, these kinds of the MMU's events; the kernel's always, but calls and switches only if wanted."""
        self._ring.enable(*kinds)
        self._recorder.syscalls = self._recorder.switches = syscalls

    def _all(self) -> list[MmuEvent]:
        self._recorder.flush()
        lines = b"".join(self._chunks).decode("ascii").splitlines()
        self._chunks.clear()
        if self._header and lines:
            del lines[0]
            self._header = False
        self._parsed += (parse_event(line, self._recorder.schema) for line in lines)
        return self._parsed
