"""Bars, and an axis of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from emu.trace.pictures.look import CSS, SOFT, WIDTH
from emu.trace.report.svg import Drawing, Style

_ROW, _GROUP = 24.0, 30.0
_LEFT, _ROOM = 330.0, 470.0
#: Characters of a label.
_LABEL = 42


class Bar(NamedTuple):
    """A bar: what it is, how long its parts are, and what stands behind it.  With no parts it is a heading."""

    label: str
    parts: tuple[tuple[float, Style], ...] = ()
    words: str = ""


def draw_bars(title: str, description: str, bars: Sequence[Bar], legend: Sequence[tuple[str, Style]] = ()) -> str:
    """An SVG of horizontal bars, all to one scale."""
    height = 12 + sum(_ROW if bar.parts else _GROUP for bar in bars) + (28 if legend else 0) + 8
    drawing = Drawing(WIDTH, height, title, description, css=CSS)
    y = 12.0
    if legend:
        draw_legend(drawing, _LEFT, y, legend)
        y += 28
    most = max((sum(value for value, _ in bar.parts) for bar in bars), default=0) or 1
    for bar in bars:
        if not bar.parts:
            drawing.text(8, y + 21, bar.label, 14, bold=True)
            y += _GROUP
            continue
        drawing.text(_LEFT - 10, y + 16, cut(bar.label, _LABEL), 13, anchor="end")
        at = _LEFT
        for value, style in bar.parts:
            width = _ROOM * value / most
            if value:
                drawing.cells([(round(at, 1), round(y + 3, 1), max(round(width, 1), 1.0), 17)], style)
            at += width
        drawing.text(at + 8, y + 16, bar.words, 13)
        y += _ROW
    return drawing.to_text()


def draw_legend(drawing: Drawing, x: float, y: float, legend: Sequence[tuple[str, Style]]) -> None:
    """What the colours mean, side by side."""
    for words, style in legend:
        drawing.cells([(x, y, 20, 13)], style)
        drawing.text(x + 27, y + 12, words, 13)
        x += 27 + 8 * len(words) + 26


def draw_axis(drawing: Drawing, left: float, room: float, y: float, clock: int) -> None:
    """Time: what all processes have retired."""
    drawing.line([(left, y), (left + room, y)], name="axis")
    for quarter in range(5):
        x = left + room * quarter / 4
        drawing.line([(x, y), (x, y + 5)], name="axis")
        anchor = "start" if quarter == 0 else "end" if quarter == 4 else "middle"
        drawing.text(x, y + 19, f"{clock * quarter // 4:,}", 12, anchor=anchor, ink=SOFT, name="soft")
    drawing.text(
        left + room, y + 36, "instructions that all processes have retired", 12, anchor="end", ink=SOFT, name="soft"
    )


def cut(text: str, most: int) -> str:
    """A text with its end cut off if it is longer."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def more(count: int) -> str:
    """What is said where so many are left out."""
    return f" ({count:,} more are not listed)" if count > 0 else ""


def share(part: int, whole: int) -> str:
    """A part in percent."""
    return f"{100 * part / whole:.1f} %" if whole else "-"
