"""The end of time: KTIME_MAX, 292 years after the start."""

from __future__ import annotations

import pytest

import guests
from emu.kernel.sched import StopReason
from emu.linux.clock import KTIME_MAX
from tests.booted import MakeMachine

NS = 1_000_000_000


@pytest.mark.parametrize("seconds", [1 << 62, (1 << 63) - 1, -(-KTIME_MAX // NS)])
def test_a_timeout_beyond_it_never_passes(machine: MakeMachine, seconds: int) -> None:
    """As an hrtimer for KTIME_MAX never runs; the clock could not be shown then."""
    booted = machine()
    script = f"@t = words {seconds} 0; @b = bytes 16; say 1; syscall 35 t 0; syscall 96 b 0"
    booted.spawn(guests.path("calls"), [script])
    assert booted.run() == StopReason.IDLE
    assert booted.stdout == "say = 1\n"
    assert booted.kernel.clock.now_ns() < NS


def test_the_clock_stops_before_it(machine: MakeMachine) -> None:
    """Several sleeps that are each short enough: the one that would end after it never does."""
    booted = machine(max_guest_s=1e12)
    script = f"@t = words {100 * 365 * 86400} 0; @b = bytes 16; repeat 3; syscall 35 t 0; syscall 96 b 0; end"
    booted.spawn(guests.path("calls"), [script])
    assert booted.run() == StopReason.IDLE
    assert booted.stdout == "syscall = 0\n" * 4
    assert booted.kernel.clock.now_ns() < KTIME_MAX
