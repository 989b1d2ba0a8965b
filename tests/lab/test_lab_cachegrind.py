"""Hits and misses of all arrays are those of valgrind's cachegrind, whose caches have lines of 4096 bytes here."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import guests
from emu.bench.loops import program, touch
from emu.lab.page_policy import TABLE_BYTES, PageMapper, PagePolicy
from emu.lab.simulation import Simulation
from emu.lab.stream import open_stream
from mmu.geometry import Geometry
from tests.lab.cachegrind import Counts, cachegrind_of, counted, is_installed, read_counts, three_arrays, trace

needs_valgrind = pytest.mark.skipif(not is_installed(), reason="valgrind is not installed: apt-get install valgrind")
#: Sets and ways for fetches, for data, and of the second level that both share.
SHAPES = (((16, 4), (16, 4), (128, 12)), ((1, 2), (1, 3), (2, 5)), ((2, 1), (8, 8), (1, 96)))
TEXT, DATA, PAGE = 0x40_0000, 0x50_0000, 4096
SCRIPT = "@p = mmap 0 256K RW ANON -1 0; repeat 12; touch p 256K; @scan p 256K; @getpid; @mod 77 5; load p+60K; end"
PROGRAMS = {
    "gups": [str(guests.path("gups")), "8M", "4000"], "calls": [str(guests.path("calls")), SCRIPT],
    "hello_musl": [str(guests.path("hello_musl"))], "a shell of this host": ["/bin/sh", "-c", ":"],
}  # fmt: skip
#: A reference as lackey tells it: whether it is a fetch, the first page, and the last one.
Reference = tuple[bool, int, int]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """With one whose loads all lie in two pages, and so does the jump back."""
    path = tmp_path_factory.mktemp("programs") / "crossing"
    no_operations = b"\x90" * (PAGE - 64 - 2 * 56 - 32)  # up to the last 32 bytes of the page
    path.write_bytes(program(no_operations + touch(DATA + PAGE - 4, 60, PAGE, 20), TEXT, DATA, 64 * PAGE))
    path.chmod(0o755)
    return {**PROGRAMS, "crossing": [str(path)]}


@pytest.fixture(scope="module")
def traces(programs: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("traces")
    paths = {name: directory / f"{name}.lackey" for name in programs}
    for name, path in paths.items():
        trace(programs[name], path)
    return paths


def references(path: Path) -> Iterator[Reference]:
    for line in path.read_text("ascii", "replace").splitlines():
        if line[:3] in ("I  ", " L ", " S ", " M "):
            address, size = line[3:].split(",")
            first = int(address, 16)
            yield line[0] == "I", first // PAGE, (first + int(size) - 1) // PAGE


def ours(geometry: Geometry, path: Path) -> dict[str, Counts]:
    """What our model counts of what lackey printed."""
    simulation = Simulation([geometry], TABLE_BYTES)
    for batch in PageMapper(PagePolicy.FOUR_K).mapped(open_stream(path)):
        simulation.add(batch)
    levels = simulation.figures()[0]["tlb"]
    arrays = {array.name: levels[f"L{array.level}"][array.name] for array in geometry.arrays}
    return {name: Counts(one["hits"] + one["misses"], one["misses"]) for name, one in arrays.items()}


class Cache:
    """Sets of lines, the one used longest ago first."""

    def __init__(self, sets: int, ways: int) -> None:
        self.sets: list[OrderedDict[int, None]] = [OrderedDict() for _ in range(sets)]
        self.ways = ways
        self.counts = Counts(0, 0)

    def misses(self, first: int, last: int) -> bool:
        """Whether a reference to these lines misses, which makes it one miss."""
        missed = [line for line in range(first, last + 1) if not self._has(line)]
        self.counts = Counts(self.counts.references + 1, self.counts.misses + bool(missed))
        return bool(missed)

    def _has(self, line: int) -> bool:
        lines = self.sets[line % len(self.sets)]
        found = line in lines
        lines[line] = None
        lines.move_to_end(line)
        if len(lines) > self.ways:
            lines.popitem(last=False)
        return found


def by_its_rule(geometry: Geometry, stream: Iterable[Reference]) -> dict[str, Counts]:
    """What cachegrind's rule is: an operand in two lines is one reference, and LL is asked for both where it misses."""
    caches = {array.name: Cache(array.sets, array.ways) for array in geometry.arrays}
    for fetch, first, last in stream:
        if caches["I1" if fetch else "D1"].misses(first, last):
            caches["LL"].misses(first, last)
    return {name: cache.counts for name, cache in caches.items()}


@needs_valgrind
@pytest.mark.parametrize("name", ["gups", "calls"])
def test_all_arrays_count_what_cachegrind_counts(
    name: str, programs: dict[str, list[str]], traces: dict[str, Path]
) -> None:
    assert all(first == last for _, first, last in references(traces[name])), "an operand lies in two pages"
    for shape in SHAPES:
        geometry = three_arrays(*shape)
        theirs = counted(geometry, programs[name])
        assert ours(geometry, traces[name]) == theirs
        assert theirs["D1"].references > theirs["D1"].misses > 0 < theirs["LL"].misses <= theirs["LL"].references


@needs_valgrind
@pytest.mark.parametrize("name", ["hello_musl", "crossing", "a shell of this host"])
def test_an_operand_in_two_pages_is_one_reference_to_it_and_two_to_us(
    name: str, programs: dict[str, list[str]], traces: dict[str, Path]
) -> None:
    """Each is exactly what its own rule says, and nothing else differs."""
    stream = list(references(traces[name]))
    pages = [(fetch, page, page) for fetch, first, last in stream for page in range(first, last + 1)]
    assert len(pages) > len(stream), "no operand lies in two pages"
    for shape in SHAPES if len(stream) < 100_000 else SHAPES[1:2]:
        geometry = three_arrays(*shape)
        assert counted(geometry, programs[name]) == by_its_rule(geometry, stream)
        assert ours(geometry, traces[name]) == by_its_rule(geometry, pages)


def test_what_it_prints_is_read() -> None:
    printed = "\n".join((
        "==7== Cachegrind, a cache and branch-prediction profiler", "--7-- warning: simulated LL cache",
        "==7== I   refs:      1,235", "==7== I1  misses:        2", "==7== LLi misses:        1",
        "==7== I1  miss rate:  0.16%", "==7== D   refs:         72  (32 rd   + 40 wr)",
        "==7== D1  misses:       20  ( 9 rd   + 11 wr)", "==7== LL refs:          22  ( 11 rd   + 11 wr)",
        "==7== LL misses:         3  ( 2 rd   +  1 wr)",
    ))  # fmt: skip
    assert read_counts(printed) == {"I1": Counts(1235, 2), "D1": Counts(72, 20), "LL": Counts(22, 3)}
    with pytest.raises(RuntimeError, match="cachegrind has counted nothing: valgrind: Bad option"):
        read_counts("valgrind: Bad option: --D1=1,2,3\n")


def test_geometries_are_told_in_bytes() -> None:
    command = cachegrind_of(three_arrays((16, 4), (1, 48), (128, 12)), ["/bin/true", "x"])
    assert command[4:] == ["--I1=262144,4,4096", "--D1=196608,48,4096", "--LL=6291456,12,4096", "/bin/true", "x"]
