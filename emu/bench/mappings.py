"""That a process with ten thousand mappings pays no more for a fault, a mapping or a change of rights than one with
ten.
"""

from __future__ import annotations

import gc
import io
import time
from collections.abc import Callable, Sequence

from emu.bench.figure import Measurement
from emu.bench.growth import growth
from emu.bench.loops import program, touch
from emu.kernel.sched import StopReason
from emu.linux.mman import MapFlags, Prot
from emu.machine import Machine
from emu.mm.address_space import AddressSpace
from emu.mm.mmap import do_mmap, do_munmap
from emu.mm.mprotect import do_mprotect
from mmu import Access
from mmu.memory import PAGE_SIZE

NUMBERS = (10, 100, 1000, 10_000)
#: Where they lie, side by side; each has two pages at least.
_AREA = 0x1000_0000
_TEXT, _DATA = 0x40_0000, 0x50_0000
#: mov eax, 34; syscall
_PAUSE = bytes.fromhex("b8220000000f05")
_WORDS = {
    "fault": "a page fault of a program (the first store to a page), by the kernel",
    "protect": "take and give back the right to write (mprotect twice)",
    "map": "make and remove a mapping (mmap, munmap)",
}
_PRIVATE = MapFlags.PRIVATE | MapFlags.ANONYMOUS
_RIGHTS = (Prot.READ | Prot.WRITE, Prot.READ | Prot.WRITE | Prot.EXEC)


class Mapped:
    """A machine with processes that have so many mappings of the same pages each, whose rights alternate."""

    def __init__(self, number: int, pages: int, steps: int) -> None:
        # the kernel resolves each fault: what the engine answers by itself is prepared for a few mappings at a time
        memory = (pages * PAGE_SIZE) + (32 << 20)
        self.machine = Machine(memory, engine_fast=False, stdout=io.BytesIO(), stderr=io.BytesIO())
        self._number, self._pages, self._steps = number, pages, steps
        self._stride = pages // steps & -2  # so that no two in turn are in one mapping, if there are many
        code = touch(_AREA, steps, self._stride * PAGE_SIZE, 1, store=True) + _PAUSE
        self.machine.kernel.vfs.write_file("/touch", program(code, _TEXT, _DATA, PAGE_SIZE), 0o755)
        self.mm = AddressSpace(self.machine.kernel.mm_context, "mapped")
        self._map_all(self.mm)

    def _map_all(self, mm: AddressSpace) -> None:
        size, before = self._pages // self._number * PAGE_SIZE, len(mm.vmas)
        for at in range(self._number):
            do_mmap(mm, _AREA + at * size, size, _RIGHTS[at & 1], _PRIVATE | MapFlags.FIXED)
        if len(mm.vmas) - before != self._number:
            raise RuntimeError(f"bench: {len(mm.vmas) - before} mappings in place of {self._number}")

    def time(self, step: str) -> float:
        """Seconds of CPU time that a step takes."""
        return self._fault() if step == "fault" else self._call(self._protect if step == "protect" else self._map)

    def _fault(self) -> float:
        """The faults of a program, which stays as it is when it has had them.  Each mapping has had some before, and
        tables are there.
        """
        task = self.machine.spawn("/touch", in_guest=True)
        self._map_all(task.mm)
        for page in range(1, self._pages, 2):
            task.mm.handle_fault(_AREA + page * PAGE_SIZE, Access.WRITE)
        gc.collect()  # now: it looks at all mappings
        start = time.process_time()
        reason = self.machine.run()
        taken = time.process_time() - start
        if reason != StopReason.IDLE or task.usage.min_flt < self._steps:
            raise RuntimeError(f"bench: the program that touches pages ended as {reason}")
        self.machine.kill_all()
        return taken / self._steps

    def _call(self, act: Callable[[int], None]) -> float:
        start = time.process_time()
        for at in range(self._steps):
            act(_AREA + at * self._stride % self._pages * PAGE_SIZE)
        return (time.process_time() - start) / self._steps

    def _protect(self, page: int) -> None:
        vma = self.mm.vmas.find(page)
        assert vma is not None, "bench: every page is mapped"
        rights = vma.prot
        do_mprotect(self.mm, page, PAGE_SIZE, Prot.READ)
        do_mprotect(self.mm, page, PAGE_SIZE, rights)

    def _map(self, page: int) -> None:
        do_munmap(self.mm, do_mmap(self.mm, 0, PAGE_SIZE, _RIGHTS[0], _PRIVATE), PAGE_SIZE)


def mapping_numbers(rounds: int, numbers: Sequence[int], steps: int) -> Measurement:
    """The three in address spaces with so many mappings of the same pages, fewest first."""
    pages = 2 * numbers[-1]
    return growth(rounds, "mappings", _WORDS, {number: Mapped(number, pages, steps).time for number in numbers})
