"""How fast private memory goes to swap."""

from __future__ import annotations

import statistics

import numpy as np

from emu.bench.figure import Aim, Figure, Measurement, cpu_seconds
from emu.linux.mman import MapFlags, Prot
from emu.machine import Machine
from emu.mm.address_space import AddressSpace
from emu.mm.mmap import do_mmap
from emu.mm.pagetable import ADDRESS
from mmu.memory import PAGE_SHIFT
from mmu.registers import Access

_PLACE = 1 << 40
_RATE = Aim(1.0, at_most=False)


def reclaim(rounds: int, size: int) -> Measurement:
    """Make so many bytes free that a process has written, to a device of the machine that has been written before, as
    the host gives its memory at the first time.
    """
    machine = Machine(size + size // 4, modules={}, swap=size + (64 << PAGE_SHIFT))
    taken, copied = [], []
    for _ in range(rounds + 1):
        taken.append(_once(machine, size))
        copied.append(_copy(size))
    del taken[0], copied[0]
    rate = statistics.median((size >> PAGE_SHIFT) / one for one in taken) / 1e6
    what = f"reclaim of {size >> 20} MiB of private memory to the machine's device for swap"
    times = statistics.median(one / other for one, other in zip(taken, copied, strict=True))
    figures = (
        Figure("reclaim_mpages_s", what, rate, "M pages/s", _RATE),
        Figure("reclaim_over_copy", "  the same / a copy of as many bytes", times),
    )
    return Measurement("reclaim", {"reclaim": taken, "copy": copied}, figures)


def _copy(size: int) -> float:
    """A copy of as many bytes, from memory to memory that the host has given already."""
    pages, target = memoryview(b"\1" * size), memoryview(bytearray(size))
    target[:] = pages

    def copy() -> None:
        target[:] = pages

    return cpu_seconds(copy)


def _once(machine: Machine, size: int) -> float:
    kernel, number = machine.kernel, size >> PAGE_SHIFT
    mm = AddressSpace(kernel.mm_context, "bench")
    do_mmap(mm, _PLACE, size, Prot.READ | Prot.WRITE, MapFlags.PRIVATE | MapFlags.ANONYMOUS | MapFlags.FIXED)
    vma = mm.vmas.find(_PLACE)
    assert vma is not None
    vma.ops.populate(mm, vma, vma.start, vma.end, Access.WRITE)
    pages = kernel.ram.words.reshape(-1, 512)
    for _, slot, entries in mm.tables.pte_tables(vma.start, vma.end):
        frames = ((mm.tables.words[slot : slot + entries] & ADDRESS) >> PAGE_SHIFT).astype(np.int64)
        pages[frames] = frames[:, None].astype(np.uint64)
    try:
        return cpu_seconds(lambda: kernel.reclaim.shrink(number, "direct"))
    finally:
        assert mm.rss_swap >= number * 9 // 10, "reclaim has left pages"
        mm.put()
