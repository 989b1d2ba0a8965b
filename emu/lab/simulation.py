"""Replaying an access stream through TLB models, any number in one pass.

A model's page tables are those that the stream tells of: a memory of the model's own, in which its walks set A and D,
or one for all models where these are set from the start.
The models are those of exact mode (:mod:`mmu.model`), and count what they would have counted there.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from emu.lab.batch import CONTROL, Batch, Controls, Op, Register
from emu.lab.replay_loop import CONTROL_BYTES, RUN_BYTES, Replay
from emu.lab.stream_file import PageBatch
from mmu.events import EventRecord
from mmu.geometry import COALESCED, Geometry, Kinds, PageSizes
from mmu.memory import PAGE_SIZE, PhysicalMemory
from mmu.model import TlbModel
from mmu.model_figures import model_figures
from mmu.objectcode import load
from mmu.perf_events import events_of
from mmu.record import replace
from mmu.registers import Registers
from mmu.state import MmuState
from mmu.translation import load_registers

#: log2 of the bytes that one translation of pages of 4K covers, at most.
_MOST_COALESCED = (max(COALESCED) * PAGE_SIZE - 1).bit_length()
#: vCPUs are numbered by a byte.
_MOST_VCPUS = 256
_FIELD = {
    Register.CR0: "cr0", Register.CR4: "cr4", Register.EFER: "efer", Register.PKRU: "pkru", Register.CPL: "cpl",
    Register.MAXPHYADDR: "maxphyaddr",
}  # fmt: skip
assert CONTROL.itemsize == CONTROL_BYTES

Runs = npt.NDArray[np.uint64]


class _Gathered:
    """The runs of a batch, which are made when a model asks for them."""

    def __init__(self, batch: Batch | PageBatch, spare: dict[int | None, Runs]) -> None:
        """``spare``: memory for runs, which earlier batches have used: to take new memory from the host costs more than
        to fill it."""
        self.batch = batch
        self._spare = spare
        #: log2 of the sizes of pages, as far as they are known.
        self.shifts: tuple[int, ...]
        self._pages = None
        if isinstance(batch, Batch):
            self._at, self._kinds = np.ascontiguousarray(batch.vaddr), np.ascontiguousarray(batch.kind)
            self.shifts = _values_of(batch.shift)
        else:
            self._pages = np.ascontiguousarray(batch.pages)
            self._at, self._kinds = np.ascontiguousarray(batch.page), np.ascontiguousarray(batch.access)
            sizes = int(np.bitwise_or.reduce(batch.access, initial=0)) >> 2
            self.shifts = tuple(12 + 9 * size for size in range(3) if sizes >> size & 1)
        #: The highest number of a vCPU that a control names, and which controls are those of a register.
        self.last_vcpu = int(batch.controls["vcpu"].max(initial=0))
        self.registers: list[int] = np.flatnonzero(batch.controls["op"] == Op.REGISTER).tolist()
        self._made: dict[int | None, tuple[Runs, int, Controls]] = {}

    def runs(self, apart: int | None) -> tuple[Runs, int, Controls]:
        """The runs, how many they are, and the controls between them; None: a run for each access."""
        if apart not in self._made:
            library, batch = load("emu.lab.replay_loop"), self.batch
            runs = self._spare.get(apart)
            if runs is None or len(runs) < len(batch) + 1:
                runs = self._spare[apart] = np.empty((len(batch) + 1, RUN_BYTES // 8), np.uint64)
            controls = batch.controls.copy()
            pages = 0 if self._pages is None else self._pages.ctypes.data
            given = (pages, self._at.ctypes.data, self._kinds.ctypes.data, len(batch))
            if apart is None:
                library["single_runs"](*given, runs.ctypes.data)
                made = len(batch)
            else:
                near = max((_MOST_COALESCED, *self.shifts))
                made = library["gather"](*given, controls.ctypes.data, len(controls), runs.ctypes.data, apart, near)
            self._made[apart] = runs, int(made), controls
        return self._made[apart]


def _values_of(shift: npt.NDArray[np.uint8]) -> tuple[int, ...]:
    """Which values there are: most often one for all."""
    if len(shift) and (shift == shift[0]).all():
        return (int(shift[0]),)
    return tuple(np.flatnonzero(np.bincount(shift)).tolist())


def gathered(batch: Batch | PageBatch) -> _Gathered:
    """The runs of a batch."""
    return _Gathered(batch, {})


def has_own_tables(geometry: Geometry) -> bool:
    """Whether a model cannot share tables with others, since it sees entries before the access they are made for."""
    return geometry.prefetch_next or any(array.coalesce > 1 for array in geometry.arrays)


class Simulated:
    """A geometry that a stream goes through: a model for each vCPU that appears."""

    def __init__(
        self, geometry: Geometry, memory_bytes: int, seed: int = 0, tables: PhysicalMemory | None = None
    ) -> None:
        """``memory_bytes``: as much as the machine had where the page tables are; ``seed``: as that of the run;
        ``tables``: see :class:`Simulation`."""
        self.geometry = geometry
        self._seed = seed
        if tables is None or has_own_tables(geometry):
            tables = PhysicalMemory(memory_bytes, huge_pages=False)
        self._ram = tables
        self._states: list[MmuState] = []
        self._models: list[TlbModel] = []
        self._addresses = np.zeros(_MOST_VCPUS, np.uint64)
        self.native = Replay(states=self._addresses.ctypes.data)
        self._registers = Registers(cr3=0)
        #: Walks leave a record here, which nobody reads.
        self._event = EventRecord()
        first = [array for array in geometry.arrays if array.level == 1]
        shared = any(array.kinds & Kinds.FETCH and array.kinds & Kinds.DATA for array in first)
        #: Whether fetches have level 1 for themselves, and nothing but what enters level 1 makes an entry leave it.
        self._apart = 0 if shared or geometry.inclusive else 1
        #: By log2 of a page's size: whether an access that has found such a page finds it in level 1 next.
        #: In two dimensions it is found in pieces as small as the pages of the second one.
        most = 2 if geometry.nested is None else geometry.nested.page_level - 1
        self._keeps = {0: True, **{12 + 9 * at: self._keeps_pages(PageSizes(1 << min(at, most))) for at in range(3)}}
        self.vcpu(0)

    def _keeps_pages(self, size: PageSizes) -> bool:
        if self.geometry.smash_1g and size == PageSizes.G1:
            return self._keeps_pages(PageSizes.M2) and self._holds(PageSizes.G1) in (Kinds(0), Kinds.ALL)
        return self._holds(size) == Kinds.ALL

    def _holds(self, size: PageSizes) -> Kinds:
        """The kinds of access for which level 1 holds pages of a size."""
        found = Kinds(0)
        for array in self.geometry.arrays:
            if array.level == 1 and array.page_sizes & size:
                found |= array.kinds
        return found

    def vcpu(self, number: int) -> TlbModel:
        """The model of a vCPU, and of those below it."""
        while len(self._models) <= number:
            state, vcpu = MmuState(), len(self._models)
            state.ram, state.ram_bytes, state.cpu = self._ram.host, self._ram.size, vcpu
            state.ring, state.ring_capacity = ctypes.addressof(self._event), 1
            load_registers(state, self._registers)
            self._states.append(state)
            self._models.append(TlbModel(state, self.geometry, self._seed + vcpu))
            self._addresses[vcpu] = ctypes.addressof(state)
        return self._models[number]

    def replay(self, gathered: _Gathered) -> None:
        """The next batch."""
        keeps = all(self._keeps.get(shift, False) for shift in gathered.shifts)
        self._go(load("emu.lab.replay_loop")["replay"], gathered, self._apart if keeps else None)

    def _go(self, native: Any, gathered: _Gathered, apart: int | None, *more: int) -> None:
        """Have native code go through the runs of a batch, and set registers between them; ``more``: what else it is
        given."""
        self.vcpu(gathered.last_vcpu)
        runs, number, controls = gathered.runs(apart)
        first, begin = 0, 0
        for stop in (*gathered.registers, len(controls)):
            end = int(controls["at"][stop]) if stop < len(controls) else number
            at, last = (controls.ctypes.data + CONTROL_BYTES * each for each in (first, stop))
            native(ctypes.addressof(self.native), runs.ctypes.data, begin, end, at, last, *more)
            if stop < len(controls):
                self.set_register(Register(int(controls["a"][stop])), int(controls["b"][stop]))
            first, begin = stop + 1, end

    def set_register(self, register: Register, value: int) -> None:
        """A register other than CR3 has a new value, on every vCPU."""
        changed: dict[str, Any] = {_FIELD[register]: value}
        self._registers = replace(self._registers, **changed)
        for state in self._states:
            cr3 = state.cr3
            load_registers(state, self._registers)
            state.cr3 = cr3

    def figures(self) -> dict[str, Any]:
        """What was counted, as in the output of --json."""
        each = [events_of(model, state.walk_loads) for model, state in zip(self._models, self._states, strict=True)]
        perf = {name: sum(events[name] for events in each) for name in each[0]}
        return model_figures(self.geometry, self._models, perf)


class Simulation:
    """Several geometries that a stream goes through in one pass."""

    def __init__(
        self, geometries: Sequence[Geometry], memory_bytes: int, seed: int = 0, tables: PhysicalMemory | None = None
    ) -> None:
        """``memory_bytes``: as much as the machine had where the page tables are.  ``tables``: those, with A and D set
        in each entry, so that walks change nothing, and one memory does for all models."""
        self.models = [Simulated(geometry, memory_bytes, seed, tables) for geometry in geometries]
        self._spare: dict[int | None, Runs] = {}
        #: The accesses so far.
        self.accesses = 0

    def add(self, batch: Batch | PageBatch) -> None:
        """The next batch."""
        gathered = _Gathered(batch, self._spare)
        for model in self.models:
            model.replay(gathered)
        self.accesses += len(batch)

    def figures(self) -> list[dict[str, Any]]:
        """What each has counted."""
        return [model.figures() for model in self.models]


def parted(batches: Iterator[Batch | PageBatch], at: int) -> Iterator[Batch | PageBatch]:
    """The same accesses, in batches of which one ends behind the first ``at`` accesses, if there are so many."""
    for batch in batches:
        if 0 < at < len(batch):
            yield batch.part(0, at)
            yield batch.part(at, len(batch))
        else:
            yield batch
        at -= len(batch)


def less(now: Any, before: Any) -> Any:
    """Nested counters, by how much they have grown."""
    if isinstance(now, dict):
        counted = {name for name in now if name in before and name != "page_size"}
        return {name: less(value, before[name]) if name in counted else value for name, value in now.items()}
    return now - before if isinstance(now, int) else now
