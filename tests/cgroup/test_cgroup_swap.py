"""Swap in control groups (cgroup-v2.rst, memory.swap.*; mm/swap_cgroup.c)."""

from __future__ import annotations

import re

import pytest

from emu.audit import audit
from emu.linux.errors import LinuxError
from emu.mm.swapcgroup import SwapCharges
from tests.booted import MIB, MakeMachine
from tests.cgroup.groups import make, number, private, quietly, see, store

KIB = 1 << 10
IN_A = quietly("a/cgroup.procs", "0")
IN_B = quietly("b/cgroup.procs", "0")
PAGEOUT = 21


def test_a_full_group_goes_on_in_swap(machine: MakeMachine) -> None:
    booted = machine(swap=32 * MIB)
    make(booted, "a", controllers="+memory")
    store(booted, "a/memory.max", "1M")
    look = "@store p 7; @store p+3M 9; scan p 4M; load p; load p+3M"
    script = f"{IN_A}; {private('p', '4M')}; {look}; mark 1; @munmap p 4M; mark 2"
    task = booted.guest("calls", script)
    booted.run_until_mark(task, 1)
    assert booted.stdout.splitlines()[:3] == ["scan = 1038", "load = 7", "load = 9"]
    assert number(booted, "a/memory.swap.current") >= 3 * MIB - 64 * KIB
    assert number(booted, "a/memory.stat", "pswpout") * 4096 >= 3 * MIB - 64 * KIB
    assert number(booted, "a/memory.stat", "pswpin") * 4096 >= 3 * MIB - 64 * KIB
    assert number(booted, "a/memory.events", "oom_kill") == 0
    assert number(booted, "a/memory.peak") <= MIB
    booted.run_until_mark(task, 2)
    assert number(booted, "a/memory.swap.current") == 0
    assert number(booted, "a/memory.swap.peak") >= 3 * MIB - 64 * KIB


@pytest.mark.parametrize(("limit", "most"), [("1M", MIB), ("0", 0)])
def test_swap_has_a_limit_of_its_own(machine: MakeMachine, limit: str, most: int) -> None:
    booted = machine(swap=32 * MIB)
    make(booted, "a", controllers="+memory")
    store(booted, "a/memory.max", "1M")
    store(booted, "a/memory.swap.max", limit)
    assert booted.outcome("calls", f"{IN_A}; {private('p', '4M')}; say 1").signal == "SIGKILL"
    assert number(booted, "a/memory.swap.peak") == most
    assert number(booted, "a/memory.swap.current") == 0
    assert number(booted, "a/memory.events", "oom_kill") == 1


def test_a_group_that_may_not_swap_more_is_told(machine: MakeMachine) -> None:
    booted = machine(swap=32 * MIB)
    make(booted, "a", controllers="+memory")
    store(booted, "a/memory.swap.max", "64K")
    store(booted, "a/memory.swap.high", "32K")
    booted.calls(f"{IN_A}; {private('p', '1M')}; @madvise p 1M {PAGEOUT}")
    assert number(booted, "a/memory.swap.peak") == 64 * KIB
    assert number(booted, "a/memory.swap.events", "max") > 0
    assert number(booted, "a/memory.swap.events", "fail") > 0
    assert number(booted, "a/memory.swap.events", "high") > 0


def test_a_page_comes_back_to_the_group_that_paid_for_it(machine: MakeMachine) -> None:
    booted = machine(swap=32 * MIB)
    make(booted, "a", "b", controllers="+memory")
    script = f"{IN_A}; {private('p', '1M')}; @madvise p 1M {PAGEOUT}; {IN_B}; mark 1; @scan p 1M; mark 2"
    task = booted.guest("calls", script)
    booted.run_until_mark(task, 1)
    assert (number(booted, "a/memory.swap.current"), number(booted, "a/memory.stat", "anon")) >= (MIB, 0)
    assert number(booted, "b/memory.swap.current") == 0
    booted.run_until_mark(task, 2)
    assert number(booted, "a/memory.stat", "anon") >= MIB
    assert number(booted, "b/memory.stat", "anon") == 0


def test_shared_memory_is_charged_in_swap_too(machine: MakeMachine) -> None:
    booted = machine(swap=32 * MIB)
    make(booted, "a", controllers="+memory")
    script = f"{IN_A}; @p = mmap 0 1M RW ANON -1 0; @touch p 1M; @madvise p 1M {PAGEOUT}; mark 1; scan p 1M; mark 2"
    task = booted.guest("calls", script)
    booted.run_until_mark(task, 1)
    assert number(booted, "a/memory.swap.current") == MIB
    booted.run_until_mark(task, 2)
    assert (number(booted, "a/memory.stat", "shmem"), booted.stdout) == (MIB, "mark = 0\nscan = 256\n")


def test_a_group_that_is_gone_keeps_its_slots(machine: MakeMachine) -> None:
    booted = machine(swap=32 * MIB)
    make(booted, "a", "b", controllers="+memory")
    away = f'{IN_B}; rmdir "/sys/fs/cgroup/a"'
    script = f"{IN_A}; {private('p', '256K')}; @madvise p 256K {PAGEOUT}; {away}; mark 1; @scan p 256K; mark 2"
    task = booted.guest("calls", script)
    booted.run_until_mark(task, 1)
    assert booted.stdout.startswith("rmdir = 0")
    assert number(booted, "cgroup.stat", "nr_dying_descendants") == 1
    booted.run_until_mark(task, 2)
    assert number(booted, "b/memory.stat", "anon") >= 256 * KIB


def test_limits_of_swap_are_whole_pages(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", controllers="+memory")
    for name in ("swap.max", "swap.high"):
        assert see(booted, f"a/memory.{name}") == "max\n"
        store(booted, f"a/memory.{name}", "5000")
        assert see(booted, f"a/memory.{name}") == "4096\n"
        with pytest.raises(LinuxError, match="EINVAL"):
            store(booted, f"a/memory.{name}", "x")


def test_wrong_charges_of_slots_are_found(machine: MakeMachine) -> None:
    booted = machine(swap=32 * MIB)
    make(booted, "a", controllers="+memory")
    task = booted.guest("calls", f"{IN_A}; {private('p', '256K')}; @madvise p 256K {PAGEOUT}; mark 1; @pause")
    booted.run_until_mark(task, 1)
    memory, (area,) = booted.kernel.cgroups.memory, booted.kernel.mm_context.swap.areas.active
    group = memory.group_of(task)
    charges: SwapCharges = memory.swap
    before = charges.owners(area).copy()
    assert audit(booted.kernel) == []
    group.swap_local += 1
    found = audit(booted.kernel)
    assert any(re.search("group /a counts \\d+ slots of swap", finding) for finding in found), found
    group.swap_local -= 1
    group.swap_usage += 1
    found = audit(booted.kernel)
    assert any(re.search("group /a counts \\d+ slots here and below", finding) for finding in found), found
    group.swap_usage -= 1
    charges.owners(area)[area.max - 1] = group.number
    assert any("which is free, is charged to a group" in finding for finding in audit(booted.kernel))
    charges.owners(area)[:] = before
    assert audit(booted.kernel) == []
