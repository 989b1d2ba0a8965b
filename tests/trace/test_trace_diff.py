"""``unimmu trace diff`` and ``view`` on tables: where traces part, and the events that are chosen."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import emu.trace
from emu.cli.main import main
from emu.trace.choice import Choice
from emu.trace.difference import Difference, compare

#: ``said(*words)``: the exit status of `unimmu trace`, and what it prints
Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str]) -> Said:
    def call(*words: object) -> tuple[int, str, str]:
        capfd.readouterr()
        return main(["trace", *map(str, words)]), *capfd.readouterr()

    return call


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same run as Parquet and as lines of JSON."""
    directory = tmp_path_factory.mktemp("traces")
    paths = directory / "t.parquet", directory / "t.jsonl"
    for path in paths:
        assert main(["run", "--trace", str(path), "mshare_donor"]) == 0
    return paths


def changed(lines: Path, path: Path, change: Callable[[list[dict[str, Any]]], None]) -> Path:
    """The trace with other events."""
    header, *events = map(json.loads, lines.read_text().splitlines())
    change(events)
    path.write_text("".join(f"{json.dumps(each)}\n" for each in (header, *events)))
    return path


def first(events: list[dict[str, Any]], kind: str) -> int:
    return next(at for at, event in enumerate(events) if event["event"] == kind)


def test_the_same_events_in_other_formats(said: Said, both: tuple[Path, Path]) -> None:
    for pair in (both, both[::-1], (both[0], both[0])):
        status, out, err = said("diff", *pair)
        assert (status, err) == (0, "")
        assert re.fullmatch(r"\d+ events are the same in both\n", out)


def test_batches_of_other_lengths(both: tuple[Path, Path], tmp_path: Path) -> None:
    table = pq.read_table(both[0])
    path = tmp_path / "t.parquet"
    pq.write_table(table, path, row_group_size=7)
    assert compare(emu.trace.open(both[0]), emu.trace.open(path)) == table.num_rows
    vaddr = pc.if_else(pc.equal(table["seq"], 102), pa.scalar((1 << 64) - 1, pa.uint64()), table["vaddr"])
    pq.write_table(table.set_column(table.schema.get_field_index("vaddr"), "vaddr", vaddr), path, row_group_size=7)
    for pair in ((both[0], path), (path, both[0])):
        found = compare(*map(emu.trace.open, pair), before=20)
        assert isinstance(found, Difference)
        assert found.first is not None and found.first["seq"] == 102
        assert [event["seq"] for event in found.before] == [*range(82, 102)]
        assert found.fields == ["vaddr"]


def test_an_event_that_differs(said: Said, both: tuple[Path, Path], tmp_path: Path) -> None:
    def change(events: list[dict[str, Any]]) -> None:
        event = events[first(events, "fault")]
        event["vaddr"], event["resolved"] = "0xffffffffff600000", "cow"

    other = changed(both[1], tmp_path / "u.jsonl", change)
    status, out, err = said("diff", "-n", "2", both[0], other)
    assert (status, err) == (1, "")
    lines = out.splitlines()
    assert lines[0] == "they part in vaddr, resolved"
    assert lines[-4] == f"--- {both[0]}" and "fault          #PF at 0x401000" in lines[-3]
    assert lines[-2] == f"--- {other}" and "fault          #PF at 0xffffffffff600000" in lines[-1]
    assert len(re.findall(r"^ +\d+ +\d+ +100  ", out, re.MULTILINE)) == 4
    assert said("diff", "--ignore", "vaddr,resolved", both[0], other)[0] == 0
    assert said("diff", "--ignore", "vaddr", "--ignore", "resolved", other, both[1])[0] == 0
    assert said("diff", "--ignore", "vaddr", both[0], other)[1].startswith("they part in resolved\n")
    assert said("diff", "--kind", "walk,link", both[0], other)[0] == 0
    assert said("diff", "--range", "0-0x7fffffffffff", both[0], other)[0] == 1


def test_an_event_of_the_kernel_that_differs(said: Said, both: tuple[Path, Path], tmp_path: Path) -> None:
    def change(events: list[dict[str, Any]]) -> None:
        events[first(events, "link")]["entry_level"] = "p4d"

    other = changed(both[1], tmp_path / "u.jsonl", change)
    assert said("diff", both[0], other)[1].startswith("they part in entry_level\n")
    assert said("diff", "--ignore", "entry_level", both[0], other)[0] == 0
    assert said("diff", "--ignore", "entry_paddr", both[0], other)[0] == 1


@pytest.mark.parametrize("kind", ["syscall_enter", "syscall_exit", "exec", "fork", "switch", "exit"])
def test_other_events_of_the_kernel(both: tuple[Path, Path], tmp_path: Path, kind: str) -> None:
    fields: dict[str, dict[str, Any]] = {
        "syscall_enter": {"arguments": ["0x1", "0x2"]}, "syscall_exit": {"result": "0xfffffffffffff000"},
        "exec": {"argv": []}, "fork": {"child": 9}, "switch": {"previous": 9}, "exit": {"status": 9},
    }  # fmt: skip
    other = changed(both[1], tmp_path / "u.jsonl", lambda events: events[first(events, kind)].update(fields[kind]))
    found = compare(emu.trace.open(both[0]), emu.trace.open(other))
    assert isinstance(found, Difference) and found.fields == [*fields[kind]]
    assert compare(emu.trace.open(both[0]), emu.trace.open(other), choice=Choice(kinds=frozenset({"walk"}))) == 43


def test_a_trace_that_ends_before(said: Said, both: tuple[Path, Path], tmp_path: Path) -> None:
    short = changed(both[1], tmp_path / "u.jsonl", lambda events: events.__delitem__(slice(-5, None)))
    status, out, _ = said("diff", both[0], short)
    assert status == 1
    assert out.startswith(f"{short} has no more events\n") and out.splitlines()[-1] == f"--- {short}"
    status, out, _ = said("diff", short, both[0])
    assert status == 1
    assert out.startswith(f"{short} has no more events\n") and out.splitlines()[-3] == f"--- {short}"


def test_traces_without_an_end(said: Said, both: tuple[Path, Path], tmp_path: Path) -> None:
    short = changed(both[1], tmp_path / "u.jsonl", lambda events: events.__delitem__(slice(-5, None)))
    status, out, err = said("diff", short, short)
    assert (status, out) == (0, "183 events are the same in both\n")
    assert err.count(f"unimmu trace: {short}: its end is missing; ") == 2


def test_headers_are_told_apart(said: Said, both: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "u.jsonl"
    other.write_text(both[1].read_text().replace('"seed":0', '"seed":7', 1))
    status, out, _ = said("diff", both[0], other)
    assert status == 0 and out.startswith("header: seed is 0, and 7\n")


def test_mistakes(said: Said, both: tuple[Path, Path]) -> None:
    assert said("diff", both[0])[0] == 2
    status, out, err = said("diff", "--ignore", "colour", *both)
    assert (status, out) == (2, "")
    assert err.startswith("unimmu trace: --ignore colour: there is no such field; the fields are access, ")
    assert said("diff", "-n", "x", *both)[0] == 2
    assert said("diff", "/none", both[0]) == (2, "", "unimmu trace: /none: No such file or directory\n")
    assert said("diff", "--kind", "knife", *both)[2].startswith("unimmu trace: --kind knife: the kinds are access, ")


# -- view --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--kind", "link,unlink,syscall_enter,walk"],
        ["--pid", "101"],
        ["--range", "0x20000000000-0x7f893fffffff"],
        ["--range", "0x7f8940000000+1"],
        ["--from", "1000", "--to", "3000"],
        ["--pid", "100", "--kind", "fault", "--from", "500"],
        ["--kind", "signal"],
    ],
)
def test_a_table_is_viewed_as_lines_are(said: Said, both: tuple[Path, Path], words: list[str]) -> None:
    status, out, err = said("view", *words, both[0])
    assert (status, out, err) == said("view", *words, both[1])
    assert (status, err) == (0, "")


def test_ranges_meet(said: Said, both: tuple[Path, Path]) -> None:
    """An event with a range is chosen with each address of it."""
    out = said("view", "--kind", "link", "--range", "0x2003fffffff+1", both[0])[1]
    assert len(re.findall(r"  link  ", out)) == 1
    assert "  link  " not in said("view", "--kind", "link", "--range", "0x1ffffffffff+1", both[0])[1]


def test_kinds_that_a_table_does_not_have(said: Said, both: tuple[Path, Path]) -> None:
    status, _, err = said("view", "--kind", "knife", both[0])
    assert status == 2
    assert err.startswith("unimmu trace: --kind knife: the trace has only accessed_dirty, cr3_load, end, exec, ")


def test_a_table_without_its_end(said: Said, both: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pq.read_table(both[0]).slice(0, 20), path)
    status, out, err = said("view", path)
    assert status == 0 and out.count("\n") > 20
    assert err.startswith(f"unimmu trace: {path}: its end is missing; ")
