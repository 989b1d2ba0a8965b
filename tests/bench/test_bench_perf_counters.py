"""``unimmu bench --perf-stat``: the host's counters beside ours.  No count of the host is asserted: hosts differ."""

from __future__ import annotations

import doctest
import os
import pathlib
import re

import pytest

import emu.bench.perf_counters as counters
from emu.bench.perf_counters import GENERIC, INTEL, Job, compare, jobs, parse
from emu.cli.main import main
from mmu.presets import find_preset, load_preset

#: Stands in for perf: what it has counted, in the form of perf stat -x.
FAKE = """#!/bin/sh
for word; do [ "$last" = -o ] && out=$word; [ "$last" = -e ] && events=$word; last=$word; done
"$last" || exit 9
: >"$out"
IFS=,
for event in $events; do
  case $event in
    dTLB-loads:u) echo "1000;;$event;5;100.00;;" >>"$out";;
    ls_l1_d_tlb_miss.all:u) echo "88;;ls_l1_d_tlb_miss.all:u;5;100.00;;" >>"$out";;
    DTLB_LOAD_MISSES.STLB_HIT:u) echo "77;;dtlb_load_misses.stlb_hit:u;5;100.00;;" >>"$out";;
    *) echo "<not supported>;;$event;0;100.00;;" >>"$out";;
  esac
done
"""


def test_doctests() -> None:
    assert doctest.testmod(counters).failed == 0


def test_what_perf_writes_is_read() -> None:
    text = "# started on ...\n\n12;;dTLB-loads:u;5;100.00;;\n<not counted>;;dTLB-stores:u;0;0.00;;\n3;;other:u;1;1;;\n"
    assert parse(text, GENERIC) == {"dTLB-loads": 12}
    assert parse("7;;dtlb_load_misses.stlb_hit:u;5;100.00;;", INTEL) == {"DTLB_LOAD_MISSES.STLB_HIT": 7}
    assert parse("", GENERIC) == {}


def put_perf(text: str, place: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "perf").write_text(text)
    (place / "perf").chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")


def test_the_same_programs_run_on_the_host_and_here(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_perf(FAKE, tmp_path, monkeypatch)
    rows, why_not = compare(find_preset("skylake-sp").timed(), [Job("a", 256, 10), Job("b", 8, 20, store=True)])
    assert why_not is None
    found = {(row.job.name, row.event): (row.host, row.ours) for row in rows}
    assert found["a", "dTLB-loads"] == (1000, 2560)
    assert found["a", "dTLB-stores"] == (None, 0)
    host, ours = found["a", "DTLB_LOAD_MISSES.STLB_HIT"]
    assert host == 77 and ours is not None and ours >= 9 * 256, "256 pages are too many for 64 entries"
    assert found["b", "dTLB-stores"] == (None, 160)
    assert found["b", "dTLB-store-misses"] == (None, 8)


def test_of_a_zen_amds_counters_stand_beside_ours(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_perf(FAKE, tmp_path, monkeypatch)
    rows, why_not = compare(find_preset("zen4").timed(), [Job("a", 4096, 4)])
    assert why_not is None
    found = {row.event: (row.host, row.ours) for row in rows}
    host, ours = found["ls_l1_d_tlb_miss.all"]
    assert host == 88 and ours is not None
    parts = [count for event, (_, count) in found.items() if "tlb_reload_" in event and count is not None]
    assert len(parts) == 8 and sum(parts) == ours > 0
    assert not any(event.startswith("DTLB") for event in found)


def test_a_host_without_counters_says_so(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_perf(FAKE.replace("1000;;", "<not supported>;;").replace("77;;", "<not supported>;;"), tmp_path, monkeypatch)
    rows, why_not = compare(load_preset("zen4"), [Job("a", 8, 2)])
    assert why_not == "perf counts no TLB events on this host (dTLB-loads is <not supported>)"
    assert all(row.host is None for row in rows)
    monkeypatch.setattr(counters, "jobs", lambda quick: [Job("few", 8, 2)])
    assert main(["bench", "--perf-stat=zen4"]) == 0
    out = capsys.readouterr().out
    assert "The host's counters are missing: perf counts no TLB events" in out
    assert re.search(r"few +dTLB-loads +- +16", out)


def test_a_host_without_perf_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert compare(load_preset("zen4"), [])[1] == "perf is not installed"


def test_the_programs_sweep_around_the_capacities() -> None:
    for quick in (True, False):
        assert [job.pages for job in jobs(quick=quick)] == [32, 256, 1024, 4096, 16384, 4096]
    assert jobs(quick=False)[0].passes == 1_000_000 // 32


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--perf-stat=zen9"], "--perf-stat: no TLB preset 'zen9'"),
        (["--perf-stat=zen4", "--json", "x.json"], "--perf-stat shows counters, and has no --json and no --compare"),
    ],
)
def test_what_is_wrong_is_said(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *words]) == 2
    assert says in capsys.readouterr().err
