"""Findings as a page of HTML, which needs no network and no script: each picture has a table with the same below it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from emu.lab.curves import draw_curves
from emu.lab.finding import Finding, Listing
from emu.linux.event_kind import printable
from emu.trace.report.html import details, document, scrolled, table

#: Rows of a table that is open at first.
_OPEN = 40


def page_of(title: str, opening: str, findings: Sequence[Finding]) -> str:
    """The page."""
    sections = [(finding.key, finding.heading, _section(finding)) for finding in findings]
    return document(printable(title), f"<p>{escape(printable(opening))}</p>", sections)


def _section(finding: Finding) -> str:
    parts = [f'<p class="soft">{escape(printable(finding.remark))}</p>'] if finding.remark else []
    parts += [scrolled(draw_curves(picture), picture.title) for picture in finding.pictures if picture.curves]
    return "".join([*parts, *map(_listing, finding.listings)])


def _listing(listing: Listing) -> str:
    rows = [tuple(map(printable, row)) for row in listing.rows]
    numbers = range(listing.words, len(listing.headers))
    shown = scrolled(
        table("", listing.headers, rows, numbers=numbers, mono=range(listing.words)),
        listing.caption or "a table",
    )
    return details(listing.caption or "The same as a table", shown, opened=len(rows) <= _OPEN)
