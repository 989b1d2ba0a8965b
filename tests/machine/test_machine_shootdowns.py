"""TLB shootdowns of ordinary memory: which vCPUs are told of which change, and the cost."""

from __future__ import annotations

from typing import Any

import pytest

from emu.mm.shootdown import ShootdownCost
from tests.booted import Booted, MakeMachine, Recorder

#: Moves the process to CPU 1; CPU 0 keeps its tables loaded.
MOVE = "@two = words 2; @syscall 203 0 8 two"
PAGES = "@p = mmap 0 256K RW PRIVATE -1 0; @touch p 256K"
COST = ShootdownCost()


def shootdowns(booted: Booted, script: str) -> list[dict[str, Any]]:
    recorder = Recorder(booted)
    booted.calls(script)
    return [event for event in recorder.events if event["kind"] == "shootdown"]


def brief(event: dict[str, Any]) -> tuple[Any, ...]:
    return (event["sender"], event["receivers"], event["length"] >> 12, event["pages"], event["reason"])


@pytest.mark.parametrize(
    ("calls", "told"),
    [
        ("munmap p 4K", (1, [0], 1, 1, "unmap")),
        ("munmap p+4K 12K", (1, [0], 3, 3, "unmap")),
        ("munmap p 132K", (1, [0], 33, 33, "unmap")),
        ("munmap p 136K", (1, [0], 34, None, "unmap")),
        ("mprotect p 8K PROT_READ", (1, [0], 2, 2, "mprotect")),
        ("madvise p 8K 4", (1, [0], 2, 2, "unmap")),
    ],
)
@pytest.mark.parametrize("tlb", ["off", "textbook"])
def test_a_cpu_that_still_has_the_tables_loaded_is_told(
    machine: MakeMachine, calls: str, told: tuple[Any, ...], tlb: str
) -> None:
    booted = machine(cpus=3, tlb=tlb)
    found = shootdowns(booted, f"{PAGES}; {MOVE}; @{calls}; @syscall 60 0")
    assert brief(found[0]) == told
    (event, last) = found
    assert (event["policy"], event["pid"], event["not_told"]) == ("mm", 100, [])
    assert event["sender_cycles"] == COST.send + COST.each_receiver
    invalidation = COST.everything if told[3] is None else told[3] * COST.invlpg
    assert event["cost_cycles"] == event["sender_cycles"] + COST.interrupt + invalidation
    assert brief(last) == (1, [0], 0, None, "exit"), "one at the end, and not one for each mapping"
    report = booted.kernel.flusher.shootdowns.report()
    assert (report["sent"], report["ipis"]) == (2, 2)
    assert report["cost_cycles"] == sum(e["cost_cycles"] for e in found)


def test_what_nobody_else_holds_costs_no_ipi(machine: MakeMachine) -> None:
    booted = machine(cpus=3)
    script = f"{PAGES}; @munmap p 8K; @mprotect p+8K 8K PROT_READ; @madvise p 128K 4; @fork c; end"
    assert shootdowns(booted, script) == []
    assert booted.kernel.flusher.shootdowns.by_policy["mm"].flushes > 4


def test_rights_that_are_added_are_no_shootdown(machine: MakeMachine) -> None:
    """A page that is made writable again (do_wp_page without a copy) is flushed only on this vCPU; a copy causes a
    shootdown.
    """
    booted = machine(cpus=2, tlb="textbook", check_tlb=True)
    found = shootdowns(
        booted,
        f"""{PAGES}; {MOVE}; @mprotect p 4K PROT_READ; @mprotect p 4K RW; @store p 1
        @z = mmap 0 4K RW PRIVATE -1 0; @load z; @one = words 1; @syscall 203 0 8 one; @load z; @store z 1""",
    )
    assert [brief(e) for e in found] == [
        (1, [0], 1, 1, "mprotect"), (1, [0], 1, 1, "mprotect"), (0, [1], 1, 1, "copy on write"),
        (0, [1], 0, None, "exit"),
    ]  # fmt: skip
    assert booted.stale_translations() == []


def test_a_vfork_child_tells_the_cpu_of_its_parent(machine: MakeMachine) -> None:
    """Parent and child share the address space, and so both CPUs have it loaded."""
    booted = machine(cpus=2)
    found = shootdowns(booted, f"{PAGES}; @v = vfork; @munmap p 4K; @syscall 231 0")
    first = found[0]
    assert (brief(first), first["pid"]) == ((1, [0], 1, 1, "unmap"), 101)


def test_one_cpu_sends_nothing(machine: MakeMachine) -> None:
    booted = machine()
    assert shootdowns(booted, f"{PAGES}; @munmap p 4K") == []
    report = booted.kernel.flusher.shootdowns.report()
    assert report == {"sent": 0, "ipis": 0, "cost_cycles": 0, "by_policy": {}}


def test_an_ipi_empties_what_it_names_and_no_more(machine: MakeMachine) -> None:
    booted = machine(cpus=2, tlb="textbook")
    mmu, held = booted.kernel.cpu.mmu, dict[str, set[int]]()

    class Watch(Recorder):
        def event(self, kind: str, **fields: Any) -> None:
            if kind == "shootdown" and fields["reason"] == "unmap":
                held["before"], held["range"] = self.pages(), {fields["vaddr"]}
                booted.kernel.scheduler.yielded = True  # so that the turn ends and "until" is asked

        def pages(self) -> set[int]:
            return {entry.vaddr for entries in mmu.tlbs[0].contents().values() for entry in entries}

    watch = Watch(booted)
    task = booted.guest("calls", f"@p = mmap 0 16K RW PRIVATE -1 0; @touch p 16K; {MOVE}; @munmap p 4K; pause")
    booted.run(until=lambda: bool(held))
    after = watch.pages()
    assert held["range"] <= held["before"] and after == held["before"] - held["range"]
    assert len(after) >= 4
    assert [booted.kernel.flusher.loaded_on(cpu) for cpu in (0, 1)] == [task.mm, task.mm]
