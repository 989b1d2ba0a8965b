"""Observed: a TLB model that a stream is replayed through, access by access, and that says what became of each."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from emu.lab.batch import Batch
from emu.lab.outcomes import Notes
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
        size = len(batch) + 1
        noted = Noted(np.zeros(size, np.uint8), np.zeros(size, np.uint64), np.zeros(size, np.uint64))
        notes = Notes(*(array.ctypes.data for array in noted))
        self._go(load("emu.lab.outcomes")["replay_noting"], gathered(batch), None, ctypes.addressof(notes))
        return Noted(noted.levels[:-1], noted.slots[:-1], noted.entries[:-1])
