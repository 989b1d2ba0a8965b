"""``unimmu run --json``: the figures that DESIGN.md section 3 promises, under their names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.machine import Machine
from tests.cli.conftest import Unimmu

NUMBER = (int, float)
SCHEMA: dict[str, Any] = {
    "exit_status": int,
    "ended_by": str,
    "instructions": int,
    "context_switches": int,
    "wall_s": NUMBER,
    "memory_bytes": int,
    "processes": [
        {
            "pid": int, "ppid": int, "argv": [str], "exit_status": (int, type(None)), "threads": int,
            "minor_faults": int, "major_faults": int, "link_faults": int, "hardware_faults": int, "instructions": int,
            "translation_cycles": int, "rss_bytes": int, "pagetable_bytes": int,
        }
    ],
    "regions": [
        {
            "name": str, "level": str, "size_bytes": int, "sharers": int, "pagetable_bytes": int,
            "resident_bytes": int, "ended": bool, "abi": str, "sharer_pids": [int], "owner_pid": int, "owner_exit": str,
            "orphaned": bool, "peak_sharers": int, "peak_pagetable_bytes": int, "peak_resident_bytes": int,
            "links": int, "unlinks": int, "link_faults": int, "populate_faults": int,
            "populated": [{"pid": int, "pages": int}],
            "shared_tables": [
                {"paddr": int, "level": str, "region_offset": int, "share_count": int, "made_by": int}
            ],
            "objects": [{"region_offset": int, "size_bytes": int, "prot": str, "backing": str}],
        }
    ],
    "mmu": {
        "mode": str, "code": str, "fills": int, "walks": int, "walk_loads": int, "page_faults": int, "ad_updates": int,
        "flushes": int, "cr3_loads": int, "geometry": type(None), "tlb": {}, "structure_caches": {}, "perf": {},
        "latency": type(None), "nested": type(None),
        "shootdowns": {"sent": int, "ipis": int, "cost_cycles": int, "by_policy": {}},
    },
    "cpus": [
        {
            "cpu": int, "instructions": int, "context_switches": int, "fills": int, "walks": int, "walk_loads": int,
            "page_faults": int, "ad_updates": int, "flushes": int, "cr3_loads": int, "tlb": {}, "structure_caches": {},
            "perf": {}, "latency": type(None), "nested": type(None), "shootdowns_sent": int, "ipis_received": int,
        }
    ],
    "audit": {"ran": bool, "findings": [str], "tlb_checked": bool, "stale": [str]},
    "engine": {"fast": bool, "counting": str, "accesses": type(None)},
}  # fmt: skip
ARRAY = dict.fromkeys(("lookups", "hits", "misses", "evictions", "invalidations", "installs", "drops"), int)


def check(schema: Any, value: Any, where: str = "run") -> None:
    """``value`` has exactly the keys and types of ``schema``."""
    if isinstance(schema, dict):
        assert set(value) == set(schema), where
        for key, inner in schema.items():
            check(inner, value[key], f"{where}.{key}")
    elif isinstance(schema, list):
        assert isinstance(value, list), where
        for item in value:
            check(schema[0], item, f"{where}[]")
    else:
        assert isinstance(value, schema), where


#: ``figures(*words)``: what `unimmu run --json` writes
Figures = Callable[..., dict[str, Any]]


@pytest.fixture
def figures(unimmu: Unimmu, tmp_path: Path) -> Figures:
    def run(*words: object) -> dict[str, Any]:
        ran = unimmu("run", "--json", tmp_path / "figures.json", *words)
        result: dict[str, Any] = json.loads((tmp_path / "figures.json").read_bytes())
        assert result["exit_status"] == ran.status
        return result

    return run


@pytest.mark.parametrize(
    ("words", "ended_by"),
    [
        (["hello"], "exit"),
        (["--audit", "mshare_donor"], "exit"),
        (["calls", "kill 100 9"], "signal"),
        (["calls", "pause"], "idle"),
        (["--timeout", "0.1", "spin"], "timeout"),
    ],
)
def test_the_schema(figures: Figures, words: list[str], ended_by: str) -> None:
    run = figures(*words)
    check(SCHEMA, run)
    assert run["ended_by"] == ended_by
    assert run["audit"]["ran"] == ("--audit" in words)


def test_the_figures_of_hello(figures: Figures) -> None:
    run = figures("--mem", "64M", "hello")
    (hello,) = run["processes"]
    assert (run["memory_bytes"], run["regions"], run["exit_status"]) == (64 << 20, [], 0)
    assert run["instructions"] == hello["instructions"] > 100
    assert (hello["pid"], hello["ppid"], hello["argv"], hello["exit_status"]) == (100, 1, ["/bin/hello"], 0)
    assert hello["minor_faults"] == hello["hardware_faults"] == 2
    assert hello["pagetable_bytes"] % 4096 == hello["rss_bytes"] % 4096 == 0
    assert 0 < run["wall_s"] < 60
    mmu = run["mmu"]
    assert mmu["mode"] == "filtered"
    assert 4 * (mmu["walks"] - mmu["page_faults"]) <= mmu["walk_loads"] <= 4 * mmu["walks"]
    assert mmu["fills"] == mmu["walks"] - mmu["page_faults"]


def test_the_figures_of_a_region(figures: Figures) -> None:
    run = figures("mshare_donor")
    (region,) = run["regions"]
    assert (region["name"], region["level"], region["size_bytes"]) == ("shareme", "pmd", 2 << 30)
    assert (region["sharers"], region["resident_bytes"], region["ended"]) == (2, 8192, True)
    assert region["populated"] == [{"pid": 100, "pages": 1}, {"pid": 101, "pages": 1}]
    assert [process["link_faults"] for process in run["processes"]] == [2, 2]


def test_processes_that_live_have_no_exit_status(figures: Figures) -> None:
    run = figures("--timeout", "0.1", "calls", "fork c; pause; end; repeat 1000000000; getpid; end")
    assert run["exit_status"] == 124
    assert [process["exit_status"] for process in run["processes"]] == [None, None]


def test_findings_of_the_audit(figures: Figures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "audit", lambda machine: ["frame 5 is lost"])
    run = figures("--audit", "hello")
    assert run["exit_status"] == 70
    assert run["audit"] == {"ran": True, "findings": ["frame 5 is lost"], "tlb_checked": False, "stale": []}


def test_a_modelled_tlb(figures: Figures) -> None:
    run = figures("--tlb", "textbook", "--check-tlb", "hello")
    plain = figures("hello")
    modelled = {"geometry": str, "perf": dict, "tlb": {"L1": {"L1I": ARRAY, "L1D": ARRAY}, "L2": {"L2": ARRAY}}}
    modelled["structure_caches"] = {name: {"lookups": int, "hits": int} for name in ("PDE", "PDPTE", "PML4E", "PML5E")}
    of_cpu = {name: value for name, value in modelled.items() if name != "geometry"}
    cpus = [{**SCHEMA["cpus"][0], **of_cpu}]
    engine = {**SCHEMA["engine"], "accesses": str}
    check({**SCHEMA, "mmu": {**SCHEMA["mmu"], **modelled}, "cpus": cpus, "engine": engine}, run)
    mmu = run["mmu"]
    assert (mmu["mode"], mmu["geometry"]) == ("exact", "textbook")
    for arrays in mmu["tlb"].values():
        for array in arrays.values():
            assert array["lookups"] == array["hits"] + array["misses"]
    assert mmu["perf"]["dTLB-loads"] > mmu["perf"]["dTLB-load-misses"] > 0
    assert mmu["perf"]["PAGE_WALKER_LOADS"] == mmu["walk_loads"]
    assert run["audit"] == {"ran": False, "findings": [], "tlb_checked": True, "stale": []}
    assert (run["processes"], run["instructions"]) == (plain["processes"], plain["instructions"])


def test_stale_translations(figures: Figures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "stale_translations", lambda machine: ["process 7 is behind"])
    run = figures("--tlb", "textbook", "--check-tlb", "hello")
    assert run["exit_status"] == 70
    assert run["audit"] == {"ran": False, "findings": [], "tlb_checked": True, "stale": ["process 7 is behind"]}


def test_the_same_run_has_the_same_figures(figures: Figures) -> None:
    def timeless() -> dict[str, Any]:
        return {**figures("mshare_donor"), "wall_s": 0}

    assert timeless() == timeless()
