"""``unimmu trace view``: the text, and files that are none."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest

import emu.machine
import guests
import msharefs.module
from emu.cli.main import main
from emu.trace.reader import TraceError, TraceReader
from emu.trace.view import size, view

EXAMPLE = """\
{"format":"unimmu-trace","version":1,"unimmu":"0.1.0","command":["demo","a b"],"memory_bytes":67108864,"seed":3}
{"seq":0,"clock":0,"pid":100,"event":"exec","path":"/bin/demo","argv":["demo","a b"]}
{"seq":1,"clock":0,"pid":100,"event":"cr3_load","before":"0x0","after":"0x8000"}
{"seq":2,"clock":1234567,"pid":100,"event":"walk","access":"write","vaddr":"0x7fffffffe010","cpl":3,"cr3":"0x8000","level":1,"entries":{"4":"0x9027","3":"0xa027","2":"0xb027","1":"0x800000000000c067"},"paddr":"0xc010","rights":"rw-"}
{"seq":3,"clock":1234567,"pid":100,"event":"fill","access":"write","vaddr":"0x7fffffffe010","paddr":"0xc010","level":1,"rights":"rw-"}
{"seq":4,"clock":1234570,"pid":101,"event":"walk","access":"fetch","vaddr":"0x401000","cpl":3,"cr3":"0x8000","level":3,"entries":{"4":"0x7027","3":"0x0"},"error_code":20}
{"seq":5,"clock":1234570,"pid":101,"event":"fault","access":"fetch","vaddr":"0x401000","level":3,"error_code":20}
{"seq":6,"clock":1234570,"pid":101,"event":"accessed_dirty","access":"write","vaddr":"0x5000","level":1,"entry_paddr":"0x9008","before":"0x5027","after":"0x5067"}
{"seq":7,"clock":1234571,"pid":101,"event":"flush","vaddr":"0x5000","length":8192}
{"seq":8,"clock":1234571,"pid":101,"event":"flush","all":true}
{"seq":9,"clock":1234571,"pid":101,"event":"syscall_enter","number":2,"name":"open","arguments":["0x10","0x0"]}
{"seq":10,"clock":1234571,"pid":101,"event":"syscall_exit","number":2,"name":"open","errno":"EFAULT"}
{"seq":11,"clock":1234572,"pid":101,"event":"signal","signal":"SIGTERM","code":0,"addr":"0x0","from":100}
{"seq":12,"clock":1234572,"pid":101,"event":"fork","child":102}
{"seq":13,"clock":1234572,"pid":101,"event":"link","region":"r","level":"pmd","vaddr":"0x20000000000","length":1073741824,"entry_level":"pud","entry_paddr":"0x14000","before":"0x0","after":"0x11027","host_entry_paddr":"0x10000","host_entry":"0x11027","sharers":2}
{"seq":14,"clock":1234572,"pid":101,"event":"unlink","region":"r","level":"pmd","vaddr":"0x20000000000","length":1073741824,"entry_level":"pud","entry_paddr":"0x14000","before":"0x11027","after":"0x0","host_entry_paddr":null,"host_entry":null,"sharers":1}
{"seq":15,"clock":1234573,"pid":101,"event":"exit","signal":"SIGTERM"}
{"seq":16,"clock":1234573,"pid":100,"event":"exit","status":7}
{"seq":17,"clock":1234573,"pid":100,"event":"migrate","from":3,"to":"0x5"}
{"seq":18,"clock":1234573,"event":"end"}
"""
TEXT = """\
demo a b   (64 MiB of memory, seed 3, unimmu 0.1.0)
      SEQ  INSTRUCTIONS   PID  EVENT
        0             0   100  exec          /bin/demo: demo a b
        1             0   100  cr3_load      0x0 -> 0x8000
        2     1,234,567   100  walk          write 0x7fffffffe010 through CR3 0x8000 -> 0xc010, rw-
                                            [0x87f8] = 0x9027  PML4E PDPT table at 0x9000: P RW US A
                                            [0x9ff8] = 0xa027  PDPTE PD table at 0xa000: P RW US A
                                            [0xaff8] = 0xb027  PDE PT table at 0xb000: P RW US A
                                            [0xbff0] = 0x800000000000c067  PTE 4K page at 0xc000: P RW US A D XD
        3     1,234,567   100  fill          write 0x7fffffffe010 -> 0xc010 in a 4K page, rw-
        4     1,234,570   101  walk          fetch 0x401000 through CR3 0x8000 -> page fault (user fetch: not present)
                                            [0x8000] = 0x7027  PML4E PDPT table at 0x7000: P RW US A
                                            [0x7000] = 0x0  PDPTE not present
        5     1,234,570   101  fault         #PF at 0x401000, error code 0x14: user fetch: not present
        6     1,234,570   101  accessed_dirty D set by a write of 0x5000
                                            [0x9008] = 0x5067  PTE 4K page at 0x5000: P RW US A D
        7     1,234,571   101  flush         0x5000 to 0x7000, 8 KiB
        8     1,234,571   101  flush         every translation
        9     1,234,571   101  syscall_enter open(0x10, 0x0)
       10     1,234,571   101  syscall_exit  open = EFAULT
       11     1,234,572   101  signal        SIGTERM, code 0, address 0x0, from 100
       12     1,234,572   101  fork          a child: 102
       13     1,234,572   101  link          the PMD table at 0x11000 of region r is linked at 0x20000000000 (1 GiB); sharers: 2
                                            before: [0x14000] = 0x0  PDPTE not present
                                            after:  [0x14000] = 0x11027  PDPTE PD table at 0x11000: P RW US A
                                            copied from the host mm: [0x10000] = 0x11027  PDPTE PD table at 0x11000: P RW US A
       14     1,234,572   101  unlink        the PMD table at 0x11000 of region r is unlinked from 0x20000000000 (1 GiB); sharers: 1
                                            before: [0x14000] = 0x11027  PDPTE PD table at 0x11000: P RW US A
                                            after:  [0x14000] = 0x0  PDPTE not present
       15     1,234,573   101  exit          killed by SIGTERM
       16     1,234,573   100  exit          status 7
       17     1,234,573   100  migrate       from 3, to 0x5
       18     1,234,573        end           the recording is complete
"""


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "example.jsonl"
    path.write_text(EXAMPLE)
    return path


@pytest.fixture
def viewed(capfd):
    def call(*words: object) -> tuple[int, str, str]:
        capfd.readouterr()
        return main(["trace", "view", *map(str, words)]), *capfd.readouterr()

    return call


def kinds(out: str) -> list[str]:
    return re.findall(r"^ +\d+ +[\d,]+ +\d*  (\w+)", out, re.MULTILINE)


def test_every_kind_of_event(viewed, trace):
    assert viewed(trace) == (0, TEXT, "")


def test_some_kinds(viewed, trace):
    assert kinds(viewed("--kind", "walk", trace)[1]) == ["walk", "walk"]
    assert kinds(viewed("--kind", "link,unlink", "--kind", "fork", trace)[1]) == ["fork", "link", "unlink"]
    assert kinds(viewed("--kind", "migrate", trace)[1]) == ["migrate"]
    status, out, err = viewed("--kind", "fork,knife", trace)
    assert (status, kinds(out)) == (2, ["fork"])
    assert re.fullmatch(r"unimmu trace: --kind knife: there are only accessed_dirty, cr3_load, .*, walk\n", err)


def test_some_processes(viewed, trace):
    assert kinds(viewed("--pid", "100", trace)[1]) == ["exec", "cr3_load", "walk", "fill", "exit", "migrate"]
    assert kinds(viewed("--pid", "100,101", "--kind", "exit", trace)[1]) == ["exit", "exit"]
    assert kinds(viewed("--pid", "77", trace)[1]) == []
    assert viewed("--pid", "x", trace) == (2, "", "unimmu trace: --pid: 'x' is not a process number\n")


def test_standard_input(viewed, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(EXAMPLE.encode())))
    assert viewed("-") == (0, TEXT, "")
    monkeypatch.setattr(sys, "stdin", None)
    assert viewed("-") == (2, "", "unimmu trace: standard input is closed\n")


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_a_last_line_that_is_cut_off_is_said(viewed, trace, cut):
    trace.write_text(EXAMPLE[:-cut])
    status, out, err = viewed(trace)
    lines = TEXT.splitlines(keepends=True)
    assert status == 0
    if cut == 1:  # only the newline is missing
        assert (out, err) == (TEXT, "")
    else:
        assert out == "".join(lines[:-1])
        assert err.startswith(f"unimmu trace: {trace}: line 20 is cut off; the run was stopped, or")


def test_an_end_that_is_missing_is_said(viewed, trace):
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
        (b'{"format":"unimmu-trace","version":99}\n', "format version 99 is not known; this unimmu reads version 1"),
        (b'{"format":"unimmu-trace","version":1}\n', "line 1 is not a header"),
    ],
)
def test_files_that_are_no_trace(viewed, tmp_path, content, says):
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
def test_a_line_that_makes_no_sense_is_said(viewed, trace, line):
    lines = EXAMPLE.splitlines()
    trace.write_text("\n".join([*lines[:3], line, *lines[3:]]) + "\n")
    status, out, err = viewed(trace)
    assert (status, kinds(out)) == (2, ["exec", "cr3_load"])
    assert err == f"unimmu trace: {trace}: line 4 is not an event\n"


def test_files_that_cannot_be_read(viewed, tmp_path):
    assert viewed(tmp_path / "none") == (2, "", f"unimmu trace: {tmp_path / 'none'}: No such file or directory\n")
    assert viewed(tmp_path) == (2, "", f"unimmu trace: {tmp_path}: Is a directory\n")


def test_size():
    assert [size(n) for n in (0, 1, 4096, 1 << 20, 3 << 30, 1 << 40, 1 << 60, 1025)] == [
        "0 bytes", "1 bytes", "4 KiB", "1 MiB", "3 GiB", "1 TiB", "1048576 TiB", "1025 bytes",
    ]  # fmt: skip


def test_the_reader_says_what_it_has_seen():
    reader = TraceReader(io.BytesIO(EXAMPLE.encode()), "x")
    assert (reader.header["seed"], reader.complete) == (3, False)
    events = list(reader)
    assert (len(events), reader.complete, reader.cut_off) == (19, True, False)
    assert {event["event"] for event in events} == reader.kinds
    with pytest.raises(TraceError, match="x: line 3 is not an event"):
        list(TraceReader(io.BytesIO(EXAMPLE.replace('"exec"', '"exec"\n').encode()), "x"))


@pytest.mark.parametrize("program", ["mshare_donor", "faults", "fork_shared", "hello_musl"])
def test_what_run_records_can_be_viewed(viewed, monkeypatch, tmp_path, program):
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
