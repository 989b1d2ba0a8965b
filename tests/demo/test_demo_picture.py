"""The picture and the page show what the snapshots hold."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from emu.trace.report.figures import Grid, costs, walks
from emu.trace.report.page import sharing_page
from emu.trace.report.sharing import describe_sharing, draw_sharing
from emu.trace.report.snapshot import ProcessTables, Snapshot
from emu.trace.report.units import kib, plural, size_text
from tests.booted import MIB

Peak = Callable[..., Snapshot]

ROOT = Path(__file__).resolve().parents[2]
SIZE = 6 * MIB
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def snapshots(peak: Peak) -> tuple[Snapshot, Snapshot]:
    return peak("plain", 3, SIZE), peak("mshare", 3, SIZE)


def words(picture: str) -> list[str]:
    """Everything that is written in the picture, hints and description left out."""
    return ["".join(text.itertext()) for text in ElementTree.fromstring(picture).iter(f"{SVG}text")]


def test_the_picture_has_every_table_of_its_own_and_shared_ones_once(snapshots: tuple[Snapshot, Snapshot]) -> None:
    apart, shared = snapshots
    written = words(draw_sharing(apart, shared))
    for process in apart.processes:
        for level in (4, 3, 2):
            assert f"{process.tables[level][0]:#x}" in written
    assert written.count("3 tables") == 3 + 1, "PTE tables: of three processes, and once shared"
    pmds = {process.tables[2][0] for process in shared.processes}
    assert sum(written.count(f"{pmd:#x}") for pmd in pmds - {apart.processes[0].tables[2][0]}) == len(pmds) == 1
    assert f"{shared.processes[0].walk[1].value:#x}" in written
    for snapshot in snapshots:
        assert any(f"{kib(snapshot.pagetable_bytes)} KiB of tables" in line for line in written)


def test_tables_that_are_not_drawn_are_those_of_both_panels(snapshots: tuple[Snapshot, Snapshot]) -> None:
    apart, shared = snapshots
    more = tuple(replace(process, pagetable_bytes=process.pagetable_bytes + 8192) for process in shared.processes)
    others = apart.other_tables(apart.processes[0])
    written = " ".join(words(draw_sharing(apart, replace(shared, processes=more))))
    assert f"Each process also has {others} to {others + 2} tables" in written


def test_hints_name_tables_and_entries(snapshots: tuple[Snapshot, Snapshot]) -> None:
    apart, shared = snapshots
    process = apart.processes[2]
    hints = [hint.text for hint in ElementTree.fromstring(draw_sharing(apart, shared)).iter(f"{SVG}title")]
    assert f"PMD table at {process.tables[2][0]:#x}, reached through the entry at {process.walk[1].paddr:#x}" in hints


def test_everything_lies_within_the_picture(snapshots: tuple[Snapshot, Snapshot]) -> None:
    root = ElementTree.fromstring(draw_sharing(*snapshots))
    width, height = (float(root.attrib[name]) for name in ("width", "height"))
    assert root.attrib["viewBox"] == f"0 0 {width:g} {height:g}"
    for rect in root.iter(f"{SVG}rect"):
        x, y = float(rect.attrib.get("x", 0)), float(rect.attrib.get("y", 0))
        assert x >= 0 and y >= 0
        assert x + float(rect.attrib["width"]) <= width and y + float(rect.attrib["height"]) <= height
    for text in root.iter(f"{SVG}text"):
        assert 0 < float(text.attrib["x"]) < width and 0 < float(text.attrib["y"]) < height


def test_the_picture_needs_nothing_from_elsewhere(snapshots: tuple[Snapshot, Snapshot]) -> None:
    page = sharing_page(*snapshots)
    assert re.findall(r'(?:href|src|url)\s*[=(]\s*["\']?([^"\') ]+)', page) == []
    assert page.count("http") == 1, "the name of SVG"


def test_the_page_has_the_figures_and_the_walk(snapshots: tuple[Snapshot, Snapshot]) -> None:
    page = sharing_page(*snapshots)
    assert page.startswith("<!doctype html>")
    for sentence in describe_sharing(*snapshots):
        assert sentence in page
    for grid in (costs(snapshots), walks(snapshots[0])):
        assert grid.title in page
        assert "".join(f"<td>{cell}</td>" for cell in grid.rows[-1]) in page
    for step in snapshots[1].processes[-1].walk:
        assert str(step) in page


def test_walks_say_whether_they_meet(snapshots: tuple[Snapshot, Snapshot]) -> None:
    apart, shared = (walks(snapshot) for snapshot in snapshots)
    assert apart.title == "Plain MAP_SHARED: the walks of 0x20000000000 come to 3 different PMD tables"
    assert shared.title == "Through msharefs: every walk of 0x20000000000 comes to the same PMD table"
    assert len({row[-1] for row in apart.rows}) == 3
    assert len({row[-1] for row in shared.rows}) == 1
    assert len({row[2] for row in shared.rows}) == 3, "through three entries"


def test_sums_of_the_costs(snapshots: tuple[Snapshot, Snapshot]) -> None:
    grid = costs(snapshots)
    numbers = [[int(cell.replace(",", "").replace("-", "0")) for cell in row[1:]] for row in grid.rows]
    assert [sum(column) for column in zip(*numbers[:-1], strict=True)] == numbers[-1]


@pytest.mark.parametrize("level", ["pud", "pte"])
def test_other_levels(peak: Peak, level: str) -> None:
    shared = peak("mshare", 2, SIZE, level)
    written = words(draw_sharing(peak("plain", 2, SIZE), shared))
    said = "one and the same PUD table" if level == "pud" else "the same 3 PTE tables"
    assert any(said in line for line in written)


def test_one_process(peak: Peak) -> None:
    apart, shared = peak("plain", 1, SIZE), peak("mshare", 1, SIZE)
    assert describe_sharing(apart, shared)[1] == "With one process there is nobody to share with."
    assert words(draw_sharing(apart, shared)).count("process 100") == 2


def test_the_picture_is_legible_where_it_is_640_pixels_wide(snapshots: tuple[Snapshot, Snapshot]) -> None:
    for picture in (draw_sharing(*snapshots), (ROOT / "docs" / "demo.svg").read_text("utf-8")):
        root = ElementTree.fromstring(picture)
        shrunk = 640 / float(root.attrib["width"])
        sizes = [float(text.attrib["font-size"]) for text in root.iter() if "font-size" in text.attrib]
        assert min(sizes) * shrunk >= 11


@pytest.mark.parametrize("count", [5, 6, 512])
def test_many_processes(snapshots: tuple[Snapshot, Snapshot], count: int) -> None:
    """At most five columns, which say how many they leave out; the sums stay whole."""
    apart, shared = (replace(s, processes=_many(s.processes, count)) for s in snapshots)
    picture = draw_sharing(apart, shared)
    written = words(picture)
    assert sum(line.startswith("process ") for line in written) == 2 * (5 if count == 5 else 4)
    assert written.count(f"{count - 4} more") == (0 if count == 5 else 2)
    assert any(f"{kib(apart.pagetable_bytes)} KiB of tables" in line for line in written)
    assert len(picture) < 100_000


def _many(processes: tuple[ProcessTables, ...], count: int) -> tuple[ProcessTables, ...]:
    return tuple(replace(processes[i % len(processes)], pid=100 + i) for i in range(count))


def test_a_long_table_is_shortened() -> None:
    grid = Grid("", ("a", "b"), tuple((str(i), "x") for i in range(10)) + (("sum", "y"),), totals=1)
    assert grid.shortened(10) is grid
    assert [row[0] for row in grid.shortened(4).rows] == ["0", "1", "7 more", "9", "sum"]
    assert [row[1] for row in grid.shortened(4).rows] == ["x", "x", "...", "x", "y"]


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (4096, "4 KiB"), (1536, "1.5 KiB"), (17_104_896, "16.3 MiB"), (1 << 39, "512 GiB")],
)
def test_size_text(size: int, text: str) -> None:
    assert size_text(size) == text


def test_plural() -> None:
    assert [plural(n, "process", "processes") for n in (0, 1, 1234)] == ["0 processes", "1 process", "1,234 processes"]
