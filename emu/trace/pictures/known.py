"""The page tables of a trace as a picture, and what they take with and without sharing."""

from __future__ import annotations

from html import escape
from typing import NamedTuple

from emu.mm.pagetable import level_name
from emu.trace.pictures.charts import Bar, cut, draw_bars, more
from emu.trace.pictures.look import MISSES, OTHER, WALKS
from emu.trace.pictures.tally import Tally
from emu.trace.pt.graph import Node, graph_of, node_name
from emu.trace.pt.picture import all_nodes, draw_tables
from emu.trace.pt.sharing import Sharing, accounts, find_sharing, who
from emu.trace.pt.tables import PageTablesSnapshot, shown_address
from emu.trace.pt.text import in_words, shared_words
from emu.trace.report.html import details, scrolled, table
from emu.trace.report.units import kib, plural, size_text

#: With more boxes, or arrows to shared tables, there is no picture.
_NODES, _ARROWS = 400, 1000
#: Address spaces with a bar, and in a table; shared tables with a table; characters of the command in a picture.
_BARS, _SPACES, _ROOTS, _COMMAND = 24, 100, 20, 60


class Known(NamedTuple):
    """The tables, who shares them, and when that was."""

    snapshot: PageTablesSnapshot
    sharing: Sharing
    event: int


def tables_of(tally: Tally) -> Known:
    """What the trace tells of the tables, at the moment at which most was shared."""
    event = tally.knowledge.moment(tally.last)
    names = {pid: tally.functions.path_of(pid).rpartition("/")[2] for pid in tally.pids}
    snapshot = tally.knowledge.snapshot(
        event, names, command=(cut(" ".join(tally.header["command"]), _COMMAND),),
        moment=f"as walks saw them, until event {event:,}", instructions=tally.clock,
        memory_bytes=tally.header["memory_bytes"],
    )  # fmt: skip
    return Known(snapshot, find_sharing(snapshot), event)


def picture(known: Known) -> str:
    """All tables, a shared one once, with every process's arrow to it."""
    snapshot, sharing = known.snapshot, known.sharing
    if not snapshot.tables:
        return "<p>This trace has no walks, so nothing of the tables is known.</p>"
    blocks = graph_of(snapshot, sharing)
    nodes = [node for block in blocks for node in all_nodes(block.root)]
    number, arrows = len(nodes), sum(len(node.links) for node in nodes)
    when = "most was shared" if sharing.roots else "most processes were there"
    remark = (
        f"As far as walks, links and unlinks until event {known.event:,} tell, when {when}: what nobody"
        " walked to is not here. Each box is a link to its row below; tables that several reach stand out."
    )
    parts = [f'<p class="soft">{remark}</p>']
    if number > _NODES or arrows > _ARROWS:
        words = f"{plural(number, 'box', 'boxes')} and {plural(arrows, 'arrow', 'arrows')} to shared tables"
        parts.append(f"<p>There is no picture: it would have {words}.</p>")
    else:
        parts.append(scrolled(draw_tables(snapshot, sharing), "picture of page tables"))
    parts += [_shared(known)]
    if number <= _NODES:
        parts.append(details("Table by table", _rows(known, nodes), opened=True))
    return "".join(parts)


def _shared(known: Known) -> str:
    snapshot, sharing = known.snapshot, known.sharing
    if not sharing.roots:
        return "<p>No table belongs to more than one address space.</p>"
    parts = []
    for root in sharing.roots[:_ROOTS]:
        rows = [
            (
                who(snapshot, link.spaces),
                f"{level_name(root.level + 1, snapshot.levels)} entry at {link.entry_paddr:#x}",
                f"{shown_address(link.vaddr, snapshot.levels):#x}",
            )
            for link in root.links[:_SPACES]
        ]
        caption = shared_words(snapshot, sharing, root) + more(len(root.links) - len(rows))
        parts.append(table(caption, ("who", "by", "from the address"), rows, mono=(1, 2)))
    if len(sharing.roots) > _ROOTS:
        parts.append(f"<p>{len(sharing.roots) - _ROOTS:,} more shared tables are not listed.</p>")
    return "".join(parts)


def _rows(known: Known, nodes: list[Node]) -> str:
    snapshot = known.snapshot
    rows = [
        (
            node_name(node, snapshot.levels), f"{shown_address(node.vaddr, snapshot.levels):#x}", node.holds,
            who(snapshot, node.sharers),
        )
        for node in nodes
    ]  # fmt: skip
    headers = ("table", "from the address", "holds", "reached by")
    keys = [node.key for node in nodes]
    listed = table("", headers, rows, mono=(0, 1), keys=keys, label="table by table")
    return scrolled(listed, "tables")


def sizes(known: Known) -> str:
    """Bytes with and without sharing."""
    snapshot = known.snapshot
    if not snapshot.tables:
        return "<p>This trace has no walks, so nothing of the tables is known.</p>"
    found = accounts(snapshot, known.sharing)
    shared = len(known.sharing.shared) << 12
    saved = f"{in_words(snapshot, found)[0].upper()}{in_words(snapshot, found)[1:]}."
    bars = [
        Bar("In all"),
        Bar("as they are", ((found.as_they_are - shared, WALKS), (shared, MISSES)), size_text(found.as_they_are)),
        Bar("if none were shared", ((found.apart, OTHER),), size_text(found.apart)),
        Bar("By address space"),
    ]
    for row in found.rows[:_BARS]:
        words = f"{size_text(row.own)} its own, {size_text(row.shared)} shared" if row.shared else size_text(row.own)
        bars.append(Bar(row.title, ((row.own, WALKS), (row.shared, MISSES)), words))
    legend = (("of one address space", WALKS), ("shared", MISSES), ("if none were shared", OTHER))
    rows = [
        (row.title, kib(row.own), kib(row.shared), kib(row.apart) if row.apart else "-") for row in found.rows[:_SPACES]
    ]
    headers = ("whose", "only its own", "shared", "if none were shared")
    caption = "KiB of page tables that walks saw" + more(len(found.rows) - len(rows))
    listed = table(caption, headers, rows, numbers=(1, 2, 3))
    svg = draw_bars("bytes of page tables with and without sharing", saved, bars, legend)
    remark = f"<p>{escape(saved)}</p>"
    return remark + scrolled(svg, "bytes of page tables") + details("The same as a table", scrolled(listed, "bytes"))
