"""Which control group pays for a region's pages and tables (spec/mshare.md 1.8, mshare-observed.md: a consumer in
group U first-touches 32 MiB: the owner's group has 33008 KiB more, U nothing).
"""

from __future__ import annotations

import pytest

from emu.kernel.signal_state import Sig
from tests.booted import Booted, MakeMachine
from tests.cgroup.groups import make, number, quietly, store

KIB, MIB = 1 << 10, 1 << 20
R = '"/sys/fs/mshare/r"'
OPEN = f"@fd = open {R} O_RDWR|O_CREAT 0600"
MAP = "@w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0"
#: By interface: how the creator makes region r with 32 MiB at 2 TiB, and how another maps it.
MAKING = {
    "rfc3": (f"{OPEN}; @set_size fd 2T u; @create_at fd 2T 32M RW OBJECT; {MAP}", f"@fd = open {R} O_RDWR; {MAP}"),
    "y1": (f"{OPEN}; @set_size fd 2T u; @create_at fd 2T 32M RW OBJECT; {MAP}", f"@fd = open {R} O_RDWR; {MAP}"),
    "y2": (f"{OPEN}; @ftruncate fd u; @create fd 0 32M RW OBJECT; {MAP}", f"@fd = open {R} O_RDWR; {MAP}"),
    "v3": (f"{OPEN}; @ftruncate fd u; @create fd 0 32M RW OBJECT; {MAP}", f"@fd = open {R} O_RDWR; {MAP}"),
}
NAMES = ("shmem", "anon", "pagetables")
#: Pages and tables are charged to: the owner's group (o), or the consumer's (u).
PAYS = {"rfc3": "uu", "y1": "uo", "y2": "uo", "v3": "oo"}


def touched(booted: Booted, abi: str) -> tuple[list[int], list[int]]:
    """The creator is in group o, a child in u touches everything; what these groups have more then: of pages, and of
    tables.
    """
    make(booted, "o", "u", controllers="+memory")
    making, mapping = MAKING[abi]
    script = f"""
        @u = say {booted.unit}; {quietly("o/cgroup.procs", "0")}; {making}
        @fork c; {quietly("u/cgroup.procs", "0")}; {mapping}; mark 1; @touch w 32M; mark 2; @pause; end; @pause
    """
    booted.guest("calls", script)
    task, found = None, []
    for mark in (1, 2):
        task = booted.run_until_mark(task, mark)
        found.append([[number(booted, f"{group}/memory.stat", name) for name in NAMES] for group in "ou"])
    more = [[after - before for before, after in zip(*group, strict=True)] for group in zip(*found, strict=True)]
    return [shmem + anon for shmem, anon, _ in more], [tables for _, _, tables in more]


@pytest.mark.parametrize("abi", MAKING)
@pytest.mark.parametrize("level", ["pmd", "pud"])
def test_who_pays_for_what_a_consumer_touches(machine: MakeMachine, abi: str, level: str) -> None:
    booted = machine(level=level, abi=abi)
    pages, tables = touched(booted, abi)
    of_pages, of_tables = ("ou".index(who) for who in PAYS[abi])
    assert (pages[of_pages], pages[1 - of_pages]) == (32 * MIB, 0)
    shared = 16 * 4 * KIB  # and the tables above, of which those of the sharer's own tree are always its own
    assert tables[of_tables] >= shared
    assert tables[1 - of_tables] <= 8 * KIB


def test_the_owners_group_is_the_one_that_runs_out(machine: MakeMachine) -> None:
    """The owner has no room, so that it is the victim, and the region ends with it."""
    booted = machine()
    make(booted, "o", "u", controllers="+memory")
    making, mapping = MAKING["v3"]
    script = f"""
        @u = say {booted.unit}; {quietly("o/cgroup.procs", "0")}; {making}; @fork c; {quietly("u/cgroup.procs", "0")}
        {mapping}; mark 1; touch w 32M; end; @pause
    """
    owner = booted.guest("calls", script)
    consumer = booted.run_until_mark(None, 1)
    store(booted, "o/memory.max", "4M")
    booted.finish()
    assert str(booted.ending(owner)) == "SIGKILL"
    assert number(booted, "o/memory.events", "oom_kill") == 1
    assert number(booted, "u/memory.events", "oom_kill") == 0
    assert (consumer.alive, consumer.exit_code) == (False, (128 + Sig.SEGV) << 8)  # its handler says so


def test_a_region_that_was_made_before_there_were_groups_belongs_to_the_root(machine: MakeMachine) -> None:
    booted = machine(abi="y2")
    making, mapping = MAKING["y2"]
    owner = booted.guest("calls", f"@u = say {booted.unit}; {making}; mark 1; @pause")
    booted.run_until_mark(owner, 1)
    make(booted, "u", controllers="+memory")
    script = f"@u = say {booted.unit}; {quietly('u/cgroup.procs', '0')}; {mapping}; @touch w 32M; mark 2; @pause"
    booted.run_until_mark(booted.guest("calls", script, name="consumer"), 2)
    assert number(booted, "u/memory.stat", "shmem") + number(booted, "u/memory.stat", "anon") >= 32 * MIB
    assert number(booted, "u/memory.stat", "pagetables") < 64 * KIB
