"""``--tlb-latency``: cycles in --stats, --json and traces, by process, page and function."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import emu.trace
from tests.cli.conftest import Unimmu

FILE = """\
[toy]
[[toy.arrays]]
name = "L1"
level = 1
kinds = ["load", "store", "fetch"]
page_sizes = ["4K"]
sets = 1
ways = 4
[toy.latency]
stlb_hit = 0
load = 20
"""


def figures(unimmu: Unimmu, path: Path, *words: object) -> dict[str, Any]:
    assert unimmu("run", "--json", path, *words).status == 0
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def test_the_cycles_of_a_preset(unimmu: Unimmu, tmp_path: Path) -> None:
    run = figures(unimmu, tmp_path / "f", "--tlb", "skylake-sp", "--tlb-latency", "--cpus", "2", "fork_shared")
    latency = run["mmu"]["latency"]
    parts = latency["by_access"].values()
    assert latency["cycles"] == sum(each["stlb_hit_cycles"] + each["walk_cycles"] for each in parts) > 0
    assert latency["cycles"] == sum(process["translation_cycles"] for process in run["processes"])
    assert latency["cycles"] == sum(cpu["latency"]["cycles"] for cpu in run["cpus"])
    assert all(process["translation_cycles"] for process in run["processes"])
    assert sum(latency["walk_loads"].values()) == run["mmu"]["walk_loads"]
    perf = run["mmu"]["perf"]
    assert perf["DTLB_STORE_MISSES.WALK_ACTIVE"] == perf["DTLB_STORE_MISSES.WALK_PENDING"]
    assert perf["DTLB_STORE_MISSES.WALK_ACTIVE"] == latency["by_access"]["write"]["walk_cycles"]
    found = [perf[f"PAGE_WALKER_LOADS.{side}_{where}"] for side in ("DTLB", "ITLB") for where in ("L1", "MEMORY")]
    assert sum(found) == latency["walk_loads"]["L1D"] + latency["walk_loads"]["memory"]
    assert latency["by_access"]["read"]["stlb_hit_cycles"] == 9 * perf["DTLB_LOAD_MISSES.STLB_HIT"]


def test_latencies_change_nothing_else(unimmu: Unimmu, tmp_path: Path) -> None:
    plain = figures(unimmu, tmp_path / "f", "--tlb", "zen4", "fork_shared")
    timed = figures(unimmu, tmp_path / "f", "--tlb", "zen4", "--tlb-latency", "fork_shared")
    assert plain["mmu"]["latency"] is None
    assert not any(process.pop("translation_cycles") for process in plain["processes"])
    assert all(process.pop("translation_cycles") for process in timed["processes"])
    assert plain["processes"] == timed["processes"]
    for name in ("tlb", "structure_caches", "walks", "walk_loads"):
        assert plain["mmu"][name] == timed["mmu"][name]
    assert timed["mmu"]["perf"] | plain["mmu"]["perf"] == timed["mmu"]["perf"]


def test_walks_of_a_fixed_cost(unimmu: Unimmu, tmp_path: Path) -> None:
    """Without caches each entry costs as much, so that the cycles say how many were read."""
    (tmp_path / "my.toml").write_text(FILE)
    words = ("--tlb", tmp_path / "my.toml", "--tlb-latency")
    run = figures(unimmu, tmp_path / "f", *words, "touch_pages", "64K")
    assert run["mmu"]["latency"]["cycles"] == 20 * run["mmu"]["walk_loads"]
    run = figures(unimmu, tmp_path / "f", *words, "--tlb-set", "latency.load=3,latency.walk=100", "touch_pages", "64K")
    assert run["mmu"]["latency"]["cycles"] == 3 * run["mmu"]["walk_loads"] + 100 * run["mmu"]["walks"]


@pytest.mark.parametrize("region", [[], ["--region", "10..700"]])
def test_stats(unimmu: Unimmu, region: list[str]) -> None:
    ran = unimmu("run", "--tlb", "textbook", "--tlb-latency", "--stats", *region, "touch_pages", "1M")
    cycles = [int(text.replace(",", "")) for text in re.findall(r"([\d,]+)  cycles of ", ran.err)]
    assert re.search(r"cycles of walks +# [\d.]+ a walk\n", ran.err) and " CYCLES  COMMAND\n" in ran.err
    of_process = re.search(r"([\d,]+)  /bin/touch_pages 1M\n", ran.err)
    assert of_process is not None and int(of_process[1].replace(",", "")) == sum(cycles) > 0
    loads = re.search(r"([\d,]+)  walk loads", ran.err)
    assert loads is not None and cycles[1] == 10 * int(loads[1].replace(",", ""))


@pytest.mark.parametrize("name", ["t.jsonl", "t.parquet"])
def test_the_cycles_of_a_trace(unimmu: Unimmu, tmp_path: Path, name: str) -> None:
    words = ("--tlb", "skylake-sp", "--tlb-latency", "--trace-accesses", "--trace", tmp_path / name)
    run = figures(unimmu, tmp_path / "f", *words, "touch_pages", "1M")
    cycles = run["mmu"]["latency"]["cycles"]
    table = emu.trace.open(tmp_path / name).arrow(["event", "cycles"])
    assert sum(filter(None, table["cycles"].to_pylist())) == cycles
    stat = unimmu("trace", "stat", "--by", "process,function", tmp_path / name).out
    assert re.search(rf"^ +{cycles:,}  cycles, of walks and of hits in the L2 TLB", stat, re.MULTILINE)
    assert len(re.findall(rf" +{cycles:,}  ", stat)) == 3
    top = unimmu("trace", "top", "-n", "1000", tmp_path / name).out
    pages = top[top.index("Pages with most walks") :].splitlines()[2:]
    walks = run["mmu"]["latency"]["by_access"].values()
    assert sum(int(row.split()[3].replace(",", "")) for row in pages if row) == sum(e["walk_cycles"] for e in walks)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--tlb-latency"], "--tlb-latency counts what a modelled TLB costs, and none is modelled: add --tlb PRESET"),
        (["--tlb", "champsim", "--tlb-latency"], "champsim does not say what translations cost: [champsim.latency] in"),
        (["--tlb", "zen4", "--tlb-set", "latency.load=3"], "no latencies are counted: add --tlb-latency"),
        (["--tlb", "zen4", "--tlb-latency", "--tlb-set", "latency.x=3"], "no x of latencies; there are stlb_hit, walk"),
        (["--tlb", "zen4", "--tlb-latency", "--tlb-set", "latency.load=3000"], "load: 3000 cycles; from 0 to 1500"),
        (["--tlb", "zen4", "--stats", "-e", "PAGE_WALKER_LOADS.DTLB_L1"], "have latencies: give --tlb-latency"),
    ],
)
def test_what_cannot_be_counted_is_refused(unimmu: Unimmu, words: list[str], says: str) -> None:
    ran = unimmu("run", *words, "hello")
    assert (ran.status, ran.out) == (2, "") and says in ran.err and ran.err.count("\n") == 1
