"""docs/architecture.md names only existing things, and its picture has every room."""

from __future__ import annotations

import importlib
import re
import runpy
import xml.etree.ElementTree as xml
from typing import Any

import pytest

from tests.docs.pages import PAGES, ROOT
from tests.test_imports import FLOORS

DRAWN = runpy.run_path(str(ROOT / "docs" / "draw_architecture.py"))
NAME = re.compile(r"`((?:mmu|emu|msharefs|sharing)(?:\.\w+)+)(?:\(\))?`")
#: Each dotted name of ours in backticks, with the page that it stands on.
NAMES = sorted({(page.relative_to(ROOT).as_posix(), name) for page in PAGES for name in NAME.findall(page.read_text())})


def find(dotted: str) -> Any:
    """The module, class, function or attribute of that name; AttributeError if there is none."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise AttributeError(dotted)


@pytest.mark.parametrize(("page", "name"), NAMES)
def test_every_name_is_there(page: str, name: str) -> None:
    find(name)


def test_the_journeys_name_what_they_pass() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    journeys = re.split(r"^### ", text.partition("## Words")[0], flags=re.MULTILINE)[1:]
    assert len(journeys) == 5
    for journey in journeys:
        assert len(set(NAME.findall(journey))) >= 5, journey.partition("\n")[0]


def test_the_picture_is_what_the_script_draws() -> None:
    picture = (ROOT / "docs" / "architecture.svg").read_text("utf-8")
    assert picture == DRAWN["draw"](), "run python docs/draw_architecture.py"
    assert len(picture.encode()) < 30_000
    xml.fromstring(picture)
    assert "prefers-color-scheme: dark" in picture


def test_the_floors_are_those_that_imports_obey() -> None:
    def called(room: str) -> str:
        path = room.replace(".", "/")
        return path if (ROOT / path).is_dir() else f"{path}.py"

    drawn = [{name for name, *_ in floor} for floor in reversed(DRAWN["FLOORS"])]
    assert drawn == [{called(room) for room in floor} - {"emu"} for floor in FLOORS]
