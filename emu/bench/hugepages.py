"""What the fault of a transparent huge page costs, as a multiple of a small one's."""

from __future__ import annotations

import statistics

from emu.bench.figure import Aim, Figure, Measurement, alternate, cpu_seconds
from emu.bench.guest import Timer
from emu.linux.mman import Advice, MapFlags, Prot
from emu.mm.address_space import AddressSpace
from emu.mm.madvise import do_madvise
from emu.mm.mmap import do_mmap
from mmu.memory import PAGE_SIZE
from mmu.registers import Access

_HUGE = 512 * PAGE_SIZE
_SMALL_AT, _HUGE_AT = 1 << 32, 1 << 40
_FIXED = MapFlags.PRIVATE | MapFlags.ANONYMOUS | MapFlags.FIXED


class _Memory:
    """An address space in which memory is mapped, faulted in, and unmapped."""

    def __init__(self, faults: int) -> None:
        self._faults = faults
        self._machine = Timer(2 * faults * _HUGE + (32 << 20)).machine
        self._mm = AddressSpace(self._machine.kernel.mm_context, "bench")

    def small(self) -> float:
        """Seconds of so many faults of small pages, each in a table that is there."""
        return self._time(_SMALL_AT, PAGE_SIZE)

    def large(self) -> float:
        """Seconds of so many of huge pages."""
        return self._time(_HUGE_AT, _HUGE)

    def _time(self, start: int, step: int) -> float:
        mm, length = self._mm, self._faults * step
        do_mmap(mm, start, length, Prot.READ | Prot.WRITE, _FIXED)
        if step == _HUGE:
            do_madvise(mm, start, length, Advice.HUGEPAGE)
        return cpu_seconds(lambda: [mm.handle_fault(at, Access.WRITE) for at in range(start, start + length, step)])


def huge_faults(rounds: int, faults: int) -> Measurement:
    """Faults of 2 MiB on memory that the machine has not used, and of small pages; in µs, and in small faults."""
    taken = alternate(rounds, {"small": lambda: _Memory(faults).small(), "huge": lambda: _Memory(faults).large()})
    small, huge = (statistics.median(taken[name]) / faults for name in ("small", "huge"))
    return Measurement(
        "huge faults",
        taken,
        (
            Figure("small_fault_us", "page fault of 4 KiB, the kernel's part alone", small * 1e6, "µs"),
            Figure("huge_fault_us", "page fault of a transparent huge page, the same", huge * 1e6, "µs"),
            Figure("huge_fault_faults", "  in small faults", huge / small, aim=Aim(3)),
        ),
    )
