"""The first line of a trace: what was run on what machine, and the rows of event kinds that kernel modules declared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emu.linux.event_kind import EventError, Field, Form, Kind, Type
from emu.trace.schema import FORMAT, FORMAT_VERSION, Schema

FIELDS = (
    Field("format", Type.TEXT, "what this is", choices=(FORMAT,)),
    Field("version", Type.NUMBER, "the version of the format", choices=(FORMAT_VERSION,)),
    Field("unimmu", Type.TEXT, "the version of unimmu that wrote it"),
    Field("command", Type.TEXTS, "the program and its arguments"),
    Field("root", Type.TEXT, "the directory of the host that was its root, where there was one", optional=True),
    Field("memory_bytes", Type.NUMBER, "the size of the machine's memory", "bytes"),
    Field("levels", Type.NUMBER, "of its page tables, where there are not 4", choices=(5,), optional=True),
    Field("seed", Type.NUMBER, "the seed of everything that is random"),
    Field("tlb", Type.TEXT, 'the name of the modelled TLB, or "off"', optional=True),
    Field("cpus", Type.NUMBER, "how many vCPUs there are, where there are several", "vCPUs", optional=True),
    Field("region", Type.TEXT, "the region of interest that was recorded, as --region asked for it", optional=True),
)
_KINDS = "kinds"  # the list of declared rows, where there are any
_HEADER = Kind.of("header", "the first line", *FIELDS)


def make_header(schema: Schema, **values: Any) -> dict[str, Any]:
    """The header as JSON has it.  :class:`EventError` for a value that it cannot have."""
    header = _HEADER.encode({"format": FORMAT, "version": FORMAT_VERSION, **values})
    return header | ({_KINDS: [_to_json(kind) for kind in schema.more]} if schema.more else {})


def read_header(header: Mapping[str, Any]) -> tuple[dict[str, Any], Schema]:
    """A header's values, and the schema of the events below it.  :class:`EventError` if it is none."""
    values = _HEADER.decode(_without(header, _KINDS))
    return values, Schema(map(_kind, _objects(header, _KINDS)), cpus=values.get("cpus", 1))


# -- rows as JSON ------------------------------------------------------------------------------------------------------

_FIELD = Kind.of(
    "field",
    "a field of a declared kind",
    Field("name", Type.TEXT, "its name"),
    Field("type", Type.TEXT, "what it holds", choices=tuple(type.name.lower() for type in Type)),
    Field("meaning", Type.TEXT, "what it says"),
    Field("unit", Type.TEXT, "what a number counts", optional=True),
    Field("choices", Type.TEXTS, "the only values", optional=True),
    Field("nullable", Type.TRUE, "it may be null", optional=True),
    Field("optional", Type.TRUE, "it may be missing", optional=True),
)
_FORM = Kind.of(
    "form",
    "a form of a declared kind",
    Field("when", Type.TEXT, "which events have it"),
    Field("words", Type.TEXT, "what they say"),
)
_KIND = Kind.of(
    "kind", "a declared kind", Field("name", Type.TEXT, "its name"), Field("meaning", Type.TEXT, "what happened")
)


def _to_json(kind: Kind) -> dict[str, Any]:
    forms = []
    for form in kind.forms:
        if callable(form.words):
            raise EventError(
                f"{kind.name}: the words of a module's kind are text, because the header of a trace has them"
            )
        forms.append(
            {"when": form.when, "words": form.words, "fields": [_field_to_json(field) for field in form.fields]}
        )
    return {"name": kind.name, "meaning": kind.meaning, "forms": forms}


def _field_to_json(field: Field) -> dict[str, Any]:
    row = {"name": field.name, "type": field.type.name.lower(), "meaning": field.meaning}
    more = {"unit": field.unit, "nullable": field.nullable, "optional": field.optional}
    choices = {"choices": [str(choice) for choice in field.choices]} if field.choices else {}
    return _FIELD.encode(row | {name: value for name, value in more.items() if value} | choices)


def _kind(row: dict[str, Any]) -> Kind:
    forms = tuple(map(_form, _objects(row, "forms")))
    return Kind(forms=forms, **_KIND.decode(_without(row, "forms")))


def _form(row: dict[str, Any]) -> Form:
    fields = tuple(map(_field, _objects(row, "fields")))
    return Form(fields, **_FORM.decode(_without(row, "fields")))


def _field(row: dict[str, Any]) -> Field:
    values = _FIELD.decode(row)
    values["type"] = Type[values["type"].upper()]
    values["choices"] = tuple(values.get("choices", ()))
    if values["type"] is Type.NUMBER:
        try:
            values["choices"] = tuple(map(int, values["choices"]))
        except ValueError as error:
            raise EventError(f"field: choices: {error}") from None
    return Field(**values)


def _objects(row: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found = row.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise EventError(f"{name} should be a list of objects, and is {found!r:.60}")
    return found


def _without(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {other: value for other, value in row.items() if other != name}
