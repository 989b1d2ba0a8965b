"""Exact mode by our own helpers (mmu.helpers): every count, event, fault and TLB entry is what the hooks make it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from unicorn import UC_ARCH_X86, UC_HOOK_BLOCK, UC_MODE_64, Uc

import guests
import msharefs.module
from emu.testing import GuestMachine
from mmu import Mmu, PhysicalMemory, unicorn_abi
from mmu.perf_events import perf_events
from tests.exhaustive import by_default
from tests.machine.both_ways import compare
from tests.machine.inline_programs import hold
from tests.machine.test_machine_inline import ARGUMENTS
from tests.mmu.tables import Tables
from tests.native.guest import Guest, all_guests

PRESETS = ("skylake-sp", "zen2", "textbook", "none")


@pytest.mark.parametrize("name", guests.NAMES[:: by_default(6, 3)])
def test_a_guest_runs_the_same_both_ways(name: str) -> None:
    number = guests.NAMES.index(name) // by_default(6, 3)
    tlb = PRESETS[(number + by_default(1, 0)) % len(PRESETS)]  # "instructions" has very many events with none
    compare(guests.path(name), ARGUMENTS.get(name, ()), modules={"msharefs": msharefs.module.init}, tlb=tlb)


@pytest.mark.parametrize("guest", all_guests()[3 :: by_default(48, 24)], ids=lambda guest: guest.name)
def test_a_guest_held_against_linux_runs_the_same_both_ways(guest: Guest) -> None:
    """``python -m tests.machine.inline_programs --guests --tlb skylake-sp`` has them all."""
    compare(guest.program, most=100_000, cpus=2 if "two cpus" in guest.needs else 1, tlb="skylake-sp", events=False)


@pytest.mark.parametrize("options", [{"turn": 700}, {"cpus": 3, "turn": (20, 500)}])
@pytest.mark.parametrize("name", ["pthreads", "handlers"])
def test_processors_with_a_tlb_each(name: str, options: dict[str, Any]) -> None:
    compare(guests.path(name), ARGUMENTS.get(name, ()), tlb="zen2", events=False, **options)


@pytest.mark.parametrize(
    ("seed", "events"),
    by_default(
        [(100, True), (101, False), (102, True), (103, False)],
        [(seed, events) for seed in range(100, 104) for events in (False, True)],
    ),
)
def test_a_random_program_runs_the_same_both_ways(seed: int, events: bool, tmp_path: Path) -> None:
    hold(seed, tmp_path, tlb=PRESETS[seed % len(PRESETS)], events=events)


def test_one_hook_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the model handle the fetch, and counts."""
    added, hook_add = [], unicorn_abi.hook_add

    def add(uc: Uc, kind: int, *arguments: int, **named: int) -> int:
        added.append(kind)
        return hook_add(uc, kind, *arguments, **named)

    monkeypatch.setattr(unicorn_abi, "hook_add", add)
    machine = GuestMachine(modules={}, tlb="textbook")
    assert added.count(UC_HOOK_BLOCK) == 1
    assert machine.run_guest("hello").stdout == "hello, world\n"
    assert perf_events(machine.kernel.cpu.mmu)["iTLB-loads"] > 50


def test_an_mmu_of_which_somebody_else_tells_the_fetches() -> None:
    for fetch_hook in (True, False):
        mmu = Mmu(uc := Uc(UC_ARCH_X86, UC_MODE_64), PhysicalMemory(1 << 20), tlb="textbook", fetch_hook=fetch_hook)
        tables = Tables(mmu.ram)
        tables.map_page(0x40_0000, 0x8_0000)
        mmu.ram.write(0x8_0000, b"\x90\xf4")
        mmu.load_cr3(tables.cr3)
        uc.emu_start(0x40_0000, 0x40_0001)
        assert perf_events(mmu)["iTLB-loads"] == fetch_hook
