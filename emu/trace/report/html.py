"""The parts of a page that needs no network and no script, and is light or dark as the reader's screen is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_STYLE = """
:root { color-scheme: light dark; --ink: #14171c; --paper: #ffffff; --line: #8a93a2; --soft: #555555; --dark: #14365c }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ec; --paper: #14171c; --line: #6c7686; --soft: #aab2bf; --dark: #a9cbf5 }
}
body { font: 15px/1.5 "DejaVu Sans", Verdana, Helvetica, Arial, sans-serif }
body { color: var(--ink); background: var(--paper); max-width: 1100px; margin: 1em auto; padding: 0 1em }
h1 { font-size: 1.35em } h2 { font-size: 1.15em; margin-top: 1.6em }
a { color: var(--dark) }
:focus-visible { outline: 3px solid #d06000; outline-offset: 2px }
.wide { overflow-x: auto } .wide svg { max-width: 100%; height: auto; min-width: 700px }
table { border-collapse: collapse; margin: 0.4em 0 }
caption { text-align: left; font-weight: bold; padding: 0.4em 0 }
th, td { padding: 0.15em 1em 0.15em 0; text-align: left; vertical-align: top }
th { border-bottom: 1px solid var(--line) }
.n { text-align: right; font-variant-numeric: tabular-nums }
.m { font-family: "DejaVu Sans Mono", Consolas, monospace; font-size: 0.92em; white-space: pre }
tr:target { outline: 3px solid #d06000 }
summary { cursor: pointer; font-weight: bold; padding: 0.3em 0 }
.beside { display: flex; flex-wrap: wrap; gap: 0 3em; align-items: flex-start }
.beside > * { max-width: 100% }
.soft { color: var(--soft) }
"""


def document(title: str, opening: str, sections: Sequence[tuple[str, str, str]]) -> str:
    """A page of HTML 5: ``opening`` below its title, then links to the sections, each a key, a heading and what stands
    in it.
    """
    links = " · ".join(f'<a href="#{key}">{escape(name)}</a>' for key, name, _ in sections)
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>",
        "<body>",
        f"<h1>{escape(title[0].upper() + title[1:])}</h1>",
        opening,
        f'<nav aria-label="parts of this page">{links}</nav>',
        "<main>",
        *(
            f'<section aria-labelledby="{key}"><h2 id="{key}">{escape(name)}</h2>{inner}</section>'
            for key, name, inner in sections
        ),
        "</main></body></html>",
    ]
    return "\n".join(parts) + "\n"


def scrolled(inner: str, label: str) -> str:
    """A picture or a table that may be wider than the window: it can be scrolled by keyboard too."""
    return f'<div class="wide" tabindex="0" role="region" aria-label="{escape(label)}">{inner}</div>'


def details(summary: str, inner: str, *, opened: bool = False) -> str:
    """What is shown when it is asked for, or hidden."""
    return f"<details{' open' if opened else ''}><summary>{escape(summary)}</summary>{inner}</details>"


def table(
    caption: str, headers: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = (),
    mono: Sequence[int] = (), keys: Sequence[str] = (), label: str = "",
) -> str:  # fmt: skip
    """A table; ``numbers`` and ``mono`` are columns, ``keys`` the names of rows.  Without a caption, ``label`` is its
    name for screen readers.
    """
    kinds = ["n" if i in numbers else "m" if i in mono else "" for i in range(len(headers))]
    attributes = [f' class="{kind}"' if kind else "" for kind in kinds]
    head = "".join(
        f'<th scope="col"{attribute if kind == "n" else ""}>{escape(header)}</th>'
        for header, kind, attribute in zip(headers, kinds, attributes, strict=True)
    )
    body = []
    for number, row in enumerate(rows):
        cells = "".join(f"<td{a}>{escape(cell)}</td>" for cell, a in zip(row, attributes, strict=True))
        key = f' id="{keys[number]}"' if keys else ""
        body.append(f"<tr{key}>{cells}</tr>")
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    name = f' aria-label="{escape(label)}"' if label else ""
    return f"<table{name}>{title}<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
