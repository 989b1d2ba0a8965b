"""``unimmu run`` with a modelled TLB: the output, and that filtered mode never says "miss"."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from emu.machine import Machine
from mmu.cpuid import from_cpuid
from mmu.cpuid_leaves import CpuidError, CpuidResult, host_leaves, parse_dump
from tests.cli.conftest import Unimmu

DUMP = "CPUID 00000002: 76036301-00F0B5FF-00000000-00C30000 [SL 00]\n"


@pytest.mark.parametrize("preset", ["off", "none", "textbook", "skylake-sp", "zen5"])
def test_the_program_does_not_notice(unimmu: Unimmu, preset: str) -> None:
    assert unimmu("run", "--tlb", preset, "hello") == (0, "hello, world\n", "")


def test_counters_as_perf_stat_shows_them(unimmu: Unimmu) -> None:
    ran = unimmu("run", "--tlb", "skylake-sp", "--stats", "fork_shared")
    assert (ran.status, ran.out) == (0, "42\n")
    assert "\n TLB: skylake-sp:measured\n" in ran.err
    found = re.search(r"([\d,]+)  dTLB-loads\n +([\d,]+)  dTLB-load-misses  # ", ran.err)
    assert found is not None
    loads, misses = found.groups()
    share = int(misses) / int(loads)
    assert f"{share:.2%} of all dTLB-loads" in ran.err
    for name in ("iTLB-loads", "DTLB_STORE_MISSES.WALK_COMPLETED_4K", "ITLB_MISSES.MISS_CAUSES_A_WALK"):
        assert re.search(rf"^ +[1-9][\d,]*  {re.escape(name)}$", ran.err, re.MULTILINE), name
    assert re.search(r"^ +LOOKUPS +HITS +MISSES +EVICTIONS +INVALIDATIONS  TLB$", ran.err, re.MULTILINE)
    assert re.search(r"^ +[\d, ]+  PDE$", ran.err, re.MULTILINE)


def test_a_processor_without_tlbs(unimmu: Unimmu) -> None:
    ran = unimmu("run", "--tlb", "none", "--stats", "hello")
    assert "100.00% of all dTLB-loads" in ran.err
    assert "LOOKUPS" not in ran.err


def test_filtered_mode_never_says_miss(unimmu: Unimmu, tmp_path: Path) -> None:
    ran = unimmu(
        "run", "--stats", "--audit", "--json", tmp_path / "figures", "--trace", tmp_path / "trace.jsonl", "mshare_donor"
    )
    viewed = unimmu("trace", "view", tmp_path / "trace.jsonl")
    for text in (ran.out, ran.err, viewed.out, viewed.err, *(p.read_text() for p in tmp_path.iterdir())):
        assert "miss" not in text.lower()


def test_a_cpuid_dump(unimmu: Unimmu, tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    dump.write_text(DUMP)
    ran = unimmu("run", "--tlb-from-cpuid", dump, "--stats", "--json", tmp_path / "figures", "hello")
    assert ran.status == 0 and f" TLB: {dump}\n" in ran.err
    levels = json.loads((tmp_path / "figures").read_text())["mmu"]["tlb"]
    geometry = from_cpuid({(2, 0): _registers(DUMP)})
    assert {name for arrays in levels.values() for name in arrays} == {array.name for array in geometry.arrays}


def test_a_cpuid_dump_of_a_zen_counts_as_its_preset(unimmu: Unimmu, tmp_path: Path) -> None:
    dump = tmp_path / "zen3.txt"
    dump.write_text(
        "CPUID 00000000: 00000010-68747541-444D4163-69746E65\nCPUID 00000001: 00A20F10-00000000-00000000-00000000\n"
        "CPUID 80000005: FF40FF40-FF40FF40-20080140-20080140\nCPUID 80000006: 48002200-68004200-02006140-02009140\n"
        "CPUID 80000019: F040F040-F0400000-00000000-00000000\n"
    )
    counted = []
    for tlb in (("--tlb-from-cpuid", dump), ("--tlb", "zen3")):
        assert unimmu("run", *tlb, "--json", tmp_path / "figures", "touch_pages", "1M").status == 0
        counted.append(json.loads((tmp_path / "figures").read_text())["mmu"])
    assert counted[0].pop("geometry") == f"{dump}, as zen3 where CPUID does not tell"
    assert counted[1].pop("geometry") == "zen3"
    assert counted[0] == counted[1] and "ls_l1_d_tlb_miss.all" in counted[0]["perf"]


def _registers(line: str) -> CpuidResult:
    return parse_dump(line)[2, 0]


def test_this_host(unimmu: Unimmu) -> None:
    try:
        from_cpuid(host_leaves())
    except CpuidError as error:
        says = str(error)
    else:
        says = ""
    ran = unimmu("run", "--tlb-from-cpuid", "host", "hello")
    if says:
        assert ran == (2, "", f"unimmu run: --tlb-from-cpuid host: {says}\n")
    else:
        assert ran == (0, "hello, world\n", "")


def test_nothing_stale(unimmu: Unimmu) -> None:
    nothing = "unimmu: check-tlb: every TLB hit was what the page tables say\n"
    assert unimmu("run", "--tlb", "zen4", "--check-tlb", "hello") == (0, "hello, world\n", nothing)
    ran = unimmu("run", "--tlb", "zen4", "--check-tlb", "--audit", "hello")
    assert ran.err == f"unimmu: audit: every table and every frame is accounted for\n{nothing}"


def test_stale_translations_are_said(unimmu: Unimmu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "stale_translations", lambda machine: ["process 7 is behind", "and 8"])
    ran = unimmu("run", "--tlb", "zen4", "--check-tlb", "hello")
    assert (ran.status, ran.out) == (70, "hello, world\n")
    assert ran.err.splitlines() == [
        "unimmu: check-tlb: process 7 is behind",
        "unimmu: check-tlb: and 8",
        "unimmu: check-tlb: 2 findings",
    ]


def test_presets(unimmu: Unimmu) -> None:
    ran = unimmu("presets", "textbook")
    assert (ran.status, ran.err) == (0, "") and "L1D" in ran.out
    assert unimmu("presets", "zen9").status == 2
