"""Finding: what an analysis or a sweep has to say, as tables, curves and figures, for a terminal, a page or JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from emu.linux.event_kind import printable

_WIDTH = 110


class Listing(NamedTuple):
    """A table; the first ``words`` columns are words, the others numbers."""

    caption: str
    headers: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    words: int = 1


class Curve(NamedTuple):
    """A line through points, from the left to the right."""

    name: str
    points: Sequence[tuple[float, float]]


class Picture(NamedTuple):
    """Curves in one frame; ``logarithmic``: what is on the horizontal axis, from 1 on.  ``marks`` are the values that
    have a name there, with it; where there are none, round numbers are named."""

    title: str
    across: str
    up: str
    curves: Sequence[Curve]
    logarithmic: bool = False
    marks: Sequence[tuple[float, str]] = ()


class Finding(NamedTuple):
    """The whole: a key that is a word, a heading, sentences, and figures of plain JSON."""

    key: str
    heading: str
    remark: str
    listings: Sequence[Listing]
    pictures: Sequence[Picture]
    figures: dict[str, Any]


def lines_of(finding: Finding) -> Iterator[str]:
    """As text."""
    yield f" {finding.heading}"
    for line in textwrap.wrap(printable(finding.remark), _WIDTH):
        yield f" {line}"
    for listing in finding.listings:
        yield ""
        yield from listing_lines(listing)
    yield ""


def listing_lines(listing: Listing) -> Iterator[str]:
    """A table as text."""
    rows = [tuple(map(printable, row)) for row in listing.rows]
    widths = [max(map(len, column)) for column in zip(listing.headers, *rows, strict=True)]
    if listing.caption:
        yield f" {listing.caption}"
    for row in (listing.headers, *rows):
        cells = [
            f"{cell:<{width}}" if number < listing.words else f"{cell:>{width}}"
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield f"  {'  '.join(cells)}".rstrip()


def percent(part: float, whole: float) -> str:
    """A part of a whole."""
    return f"{100 * part / whole:.2f} %" if whole else "-"
