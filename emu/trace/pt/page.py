"""One HTML page with everything that `unimmu pt` knows: it needs no network and no script, and is light or dark as the
reader's screen is.

What the pictures show stands in tables too: each box of the picture is a link to its row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from emu.linux.event_kind import printable
from emu.mm.pagetable import level_name
from emu.trace.pt.graph import graph_of, node_name
from emu.trace.pt.picture import all_nodes, draw_tables
from emu.trace.pt.ranges import range_size, ranges_of
from emu.trace.pt.sharing import Sharing, accounts, who
from emu.trace.pt.tables import PageTablesSnapshot, Space, shown_address
from emu.trace.pt.text import in_words, names_in, shared_words, title_of
from emu.trace.pt.walk import WalkStory, index_sentences
from emu.trace.pt.walkpicture import draw_walk
from emu.trace.report.units import kib, plural

#: Address spaces whose ranges are open at first.
_OPEN = 3
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
.soft { color: var(--soft) }
"""


def tables_page(snapshot: PageTablesSnapshot, sharing: Sharing, walks: Sequence[WalkStory] = ()) -> str:
    """HTML 5, in one file."""
    title = title_of(snapshot)
    saved = in_words(snapshot, accounts(snapshot, sharing))
    sections = [
        ("walk", f"Step by step: {plural(len(walks), 'walk', 'walks')}", [_walk(story) for story in walks]),
        ("picture", "All tables", [_picture(snapshot, sharing)]),
        ("shared", "Who shares what", [_shared(snapshot, sharing)]),
        ("bytes", "What the tables take", [f"<p>{escape(saved)}.</p>", _bytes(snapshot, sharing)]),
        ("ranges", "What is mapped", list(_ranges(snapshot, sharing))),
        ("tables", "Table by table", [_tables(snapshot, sharing)]),
    ]
    sections = [section for section in sections if section[2]]
    links = " · ".join(f'<a href="#{key}">{escape(name)}</a>' for key, name, _ in sections)
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>",
        "<body>",
        f"<h1>{escape(title[0].upper() + title[1:])}</h1>",
        f"<p>{escape(saved)}.</p>",
        f'<nav aria-label="parts of this page">{links}</nav>',
        "<main>",
        *(
            f'<section aria-labelledby="{key}"><h2 id="{key}">{escape(name)}</h2>{"".join(inner)}</section>'
            for key, name, inner in sections
        ),
        "</main></body></html>",
    ]
    return "\n".join(parts) + "\n"


# -- the parts ---------------------------------------------------------------------------------------------------------


def _scrolled(svg: str, label: str) -> str:
    """A picture that may be wider than the window: it can be scrolled by keyboard too."""
    return f'<div class="wide" tabindex="0" role="region" aria-label="{escape(label)}">{svg}</div>'


def _picture(snapshot: PageTablesSnapshot, sharing: Sharing) -> str:
    note = '<p class="soft">Each box is a link to its row below. A dark box is a table that several reach.</p>'
    return note + _scrolled(draw_tables(snapshot, sharing), "picture of all tables")


def _shared(snapshot: PageTablesSnapshot, sharing: Sharing) -> str:
    if not sharing.roots:
        return "<p>No table belongs to more than one address space.</p>"
    parts = []
    for root in sharing.roots:
        rows = [
            (
                who(snapshot, link.spaces),
                f"{level_name(root.level + 1, snapshot.levels)} entry at {link.entry_paddr:#x}",
                f"{shown_address(link.vaddr, snapshot.levels):#x}",
            )
            for link in root.links
        ]
        words = shared_words(snapshot, sharing, root)
        parts.append(_table(words, ("who", "by", "from the address"), rows, mono=(1, 2)))
    return "".join(parts)


def _bytes(snapshot: PageTablesSnapshot, sharing: Sharing) -> str:
    found = accounts(snapshot, sharing)
    rows = [(row.title, kib(row.own), kib(row.shared), kib(row.apart) if row.apart else "-") for row in found.rows]
    headers = ("whose", "only its own", "shared", "if none were shared")
    return _table("KiB of page tables", headers, rows, numbers=(1, 2, 3))


def _ranges(snapshot: PageTablesSnapshot, sharing: Sharing) -> Iterator[str]:
    shared = sharing.shared
    headers = ("from", "to", "size", "bits", "level", "table", "mapping")
    for number, space in enumerate(snapshot.spaces):
        rows = []
        for found in ranges_of(snapshot, space, shared):
            low, high = shown_address(found.start, snapshot.levels), shown_address(found.end - 1, snapshot.levels) + 1
            rows.append(
                (
                    f"{low:#x}", f"{high:#x}", range_size(high - low), found.words(),
                    level_name(found.level, snapshot.levels), "shared" if found.shared else "own",
                    names_in(space, found),
                )
            )  # fmt: skip
        table = _table("", headers, rows, numbers=(2,), mono=(0, 1, 3))
        yield f"<details{' open' if number < _OPEN else ''}><summary>{escape(_title(space))}</summary>{table}</details>"


def _title(space: Space) -> str:
    return f"{space.title}: PGD at {space.pgd:#x}"


def _tables(snapshot: PageTablesSnapshot, sharing: Sharing) -> str:
    rows, keys = [], []
    for block in graph_of(snapshot, sharing):
        for node in all_nodes(block.root):
            keys.append(node.key)
            rows.append(
                (
                    node_name(node, snapshot.levels), f"{shown_address(node.vaddr, snapshot.levels):#x}",
                    node.holds, who(snapshot, node.sharers),
                )
            )  # fmt: skip
    return _table("", ("table", "from the address", "holds", "reached by"), rows, mono=(0, 1), keys=keys)


def _walk(story: WalkStory) -> str:
    """The picture and, in words, each step with its entry's fields."""
    parts = [f"<h3>{escape(story.title)}</h3>", _scrolled(draw_walk(story), "picture of the walk")]
    parts += [f"<p>{escape(line)}</p>" for line in story.opening]
    parts.append("<ol>")
    for entry in story.entries:
        where, found = index_sentences(entry)
        rows = [(field.bits, field.name, field.shown, field.means) for field in entry.fields]
        parts.append(f"<li>{escape(where)} {escape(found)}")
        parts.append(_table(f"the {entry.name}", ("bits", "name", "value", "means"), rows, mono=(2,)))
        parts += [f"<p>{escape(line)}</p>" for line in entry.follows]
        parts.append("</li>")
    parts.append("</ol>")
    parts += [f"<p><b>{escape(printable(' '.join(line.split())))}</b></p>" for line in story.ending]
    return "".join(parts)


def _table(
    caption: str, headers: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = (),
    mono: Sequence[int] = (), keys: Sequence[str] = (),
) -> str:  # fmt: skip
    """A table; ``numbers`` and ``mono`` are columns, ``keys`` the names of rows."""
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
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
