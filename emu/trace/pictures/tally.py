"""Everything that the pictures show, counted in one pass over a trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from emu.trace.opened import Trace
from emu.trace.pictures.knowledge import Knowledge
from emu.trace.pictures.programs import Functions
from emu.trace.pictures.rows import COLUMNS, Rows
from emu.trace.reader import TraceError
from emu.trace.stat.programs import Programs

#: Kinds of events that have an address, the best for a heat map first.
HEATED = ("access", "walk", "fill", "fault")


class Shootdowns:
    """What shootdowns cost, by reason, and who told whom how often."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self.sender_cycles: Counter[str] = Counter()
        self.cost_cycles: Counter[str] = Counter()
        self.pages: Counter[str] = Counter()
        #: Those that invalidate everything.
        self.everything: Counter[str] = Counter()
        self.told: Counter[tuple[int, int]] = Counter()
        self.not_told = 0

    def add(self, fields: dict[str, Any]) -> None:
        """Count one."""
        reason = fields["reason"]
        self.count[reason] += 1
        self.sender_cycles[reason] += fields["sender_cycles"]
        self.cost_cycles[reason] += fields["cost_cycles"]
        self.pages[reason] += fields["pages"] or 0
        self.everything[reason] += fields["pages"] is None
        self.told.update((fields["sender"], receiver) for receiver in fields["receivers"])
        self.not_told += len(fields["not_told"])


class Moments:
    """When and where something happened, event by event."""

    def __init__(self) -> None:
        self._parts: list[tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint32], npt.NDArray[np.uint64]]] = []

    def add(self, rows: Rows, places: npt.NDArray[np.intp], *, addresses: bool) -> None:
        """These events; the addresses are kept where the pictures need them."""
        if len(places):
            vaddr = rows["vaddr"][places] if addresses else np.zeros(0, np.uint64)
            self._parts.append((rows["clock"][places], rows["pid"][places], vaddr))

    @property
    def clock(self) -> npt.NDArray[np.uint64]:
        """What had been retired at each."""
        return np.concatenate([np.zeros(0, np.uint64), *(part[0] for part in self._parts)])

    @property
    def pid(self) -> npt.NDArray[np.uint32]:
        """The process of each."""
        return np.concatenate([np.zeros(0, np.uint32), *(part[1] for part in self._parts)])

    @property
    def vaddr(self) -> npt.NDArray[np.uint64]:
        """The address of each, where they are kept."""
        return np.concatenate([np.zeros(0, np.uint64), *(part[2] for part in self._parts)])


class Tally:
    """The counts of a trace.

    ``walks``, ``misses`` and ``faults`` are moments; ``misses`` are accesses that no TLB answered, which only a trace
    with accesses has.
    """

    def __init__(self, trace: Trace, programs: Programs) -> None:
        self.header = trace.header
        self.levels = trace.levels
        self.complete = False
        self.kinds: Counter[str] = Counter()
        self.by_pid: Counter[tuple[int, str]] = Counter()
        self.events = self.clock = self.time = 0
        #: The number of the last event: some may have been left out.
        self.last = -1
        self.walks, self.misses, self.faults = Moments(), Moments(), Moments()
        self.heat = {kind: Moments() for kind in HEATED}
        #: (level of the cached entry or 0, level of the last entry that was read, size of the page or 0)
        self.answers: Counter[tuple[int, int, int]] = Counter()
        self.tlb_levels: Counter[int] = Counter()
        #: (process, the one that had the page put into the shared table), of walks that read a shared table.
        self.shared_walks: Counter[int] = Counter()
        self.first_pids: Counter[tuple[int, int]] = Counter()
        self.resolved: Counter[tuple[int, str]] = Counter()
        self.shootdowns = Shootdowns()
        self.functions = Functions(programs)
        self.knowledge = Knowledge(trace.levels)
        self.regions: dict[tuple[int, int], str] = {}

    def add(self, rows: Rows) -> None:
        """Count a batch."""
        if not rows.count:
            return
        self.events += rows.count
        self.kinds.update(rows.kinds)
        self.clock, self.time = max(self.clock, int(rows["clock"][-1])), max(self.time, int(rows["time"][-1]))
        self.last = int(rows["seq"][-1])
        self.complete = "end" in self.kinds
        self._processes(rows)
        walks, faults = rows.of("walk"), rows.of("fault")
        misses = self._accesses(rows)
        for moments, places in ((self.walks, walks), (self.misses, misses), (self.faults, faults)):
            moments.add(rows, places, addresses=False)
        self._heat(rows)
        self._walks(rows, walks)
        self._faults(rows, faults)
        for _, fields in rows.fields("shootdown"):
            self.shootdowns.add(fields)
        for _, fields in rows.fields("link"):
            start = fields["vaddr"]
            self.regions[start, start + fields["length"]] = fields["region"]
        self.functions.add(rows, (walks, misses, faults))
        self.knowledge.add(rows)

    def _processes(self, rows: Rows) -> None:
        kinds, names = rows.words("event")
        packed = rows["pid"].astype(np.uint64) << np.uint64(8) | kinds.astype(np.uint64)
        for one, count in _counted(packed):
            self.by_pid[one >> 8, names[one & 0xFF]] += count

    def _heat(self, rows: Rows) -> None:
        """Only the best kind is kept."""
        best = next((kind for kind in HEATED if self.kinds[kind]), None)
        for kind in list(self.heat):
            if best is not None and HEATED.index(kind) > HEATED.index(best):
                del self.heat[kind]
        for kind, moments in self.heat.items():
            moments.add(rows, rows.of(kind), addresses=True)

    def _accesses(self, rows: Rows) -> npt.NDArray[np.intp]:
        """Those that no TLB answered."""
        accesses = rows.of("access")
        if not len(accesses):
            return accesses
        levels = rows["tlb_level"][accesses]
        self.tlb_levels.update(dict(enumerate(np.bincount(levels, minlength=3).tolist())))
        missed: npt.NDArray[np.intp] = accesses[levels == 0]
        return missed

    def _walks(self, rows: Rows, walks: npt.NDArray[np.intp]) -> None:
        if not len(walks):
            return
        parts = [rows[name][walks].astype(np.uint64) for name in ("cached_level", "level", "page_size")]
        packed = parts[0] << np.uint64(40) | parts[1] << np.uint64(32) | parts[2]
        for one, count in _counted(packed):
            cached, level, size = one >> 40, one >> 32 & 0xFF, one & 0xFFFF_FFFF
            if not 1 <= level <= self.levels or cached > self.levels:
                raise TraceError(f"a walk has a level of {level} behind {cached}, and there are {self.levels}")
            self.answers[cached, level, size] += count
        shared = walks[rows["shared_level"][walks] != 0]
        for level, count in _counted(rows["shared_level"][shared]):
            self.shared_walks[level] += count
        shared = shared[rows["first_pid"][shared] != 0]
        both = rows["pid"][shared].astype(np.uint64) << np.uint64(32) | rows["first_pid"][shared].astype(np.uint64)
        for one, count in _counted(both):
            self.first_pids[one >> 32, one & 0xFFFF_FFFF] += count

    def _faults(self, rows: Rows, faults: npt.NDArray[np.intp]) -> None:
        if not len(faults):
            return
        numbers, names = rows.words("resolved")
        packed = rows["pid"][faults].astype(np.uint64) << np.uint64(8) | (numbers[faults] & 0xFF).astype(np.uint64)
        for one, count in _counted(packed):
            self.resolved[one >> 8, names[one & 0xFF] if one & 0xFF < len(names) else "unknown"] += count

    @property
    def pids(self) -> list[int]:
        """The processes, without 0, which is where there is none."""
        return sorted({pid for pid, _ in self.by_pid} - {0})

    @property
    def heated(self) -> tuple[str, Moments]:
        """What the heat map shows: the kind of the events, and their moments."""
        return next(((kind, found) for kind, found in self.heat.items() if self.kinds[kind]), ("walk", Moments()))


def _counted(values: npt.NDArray[Any]) -> list[tuple[int, int]]:
    found, counts = np.unique(values, return_counts=True)
    return [*zip(found.tolist(), counts.tolist(), strict=True)]


def tally(trace: Trace, programs: Programs, told: Callable[[int], object] = lambda done: None) -> Tally:
    """Count a trace; ``told`` is told how many events have been read.

    :class:`emu.trace.reader.TraceError` if an event cannot be one.
    """
    found = Tally(trace, programs)
    for batch in trace.tables(COLUMNS):
        try:
            found.add(Rows(batch, trace.schema))
        except TraceError as error:
            raise TraceError(f"{trace.path}: {error}") from None
        told(found.events)
    return found
