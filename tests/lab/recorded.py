"""Runs of guests in exact mode, live and recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import guests
from emu.lab.batch import Batch
from emu.lab.recorder import record_machine
from emu.machine import Machine, Mount
from mmu.geometry import Geometry
from mmu.model_figures import model_figures
from mmu.perf_events import perf_events

MEMORY = 64 << 20


@dataclass(frozen=True)
class Story:
    """A program and the machine that it runs in."""

    program: str
    arguments: tuple[str, ...] = ()
    cpus: int = 1
    mounts: tuple[Mount, ...] = ()
    hugepages: int = 0
    la57: bool = False
    memory: int = MEMORY
    swap: int = 0

    def machine(self, tlb: str | Geometry) -> Machine:
        """The machine, with the program in it."""
        machine = Machine(
            self.memory, swap=self.swap, tlb=tlb, cpus=self.cpus, mounts=self.mounts, hugepages=self.hugepages,
            la57=self.la57, stdout=lambda data: None,
        )  # fmt: skip
        machine.spawn(guests.path(self.program), self.arguments)
        return machine


def counted(machine: Machine) -> dict[str, Any]:
    """What the modelled TLBs of all vCPUs have counted."""
    mmu = machine.kernel.cpu.mmu
    assert mmu.tlb is not None
    return model_figures(mmu.tlb.geometry, mmu.tlbs, perf_events(mmu))


def live(story: Story, tlb: str | Geometry) -> dict[str, Any]:
    """Run it, and say what was counted."""
    machine = story.machine(tlb)
    machine.run()
    return counted(machine)


def recorded(story: Story, tlb: str = "textbook") -> tuple[list[Batch], dict[str, Any]]:
    """Run it, with a recorder."""
    machine, batches = story.machine(tlb), list[Batch]()
    recorder = record_machine(machine, batches.append)
    machine.run()
    recorder.finish()
    return batches, counted(machine)
