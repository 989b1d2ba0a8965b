"""Exact mode: every guest behaves as in filtered mode, while each TLB hit is checked against the tables."""

from __future__ import annotations

import pytest

from emu.mm.tlbflush import Flush
from emu.syscalls import memory
from mmu import load_preset
from mmu.geometry import Geometry
from mmu.perf_events import perf_events
from tests.booted import Booted, MakeMachine
from tests.machine.test_machine_native import FAULTS, SCRIPTS

#: Every guest, without the long loops.
COMMANDS = (
    "cow", "exec_self", "faults", "faults regs", "fork_shared", "hello", "hello_pie", "hello_musl", "hello_musl_pie",
    "mshare_call_donor", "mshare_donor", "pipes", "procinfo", "timeslice", "spin 1000", "touch_pages 300K",
    "getpid_loop 50", "region_stress 3 2 256K", "sharers plain 3 256K wrong",
)  # fmt: skip


def exact(machine: MakeMachine, preset: str | Geometry = "textbook") -> Booted:
    return machine(tlb=preset, check_tlb=True)


def check(machine: MakeMachine, preset: str, *command: str) -> Booted:
    """The same output and exit status, the same faults, no finding of the audit, and no stale translation."""
    plain, modelled = machine(), exact(machine, preset)
    assert modelled.outcome(*command) == plain.outcome(*command)
    assert modelled.processes() == plain.processes()
    assert modelled.audit() == []
    assert modelled.stale_translations() == []
    return modelled


@pytest.mark.parametrize("command", COMMANDS)
def test_a_guest_does_what_it_does_in_filtered_mode(machine: MakeMachine, command: str) -> None:
    modelled = check(machine, "textbook", *command.split())
    events = perf_events(modelled.kernel.cpu.mmu)
    assert events["iTLB-loads"] > 0 and events["PAGE_WALKER_LOADS"] > 0
    assert events["dTLB-loads"] > 0 and events["dTLB-stores"] > 0


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_the_same_fault(machine: MakeMachine, fault: str) -> None:
    check(machine, "textbook", "faults", "kill", fault)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_gives_the_same_results(machine: MakeMachine, name: str) -> None:
    check(machine, "textbook", "calls", SCRIPTS[name].replace("UNIQUE", "unique"))


@pytest.mark.parametrize("preset", ["none", "skylake-sp", "zen4"])
@pytest.mark.parametrize("command", ["fork_shared", "mshare_donor", "cow"])
def test_other_tlbs(machine: MakeMachine, preset: str, command: str) -> None:
    check(machine, preset, command)


def test_the_same_run_counts_the_same(machine: MakeMachine) -> None:
    def events() -> dict[str, int]:
        booted = exact(machine)
        booted.outcome("region_stress", 3, 2, "64K")
        return perf_events(booted.kernel.cpu.mmu)

    assert events() == events()


def test_a_geometry_in_place_of_a_name(machine: MakeMachine) -> None:
    assert exact(machine, load_preset("textbook")).outcome("hello").stdout == "hello, world\n"


def test_the_detector_needs_a_tlb() -> None:
    with pytest.raises(ValueError, match="needs a modelled TLB"):
        Booted(check_tlb=True)


# -- a flush that is left out on purpose
# ---------------------------------------------------------------------------------

#: p is written, unmapped, and read once more: SIGSEGV, unless the TLB still has it.
USE_AFTER_UNMAP = "@p = mmap 0 4K RW PRIVATE -1 0; @store p 7; @load p; munmap p 4K; load p"


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """munmap says that no flush is needed."""
    flush, unmapping = Flush.flush, [False]

    def left_out(self: Flush) -> None:
        if unmapping[0]:
            self.none_needed("forgotten, for a test")
        else:
            flush(self)

    monkeypatch.setattr(Flush, "flush", left_out)
    (entry,) = [call for call in memory.TABLE if call.name == "munmap"]

    def munmap(*arguments: object) -> object:
        unmapping[0] = True
        try:
            return entry.handler(*arguments)
        finally:
            unmapping[0] = False

    monkeypatch.setattr(memory, "TABLE", tuple(c._replace(handler=munmap) if c is entry else c for c in memory.TABLE))


def test_with_its_flush_munmap_leaves_nothing_stale(machine: MakeMachine) -> None:
    booted = exact(machine)
    assert booted.outcome("calls", USE_AFTER_UNMAP).stdout == "munmap = 0\nload = SEGV_MAPERR\n"
    assert booted.stale_translations() == []


def test_a_flush_that_is_left_out_is_found(machine: MakeMachine, forgetful: None) -> None:
    booted = exact(machine)
    outcome = booted.outcome("calls", USE_AFTER_UNMAP)
    assert outcome.stdout == "munmap = 0\nload = 7\n", "what is not mapped any more is still in the TLB"
    (finding, *_) = booted.stale_translations()
    assert finding.startswith("stale translation: process 100 on CPU 0 reads 0x")
    assert "but the tables say nothing; process 100 changed it at instruction " in finding
    assert finding.endswith("(calls; no flush: forgotten, for a test), and CPU 0 was not told")
