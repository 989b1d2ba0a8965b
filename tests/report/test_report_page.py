"""The page of a trace: its numbers are those of the trace, and it is a page that anybody can read."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import emu.trace
from emu.cli.main import main
from emu.trace.batch import Batch
from mmu.events import EventKind
from tests.report.conftest import RUNS, Page, Reported, Traces, events, number, page_of, written


@pytest.fixture(params=RUNS)
def reported(request: pytest.FixtureRequest, traces: Traces) -> Reported:
    return traces(request.param)


def values(reported: Reported, kind: str, column: str) -> list[object]:
    """A column of the events of a kind."""
    rows = reported.rows
    chosen = rows.filter(pc.equal(rows["event"].cast(pa.string()), kind))
    return list(chosen[column].to_pylist())


# -- its numbers -------------------------------------------------------------------------------------------------------


def test_events_by_kind_and_process(reported: Reported) -> None:
    page, rows = Page(reported.page), reported.rows
    kinds = Counter(rows["event"].to_pylist())
    by_kind = page.table("counts", "events by kind")
    assert dict(zip([row[0] for row in by_kind.rows], by_kind.column("count"), strict=True)) == kinds
    both = Counter(zip(rows["pid"].to_pylist(), rows["event"].to_pylist(), strict=True))
    by_pid = page.table("counts", "events by process")
    assert [int(row[0]) for row in by_pid.rows] == sorted({pid for pid, _ in both if pid})
    for kind in by_pid.headers[2:]:
        assert by_pid.column(kind) == [both[int(row[0]), kind] for row in by_pid.rows]


def test_time_lines_have_every_walk_and_fault(reported: Reported) -> None:
    page, rows = Page(reported.page), reported.rows
    both = Counter(zip(rows["pid"].to_pylist(), rows["event"].to_pylist(), strict=True))
    found = page.table("time")
    for header in found.headers[1:]:
        process, measure = header.split(": ")
        if measure != "TLB misses":
            pid = int(process.removeprefix("process "))
            assert sum(found.column(header)) == both[pid, measure.removesuffix("s")]
    starts = found.column("from instruction")
    assert starts == sorted(starts) and starts[0] == 0
    clocks = [
        clock
        for clock, kind in zip(rows["clock"].to_pylist(), rows["event"].to_pylist(), strict=True)
        if kind == "walk"
    ]
    walks = [sum(number(row[i]) for i, h in enumerate(found.headers) if h.endswith(": walks")) for row in found.rows]
    edges = [*starts, 1 << 62]
    assert walks == [sum(low <= clock < high for clock in clocks) for low, high in zip(starts, edges[1:], strict=True)]


def test_misses_are_the_accesses_that_no_tlb_answered(traces: Traces) -> None:
    reported = traces("accesses")
    levels = values(reported, "access", "tlb_level")
    found = Page(reported.page).table("time")
    misses = sum(sum(found.column(header)) for header in found.headers if header.endswith("TLB misses"))
    assert misses == levels.count(None) > 0
    answered = {row[1]: number(row[2]) for row in Page(reported.page).table("walks").rows}
    assert answered["none: a miss"] == misses
    assert (answered["the L1 TLB"], answered["the L2 TLB"]) == (levels.count(1), levels.count(2))


def test_the_heat_map_has_every_address(reported: Reported) -> None:
    kind = "access" if "access" in reported.rows["event"].to_pylist() else "walk"
    addresses = values(reported, kind, "vaddr")
    found = Page(reported.page).table("addresses")
    starts = [int(row[0], 16) for row in found.rows]
    assert starts == sorted(starts) and 1 < len(starts) <= 48
    edges = [*starts[1:], 1 << 64]
    counts = [sum(low <= vaddr < high for vaddr in addresses) for low, high in zip(starts, edges, strict=True)]  # type: ignore[operator]
    assert found.column({"access": "accesses", "walk": "walks"}[kind]) == counts


def test_where_walks_were_answered(reported: Reported) -> None:
    levels, cached, sizes = (values(reported, "walk", column) for column in ("level", "cached_level", "page_size"))
    top = emu.trace.open(reported.path).levels
    read = Counter((c - 1 if c else top) - level + 1 for c, level in zip(cached, levels, strict=True))  # type: ignore[operator]
    page = Page(reported.page)
    rows = [row for row in page.table("walks").rows if row[0] == "entries that a walk read"]
    assert {int(row[1].split()[0]): number(row[2]) for row in rows} == read
    assert f"{len(levels):,} walks read {sum(n * count for n, count in read.items()):,} entries" in page.words["walks"]
    ended = {row[1]: number(row[2]) for row in page.table("walks").rows if row[0] == "where walks ended"}
    assert ended["at a page of 4 KiB"] == sizes.count(4096)
    assert sum(count for answer, count in ended.items() if answer.startswith("in a fault")) == sizes.count(None)


def test_who_walked_to_whose_pages(traces: Traces) -> None:
    reported = traces("shared")
    both = Counter(zip(values(reported, "walk", "pid"), values(reported, "walk", "first_pid"), strict=True))
    rows = Page(reported.page).table("walks", "walks in shared tables").rows
    assert {(int(pid), int(first)): number(count) for pid, first, count in rows} == {
        pair: count for pair, count in both.items() if pair[1] is not None
    }
    assert any(pid != first for pid, first, _ in rows)


def test_faults(reported: Reported) -> None:
    resolved = Counter(zip(values(reported, "fault", "pid"), values(reported, "fault", "resolved"), strict=True))
    found = Page(reported.page).table("faults")
    for how in found.headers[1:]:
        assert found.column(how) == [resolved[int(row[0]), how] for row in found.rows]
    assert sum(sum(found.column(how)) for how in found.headers[1:]) == resolved.total()


def test_functions_have_every_walk(reported: Reported) -> None:
    page = Page(reported.page)
    found = page.table("functions")
    for measure, kind in (("walks", "walk"), ("faults", "fault")):
        assert sum(found.column(measure)) == len(values(reported, kind, "pid"))
    pages = Counter(rip & -4096 for rip in values(reported, "walk", "rip"))  # type: ignore[operator]
    shown = {int(row[1].split()[1], 16): number(row[2]) for row in found.rows if row[1].startswith("page")}
    assert shown == {page: pages[page] for page in shown} and shown
    assert "no symbols" in page.words["functions"]


def test_shootdowns(traces: Traces) -> None:
    reported = traces("shootdowns")
    page = Page(reported.page)
    found = page.table("shootdowns")
    costs = values(reported, "shootdown", "cost_cycles")
    assert sum(found.column("shootdowns")) == len(costs) > 0
    assert sum(found.column("cycles")) == sum(costs)  # type: ignore[arg-type]
    assert found.column("cycles") == [
        sender + others
        for sender, others in zip(found.column("the sender's"), found.column("the receivers'"), strict=True)
    ]
    told = page.table("shootdowns", "who told whom")
    receivers = values(reported, "shootdown", "receivers")
    assert sum(sum(told.column(header)) for header in told.headers[1:]) == sum(receivers)  # type: ignore[arg-type]


def test_shared_tables(traces: Traces) -> None:
    reported = traces("shared")
    page = Page(reported.page)
    links = {entry & 0xF_FFFF_FFFF_F000 for entry in values(reported, "link", "after")}  # type: ignore[operator]
    shared = next(table for table in page.tables["tables"] if "region region_stress" in table.caption)
    assert {f"{table:#x}" for table in links} == set(re.findall(r"table at (0x\w+)", shared.caption))
    assert [row[0] for row in shared.rows] == [*(f"process {pid}" for pid in range(101, 104)), "region region_stress"]
    assert sum(table.caption.startswith("PMD table") for table in page.tables["tables"]) == 1
    sizes = page.table("bytes")
    apart = [number(row[3]) for row in sizes.rows if row[3] != "-"]
    assert apart == [number(row[1]) + number(row[2]) for row in sizes.rows if row[3] != "-"]
    assert f"without sharing it would be {sum(apart)} KiB" in page.words["bytes"]


# -- it is a page ------------------------------------------------------------------------------------------------------


def test_well_formed_and_readable(reported: Reported) -> None:
    page = Page(reported.page)
    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    tags = Counter(tag for tag, _ in page.tags)
    assert tags["h1"] == tags["main"] == tags["nav"] == 1
    assert tags["title"] == 1 + tags["svg"] + hints(page)
    assert ("html", {"lang": "en"}) in page.tags
    for pictures in re.findall(r"<svg.*?</svg>", reported.page, re.DOTALL):
        assert re.search(r"<title>[^<]+</title>\s*<desc>[^<]+</desc>", pictures)
    for tag, attributes in page.tags:
        if attributes.get("class") == "wide":
            assert attributes["tabindex"] == "0" and attributes["role"] == "region" and attributes["aria-label"]
        if tag == "svg":
            assert attributes["role"] in ("img", "group")
        if tag == "th":
            assert attributes["scope"] == "col"


def hints(page: Page) -> int:
    """Boxes that say more when the pointer rests on them."""
    return sum(1 for tag, attributes in page.tags if tag == "a" and re.fullmatch("#t[0-9a-f]+", attributes["href"]))


def test_it_needs_nothing_else(reported: Reported) -> None:
    text = reported.page.replace('xmlns="http://www.w3.org/2000/svg"', "")
    for word in ("http:", "https:", "<script", "<link", "src=", "url(", "@import"):
        assert word not in text, word


def test_the_same_bytes_from_each_format(traces: Traces, tmp_path: Path) -> None:
    first = traces("shootdowns")
    again = tmp_path / "t.jsonl"
    main(["run", "--trace", str(again), *RUNS["shootdowns"]])
    assert page_of(again) == first.page
    assert page_of(first.path) == first.page


def test_a_page_of_many_events_is_small(tmp_path: Path) -> None:
    def batches() -> list[Batch]:
        random = np.random.default_rng(7)
        records = events(150_000)
        records["kind"] = random.choice([EventKind.WALK, EventKind.FILL, EventKind.FAULT], len(records))
        process, page = (random.integers(0, most, len(records), np.uint64) for most in (60, 512))
        records["asid"], records["cr3"] = 100 + process, 0x1000_0000 + (process << 12)
        records["vaddr"] = (page << 12) + np.where(page % 2, 0xFFFF_8880_0000_0000, 0x7F00_0000_0000).astype(np.uint64)
        records["rip"] = 0x40_1000 + 16 * random.integers(0, 5000, len(records))
        records["level"], records["rights"] = 1, 7
        for level in range(1, 5):
            frame = (process << 16) + (page if level == 1 else page % 2) + (level << 13)
            records[f"entry_{level}"] = (frame << 12) | 7
        return [Batch(records[at : at + 65536], []) for at in range(0, len(records), 65536)]

    text = page_of(written(tmp_path / "t.parquet", batches()))
    assert len(text.encode()) < 300_000
    assert "150,000 events of 60 processes" in text
    Page(text)


def test_the_upper_half_is_where_it_is(tmp_path: Path) -> None:
    records = events(6)
    records["kind"], records["level"], records["rights"], records["cr3"] = EventKind.WALK, 1, 7, 0x1000
    upper = 0xFFFF_8880_0000_0000
    records["vaddr"] = [0x40_0000, upper, upper + 0x1000, 0xFFFF_FFFF_FFFF_F000, 0x7FFF_FFFF_E000, upper]
    records["rip"] = upper
    for level in (4, 3, 2, 1):
        records[f"entry_{level}"] = [(place << 16 | level << 12) | 7 for place in (1, 2, 2, 3, 4, 2)]
    page = Page(page_of(written(tmp_path / "t.parquet", [Batch(records, [])])))
    assert [(row[0], row[1]) for row in page.table("addresses").rows] == [
        ("0x400000", "1"), ("0x7fffffffe000", "1"), (f"{upper:#x}", "2"), (f"{upper + 0x1000:#x}", "1"),
        ("0xfffffffffffff000", "1"),
    ]  # fmt: skip
    assert page.table("functions").rows[0][1] == f"page {upper:#x}"
    tables = {row[0]: row[1] for row in page.tables["tables"][-1].rows}
    assert (tables["PTE 0x22000"], tables["PTE 0x32000"]) == (f"{upper:#x}", "0xffffffffffe00000")


@pytest.mark.parametrize("run", RUNS)
def test_every_table_has_a_name(run: str, traces: Traces) -> None:
    """By which screen readers list them: a caption, or what is said of it."""
    page = traces(run).page
    tables = re.findall(r"<table([^>]*)>(<caption>[^<]+</caption>)?", page)
    assert tables and all("aria-label=" in attributes or caption for attributes, caption in tables)
    assert "dark box" not in page, "in the dark it is a light one"


def test_traces_with_little_in_them(tmp_path: Path) -> None:
    nothing = page_of(written(tmp_path / "none.parquet", []))
    assert "The end of the trace is missing" in nothing and Page(nothing).words["tables"]
    records = events(3)
    records["kind"], records["level"] = EventKind.FILL, 1
    page = Page(page_of(written(tmp_path / "fills.parquet", [Batch(records, [])])))
    assert page.table("addresses").column("fills") == [3]
    assert "no walks" in page.words["tables"]


def test_too_many_tables_for_a_picture_are_in_words(tmp_path: Path) -> None:
    places = np.arange(450, dtype=np.uint64)
    records = events(len(places))
    records["kind"], records["level"], records["rights"], records["cr3"] = EventKind.WALK, 1, 7, 0x1000
    records["vaddr"] = places << 30
    records["entry_4"], records["entry_3"] = 0x2007, (0x1_0000 + places << 12) | 7
    records["entry_2"], records["entry_1"] = (0x2_0000 + places << 12) | 7, 0x5007
    text = page_of(written(tmp_path / "t.parquet", [Batch(records, [])], command=["x" * 9999]))
    page = Page(text)
    assert "There is no picture: it would have 902 boxes" in page.words["tables"]
    assert "in 902 tables" in page.words["bytes"]
    assert len(text) < 100_000


def test_names_are_text(tmp_path: Path) -> None:
    trace = written(tmp_path / "t.parquet", [], command=["<b>&\x1b[31m", '"'])
    text = page_of(trace)
    assert "&lt;b&gt;&amp;\\x1b[31m &quot;" in text and "<b>&" not in text and "\x1b" not in text
