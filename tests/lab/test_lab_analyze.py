"""unimmu tlb analyze: its tables, its JSON and its page say what the analyses have counted."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from emu.cli.main import main
from emu.lab.analysis import DATA, Reuse, analyse
from emu.lab.batch import EVERY_PCID, Batch, Op, Register, controls_of
from emu.lab.curves import draw_curves
from emu.lab.finding import Curve, Finding, Listing, Picture
from emu.lab.page import page_of
from emu.lab.stream_file import StreamWriter
from emu.trace.pictures.look import WIDTH
from mmu.registers import CR4
from tests.docs.pages import ROOT
from tests.lab.stacks import SlowTlb, by_chance, pages_of, piece


def written(path: Path, *batches: Batch) -> str:
    writer = StreamWriter(str(path))
    for batch in batches:
        writer.write(batch)
    writer.close()
    return str(path)


@pytest.fixture
def stream(tmp_path: Path) -> str:
    batch = by_chance(11, 3000, 60)
    flushed = controls_of([(100, Op.INVALIDATE, 0, 0, EVERY_PCID), (700, Op.INVALIDATE, 1, 0, EVERY_PCID)])
    return written(tmp_path / "a.parquet", piece(batch, slice(1500), flushed), piece(batch, slice(1500, None)))


def test_misses_and_their_reasons(stream: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of each vCPU's own TLB, with what is invalidated there alone."""
    figures = tmp_path / "a.json"
    assert main(["tlb", "analyze", "--reuse", "--kinds", "load,store", "--json", str(figures), stream]) == 0
    batch, entries = by_chance(11, 3000, 60), 8
    tlbs, kept = [SlowTlb(entries), SlowTlb(entries)], [SlowTlb(entries), SlowTlb(entries)]
    cold, accesses = [set(), set()], 0  # type: ignore[var-annotated]
    for at, (page, kind, vcpu) in enumerate(
        zip(pages_of(batch), batch.kind.tolist(), batch.vcpu.tolist(), strict=True)
    ):
        for when, whose in ((100, 0), (700, 1)):
            if at == when:
                tlbs[whose].held = []
        if kind < 2:
            accesses += 1
            tlbs[vcpu].access(page)
            kept[vcpu].access(page)
            cold[vcpu].add(page)
    missed = sum(tlb.misses for tlb in tlbs)
    capacity = sum(tlb.misses for tlb in kept) - sum(map(len, cold))
    found = json.loads(figures.read_text())["reuse"]["loads and stores"]
    assert found["accesses"] == accesses and found["misses"]["8"] == missed
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    (row,) = [row for row in rows if row[:1] == ["8"]]
    first = sum(map(len, cold))
    assert [row[1], *row[4:]] == [f"{n:,}" for n in (missed, first, capacity, missed - first - capacity)]


def test_a_vcpu_that_comes_later_knows_of_pcids() -> None:
    """CR4 was written before the first access of another vCPU, in a batch before."""
    reuse = Reuse((DATA,))
    rows = controls_of([(0, Op.REGISTER, 0, Register.CR4, CR4.PCIDE)])
    later = controls_of([(0, Op.CR3, 1, 0x1002, 0), (1, Op.INVLPG, 1, 0x5000, 0)])
    analyse(
        [
            Batch.of(rows, vaddr=[0x5000], shift=12, pcid=1),
            Batch.of(later, vaddr=[0x5000] * 2, shift=12, pcid=2, vcpu=1),
        ],
        [reuse],
    )
    assert reuse.finding().figures["loads and stores"]["invalidated"] == 1


def test_everything_at_once(stream: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, figures = tmp_path / "a.html", tmp_path / "a.json"
    options = ["--window", "400", "--entries", "4", "--json", str(figures), "-o", str(page)]
    assert main(["tlb", "analyze", *options, stream]) == 0
    out, found = capsys.readouterr().out, json.loads(figures.read_text())
    assert f"{stream}: 3,000 accesses" in out
    for heading in ("Reuse distances of pages", "Working set over time", "What large pages would save"):
        assert heading in out and heading in page.read_text()
    assert found["accesses"] == 3000
    assert sum(each["accesses"] for each in found["reuse"].values()) == 3000
    assert len(found["working-set"]["fetches"]["pages"]) == found["reuse"]["fetches"]["accesses"] // 400
    ranges = found["huge"]["2 MiB"]["ranges"]
    assert {int(one["vaddr"], 16) % (1 << 21) for one in ranges} == {0} and all(one["pieces"] <= 512 for one in ranges)
    _Balanced().feed(page.read_text())


class _Balanced(HTMLParser):
    """Every element that is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_stream_that_knows_no_sizes_is_of_small_pages(tmp_path: Path) -> None:
    figures, stream = tmp_path / "a.json", written(tmp_path / "a.parquet", Batch.of(vaddr=[1, 2, 4096]))
    assert main(["tlb", "analyze", "--json", str(figures), stream]) == 0
    assert json.loads(figures.read_text())["reuse"]["loads and stores"]["pages"] == 2


def _round(path: Path, pages: int, rounds: int) -> str:
    """Loads of one page after the other, again and again, with no page tables."""
    addresses = [f"{0x10000000 + page * 4096:#x}" for _ in range(rounds) for page in range(pages)]
    path.write_text("\n".join(["address", *addresses]) + "\n")
    return str(path)


@pytest.mark.parametrize(
    ("pages", "policy", "reasons"),
    [
        (64, "4k", {"cold": 64, "capacity": 0, "conflict": 0}),
        (65, "4k", {"cold": 65, "capacity": 9 * 65, "conflict": 0}),  # LRU of 64 entries has never what comes next
        (2048, "thp", {"cold": 4, "capacity": 0, "conflict": 0}),
    ],
)
def test_reasons_in_a_table_of_addresses(pages: int, policy: str, reasons: dict[str, int], tmp_path: Path) -> None:
    """Its pages are mapped as a policy says."""
    model, figures = tmp_path / "lru.toml", tmp_path / "a.json"
    array = 'kinds = ["load", "store"]\npage_sizes = ["4K", "2M"]\nsets = 1\nways = 64\nreplacement = "lru"\n'
    model.write_text(f'[lru]\n[[lru.arrays]]\nname = "L1D"\nlevel = 1\n{array}')
    words = ["--reasons", "--tlb", str(model), "--pages", policy, "--json", str(figures)]
    assert main(["tlb", "analyze", *words, _round(tmp_path / "a.csv", pages, 10)]) == 0
    found = json.loads(figures.read_text())["reasons"]["level 1: L1D"]
    assert {name: found[name] for name in reasons} == reasons and found["accesses"] == pages * 10


def test_a_stream_with_tables_gets_no_others(stream: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tlb", "analyze", "--reuse", "--pages", "thp", stream]) == 2
    assert "has the page tables of the run that it is of" in capsys.readouterr().err


def test_an_empty_stream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tlb", "analyze", written(tmp_path / "a.parquet")]) == 0
    assert "0 accesses" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere.parquet"], "nowhere.parquet: No such file or directory"),
        (["notes.txt"], "notes.txt: no access stream by its name"),
        (["--kinds", "jump", "a.parquet"], "'jump' is no kind of access; there are load, store, fetch"),
        (["--window", "0", "a.parquet"], "'0' is not a whole number of at least 1"),
        ([], "FILE"),
    ],
)
def test_mistakes_are_told_in_a_line(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tlb", "analyze", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


@pytest.mark.parametrize("logarithmic", [False, True])
@pytest.mark.parametrize("points", [[(1, 0.5)], [(1, 0), (1024, 0)], [(3, 2.0), (50, 1e9), (4000, 1)]])
def test_curves_are_drawn(points: list[tuple[float, float]], logarithmic: bool) -> None:
    svg = draw_curves(Picture("a < b", "x", "y", [Curve("one", points), Curve("none", [])], logarithmic))
    tree = ElementTree.fromstring(svg)
    assert tree.findtext("{http://www.w3.org/2000/svg}title") == "a < b"
    assert "nan" not in svg and "inf" not in svg


def test_curves_can_be_read_where_they_are_small_or_dark() -> None:
    """At 640 pixels no letter is below 11; lines of the grid are not those of bright paper."""
    drawn = draw_curves(Picture("t", "x", "y", [Curve("n" * 60, [(1, 0.5), (2, 1)])]))
    for svg in (drawn, *(path.read_text("utf-8") for path in (ROOT / "docs").glob("lab-*.svg"))):
        assert min(int(size) for size in re.findall(r'font-size="(\d+)"', svg)) * 640 / WIDTH >= 11
        assert 'class="grid"' in svg and re.search(r"dark\) {[^}]*svg .grid {", svg)


def test_curves_of_the_same_values_are_both_seen() -> None:
    """The later one has gaps; a screen that is large does not help there, and colours do not."""
    points = [(1.0, 1.0), (2.0, 3.0)]
    tree = ElementTree.fromstring(draw_curves(Picture("t", "x", "y", [Curve(name, points) for name in "abcdefgh"])))
    lines = [one for one in tree.iter("{http://www.w3.org/2000/svg}polyline") if one.get("class", "").startswith("k")]
    dashes = [line.get("stroke-dasharray", "") for line in lines]
    assert dashes[0] == "" and len({*dashes}) == 8


def test_a_picture_alone(stream: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One analysis that has curves, into FILE.svg; otherwise it is said, before the stream is read, which have some."""
    picture = tmp_path / "curve.svg"
    assert main(["tlb", "analyze", "--reuse", "-o", str(picture), stream]) == 0
    assert ElementTree.fromstring(picture.read_text()).findtext("{http://www.w3.org/2000/svg}title") == (
        "misses by the size of the TLB"
    )
    for words in ([], ["--huge"], ["--reuse", "--working-set"]):
        capsys.readouterr()
        assert main(["tlb", "analyze", *words, "-o", str(picture), stream]) == 2
        assert "a picture is that of --reuse or of --working-set alone; FILE.html has all" in capsys.readouterr().err


def test_a_table_of_a_page_has_one_heading() -> None:
    page = page_of("t", "o", [Finding("k", "h", "", [Listing("2 pages", ("a", "b"), [("1", "2")])], [], {})])
    assert page.count(">2 pages<") == 1
