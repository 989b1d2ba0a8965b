"""Some events of a trace in their order: records of the ring, and beside them what the kernel has told."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mmu.events import EventKind

if TYPE_CHECKING:
    import numpy.typing as npt

    from mmu.event_table import Events

_encode = json.JSONEncoder(separators=(",", ":")).encode


class KernelKind(IntEnum):
    """Events of the kernel that are frequent: they are records, as those of the MMU are."""

    SYSCALL_ENTER = 16  # error_code: the number; entry_1 to entry_5 and old: the arguments, of which there are ``size``
    SYSCALL_EXIT = 17  # error_code: the number; new: the result, or 2**64 - errno
    SWITCH = 18  # error_code: the thread before, or 0


#: The largest number of an error; a result above 2**64 minus this is one.
MAX_ERRNO = 4095


def error_name(number: int) -> str:
    """EPERM and the like, or the number."""
    return errno.errorcode.get(number, str(number))


class Note(NamedTuple):
    """Any other event of the kernel: the name of its kind, and its fields as JSON has them.  One that is not
    ``chosen`` is there only for what it says of others."""

    kind: str
    fields: dict[str, Any]
    chosen: bool = True

    @property
    def detail(self) -> str:
        """The fields as JSON."""
        return _encode(self.fields)


class Batch(NamedTuple):
    """``records`` are of :data:`mmu.event_table.EVENT_COLUMNS`; each whose kind is NOTE is one of ``notes``, in the
    same order, and has who, where and when.  ``calls`` are the names of system calls, by number."""

    records: Events
    notes: Sequence[Note]
    calls: Mapping[int, str] = {}

    @property
    def told(self) -> npt.NDArray[np.intp]:
        """Where the kernel's events are."""
        return np.flatnonzero(self.records["kind"] >= EventKind.NOTE)

    def kernel_events(self, places: npt.NDArray[np.intp]) -> Iterator[Note]:
        """Those at ``places``, in their order: each NOTE is there."""
        notes = iter(self.notes)
        for record in self.records[places].tolist():
            yield next(notes) if record[_KIND] == EventKind.NOTE else self._note(record)

    def _note(self, record: tuple[int, ...]) -> Note:
        number = record[_CODE]
        if record[_KIND] == KernelKind.SWITCH:
            return Note("switch", {"previous": number or None})
        call = {"name": self.calls[number]}
        if record[_KIND] == KernelKind.SYSCALL_ENTER:
            arguments = (*record[_ENTRY : _ENTRY + 5], record[_OLD])[: record[_SIZE]]
            shown = [f"{argument:#x}" for argument in arguments]
            return Note("syscall_enter", {"number": number, **call, "arguments": shown})
        error = (1 << 64) - record[_NEW]
        if error <= MAX_ERRNO:
            return Note("syscall_exit", call | {"errno": error_name(error)})
        return Note("syscall_exit", call | {"result": f"{record[_NEW]:#x}"})

    def cut(self, first: int, most: int) -> Iterator[Batch]:
        """The same in pieces: of so many events at ``first``, and then of at ``most``."""
        start, told, end = 0, 0, min(first, len(self.records))
        while start < len(self.records):
            notes = self.notes[told:]
            if end < len(self.records):
                notes = notes[: int((self.records["kind"][start:end] == EventKind.NOTE).sum())]
            yield Batch(self.records[start:end], notes, self.calls)
            start, told, end = end, told + len(notes), min(end + most, len(self.records))

    def pieces(self) -> Iterator[tuple[Events, Note | None]]:
        """Runs of events of the MMU, each alone with None; and the record of each event of the kernel with the note."""
        records, start = self.records, 0
        told = self.told
        for note, at in zip(self.kernel_events(told), told.tolist(), strict=True):
            if start < at:
                yield records[start:at], None
            yield records[at : at + 1], note
            start = at + 1
        if start < len(records):
            yield records[start:], None


def _places() -> tuple[int, ...]:
    from mmu.event_table import EVENT_COLUMNS

    names = EVENT_COLUMNS.names or ()
    return tuple(map(names.index, ("kind", "error_code", "entry_1", "old", "new", "size")))


_KIND, _CODE, _ENTRY, _OLD, _NEW, _SIZE = _places()
