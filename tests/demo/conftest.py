from __future__ import annotations

from collections.abc import Callable

import pytest

import guests
import msharefs.module
from emu.kernel.sched import StopReason
from emu.machine import Machine
from emu.trace.report.snapshot import Snapshot, take_snapshot
from tests.booted import MIB, machine

__all__ = ["machine"]

OBJECT = 2 << 40
MODES = {"plain": "Plain MAP_SHARED", "mshare": "Through msharefs"}

#: (mode, processes, size in bytes, level) -> what it looks like while all processes sleep
Peak = Callable[..., Snapshot]


@pytest.fixture
def peak(machine: Callable[..., Machine]) -> Peak:
    def snapshot(mode: str, processes: int, size: int, level: str = "pmd") -> Snapshot:
        booted = machine(max(64 * MIB, 2 * size), level=level)
        booted.spawn(guests.path("sharers"), [mode, str(processes), str(size)])
        assert booted.run(timeout_s=60) == StopReason.IDLE
        return take_snapshot(booted, mode, MODES[mode], OBJECT, size, 0.5)

    return snapshot


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command finds msharefs, installed or not."""
    monkeypatch.setattr("emu.machine.find_modules", lambda: {"msharefs": msharefs.module.init})
