"""Exact mode by our own helpers (mmu.helpers): every count, event, fault and TLB entry is what the hooks make it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import guests
import msharefs.module
from tests.machine.both_ways import compare
from tests.machine.inline_programs import hold
from tests.machine.test_machine_inline import ARGUMENTS
from tests.native.guest import Guest, all_guests

PRESETS = ("skylake-sp", "zen2", "textbook", "none")


@pytest.mark.parametrize("name", guests.NAMES[::3])
def test_a_guest_runs_the_same_both_ways(name: str) -> None:
    tlb = PRESETS[guests.NAMES.index(name) // 3 % len(PRESETS)]
    compare(guests.path(name), ARGUMENTS.get(name, ()), modules={"msharefs": msharefs.module.init}, tlb=tlb)


@pytest.mark.parametrize("guest", all_guests()[3::24], ids=lambda guest: guest.name)
def test_a_guest_held_against_linux_runs_the_same_both_ways(guest: Guest) -> None:
    """``python -m tests.machine.inline_programs --guests --tlb skylake-sp`` has them all."""
    compare(guest.program, most=100_000, cpus=2 if "two cpus" in guest.needs else 1, tlb="skylake-sp", events=False)


@pytest.mark.parametrize("options", [{"turn": 700}, {"cpus": 3, "turn": (20, 500)}])
@pytest.mark.parametrize("name", ["pthreads", "handlers"])
def test_processors_with_a_tlb_each(name: str, options: dict[str, Any]) -> None:
    compare(guests.path(name), ARGUMENTS.get(name, ()), tlb="zen2", events=False, **options)


@pytest.mark.parametrize("events", [False, True])
@pytest.mark.parametrize("seed", range(100, 104))
def test_a_random_program_runs_the_same_both_ways(seed: int, events: bool, tmp_path: Path) -> None:
    hold(seed, tmp_path, tlb=PRESETS[seed % len(PRESETS)], events=events)
