"""``--nested``: walks in two dimensions, which no guest notices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import guests
from emu.cli.tlb import nested
from emu.machine import Machine
from mmu.presets import load_preset
from tests.cli.conftest import Unimmu

#: Stores to 4 pages of 2M, some of them twice, and unmaps one.
HUGE = (
    "w = mmap 0 8M RW MAP_PRIVATE|MAP_ANONYMOUS|MAP_HUGETLB; store w 1; store w+4096 2; store w+2M 3; load w+8192; "
    "munmap w 2M; load w+2M"
)


def figures(unimmu: Unimmu, path: Path, *words: object) -> dict[str, Any]:
    ran = unimmu("run", "--json", path, *words)
    assert ran.status == 0
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


@pytest.mark.parametrize(("size", "depth"), [("4K", 4), ("2M", 3), ("1G", 2)])
def test_without_caches_each_entry_takes_a_walk(unimmu: Unimmu, tmp_path: Path, size: str, depth: int) -> None:
    run = figures(unimmu, tmp_path / "f", "--tlb", "none", f"--nested={size}", "hello")
    mmu = run["mmu"]
    found, completed = mmu["nested"], mmu["walks"] - mmu["page_faults"]
    assert found["walks"] == mmu["walk_loads"] + completed
    assert found["loads"] == depth * found["walks"]
    assert found["page_size"] == {"4K": 1 << 12, "2M": 1 << 21, "1G": 1 << 30}[size]
    assert (found["tlb_hits"], found["cycles"], found["structure_caches"]) == (0, 0, {})


def test_a_nested_tlb_and_cycles(unimmu: Unimmu, tmp_path: Path) -> None:
    words = ("--tlb", "skylake", "--tlb-latency", "--nested", "--cpus", "2", "--tlb-set", "nested.tlb=16,nested.pde=4")
    run = figures(unimmu, tmp_path / "f", *words, "fork_shared")
    mmu = run["mmu"]
    second, perf, latency = mmu["nested"], mmu["perf"], mmu["latency"]
    assert second["tlb_hits"] > second["walks"] > 0
    assert second["structure_caches"]["PDE"]["hits"] > 0
    assert 0 < perf["EPT.WALK_PENDING"] == second["cycles"] < latency["cycles"]
    assert sum(latency["walk_loads"].values()) == mmu["walk_loads"] + second["loads"]
    found = [n for name, n in perf.items() if name.startswith("PAGE_WALKER_LOADS.EPT_")]
    assert sum(found) == second["loads"] == sum(cpu["nested"]["loads"] for cpu in run["cpus"])


def test_vcpus_have_the_same_tables() -> None:
    machine = Machine(64 << 20, cpus=2, tlb=nested(load_preset("textbook"), "4K"), modules={}, stdout=lambda data: None)
    machine.spawn(guests.path("hello"))
    machine.run()
    first, second = (model.second for model in machine.kernel.cpu.mmu.tlbs)
    assert first is not None and second is not None and first.record.host == second.record.host
    assert first.counts.loads + second.counts.loads > 0


@pytest.mark.parametrize("words", [["fork_shared"], ["mshare_donor"], ["--hugepages", "4", "calls", HUGE]])
def test_no_guest_notices(unimmu: Unimmu, tmp_path: Path, words: list[str]) -> None:
    """The TLB is checked at each hit, and the tables are recounted."""
    plain = figures(unimmu, tmp_path / "f", "--tlb", "zen2", *words)
    for size in ("4K", "2M"):
        walked = figures(unimmu, tmp_path / "f", "--tlb", "zen2", "--check-tlb", f"--nested={size}", *words)
        assert walked["processes"] == plain["processes"]
        assert walked["audit"]["tlb_checked"] and not walked["audit"]["stale"]


def test_large_pages_are_held_in_pieces(unimmu: Unimmu, tmp_path: Path) -> None:
    """Three pages of 4K of two pages of 2M."""
    words = ("--hugepages", "4", "calls", HUGE)
    walks = {
        size: figures(unimmu, tmp_path / "f", "--tlb", "skylake", *size, *words)["mmu"]["walks"]
        for size in ((), ("--nested=2M",), ("--nested=4K",))
    }
    assert walks[()] == walks["--nested=2M",] < walks["--nested=4K",]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--nested"], "--nested is of a modelled TLB, and none is modelled: add --tlb PRESET"),
        (["--tlb", "zen4", "--nested=8K"], "invalid choice: '8K' (choose from '4K', '2M', '1G')"),
        (["--tlb", "zen4", "--tlb-set", "nested.tlb=3"], "there is no second dimension: add --nested"),
        (["--tlb", "zen4", "--nested", "--tlb-set", "nested.pml5e=3"], "no pml5e of a second dimension; there are tlb"),
    ],
)
def test_what_is_wrong_is_said(unimmu: Unimmu, words: list[str], says: str) -> None:
    ran = unimmu("run", *words, "hello")
    assert (ran.status, ran.out) == (2, "") and says in ran.err and ran.err.count("\n") == 1
