"""Walks, misses and faults over time, process by process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from emu.linux.event_kind import printable
from emu.trace.pictures.charts import cut, draw_axis, draw_legend
from emu.trace.pictures.look import CSS, FAULTS, MISSES, SOFT, STRIP, WALKS, WIDTH
from emu.trace.pictures.tally import Moments, Tally
from emu.trace.report.svg import Drawing, Style
from emu.trace.report.units import plural

#: Slices of time in the picture, and how many of them are a row of the table.
SLICES, COARSE = 160, 8
#: Processes that have a line of their own.
_MOST = 12
_LEFT, _ROOM, _STRIP, _GAP, _BETWEEN = 190.0, 690.0, 28.0, 3.0, 14.0


class Measure(NamedTuple):
    """What is shown over time: several, and one."""

    name: str
    one: str
    moments: Moments
    style: Style


class Line(NamedTuple):
    """A process, or several that there is no room for: by measure, counts by slice."""

    label: str
    program: str
    counts: tuple[npt.NDArray[np.int64], ...]


class Timelines(NamedTuple):
    """All lines, and what is in them."""

    measures: tuple[Measure, ...]
    lines: tuple[Line, ...]
    clock: int

    def edge(self, slice: int) -> int:
        """Where a slice begins, in instructions."""
        return slice * (self.clock + 1) // SLICES


def timelines(tally: Tally) -> Timelines:
    """The lines of a trace, of the processes with the most of it."""
    measures = [Measure("walks", "walk", tally.walks, WALKS), Measure("faults", "fault", tally.faults, FAULTS)]
    if tally.kinds["access"]:
        measures.insert(1, Measure("TLB misses", "TLB miss", tally.misses, MISSES))
    pids = tally.pids
    index = np.array(pids, np.uint32)
    counts = [_counts(measure.moments, index, tally.clock) for measure in measures]
    busy = sorted(range(len(pids)), key=lambda i: (-sum(int(of[i].sum()) for of in counts), pids[i]))
    shown = sorted(busy[:_MOST]) if len(pids) > _MOST + 1 else list(range(len(pids)))
    lines = [Line(f"process {pids[i]}", tally.functions.path_of(pids[i]), tuple(of[i] for of in counts)) for i in shown]
    if rest := sorted(set(range(len(pids))) - set(shown)):
        lines.append(Line(f"{len(rest):,} more processes", "", tuple(of[rest].sum(axis=0) for of in counts)))
    return Timelines(tuple(measures), tuple(lines), tally.clock)


def slices_of(clock: npt.NDArray[np.uint64], last: int) -> npt.NDArray[np.int64]:
    """The slice of each moment."""
    edges = np.array([slice * (last + 1) // SLICES for slice in range(SLICES)], np.uint64)
    return np.searchsorted(edges, clock, side="right").astype(np.int64) - 1


def _counts(moments: Moments, pids: npt.NDArray[np.uint32], last: int) -> npt.NDArray[np.int64]:
    """By process and slice; what belongs to no process is left out."""
    of = moments.pid
    known = of != 0
    place = np.searchsorted(pids, of[known]) * SLICES + slices_of(moments.clock[known], last)
    return np.bincount(place, minlength=len(pids) * SLICES).reshape(len(pids), SLICES)


def draw_timelines(found: Timelines) -> str:
    """An SVG: a strip a measure, to one scale over all processes."""
    measures = found.measures
    panel = len(measures) * (_STRIP + _GAP) + _BETWEEN
    title = f"{_listed([measure.name for measure in measures])} over time"
    drawing = Drawing(WIDTH, 40 + panel * len(found.lines) + 46, title, describe(found), css=CSS)
    draw_legend(drawing, _LEFT, 10, [(measure.name, measure.style) for measure in measures])
    most = [max((int(line.counts[m].max()) for line in found.lines), default=0) or 1 for m in range(len(measures))]
    y = 40.0
    for line in found.lines:
        drawing.text(8, y + 17, line.label, 14, bold=True)
        drawing.text(8, y + 35, cut(printable(line.program), 24), 12, ink=SOFT, name="soft")
        for number, measure in enumerate(measures):
            drawing.cells([(_LEFT, y, _ROOM, _STRIP)], STRIP)
            drawing.cells(_bars(line.counts[number], most[number], y), measure.style)
            words = plural(int(line.counts[number].sum()), measure.one, measure.name)
            drawing.text(_LEFT + _ROOM + 8, y + 18, words, 12)
            y += _STRIP + _GAP
        y += _BETWEEN
    draw_axis(drawing, _LEFT, _ROOM, y, found.clock)
    return drawing.to_text()


def _bars(counts: npt.NDArray[np.int64], most: int, y: float) -> list[tuple[float, float, float, float]]:
    """Slices of equal height side by side are one."""
    found: list[tuple[float, float, float, float]] = []
    start = 0
    heights = [round(max(_STRIP * count / most, 1.5), 1) if count else 0.0 for count in counts.tolist()]
    for slice in range(1, SLICES + 1):
        if slice == SLICES or heights[slice] != heights[start]:
            if heights[start]:
                x, width = _LEFT + _ROOM * start / SLICES, _ROOM * (slice - start) / SLICES
                found.append((round(x, 2), round(y + _STRIP - heights[start], 1), round(width, 2), heights[start]))
            start = slice
    return found


def describe(found: Timelines) -> str:
    """When most of each measure was, for who cannot see the picture."""
    told = []
    for number, measure in enumerate(found.measures):
        sums = sum((line.counts[number] for line in found.lines), np.zeros(SLICES, np.int64))
        if not sums.any():
            told.append(f"There are no {measure.name}.")
            continue
        top = int(sums.argmax())
        told.append(
            f"Most {measure.name} in a slice of time: {int(sums[top]):,} of {int(sums.sum()):,}, between the"
            f" instructions {found.edge(top):,} and {found.edge(top + 1):,}."
        )
    return " ".join(told)


def rows_of(found: Timelines) -> tuple[list[str], list[list[str]]]:
    """Headers and rows of a table: some slices together, measures by process."""
    headers = ["from instruction"]
    headers += [f"{line.label}: {measure.name}" for line in found.lines for measure in found.measures]
    rows = []
    for slice in range(0, SLICES, COARSE):
        numbers = [int(counts[slice : slice + COARSE].sum()) for line in found.lines for counts in line.counts]
        rows.append([f"{found.edge(slice):,}", *(f"{number:,}" for number in numbers)])
    return headers, rows


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
