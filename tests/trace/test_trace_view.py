"""``unimmu trace view``: the text, and files that are none."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

import emu.machine
import guests
import msharefs.module
from emu.cli.main import main
from emu.trace.reader import TraceError, TraceReader
from emu.trace.sentences import size
from emu.trace.view import view

HERE = Path(__file__).parent
EXAMPLE = (HERE / "example.jsonl").read_text()
TEXT = (HERE / "example.txt").read_text()  # what `unimmu trace view` makes of it
NO_TRACE = "this is not a trace that `unimmu run --trace` wrote as Parquet or lines of JSON, which can be read back"

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
    assert re.fullmatch(r"unimmu trace: --kind knife: the trace has only accessed_dirty, cr3_load, .*, walk\n", err)


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
        (b"\n", f"line 1: {NO_TRACE}"),
        (b"hello\n", f"line 1: {NO_TRACE}"),
        (b"\x7fELF\2\1\1\0\xff\xfe", f"line 1: {NO_TRACE}"),
        (b'{"a":1}\n', f"line 1: {NO_TRACE}"),
        (b"[]\n", f"line 1: {NO_TRACE}"),
        (b"[" * 100_000, f"line 1: {NO_TRACE}"),
        (b'{"format":"unimmu-trace","version":99}\n', "line 1: format version 99 is not known; this unimmu reads 2"),
        (
            b'{"format":"unimmu-trace","version":"\\n"}\n',
            r"line 1: format version '\n' is not known; this unimmu reads 2",
        ),
        (b'{"format":"unimmu-trace","version":2}\n', "line 1: header: unimmu is missing"),
    ],
)
def test_files_that_are_no_trace(viewed: Viewed, tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    status, out, err = viewed(path)
    assert (status, out, err) == (2, "", f"unimmu trace: {path}: {says}\n")


def test_processes_of_which_there_is_no_event_are_said(viewed: Viewed, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(EXAMPLE)
    status, out, err = viewed("--pid", "5,7", path)
    assert (status, out.count("\n"), err) == (0, 2, f"unimmu trace: {path}: it has no such event of 5 or 7\n")


HEADER = {"format": "unimmu-trace", "version": 2, "unimmu": "0", "command": ["x"], "memory_bytes": 4096, "seed": 0}
FIELD = {"name": "from", "type": "number", "meaning": "the node"}
FORM = {"fields": [FIELD], "when": "", "words": ""}
ROW = {"name": "migrate", "meaning": "it moves", "forms": [FORM]}


def declares(*, field: dict[str, Any] | None = None, form: dict[str, Any] | None = None, **row: Any) -> dict[str, Any]:
    """What a header with a row has that is damaged somewhere."""
    changed = {**FORM, "fields": [{**FIELD, **(field or {})}], **(form or {})}
    return {"kinds": [{**ROW, "forms": [changed], **row}]}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"memory_bytes": "4K"}, "header: memory_bytes should be a number, and is '4K'"),
        ({"command": "x"}, "header: command should be a list of strings, and is 'x'"),
        ({"colour": 1}, "header: there is no field 'colour'; the fields are format, version, unimmu, command, .*"),
        ({"kinds": 5}, "kinds should be a list of objects, and is 5"),
        ({"kinds": [5]}, r"kinds should be a list of objects, and is \[5\]"),
        ({"kinds": [{"name": "migrate", "forms": []}]}, "kind: meaning is missing"),
        ({"kinds": [ROW, ROW]}, "the event kind migrate is declared twice"),
        (declares(name="walk"), "the event kind walk is declared twice"),
        (declares(name="a b"), "'a b' is no name: .*"),
        (declares(name=5), "kind: name should be a string, and is 5"),
        (declares(forms=[]), "migrate has no form"),
        (declares(forms=5), "forms should be a list of objects, and is 5"),
        (declares(form={"words": 5}), "form: words should be a string, and is 5"),
        (declares(form={"words": "{}"}), "the words '{}' .*"),
        (declares(form={"words": "{from"}), "the words '{from': .*"),
        (declares(form={"words": "{seq}"}), "the words '{seq}' .*"),
        (declares(form={"words": "{from:>99999999}"}), "the words .*"),
        (declares(form={"words": "{from.__class__}"}), "the words .*"),
        (declares(form={"fields": [FIELD, FIELD]}), "a field is declared twice: from, from"),
        (declares(field={"name": "event"}), "migrate: event is a field of every event, and cannot be declared"),
        (declares(field={"type": "float"}), "field: type should be number or .*, and is 'float'"),
        (declares(field={"choices": ["x"]}), "field: choices: .*"),
        (declares(field={"type": "hex", "choices": ["0x0"]}), "from: only numbers and strings are chosen from a few"),
        (declares(field={"optional": 1}), "field: optional should be true, and is 1"),
    ],
)
def test_a_header_that_makes_no_sense_is_said(
    viewed: Viewed, tmp_path: Path, changed: dict[str, Any], says: str
) -> None:
    path = tmp_path / "file"
    path.write_text(json.dumps({**HEADER, **changed}) + "\n")
    status, out, err = viewed(path)
    assert (status, out) == (2, "")
    assert re.fullmatch(f"unimmu trace: {path}: line 1: {says}\n", err), err


#: In the lines below, @ is this.
WHEN = '"clock":1,"time":1,"rip":"0x0"'
WALK = (
    '{"event":"walk","seq":1,@,"pid":1,"access":"read","vaddr":"0x0","cpl":3,"cr3":"0x0","level":4,'
    '"entries":{"4":"0x0"},"error_code":1}'
)


def walk(old: str, new: str) -> str:
    """A walk with something else in it."""
    assert old in WALK
    return WALK.replace(old, new)


NO_HEX = ": walk: vaddr should be a hexadecimal string, and is "
NO_ENTRIES = ": walk: entries should be an object of hexadecimal strings by level, and is "


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("nonsense", " is not an event"),
        ("5", " is not an event"),
        ("\xff", " is not an event"),
        ('{"event":5}', ": event: there is no kind 5; the kinds are access, .*, walk"),
        ('{"seq":1}', ": event: there is no kind None; .*"),
        ('{"event":"knife","seq":1,@}', ": event: there is no kind 'knife'; the kinds are access, .*, walk"),
        ('{"event":["walk"],"seq":1,@}', r": event: there is no kind \['walk'\]; .*"),
        ('{"event":"end","seq":null,@}', ": end: seq should be a number, and is None"),
        ('{"event":"end","seq":1,"clock":1.5,"time":1,"rip":"0x0"}', ": end: clock should be a number, and is 1.5"),
        ('{"event":"end","seq":true,@}', ": end: seq should be a number, and is True"),
        ('{"event":"end","seq":1,@,"pid":"7"}', ": end: pid should be a number, and is '7'"),
        ('{"event":"end","seq":1,@,"cpu":0}', ": end: there is no field 'cpu'; .*"),
        ('{"event":"end","seq":1,"time":1,"rip":"0x0"}', ": end: clock is missing"),
        ('{"event":"fork","seq":1,@,"pid":1}', ": fork: child is missing"),
        ('{"event":"fork","seq":1,@,"pid":1,"child":2,"of":3}', ": fork: there is no field 'of'; .*, child"),
        ('{"event":"exit","seq":1,@,"pid":1}', ": exit: signal is missing"),
        ('{"event":"exit","seq":1,@,"pid":1,"status":"0"}', ": exit: status should be a number, and is '0'"),
        ('{"event":"exec","seq":1,@,"path":"a","argv":5}', ": exec: argv should be a list .*, and is 5"),
        ('{"event":"exec","seq":1,@,"path":"a","argv":[5]}', r": exec: argv should be .*, and is \[5\]"),
        ('{"event":"flush","seq":1,@,"all":false}', ": flush: all should be true, and is False"),
        (walk('"level":4', '"level":true'), ": walk: level should be 1 or 2 or 3 or 4 or 5, and is True"),
        (walk('"level":4', '"level":6'), ": walk: level should be 1 or 2 or 3 or 4 or 5, and is 6"),
        (walk('"read"', '"look"'), ": walk: access should be read or write or fetch, and is 'look'"),
        (walk('"read"', "[]"), r": walk: access should be read or write or fetch, and is \[\]"),
        (walk('"vaddr":"0x0"', '"vaddr":"x"'), f"{NO_HEX}'x'"),
        (walk('"vaddr":"0x0"', '"vaddr":0'), f"{NO_HEX}0"),
        (walk('"vaddr":"0x0"', '"vaddr":"-0x1"'), f"{NO_HEX}'-0x1'"),
        (walk('"vaddr":"0x0"', f'"vaddr":"{1 << 64:#x}"'), f"{NO_HEX}.*"),
        (walk('{"4":"0x0"}', '{"9":"0x0"}'), rf"{NO_ENTRIES}\{{'9': '0x0'\}}"),
        (walk('{"4":"0x0"}', '["0x0"]'), rf"{NO_ENTRIES}\['0x0'\]"),
        (walk(',"error_code":1', ',"paddr":"0x0"'), ": walk: rights is missing"),
        (walk('"cr3":"0x0",', ""), ": walk: cr3 is missing"),
        ('{"event":"access","seq":1,@,"access":"read","vaddr":"0x0","tlb_level":1}',
         ": access: tlb_level should be null, and is 1"),
        ('{"event":"link","seq":1,@,"pid":1,"entry_level":"p9d"}', ": link: region is missing"),
    ],
)  # fmt: skip
def test_a_line_that_makes_no_sense_is_said(viewed: Viewed, trace: Path, line: str, says: str) -> None:
    lines, line = EXAMPLE.splitlines(), line.replace("@", WHEN)
    trace.write_bytes("\n".join([*lines[:3], line, *lines[3:], ""]).encode("latin-1"))
    status, out, err = viewed(trace)
    assert (status, kinds(out)) == (2, ["exec", "cr3_load"])
    assert re.fullmatch(f"unimmu trace: {trace}: line 4{says}\n", err), err


def test_of_several_cpus_each_event_says_which(viewed: Viewed, trace: Path) -> None:
    end = '{"seq":0,"clock":0,"time":0,%s"rip":"0x0","event":"end"}'
    trace.write_text("\n".join([json.dumps({**HEADER, "cpus": 2}), end % '"cpu":1,', ""]))
    assert viewed(trace)[1].splitlines()[-1] == f"{0:9} {0:13} {1:3} {'':5}  end            the recording is complete"
    trace.write_text("\n".join([json.dumps({**HEADER, "cpus": 2}), end % "", ""]))
    assert viewed(trace)[2] == f"unimmu trace: {trace}: line 2: end: cpu is missing\n"


def damaged(random: Random, value: Any) -> Any:
    """A value of JSON with something in it that is another."""
    if isinstance(value, dict) and value and random.random() < 0.9:
        name = random.choice(list(value))
        if random.random() < 0.2:
            return {other: held for other, held in value.items() if other != name}
        return {**value, name: damaged(random, value[name])}
    if isinstance(value, list) and value and random.random() < 0.5:
        at = random.randrange(len(value))
        return [*value[:at], damaged(random, value[at]), *value[at + 1 :]]
    others: tuple[Any, ...] = (
        None,
        True,
        -1,
        1 << 63,
        1 << 70,
        0.5,
        "",
        "0x0",
        "0xffffffffffffffff",
        "{seq}",
        "pmd",
        "read",
        [],
        [0],
        {},
    )
    return random.choice(others)


@pytest.mark.parametrize("seed", range(4))
def test_damage_of_any_kind_is_said_or_does_no_harm(seed: int) -> None:
    random, lines = Random(seed), EXAMPLE.splitlines()
    said = 0
    for _ in range(500):
        at = random.randrange(len(lines))
        changed = [*lines[:at], json.dumps(damaged(random, json.loads(lines[at]))), *lines[at + 1 :]]
        try:
            text = list(view(TraceReader(io.BytesIO("\n".join(changed).encode()), "x")))
            assert all(line.isprintable() for line in text)
        except TraceError as error:
            said += 1
            assert str(error).startswith("x: ")
            assert "\n" not in str(error)
    assert said > 250


def test_what_a_terminal_would_obey_is_escaped(viewed: Viewed, trace: Path) -> None:
    """Guests choose the names of regions, programs and arguments."""
    evil = "a\x1b[2J\n\u202eé\udcff"
    text = EXAMPLE.replace('"demo","a b"', f'"demo",{json.dumps(evil)}').replace('"r"', json.dumps(evil))
    trace.write_text(text.replace('"/bin/demo"', json.dumps(evil)).replace('"open"', json.dumps(evil)))
    status, out, err = viewed(trace)
    safe = r"a\x1b[2J\n\u202eé\udcff"
    assert (status, err) == (0, "")
    assert out == (
        TEXT.replace("demo a b", f"demo {safe}").replace("region r", f"region {safe}").replace("/bin/demo:", f"{safe}:")
        .replace("open", safe)
    )  # fmt: skip


def test_kinds_that_modules_declare_are_shown_in_their_words(viewed: Viewed, trace: Path) -> None:
    words = '"words":"from node {from} to {to},\\nfor ever"'
    trace.write_text(EXAMPLE.replace('"words":""', words))
    status, out, err = viewed("--kind", "migrate", trace)
    line = "       17     1,234,573   100  migrate        "
    assert (status, err) == (0, "")
    assert out.splitlines()[2:] == [f"{line}from node 3 to 0x5,", " " * 45 + "for ever"]


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
    assert events[2]["entries"] == {
        4: 0x9027,
        3: 0xA027,
        2: 0xB027,
        1: 0x800000000000C067,
    }  # numbers, whatever the file has
    with pytest.raises(TraceError, match="x: line 2 is not an event"):
        list(TraceReader(io.BytesIO(EXAMPLE.replace('"exec"', '"exec"\n').encode()), "x"))


def test_a_modelled_tlb(viewed: Viewed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each access, and walks that begin behind a cached entry."""
    monkeypatch.setattr(emu.machine, "find_modules", dict)
    trace = tmp_path / "trace.jsonl"
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
    trace, again = tmp_path / "trace.jsonl", tmp_path / "again.jsonl"
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
