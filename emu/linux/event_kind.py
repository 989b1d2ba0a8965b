"""The declaration of an event kind: its fields with type, unit and meaning, and how an event reads in words.

The rows are in ``emu/trace/schema.py``.  A kernel module with a new kind of event declares a row of its own when it
starts:

>>> from types import SimpleNamespace
>>> kernel = SimpleNamespace(event_kinds=[])  # init(kernel) is given the real one
>>> source, target = (Field(name, Type.NUMBER, f"the {name} node") for name in ("source", "target"))
>>> migrate = Kind.of("migrate", "a page moves", source, target, words="from node {source} to {target}")
>>> kernel.event_kinds.append(migrate)
>>> migrate.describe({"source": 0, "target": 1})
['from node 0 to 1']

and reports it where it happens: ``kernel.tracer.event("migrate", pid=task.pid, source=0, target=1)``.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

#: An event: its fields by name.  Addresses and entries are numbers, however the file writes them.
Event = Mapping[str, Any]
#: An event in words: text with {names} of its fields, or a function that gives lines.  Empty: each name and value.
Words = str | Callable[[Event], list[str]]

#: The exceptions that a value of a wrong type causes.
_UNFIT = (TypeError, ValueError, AttributeError, KeyError)
_NAME = re.compile("[a-z][a-z0-9_]*")


class EventError(ValueError):
    """An event that its declaration does not allow, or a declaration that makes no sense; the message says which field
    of which kind is wrong."""


class Type(Enum):
    """The type of a field; the value says how JSON writes it.

    Addresses and entries are hexadecimal strings, because JSON numbers lose 64-bit integers.
    """

    NUMBER = "a number"
    HEX = "a hexadecimal string"
    TEXT = "a string"
    TRUE = "true"
    NULL = "null"
    NUMBERS = "a list of numbers"
    HEXES = "a list of hexadecimal strings"
    TEXTS = "a list of strings"
    ENTRIES = "an object of hexadecimal strings by level"  # page-table entries


@dataclass(frozen=True)
class Field:
    """A field of an event.

    ``unit`` is what a number counts, or what kind of address it is.  ``choices``: the only values, if not empty.
    A ``nullable`` field may be None; an ``optional`` one may be missing.
    """

    name: str
    type: Type
    meaning: str
    unit: str = ""
    choices: tuple[int | str, ...] = ()
    nullable: bool = False
    optional: bool = False

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.choices and self.type not in (Type.NUMBER, Type.TEXT):
            raise EventError(f"{self.name}: only numbers and strings are chosen from a few")

    @cached_property
    def encode(self) -> Callable[[Any], Any]:
        """The value as JSON writes it.  :class:`EventError` for a value that the field cannot hold."""
        return self._checked(_TO_JSON[self.type], _IN_PYTHON.get(self.type, self.type.value))

    @cached_property
    def decode(self) -> Callable[[Any], Any]:
        """The value that JSON stands for.  :class:`EventError` for a value that the field cannot hold."""
        return self._checked(_FROM_JSON[self.type], self.type.value)

    def _checked(self, convert: Callable[[Any], Any], what: str) -> Callable[[Any], Any]:
        choices, nullable = self.choices, self.nullable

        def checked(value: Any) -> Any:
            if value is None and nullable:
                return None
            try:
                converted = convert(value)
            except _UNFIT:
                raise self._wrong(value, what) from None
            if choices and value not in choices:
                raise self._wrong(value, what)
            return converted

        return checked

    def _wrong(self, value: Any, what: str) -> EventError:
        shown, wanted = repr(value), " or ".join(map(str, self.choices)) or what
        cut = f"{shown[:60]}..." if len(shown) > 60 else shown
        return EventError(f"{self.name} should be {wanted}{' or null' if self.nullable else ''}, and is {cut}")

    def show(self, value: Any) -> str:
        """The value in words."""
        return "none" if value is None else _IN_WORDS[self.type](value)


@dataclass(frozen=True)
class Form:
    """One form of the events of a kind; ``when`` says when it applies, if there are several."""

    fields: tuple[Field, ...]
    words: Words = ""
    when: str = ""

    def __post_init__(self) -> None:
        if len(self.by_name) != len(self.fields):
            raise EventError(f"a field is declared twice: {', '.join(field.name for field in self.fields)}")
        if isinstance(self.words, str):
            for name, simple in _placeholders(self.words):
                if name not in self.required or not simple:
                    raise EventError(
                        f"the words {self.words!r} may only have {{names}} of fields that are always there: "
                        f"{', '.join(sorted(self.required))}"
                    )

    @cached_property
    def by_name(self) -> dict[str, Field]:
        """The fields by their names."""
        return {field.name: field for field in self.fields}

    @cached_property
    def required(self) -> frozenset[str]:
        """The names of the fields that are always there."""
        return frozenset(field.name for field in self.fields if not field.optional)

    @cached_property
    def decoders(self) -> dict[str, Callable[[Any], Any]]:
        """:attr:`Field.decode` of each field, by name, composing no error message: traces are long."""
        return {field.name: _quick_decoder(field) for field in self.fields}

    def describe(self, event: Event) -> list[str]:
        """An event of this form in words: a line, and perhaps more below it."""
        if callable(self.words):
            return self.words(event)
        shown = {name: field.show(event[name]) for name, field in self.by_name.items() if name in event}
        if self.words:
            return [line.format_map(shown) for line in self.words.split("\n")]
        return [", ".join(f"{name} {value}" for name, value in shown.items())]


@dataclass(frozen=True)
class Kind:
    """One kind of event: a row of the schema."""

    name: str
    meaning: str
    forms: tuple[Form, ...]

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not self.forms:
            raise EventError(f"{self.name} has no form")

    @classmethod
    def of(cls, name: str, meaning: str, *fields: Field, words: Words = "") -> Kind:
        """A kind whose events all have the same form."""
        return cls(name, meaning, (Form(fields, words),))

    def form_of(self, event: Event) -> Form:
        """The form of an event, found by the names of its fields.

        :class:`EventError` if a field is missing or the kind has no such field.
        """
        names = event.keys()
        for form in self.forms:
            if form.required <= names <= form.by_name.keys():
                return form
        closest = max(self.forms, key=lambda form: len(names & form.by_name.keys()))
        for field in closest.fields:
            if field.name not in names and not field.optional:
                raise EventError(f"{self.name}: {field.name} is missing")
        strange = next(name for name in names if name not in closest.by_name)
        raise EventError(f"{self.name}: there is no field {strange!r}; the fields are {', '.join(closest.by_name)}")

    def encode(self, event: Event) -> dict[str, Any]:
        """An event as JSON writes it, its fields in the order of the row.  :class:`EventError` if one is wrong."""
        form = self.form_of(event)
        try:
            return {name: field.encode(event[name]) for name, field in form.by_name.items() if name in event}
        except EventError as error:
            raise EventError(f"{self.name}: {error}") from None

    def decode(self, event: Event) -> dict[str, Any]:
        """The event that JSON stands for.  :class:`EventError` if a field is wrong."""
        form = self.form_of(event)
        decoders = form.decoders
        try:
            return {name: decoders[name](value) for name, value in event.items()}
        except _UNFIT:
            pass
        try:
            return {name: form.by_name[name].decode(value) for name, value in event.items()}
        except EventError as error:
            raise EventError(f"{self.name}: {error}") from None

    def describe(self, event: Event) -> list[str]:
        """An event in words, in lines without control characters; unknown fields are ignored."""
        form = self.forms[0]
        if len(self.forms) > 1:
            form = next(form for form in self.forms if form.required <= event.keys())
        return list(map(printable, form.describe(event)))


def printable(text: str) -> str:
    """The text with every unprintable character escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise EventError(
            f"{name!r} is no name: it should have lower-case letters, digits and _, and begin with a letter"
        )


def _placeholders(words: str) -> list[tuple[str, bool]]:
    """The names in braces, and whether each is a plain name."""
    try:
        parsed = list(string.Formatter().parse(words))
    except ValueError as error:
        raise EventError(f"the words {words!r}: {error}") from None
    return [(name, not spec and not conversion) for _, name, spec, conversion in parsed if name is not None]


def _quick_decoder(field: Field) -> Callable[[Any], Any]:
    if field.nullable or (field.choices and field.type is not Type.TEXT):
        return field.decode
    return {choice: choice for choice in field.choices}.__getitem__ if field.choices else _FROM_JSON[field.type]


# -- the values of the types -------------------------------------------------------------------------------------------


#: The value in Python, where it differs from that in JSON.
_IN_PYTHON = {
    Type.HEX: "a number of 64 bits",
    Type.HEXES: "a list of numbers of 64 bits",
    Type.ENTRIES: "numbers of 64 bits by level",
}
_LEVELS = {str(level): level for level in range(1, 6)}
_LEAST, _MOST = -(1 << 63), (1 << 64) - 1


def _number(value: Any) -> int:
    if not isinstance(value, int) or not _LEAST <= value <= _MOST or value is True or value is False:
        raise ValueError
    return value


def _hex(value: Any) -> str:
    if not isinstance(value, int) or not 0 <= value <= _MOST or value is True or value is False:
        raise ValueError
    return f"{value:#x}"


def _from_hex(value: Any) -> int:
    number = int(value, 16)
    if value[:2] != "0x" or number > _MOST:
        raise ValueError
    return number


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _only(wanted: object) -> Callable[[Any], Any]:
    def same(value: Any) -> Any:
        if value is not wanted:
            raise ValueError
        return value

    return same


def _each(of_one: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
    def of_all(values: Any) -> list[Any]:
        if not isinstance(values, list | tuple):
            raise ValueError
        return [of_one(value) for value in values]

    return of_all


_BOTH_WAYS: dict[Type, Callable[[Any], Any]] = {
    Type.NUMBER: _number, Type.TEXT: _text, Type.TRUE: _only(True), Type.NULL: _only(None),
    Type.NUMBERS: _each(_number), Type.TEXTS: _each(_text),
}  # fmt: skip
_TO_JSON = _BOTH_WAYS | {
    Type.HEX: _hex,
    Type.HEXES: _each(_hex),
    Type.ENTRIES: lambda entries: {str(level): _hex(entry) for level, entry in entries.items()},
}
_FROM_JSON = _BOTH_WAYS | {
    Type.HEX: _from_hex,
    Type.HEXES: _each(_from_hex),
    Type.ENTRIES: lambda entries: {_LEVELS[level]: _from_hex(entry) for level, entry in entries.items()},
}
_IN_WORDS: dict[Type, Callable[[Any], str]] = {
    Type.NUMBER: str,
    Type.HEX: _hex,
    Type.TEXT: str,
    Type.TRUE: lambda _: "true",
    Type.NULL: lambda _: "none",
    Type.NUMBERS: lambda numbers: ", ".join(map(str, numbers)),
    Type.HEXES: lambda numbers: ", ".join(map(_hex, numbers)),
    Type.TEXTS: " ".join,
    Type.ENTRIES: lambda entries: ", ".join(f"{level}: {entry:#x}" for level, entry in entries.items()),
}
