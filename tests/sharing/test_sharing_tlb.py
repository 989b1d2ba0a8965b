"""Which vCPUs hear of a change of shared tables: the mount option ``tlb``, its cost, and the lack of a shootdown."""

from __future__ import annotations

import re
from typing import Any

import pytest

from emu.machine import Mount
from emu.mm.shootdown import ShootdownCost
from tests.booted import Booted, MakeMachine, Recorder

COST = ShootdownCost()
FRESH = "maker: the object holds 1\nreader: after the object was replaced: 2\nmaker: the reader's store: arrived\n"
STALE = (
    "maker: the object holds 1\nreader: after the object was replaced: 1, a stale page\n"
    "maker: the reader's store: lost\n"
)
KILLED = "maker: the object holds 1\nreader: killed by SIGSEGV\n"
LIVES = "maker: the object holds 1\nreader: lives, and reads 1, a stale page\n"


def boot(make: MakeMachine, policy: str, *, level: str = "pmd", **options: Any) -> Booted:
    mounts = [Mount("msharefs", "/sys/fs/mshare", f"tlb={policy},level={level}")]
    return make(level=level, mounts=mounts, **options)


@pytest.mark.parametrize("cpus", [1, 2, 4])
@pytest.mark.parametrize("policy", ["all", "sharers"])
@pytest.mark.parametrize("tlb", ["off", "skylake-sp"])
def test_a_reader_on_another_cpu_is_told(machine: MakeMachine, policy: str, cpus: int, tlb: str) -> None:
    for mode, expected in (("replace", FRESH), ("unmap", KILLED)):
        booted = boot(machine, policy, cpus=cpus, tlb=tlb, check_tlb=tlb != "off")
        assert booted.outcome("stale_reader", mode) == (expected, "", 0, "")
        assert booted.stale_translations() == []


@pytest.mark.parametrize("cpus", [2, 4])
@pytest.mark.parametrize("level", ["pte", "pmd", "pud"])
def test_with_local_it_goes_on_reading_the_old_page(machine: MakeMachine, cpus: int, level: str) -> None:
    booted = boot(machine, "local", cpus=cpus, tlb="skylake-sp", check_tlb=True, level=level)
    assert booted.outcome("stale_reader", "replace") == (STALE, "", 0, "")
    (finding,) = booted.stale_translations()
    assert re.fullmatch(
        r"stale translation: process 101 on CPU 1 reads 0x\w+ at 0x\w+, which its TLB holds, but the tables say 0x\w+; "
        r"process 100 on CPU 0 changed it at instruction \d+ \(host mm of stale_reader; flushed on CPU 0 only, "
        r"tlb=local\), and CPU 1 was not told \(\d+ more hits on it were seen\)",
        finding,
    ), finding
    booted = boot(machine, "local", cpus=cpus, tlb="textbook", check_tlb=True, level=level)
    assert booted.outcome("stale_reader", "unmap") == (LIVES, "", 0, "")
    assert "but the tables say nothing; process 100 on CPU 0 changed it" in booted.stale_translations()[0]


@pytest.mark.parametrize(("cpus", "tlb"), [(1, "skylake-sp"), (2, "off")])
def test_local_shows_nothing_where_loading_cr3_flushes(machine: MakeMachine, cpus: int, tlb: str) -> None:
    """One CPU, which changes its tables with the process; and a machine that models no TLB."""
    booted = boot(machine, "local", cpus=cpus, tlb=tlb)
    assert booted.outcome("stale_reader", "replace").stdout == FRESH


def test_the_audit_looks_into_the_tlbs(machine: MakeMachine) -> None:
    """While the reader is not told, its TLB contradicts the tables: a finding if the TLBs are asked about."""
    booted = boot(machine, "local", cpus=2, tlb="textbook")
    recorder = Recorder(booted)
    booted.guest("stale_reader", "replace")
    booted.run(until=lambda: any(event["kind"] == "shootdown" for event in recorder.events))
    assert booted.audit() == []
    found = booted.audit(tlbs=True)
    assert found and all(
        re.match(r"CPU 1 \(stale_reader\) holds .*but the tables (say|map)", text) for text in found
    ), found
    assert booted.kernel.flusher.held_frames(), "the frame is not given to anybody while a TLB leads to it"
    booted.finish()
    assert booted.kernel.flusher.held_frames() == []
    assert booted.audit(tlbs=True) == []


def test_a_huge_page_that_leaves_the_pool_is_in_no_tlb(machine: MakeMachine) -> None:
    """Huge pages are not kept for untold vCPUs: these are emptied before the memory becomes anything else."""
    booted = boot(machine, "local", cpus=2, tlb="textbook")
    recorder = Recorder(booted)
    booted.guest("stale_reader", "replace")
    booted.run(until=lambda: any(event["kind"] == "shootdown" for event in recorder.events))
    booted.kernel.huge_pages.resize(1)
    assert booted.audit(tlbs=True) != []
    booted.kernel.huge_pages.resize(0)
    assert booted.audit(tlbs=True) == []
    assert booted.kernel.flusher.held_frames() == []
    booted.finish()
    assert booted.stdout == FRESH


# -- who is told, and the price ------------------------------------------------------------------------------------

#: A region of two units: CPU 0 makes it, a child on CPU 1 uses it, one on CPU 2 does not; CPU 3 is idle.
STORY = """@u = say {unit}; @fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT|O_EXCL 0644; @ftruncate fd u+u
    @create fd 0 512K RW OBJECT; @t = mmap 0 4K RW ANON -1 0; @w = mmap 2T u+u RW MAP_SHARED|MAP_FIXED fd 0
    @fork a; @touch w 512K; @store t 1; @await t+16 1; end
    @fork b; @munmap w u+u; @store t+8 1; @await t+16 1; end
    @await t 1; @await t+8 1; @touch w 8K
    @unmap fd 4K 12K; @unmap fd 64K 256K
    @store t+16 1; @wait a; @wait b; @unlink "/sys/fs/mshare/r\""""


def story(make: MakeMachine, policy: str, **options: Any) -> tuple[Booted, list[dict[str, Any]]]:
    booted = boot(make, policy, cpus=4, **options)
    recorder = Recorder(booted)
    assert booted.calls(STORY.format(unit=booted.unit)) == []
    changes = [e for e in recorder.events if e["kind"] == "shootdown" and e["mm"] == "host mm of r"]
    return booted, changes


@pytest.mark.parametrize("tlb", ["off", "textbook"])
def test_all_tells_every_cpu_to_empty_its_tlb(machine: MakeMachine, tlb: str) -> None:
    booted, changes = story(machine, "all", tlb=tlb)
    first, second, *_ = changes
    for event, pages in ((first, 3), (second, 64)):
        assert (event["sender"], event["receivers"], event["pages"]) == (0, [1, 2, 3], None)
        assert (event["length"], event["policy"], event["reason"]) == (pages << 12, "all", "unmap")
        assert event["sender_cycles"] == COST.send + 3 * COST.each_receiver
        assert event["cost_cycles"] == event["sender_cycles"] + 3 * (COST.interrupt + COST.everything)
    assert booted.kernel.flusher.shootdowns.by_policy["all"].ipis == 3 * len(changes)


@pytest.mark.parametrize("tlb", ["off", "textbook"])
def test_sharers_tells_those_that_use_the_region_and_only_of_its_pages(machine: MakeMachine, tlb: str) -> None:
    booted, changes = story(machine, "sharers", tlb=tlb)
    first, second = changes
    assert (first["sender"], first["receivers"], first["pages"]) == (0, [1], 3)
    assert (second["sender"], second["receivers"], second["pages"]) == (0, [1], None)
    assert first["cost_cycles"] == COST.send + COST.each_receiver + COST.interrupt + 3 * COST.invlpg
    counters = booted.kernel.flusher.shootdowns.by_policy["sharers"]
    assert (counters.sent, counters.ipis) == (2, 2)


def test_local_tells_nobody_and_says_whom(machine: MakeMachine) -> None:
    booted, changes = story(machine, "local", tlb="textbook")
    assert [(e["receivers"], e["not_told"], e["cost_cycles"]) for e in changes] == [([], [1], 0)] * 2
    counters = booted.kernel.flusher.shootdowns.by_policy["local"]
    assert (counters.sent, counters.ipis, counters.cost_cycles) == (0, 0, 0)
    assert counters.flushes >= 2


def test_the_range_of_a_sharer_is_in_its_own_addresses(machine: MakeMachine) -> None:
    """Two windows of one region in one process: both are told of, and what lies outside stays in the TLB."""
    booted = boot(machine, "sharers", cpus=2, tlb="textbook")
    recorder = Recorder(booted)
    booted.calls(
        f"""@u = say {booted.unit}; @fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT|O_EXCL 0644; @ftruncate fd u
        @create fd 0 64K RW OBJECT; @w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; @t = mmap 0 4K RW ANON -1 0
        @v = mmap 4T u RW MAP_SHARED|MAP_FIXED fd 0
        @fork a; @touch w 64K; @touch v 64K; @store t 1; @await t+8 1; end
        @await t 1; @unmap fd 8K 8K; @store t+8 1; @wait a; @unlink "/sys/fs/mshare/r\""""
    )
    (event,) = (e for e in recorder.events if e["kind"] == "shootdown" and e["mm"] == "host mm of r")
    assert (event["receivers"], event["pages"]) == ([1], 4)


# -- churn ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["all", "sharers", "local"])
@pytest.mark.parametrize(("level", "cpus", "turn"), [("pte", 4, 1000), ("pmd", 8, 157)])
def test_nobody_ever_sees_memory_of_others(machine: MakeMachine, policy: str, level: str, cpus: int, turn: int) -> None:
    """Objects are replaced under running processes, and their frames and tables are used for other things at once."""
    for tlb in ("off", "skylake-sp"):
        booted = boot(machine, policy, level=level, cpus=cpus, turn=turn, tlb=tlb, check_tlb=tlb != "off")
        assert booted.outcome("region_churn", 3, 6, 4) == ("ok 3 processes, 6 rounds\n", "", 0, "")
        stale = booted.stale_translations()
        assert bool(stale) == (policy == "local" and tlb != "off"), stale[:3]
        assert all("tlb=local), and CPU" in finding for finding in stale)


def test_frames_that_a_tlb_still_leads_to_are_kept(machine: MakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What that is good for: without it the readers see, and overwrite, memory of others."""
    booted = boot(machine, "local", cpus=4, turn=1000, tlb="skylake-sp")
    monkeypatch.setattr(booted.kernel.flusher, "_hold", lambda *_: None)
    outcome = booted.outcome("region_churn", 3, 6, 4)
    assert outcome.exit_status == 1 and "word 0xbad0000000000000" in outcome.stderr
