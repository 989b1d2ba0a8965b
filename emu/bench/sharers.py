"""That to share a region costs the same for the first process and for the ten-thousandth: attach, link, detach."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

import guests
from emu.bench.figure import Measurement
from emu.bench.growth import growth
from emu.kernel.sched import StopReason
from emu.linux.mman import MapFlags, Prot
from emu.machine import Machine
from emu.mm.address_space import AddressSpace
from emu.mm.flags import FaultResult
from emu.mm.mmap import do_mmap, do_munmap
from mmu import Access

if TYPE_CHECKING:
    from emu.mm.vmops import MappedFile

SHARERS = (1, 10, 100, 1000, 10_000)
#: Where the guest program `sharers` has the region, and how much of it there is.
_WINDOW, _SIZE = 1 << 41, 1 << 30
_TOUCHED = 64 << 10
_WORDS = {
    "attach": "attach to a region (mmap)",
    "link": "link a shared table (the first touch)",
    "detach": "detach from a region (munmap)",
}


class MeasuredRegion:
    """A machine with one region, so many address spaces that have linked it, and room for some more."""

    def __init__(self, sharers: int, more: int) -> None:
        frames = (sharers + more) * 4
        self.machine = Machine((frames << 12) + (64 << 20), stdout=io.BytesIO(), stderr=io.BytesIO())
        donor = self.machine.spawn(guests.path("sharers"), ["mshare", "1", str(_TOUCHED)])
        if self.machine.run() != StopReason.IDLE:
            raise RuntimeError("bench: the donor of the region has ended: is the module that makes regions installed?")
        window = donor.mm.vmas.find(_WINDOW)
        if window is None or window.file is None:
            raise RuntimeError("bench: the donor of the region has no window")
        self._file: MappedFile = window.file
        self._more = more
        self._extra: list[AddressSpace] = []
        self.others = [self._new() for _ in range(sharers - 1)]  # the donor is one
        for mm in self.others:
            self._attach(mm)
            self._link(mm)

    def _new(self) -> AddressSpace:
        return AddressSpace(self.machine.kernel.mm_context, "sharer")

    def _attach(self, mm: AddressSpace) -> None:
        do_mmap(mm, _WINDOW, _SIZE, Prot.READ | Prot.WRITE, MapFlags.SHARED | MapFlags.FIXED, self._file)

    def _link(self, mm: AddressSpace) -> None:
        if mm.handle_fault(_WINDOW, Access.READ) != FaultResult.LINKED:
            raise RuntimeError("bench: the first touch of a window did not link the shared table")

    def time(self, step: str) -> float:
        """Seconds of CPU time that one of the steps takes for each of some more sharers; the steps go round in their
        order.
        """
        if step == "attach":
            self._extra = [self._new() for _ in range(self._more)]
        action = {"attach": self._attach, "link": self._link, "detach": self._detach}[step]
        start = time.process_time()
        for mm in self._extra:
            action(mm)
        taken = (time.process_time() - start) / self._more
        if step == "detach":
            for mm in self._extra:
                mm.put()
        return taken

    @staticmethod
    def _detach(mm: AddressSpace) -> None:
        do_munmap(mm, _WINDOW, _SIZE)


def sharer_numbers(rounds: int, more: int) -> Measurement:
    """What one more sharer costs where there are 1, 10, ... 10,000 already, each an address space with a window."""
    return growth(rounds, "sharers", _WORDS, {number: MeasuredRegion(number, more).time for number in SHARERS})
