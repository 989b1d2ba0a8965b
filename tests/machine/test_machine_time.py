"""Guest time: what the kernel's work costs, who pays for it, and the clock that somebody sets."""

from __future__ import annotations

import time
from pathlib import Path

import guests
from emu.kernel.sched import TIME_SLICE, StopReason
from emu.linux.cost import CALLS, Cost, costs_of_calls, table
from emu.linux.syscall_names import NAMES
from emu.syscalls import all_tables
from tests.booted import Booted, MakeMachine

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "time.md"


def test_the_table_in_docs_is_current() -> None:
    assert table() in _PAGE.read_text("utf-8"), "python -m emu.linux.cost prints the table of docs/time.md"


def test_each_call_has_one_cost_and_is_a_call() -> None:
    known = {call.name for subject in all_tables() for call in subject} | set(NAMES.values())
    assert set(costs_of_calls()) <= known
    assert len(costs_of_calls()) == sum(map(len, CALLS.values()))


def _system_ns(machine: MakeMachine, script: str) -> tuple[int, Booted]:
    booted = machine()
    task = booted.spawn(guests.path("calls"), [script])
    assert booted.run() == StopReason.EXITED
    assert booted.kernel.clock.now_ns() == booted.kernel.cpu.clock + booted.kernel.clock.system_ns
    return task.usage.system_ns, booted


def test_calls_cost_what_the_table_says(machine: MakeMachine) -> None:
    """A hundred more of a call: a hundred times its cost more, and nothing else changes."""
    for call, cost in (("@syscall 110", Cost.CALL), ("@syscall 24", Cost.CALL + 50), ("@syscall 10 0 0 0", 0)):
        few, _ = _system_ns(machine, f"repeat 100; {call}; end")
        many, _ = _system_ns(machine, f"repeat 200; {call}; end")
        assert many - few == 100 * (cost or Cost.CALL + costs_of_calls()["mprotect"]), call


def test_bytes_and_pages_cost_too(machine: MakeMachine) -> None:
    head = '@m = mmap 0 1M RW PRIVATE|MAP_ANONYMOUS -1 0; @f = open "/dev/zero" 0; @read f m 1M;'
    none, _ = _system_ns(machine, head)
    half, _ = _system_ns(machine, f"{head} @read f m 512K")
    assert half - none == Cost.CALL + 50 + 512 * Cost.KIBIBYTE
    unmapped, _ = _system_ns(machine, f"{head} @munmap m 1M")
    assert unmapped - none == Cost.CALL + costs_of_calls()["munmap"]  # the end of the process has unmapped it before


def test_the_time_of_a_process_is_that_of_its_threads(machine: MakeMachine) -> None:
    booted = machine(cpus=2)
    booted.spawn(guests.path("calls"), ["@fork c; repeat 50; @syscall 110; end; end; @wait c"])
    assert booted.run() == StopReason.EXITED
    vcpus, ended = booted.kernel.scheduler.vcpus, booted.processes()
    assert sum(vcpu.instructions for vcpu in vcpus) == sum(row["instructions"] for row in ended)
    assert all(vcpu.system_ns > 0 for vcpu in vcpus)


def test_setting_the_clock_moves_what_waits_for_a_time_of_day(machine: MakeMachine) -> None:
    """A sleeper until tomorrow wakes as soon as it is the day after; a timerfd says ECANCELED, once."""
    script = """
        @n = words 0 0; @syscall 228 0 n; @d = load n; @t = words d+86400 0
        @fork c; @syscall 230 0 1 t NULL; say 1; end
        @s = words 0 10000000; @syscall 35 s NULL
        f = syscall 283 0 0x800; @i = words 0 0 d+90000 0; syscall 286 f 3 i NULL; @b = bytes 8; read f b 8
        @k = words d+100000 0; syscall 227 0 k; read f b 8; read f b 8; load b; read f b 8; wait c
        @syscall 228 0 n; @e = load n; say e-d"""
    lines = machine().calls(script)
    assert lines == [
        "f = 3", "syscall = 0", "read = EAGAIN", "syscall = 0", "read = -125", "read = EAGAIN", "load = 0",
        "read = EAGAIN", "say = 1", "wait = 0", "say = 100000",
    ]  # fmt: skip


def test_a_real_clock_waits(machine: MakeMachine) -> None:
    before = time.monotonic()
    booted = machine(clock="real")
    assert booted.calls("@t = words 0 30000000; syscall 35 t NULL") == ["syscall = 0"]
    assert time.monotonic() - before >= 0.03
    assert abs(booted.kernel.clock.realtime_ns() - time.time_ns()) < 60e9


def test_a_timer_ends_a_turn(machine: MakeMachine) -> None:
    """The signal comes when it is due, and not when the time slice of 1 ms is over."""
    booted = machine()
    script = "@i = words 0 0 0 20; @syscall 38 0 i NULL; repeat 100000; @syscall 110; end"
    assert booted.outcome("calls", script).signal == "SIGALRM"
    assert booted.kernel.clock.now_ns() < TIME_SLICE / 2


def test_a_signal_that_stops_or_ends_a_task_does_so_before_its_turn_would_come(machine: MakeMachine) -> None:
    """Another CPU would do so 10 to 60 us after the call: here a loop that looks for it notices in time."""
    look = "@repeat 60; @wait4 c s 3; end; wait4 c s 3"
    for busy in ("@pause", "repeat 9999; @getpid; end"):
        script = f"@s = bytes 8; @fork c; {busy}; end; @kill c 19; {look}; load s; @kill c 9; {look}; load s"
        assert machine().calls(script)[-4:] == ["wait4 = 0", "load = 4991", "wait4 = ECHILD", "load = 9"], busy


def test_who_sets_the_clock_ends_a_wait_for_a_time_of_day(machine: MakeMachine) -> None:
    head = "@w = words 0; @t = words 1656543917 0; @u = words 1656544000 0; @one = words 1 0; @m = words 0 0;"
    set_it = "@fork c; @syscall 35 one 0; @syscall 227 0 u; end;"
    for wait in ("syscall 202 w 265 0 t 0 0xffffffff", "syscall 455 w 0 0xffffffff 2 t 0"):
        lines = machine().calls(f"{head} {set_it} {wait}; @syscall 228 1 m; load m")
        assert lines == ["syscall = ETIMEDOUT", "load = 1"], wait
