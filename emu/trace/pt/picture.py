"""The picture of all tables: a panel an address space, a column a level; a shared table once, with all arrows to it."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from emu.linux.event_kind import printable
from emu.mm.pagetable import span
from emu.trace.pt.graph import Block, Node, graph_of, node_name, node_words
from emu.trace.pt.look import CSS, LINK, OWN, PANEL, SHARED, SOFT
from emu.trace.pt.sharing import Sharing, accounts
from emu.trace.pt.tables import PageTablesSnapshot, shown_address
from emu.trace.pt.text import describe_table, in_words, title_of
from emu.trace.report.svg import Drawing, Style
from emu.trace.report.units import size_text

#: A column's box and the room to the next, a node's height and the room to the next, a panel's margins.
_BOX, _GUTTER, _HEIGHT, _GAP, _MARGIN, _TITLE = 190.0, 64.0, 36.0, 8.0, 12.0, 24.0
_TOP = 92.0
#: Arrows to shared tables run side by side, so many of them.
_LANES, _LANE = 8, 5.0
#: Where the legend begins, from the right edge; how wide a letter is, in sizes of the letters, bold and not.
_LEGEND, _BOLD, _PLAIN = 330.0, 0.66, 0.58


def draw_tables(snapshot: PageTablesSnapshot, sharing: Sharing, chosen: Collection[int] = ()) -> str:
    """An SVG of every table, of many processes as :mod:`emu.trace.pt.folding` says.

    Each box is a link to ``#KEY``, where :mod:`emu.trace.pt.page` says the same in words.
    """
    return _Picture(snapshot, sharing, chosen).draw()


def all_nodes(node: Node) -> Iterator[Node]:
    """A node and all below it in its address space."""
    yield node
    for child in node.children:
        yield from all_nodes(child)


class _Picture:
    def __init__(self, snapshot: PageTablesSnapshot, sharing: Sharing, chosen: Collection[int]) -> None:
        self._snapshot, self._levels = snapshot, snapshot.levels
        self._says = in_words(snapshot, accounts(snapshot, sharing))
        self._blocks = graph_of(snapshot, sharing, chosen)
        self._at: dict[Node, tuple[float, float]] = {}
        self._tops: list[tuple[Block, float, float]] = []
        y = _TOP
        for block in self._blocks:
            end = self._place(block.root, y + _TITLE)
            self._tops.append((block, y, end - y + _MARGIN - _GAP))
            y = end + _MARGIN + _GAP
        self._end = y

    def _place(self, node: Node, y: float) -> float:
        """Give a node and all below it their places; returns where the next one may be."""
        self._at[node] = (2 * _MARGIN + (self._levels - node.level) * (_BOX + _GUTTER), y)
        end = y
        for child in node.children:
            end = self._place(child, end)
        return max(end, y + _HEIGHT + _GAP)

    def draw(self) -> str:
        """The picture as text."""
        width = 4 * _MARGIN + self._levels * _BOX + (self._levels - 1) * _GUTTER
        title = title_of(self._snapshot)
        drawing = self._drawing = Drawing(width, self._end + _MARGIN, title, self._says, css=CSS, links=True)
        command = printable(" ".join(self._snapshot.command)) or "page tables"
        drawing.text(_MARGIN, 26, _cut(command, int((width - _LEGEND - 2 * _MARGIN) / (18 * _BOLD))), 18, bold=True)
        told = f"{self._says}; {self._snapshot.moment}"
        drawing.text(_MARGIN, 46, _cut(told, int((width - 2 * _MARGIN) / (13 * _PLAIN))), 13, ink=SOFT, name="soft")
        self._legend(width)
        for level in range(self._levels, 0, -1):
            x = 2 * _MARGIN + (self._levels - level) * (_BOX + _GUTTER)
            covers = f"{size_text(span(level))} an entry"
            drawing.text(x, 80, describe_table(level, self._levels), 13, bold=True, then=covers, then_size=11)
        for block, top, height in self._tops:
            drawing.box(_MARGIN, top, width - 2 * _MARGIN, height, PANEL)
            space = self._snapshot.spaces[block.root.space]
            alone = "" if space.pids or space.cpus else ", which is in no CPU's CR3"
            words = _cut(f"{block.title}{alone}", int((width - 4 * _MARGIN) / (13 * _BOLD)))
            drawing.text(2 * _MARGIN, top + 17, words, 13, bold=True)
        self._arrows()
        for node in self._at:
            self._node(node)
        return drawing.to_text()

    def _legend(self, width: float) -> None:
        drawing = self._drawing
        for x, style, words in ((width - _LEGEND, OWN, "of one"), (width - 230, SHARED, "shared by several")):
            drawing.box(x, 14, 22, 14, style)
            drawing.text(x + 29, 26, words, 13)

    def _node(self, node: Node) -> None:
        x, y = self._at[node]
        style: Style = SHARED if node.shared else OWN
        words = node_words(self._snapshot, node)
        with self._drawing.link(f"#{node.key}", words):
            self._drawing.box(x, y, _BOX, _HEIGHT, style, hint=words)
            name = f"{style.name}-text"
            self._drawing.text(x + 8, y + 15, node_name(node, self._levels), 13, mono=True, ink=style.ink, name=name)
            low = node.holds if node.apart else f"{shown_address(node.vaddr, self._levels):#x}: {node.holds}"
            self._drawing.text(x + 8, y + 30, _cut(low, 31), 11 if len(low) < 29 else 9.5, ink=style.ink, name=name)

    # -- arrows ----------------------------------------------------------------------------------------------------

    def _arrows(self) -> None:
        lane = 0
        for node, (x, y) in self._at.items():
            for child in node.children:
                self._arrow((x + _BOX, y + _HEIGHT / 2), self._at[child], 10.0, link=False)
            for _, target in node.links:
                lane = (lane + 1) % _LANES
                self._arrow((x + _BOX, y + _HEIGHT / 2), self._at[target], 18.0 + lane * _LANE, link=True)

    def _arrow(self, start: tuple[float, float], box: tuple[float, float], bend: float, *, link: bool) -> None:
        """From the right edge of a box to the left edge of another one, with its way down right before that."""
        end = (box[0], box[1] + _HEIGHT / 2 + (4 if link else 0))
        turn = end[0] - _GUTTER + bend
        points = [start, (turn, start[1]), (turn, end[1]), end]
        if start[1] == end[1]:
            points = [start, end]
        ink, width, name = (LINK, 1.8, "link") if link else ("#333333", 1.1, "down")
        self._drawing.arrow(points, ink=ink, width=width, name=name)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
