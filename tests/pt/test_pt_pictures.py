"""Pictures, page and graph: every table once, an arrow for every process, and nothing from elsewhere."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from emu.trace.pt.dot import dot_text
from emu.trace.pt.folding import FULL
from emu.trace.pt.graph import graph_of
from emu.trace.pt.page import tables_page
from emu.trace.pt.picture import all_nodes, draw_tables
from emu.trace.pt.sharing import find_sharing
from emu.trace.pt.tables import PageTablesSnapshot
from emu.trace.pt.walk import walk
from emu.trace.pt.walkpicture import draw_walk
from mmu import Access
from mmu.entries import encode
from tests.booted import MIB
from tests.pt.conftest import Sharing3, by_hand

SVG = "{http://www.w3.org/2000/svg}"
POINTER = {"P": 1, "RW": 1, "US": 1}


def words(picture: str) -> list[str]:
    return ["".join(text.itertext()) for text in ElementTree.fromstring(picture).iter(f"{SVG}text")]


def drawn(snapshot: PageTablesSnapshot) -> str:
    return draw_tables(snapshot, find_sharing(snapshot))


@pytest.mark.parametrize("options", [{}, {"level": "pud"}, {"level": "pte"}, {"la57": True}])
def test_every_table_is_drawn_once_and_every_process_has_an_arrow(
    sharers: Sharing3, options: dict[str, object]
) -> None:
    snapshot = sharers(**options)
    sharing = find_sharing(snapshot)
    nodes = [node for block in graph_of(snapshot, sharing) for node in all_nodes(block.root)]
    assert sorted(table for node in nodes for table in node.tables) == sorted(snapshot.tables)
    shared = {node for node in nodes if node.shared}
    assert {table for node in shared for table in node.tables} == sharing.shared
    tops = {node for _, node in [link for node in nodes for link in node.links]}
    for top in tops:
        assert {node.space for node in nodes for _, target in node.links if target is top} == {0, 1, 2}
    boxes = [line for line in words(drawn(snapshot)) if re.match(r"P\w+ 0x|\d+ PTE tables", line)]
    assert len(boxes) == len(nodes)


def test_hosts_own_what_is_shared_and_else_the_first_process() -> None:
    tables = {
        0x1000: {0: encode(4, ADDRESS=0x3000, **POINTER)},
        0x2000: {0: encode(4, ADDRESS=0x3000, **POINTER)},
        0x3000: {},
    }
    alone = by_hand(tables, 0x1000, 0x2000)
    first, second = graph_of(alone, find_sharing(alone))
    assert [node.tables for node in first.root.children] == [(0x3000,)]
    assert [target.tables for _, target in second.root.links] == [(0x3000,)]
    region = by_hand(tables, 0x1000, regions=(0x2000,))
    process, host = graph_of(region, find_sharing(region))
    assert process.root.links[0][1] is host.root.children[0]


def test_many_tables_behind_each_other_are_one_box(sharers: Sharing3) -> None:
    snapshot = sharers(size=16 * MIB)
    assert "6 PTE tables" in words(drawn(snapshot))
    assert len(drawn(snapshot)) < 60_000


def test_of_many_processes_those_that_are_alike_are_one_row(sharers: Sharing3) -> None:
    """The first is drawn in full; the others are a box, with an arrow to what they share and a row in the page."""
    snapshot = sharers(processes=FULL + 4)
    sharing = find_sharing(snapshot)
    first, others, region = graph_of(snapshot, sharing)
    assert [block.title for block in (first, others, region)] == [
        "process 100 (sharers)",
        "15 more: processes 101-115 (sharers), like process 100",
        "host mm of sharers",
    ]
    assert (len(others.root.sharers), others.root.shared, others.root.holds) == (
        15,
        False,
        "9 tables of their own each",
    )
    assert [target for _, target in others.root.links] == [first.root.children[1].links[0][1]]
    nodes = [node for block in (first, others, region) for node in all_nodes(block.root)]
    assert sorted(table for node in nodes for table in node.tables) == sorted(snapshot.tables)
    picture = ElementTree.fromstring(draw_tables(snapshot, sharing))
    assert float(picture.attrib["height"]) < 700
    page = tables_page(snapshot, sharing)
    assert 'aria-label="15 processes, 101-115: 9 tables of their own each"' in page
    assert "15 processes" in "\n".join(dot_text(snapshot, sharing))


def test_up_to_twelve_processes_have_a_row_each(sharers: Sharing3) -> None:
    snapshot = sharers(processes=FULL)
    assert len(graph_of(snapshot, find_sharing(snapshot))) == FULL + 1


def test_a_chosen_process_is_drawn_and_the_others_are_together(sharers: Sharing3) -> None:
    snapshot = sharers(processes=4)
    others, chosen, region = graph_of(snapshot, find_sharing(snapshot), [2])
    assert others.title == "3 more: processes 100, 101, 103 (sharers), like process 102"
    assert chosen.root.children and not others.root.children and region.root.children
    assert chosen.title == "process 102 (sharers)"


def test_many_processes_that_all_differ_are_few_rows() -> None:
    """Twelve are drawn; the others are together by what they link, whatever else they have."""
    tables: dict[int, dict[int, int]] = {0x1000: {0: encode(4, ADDRESS=0x2000, **POINTER)}, 0x2000: {}}
    roots = []
    for number in range(40):  # each has a table more than the one before; every second links the region's
        root = 0x10000 + (number << 20)
        roots.append(root)
        own = [root + (one << 12) for one in range(1, number + 2)]
        tables |= {at: {} for at in own}
        tables[root] = {index: encode(4, ADDRESS=at, **POINTER) for index, at in enumerate(own)}
        if number % 2:
            tables[root][200] = encode(4, ADDRESS=0x2000, **POINTER)
    snapshot = by_hand(tables, *roots, regions=(0x1000,))
    blocks = graph_of(snapshot, find_sharing(snapshot))
    assert len(blocks) == FULL + 2 + 1
    without, linking = blocks[FULL : FULL + 2]
    assert without.title.startswith("14 more: processes 112, 114") and not without.root.links
    assert without.root.holds == "14 to 40 tables of their own each"
    assert linking.title.startswith("14 more: processes 113, 115") and len(linking.root.links) == 1


def test_everything_lies_within_the_picture(sharers: Sharing3) -> None:
    snapshot = sharers()
    story = walk(snapshot, snapshot.spaces[0], 2 << 40, Access.READ)
    for picture in (drawn(snapshot), draw_walk(story)):
        root = ElementTree.fromstring(picture)
        width, height = (float(root.attrib[name]) for name in ("width", "height"))
        for rect in root.iter(f"{SVG}rect"):
            x, y = float(rect.attrib.get("x", 0)), float(rect.attrib.get("y", 0))
            assert 0 <= x <= x + float(rect.attrib["width"]) <= width
            assert 0 <= y <= y + float(rect.attrib["height"]) <= height


def test_the_page_needs_nothing_from_elsewhere_and_its_links_lead_somewhere(sharers: Sharing3) -> None:
    snapshot = sharers()
    stories = [walk(snapshot, snapshot.spaces[0], at, Access.WRITE) for at in (2 << 40, 0x401000)]
    page = tables_page(snapshot, find_sharing(snapshot), stories)
    assert page.startswith("<!doctype html>")
    targets = re.findall(r'(?:href|src|url)\s*[=(]\s*["\']?([^"\') ]+)', page)
    assert all(target.startswith("#") for target in targets)
    names = re.findall(r' id="([^"]+)"', page)
    assert len(names) == len(set(names))
    assert {target[1:] for target in targets} <= set(names)
    assert "<script" not in page
    for story in stories:
        for line in story.lines():
            if "comes next" in line or "error code" in line:
                assert " ".join(line.split()) in page


def test_the_page_is_for_keyboards_screen_readers_and_dark_rooms(sharers: Sharing3) -> None:
    snapshot = sharers()
    page = tables_page(snapshot, find_sharing(snapshot))
    assert "color-scheme: light dark" in page
    assert page.count("prefers-color-scheme: dark") == 2, "the page, and the picture"
    assert '<html lang="en">' in page
    assert re.search(r'<div class="wide" tabindex="0" role="region" aria-label="[^"]+">', page)
    links = re.findall(r"<a [^>]*>", page[page.index("<svg") : page.index("</svg>")])
    assert len(links) == len(list(re.finditer(r'<rect [^>]*class="(?:own|shared)"', page))) - 2, (
        "each box; two of a legend"
    )
    assert all('aria-label="' in link for link in links)
    assert re.findall(r"<svg[^>]*>", page)[0].count('role="group"') == 1


def test_names_cannot_become_markup() -> None:
    snapshot = by_hand({0x1000: {}}, 0x1000)
    (space,) = snapshot.spaces
    evil = PageTablesSnapshot(
        ("<script>", "\x1b[2J"), "<b>", 0, snapshot.memory_bytes, snapshot.registers,
        (type(space)("<i>\x1b", (100,), 0x1000),), snapshot.tables,
    )  # fmt: skip
    for text in (tables_page(evil, find_sharing(evil)), drawn(evil), "\n".join(dot_text(evil, find_sharing(evil)))):
        assert "\x1b" not in text
        assert "<script>" not in text or text.startswith("digraph")
        assert "<i>" not in text or text.startswith("digraph")


def test_the_graph_for_graphviz(sharers: Sharing3) -> None:
    snapshot = sharers()
    lines = list(dot_text(snapshot, find_sharing(snapshot)))
    assert lines[0] == "digraph page_tables {"
    assert lines[-1] == "}"
    assert len([line for line in lines if "style=filled" in line]) == 4
    assert len([line for line in lines if "penwidth=2" in line]) == 3
    named = set(re.findall(r'^    "(t\w+)" \[', "\n".join(lines), re.MULTILINE))
    for line in lines:
        if arrow := re.match(r'  "(t\w+)" -> "(t\w+)"', line):
            assert set(arrow.groups()) <= named


@pytest.mark.parametrize(
    ("vaddr", "access", "said"),
    [
        (2 << 40, Access.READ, "The physical address of 0x20000000000 is"),
        (0x401000, Access.WRITE, "RW is 0 in the PTE"),
        (0x500000, Access.READ, "P is 0, so the walk ends here"),
        (1 << 62, Access.READ, "There is no walk"),
    ],
)
def test_the_picture_of_a_walk(sharers: Sharing3, vaddr: int, access: Access, said: str) -> None:
    snapshot = sharers()
    story = walk(snapshot, snapshot.spaces[0], vaddr, access)
    written = words(draw_walk(story))
    assert any(said in line for line in written)
    for entry in story.entries:
        assert f"{entry.value:#018x}" in written
        assert f"index {entry.index}" in written
    if story.error_code is not None:
        assert f"error code {story.error_code:#x}" in written


def test_long_names_are_not_cut_off_in_the_picture_of_a_walk(sharers: Sharing3) -> None:
    """What Linux does then names the mapping: its sentence goes on in the next line."""
    snapshot = sharers()
    space = snapshot.spaces[0]
    long = "/bin/" + "a_program_with_a_very_long_name_" * 6
    space = replace(space, mappings=tuple(each._replace(name=long) for each in space.mappings))
    picture = draw_walk(walk(snapshot, space, 0x401000, Access.WRITE))
    root = ElementTree.fromstring(picture)
    wide, high = (float(root.attrib[name]) for name in ("width", "height"))
    for text in root.iter(f"{SVG}text"):
        size = float(text.attrib["font-size"])
        length = 0.62 * size * len("".join(text.itertext()))
        assert float(text.attrib["y"]) < high
        if text.attrib.get("text-anchor") is None:
            assert float(text.attrib["x"]) + length < wide + 60, "".join(text.itertext())
    assert long.replace("_", "") in "".join(words(picture)).replace("_", "").replace("\u200b", "")


def test_a_long_command_does_not_run_into_the_legend(sharers: Sharing3) -> None:
    snapshot = replace(sharers(), command=("/a/very/long/path/" * 20, "x"), moment="when something happened " * 20)
    root = ElementTree.fromstring(draw_tables(snapshot, find_sharing(snapshot)))
    title, told, legend = list(root.iter(f"{SVG}text"))[:3]
    assert legend.text == "of one"
    for text, end in ((title, float(legend.attrib["x"]) - 30), (told, float(root.attrib["width"]))):
        letter = 0.66 if text.attrib.get("font-weight") else 0.58
        assert text.text and text.text.endswith("…")
        assert float(text.attrib["x"]) + letter * float(text.attrib["font-size"]) * len(text.text) < end


def test_the_error_code_is_a_table(sharers: Sharing3) -> None:
    snapshot = sharers()
    story = walk(snapshot, snapshot.spaces[0], 0x401000, Access.WRITE)
    page = tables_page(snapshot, find_sharing(snapshot), [story])
    assert "<caption>the error code</caption>" in page
    assert '<td>W/R</td><td class="m">1</td><td>a write</td>' in page
    assert "<b>1 W/R" not in page


def test_an_address_of_the_kernels_half(sharers: Sharing3) -> None:
    snapshot = sharers()
    story = walk(snapshot, snapshot.spaces[0], 0xFFFF800000000000, Access.READ)
    assert story.ending[-1] == "Linux: the address is in the kernel's half, so this is SIGSEGV."
