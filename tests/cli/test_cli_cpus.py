"""``unimmu run --cpus``: its output about each vCPU and about shootdowns."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Unimmu

STALE = ("--tlb", "textbook", "--check-tlb", "--audit", "--mount", "msharefs:/sys/fs/mshare:tlb=local", "stale_reader")


def test_a_stale_page_and_who_is_to_blame(unimmu: Unimmu) -> None:
    ran = unimmu("run", "--cpus", 2, *STALE)
    assert ran.status == 70
    assert "reader: after the object was replaced: 1, a stale page\n" in ran.out
    assert re.search(
        r"check-tlb: stale translation: process 101 on CPU 1 reads .* process 100 on CPU 0 changed it .* tlb=local\), "
        r"and CPU 1 was not told",
        ran.err,
    )
    assert "audit: every table and every frame is accounted for" in ran.err
    alone = unimmu("run", *STALE)
    assert alone.status == 0 and "stale page" not in alone.out


def test_stats_and_json(unimmu: Unimmu, tmp_path: Path) -> None:
    words = ["run", "--cpus", 3, "--slice", 500, "--tlb", "textbook", "--stats", "--json", tmp_path / "figures"]
    ran = unimmu(*words, "region_churn", 2, 3, 2)
    assert ran.out == "ok 2 processes, 3 rounds\n"
    run = json.loads((tmp_path / "figures").read_bytes())
    shootdowns, cpus = run["mmu"]["shootdowns"], run["cpus"]
    assert [cpu["cpu"] for cpu in cpus] == [0, 1, 2]
    assert sum(cpu["instructions"] for cpu in cpus) == run["instructions"]
    assert sum(cpu["shootdowns_sent"] for cpu in cpus) == shootdowns["sent"] > 0
    assert sum(cpu["ipis_received"] for cpu in cpus) == shootdowns["ipis"] >= shootdowns["sent"]
    for name in ("sent", "ipis", "cost_cycles"):
        assert shootdowns[name] == sum(policy[name] for policy in shootdowns["by_policy"].values())
    for name, number in run["mmu"]["perf"].items():
        assert number == sum(cpu["perf"][name] for cpu in cpus)
    for level, arrays in run["mmu"]["tlb"].items():
        for array, counters in arrays.items():
            for name, number in counters.items():
                assert number == sum(cpu["tlb"][level][array][name] for cpu in cpus)
    assert re.search(rf" {shootdowns['ipis']:,}  shootdown IPIs\n", ran.err)
    assert re.search(r"FLUSHES +SHOOTDOWNS +IPIS +CYCLES +POLICY\n(.*\n)? +4 +4 +8 +[\d,]+ +all\n", ran.err)
    assert re.search(r"CPU +INSTRUCTIONS .*\n +0 .*\n +1 .*\n +2 .*\n", ran.err)
    assert re.search(r"CPU +dTLB-loads +dTLB-load-misses .*\n +0 .*\n +1 .*\n +2 .*\n", ran.err)


def test_one_cpu_has_no_table_of_cpus(unimmu: Unimmu) -> None:
    assert not re.search(r"shootdown|CPU +INSTR", unimmu("run", "--stats", "hello").err)


def test_a_shootdown_in_a_trace(unimmu: Unimmu, tmp_path: Path) -> None:
    for policy, second in (
        ("sharers", "each invalidates 1 page; 7,806 cycles, 6,470 of them the sender's"),
        ("local", "not told: CPU 1"),
    ):
        mount = f"msharefs:/sys/fs/mshare:tlb={policy}"
        unimmu(
            "run", "--cpus", 2, "--tlb", "textbook", "--trace", tmp_path / "t.jsonl", "--mount", mount, "stale_reader"
        )
        first, told, *_ = unimmu("trace", "view", "--kind", "shootdown", tmp_path / "t.jsonl").out.splitlines()[2:]
        whom = "CPU 1" if policy == "sharers" else "nobody"
        assert re.fullmatch(
            rf" +\d+ +[\d,]+   0   100  shootdown      CPU 0 to {whom}: 0x8000000000, 4 KiB of host mm of stale_reader "
            rf"\(unmap, tlb={policy}\)",
            first,
        )
        assert told.strip() == second


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cpus", "0"], "--cpus: '0' is not a whole number of at least 1"),
        (["--cpus", "65"], "--cpus: a machine has from 1 to 64 vCPUs, not 65"),
        (["--slice", "x"], "--slice: 'x' is not a whole number of at least 1, nor a range such as 100-5000"),
    ],
)
def test_numbers_that_cannot_be(unimmu: Unimmu, words: list[str], message: str) -> None:
    assert unimmu("run", *words, "hello") == (2, "", f"unimmu run: {message}\n")
