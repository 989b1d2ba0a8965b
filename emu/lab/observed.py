"""Observed: a TLB model that a stream is replayed through, access by access, and that says what became of each."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from emu.lab.batch import Batch, Register
from emu.lab.outcomes import Notes
from emu.lab.replay_loop import CONTROL_BYTES
from emu.lab.simulation import Simulated, gathered
from mmu.objectcode import load

if TYPE_CHECKING:
    import numpy.typing as npt


class Noted(NamedTuple):
    """Of each access: the TLB level that hit, 0 for none; and of one that walked to a 4K page the physical address of
    the PTE, and the PTE, else 0."""

    levels: npt.NDArray[np.uint8]
    slots: npt.NDArray[np.uint64]
    entries: npt.NDArray[np.uint64]


class Observed(Simulated):
    """A model that says of each access where it was found."""

    def noted(self, batch: Batch) -> Noted:
        """What became of each access of the next batch."""
        taken = gathered(batch)
        self.vcpu(taken.last_vcpu)
        runs, number, controls = taken.runs(None)
        size = len(batch) + 1
        noted = Noted(np.zeros(size, np.uint8), np.zeros(size, np.uint64), np.zeros(size, np.uint64))
        notes = Notes(*(array.ctypes.data for array in noted))
        native = load("emu.lab.outcomes")["replay_noting"]
        first, begin = 0, 0
        for stop in (*taken.registers, len(controls)):
            end = int(controls["at"][stop]) if stop < len(controls) else number
            at, last = (controls.ctypes.data + CONTROL_BYTES * each for each in (first, stop))
            native(ctypes.addressof(self.native), runs.ctypes.data, begin, end, at, last, ctypes.addressof(notes))
            if stop < len(controls):
                self.set_register(Register(int(controls["a"][stop])), int(controls["b"][stop]))
            first, begin = stop + 1, end
        return Noted(noted.levels[:-1], noted.slots[:-1], noted.entries[:-1])
