"""Process 1, which the machine makes when somebody asks for it."""

from __future__ import annotations

import guests
from emu.kernel.signal_state import Sig
from tests.booted import MakeMachine

_SENT = "kill 1 9; kill 1 19; kill 1 15; kill 1 18; syscall 200 1 9; kill 1 0; syscall 109 0 1"


def test_no_signal_reaches_it(machine: MakeMachine) -> None:
    booted = machine()
    assert booted.calls(_SENT) == [*["kill = 0"] * 4, "syscall = 0", "kill = 0", "syscall = EPERM"]
    init = booted.kernel.init
    booted.send_signal(init, Sig.KILL)
    assert init.alive and not init.signals.pending and not init.group.pending
    assert not init.group.stopped_by


def test_nobody_traces_it(machine: MakeMachine) -> None:
    booted = machine()
    assert booted.calls("syscall 101 16 1 0 0; syscall 101 0x4206 1 0 0") == ["syscall = EPERM"] * 2
    assert booted.kernel.init.ptrace is None


def test_nothing_is_read_in_its_memory(machine: MakeMachine) -> None:
    script = "@b = bytes 8; @l = words b 8; @r = words 4096 8; syscall 310 1 l 1 r 1 0"
    assert machine().calls(script) == ["syscall = EFAULT"]


def test_a_program_that_does_not_ask_has_none(machine: MakeMachine) -> None:
    booted = machine()
    lines = booted.calls("@fork c; syscall 110; end; wait c; syscall 110")
    assert lines == ["syscall = 100", "wait = 0", "syscall = 1"]
    assert "init" not in vars(booted.kernel)


def test_it_is_no_program_of_the_machine(machine: MakeMachine) -> None:
    booted = machine()
    task = booted.spawn(guests.path("calls"), ["kill 1 0"])
    booted.run()
    assert not task.alive and booted.tasks == [] and 1 not in booted.kernel.tasks
    assert [row["pid"] for row in booted.processes()] == [100]


def test_its_descriptor_stands_for_it_and_its_group(machine: MakeMachine) -> None:
    script = "@p = syscall 434 1 0; syscall 424 p 9 0 0; syscall 424 p 9 0 4; syscall 448 p 0; syscall 438 p 0 0"
    assert machine().calls(script) == ["syscall = 0", "syscall = 0", "syscall = EINVAL", "syscall = EBADF"]


def test_orphans_become_its_children(machine: MakeMachine) -> None:
    script = """
        @p = bytes 8; @syscall 293 p 0; @b = bytes 64; @fork c; @fork d; @read 3 b 1; end; end; wait c
        @f = open "/proc/1/task/1/children" 0; @read f b 63; text b; @write 4 b 1"""
    assert machine().calls(script) == ["wait = 0", "text = 100 102 "]
