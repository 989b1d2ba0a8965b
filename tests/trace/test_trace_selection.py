"""Which events are recorded: by kind, process, address, level, and by chance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import emu.trace
from emu.cli.main import main

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return recorded(tmp_path_factory.mktemp("whole"))


def recorded(directory: Path, *options: str) -> Rows:
    """The events of mshare_donor, without their numbers, and without the last one and what code is mapped, which
    is told where a recording begins."""
    path = directory / "t.jsonl"
    assert main(["run", "--trace", str(path), *options, "mshare_donor"]) == 0
    *rows, end = emu.trace.open(path).arrow().to_pylist()
    assert [row["seq"] for row in rows] == list(range(len(rows))) and end["event"] == "end"
    kept = [row for row in rows if row["event"] != "mmap"]
    return [{name: value for name, value in row.items() if name != "seq"} for row in kept]


def test_kinds(whole: Rows, tmp_path: Path) -> None:
    for kinds in ({"fault"}, {"walk", "link"}, {"syscall_exit", "switch"}, {"flush", "cr3_load", "exec"}):
        some = recorded(tmp_path, "--trace-kinds", ",".join(sorted(kinds)))
        assert some == [row for row in whole if row["event"] in kinds] and {row["event"] for row in some} == kinds


def test_processes(whole: Rows, tmp_path: Path) -> None:
    for pid in (100, 101):
        assert recorded(tmp_path, "--trace-pid", str(pid)) == [row for row in whole if row["pid"] == pid]
    assert recorded(tmp_path, "--trace-pid", "5") == []


def test_addresses(whole: Rows, tmp_path: Path) -> None:
    low, high = 2 << 40, (2 << 40) + (1 << 30)
    some = recorded(tmp_path, "--trace-range", f"{low:#x}-{high:#x}")

    def concerns(row: dict[str, Any]) -> bool:
        if row["event"] in ("cr3_load",) or row["vaddr"] is None:
            return True
        return bool(row["vaddr"] < high and row["vaddr"] + max(row["length"] or 1, 1) > low)

    assert some == [row for row in whole if concerns(row)] and 5 < len(some) < len(whole)


def test_levels(whole: Rows, tmp_path: Path) -> None:
    some = recorded(tmp_path, "--trace-levels", "2,3", "--trace-kinds", "walk,fault")
    assert some == [row for row in whole if row["event"] in ("walk", "fault") and row["level"] in (2, 3)] != []


def test_a_part_of_the_run(whole: Rows, tmp_path: Path) -> None:
    """From one instruction count up to another; the run is the same."""
    low, high = (whole[len(whole) * part // 4]["clock"] for part in (1, 3))
    some = recorded(tmp_path, "--trace-from", str(low), "--trace-to", str(high))
    assert some == [row for row in whole if low <= row["clock"] < high] != []
    assert recorded(tmp_path, "--trace-from", str(high)) == [row for row in whole if row["clock"] >= high]
    assert recorded(tmp_path, "--trace-to", str(low)) == [row for row in whole if row["clock"] < low]


MARKS = """
@on = open "/sys/kernel/tracing/tracing_on" O_RDWR; @m = open "/sys/kernel/tracing/trace_marker" O_WRONLY
write m "first\\n" 6; getpid; write on "0" 1; getpid; getpid; write m "unseen" 6
write on "1" 1; getpid; write m "last" 4
@b = bytes 8; pread on b 8 0; write on "x" 1
"""


def test_a_guest_marks_its_trace_and_stops_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = {}
    for paused in (False, True):
        path = tmp_path / f"{paused}.jsonl"
        options = ["--trace-paused"] if paused else []
        assert main(["run", "--trace", str(path), *options, "calls", MARKS]) == 0
        assert capfd.readouterr().out.split()[-6:] == ["pread", "=", "2", "write", "=", "EINVAL"]
        rows[paused] = emu.trace.open(path).arrow().to_pylist()
    calls = [row["call"] for row in rows[False] if row["event"] == "syscall_exit"]
    assert calls.count("getpid") == 2
    marks = [[json.loads(row["detail"])["text"] for row in rows[paused] if row["event"] == "mark"] for paused in rows]
    assert marks == [["first", "last"], ["last"]]
    at = next(number for number, row in enumerate(rows[False]) if row["seq"] and row["call"] == "write")
    stopped, paused = (json.loads(rows[paused][-1].pop("detail"))["instructions"] for paused in rows)
    assert 0 < paused < stopped < rows[False][-1]["clock"]
    last = [dict(row, seq=0) for row in rows[True] if row["event"] != "mmap"]
    assert last == [dict(row, seq=0) for row in rows[False]][-len(last) :] and at


def test_marks_where_nothing_is_recorded(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "calls", MARKS]) == 0
    assert "write = 6" in capfd.readouterr().out


def test_one_in_some(whole: Rows, tmp_path: Path) -> None:
    """By chance, but the same each time; the kernel's events are all there."""
    first, again = (recorded(tmp_path, "--trace-sample", "3") for _ in range(2))
    other = recorded(tmp_path, "--trace-sample", "3", "--seed", "9", "--no-aslr")
    kernel = [row for row in whole if row["event"] in ("link", "syscall_exit", "switch")]
    assert first == again != other
    assert [row for row in first if row["event"] in ("link", "syscall_exit", "switch")] == kernel
    walks, all_walks = (sum(row["event"] in ("walk", "fill") for row in rows) for rows in (first, whole))
    assert all_walks / 6 < walks < all_walks / 1.5


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--trace-kinds", "wolk"], "--trace-kinds: event: there is no kind 'wolk'; the kinds are access, "),
        (["--trace-kinds", ","], "--trace-kinds: expected names of kinds of events"),
        (["--trace-range", "5"], "--trace-range: '5' is no range of addresses"),
        (["--trace-range", "9-5"], "--trace-range: '9-5' is no range of addresses"),
        (["--trace-range", "0-0x10000000000000001"], "is no range of addresses"),
        (["--trace-levels", "0"], "levels are 1 to 5"),
        (["--trace-sample", "0"], "--trace-sample"),
        (["--trace-from", "5", "--trace-to", "5"], "--trace-to 5: it must be above --trace-from 5"),
        (["--trace-kinds", "access"], "--trace-kinds access needs --tlb"),
        (["--trace-pid", "x"], "'x' is not a process number"),
        (["--trace-format", "perfume"], "there is no trace format 'perfume'"),
    ],
)
def test_what_makes_no_sense_is_said_and_nothing_is_lost(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("precious")
    assert main(["run", "--trace", str(path), *options, "hello"]) == 2
    assert says in capfd.readouterr().err and path.read_text() == "precious"


def test_who_asks_for_accesses_gets_them(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    assert main(["run", "--tlb", "skylake", "--trace", str(path), "--trace-kinds", "access,fault", "hello"]) == 0
    found = emu.trace.open(path).arrow().column("event").to_pylist()
    assert {*found} - {"mmap", "exec"} == {"access", "fault", "end"} and found.count("access") > 20


@pytest.mark.parametrize("option", ["--trace-kinds=walk", "--trace-pid=1", "--trace-sample=2", "--trace-levels=1"])
def test_nothing_is_chosen_of_nothing(capfd: pytest.CaptureFixture[str], option: str) -> None:
    assert main(["run", option, "hello"]) == 2
    assert f"{option.partition('=')[0]} needs --trace FILE" in capfd.readouterr().err


def test_a_name_that_ends_as_no_format_does(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--trace", str(tmp_path / "t.perfume"), "hello"]) == 2
    assert "its name does not end as a trace's does" in capfd.readouterr().err
    assert main(["run", "--trace", str(tmp_path / "t.perfume"), "--trace-format", "jsonl", "hello"]) == 0
