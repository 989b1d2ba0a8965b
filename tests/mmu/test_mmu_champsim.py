"""The TLB model against figures of another simulator, recorded from runs of ChampSim 2ff2501 (May 2025).

Its default geometry (the preset champsim), five levels of tables, 4K pages.  Each of its traces was N loads, each with
one source and one destination register, the same one, so that each load waits for the one before; one memory operand,
one page of code; run with `-w 0 -i N`, cold.  Load i of the pattern (pages, stride) is at page (i mod pages) * stride.
Its walker reads the entry of a structure-cache hit once more than ours.
"""

from __future__ import annotations

import numpy as np
import pytest

from mmu import CR4, Access, PhysicalMemory, Registers
from mmu.event_table import EVENT
from mmu.model import TlbModel
from mmu.presets import load_preset
from mmu.state import MmuState
from mmu.translation import load_registers
from tests.mmu.tables import Tables

LOADS = 20_000
BASE, CODE = 0x1000_0000, 0x40_0000
PAGE = 4096

#: (pages, stride in pages): DTLB hits and misses, STLB hits and misses, entries that its walker read.
FIGURES = {
    (64, 1): (19936, 64, 0, 65, 134),
    (65, 1): (18402, 1598, 1533, 66, 136),
    (80, 1): (0, 20000, 19920, 81, 166),
    (4, 16): (19996, 4, 0, 5, 14),
    (5, 16): (0, 20000, 19995, 6, 16),
    (12, 128): (0, 20000, 19988, 13, 32),
    (13, 128): (0, 20000, 0, 20001, 40009),
    (1536, 1): (0, 20000, 18464, 1537, 3080),
    (1664, 1): (0, 20000, 0, 20001, 40009),
    (32, 512): (0, 20000, 0, 20001, 40037),
    (33, 512): (0, 20000, 0, 20001, 45484),
    (48, 8192): (0, 20000, 0, 20001, 60006),
}


@pytest.mark.parametrize(("pages", "stride"), FIGURES)
def test_hits_misses_and_walks_are_those_of_champsim(pages: int, stride: int) -> None:
    ram = PhysicalMemory(16 << 20)
    tables = Tables(ram, levels=5)
    for vaddr in (CODE, *(BASE + page * stride * PAGE for page in range(pages))):
        tables.map_page(vaddr, vaddr & 0xFFF_FFFF)
    record = np.zeros(1, dtype=EVENT)
    state = MmuState(ram=ram.host, ram_bytes=1 << 52, ring=record.ctypes.data, ring_capacity=1)
    load_registers(state, Registers(cr3=tables.cr3, cr4=Registers(cr3=0).cr4 | CR4.LA57, cpl=0))
    model = TlbModel(state, load_preset("champsim"))
    model.access(CODE, Access.FETCH)
    model.accesses(
        BASE + np.arange(LOADS, dtype=np.uint64) % np.uint64(pages) * np.uint64(stride * PAGE),
        np.full(LOADS, Access.READ, dtype=np.uint64),
    )
    counters = model.array_counters()
    begun_at_a_hit = sum(hits for _, hits in model.structure_counters().values())
    found = (
        counters["DTLB"].hits, counters["DTLB"].misses, counters["STLB"].hits, counters["STLB"].misses,
        state.walk_loads + begun_at_a_hit,
    )  # fmt: skip
    assert found == FIGURES[pages, stride]
