"""``unimmu trace view``: the text, and files that are none."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import emu.machine
import guests
import msharefs.module
from emu.cli.main import main
from emu.trace.reader import TraceError, TraceReader
from emu.trace.view import size, view

HERE = Path(__file__).parent
EXAMPLE = (HERE / "example.jsonl").read_text()
TEXT = (HERE / "example.txt").read_text()  # what `unimmu trace view` makes of it

#: ``viewed(*words)``: the exit status of `unimmu trace view`, and what it says
Viewed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "example.jsonl"
    path.write_text(EXAMPLE)
    return path


@pytest.fixture
def viewed(capfd: pytest.CaptureFixture[str]) -> Viewed:
    def call(*words: object) -> tuple[int, str, str]:
        capfd.readouterr()
        return main(["trace", "view", *map(str, words)]), *capfd.readouterr()

    return call


def kinds(out: str) -> list[str]:
    return re.findall(r"^ +\d+ +[\d,]+ +\d*  (\w+)", out, re.MULTILINE)


def test_every_kind_of_event(viewed: Viewed, trace: Path) -> None:
    assert viewed(trace) == (0, TEXT, "")


def test_some_kinds(viewed: Viewed, trace: Path) -> None:
    assert kinds(viewed("--kind", "walk", trace)[1]) == ["walk", "walk"]
    assert kinds(viewed("--kind", "link,unlink", "--kind", "fork", trace)[1]) == ["fork", "link", "unlink"]
    assert kinds(viewed("--kind", "migrate", trace)[1]) == ["migrate"]
    status, out, err = viewed("--kind", "fork,knife", trace)
    assert (status, kinds(out)) == (2, ["fork"])
    assert re.fullmatch(r"unimmu trace: --kind knife: there are only accessed_dirty, cr3_load, .*, walk\n", err)


def test_some_processes(viewed: Viewed, trace: Path) -> None:
    assert kinds(viewed("--pid", "100", trace)[1]) == ["exec", "cr3_load", "walk", "fill", "exit", "migrate"]
    assert kinds(viewed("--pid", "100,101", "--kind", "exit", trace)[1]) == ["exit", "exit"]
    assert kinds(viewed("--pid", "77", trace)[1]) == []
    assert viewed("--pid", "x", trace) == (2, "", "unimmu trace: --pid: 'x' is not a process number\n")


def test_standard_input(viewed: Viewed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(EXAMPLE.encode())))
    assert viewed("-") == (0, TEXT, "")
    monkeypatch.setattr(sys, "stdin", None)
    assert viewed("-") == (2, "", "unimmu trace: standard input is closed\n")


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_a_last_line_that_is_cut_off_is_said(viewed: Viewed, trace: Path, cut: int) -> None:
    trace.write_text(EXAMPLE[:-cut])
    status, out, err = viewed(trace)
    lines = TEXT.splitlines(keepends=True)
    assert status == 0
    if cut == 1:  # only the newline is missing
        assert (out, err) == (TEXT, "")
    else:
        assert out == "".join(lines[:-1])
        assert err.startswith(f"unimmu trace: {trace}: line 20 is cut off; the run was stopped, or")


def test_an_end_that_is_missing_is_said(viewed: Viewed, trace: Path) -> None:
    trace.write_text("".join(EXAMPLE.splitlines(keepends=True)[:5]))
    status, out, err = viewed(trace)
    assert (status, kinds(out)) == (0, ["exec", "cr3_load", "walk", "fill"])
    assert err.startswith(f"unimmu trace: {trace}: its end is missing; ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"\n", "this is not a trace that `unimmu run --trace` wrote"),
        (b"hello\n", "this is not a trace that `unimmu run --trace` wrote"),
        (b"\x7fELF\2\1\1\0\xff\xfe", "this is not a trace that `unimmu run --trace` wrote"),
        (b'{"a":1}\n', "this is not a trace that `unimmu run --trace` wrote"),
        (b"[]\n", "this is not a trace that `unimmu run --trace` wrote"),
        (b"[" * 100_000, "this is not a trace that `unimmu run --trace` wrote"),
        (b'{"format":"unimmu-trace","version":99}\n', "format version 99 is not known; this unimmu reads 1"),
        (b'{"format":"unimmu-trace","version":1}\n', "line 1 is not a header"),
    ],
)
def test_files_that_are_no_trace(viewed: Viewed, tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    status, out, err = viewed(path)
    assert (status, out, err) == (2, "", f"unimmu trace: {path}: {says}\n")


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "5",
        '{"event":5}',
        '{"seq":1}',
        '{"event":"walk","seq":1,"clock":1}',
        '{"event":"fill","seq":1,"clock":1,"pid":1,"access":"read","vaddr":"x","paddr":"0x0","level":9,"rights":""}',
        '{"event":"fault","seq":"a","clock":1,"pid":1,"vaddr":"0x0","error_code":"b"}',
        '{"event":"walk","seq":1,"clock":1,"pid":1,"access":"read","vaddr":"0x0","cr3":"0x0","level":4,"entries":{"9":"0x0"},"error_code":1}',
        '{"event":"link","seq":1,"clock":1,"pid":1,"entry_level":"p9d"}',
        '{"event":"end","seq":null,"clock":1}',
        '{"event":"exit","seq":1,"clock":"x","status":1}',
    ],
)
def test_a_line_that_makes_no_sense_is_said(viewed: Viewed, trace: Path, line: str) -> None:
    lines = EXAMPLE.splitlines()
    trace.write_text("\n".join([*lines[:3], line, *lines[3:]]) + "\n")
    status, out, err = viewed(trace)
    assert (status, kinds(out)) == (2, ["exec", "cr3_load"])
    assert err == f"unimmu trace: {trace}: line 4 is not an event\n"


def test_files_that_cannot_be_read(viewed: Viewed, tmp_path: Path) -> None:
    assert viewed(tmp_path / "none") == (2, "", f"unimmu trace: {tmp_path / 'none'}: No such file or directory\n")
    assert viewed(tmp_path) == (2, "", f"unimmu trace: {tmp_path}: Is a directory\n")


def test_size() -> None:
    assert [size(n) for n in (0, 1, 4096, 1 << 20, 3 << 30, 1 << 40, 1 << 60, 1025)] == [
        "0 bytes", "1 bytes", "4 KiB", "1 MiB", "3 GiB", "1 TiB", "1048576 TiB", "1025 bytes",
    ]  # fmt: skip


def test_the_reader_says_what_it_has_seen() -> None:
    reader = TraceReader(io.BytesIO(EXAMPLE.encode()), "x")
    assert (reader.header["seed"], reader.complete) == (3, False)
    events = list(reader)
    assert (len(events), reader.complete, reader.cut_off) == (19, True, False)
    assert {event["event"] for event in events} == reader.kinds
    with pytest.raises(TraceError, match="x: line 2 is not an event"):
        list(TraceReader(io.BytesIO(EXAMPLE.replace('"exec"', '"exec"\n').encode()), "x"))


def test_a_modelled_tlb(viewed: Viewed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each access, and walks that begin behind a cached entry."""
    monkeypatch.setattr(emu.machine, "find_modules", dict)
    trace = tmp_path / "trace"
    words = ["run", "--tlb", "textbook", "--trace-accesses", "--trace", str(trace), "touch_pages", "40K"]
    assert main(words) == 0
    status, out, err = viewed(trace)
    assert (status, err) == (0, "")
    assert re.search(r"access +fetch 0x\w+ misses every TLB\n", out)
    assert re.search(r"access +write 0x(\w+) hits in the L1 TLB -> 0x\w+\n", out)
    assert re.search(r"walk .* through a cached PDE -> page fault .*\n +\[cached table\] = 0x0  PTE not present\n", out)


@pytest.mark.parametrize("program", ["mshare_donor", "faults", "fork_shared", "hello_musl"])
def test_what_run_records_can_be_viewed(
    viewed: Viewed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str
) -> None:
    monkeypatch.setattr(emu.machine, "find_modules", lambda: {"msharefs": msharefs.module.init})
    trace, again = tmp_path / "trace", tmp_path / "again"
    for file in (trace, again):
        assert main(["run", "--trace", str(file), str(guests.path(program))]) == 0
    assert trace.read_bytes() == again.read_bytes()
    status, out, err = viewed(trace)
    assert (status, err) == (0, "")
    events = [json.loads(line) for line in trace.read_text().splitlines()[1:]]
    assert kinds(out) == [event["event"] for event in events]
    # four entries of each walk that came to its end
    ended = sum(event["event"] == "walk" and "paddr" in event for event in events)
    assert len(re.findall(r"\] = 0x\w+  PTE 4K page at ", out)) >= ended > 0
    assert list(view(TraceReader(io.BytesIO(trace.read_bytes()), "x"))) == out.splitlines()
