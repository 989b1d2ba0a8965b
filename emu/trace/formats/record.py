"""Events one by one, for the formats that are not a table."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from emu.linux.event_kind import Type
from emu.trace.batch import Note
from emu.trace.resolution import RESOLUTIONS
from mmu.event_table import EVENT_COLUMNS
from mmu.events import EventKind
from mmu.registers import Access

if TYPE_CHECKING:
    from emu.trace.batch import Batch
    from emu.trace.schema import Schema

_Record = namedtuple("_Record", EVENT_COLUMNS.names or ())  # type: ignore[misc]
#: A record of the ring, as numbers with names.
record_of: Callable[[Iterable[int]], Any] = _Record._make

_ACCESSES = tuple(access.name.lower() for access in Access)
_RIGHTS = tuple("".join(c if n >> i & 1 else "-" for i, c in enumerate("rwx")) for n in range(8))


class Hex(int):
    """A number that is read in hexadecimal."""


class Address(Hex):
    """An address, virtual or physical."""


#: The fields of an event, in words and numbers.
Fields = dict[str, Any]


def each(batch: Batch, kinds: Collection[EventKind]) -> Iterator[tuple[Any, Note | None]]:
    """The events of the MMU that are of these kinds, with None, and all of the kernel, with what it told."""
    wanted = np.zeros(256, bool)
    wanted[[*map(int, kinds)]] = True
    wanted[EventKind.NOTE :] = True
    notes = batch.kernel_events(batch.told)
    for values in batch.records[wanted[batch.records["kind"]]].tolist():
        record = record_of(values)
        yield record, next(notes) if record.kind >= EventKind.NOTE else None


def fields_of(record: Any) -> Fields:
    """What an event of the MMU says: a walk, a fault or a flush."""
    if record.kind == EventKind.FLUSH:
        return {"vaddr": Address(record.vaddr), "length": record.length} if record.length else {"all": True}
    fields: Fields = {"access": _ACCESSES[record.access], "vaddr": Address(record.vaddr)}
    if record.kind == EventKind.FAULT:
        return {**fields, "level": record.level, "error_code": record.error_code,
                "resolved": RESOLUTIONS[record.resolved]}  # fmt: skip
    entries = (record.entry_1, record.entry_2, record.entry_3, record.entry_4, record.entry_5)
    for level in range(5, 0, -1):
        if entries[level - 1] or level == record.level:
            fields[f"entry_{level}"] = Hex(entries[level - 1])
    if record.shared_level:
        fields["shared_level"] = record.shared_level
    if record.cycles:
        fields["cycles"] = record.cycles
    if record.first_pid:
        fields["first_pid"] = record.first_pid
    if record.rights:
        return {**fields, "paddr": Address(record.paddr), "rights": _RIGHTS[record.rights]}
    return {**fields, "error_code": record.error_code}


class NoteFields:
    """The fields of what the kernel tells, as numbers and words: JSON has addresses as text."""

    def __init__(self, schema: Schema) -> None:
        self._types = {
            name: {field.name: field for form in kind.forms for field in form.fields}
            for name, kind in schema.kinds.items()
        }

    def of(self, note: Note) -> Fields:
        """Those that are there."""
        types = self._types[note.kind]
        found: Fields = {}
        for name, value in note.fields.items():
            field = types[name]
            if value is None:
                continue
            if field.type is Type.HEX:
                value = (Address if "address" in field.unit else Hex)(value, 16)
            elif field.type is Type.HEXES:
                value = [Hex(one, 16) for one in value]
            elif field.type is Type.ENTRIES:
                value = [f"{level}: {entry}" for level, entry in value.items()]
            found[name] = value
        return found
