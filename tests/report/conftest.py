"""Traces of some runs, and their pages."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pytest

import emu.trace
from emu.cli.main import main
from emu.cli.tracing.counted import programs_of
from emu.trace.batch import Batch, Note
from emu.trace.formats.parquet import Parquet
from emu.trace.header import make_header
from emu.trace.pictures.page import report_page
from emu.trace.pictures.rows import Rows
from emu.trace.pictures.tally import tally
from emu.trace.schema import Schema
from emu.trace.tabulator import Tabulator
from mmu.event_table import EVENT_COLUMNS, Events
from tests.booted import machine

__all__ = ["machine"]

RUNS = {
    "shared": ["--cpus", "2", "region_stress", "3", "4"],
    "shootdowns": ["--cpus", "4", "region_churn", "3", "5"],
    "accesses": ["--tlb", "textbook", "--trace-accesses", "faults"],
    "five levels": ["--la57", "faults"],
}
#: Elements that have no end.
_VOID = {"meta", "br"}


class Reported(NamedTuple):
    """A trace, its rows as pyarrow has them, and its page."""

    path: Path
    rows: Any
    page: str


Traces: TypeAlias = Callable[[str], Reported]


@pytest.fixture(scope="session")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Traces:
    """A run of RUNS; each is recorded once."""

    @functools.cache
    def reported(name: str) -> Reported:
        path = tmp_path_factory.mktemp("trace") / "t.parquet"
        main(["run", "--trace", str(path), *RUNS[name]])
        trace = emu.trace.open(path)
        return Reported(path, trace.arrow(), page_of(path))

    return reported


def page_of(path: Path) -> str:
    """The page of a trace."""
    trace = emu.trace.open(path)
    return report_page(tally(trace, programs_of(trace, [])))


# -- pages -------------------------------------------------------------------------------------------------------------


class TableText(NamedTuple):
    """A table of a page."""

    caption: str
    headers: list[str]
    rows: list[list[str]]

    def column(self, header: str) -> list[int]:
        """A column of numbers."""
        at = self.headers.index(header)
        return [number(row[at]) for row in self.rows]


def number(text: str) -> int:
    """As a page writes it."""
    return int(text.replace(",", ""))


class Page(HTMLParser):
    """A page that is well-formed: its sections' tables, the names in it and the links to them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tables: dict[str, list[TableText]] = {}
        self.words: dict[str, str] = {}
        self._section = ""
        self._text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        assert len(attributes) == len(attrs)
        self.tags.append((tag, attributes))
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "a":
            self.links.append(attributes["href"])
        if tag == "section":
            self._section = attributes["aria-labelledby"]
        if tag == "table":
            self.tables.setdefault(self._section, []).append(TableText("", [], []))
        if tag == "tr":
            self.tables[self._section][-1].rows.append([])
        if tag not in _VOID:
            self.open.append(tag)
        self._text = ""

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag in ("td", "th", "caption"):
            table = self.tables[self._section][-1]
            if tag == "caption":
                self.tables[self._section][-1] = table._replace(caption=self._text)
            elif tag == "th":
                table.headers.append(self._text)
            else:
                table.rows[-1].append(self._text)
        if tag == "thead":
            self.tables[self._section][-1].rows.clear()

    def handle_data(self, data: str) -> None:
        self._text += data
        self.words[self._section] = self.words.get(self._section, "") + data

    def table(self, section: str, caption: str = "") -> TableText:
        """The first table of a section that has the caption."""
        return next(table for table in self.tables[section] if table.caption.startswith(caption))


# -- traces made by hand -----------------------------------------------------------------------------------------------


def written(path: Path, batches: Iterable[Batch], **header: Any) -> Path:
    """A trace with these events in a file."""
    schema = Schema()
    values = {"unimmu": "0", "command": ["/bin/made"], "memory_bytes": 1 << 28, "seed": 0, **header}
    with path.open("wb") as file:
        sink = Parquet(file.write)
        sink.begin(make_header(schema, **values), schema, header.get("levels", 4))
        for batch in batches:
            sink.write(batch)
        sink.end()
    return path


def events(count: int) -> Events:
    """So many records, numbered."""
    records: Events = np.zeros(count, EVENT_COLUMNS)
    records["seq"] = records["clock"] = np.arange(count)
    records["asid"] = records["tid"] = 100
    return records


def rows_of(records: Events, notes: Iterable[Note] = (), levels: int = 4) -> Iterator[Rows]:
    """The same as the report reads them."""
    schema = Schema()
    yield Rows(Tabulator(levels).table(Batch(records, list(notes))), schema)
