"""The groups by which events are counted: processes, functions, regions, sizes of pages, pairs that share."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from emu.trace.sentences import size
from emu.trace.stat.codes import KIND_SHIFT, Coder, Codes, numbers
from emu.trace.stat.counts import Counts
from emu.trace.stat.numbering import Numbering, combined
from emu.trace.stat.occurrences import Occurrences
from emu.trace.stat.programs import Function, Programs, executions
from emu.trace.stat.regions import Regions
from emu.trace.stat.tally import Tally

#: A group's label, which may have several parts.
Groups = list[tuple[tuple[Any, ...], Counts]]
Chosen = npt.NDArray[np.bool_] | None
_MASK_64 = (1 << 64) - 1
#: Of an address of code, and of the number of a page: so many low bits are counted, and what is above is numbered.
_LOW_RIP, _LOW_PAGE = np.uint64(24), np.uint64(27)
_ONE = np.uint64(1)
NO_REGION, UNKNOWN_REGION = "(in no region)", "(its link was not recorded)"


class Grouping(Protocol):
    """Is given all rows of a trace, and counts those that are chosen."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it needs."""

    def add(self, rows: pa.RecordBatch, codes: Codes, chosen: Chosen) -> None:
        """Some rows with their codes."""


def some_of(chosen: Chosen, *columns: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], ...]:
    if chosen is None:
        return columns
    places = np.flatnonzero(chosen)
    return columns if len(places) == len(chosen) else tuple(column[places] for column in columns)


def both(chosen: Chosen, more: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The rows that are in both."""
    return more if chosen is None else chosen & more


class ByProcess:
    """Events by process; and how many instructions each ran, where every turn of it was recorded."""

    columns = ("event", "pid", "tid", "clock", "other_tid", "detail")

    def __init__(self, coder: Coder, levels: int, within: tuple[int | None, int | None]) -> None:
        self._coder, self._levels = coder, levels
        self._begin, self._end = within[0] or 0, _MASK_64 if within[1] is None else within[1]
        self._tally = Tally("pid", "code")
        self._paths: dict[int, str] = {}
        self._running: int | None = None
        self._tid = np.uint32(0)
        self._since = self._last = 0
        #: Whether every switch says that the thread of the one before it ran until then.
        self._gapless = True
        #: Instructions by process; those that are known.
        self.instructions: Counter[int] = Counter()

    def add(self, rows: pa.RecordBatch, codes: Codes, chosen: Chosen) -> None:
        self._tally.add(*some_of(chosen, numbers(rows.column("pid")).astype(np.uint64), codes))
        for _, (pid, path, child, executed) in executions(rows):
            if executed:
                self._paths[pid] = path or ""
            elif path is not None:  # it ran before the recording: its program is mapped below all libraries
                self._paths.setdefault(pid, path)
            elif pid in self._paths:
                self._paths.setdefault(child, self._paths[pid])
        switches = np.flatnonzero(codes >> KIND_SHIFT == self._coder.kind("switch"))
        clock = np.clip(numbers(rows.column("clock")), np.uint64(self._begin), np.uint64(self._end))
        tids, befores = (numbers(rows.column(name))[switches] for name in ("tid", "other_tid"))
        self._gapless &= bool(np.all(np.append(self._tid, tids)[:-1] == befores))
        self._tid = tids[-1] if len(tids) else self._tid
        self._turns(numbers(rows.column("pid"))[switches].astype(np.uint64), clock[switches])
        self._last = int(clock[-1])

    def _turns(self, pids: npt.NDArray[np.uint64], clocks: npt.NDArray[np.uint64]) -> None:
        """These begin to run then."""
        if not len(pids):
            return
        if self._running is not None:
            self.instructions[self._running] += int(clocks[0]) - self._since
        found, at = np.unique(pids[:-1], return_inverse=True)
        ran = np.zeros(len(found), np.uint64)
        np.add.at(ran, at, np.diff(clocks))
        self.instructions.update(dict(zip(found.tolist(), ran.tolist(), strict=True)))
        self._running, self._since = int(pids[-1]), int(clocks[-1])

    @property
    def whole(self) -> bool:
        """Whether :attr:`instructions` is what each process ran: all its turns on one vCPU were recorded."""
        return self._gapless and bool(self.instructions)

    def groups(self) -> Groups:
        """A process and the program that it ran last."""
        if self._running is not None:
            self.instructions[self._running] += self._last - self._since
            self._since = self._last
        counts: defaultdict[int, Counts] = defaultdict(lambda: Counts(self._levels))
        for pid, code, number in self._tally.rows():
            counts[pid].add(self._coder.facts(code), number)
        return [((pid or "-", self._paths.get(pid, "")), found) for pid, found in counts.items()]


class ByFunction:
    """Events by program and function."""

    columns = Programs.COLUMNS

    def __init__(self, coder: Coder, levels: int, programs: Programs) -> None:
        self._coder, self._levels, self._programs = coder, levels, programs
        self._windows, self._rips = Numbering(), Occurrences()

    def add(self, rows: pa.RecordBatch, codes: Codes, chosen: Chosen) -> None:
        images = self._programs.images_of(rows)
        chosen = both(chosen, np.asarray(rows.column("pid").is_valid()))
        images, rips, codes = some_of(chosen, images, numbers(rows.column("rip")), codes)
        windows = self._windows.of(images, rips >> _LOW_RIP, codes)
        self._rips.add(windows << _LOW_RIP | rips & (_ONE << _LOW_RIP) - _ONE)

    def groups(self) -> Groups:
        """A function, and the file that it is in."""
        counts: defaultdict[Function, Counts] = defaultdict(lambda: Counts(self._levels))
        told = np.array(self._windows.values or [(0, 0, 0)], np.uint64)
        for keys, counted in self._rips.pieces():
            images, high, codes = told[(keys >> _LOW_RIP).astype(np.intp)].T
            rips = high << _LOW_RIP | keys & (_ONE << _LOW_RIP) - _ONE
            for image in np.unique(images).tolist():
                here = np.flatnonzero(images == image)
                functions, places = self._programs.functions(image, rips[here])
                rows, pairs = combined((places, codes[here]))
                sums = np.bincount(rows, weights=counted[here], minlength=len(pairs))
                for (place, code), number in zip(pairs, sums.tolist(), strict=True):
                    counts[functions[place]].add(self._coder.facts(code), int(number))
        return list(counts.items())


class ByRegion:
    """Events at an address by the region that the address is in."""

    columns = Regions.COLUMNS

    def __init__(self, coder: Coder, levels: int, regions: Regions) -> None:
        self._coder, self._levels, self._regions = coder, levels, regions
        self._tally = Tally("region", "code")

    def add(self, rows: pa.RecordBatch, codes: Codes, chosen: Chosen) -> None:
        regions = (self._regions.regions_of(rows) + 1).astype(np.uint64)
        chosen = both(chosen, np.asarray(rows.column("vaddr").is_valid()))
        self._tally.add(*some_of(chosen, regions, codes))

    def groups(self) -> Groups:
        """A region; walks through a shared table that nobody told of are apart."""
        names = [NO_REGION, *self._regions.names]
        counts: defaultdict[str, Counts] = defaultdict(lambda: Counts(self._levels))
        for region, code, number in self._tally.rows():
            facts = self._coder.facts(code)
            unknown = region == 0 and facts.event == "walk" and facts.shared_level
            counts[UNKNOWN_REGION if unknown else names[region]].add(facts, number)
        return [((name,), found) for name, found in counts.items()]


class ByPageSize:
    """Walks by the size of the page that they found."""

    columns: tuple[str, ...] = ()

    def __init__(self, coder: Coder, levels: int) -> None:
        self._coder, self._levels = coder, levels
        self._tally = Tally("code")

    def add(self, rows: pa.RecordBatch, codes: Codes, chosen: Chosen) -> None:
        self._tally.add(*some_of(both(chosen, codes >> KIND_SHIFT == self._coder.kind("walk")), codes))

    def groups(self) -> Groups:
        """The size in words."""
        counts: defaultdict[int, Counts] = defaultdict(lambda: Counts(self._levels))
        for code, number in self._tally.rows():
            facts = self._coder.facts(code)
            counts[facts.page_size].add(facts, number)
        return [((size(found) if found else "none: a fault",), counted) for found, counted in counts.items()]


class BySharing:
    """Walks through shared tables: who had the page put into the table, and who used it."""

    columns = ("first_pid", *Regions.COLUMNS)

    def __init__(self, coder: Coder, levels: int, regions: Regions) -> None:
        self._coder, self._levels, self._regions = coder, levels, regions
        self._who, self._windows, self._pages = Numbering(), Numbering(), Occurrences()
        #: By the number of who it is.
        self._counts = np.zeros(0, np.int64)

    def add(self, rows: pa.RecordBatch, codes: Codes, chosen: Chosen) -> None:
        regions = (self._regions.regions_of(rows) + 1).astype(np.uint64)
        shared = numbers(rows.column("shared_level")) != 0
        chosen = both(chosen, shared & (codes >> KIND_SHIFT == self._coder.kind("walk")))
        if not chosen.any():
            return
        first, pid = (numbers(rows.column(name)).astype(np.uint64) for name in ("first_pid", "pid"))
        vaddr = numbers(rows.column("vaddr"))
        regions, first, pid, vaddr, codes = some_of(chosen, regions, first, pid, vaddr, codes)
        who = self._who.of(regions, first, pid, codes)
        counts = np.bincount(who.astype(np.intp), minlength=len(self._who.values))
        counts[: len(self._counts)] += self._counts
        self._counts = counts
        page = vaddr >> np.uint64(12)
        windows = self._windows.of(regions, first, pid, page >> _LOW_PAGE)
        self._pages.add(windows << _LOW_PAGE | page & (_ONE << _LOW_PAGE) - _ONE)

    def groups(self) -> Groups:
        """The region; who was first, if that is known; who used it; how many pages of 4 KiB."""
        many: Counter[tuple[int, ...]] = Counter()
        for keys, _ in self._pages.pieces():
            windows, number = np.unique(keys >> _LOW_PAGE, return_counts=True)
            for window, pages in zip(windows.tolist(), number.tolist(), strict=True):
                many[self._windows.values[window][:3]] += pages
        names = [UNKNOWN_REGION, *self._regions.names]
        counts: defaultdict[tuple[int, ...], Counts] = defaultdict(lambda: Counts(self._levels))
        for (*who, code), count in zip(self._who.values, self._counts.tolist(), strict=True):
            counts[tuple(who)].add(self._coder.facts(code), count)
        return [((names[key[0]], key[1] or "?", key[2], many[key]), found) for key, found in counts.items()]
