"""A trace as ``perf script -F comm,pid,tid,cpu,time,event,trace,ip,sym,dso --ns`` prints one with call chains
(tools/perf/builtin-script.c): an event a line, under it the instruction, and an empty line.

Names of events are perf's where perf has one that says the same; the others are of the groups ``mmu`` and ``unimmu``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emu.linux.event_kind import printable
from emu.trace.batch import Batch, Note
from emu.trace.formats.code import Code
from emu.trace.formats.processes import OF_PROGRAMS, Processes
from emu.trace.formats.record import Fields, Hex, NoteFields, each, fields_of
from emu.trace.formats.sink import Pieces, Sink, Write
from emu.trace.schema import Schema
from mmu.events import EventKind

_SHOWN = (EventKind.WALK, EventKind.FAULT, EventKind.FLUSH)
_NS = 1_000_000_000


class PerfScript(Sink):
    """Writes the text."""

    told = OF_PROGRAMS

    def __init__(self, write: Write) -> None:
        self._pieces = Pieces(write)

    def begin(self, header: Mapping[str, Any], schema: Schema, levels: int) -> None:
        self._notes = NoteFields(schema)
        self._processes = Processes()
        self._code = Code(header)
        command = _text(" ".join(header["command"]))
        self._pieces.put(f"# ========\n# cmdline : {command}\n# ========\n#\n".encode("utf-8", "backslashreplace"))

    def write(self, batch: Batch) -> None:
        for record, note in each(batch, _SHOWN):
            if note is None:
                self._put(record, *_hardware(record))
            elif note.kind != "end":
                self._processes.told(record.asid, note)
                self._code.told(record.asid, note)
                if note.chosen:
                    self._put(record, *self._kernel(record, note))

    def flush(self) -> None:
        self._pieces.flush()

    def _put(self, record: Any, event: str, says: str) -> None:
        comm = _text(self._processes.name(record.asid))
        seconds, ns = divmod(record.time, _NS)
        line = (
            f"{comm} {record.asid:7d}/{record.tid:<7d} [{record.cpu:03d}] {seconds:5d}.{ns:09d}: {event}: {says}\n"
            f"\t{record.rip:16x} {_text(self._code.place(record.asid, record.rip))}\n\n"
        )
        self._pieces.put(line.encode("utf-8", "backslashreplace"))

    def _kernel(self, record: Any, note: Note) -> tuple[str, str]:
        fields = note.fields
        if note.kind == "syscall_enter":
            return f"syscalls:sys_enter_{fields['name']}", ", ".join(fields["arguments"])
        if note.kind == "syscall_exit":
            return f"syscalls:sys_exit_{fields['name']}", fields.get("result") or f"-{fields['errno']}"
        if note.kind == "fork":
            comm = _text(self._processes.name(record.asid))
            says = f"comm={comm} pid={record.tid} child_comm={comm} child_pid={fields['child']}"
            return "sched:sched_process_fork", says
        if note.kind == "exec":
            says = f"filename={_text(fields['path'])} pid={record.tid} old_pid={record.tid}"
            return "sched:sched_process_exec", says
        name = "context-switches" if note.kind == "switch" else f"unimmu:{note.kind}"
        return name, _said(self._notes.of(note))


def _hardware(record: Any) -> tuple[str, str]:
    fields = fields_of(record)
    if record.kind == EventKind.FAULT:
        says = f"address={record.vaddr:#x} ip={record.rip:#x} error_code={record.error_code:#x}"
        return "exceptions:page_fault_user", f"{says} resolved={fields['resolved']}"
    return f"mmu:{EventKind(record.kind).name.lower()}", _said(fields)


def _said(fields: Fields) -> str:
    return " ".join(f"{name}={_text(value)}" for name, value in fields.items())


def _text(value: Any) -> str:
    if isinstance(value, Hex):
        return f"{value:#x}"
    shown = ",".join(_text(one) for one in value) if isinstance(value, list) else str(value)
    return printable(shown)
