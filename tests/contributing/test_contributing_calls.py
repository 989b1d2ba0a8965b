"""CONTRIBUTING.md describes every verb of the script language, and none that is not there."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT

SECTION = re.search(
    r"^## The script language of calls\n(.*?)^#+ ", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE | re.DOTALL
)
SOURCE = (ROOT / "guests" / "src" / "calls.c").read_text()


def macro(name: str) -> set[str]:
    """The names of an X macro."""
    found = re.search(rf"^#define {name}\(X\)(.*?[^\\])\n", SOURCE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return set(re.findall(r"X\((\w+), ", found[1]))


def words(text: str) -> set[str]:
    return {word.split()[0] for word in re.findall(r"`([^`]+)`", text)}


def test_the_verbs() -> None:
    assert SECTION is not None
    rows = re.findall(r"^\| (`.*?) \| ", SECTION[1], re.MULTILINE)
    told = {word for row in rows for word in words(row)}
    operations = set(re.findall(r'\{ "(\w+)", op_\w+ \}', SOURCE))
    keywords = {"fork", "thread", "repeat", "end", "words"}
    assert keywords <= set(re.findall(r'"@?(\w+)"', SOURCE))
    assert told == operations | keywords


def test_the_names() -> None:
    assert SECTION is not None
    calls, _, constants = SECTION[1].partition("These system calls go by their names:")[2].partition("These constants")
    assert words(calls) == macro("CALLS")
    assert words(constants) == macro("CONSTANTS")
