"""Cyclic sweeps over pages through a preset's model: the curve that pointer chases measure on processors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmu import CR4, Access, PhysicalMemory, Registers
from mmu.event_table import EVENT
from mmu.geometry import Geometry
from mmu.model import TlbModel
from mmu.state import MmuState
from mmu.translation import load_registers

_TABLE = 0x1000
_ENTRY = 0x67  # P, R/W, U/S, A, D
_LEAF_2M = 0xE7  # the same with PS
_BYTES_4K, _BYTES_2M = 1 << 12, 1 << 21


@dataclass(frozen=True)
class Round:
    """What one round of a sweep came to, of the accesses of one kind."""

    first_level: int
    second_level: int
    walks: int
    #: 0 without a latency.
    cycles: int


class Sweep:
    """``pages`` pages side by side from 1G on, all of one frame, or of frames side by side; A and D are set.  They are
    of 4K, or of 2M if they are ``large``.

    Of these each ``stride``-th one is accessed.
    """

    def __init__(
        self, geometry: Geometry, pages: int, *, contiguous: bool = False, stride: int = 1, large: bool = False
    ) -> None:
        pages *= stride
        tables = 0 if large else -(-pages // 512)
        directories = -(-(pages if large else tables) // 512)
        self.ram = PhysicalMemory((3 + directories + tables + 1) * _TABLE)
        words = self.ram.words
        first_directory, first_table = 3, 3 + directories
        words[512] = 2 * _TABLE | _ENTRY  # the PML4E, at 0x1000
        for n in range(directories):
            words[2 * 512 + 1 + n] = (first_directory + n) * _TABLE | _ENTRY
        for n in range(tables):
            words[first_directory * 512 + n] = (first_table + n) * _TABLE | _ENTRY
        size, leaf, first = (_BYTES_2M, _LEAF_2M, first_directory) if large else (_BYTES_4K, _ENTRY, first_table)
        frames = np.arange(pages, dtype=np.uint64) * np.uint64(size if contiguous else 0)
        words[first * 512 : first * 512 + pages] = frames | np.uint64(leaf)
        self._record = np.zeros(1, dtype=EVENT)
        self.state = MmuState(ram=self.ram.host, ram_bytes=self.ram.size, ring_capacity=1)
        self.state.ring = self._record.ctypes.data
        load_registers(self.state, Registers(cr3=_TABLE, cr4=Registers(cr3=0).cr4 | CR4.PGE, cpl=3))
        self.model = TlbModel(self.state, geometry)
        numbers = np.arange(0, pages, stride, dtype=np.uint64)
        self._vaddrs = ((1 << 30) + numbers * np.uint64(size)).astype(np.uint64)

    def round(self, access: Access = Access.READ, warm: int = 2) -> Round:
        """One round, after others that warm the caches."""
        kinds = np.full(len(self._vaddrs), int(access), np.uint64)
        for _ in range(warm):
            self.model.accesses(self._vaddrs, kinds)
        before, cycles = self.model.access_counters()[access], self._cycles()
        self.model.accesses(self._vaddrs, kinds)
        after = self.model.access_counters()[access]
        grown = {name: after[name] - before[name] for name in after}
        assert grown["walk_faults"] == 0 and grown["accesses"] == len(self._vaddrs)
        walks = grown["walk_completed_4k"] + grown["walk_completed_2m"]
        return Round(grown["l1_hits"], grown["stlb_hits"], walks, self._cycles() - cycles)

    def _cycles(self) -> int:
        return 0 if self.model.costs is None else self.model.costs.total
