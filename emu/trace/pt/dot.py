"""Page tables for Graphviz: ``unimmu pt --dot hello | dot -Tsvg``."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from emu.trace.pt.graph import Node, graph_of, node_name
from emu.trace.pt.sharing import Sharing, who
from emu.trace.pt.tables import PageTablesSnapshot, shown_address
from emu.trace.pt.text import title_of


def dot_text(snapshot: PageTablesSnapshot, sharing: Sharing, chosen: Collection[int] = ()) -> Iterator[str]:
    """A directed graph: a cluster an address space, a node a table; shared tables once, and filled.  Of many processes
    those that are alike are one node (:mod:`emu.trace.pt.folding`).
    """
    yield "digraph page_tables {"
    yield f"  label={_quoted(title_of(snapshot))}; labelloc=t; rankdir=LR;"
    yield '  node [shape=box, fontname="DejaVu Sans Mono", fontsize=11]; edge [fontname="DejaVu Sans", fontsize=9];'
    blocks = graph_of(snapshot, sharing, chosen)
    for number, block in enumerate(blocks):
        yield f"  subgraph cluster_{number} {{"
        yield f"    label={_quoted(block.title)};"
        for node in _all(block.root):
            yield f"    {_name(node)} [{_look(snapshot, node)}];"
        yield "  }"
    for block in blocks:
        for node in _all(block.root):
            for child in node.children:
                yield f"  {_name(node)} -> {_name(child)};"
            for entry, target in node.links:
                yield f"  {_name(node)} -> {_name(target)} [label={_quoted(f'entry at {entry:#x}')}, penwidth=2];"
    yield "}"


def _all(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _all(child)


def _name(node: Node) -> str:
    return _quoted(node.key)


def _look(snapshot: PageTablesSnapshot, node: Node) -> str:
    vaddr = shown_address(node.vaddr, snapshot.levels)
    where = "" if node.apart else f"from {vaddr:#x}\n"
    label = _quoted(f"{node_name(node, snapshot.levels)}\n{where}{node.holds}")
    if not node.shared:
        return f"label={label}"
    hint = _quoted(f"shared by {who(snapshot, node.sharers)}")
    return f'label={label}, style=filled, fillcolor="#14365c", fontcolor=white, tooltip={hint}'


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
