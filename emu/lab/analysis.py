"""The analyses of a stream, each of which takes its batches and then tells what it has found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from emu.lab.batch import Batch, Op, Register, controls_of
from emu.lab.columns import Columns
from emu.lab.finding import Curve, Finding, Listing, Picture, percent
from emu.lab.huge_pages import PIECES, HugePages
from emu.lab.lru_stack import LruStack, MissCurve
from emu.lab.spaces import Spaces
from emu.lab.working_set import WorkingSet
from emu.trace.report.units import plural, size_text

#: Kinds of access that have a TLB to themselves in most processors, and the bits of their mmu.Access.
DATA, CODE = 0b011, 0b100
KIND_NAMES = {DATA: "loads and stores", CODE: "fetches", DATA | CODE: "all accesses", 1: "loads", 2: "stores",
              CODE | 1: "loads and fetches", CODE | 2: "stores and fetches"}  # fmt: skip
#: Rows of a table, and points of a curve.
_ROWS, _POINTS = 20, 400


class Analysis(Protocol):
    """What every analysis does."""

    def take(self, batch: Batch, columns: Columns) -> None:
        """Take the accesses of a batch."""

    def finding(self) -> Finding:
        """What it has found so far."""


def analyse(batches: Iterable[Batch], analyses: Sequence[Analysis]) -> int:
    """Give every batch of a stream to each analysis; returns the number of accesses."""
    total = 0
    for batch in batches:
        columns = Columns.of(batch)
        for analysis in analyses:
            analysis.take(batch, columns)
        total += len(batch)
    return total


class _PerCpu:
    """The stacks of some kinds of access: for each vCPU one with and one without invalidations."""

    def __init__(self, kinds: int, faults: bool) -> None:
        self._kinds, self._faults = kinds, faults
        self.stacks: list[tuple[LruStack, LruStack]] = []

    def take(self, columns: Columns, vcpus: int, before: Batch) -> None:
        """Take accesses of that many vCPUs; ``before`` has what a vCPU that is new should know."""
        while len(self.stacks) < vcpus:
            vcpu = len(self.stacks)
            pair = [LruStack(self._kinds, vcpu, invalidations=each, faults=self._faults) for each in (True, False)]
            for stack in pair:
                stack.take(before)
            self.stacks.append((pair[0], pair[1]))
        for held, kept in self.stacks:
            held.take(columns)
            kept.take(columns)

    def curves(self) -> tuple[MissCurve, MissCurve]:
        """Of all vCPUs together, each with a TLB of its own: with and without invalidations."""
        nothing = MissCurve(np.zeros(0, np.uint64), 0, 0)
        return (
            sum((held.curve() for held, _ in self.stacks), nothing),
            sum((kept.curve() for _, kept in self.stacks), nothing),
        )


class Reuse:
    """Reuse distances of pages, and the misses of fully associative LRU TLBs of every size, by reason."""

    def __init__(self, kinds: Sequence[int] = (DATA, CODE), *, faults: bool = False) -> None:
        self._groups = {each: _PerCpu(each, faults) for each in kinds}
        self._cr4 = 0

    def take(self, batch: Batch, columns: Columns) -> None:
        """Take the accesses of a batch."""
        controls = batch.controls
        vcpus = 1 + max((int(each.max()) for each in (batch.vcpu, controls["vcpu"]) if len(each)), default=0)
        before = Batch.of(controls_of([(0, Op.REGISTER, 0, Register.CR4, self._cr4)]))
        for group in self._groups.values():
            group.take(columns, vcpus, before)
        written = controls["b"][(controls["op"] == Op.REGISTER) & (controls["a"] == Register.CR4)]
        if len(written):
            self._cr4 = int(written[-1])

    def finding(self) -> Finding:
        """Tables by size, and the curves."""
        listings, curves, figures = [], [], {}
        for kinds, group in self._groups.items():
            held, kept = group.curves()
            if not held.accesses:
                continue
            misses, without = held.misses(), kept.misses()
            sizes = _sizes(max(len(misses), len(without)))
            rows = []
            for size in sizes:
                missed, cold = _at(misses, size), kept.cold
                capacity = _at(without, size) - cold
                rows.append(
                    (f"{size:,}", f"{missed:,}", percent(missed, held.accesses), f"{cold:,}", f"{capacity:,}",
                     f"{missed - cold - capacity:,}")
                )  # fmt: skip
            name = KIND_NAMES[kinds]
            headers = ("entries", "misses", "of accesses", "cold", "capacity", "invalidation")
            listings.append(Listing(f"{name}: {held.accesses:,} accesses to {plural(held.cold, 'page', 'pages')}",
                                    headers, rows, words=0))  # fmt: skip
            curves.append(Curve(name, [(n, _at(misses, n) / held.accesses) for n in _steps(misses)]))
            used = np.flatnonzero(held.histogram)
            figures[name] = {
                "accesses": held.accesses,
                "pages": held.cold,
                "invalidated": held.invalidated,
                "distances": [[int(d), int(held.histogram[d])] for d in used],
                "misses": {str(size): _at(misses, size) for size in sizes},
            }
        remark = (
            "Of a fully associative LRU TLB of each size, one on each vCPU. A miss is cold the first time, for capacity"
            " where no invalidation would have mattered, and else for an invalidation."
        )
        picture = Picture("misses by the size of the TLB", "entries", "misses per access", curves, logarithmic=True)
        return Finding("reuse", "Reuse distances of pages", remark, listings, [picture], figures)


def _at(misses: np.ndarray, size: int) -> int:
    return int(misses[min(size, len(misses) - 1)])


def _sizes(length: int) -> list[int]:
    """Powers of two up to one that holds everything."""
    sizes = [1]
    while sizes[-1] < length - 1:
        sizes.append(sizes[-1] * 2)
    return sizes


def _steps(misses: np.ndarray) -> list[int]:
    """The sizes at which a curve is drawn: where it falls, if these are few."""
    falls = np.flatnonzero(np.diff(misses.astype(np.int64), prepend=misses[0] + 1 if len(misses) else 0))
    chosen = {1, len(misses) - 1, *(int(n) for n in falls if n)}
    if len(chosen) > _POINTS:
        chosen = {round(len(misses) ** (i / _POINTS)) for i in range(_POINTS + 1)}
    return sorted(n for n in chosen if 1 <= n < max(len(misses), 2))


class WorkingSets:
    """The working set over time."""

    def __init__(self, window: int, kinds: Sequence[int] = (DATA, CODE)) -> None:
        self._window = window
        self._sets = {each: WorkingSet(window, each) for each in kinds}

    def take(self, batch: Batch, columns: Columns) -> None:
        """Take the accesses of a batch."""
        for working_set in self._sets.values():
            working_set.take(columns)

    def finding(self) -> Finding:
        """A table of at most some rows, and the curve."""
        listings, curves, figures = [], [], {}
        for kinds, working_set in self._sets.items():
            pages, name = working_set.pages, KIND_NAMES[kinds]
            accesses, touched = working_set.unfinished
            figures[name] = {
                "window": self._window, "pages": pages.tolist(), "last": {"accesses": accesses, "pages": touched},
            }  # fmt: skip
            if not len(pages):
                if accesses:
                    row = (("0", f"{touched:,}", f"{touched:,}", f"{touched:,}"),)
                    listings.append(Listing(f"{name}: {accesses:,}, less than a window", _SET_HEADERS, row, words=0))
                continue
            per = -(-len(pages) // _ROWS)
            parts = [(i, pages[i : i + per]) for i in range(0, len(pages), per)]
            rows = [
                (f"{i * self._window:,}", f"{part.min():,}", f"{part.mean():,.1f}", f"{part.max():,}")
                for i, part in parts
            ]
            said = f"{name}: {plural(len(pages), 'window', 'windows')}, {pages.mean():,.1f} pages on average"
            listings.append(Listing(said, _SET_HEADERS, rows, words=0))
            step = -(-len(pages) // _POINTS)
            points = [(i * self._window, float(pages[i : i + step].mean())) for i in range(0, len(pages), step)]
            curves.append(Curve(name, points))
        remark = f"Pages that each window of {self._window:,} accesses touches."
        picture = Picture("working set over time", "accesses", "pages of a window", curves)
        return Finding("working-set", "Working set over time", remark, listings, [picture], figures)


_SET_HEADERS = ("from access", "least", "mean", "most")


class HugeCandidates:
    """What pages of 2 MiB and 1 GiB would save."""

    def __init__(self, entries: int, kinds: int = DATA, *, faults: bool = False) -> None:
        self._entries, self._kinds = entries, kinds
        self._sizes = {shift: HugePages(shift, entries, kinds, faults=faults) for shift in (21, 30)}
        self._spaces = Spaces()

    def take(self, batch: Batch, columns: Columns) -> None:
        """Take the accesses of a batch."""
        for huge in self._sizes.values():
            huge.take(columns)
        self._spaces.take(batch)

    def finding(self) -> Finding:
        """The ranges that would save most, and what large pages everywhere would."""
        listings, figures = [], {}
        for shift, huge in self._sizes.items():
            found, size = huge.candidates(), size_text(1 << shift)
            if not found:
                continue
            missed = huge.small.curve().misses_of(self._entries)
            everywhere = huge.large.curve().misses_of(self._entries)
            rows = [
                (
                    f"{one.vaddr:#x}", self._spaces.name(one.space), f"{one.pieces}", f"{one.accesses:,}",
                    f"{one.misses_small:,}", f"{one.misses_large:,}", f"{one.saved:,}",
                )
                for one in found[:_ROWS]
            ]  # fmt: skip
            said = f"pages of {size}: {missed:,} misses as it is, {everywhere:,} with such pages everywhere"
            if len(found) > len(rows):
                said += f" ({plural(len(found) - len(rows), 'more range is', 'more ranges are')} not listed)"
            used = f"pages used of {PIECES}" if shift == 21 else f"2 MiB used of {PIECES}"
            headers = ("from address", "process", used, "accesses", "misses", "then", "saved")
            listings.append(Listing(said, headers, rows, words=2))
            figures[size] = {
                "misses": missed,
                "misses_everywhere": everywhere,
                "ranges": [
                    {**one._asdict(), "vaddr": f"{one.vaddr:#x}", "pid": self._spaces.pid(one.space)} for one in found
                ],
            }
        remark = (
            f"A fully associative LRU TLB of {self._entries:,} entries; {KIND_NAMES[self._kinds]}. The ranges that save"
            " most come first; the fewer of their pages are used, the more memory a large page takes for that."
        )
        return Finding("huge", "What large pages would save", remark, listings, [], figures)
