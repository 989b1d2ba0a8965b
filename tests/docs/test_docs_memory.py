"""The table of docs/memory-versions.md names every guest about memory, and its versions fit the guests' own."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT
from tests.native.guest import Guest, all_guests

_SUBJECTS = ("memory", "thp", "swap", "cgroups")
_ROW = re.compile(r"\| (?P<what>[^|]+) \| (?P<since>always|\d+\.\d+) \| (?P<guests>`[^|]+`) \|")


def _rows() -> list[tuple[str, tuple[int, int], list[str]]]:
    rows = []
    for line in (ROOT / "docs/memory-versions.md").read_text("utf-8").splitlines():
        if match := _ROW.fullmatch(line):
            major, _, minor = match["since"].replace("always", "0.0").partition(".")
            rows.append((match["what"], (int(major), int(minor)), re.findall(r"`([^`]+)`", match["guests"])))
    return rows


def _guests() -> dict[str, Guest]:
    return {
        guest.name.removeprefix("memory/"): guest for guest in all_guests() if guest.name.partition("/")[0] in _SUBJECTS
    }


def test_every_guest_is_in_the_table() -> None:
    named = {name for _, _, names in _rows() for name in names}
    assert named == set(_guests())


def test_a_guest_is_not_older_than_what_it_holds() -> None:
    guests = _guests()
    for what, since, names in _rows():
        said = [guests[name].since for name in names if guests[name].since != (0, 0)]
        assert not said or since <= max(said), what


def test_every_line_of_a_table_is_read() -> None:
    lines = (ROOT / "docs/memory-versions.md").read_text("utf-8").splitlines()
    assert len(_rows()) == sum(line.startswith("| ") and not line.startswith("| behaviour") for line in lines)
