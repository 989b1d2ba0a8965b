"""Random accesses, invalidations and changes of tables on bare processors with PCIDs, recorded and replayed."""

from __future__ import annotations

import importlib
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from unicorn import UC_ARCH_X86, UC_MODE_64, Uc

from emu.lab.batch import Batch
from emu.lab.recorder import StreamRecorder
from emu.lab.simulation import Simulation
from mmu import Mmu, PhysicalMemory, objectcode, small_pages
from mmu.entries import PS, RW, US, XD, A, D, G, P
from mmu.geometry import Array, Geometry, IndexHash, Kinds, PageSizes, Replacement
from mmu.model import Invpcid
from mmu.model_figures import model_figures
from mmu.perf_events import perf_events
from mmu.presets import all_presets, load_preset
from mmu.registers import CR3_NO_FLUSH, CR4, Access
from mmu.small_pages import SmallPages
from mmu.state import MmuState, Status
from tests.exhaustive import by_default
from tests.lab.test_replay import ODD

MEMORY = 1 << 20
#: Where pages are: in both halves of the address space, in three sizes.
PLACES = [0x400000, 0x7FFF_FFE0_0000, 0xFFFF_8000_0000_0000, 0xFFFF_FFFF_FFE0_0000]
SPACES = 3


class World:
    """Two processors, and three address spaces in tables that stand one after the other."""

    def __init__(self, geometry: Geometry, seed: int, flushed: float = 1) -> None:
        """``flushed``: of the changes of tables, how many both processors are told of."""
        self.flushed = flushed
        self.random = random.Random(seed)
        self.ram = PhysicalMemory(MEMORY)
        self.mmu = Mmu(Uc(UC_ARCH_X86, UC_MODE_64), self.ram, tlb=geometry, processors=2)
        self.next = 0x1000
        self.leaves: list[tuple[int, int, int]] = []
        self.roots: list[int] = []
        for _ in range(SPACES):
            self.roots.append(self._space())
        self.mmu.enter_user_mode()
        self.mmu.load_cr3(self.roots[0])
        self.mmu.load_cr4(self.mmu.registers.cr4 | CR4.PCIDE | CR4.PGE)

    def _table(self) -> int:
        self.next += 0x1000
        return self.next - 0x1000

    def _space(self) -> int:
        root = self._table()
        for place in PLACES:
            if self.roots and place >> 63:  # the upper half is one for all, and has the global pages
                slot = (place >> 39 & 511) * 8
                self.ram.write_u64(root + slot, self.ram.read_u64(self.roots[0] + slot))
                continue
            table = root
            for level in (4, 3, 2):
                slot = table + (place >> (12 + 9 * (level - 1)) & 511) * 8
                if not self.ram.read_u64(slot):
                    self.ram.write_u64(slot, self._table() | P | RW | US)
                table = self.ram.read_u64(slot) & ~0xFFF
                if level < 4:  # a large page beside the table
                    self._leaf(slot ^ 8, level, place >> 63)
            for page in range(24):
                self._leaf(table + page * 8, 1, place >> 63)
            for page in range(8, 24, 8):
                self._group(table + page * 8, place >> 63)
        return root

    def _leaf(self, slot: int, level: int, upper: int) -> None:
        frame = self.random.randrange(1 << 12) << (12 + 9 * (level - 1))
        value = frame | P | US | (PS if level > 1 else 0)
        for bit, chance in ((RW, 0.9), (G, 0.4 * upper), (XD, 0.2), (A, 0.5), (D, 0.3)):
            value |= int(bit) if self.random.random() < chance else 0
        self.ram.write_u64(slot, value if self.random.random() < 0.95 else 0)
        self.leaves.append((slot, level, upper))

    def _group(self, slot: int, upper: int) -> None:
        """Eight pages that may be coalesced; global ones in the upper half alone, which is one for all: else what a
        processor finds of another space depends on what it has evicted."""
        value = self.random.randrange(1 << 9) << 15 | P | US | RW | A | D
        value |= int(G) if self.random.random() < 0.3 * upper else 0
        for page in range(8):
            self.ram.write_u64(slot + page * 8, value + page * 0x1000)

    def _address(self) -> int:
        place = self.random.choice(PLACES)
        size = self.random.choice((0, 0, 0, 21, 30))
        return (place ^ (1 << size) if size else place) | self.random.randrange(24) << 12 | self.random.randrange(4096)

    def run(self, steps: int) -> dict[str, Any]:
        """Do what comes by chance, the same with each geometry; returns what is counted."""
        mmu, rand = self.mmu, self.random
        recent = [self._address() for _ in range(8)]
        for _ in range(steps):
            assert mmu.tlb is not None
            what = rand.random()
            if what < 0.95:
                if rand.random() < 0.1:
                    recent[rand.randrange(8)] = self._address()
                vaddr = rand.choice(recent) ^ rand.randrange(64)
                if mmu.tlb.access(vaddr, rand.choice([*Access])) == Status.PAGE_FAULT:
                    mmu.tlb.page_fault(vaddr, mmu.state.pcid)
            elif what < 0.96:
                space = rand.randrange(SPACES)  # which each has a PCID of its own
                mmu.load_cr3(self.roots[space] | space | rand.choice((0, int(CR3_NO_FLUSH))))
            elif what < 0.97:
                mmu.switch_to(rand.randrange(2))
                if not mmu.state.cr3:
                    mmu.load_cr3(self.roots[0])
            elif what < 0.98:
                slot, level, upper = rand.choice(self.leaves)
                if level == 1 and rand.random() < 0.3:
                    self._group(slot & ~63, upper)
                else:
                    self._leaf(slot, level, upper)
                if rand.random() < self.flushed:
                    for processor in range(2):
                        with mmu.on(processor):
                            mmu.flush()
            elif what < 0.985:
                mmu.tlb.page_fault(rand.choice(recent), mmu.state.pcid)
            elif what < 0.99:
                with mmu.on(rand.randrange(2)):
                    mmu.flush_range(rand.choice(recent), rand.choice((1, 0x3000, 1 << 20)))
            else:
                mmu.invpcid(rand.choice([*Invpcid]), rand.randrange(3), rand.choice(recent))
        models = mmu.tlbs
        return model_figures(models[0].geometry, models, perf_events(mmu))


@pytest.mark.parametrize("seed", range(by_default(1, 3)))
def test_every_model_counts_the_same_replayed(seed: int) -> None:
    geometries = [*(load_preset(name) for name in all_presets()), *ODD]
    world, batches = World(load_preset("textbook"), seed), list[Batch]()
    recorder = StreamRecorder(world.mmu, batches.append)
    steps = 1500
    world.run(steps)
    recorder.finish()
    assert {*np.concatenate([batch.pcid for batch in batches]).tolist()} == {0, 1, 2}
    assert {*np.concatenate([batch.shift for batch in batches]).tolist()} == {0, 12, 21, 30}
    for geometry, found in zip(geometries, _replayed(batches, geometries), strict=True):
        assert found == World(geometry, seed).run(steps), geometry.name


class Small(World):
    """Pages of 4K alone, and more of them in use."""

    def _leaf(self, slot: int, level: int, upper: int) -> None:
        if level == 1:
            super()._leaf(slot, level, upper)

    def _address(self) -> int:
        return self.random.choice(PLACES) | self.random.randrange(24) << 12 | self.random.randrange(4096)


def _two_levels(first: Replacement, second: Replacement, index_hash: IndexHash, pcids: int | None) -> Geometry:
    """One of few entries; large pages have arrays of their own, as in most processors."""
    return Geometry(
        f"{first.name}, {second.name}",
        (
            Array("I", 1, Kinds.FETCH, PageSizes.ALL, sets=1, ways=4, replacement=first),
            Array("D", 1, Kinds.DATA, PageSizes.K4, sets=2, ways=4, replacement=first, pcids=pcids),
            Array("D-2M", 1, Kinds.DATA, PageSizes.M2, sets=1, ways=2),
            Array("L2-1G", 2, Kinds.ALL, PageSizes.G1, sets=1, ways=2),
            Array("L2", 2, Kinds.ALL, PageSizes.K4 | PageSizes.M2, 4, 4, second, index_hash, pcids),
        ),
        {2: 1, 3: 4},
    )


SMALL = [
    _two_levels(Replacement.LRU, Replacement.LRU, IndexHash.XOR, None),
    _two_levels(Replacement.TREE_PLRU, Replacement.FIFO, IndexHash.LINEAR, 0),
    _two_levels(Replacement.FIFO, Replacement.TREE_PLRU, IndexHash.LINEAR, 2),
    Geometry(
        "coalesced, skewed",
        (
            Array("I", 1, Kinds.FETCH, PageSizes.ALL, sets=1, ways=4),
            Array("D", 1, Kinds.DATA, PageSizes.ALL, sets=1, ways=8, coalesce=4),
            Array("L2", 2, Kinds.ALL, PageSizes.ALL, 4, 4, Replacement.FIFO, IndexHash.SKEWED, coalesce=4),
        ),
        {2: 1, 3: 4},
    ),
]


@pytest.mark.parametrize("seed", range(2))
def test_pages_of_4k_alone_are_counted_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Natively and in Python; there the shortest way is seen to be taken, with each outcome."""
    world, batches = Small(load_preset("textbook"), seed), list[Batch]()
    recorder = StreamRecorder(world.mmu, batches.append)
    steps, geometries = 2500, [*SMALL, load_preset("skylake-sp"), load_preset("zen4")]
    world.run(steps)
    recorder.finish()
    counted = [Small(geometry, seed).run(steps) for geometry in geometries]
    assert _replayed(batches, geometries) == counted
    taken = Counter[tuple[int, str]]()

    def tell_all(state: MmuState) -> None:
        for small in (SmallPages * 3).from_address(state.small_pages):
            for name in ("found", "walked", "from_pdpte"):
                taken[small.counted, name] += getattr(small, name)
        small_pages.tell_all(state)

    monkeypatch.setattr("emu.lab.simulation.load", reference)
    monkeypatch.setattr("emu.lab.replay_loop.tell_all", tell_all)
    assert _replayed(batches, geometries) == counted
    assert len(taken) == 6 and min(taken.values()) > 20, taken


def _replayed(batches: list[Batch], geometries: list[Geometry]) -> list[dict[str, Any]]:
    simulation = Simulation(geometries, MEMORY)
    for batch in batches:
        simulation.add(batch)
    return simulation.figures()


class Unfit(World):
    """A large page becomes executable, of which no processor is told, since that only adds rights."""

    def run(self, steps: int) -> dict[str, Any]:
        mmu = self.mmu
        assert mmu.tlb is not None
        slot = next(slot for slot, level, _ in self.leaves if level == 2)
        page, (load, _, fetch) = PLACES[0] ^ 1 << 21, Access
        self.ram.write_u64(slot, 0x200000 | P | RW | US | PS | A | D | XD)
        mmu.tlb.access(page, load)
        self.ram.write_u64(slot, 0x200000 | P | RW | US | PS | A | D)
        for vaddr, access in ((page, load), (page + 0x5000, fetch), *[(page, load)] * steps):
            mmu.tlb.access(vaddr, access)
        return model_figures(mmu.tlb.geometry, mmu.tlbs, perf_events(mmu))


@pytest.mark.parametrize("name", ["skylake-sp", "alder-lake-p"])
def test_a_fetch_drops_a_large_page_that_loads_use(name: str) -> None:
    """In the midst of loads of another part of that page, which miss the first level then."""
    world, batches = Unfit(load_preset("textbook"), 1), list[Batch]()
    recorder = StreamRecorder(world.mmu, batches.append)
    world.run(3)
    recorder.finish()
    counted = Unfit(load_preset(name), 1).run(3)
    assert _replayed(batches, [load_preset(name)]) == [counted] and counted["perf"]["DTLB_LOAD_MISSES.STLB_HIT"] == 1


def test_a_replay_in_python_counts_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    world, batches = World(load_preset("textbook"), 7), list[Batch]()
    recorder = StreamRecorder(world.mmu, batches.append)
    world.run(400)
    recorder.finish()
    found = []
    for loaded in (objectcode.load, reference):
        monkeypatch.setattr("emu.lab.simulation.load", loaded)
        found.append(_replayed(batches, [load_preset("zen4"), *ODD]))
    assert found[0] == found[1] and found[0][0]["perf"]["dTLB-loads"] > 50


def reference(name: str) -> objectcode.Library:
    """The functions of a module as Python."""
    return objectcode._reference(importlib.import_module(name))


@pytest.mark.parametrize("name", ["textbook", "champsim", "zen5"])
def test_what_is_stale_is_replayed_as_it_was(name: str) -> None:
    """Whether an access faults depends on what the model still holds."""
    world, batches = World(load_preset(name), 4, flushed=0.3), list[Batch]()
    recorder = StreamRecorder(world.mmu, batches.append)
    counted = world.run(3000)
    recorder.finish()
    assert _replayed(batches, [load_preset(name)]) == [counted]
