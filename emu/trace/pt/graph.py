"""The tables of a snapshot as a graph of few nodes: for a picture, and for Graphviz.

Each table stands in one address space: a shared one in that of the region that owns it, or else of the first process
that reaches it.  Many PTE tables behind each other are one node, and so are all tables of processes that
:mod:`emu.trace.pt.folding` puts together.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from emu.linux.event_kind import printable
from emu.mm.pagetable import HERE, P, span
from emu.mm.swapops import swapped
from emu.trace.pt.folding import Row, own_tables, rows_of
from emu.trace.pt.sharing import Sharing, spelled, who
from emu.trace.pt.tables import PageTablesSnapshot, address_of, children, shown_address
from emu.trace.pt.text import table_name
from emu.trace.report.units import plural
from mmu.entries import PAGE_SIZE_NAME, PS

#: PTE tables behind each other that are drawn one by one.
_MANY = 3


@dataclass(eq=False)
class Node:
    """One table, or several that look alike: the first address that the first translates, and what they hold.

    ``links`` are nodes of other address spaces to which entries point, each with that entry's address.  ``apart``: each
    of the sharers has as many tables of its own.
    """

    space: int
    level: int
    tables: tuple[int, ...]
    vaddr: int
    holds: str
    sharers: frozenset[int]
    children: list[Node] = field(default_factory=list)
    links: list[tuple[int, Node]] = field(default_factory=list)
    apart: bool = False

    @property
    def shared(self) -> bool:
        """Whether several address spaces reach it."""
        return len(self.sharers) > 1 and not self.apart

    @property
    def key(self) -> str:
        """A name for links within a page."""
        return f"t{self.tables[0]:x}"


@dataclass(frozen=True)
class Block:
    """An address space, or several together, and the nodes that stand there, from the top table down."""

    title: str
    root: Node


def graph_of(snapshot: PageTablesSnapshot, sharing: Sharing, chosen: Collection[int] = ()) -> list[Block]:
    """The blocks, in the order of the snapshot's address spaces; ``chosen`` as in
    :func:`~emu.trace.pt.folding.rows_of`.
    """
    return _Builder(snapshot, sharing).blocks(chosen)


class _Builder:
    def __init__(self, snapshot: PageTablesSnapshot, sharing: Sharing) -> None:
        self._snapshot, self._sharing = snapshot, sharing
        self._regions = frozenset(n for n, space in enumerate(snapshot.spaces) if space.is_region)
        self._node_of: dict[int, Node] = {}
        self._open: list[
            tuple[Node, int, int]
        ] = []  # a node, an entry of it, the table of another node at which it points

    def blocks(self, chosen: Collection[int]) -> list[Block]:
        blocks = [
            Block(self._title(row), self._tree(row.spaces[0]) if row.full else self._summary(row.spaces))
            for row in rows_of(self._snapshot, self._owner, chosen)
        ]
        for node, entry, table in self._open:
            target = self._node_of.get(table)
            if target is not None and target is not node and all(known is not target for _, known in node.links):
                node.links.append((entry, target))
        return blocks

    def _owner(self, table: int) -> int:
        spaces = self._sharing.spaces_of[table]
        return min(spaces & self._regions or spaces)

    def _title(self, row: Row) -> str:
        """Of several the processes, and what they are alike in."""
        first, spaces = self._snapshot.spaces[row.spaces[0]], self._snapshot.spaces
        if len(row.spaces) == 1 and row.like is None:
            return first.title
        pids = spelled(sorted(pid for number in row.spaces for pid in spaces[number].pids))
        names = ", ".join(dict.fromkeys(printable(spaces[number].name) for number in row.spaces))
        who_they_are = f"{'process' if len(row.spaces) == 1 else 'processes'} {pids} ({names})" if pids else names
        many = f"{len(row.spaces):,} more: {who_they_are}"
        if row.like is None:
            return many
        like = spaces[row.like]
        return f"{many}, like {f'process {like.pids[0]}' if like.pids else like.title}"

    def _tree(self, number: int) -> Node:
        return self._node(number, self._snapshot.spaces[number].pgd, 0)

    def _node(self, number: int, at: int, base: int) -> Node:
        table = self._snapshot.tables[at]
        node = Node(number, table.level, (at,), base, self._holds((at,)), self._sharing.spaces_of[at])
        self._node_of[at] = node
        mine: list[tuple[int, int]] = []
        for index, child in children(table.level, table.entries):
            if child not in self._snapshot.tables:
                continue
            if self._owner(child) != number or child in self._node_of:
                self._open.append((node, at + 8 * index, child))
            else:
                mine.append((address_of(index, table.level, base), child))
        if table.level == 2 and len(mine) > _MANY:
            first, *between, last = mine
            node.children = [self._node(number, first[1], first[0]), *self._bundles(number, between)]
            node.children.append(self._node(number, last[1], last[0]))
        else:
            node.children = [self._node(number, child, low) for low, child in mine]
        return node

    def _bundles(self, number: int, leaves: list[tuple[int, int]]) -> list[Node]:
        """PTE tables in as few nodes as there are sets of sharers."""
        by_sharers: dict[frozenset[int], list[tuple[int, int]]] = {}
        for low, child in leaves:
            by_sharers.setdefault(self._sharing.spaces_of[child], []).append((low, child))
        nodes = []
        for sharers, found in by_sharers.items():
            tables = tuple(child for _, child in found)
            nodes.append(Node(number, 1, tables, found[0][0], self._holds(tables), sharers))
            self._node_of.update(dict.fromkeys(tables, nodes[-1]))
        return nodes

    def _summary(self, numbers: tuple[int, ...]) -> Node:
        """Processes of which only the links are of interest."""
        own, counts = [], []
        node = Node(numbers[0], self._snapshot.levels, (), 0, "", frozenset(numbers), apart=len(numbers) > 1)
        for number in numbers:
            mine = own_tables(self._snapshot, self._owner, number)
            counts.append(len(mine))
            own += mine
            for at in mine:
                table = self._snapshot.tables[at]
                self._open += [
                    (node, at + 8 * index, child)
                    for index, child in children(table.level, table.entries)
                    if child in self._snapshot.tables and self._owner(child) != number
                ]
        node.tables, node.holds = tuple(own), plural(len(own), "table of its own", "tables of its own")
        if len(numbers) > 1:
            each = f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} to {max(counts):,}"
            node.holds = f"{each} tables of their own each"
        self._node_of.update(dict.fromkeys(own, node))
        return node

    def _holds(self, tables: tuple[int, ...]) -> str:
        """What the entries of tables are, in words."""
        level = self._snapshot.tables[tables[0]].level
        entries = np.concatenate([self._snapshot.tables[at].entries for at in tables])
        present = (entries & np.uint64(P)) != 0
        large = (entries & np.uint64(int(PS))) != 0 if level in (2, 3) else present if level == 1 else present & False
        pages, pointers = int((present & large).sum()), int((present & ~large).sum())
        absent = (entries != 0) & ~present
        away = int(swapped(entries).sum())
        nobody = int((absent & ((entries & np.uint64(HERE)) != 0)).sum())
        marks = int(absent.sum()) - away - nobody
        name = PAGE_SIZE_NAME.get(level, "")
        words = [
            plural(pointers, "table", "tables") if pointers else "",
            plural(pages, f"{name} page", f"{name} pages") if pages else "",
            f"{away:,} in swap" if away else "",
            f"{nobody:,} PROT_NONE" if nobody else "",
            plural(marks, "marker", "markers") if marks else "",
        ]
        return ", ".join(filter(None, words)) or "empty"


def node_name(node: Node, levels: int) -> str:
    """Its kind and where it is, or how many it stands for."""
    if node.apart:
        return f"{len(node.sharers):,} processes"
    if not node.children and not node.level - levels and len(node.tables) > 1:
        return f"PGD {node.tables[0]:#x}"
    kind = table_name(node.level, levels)
    return f"{kind} {node.tables[0]:#x}" if len(node.tables) == 1 else f"{len(node.tables):,} {kind} tables"


def node_words(snapshot: PageTablesSnapshot, node: Node) -> str:
    """A node in a sentence, for who cannot see the picture."""
    if node.apart:
        return f"{node_name(node, snapshot.levels)}, {who(snapshot, node.sharers).partition(' ')[2]}: {node.holds}"
    vaddr = shown_address(node.vaddr, snapshot.levels)
    last = node.vaddr + (span(node.level) << 9) - 1
    end = shown_address(last, snapshot.levels)
    where = f"from {vaddr:#x}" if len(node.tables) > 1 else f"for {vaddr:#x} to {end:#x}"
    many = len(node.tables) > 1
    name = node_name(node, snapshot.levels) + (f", the first at {node.tables[0]:#x}" if many else "")
    whose = f"shared by {who(snapshot, node.sharers)}" if node.shared else f"of {who(snapshot, node.sharers)}"
    return f"{name}, {where}, {whose}: {node.holds}"
