"""The MMU's events as lines of JSON.  A traced run spends most of its time here: about 2 µs an event.

A line is a template of the ``%`` operator, made from a row of the schema, filled with columns of the ring's record.
What has only a few values (the access, the rights, the levels that a walk read) stands in the template itself; there is
one for each combination that occurs, made when it first does.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from operator import itemgetter
from typing import Any

from emu.linux.event_kind import Field, Form, Type
from emu.trace.schema import COMMON, CPU, EVENT, HARDWARE, PID, HardwareKind
from mmu.event_table import EVENT as RECORD
from mmu.event_table import Events

#: A record of the ring; "entries" is a value for each level, level 1 first.
Record = tuple[int, ...]

_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
#: The columns of what every event has, where they have other names.
_COMMON_COLUMNS = {PID.name: "asid"}
#: Templates of what a field holds; text that the record has no number of does not occur.
_HOLDS = {Type.NUMBER: "%d", Type.HEX: '"%#x"', Type.TRUE: "true", Type.NULL: "null"}


def _layout() -> tuple[struct.Struct, dict[str, int]]:
    """How the bytes of a record become a :data:`Record`, and where in it each column is."""
    codes, places = "<", dict[str, int]()
    for name in RECORD.names or ():
        places[name] = len(codes) - 1
        codes += _CODES[RECORD[name].base.itemsize] * (RECORD[name].shape or (1,))[0]
    return struct.Struct(codes), places


_RECORD, _AT = _layout()
_KIND, _LEVEL, _ENTRIES = _AT["kind"], _AT["level"], _AT["entries"]


class _FormLines:
    """The lines of the events that have one form."""

    def __init__(self, kind: HardwareKind, form: Form, levels: int, cpus: int) -> None:
        self._kind, self._levels = kind, levels
        which = (replace(CPU, optional=False),) if cpus > 1 else ()
        common = [part for field in COMMON for part in (which if field is CPU else (field,))]
        self._fields = [*common, *form.fields]
        self._columns = {field.name: field.name for field in self._fields} | _COMMON_COLUMNS | dict(kind.columns)
        texts = [self._at(field) for field in form.fields if field.type is Type.TEXT]
        few = itemgetter(*texts or [_KIND])
        walk = any(field.type is Type.ENTRIES for field in form.fields)
        optional = [self._at(field) for field in self._fields if field.optional and field.name != "cached_level"]

        def there(record: Record) -> tuple[bool, ...]:
            return tuple([record[column] != 0 for column in optional])

        #: What of a record is in its template.
        self.shape: Callable[[Record], Any] = (
            (lambda record: (few(record), there(record), record[_LEVEL], self._first_level(record)))
            if walk
            else (lambda record: (few(record), there(record)))
        )
        #: By shape: the template, and what fills it besides the number of the event.
        self.templates: dict[Any, tuple[str, Callable[[Record], tuple[int, ...]]]] = {}

    def make_template(self, record: Record) -> tuple[str, Callable[[Record], tuple[int, ...]]]:
        """The template of all records that have the shape of this one."""
        parts = [part for field in self._fields if (part := self._part(field, record))]
        text = ",".join(f'"{name}":{holds}' for name, holds, _ in parts)
        return f"{{{text}}}", itemgetter(*(column for *_, columns in parts for column in columns))

    def _part(self, field: Field, record: Record) -> tuple[str, str, list[int]] | None:
        """A field's name, what is in the template for it, and the columns that fill that; None: it is not there."""
        first, last = self._first_level(record), record[_LEVEL]
        if field is EVENT:
            return field.name, f'"{self._kind.name}"', []
        if field.name == "cached_level":  # the entry above the first that was read
            return (field.name, str(first + 1), []) if first != self._levels else None
        if field.optional and record[self._at(field)] == 0:
            return None
        if field.type is Type.ENTRIES:
            read = range(first, last - 1, -1)
            holds = ",".join(f'"{level}":"%#x"' for level in read)
            return field.name, f"{{{holds}}}", [_ENTRIES + level - 1 for level in read]
        if field.type is Type.TEXT:
            return field.name, f'"{field.choices[record[self._at(field)]]}"', []
        return field.name, _HOLDS[field.type], [self._at(field)] if "%" in _HOLDS[field.type] else []

    def _at(self, field: Field) -> int:
        return _AT[self._columns[field.name]]

    def _first_level(self, record: Record) -> int:
        """The level at which a walk began: every entry before the last is present, so not 0."""
        level, last = self._levels, record[_LEVEL]
        while level > last and not record[_ENTRIES + level - 1]:
            level -= 1
        return level


class HardwareLines:
    """The lines of the MMU's events, on a machine whose tables have ``levels`` levels.

    Of several ``cpus`` each line says which one it was.
    """

    def __init__(self, levels: int = 4, *, cpus: int = 1) -> None:
        #: By the kind's number: the column that decides which form an event has, and both forms.
        self._forms: dict[int, tuple[int, _FormLines, _FormLines]] = {}
        for kind in HARDWARE:
            forms = [_FormLines(kind, form, levels, cpus) for form in kind.forms]
            self._forms[int(kind.number)] = (_AT[kind.decided_by], forms[0], forms[-1])

    def format(self, events: Events) -> Iterator[str]:
        """A line for each event."""
        for record in _RECORD.iter_unpack(events.tobytes()):
            if record[_KIND] not in self._forms:
                raise ValueError(f"the schema has no event kind {record[_KIND]}")
            decided_by, first, other = self._forms[record[_KIND]]
            form = first if record[decided_by] else other
            shape = form.shape(record)
            found = form.templates.get(shape)
            if found is None:
                found = form.templates[shape] = form.make_template(record)
            template, values = found
            yield template % values(record)
