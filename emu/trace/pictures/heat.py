"""Addresses over time: which of the regions of addresses that occur were used when."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from emu.linux.event_kind import printable
from emu.trace.pictures.charts import cut, draw_axis, draw_legend
from emu.trace.pictures.look import CSS, HEAT, SOFT, STRIP, WIDTH
from emu.trace.pictures.tally import Tally
from emu.trace.pictures.timeline import SLICES, slices_of
from emu.trace.report.svg import Drawing
from emu.trace.report.units import size_text

#: At most so many rows.
ROWS = 48
_LEFT, _ROOM, _ROW, _GAP = 190.0, 690.0, 14.0, 7.0
_NAMES = {"access": "accesses", "walk": "walks", "fill": "fills", "fault": "faults"}


class HeatMap(NamedTuple):
    """``counts`` by row and slice; a row is ``span`` bytes from its address on, and rows are in the order of unsigned
    addresses; ``names`` are the shared regions that lie there.
    """

    what: str
    span: int
    starts: tuple[int, ...]
    names: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    clock: int


def heat_map(tally: Tally) -> HeatMap:
    """The map of a trace: with as large rows as it takes that there are few."""
    kind, moments = tally.heated
    vaddr = moments.vaddr
    pages, where = np.unique(vaddr >> np.uint64(12), return_inverse=True)
    shift = 12
    while len(np.unique(pages >> np.uint64(shift - 12))) > ROWS:
        shift += 1
    rows, of_page = np.unique(pages >> np.uint64(shift - 12), return_inverse=True)
    place = of_page[where] * SLICES + slices_of(moments.clock, tally.clock) if len(vaddr) else np.zeros(0, np.int64)
    counts = np.bincount(place, minlength=len(rows) * SLICES).reshape(len(rows), SLICES)
    starts = tuple(row << shift for row in rows.tolist())
    names = tuple(_region(tally, start, start + (1 << shift)) for start in starts)
    return HeatMap(_NAMES[kind], 1 << shift, starts, names, counts, tally.clock)


def _region(tally: Tally, start: int, end: int) -> str:
    found = {name for (low, high), name in tally.regions.items() if low < end and start < high}
    return printable(", ".join(sorted(found)))


def limits(found: HeatMap) -> list[int]:
    """The least count of each colour: each is so many times the one before."""
    most = int(found.counts.max()) if found.counts.size else 1
    return [max(round(most ** (step / len(HEAT))), step + 1) if step else 1 for step in range(len(HEAT))]


def draw_heat(found: HeatMap) -> str:
    """An SVG, low addresses above."""
    gaps = sum(1 for before, start in zip(found.starts, found.starts[1:], strict=False) if start != before + found.span)
    height = 42 + _ROW * len(found.starts) + _GAP * gaps + 46
    title = f"{found.what} by address and time"
    drawing = Drawing(WIDTH, height, title, describe(found), css=CSS)
    least = limits(found)
    draw_legend(drawing, _LEFT, 10, [(f"{low:,} or more", style) for low, style in zip(least, HEAT, strict=True)])
    y, ys = 42.0, []
    for row, start in enumerate(found.starts):
        if row and start != found.starts[row - 1] + found.span:
            y += _GAP
        ys.append(y)
        drawing.cells([(_LEFT, y, _ROOM, _ROW - 1)], STRIP)
        drawing.text(_LEFT - 8, y + 11, f"{start:#x}", 11, anchor="end", mono=True)
        words = f"{int(found.counts[row].sum()):,}"
        drawing.text(_LEFT + _ROOM + 8, y + 11, words, 11, then=cut(found.names[row], 16), then_size=11)
        y += _ROW
    classes = np.searchsorted(np.array(least), found.counts, side="right") - 1
    for number, style in enumerate(HEAT):
        drawing.cells(_runs(classes == number, ys), style)
    draw_axis(drawing, _LEFT, _ROOM, y + 4, found.clock)
    drawing.text(8, y + 23, f"{size_text(found.span)} a row", 12, ink=SOFT, name="soft")
    return drawing.to_text()


def _runs(there: npt.NDArray[np.bool_], ys: list[float]) -> Iterator[tuple[float, float, float, float]]:
    for row, y in enumerate(ys):
        edges = np.flatnonzero(np.diff(there[row].astype(np.int8), prepend=0, append=0)).tolist()
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            x, width = _LEFT + _ROOM * start / SLICES, _ROOM * (end - start) / SLICES
            yield round(x, 2), y, round(width, 2), _ROW - 1


def describe(found: HeatMap) -> str:
    """Where most of it is, for who cannot see the picture."""
    if not found.starts:
        return "No event has an address."
    sums = found.counts.sum(axis=1)
    top = int(sums.argmax())
    return (
        f"{int(sums.sum()):,} {found.what} in {len(found.starts)} regions of {size_text(found.span)}, between"
        f" {found.starts[0]:#x} and {found.starts[-1] + found.span - 1:#x}; most of them, {int(sums[top]):,}, in the"
        f" one at {found.starts[top]:#x}."
    )


def rows_of(found: HeatMap) -> list[tuple[str, str, str, str, str]]:
    """Rows of a table: where a region begins, its count, when the first and the last was, and its name."""
    rows = []
    for row, start in enumerate(found.starts):
        used = np.flatnonzero(found.counts[row])
        first, last = int(used[0]), int(used[-1]) + 1
        edges = [slice * (found.clock + 1) // SLICES for slice in (first, last)]
        rows.append(
            (f"{start:#x}", f"{int(found.counts[row].sum()):,}", f"{edges[0]:,}", f"{edges[1] - 1:,}", found.names[row])
        )
    return rows
