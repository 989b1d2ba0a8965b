"""The schema: a row for every kind of event, and the manual that is made from it."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import Any

import pytest

import emu.linux.event_kind
from emu.linux.event_kind import EventError, Field, Form, Kind, Type, printable
from emu.trace import document
from emu.trace.header import make_header, read_header
from emu.trace.schema import COMMON, HARDWARE, KINDS, Schema
from mmu.event_table import EVENT
from mmu.events import EventKind

MANUAL = Path(__file__).resolve().parents[2] / "docs" / "tracing.md"


def test_the_manual_has_the_rows_of_the_schema() -> None:
    """Where this fails: python -m emu.trace.document docs/tracing.md"""
    text = MANUAL.read_text("utf-8")
    assert document.updated(text) == text
    assert re.findall("^### `(.*)`$", text, re.MULTILINE) == [kind.name for kind in KINDS]


def test_the_generator_brings_a_manual_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "tracing.md"
    path.write_text(MANUAL.read_text("utf-8").replace("### `walk`", "### `wlak`"), "utf-8")
    document.main(path)
    assert path.read_text("utf-8") == MANUAL.read_text("utf-8")
    with pytest.raises(
        ValueError, match="there should be places for the tables header, common, hardware, kernel, columns, not for"
    ):
        document.updated("# nothing")


def test_the_example_runs() -> None:
    assert doctest.testmod(emu.linux.event_kind).failed == 0


def test_every_kind_of_the_mmu_has_a_row() -> None:
    assert sorted(kind.number for kind in HARDWARE) == sorted(kind for kind in EventKind if kind != EventKind.NOTE)
    for kind in HARDWARE:
        assert kind.decided_by in (EVENT.names or ()) and kind.columns.keys() <= {f.name for f in kind.forms[0].fields}
        for field in (field for form in kind.forms for field in form.fields):
            column = kind.columns.get(field.name, field.name)
            if field.type not in (Type.TRUE, Type.NULL) and not field.optional:
                assert column in (EVENT.names or ()), (kind.name, field.name)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_forms_can_be_told_apart(kind: Kind) -> None:
    """By the names of their fields, or by null; and each says of which events it is."""
    assert len({form.when for form in kind.forms}) == len(kind.forms)
    assert all(form.when for form in kind.forms) or len(kind.forms) == 1
    for at, form in enumerate(kind.forms):
        event = {field.name: None if field.type is Type.NULL else 0 for field in form.fields}
        assert kind.form_of(event) is kind.forms[at]


def test_every_field_says_what_it_means() -> None:
    for kind in KINDS:
        for field in (field for form in kind.forms for field in form.fields):
            assert field.meaning and not field.meaning.endswith("."), (kind.name, field.name)
            assert field.unit or field.type not in (Type.HEX, Type.ENTRIES) or field.name == "result", (
                kind.name,
                field.name,
            )


def test_rows_go_through_a_header_unchanged() -> None:
    fields = (
        Field("a", Type.NUMBER, "one", "bytes", (1, 2), nullable=True),
        Field("b", Type.TEXT, "two", choices=("x", "y"), optional=True),
        *(Field(type.name.lower(), type, "another") for type in Type),
    )
    kind = Kind("migrate", "a page moves", (Form(fields, "{a}", "first"), Form((), "it moved", "second")))
    values = {"unimmu": "0", "command": ["x"], "memory_bytes": 4096, "seed": 0}
    header = make_header(Schema([kind]), **values)
    read, schema = read_header(header)
    assert schema.more == (kind,)
    assert header.items() >= read.items() >= values.items()
    assert "kinds" not in make_header(Schema(), **values)
    assert [field.name for field in COMMON] == ["seq", "clock", "time", "pid", "tid", "cpu", "rip", "event"]


@pytest.mark.parametrize(
    ("type", "python", "json"),
    [
        (Type.NUMBER, -5, -5), (Type.HEX, 1 << 63, "0x8000000000000000"), (Type.HEX, 0, "0x0"), (Type.TEXT, "", ""),
        (Type.TRUE, True, True), (Type.NULL, None, None), (Type.NUMBERS, [1, 2], [1, 2]), (Type.HEXES, [16], ["0x10"]),
        (Type.TEXTS, ["a"], ["a"]), (Type.ENTRIES, {4: 1, 3: 0}, {"4": "0x1", "3": "0x0"}),
    ],
)  # fmt: skip
def test_values_go_both_ways(type: Type, python: Any, json: Any) -> None:
    field = Field("x", type, "what it is")
    assert field.encode(python) == json and field.decode(json) == python
    kind = Kind.of("k", "what happened", field)
    assert kind.encode({"x": python}) == {"x": json} and kind.decode({"x": json}) == {"x": python}
    assert kind.describe({"x": python})[0].startswith("x ")
    for wrong in (object(), 0.5, {"6": "0x0"}, b"", [object()]):
        with pytest.raises(EventError, match=r"k: x should be .*, and is "):
            kind.encode({"x": wrong})
        with pytest.raises(EventError, match=r"k: x should be .*, and is "):
            kind.decode({"x": wrong})


def test_what_is_not_printable_is_escaped() -> None:
    assert printable("é \\ a") == "é \\ a"
    assert printable("\n\t\x1b\x7f\x9b\u2028\udc80\0") == r"\n\t\x1b\x7f\x9b\u2028\udc80\x00"
