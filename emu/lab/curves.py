"""Curves in a frame with axes, as SVG that is dark where the page is."""

from __future__ import annotations

import math
from collections.abc import Sequence

from emu.lab.finding import Curve, Picture
from emu.trace.pictures.charts import cut
from emu.trace.pictures.look import CSS, SOFT, WIDTH
from emu.trace.report.svg import Drawing, Style

_LEFT, _TOP, _ROOM, _HEIGHT = 110.0, 46.0, 670.0, 300.0
#: Letters can be read where a page shows the picture in 640 pixels.
_SIZE = 19
#: Curves in one frame; they differ in lightness, and each has its name at its end.  The later ones have gaps, in which
#: an earlier one shows where both have the same values.
INKS = ("#1f4e8c", "#b7791f", "#9b1c1c", "#5a9bd4", "#5f7d1f", "#7a4b9b", "#333333", "#c98aa6")
_DARK = ("#8fc1f7", "#e0ae5a", "#f08a7f", "#4f8fd0", "#b5d36a", "#cda2e8", "#dddddd", "#efb7cd")
_DASHES = ("", "12 6", "8 8", "12 4 3 4", "8 3", "2 4", "18 6", "6 3 2 3")
MOST = len(INKS)
#: Letters of a name that have room.
_NAME = 22
_STYLE = CSS + "@media (prefers-color-scheme: dark) {{ svg .grid {{ stroke: #323a46 }} {} }}\n".format(
    " ".join(f"svg .k{i} {{ stroke: {ink} }} svg .k{i}-text {{ fill: {ink} }}" for i, ink in enumerate(_DARK))
)


def draw_curves(picture: Picture) -> str:
    """The picture; at most MOST curves are drawn, and the description has the names of all."""
    curves = [curve for curve in picture.curves if curve.points][:MOST]
    across = _Axis([x for curve in curves for x, _ in curve.points], _ROOM, picture.logarithmic)
    up = _Axis([0.0, *(y for curve in curves for _, y in curve.points)], _HEIGHT, False)
    told = f"{picture.up} against {picture.across}: " + "; ".join(map(_told, curves))
    drawing = Drawing(WIDTH, _TOP + _HEIGHT + 68, picture.title, told, css=_STYLE)
    bottom = _TOP + _HEIGHT
    for value, at in up.ticks():
        drawing.line([(_LEFT, bottom - at), (_LEFT + _ROOM, bottom - at)], ink="#d5d9e0", name="grid")
        drawing.text(_LEFT - 8, bottom - at + 6, number_text(value), _SIZE, anchor="end", ink=SOFT, name="soft")
    drawing.line([(_LEFT, _TOP), (_LEFT, bottom), (_LEFT + _ROOM, bottom)], name="axis")
    marks = [(across.at(value), name) for value, name in picture.marks]
    text_of = power_text if picture.logarithmic else number_text
    for at, name in marks or [(at, text_of(value)) for value, at in across.ticks()]:
        drawing.line([(_LEFT + at, bottom), (_LEFT + at, bottom + 5)], name="axis")
        anchor = "end" if at > _ROOM - 20 else "middle"
        drawing.text(_LEFT + at, bottom + 24, name, _SIZE, anchor=anchor, ink=SOFT, name="soft")
    drawing.text(_LEFT + _ROOM, bottom + 50, picture.across, _SIZE, anchor="end", ink=SOFT, name="soft")
    drawing.text(_LEFT - 8, _TOP - 18, picture.up, _SIZE, ink=SOFT, name="soft")
    ends = _apart([bottom - up.at(curve.points[-1][1]) for curve in curves])
    for number, (curve, end) in enumerate(zip(curves, ends, strict=True)):
        points = [(_LEFT + across.at(x), bottom - up.at(y)) for x, y in curve.points]
        if len(points) > 1:
            drawing.line(points, ink=INKS[number], width=2, dash=_DASHES[number], name=f"k{number}")
        for x, y in points if len(points) <= 40 else ():
            drawing.box(x - 2.5, y - 2.5, 5, 5, Style(fill=INKS[number], stroke=INKS[number], name=f"k{number}"))
        drawing.text(
            _LEFT + _ROOM + 10, end + 6, cut(curve.name, _NAME), _SIZE, ink=INKS[number], name=f"k{number}-text"
        )  # fmt: skip
    return drawing.to_text()


def _told(curve: Curve) -> str:
    (_, first), (_, last) = curve.points[0], curve.points[-1]
    return f"{curve.name} goes from {number_text(first)} to {number_text(last)}"


def _apart(ends: Sequence[float]) -> list[float]:
    """Where names of curves stand, so that none is on another."""
    placed = list(ends)
    below = -math.inf
    for number in sorted(range(len(ends)), key=lambda number: ends[number]):
        below = placed[number] = max(ends[number], below + 22)
    return placed


def number_text(value: float) -> str:
    """A number at an axis."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"


def power_text(value: float) -> str:
    """A power of two at an axis.

    >>> [power_text(value) for value in (1, 1024, 1 << 16, 1 << 21)]
    ['1', '1,024', '64Ki', '2Mi']
    """
    for unit, size in (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)):
        if value >= 10 * size or (value >= size and size > 1 << 10):
            return f"{value / size:,.0f}{unit}"
    return f"{value:,.0f}"


class _Axis:
    """Where values are along an axis of some length."""

    def __init__(self, values: Sequence[float], length: float, logarithmic: bool) -> None:
        self._logarithmic, self._length = logarithmic, length
        scaled = [self._scaled(value) for value in values] or [0.0]
        self._least, self._most = min(scaled), max(scaled)
        if self._least == self._most:
            self._most += 1

    def _scaled(self, value: float) -> float:
        return math.log2(max(value, 1)) if self._logarithmic else value

    def at(self, value: float) -> float:
        """Where a value is."""
        return self._length * (self._scaled(value) - self._least) / (self._most - self._least)

    def ticks(self) -> list[tuple[float, float]]:
        """Round values, and where they are."""
        room = self._most - self._least
        if self._logarithmic:
            step = max(1, math.ceil(room / 10))
            values = [2.0**n for n in range(math.ceil(self._least), math.floor(self._most) + 1, step)]
        else:
            step = 10 ** math.floor(math.log10(room / 4))
            step *= next(factor for factor in (1, 2, 5, 10) if room / (step * factor) <= 6)
            values = [n * step for n in range(math.ceil(self._least / step), math.floor(self._most / step) + 1)]
        return [(value, self.at(value)) for value in values]
