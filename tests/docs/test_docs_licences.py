"""docs/licences.md names every package that pip installs with unimmu, with the licence that its metadata says."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import metadata, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "licences.md").read_text("utf-8")
LISTED = dict(re.findall(r"^\| ([\w-]+) \| ([^|]+) \| [^|]+ \|$", PAGE, re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def needed(lines: list[str]) -> set[str]:
    """The names of what these requirements install here, and of what that needs in its turn."""
    found: set[str] = set()
    for requirement in map(Requirement, lines):
        name = requirement.name.lower().replace("_", "-")
        if (requirement.marker is None or requirement.marker.evaluate({"extra": ""})) and name not in found:
            found |= {name} | needed(requires(name) or [])
    return found


def test_every_package_is_listed() -> None:
    assert set(LISTED) - {"package"} == needed(PROJECT["dependencies"])


@pytest.mark.parametrize("name", sorted(set(LISTED) - {"package"}))
def test_the_licence_is_the_one_in_the_metadata(name: str) -> None:
    """By its first word: a newer release may name more of its parts."""
    said = metadata(name)
    texts = [text for field in ("License-Expression", "License", "Classifier") for text in said.get_all(field) or []]
    first = re.split(r"[ -]", LISTED[name])[0]
    assert any(first.lower() in text.lower() for text in texts), f"{name} says {texts}"


def test_one_licence_for_our_own_code() -> None:
    assert PROJECT["license"] == "GPL-2.0-or-later"
    for file in (ROOT / "guests").rglob("*.[chp]*"):
        if file.suffix in (".c", ".h", ".py"):
            assert "SPDX-License-Identifier: GPL-2.0-or-later" in file.read_text("utf-8").splitlines()[0], file
