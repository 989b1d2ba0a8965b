"""The controller of the number of tasks (kernel/cgroup/pids.c, cgroup-v2.rst "PID")."""

from __future__ import annotations

import pytest

from emu.linux.errors import LinuxError
from tests.booted import MakeMachine
from tests.cgroup.groups import make, number, put, quietly, see, store


def test_new_groups_have_no_limit(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a")
    assert [see(booted, f"a/pids.{name}") for name in ("max", "current", "peak", "events")] == [
        "max\n", "0\n", "0\n", "max 0\n",
    ]  # fmt: skip
    with pytest.raises(LinuxError, match="ENOENT"):
        see(booted, "pids.current")


@pytest.mark.parametrize(
    ("text", "kept"), [("3", "3\n"), ("0x10\n", "16\n"), ("max", "max\n"), ("0", "0\n"), ("4194304", "4194304\n")]
)
def test_limits_are_kept(machine: MakeMachine, text: str, kept: str) -> None:
    booted = machine()
    make(booted, "a")
    store(booted, "a/pids.max", text)
    assert see(booted, "a/pids.max") == kept


@pytest.mark.parametrize("text", ["-1", "x", "4194305", "max 3", "1 2"])
def test_other_limits_are_refused(machine: MakeMachine, text: str) -> None:
    booted = machine()
    make(booted, "a")
    with pytest.raises(LinuxError, match="EINVAL"):
        store(booted, "a/pids.max", text)


def test_fork_beyond_the_limit_of_a_group_above_fails(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", "a/b")
    store(booted, "a/pids.max", "2")
    script = "fork one; pause; end; fork two; end; @kill one SIGKILL; wait one; @fork two; end; wait two"
    lines = booted.calls(f"{quietly('a/b/cgroup.procs', '0')}; {script}")
    assert lines[1:] == ["two = EAGAIN", "wait = killed SIGKILL", "wait = 0"]
    assert see(booted, "a/pids.events") == "max 1\n"
    assert see(booted, "a/pids.events.local") == "max 1\n"
    assert see(booted, "a/b/pids.events") == "max 0\n"
    assert (number(booted, "a/pids.peak"), number(booted, "a/b/pids.peak")) == (2, 2)
    assert (number(booted, "a/pids.current"), number(booted, "a/b/pids.current")) == (0, 0)


def test_zombies_count_until_they_are_waited_for(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a")
    task = booted.guest("calls", f"{quietly('a/cgroup.procs', '0')}; @fork child; end; @pause; @wait child; mark 2")
    booted.run_until_idle()
    assert (number(booted, "a/pids.current"), see(booted, "a/cgroup.procs")) == (2, f"{task.pid}\n")


def test_moving_is_never_refused(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a")
    store(booted, "a/pids.max", "0")
    assert booted.calls(f"{put('a/cgroup.procs', '0')}; fork child; end") == ["write = 1", "child = EAGAIN"]


def test_the_number_follows_tasks_that_move(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", "b")
    task = booted.guest("calls", f"{quietly('a/cgroup.procs', '0')}; mark 1; {quietly('b/cgroup.procs', '0')}; mark 2")
    for mark, expected in ((1, (1, 0)), (2, (0, 1))):
        booted.run_until_mark(task, mark)
        assert (number(booted, "a/pids.current"), number(booted, "b/pids.current")) == expected


def test_a_controller_that_comes_later_counts_who_is_there(machine: MakeMachine) -> None:
    booted = machine()
    booted.kernel.vfs.mkdir("/sys/fs/cgroup/a")
    booted.guest("calls", f"{quietly('a/cgroup.procs', '0')}; @fork child; @pause; end; pause")
    booted.run_until_idle()
    store(booted, "cgroup.subtree_control", "+pids")
    assert number(booted, "a/pids.current") == 2
    store(booted, "cgroup.subtree_control", "-pids")
    with pytest.raises(LinuxError, match="ENOENT"):
        see(booted, "a/pids.current")
