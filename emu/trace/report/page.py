"""The story as one HTML file that needs nothing else: the picture, the figures, and the walks in words."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from emu.trace.report.figures import Grid, costs, machine_work, walks
from emu.trace.report.sharing import describe_sharing, draw_sharing
from emu.trace.report.snapshot import Snapshot

_STYLE = """
body { font: 15px/1.5 "DejaVu Sans", Verdana, Helvetica, Arial, sans-serif }
body { max-width: 1440px; margin: 1.5em auto; padding: 0 1em }
svg { width: 100%; height: auto }
table { border-collapse: collapse; margin: 0.5em 0 }
caption { text-align: left; white-space: nowrap; font-weight: bold; padding: 0.7em 0 0.3em }
th, td { padding: 0.15em 0.9em 0.15em 0; text-align: right; font-variant-numeric: tabular-nums }
th { border-bottom: 1px solid #333; vertical-align: bottom }
tr.total td { font-weight: bold }
tr.first td { border-top: 1px solid #333 }
th:first-child, td:first-child { text-align: left }
td.walk { font-family: "DejaVu Sans Mono", Consolas, monospace; text-align: left }
p.note { color: #555; margin-top: 0 }
"""


def sharing_page(apart: Snapshot, shared: Snapshot) -> str:
    """HTML 5 of the same work done without and with shared tables."""
    title = "Page tables, apart and shared"
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        f'<head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style></head>',
        "<body>",
        *(f"<p><b>{escape(sentence)}</b></p>" for sentence in describe_sharing(apart, shared)),
        draw_sharing(apart, shared),
        *(_table(grid) for grid in (costs((apart, shared)), machine_work((apart, shared)))),
        *(_table(walks(snapshot)) for snapshot in (apart, shared)),
        _walk_in_words(shared),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _row(cells: Sequence[str], tag: str, row_class: str = "") -> str:
    attribute = f' class="{row_class}"' if row_class else ""
    inner = "".join(f"<{tag}>{escape(cell).replace(chr(10), '<br>')}</{tag}>" for cell in cells)
    return f"<tr{attribute}>{inner}</tr>"


def _table(grid: Grid) -> str:
    first_total = len(grid.rows) - grid.totals
    rows = [
        _row(row, "td", "" if i < first_total else "total first" if i == first_total else "total")
        for i, row in enumerate(grid.rows)
    ]
    note = f'<p class="note">{escape(grid.note)}</p>' if grid.note else ""
    caption = f"<caption>{escape(grid.title)}</caption>"
    return f"<table>{caption}{_row(grid.headers, 'th')}{''.join(rows)}</table>{note}"


def _walk_in_words(snapshot: Snapshot) -> str:
    process = snapshot.processes[-1]
    steps = "".join(f'<tr><td class="walk">{escape(str(step))}</td></tr>' for step in process.walk)
    caption = f"{snapshot.title}: the walk of {snapshot.start:#x} by process {process.pid}, entry by entry"
    return f"<table><caption>{escape(caption)}</caption>{steps}</table>"
