"""Hits and misses against libCacheSim (PyPI libcachesim), whose caches of pages are the sets of a TLB."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from emu.lab.batch import Batch
from emu.lab.lru_stack import LruStack
from mmu import CR4, Access, PhysicalMemory, Registers
from mmu.event_table import EVENT
from mmu.geometry import Array, Geometry, Kinds, PageSizes, Replacement
from mmu.model import TlbModel
from mmu.state import MmuState
from mmu.translation import load_registers
from tests.mmu.tables import Tables

libcachesim = pytest.importorskip(
    "libcachesim", reason="needs libcachesim (pip install libcachesim) and libglib2.0-0", exc_type=ImportError
)

LOADS = 12_000
#: The place of page 0, in the half of the address space that the kernel has.
BASE = 0xFFFF_8000_0000_0000
CACHES = {Replacement.LRU: libcachesim.LRU, Replacement.FIFO: libcachesim.FIFO}


def cyclic(pages: int, stride: int) -> np.ndarray:
    return np.arange(LOADS, dtype=np.uint64) % np.uint64(pages) * np.uint64(stride)


def mostly_a_few(seed: int, pages: int) -> np.ndarray:
    """Some pages often and most seldom."""
    return np.random.default_rng(seed).zipf(1.2, LOADS).astype(np.uint64) % np.uint64(pages)


def moving(seed: int, pages: int) -> np.ndarray:
    """A working set that goes on through the pages, in eight steps."""
    first = np.arange(LOADS, dtype=np.uint64) // np.uint64(LOADS // 8) * np.uint64(pages // 8)
    return first + np.random.default_rng(seed).integers(0, pages // 4, LOADS, dtype=np.uint64)


PATTERNS = {
    "cyclic": cyclic(70, 1),
    "strided": cyclic(40, 16),
    "mostly a few": mostly_a_few(1, 3000),
    "moving": moving(2, 1200),
}


class Cache:
    """Sets of libCacheSim's caches, looked up by the low bits of the page."""

    def __init__(self, sets: int, ways: int, replacement: Replacement) -> None:
        self.sets = [CACHES[replacement](cache_size=ways, hashpower=8) for _ in range(sets)]
        self.request = libcachesim.Request()
        self.request.obj_size = 1

    def misses(self, pages: Sequence[int]) -> list[int]:
        """The pages that missed, in their order."""
        missed = []
        for page in pages:
            self.request.obj_id = page
            if not self.sets[page % len(self.sets)].get(self.request):
                missed.append(page)
        return missed


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_miss_curve_is_that_of_a_cache_of_each_size(pattern: str) -> None:
    stack, pages = LruStack(), PATTERNS[pattern] + np.uint64(BASE >> 12)
    stack.take(Batch.of(vaddr=pages << np.uint64(12), shift=12))
    curve = stack.curve()
    for size in (1, 2, 7, 32, 69, 70, 300, 2000):
        assert curve.misses_of(size) == len(Cache(1, size, Replacement.LRU).misses(pages.tolist())), size


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(
    ("first", "second", "replacement"),
    [((16, 4), (128, 6), Replacement.LRU), ((8, 3), (32, 5), Replacement.FIFO), ((1, 24), (64, 4), Replacement.LRU)],
)
def test_two_levels_miss_as_two_caches(
    pattern: str, first: tuple[int, int], second: tuple[int, int], replacement: Replacement
) -> None:
    """The second level is asked for what the first one has not."""
    pages = PATTERNS[pattern]
    ram = PhysicalMemory(16 << 20)
    tables = Tables(ram)
    for page in np.unique(pages).tolist():
        tables.map_page(BASE + page * 4096, 0)
    record = np.zeros(1, dtype=EVENT)
    state = MmuState(ram=ram.host, ram_bytes=1 << 40, ring=record.ctypes.data, ring_capacity=1)
    load_registers(state, Registers(cr3=tables.cr3, cr4=Registers(cr3=0).cr4 & ~CR4.SMAP, cpl=0))
    arrays = tuple(
        Array(f"L{level}", level, Kinds.ALL, PageSizes.ALL, sets, ways, replacement)
        for level, (sets, ways) in ((1, first), (2, second))
    )
    model = TlbModel(state, Geometry("two levels", arrays))
    vaddrs = pages * np.uint64(4096) + np.uint64(BASE)
    model.accesses(vaddrs, np.full(len(pages), Access.READ, dtype=np.uint64))
    missed = Cache(*first, replacement).misses((vaddrs >> np.uint64(12)).tolist())
    missed_twice = Cache(*second, replacement).misses(missed)
    counters = model.array_counters()
    assert [counters[name].misses for name in ("L1", "L2")] == [len(missed), len(missed_twice)]
    assert [counters[name].hits for name in ("L1", "L2")] == [LOADS - len(missed), len(missed) - len(missed_twice)]
