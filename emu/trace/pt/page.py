"""One HTML page with everything that `unimmu pt` knows: it needs no network and no script, and is light or dark as the
reader's screen is.

What the pictures show stands in tables too: each box of the picture is a link to its row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
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
from emu.trace.report.html import details, document, scrolled, table
from emu.trace.report.units import kib, plural

#: Address spaces whose ranges are open at first.
_OPEN = 3


def tables_page(
    snapshot: PageTablesSnapshot, sharing: Sharing, walks: Sequence[WalkStory] = (), chosen: Collection[int] = ()
) -> str:
    """HTML 5, in one file; ``chosen`` as in :func:`~emu.trace.pt.folding.rows_of`."""
    title = title_of(snapshot)
    saved = in_words(snapshot, accounts(snapshot, sharing))
    sections = [
        ("walk", f"Step by step: {plural(len(walks), 'walk', 'walks')}", [_walk(story) for story in walks]),
        ("picture", "All tables", [_picture(snapshot, sharing, chosen)]),
        ("shared", "Who shares what", [_shared(snapshot, sharing)]),
        ("bytes", "What the tables take", [f"<p>{escape(saved)}.</p>", _bytes(snapshot, sharing)]),
        ("ranges", "What is mapped", list(_ranges(snapshot, sharing))),
        ("tables", "Table by table", [_tables(snapshot, sharing, chosen)]),
    ]
    found = [(key, name, "".join(inner)) for key, name, inner in sections if inner]
    return document(title, f"<p>{escape(saved)}.</p>", found)


# -- the parts ---------------------------------------------------------------------------------------------------------


def _picture(snapshot: PageTablesSnapshot, sharing: Sharing, chosen: Collection[int]) -> str:
    note = '<p class="soft">Each box is a link to its row below. Tables that several reach stand out.</p>'
    return note + scrolled(draw_tables(snapshot, sharing, chosen), "picture of all tables")


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
        parts.append(table(words, ("who", "by", "from the address"), rows, mono=(1, 2)))
    return "".join(parts)


def _bytes(snapshot: PageTablesSnapshot, sharing: Sharing) -> str:
    found = accounts(snapshot, sharing)
    rows = [(row.title, kib(row.own), kib(row.shared), kib(row.apart) if row.apart else "-") for row in found.rows]
    headers = ("whose", "only its own", "shared", "if none were shared")
    return table("KiB of page tables", headers, rows, numbers=(1, 2, 3))


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
        listed = table("", headers, rows, numbers=(2,), mono=(0, 1, 3), label=f"what {space.title} maps")
        yield details(_title(space), listed, opened=number < _OPEN)


def _title(space: Space) -> str:
    return f"{space.title}: PGD at {space.pgd:#x}"


def _tables(snapshot: PageTablesSnapshot, sharing: Sharing, chosen: Collection[int]) -> str:
    rows, keys = [], []
    for block in graph_of(snapshot, sharing, chosen):
        for node in all_nodes(block.root):
            keys.append(node.key)
            rows.append(
                (
                    node_name(node, snapshot.levels), f"{shown_address(node.vaddr, snapshot.levels):#x}",
                    node.holds, who(snapshot, node.sharers),
                )
            )  # fmt: skip
    headers = ("table", "from the address", "holds", "reached by")
    return table("", headers, rows, mono=(0, 1), keys=keys, label="table by table")


def _walk(story: WalkStory) -> str:
    """The picture and, in words, each step with its entry's fields."""
    parts = [f"<h3>{escape(story.title)}</h3>", scrolled(draw_walk(story), "picture of the walk")]
    parts += [f"<p>{escape(line)}</p>" for line in story.opening]
    parts.append("<ol>")
    for entry in story.entries:
        where, found = index_sentences(entry)
        rows = [(field.bits, field.name, field.shown, field.means) for field in entry.fields]
        parts.append(f"<li>{escape(where)} {escape(found)}")
        parts.append(table(f"the {entry.name}", ("bits", "name", "value", "means"), rows, mono=(2,)))
        parts += [f"<p>{escape(line)}</p>" for line in entry.follows]
        parts.append("</li>")
    parts.append("</ol>")
    ending = [f"<p><b>{escape(printable(' '.join(line.split())))}</b></p>" for line in story.ending]
    if story.error_fields:
        rows = [(field.bits, field.name, field.shown, field.means) for field in story.error_fields]
        ending.insert(1, table("the error code", ("bit", "name", "value", "means"), rows, mono=(2,)))
    parts += ending
    return "".join(parts)
