"""Limits of memory: reclaim in the group, its OOM killer, throttling, protection (cgroup-v2.rst, "Memory Interface
Files").
"""

from __future__ import annotations

from pathlib import Path

import pytest

import guests
from emu.linux.errors import LinuxError
from emu.mm.memcgreclaim import protections
from emu.mm.memcontrol import MemCgroup
from tests.booted import MIB, MakeMachine
from tests.cgroup.groups import make, number, private, put, quietly, see, store

BOTH = "+memory +pids"
IN_A = quietly("a/cgroup.procs", "0")
KIB = 1 << 10
GREEDY = private("p", "4M") + "; say 1"


def test_who_exceeds_the_limit_is_killed(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    store(booted, "a/memory.max", "1M")
    outcome = booted.outcome("calls", f"{IN_A}; {GREEDY}")
    assert (outcome.stdout, outcome.signal) == ("", "SIGKILL")
    assert number(booted, "a/memory.events", "oom") == number(booted, "a/memory.events", "oom_kill") == 1
    assert number(booted, "a/memory.events", "max") >= 1
    assert number(booted, "a/memory.current") == 0
    assert number(booted, "a/memory.peak") == MIB


def test_the_kernels_log_says_who_was_killed_for_which_group(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", "a/b", controllers=BOTH)
    store(booted, "a/memory.max", "1M")
    booted.outcome("calls", f"{quietly('a/b/cgroup.procs', '0')}; {GREEDY}")
    log = booted.kernel.printk.last(1 << 16).decode()
    lines = [line.partition("] ")[2] for line in log.splitlines()]
    assert lines[0].startswith("calls invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0")
    assert lines[2:5] == [
        "memory: usage 1024kB, limit 1024kB, failcnt 1",
        "swap: usage 0kB, limit 9007199254740988kB, failcnt 0",
        "Memory cgroup stats for /a:",
    ]
    stat = [line.split()[0] for line in see(booted, "a/memory.stat").splitlines()]
    tasks = lines.index("Tasks state (memory values in pages):")
    assert [line.split()[0] for line in lines[5:tasks]] == stat
    assert len([line for line in lines[tasks + 2 :] if line.startswith("[")]) == 1
    assert "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a," in log
    assert "task_memcg=/a/b,task=calls,pid=100,uid=0" in log
    assert "Memory cgroup out of memory: Killed process 100 (calls) total-vm:" in log


def test_a_limit_of_a_group_above_counts(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", "a/b", controllers=BOTH)
    store(booted, "a/memory.max", "1M")
    assert booted.outcome("calls", f"{quietly('a/b/cgroup.procs', '0')}; {GREEDY}").signal == "SIGKILL"
    assert number(booted, "a/memory.events", "oom") == 1
    assert number(booted, "a/memory.events.local", "oom") == 1
    assert number(booted, "a/memory.events.local", "oom_kill") == 0
    assert number(booted, "a/b/memory.events", "oom") == 0
    assert number(booted, "a/b/memory.events.local", "oom_kill") == 1
    assert number(booted, "a/memory.events", "oom_kill") == 1


def test_the_largest_of_the_group_is_killed_and_the_fault_goes_on(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    store(booted, "a/memory.max", "2M")
    script = f"""
        @p = mmap 0 4M RW PRIVATE -1 0; {IN_A}
        @fork large; @touch p 1536K; mark 1; @pause; end
        @pause
    """
    first = booted.guest("calls", script)
    booted.run_until_mark(None, 1)
    small = f"{IN_A}; {private('p', '1M')}; say 1"
    outcome = booted.guest("calls", small, name="small")
    booted.run_until_idle()
    assert booted.ending(outcome) == 0
    assert not booted.children_of(first) or not booted.children_of(first)[0].alive
    assert number(booted, "a/memory.events", "oom_kill") == 1


#: What takes 1 MiB in a call, and what it says.
CALLS = {
    "populating": ("@p = mmap 2T 1M RW PRIVATE|MAP_FIXED|MAP_POPULATE -1 0; load p", "load = 0\n"),
    "locking": ("@p = mmap 2T 1M RW PRIVATE|MAP_FIXED -1 0; mlock p 1M", "mlock = 0\n"),
    "writing": ('@m = memfd_create "m" 0; @b = mmap 2T 512K RW PRIVATE|MAP_FIXED -1 0; write m b 512K; write m b 512K',
                "write = 524288\n" * 2),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_the_largest_is_killed_and_a_call_goes_on(machine: MakeMachine, name: str) -> None:
    """As little of it is done twice as of a fault (mem_cgroup_oom in try_charge_memcg)."""
    booted = machine()
    make(booted, "a", controllers=BOTH)
    store(booted, "a/memory.max", "2M")
    script, expected = CALLS[name]
    booted.guest("calls", f"@p = mmap 0 4M RW PRIVATE -1 0; {IN_A}; @touch p 1536K; mark 1; @pause")
    booted.run_until_mark(None, 1)
    task = booted.spawn(guests.path("calls"), [f"{IN_A}; {script}"])
    booted.run_until_idle()
    assert (booted.ending(task), booted.stdout) == (0, expected)
    assert number(booted, "a/memory.events", "oom_kill") == 1


@pytest.mark.parametrize("name", CALLS)
def test_who_asks_in_a_call_is_killed_if_it_is_alone(machine: MakeMachine, name: str) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    store(booted, "a/memory.max", "900K")
    outcome = booted.outcome("calls", f"{IN_A}; {CALLS[name][0]}; say 1")
    assert outcome.signal == "SIGKILL" and "say" not in outcome.stdout and "ENOMEM" not in outcome.stdout
    assert number(booted, "a/memory.events", "oom_kill") == 1


def test_who_must_not_be_killed_is_spared(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    store(booted, "a/memory.max", "2M")
    script = f"""
        @p = mmap 0 4M RW PRIVATE -1 0; {IN_A}
        @fd = open "/proc/self/oom_score_adj" O_WRONLY; @write fd "-1000" 5
        @touch p 1536K; mark 1; @pause
    """
    spared = booted.guest("calls", script)
    booted.run_until_mark(spared, 1)
    other = booted.guest("calls", f"{IN_A}; {GREEDY}", name="other")
    booted.run_until_idle()
    assert (str(booted.ending(other)), spared.alive) == ("SIGKILL", True)


def test_a_group_may_be_killed_as_a_whole(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    store(booted, "a/memory.max", "2M")
    store(booted, "a/memory.oom.group", "1")
    script = f"{IN_A}; @fork child; @pause; end; {GREEDY}"
    assert booted.outcome("calls", script).signal == "SIGKILL"
    assert see(booted, "a/cgroup.events") == "populated 0\nfrozen 0\n"
    assert number(booted, "a/memory.events", "oom_group_kill") == 1
    assert number(booted, "a/memory.events", "oom_kill") == 2


@pytest.mark.parametrize("text", ["", "2", "-1", "x"])
def test_other_values_of_oom_group_are_refused(machine: MakeMachine, text: str) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    with pytest.raises(LinuxError, match="EINVAL"):
        store(booted, "a/memory.oom.group", text or " ")


def test_memory_that_was_given_up_is_taken_before_anybody_is_killed(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    store(booted, "a/memory.max", "2M")
    script = f"{IN_A}; {private('p', '1536K')}; @madvise p 1536K 8; {private('q', '1M')}; say 1"
    assert booted.calls(script) == ["say = 1"]
    assert number(booted, "a/memory.events", "oom_kill") == 0
    assert number(booted, "a/memory.events", "max") > 0
    assert number(booted, "a/memory.stat", "pgsteal_direct") > 0


def test_other_groups_lose_nothing(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", "b", controllers=BOTH)
    store(booted, "a/memory.max", "1M")
    script = f"{quietly('b/cgroup.procs', '0')}; {private('p', '1M')}; @madvise p 1M 8; mark 1; @pause"
    other = booted.guest("calls", script)
    booted.run_until_mark(other, 1)
    before = number(booted, "b/memory.current")
    hungry = booted.guest("calls", f"{IN_A}; {GREEDY}", name="hungry")
    booted.run_until_idle()
    assert str(booted.ending(hungry)) == "SIGKILL"
    assert number(booted, "b/memory.current") == before


def test_writes_beyond_the_limit_end_in_the_group_too(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    store(booted, "a/memory.max", "1M")
    script = f'{IN_A}; @fd = open "/tmp/f" O_RDWR|O_CREAT 0600; @b = bytes 64K; repeat 32; write fd b 64K; end'
    outcome = booted.outcome("calls", script)
    assert outcome.signal == "SIGKILL"
    assert 12 <= len(outcome.stdout.splitlines()) < 17
    assert number(booted, "a/memory.current") <= MIB


def test_a_lower_limit_takes_what_can_be_taken_and_then_kills(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    script = f"{IN_A}; {private('p', '2M')}; @madvise p 1M 8; mark 1; @pause"
    task = booted.guest("calls", script)
    booted.run_until_mark(task, 1)
    store(booted, "a/memory.max", "1200K")
    assert task.alive
    assert number(booted, "a/memory.current") <= 1200 * KIB
    store(booted, "a/memory.max", "512K")
    assert not task.alive
    assert number(booted, "a/memory.events", "oom_kill") == 1


def test_memory_high_slows_down_and_takes_pages(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    script = f"{IN_A}; mark 1; {private('p', '1M')}; mark 2; @pause"
    task = booted.guest("calls", script)
    clock, took = booted.kernel.clock, []
    booted.run_until_mark(task, 1)
    for limit in ("max", "512K"):
        store(booted, "a/memory.high", limit)
        again = booted.guest("calls", script, name=f"again{limit}")
        booted.run_until_mark(again, 1)
        start = clock.now_ns()
        booted.run_until_mark(again, 2)
        took.append(clock.now_ns() - start)
        booted.kernel.exit(again, 9)
    assert took[1] > 10 * took[0]
    assert number(booted, "a/memory.events", "high") > 0
    assert number(booted, "a/memory.events", "oom_kill") == 0


def test_memory_reclaim_takes_as_much_as_it_is_asked_for(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    script = f"{IN_A}; {private('p', '1M')}; @madvise p 512K 8; mark 1; @pause"
    booted.run_until_mark(booted.guest("calls", script), 1)
    before = number(booted, "a/memory.current")
    store(booted, "a/memory.reclaim", "256K")
    after = number(booted, "a/memory.current")
    assert 256 * KIB <= before - after < 384 * KIB
    assert number(booted, "a/memory.stat", "pgsteal_proactive") == before - after >> 12
    with pytest.raises(LinuxError, match="EAGAIN"):
        store(booted, "a/memory.reclaim", "1M swappiness=60")
    assert number(booted, "a/memory.current") == before - 512 * KIB
    for text in ("", "x", "1M foo", "1M swappiness=201"):
        with pytest.raises(LinuxError, match="EINVAL"):
            store(booted, "a/memory.reclaim", text or " ")


def test_protected_memory_is_taken_last_or_never(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", "a/b", "a/c", controllers=BOTH)
    lazy = f"{private('p', '512K')}; @madvise p 512K 8; mark 1; @pause"
    for name in ("b", "c"):
        task = booted.guest("calls", f"{quietly(f'a/{name}/cgroup.procs', '0')}; {lazy}", name=name)
        booted.run_until_mark(task, 1)
    store(booted, "a/memory.low", "1M")
    store(booted, "a/b/memory.low", "1M")
    b = number(booted, "a/b/memory.current")
    store(booted, "a/memory.reclaim", "256K")
    assert number(booted, "a/b/memory.current") == b
    assert number(booted, "a/memory.events", "low") == 0
    store(booted, "a/memory.reclaim", "384K")
    assert number(booted, "a/b/memory.current") < b
    assert number(booted, "a/b/memory.events", "low") == 1
    store(booted, "a/b/memory.min", "1M")
    with pytest.raises(LinuxError, match="EAGAIN"):
        store(booted, "a/memory.reclaim", "1M")


def test_protection_is_shared_out_among_children() -> None:
    root = MemCgroup(0, None, "/")
    top, child = MemCgroup(1, root, "top"), MemCgroup(2, root, "child")
    child.above = top
    one, two = MemCgroup(3, child, "one"), MemCgroup(4, child, "two")
    top.usage, child.usage, one.usage, two.usage = 400, 300, 200, 100
    child.low, one.low, two.low = 100, 100, 100
    groups = [top, child, one, two]
    assert [protections(groups, top, "low", recursive=True)[group] for group in groups] == [0, 100, 50, 50]
    one.low = two.low = 0
    assert [protections(groups, top, "low", recursive=True)[group] for group in groups] == [0, 100, 66, 33]
    assert [protections(groups, top, "low", recursive=False)[group] for group in groups] == [0, 100, 0, 0]


def test_fork_without_room_for_its_tables_ends_in_the_group(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    script = f"{IN_A}; {private('p', '64K')}; mark 1; fork child; end; wait child; say 2"
    task = booted.guest("calls", script)
    booted.run_until_mark(task, 1)
    store(booted, "a/memory.max", str(number(booted, "a/memory.current") + 8 * KIB))
    booted.finish()
    assert str(booted.ending(task)) == "SIGKILL"


def test_events_are_told(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    store(booted, "a/memory.max", "1M")
    file = booted.kernel.vfs.open("/sys/fs/cgroup/a/memory.events")
    file.read(100)
    assert file.poll()[0] & 0xA == 0
    booted.outcome("calls", f"{IN_A}; {GREEDY}")
    assert file.poll()[0] & 0xA == 0xA
    file.put()


def test_a_refused_write_says_so(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    lines = booted.calls(f"{put('a/memory.max', 'x')}; {put('a/memory.current', '1')}; {put('a/memory.max', '1G')}")
    assert lines == ["write = EINVAL", "write = EINVAL", "write = 2"]


def test_pages_of_host_files_are_taken_before_anybody_is_killed(machine: MakeMachine, tmp_path: Path) -> None:
    (tmp_path / "calls").write_bytes(guests.path("calls").read_bytes())
    (tmp_path / "calls").chmod(0o755)
    (tmp_path / "f").write_bytes(b"".join(bytes([page & 0xFF]) * 4096 for page in range(1024)))
    booted = machine(root=tmp_path)
    make(booted, "a", "b", controllers=BOTH)
    store(booted, "a/memory.max", "1M")
    script = f"""
        {IN_A}; @fd = open "/f" O_RDONLY; @p = mmap 0 4M PROT_READ PRIVATE fd 0
        repeat 3; scan p 4M; end
        {private("q", "512K")}; scan p 4M
    """
    result = booted.outcome_of(booted.spawn("/calls", [script.replace("PRIVATE fd", "MAP_PRIVATE fd")], in_guest=True))
    total = sum(page & 0xFF for page in range(1024))
    assert result.stdout.splitlines() == [f"scan = {total}"] * 4
    assert number(booted, "a/memory.events", "oom_kill") == 0
    assert number(booted, "a/memory.stat", "pgsteal_direct") > 2000
    assert number(booted, "a/memory.peak") <= MIB


@pytest.mark.parametrize("file", ["memory.max", "memory.high", "cgroup.kill", "pids.max"])
def test_who_harms_its_own_group(machine: MakeMachine, file: str) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    text = "1" if file == "cgroup.kill" else "0"
    outcome = booted.outcome("calls", f"{IN_A}; {private('p', '64K')}; {put(f'a/{file}', text)}; say 1")
    killed = file in ("memory.max", "cgroup.kill")
    assert (outcome.stdout, outcome.signal) == (("", "SIGKILL") if killed else ("write = 1\nsay = 1\n", ""))
    assert see(booted, "a/cgroup.events") == "populated 0\nfrozen 0\n"


def test_groups_may_be_very_deep(machine: MakeMachine) -> None:
    booted = machine(memory=128 * MIB)
    make(booted, "a", controllers=BOTH)
    hierarchy, group = booted.kernel.cgroups, booted.kernel.cgroups.root.children["a"]
    for _ in range(600):
        hierarchy.set_subtree_control(group, "+memory")
        group = hierarchy.make_group(group, "d")
    assert number(booted, "cgroup.stat", "nr_descendants") == 601
    assert number(booted, "a/memory.stat", "anon") == 0
    assert number(booted, "a/cpu.stat", "usage_usec") == 0
    task = booted.guest("calls", f"{private('p', '64K')}; mark 1; {private('q', '256K')}; mark 2; @pause")
    booted.run_until_mark(task, 1)
    hierarchy.attach(group, [task])
    booted.run_until_mark(task, 2)
    assert number(booted, "a/memory.stat", "anon") == 256 * KIB
    assert len(booted.kernel.vfs.read_file(f"/proc/{task.pid}/cgroup")) > 1000
    store(booted, "a/cgroup.freeze", "1")
    store(booted, "a/cgroup.freeze", "0")
    store(booted, "a/memory.max", "64K")
    assert not task.alive
    booted.finish()
    while group.parent is not hierarchy.root:
        above = group.parent
        assert above is not None
        hierarchy.on_remove = lambda gone: None
        hierarchy.remove_group(group)
        group = above
