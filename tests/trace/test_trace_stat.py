"""``unimmu trace stat`` and ``top``: the same numbers as a slow count of one event after the other."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import emu.trace
import guests
from emu.cli.main import main
from emu.trace.choice import ALL, Choice
from emu.trace.formats.parquet import HEADER
from emu.trace.opened import Trace
from emu.trace.reader import TraceError, TraceReader
from emu.trace.stat.codes import Coder
from emu.trace.stat.counting import Totals, count
from emu.trace.stat.groupings import (
    NO_REGION,
    UNKNOWN_REGION,
    ByFunction,
    ByPageSize,
    ByProcess,
    ByRegion,
    BySharing,
)
from emu.trace.stat.numbering import Numbering
from emu.trace.stat.occurrences import Occurrences
from emu.trace.stat.pages import ByPage
from emu.trace.stat.programs import NO_SYMBOLS, Given, Programs
from emu.trace.stat.regions import Regions
from emu.trace.stat.symbols import Elf, SymbolsError
from emu.trace.stat.tally import Tally
from emu.trace.stat.timeline import Change, Timeline
from tests.trace.symbols import ET_DYN, write_elf

Event = dict[str, Any]
EXAMPLE = Path(__file__).parent / "example.jsonl"
RUNS = {
    "mshare_donor": ["mshare_donor"],
    "two vCPUs": ["--cpus", "2", "pthreads"],
    "five levels": ["--la57", "faults"],
    "a modelled TLB": ["--tlb", "textbook", "--trace-accesses", "mshare_donor"],
}


@pytest.fixture(scope="module", params=RUNS, ids=list(RUNS))
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trace, list[Event]]:
    """A trace, and its events one by one, from lines of JSON."""
    directory = tmp_path_factory.mktemp("traces")
    paths = directory / "t.parquet", directory / "t.jsonl"
    for path in paths:
        main(["run", "--trace", str(path), *RUNS[request.param]])
    with paths[1].open("rb") as file:
        return emu.trace.open(paths[0]), list(TraceReader(file, "t"))


@pytest.fixture(scope="module")
def donor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("donor") / "t.parquet"
    assert main(["run", "--trace", str(path), "mshare_donor"]) == 0
    return path


#: ``said(*words)``: the exit status of `unimmu trace`, and what it prints
Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str]) -> Said:
    def call(*words: object) -> tuple[int, str, str]:
        capfd.readouterr()
        return main(["trace", *map(str, words)]), *capfd.readouterr()

    return call


def counted(trace: Trace, *groupings: Any, choice: Choice = ALL) -> Totals:
    return count(trace, Coder(trace.schema, trace.path), groupings, choice)


def loads(event: Event) -> int:
    return len(event["entries"])


PAGE_SIZES = {1: 1 << 12, 2: 1 << 21, 3: 1 << 30}


def test_totals(recorded: tuple[Trace, list[Event]]) -> None:
    trace, events = recorded
    found = counted(trace)
    walks = [event for event in events if event["event"] == "walk"]
    counts = found.counts
    assert counts.events == Counter(event["event"] for event in events)
    assert counts.page_sizes == Counter(PAGE_SIZES[event["level"]] if "paddr" in event else 0 for event in walks)
    assert counts.answered == Counter(event["level"] for event in walks)
    assert counts.began == Counter(event.get("cached_level", 0) for event in walks)
    assert counts.shared == Counter(event.get("shared_level", 0) for event in walks)
    assert counts.loads == sum(map(loads, walks)) > 0
    assert counts.resolved == Counter(event["resolved"] for event in events if event["event"] == "fault")
    accesses = [event for event in events if event["event"] == "access"]
    assert counts.lookups == Counter((event["access"], event["tlb_level"] or 0) for event in accesses)
    assert found.instructions == events[-1]["clock"] - events[0]["clock"]
    shootdowns = [event for event in events if event["event"] == "shootdown"]
    assert found.shootdown_cycles == sum(event["cost_cycles"] for event in shootdowns)
    assert found.shootdown_receivers == sum(len(event["receivers"]) for event in shootdowns)
    assert found.complete


def some(events: list[Event]) -> Choice:
    """The middle of a run, of some processes."""
    clocks, pids = events[-1]["clock"], {event.get("pid", 0) for event in events}
    return Choice(pids=frozenset(sorted(pid for pid in pids if pid)[:2]), begin=clocks // 4, end=clocks // 4 * 3)


CHOICES: dict[str, Callable[[list[Event]], Choice]] = {
    "kinds": lambda events: Choice(kinds=frozenset({"walk", "syscall_exit"})),
    "a part": some,
    "the lower half": lambda events: Choice(addresses=(0, (1 << 40) - 1)),
    "high addresses": lambda events: Choice(addresses=(0x7F0000000000, (1 << 64) - 1)),
    "nothing": lambda events: Choice(pids=frozenset({4_000_000})),
}


@pytest.mark.parametrize("choice", CHOICES.values(), ids=list(CHOICES))
def test_choices(recorded: tuple[Trace, list[Event]], choice: Callable[[list[Event]], Choice]) -> None:
    trace, events = recorded
    chosen = choice(events)
    found = counted(trace, choice=chosen)
    assert found.counts.events == Counter(event["event"] for event in events if chosen.takes(event))
    if chosen.begin is not None and chosen.end is not None:
        assert found.instructions == chosen.end - chosen.begin


def by_process(events: list[Event], begin: int, end: int) -> Counter[int]:
    """Instructions by process, as its turns tell."""
    ran: Counter[int] = Counter()
    running, since = None, 0
    for event in [event for event in events if event["event"] == "switch"] + [events[-1]]:
        clock = min(max(event["clock"], begin), end)
        if running is not None:
            ran[running] += clock - since
        running, since = event.get("pid"), clock
    return ran


@pytest.mark.parametrize("choice", [ALL, Choice(begin=1000, end=20000)])
def test_by_process(recorded: tuple[Trace, list[Event]], choice: Choice) -> None:
    trace, events = recorded
    grouping = ByProcess(Coder(trace.schema, "t"), trace.levels, (choice.begin, choice.end))
    counted(trace, grouping, choice=choice)
    found = {label[0]: counts for label, counts in grouping.groups()}
    chosen = [event for event in events if choice.takes(event)]
    expected = Counter((event.get("pid", "-"), event["event"]) for event in chosen)
    assert {(pid, kind): n for pid, counts in found.items() for kind, n in counts.events.items()} == expected
    ran = by_process(events, choice.begin or 0, choice.end or 1 << 63)
    assert {pid: n for pid, n in grouping.instructions.items() if n} == {pid: n for pid, n in ran.items() if n}
    assert grouping.whole == (trace.header.get("cpus", 1) == 1)
    if grouping.whole and choice == ALL:
        assert grouping.instructions.total() == events[-1]["clock"]


def test_turns_that_were_not_recorded(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    assert main(["run", "--trace", str(path), "--trace-pid", "100", "mshare_donor"]) == 0
    trace = emu.trace.open(path)
    grouping = ByProcess(Coder(trace.schema, "t"), 4, (None, None))
    counted(trace, grouping)
    assert grouping.groups() and not grouping.whole


def test_processes_have_the_names_of_their_programs(donor: Path) -> None:
    trace = emu.trace.open(donor)
    grouping = ByProcess(Coder(trace.schema, "t"), 4, (None, None))
    counted(trace, grouping)
    names = {label for label, _ in grouping.groups()}
    assert names == {(100, "/bin/mshare_donor"), (101, "/bin/mshare_donor"), ("-", "")}


def slow_regions(events: list[Event]) -> list[str]:
    """The region of each event's address; the fault by which a table is linked counts for the region."""
    linked: dict[tuple[Any, int, int], str] = {}
    found = []
    for at, event in enumerate(events):
        following = events[at + 1 : at + 10]
        link = next((e for e in following if e["event"] not in ("fault", "link", "flush")), None)
        links = [e for e in (following if link is None else following[: following.index(link)]) if e["event"] == "link"]
        faults = event["event"] == "fault" and event["resolved"] == "link"
        walks = event["event"] == "walk" and following and following[0]["event"] == "fault"
        walks = walks and following[0]["resolved"] == "link"
        if event["event"] in ("link", "unlink"):
            key = event.get("pid"), event["vaddr"], event["length"]
            if event["event"] == "link":
                linked[key] = event["region"]
        candidates = dict(linked)
        if faults or walks:
            candidates |= {(e.get("pid"), e["vaddr"], e["length"]): e["region"] for e in links}
        found.append(
            next(
                (
                    name
                    for (pid, vaddr, length), name in candidates.items()
                    if pid == event.get("pid") and "vaddr" in event and vaddr <= event["vaddr"] < vaddr + length
                ),
                "",
            )
        )
        if event["event"] == "unlink":
            linked.pop((event.get("pid"), event["vaddr"], event["length"]), None)
    return found


def test_by_region(recorded: tuple[Trace, list[Event]]) -> None:
    trace, events = recorded
    grouping = ByRegion(Coder(trace.schema, "t"), trace.levels, Regions())
    counted(trace, grouping)
    found = {(label[0], kind): n for label, counts in grouping.groups() for kind, n in counts.events.items()}
    expected: Counter[tuple[str, str]] = Counter()
    for event, name in zip(events, slow_regions(events), strict=True):
        if "vaddr" in event:
            unknown = not name and event.get("shared_level")
            expected[UNKNOWN_REGION if unknown else name or NO_REGION, event["event"]] += 1
    assert found == expected


def test_by_sharing(recorded: tuple[Trace, list[Event]]) -> None:
    trace, events = recorded
    grouping = BySharing(Coder(trace.schema, "t"), trace.levels, Regions())
    counted(trace, grouping)
    expected: Counter[tuple[Any, ...]] = Counter()
    pages: defaultdict[tuple[Any, ...], set[int]] = defaultdict(set)
    for event, name in zip(events, slow_regions(events), strict=True):
        if event.get("shared_level"):
            key = name or UNKNOWN_REGION, event.get("first_pid", "?"), event["pid"]
            expected[key] += 1
            pages[key].add(event["vaddr"] >> 12)
    assert {label[:3]: counts.walks for label, counts in grouping.groups()} == expected
    assert {label[:3]: label[3] for label, _ in grouping.groups()} == {key: len(each) for key, each in pages.items()}


@pytest.mark.parametrize("kept", [10, 50, 1 << 20])
def test_by_page_and_page_size(recorded: tuple[Trace, list[Event]], monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    monkeypatch.setattr("emu.trace.stat.occurrences._WAITING", kept)
    monkeypatch.setattr("emu.trace.stat.occurrences._KEPT", kept)
    trace, events = recorded
    coder = Coder(trace.schema, "t")
    grouping, sizes = ByPage(coder, trace.levels), ByPageSize(coder, trace.levels)
    counted(trace, grouping, sizes)
    walks = [event for event in events if event["event"] == "walk"]
    expected: Counter[tuple[int, int]] = Counter()
    read: Counter[tuple[int, int]] = Counter()
    for event in walks:
        key = event["pid"], event["vaddr"] & -(PAGE_SIZES[event["level"]] if "paddr" in event else 4096)
        expected[key] += 1
        read[key] += loads(event)
    pages = grouping.pages(1 << 20)
    assert {(page.pid, page.vaddr): page.walks for page in pages} == expected
    assert {(page.pid, page.vaddr): page.loads for page in pages} == read
    assert [page.walks for page in pages] == sorted(expected.values(), reverse=True)
    assert pages[:3] == grouping.pages(3)
    assert sum(counts.walks for _, counts in sizes.groups()) == len(walks)


def names(programs: Programs, image: int, rips: Any) -> list[str]:
    functions, places = programs.functions(image, rips)
    return [functions[place].name for place in places.tolist()]


def no_file(path: str) -> Elf | None:
    return None


def test_by_function(donor: Path, tmp_path: Path) -> None:
    trace = emu.trace.open(donor)
    rips = np.asarray(trace.arrow(["rip"])["rip"])
    middle = int(np.sort(rips[rips != 0])[len(rips) // 2])
    functions = {"first": (0x401000, middle - 0x401000), "second": (middle, 0x1000000)}
    elf = Elf(write_elf(tmp_path / "mshare_donor", functions))
    programs = Programs(trace.header["command"], no_file, [Given(elf)])
    grouping = ByFunction(Coder(trace.schema, "t"), 4, programs)
    counted(trace, grouping)
    found = {label[0]: counts.events.total() for label, counts in grouping.groups()}
    ours = rips[np.asarray(trace.arrow(["pid"])["pid"].is_valid())]
    expected = {
        "first": int(((ours >= 0x401000) & (ours < middle)).sum()),
        "second": int((ours >= middle).sum()),
        NO_SYMBOLS: int((ours == 0).sum()),
    }
    assert found == expected and all(expected.values())
    assert list(programs.remarks()) == []


def test_a_position_independent_program_is_found_where_it_ran_first(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    assert main(["run", "--trace", str(path), "hello_pie"]) == 0
    trace = emu.trace.open(path)
    own = Elf(guests.path("hello_pie"))
    elf = Elf(write_elf(tmp_path / "hello_pie", {"all": (0, own.end)}, type=ET_DYN, entry=own.entry))
    programs = Programs(trace.header["command"], no_file, [Given(elf)])
    grouping = ByFunction(Coder(trace.schema, "t"), 4, programs)
    counted(trace, grouping)
    (image,) = programs.images
    rips = np.asarray(trace.arrow(["rip"])["rip"])
    assert image.base == int(rips[rips != 0][0]) - own.entry and image.base % 4096 == 0
    found = {label[0]: counts.events.total() for label, counts in grouping.groups()}
    assert found["all"] == int((rips != 0).sum()) - 1  # the event of the end has no process


def test_another_program_of_the_same_path_gives_no_names(donor: Path, tmp_path: Path) -> None:
    trace = emu.trace.open(donor)
    rips = np.asarray(trace.arrow(["rip"])["rip"])
    entry = int(rips[rips != 0][0])
    for begins, remarks in ((entry, 0), (entry + 1, 1)):
        elf = Elf(write_elf(tmp_path / "x", {"f": (0x400000, 0x100000)}, entry=begins))
        programs = Programs(trace.header["command"], {"/bin/mshare_donor": elf}.get)
        grouping = ByFunction(Coder(trace.schema, "t"), 4, programs)
        counted(trace, grouping)
        assert ("f" in {label[0] for label, _ in grouping.groups()}) == (not remarks)
        said = [*programs.remarks()]
        assert len(said) == remarks
        assert all(line.startswith("no symbols of /bin/mshare_donor: what ran began elsewhere") for line in said)


def test_a_program_that_executes_itself(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    assert main(["run", "--trace", str(path), "exec_self"]) == 0
    trace = emu.trace.open(path)
    elf = Elf(write_elf(tmp_path / "exec_self", {"f": (0x400000, 0x100000)}))
    programs = Programs(trace.header["command"], no_file, [Given(elf)])
    counted(trace, ByFunction(Coder(trace.schema, "t"), 4, programs))
    assert len(programs.images) > 1
    assert {image.path for image in programs.images} == {"/bin/exec_self"}


def test_a_library_is_where_the_user_says(donor: Path, tmp_path: Path) -> None:
    trace = emu.trace.open(donor)
    elf = Elf(write_elf(tmp_path / "lib.so", {"f": (0x1000, 0x100000)}, type=ET_DYN))
    programs = Programs(trace.header["command"], no_file, [Given(elf, 0x400000)])
    counted(trace, ByFunction(Coder(trace.schema, "t"), 4, programs))
    rips = np.array([0x400FFF, 0x401000, 0x4FFFFF, 0xFFFFFFFFFF600000], np.uint64)
    assert names(programs, 0, rips) == [NO_SYMBOLS, "f", "f", NO_SYMBOLS]
    assert list(programs.remarks()) == [
        "no symbols of /bin/mshare_donor: there is no such ELF file here; --elf FILE says where it is"
    ]


# -- the parts ---------------------------------------------------------------------------------------------------------


def test_symbols(tmp_path: Path) -> None:
    high = 0xFFFFFFFF81000000
    functions = {"b": (0x2000, 16), "a": (0x1000, 0), "alias": (0x2000, 8), "top": (high, 64), "end": (high + 64, 0)}
    elf = Elf(write_elf(tmp_path / "x", functions))
    places = {
        0: None, 0xFFF: None, 0x1000: "a", 0x1FFF: "a", 0x2000: "b", 0x200F: "b", 0x2010: None, high: "top",
        high + 63: "top", high + 64: "end", high + 64 + 0xFFF: "end", high + 64 + 0x1000: None, (1 << 64) - 1: None,
    }  # fmt: skip
    found = elf.places(np.array([*places], np.uint64)).tolist()
    assert [elf.name(place) if place >= 0 else None for place in found] == [*places.values()]


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"\x7fELF\2\1\1" + bytes(57), b"#!/bin/sh\n", bytes(200)])
def test_files_without_symbols(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(SymbolsError, match=str(path)):
        Elf(path)
    with pytest.raises(SymbolsError, match="No such file"):
        Elf(tmp_path / "none")


@pytest.mark.parametrize("cut", range(64, 700, 37))
def test_a_damaged_elf_file_is_said(tmp_path: Path, cut: int) -> None:
    whole = write_elf(tmp_path / "x", {"f": (0x1000, 16)}).read_bytes()
    (tmp_path / "y").write_bytes(whole[:cut])
    try:
        elf = Elf(tmp_path / "y")
    except SymbolsError as error:
        assert "\n" not in str(error)
    else:
        assert elf.places(np.array([0x1000], np.uint64)).tolist() in ([-1], [0])


def test_the_values_of_a_timeline() -> None:
    random = np.random.default_rng(1)
    for _ in range(50):
        line, now = Timeline(), dict[int, int]()
        for _ in range(4):
            keys = random.integers(0, 6, 30).astype(np.uint64)
            changes = [
                Change(int(at), int(random.integers(0, 6)), int(random.integers(-1, 4)))
                for at in np.sort(random.integers(0, 30, int(random.integers(0, 5))))
            ]
            expected = []
            for at, key in enumerate(keys.tolist()):
                now |= {change.key: change.value for change in changes if change.at == at}
                expected.append(now.get(key, -1))
            assert line.values(keys, changes).tolist() == expected


def test_a_tally_that_is_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emu.trace.stat.tally._KEPT", 10)
    random, tally, expected = np.random.default_rng(2), Tally("a", "b"), Counter[tuple[int, int]]()
    for _ in range(20):
        a, b = random.integers(0, 9, 50).astype(np.uint64), random.integers(0, 3, 50).astype(np.uint64) << np.uint64(62)
        tally.add(a, b)
        expected.update(zip(a.tolist(), b.tolist(), strict=True))
    assert tally.rows() == sorted((*key, n) for key, n in expected.items())
    assert tally.rows(["b"]) == sorted(
        (key, sum(n for (_, b), n in expected.items() if b == key)) for key in {b for _, b in expected}
    )


def test_many_numbers_are_counted_in_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(3)
    for waiting, kept, most in ((64, 100, 40), (64, 100, 5000), (1000, 10_000, 5000), (64, 200, 250)):
        monkeypatch.setattr("emu.trace.stat.occurrences._WAITING", waiting)
        monkeypatch.setattr("emu.trace.stat.occurrences._KEPT", kept)
        counted, expected = Occurrences(3), Counter[int]()
        for _ in range(40):
            some = random.integers(0, most, 50).astype(np.uint64) << np.uint64(57) | random.integers(
                0, most, 50
            ).astype(np.uint64)
            counted.add(some)
            expected.update(some.tolist())
        found, pieces = Counter[int](), [*counted.pieces()]
        for number, (numbers, counts) in enumerate(pieces):
            assert np.all(numbers[1:] > numbers[:-1])
            found.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
            others = {one >> 3 for numbers, _ in pieces[:number] for one in numbers.tolist()}
            assert not others & {one >> 3 for one in numbers.tolist()}  # together
        assert found == expected
    assert [*Occurrences().pieces()] == []


def test_a_full_disk_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("emu.trace.stat.occurrences._WAITING", 10)
    monkeypatch.setattr("emu.trace.stat.occurrences._KEPT", 10)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(TraceError, match="nor in a temporary file: No such file"):
        Occurrences().add(np.arange(20, dtype=np.uint64))


def test_numbers_for_combinations() -> None:
    random, numbering = np.random.default_rng(4), Numbering()
    for number in (0, 1, 50, 50):
        columns = [random.integers(0, most, number).astype(np.uint64) << np.uint64(60) for most in (1, 3, 8, 1, 8)]
        found = numbering.of(*columns)
        rows = [*zip(*(column.tolist() for column in columns), strict=True)]
        assert [numbering.values[at] for at in found.tolist()] == rows
    assert len({*numbering.values}) == len(numbering.values)


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_table(said: Said, donor: Path) -> None:
    status, out, err = said("stat", donor)
    assert (status, err) == (0, "")
    assert re.search(r"^ Trace of '/bin/mshare_donor': \d+ events, [\d,]+ instructions$", out, re.MULTILINE)
    assert re.search(r"^ +\d+  walk +#  +\d+\.\d\d per 1,000 instructions$", out, re.MULTILINE)
    assert re.search(r"^ +\d+  entries read, [1-4]\.\d\d a walk +# ", out, re.MULTILINE)
    assert re.search(r"^ +4  demand_zero +# ", out, re.MULTILINE)


def test_tables_of_groups(said: Said, donor: Path) -> None:
    status, out, err = said("stat", "--by", "process,region", "--by", "page-size,sharing,function", donor)
    assert status == 0
    assert err == (
        "unimmu trace: no symbols of /bin/mshare_donor: it is stripped; --elf FILE says where it is with symbols\n"
    )
    assert re.search(r" 101  /bin/mshare_donor$", out, re.MULTILINE)
    assert re.search(r"  shareme$", out, re.MULTILINE)
    assert re.search(r"  shareme  +100 +101 +1$", out, re.MULTILINE)
    assert re.search(r"  4 KiB$", out, re.MULTILINE)
    assert "(no symbols)" in out
    shorter = said("stat", "--by", "process", "-n", "1", donor)[1]
    assert re.search(r"^  and 2 more, with \d+ walks$", shorter, re.MULTILINE)


def test_top(said: Said, donor: Path, tmp_path: Path) -> None:
    elf = write_elf(tmp_path / "mshare_donor", {"everything": (0x400000, 0x100000)})
    status, out, err = said("top", "-n", "2", "--elf", elf, donor)
    assert (status, err) == (0, "")
    assert re.search(r" everything +/bin/mshare_donor$", out, re.MULTILINE)
    assert len(re.findall(r" 4 KiB  10[01]  0x[0-9a-f]+000$", out, re.MULTILINE)) == 2
    status, out, err = said("top", "--pid", "7", donor)
    assert status == 0 and out.count("  none\n") == 2


def test_lines_of_json_have_the_same_table(said: Said, donor: Path, tmp_path: Path) -> None:
    lines = tmp_path / "t.jsonl"
    assert main(["run", "--trace", str(lines), "mshare_donor"]) == 0
    words = ["--by", "process,function,region,page-size,sharing"]
    assert said("stat", *words, lines) == said("stat", *words, donor)
    lines.write_bytes(b"".join(lines.read_bytes().splitlines(keepends=True)[:-1]))
    assert said("stat", lines)[2].startswith(f"unimmu trace: {lines}: its end is missing; ")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--by", "colour"], "--by: there is no group 'colour'; the groups are process, function, .*"),
        (["--kind", "knife"], "--kind knife: the kinds are access, .*"),
        (["--range", "5"], r"--range: '5' is not a range of addresses \(.*\)"),
        (["--range", "9-5"], "--range: '9-5' is not a range .*"),
        (["--range", "0+0"], "--range: '0.0' is not a range .*"),
        (["--range", f"0-{(1 << 64) + 1:#x}"], "--range: .* is not a range .*"),
        (["--from", "-1"], "--from: .*"),
        (["--from", "x"], "--from: 'x' is not a number of instructions"),
        (["--to", "9" * 5000], "--to: '9+' is not a number of instructions"),
        (["--pid", "x"], "--pid: 'x' is not a process number"),
        (["-n", "0"], "-n: '0' is not a number of rows"),
        (["--elf", "/none"], "--elf /none: No such file or directory"),
        (["--elf", "/dev/null"], "--elf /dev/null: this is not an ELF file of x86-64, or a damaged one"),
        (["--elf", str(guests.path("hello"))], "--elf .*hello: it has no symbols"),
    ],
)
def test_mistakes(said: Said, donor: Path, words: list[str], says: str) -> None:
    status, out, err = said("stat", *words, donor)
    assert (status, out) == (2, "")
    assert re.fullmatch(f"unimmu trace: {says}\n", err), err


# -- files that are none -----------------------------------------------------------------------------------------------


def damaged(donor: Path, path: Path, change: Callable[[pa.Table], pa.Table]) -> Path:
    """The trace with something else in it, and its header."""
    table = pq.read_table(donor)
    pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), path)
    return path


def with_column(name: str, values: Callable[[int], Any]) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(table.schema.get_field_index(name), name, values(table.num_rows))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (with_column("level", lambda n: pa.array([9] * n, pa.uint8())), "level is 9, which no event has"),
        (with_column("cached_level", lambda n: pa.array([8] * n, pa.uint8())), "cached_level is 8, which .*"),
        (with_column("level", lambda n: pa.array([1000] * n, pa.uint64())), "Integer value 1000 not in range: .*"),
        (with_column("level", lambda n: pa.array(["x"] * n)), "Failed to parse string: .*"),
        (with_column("page_size", lambda n: pa.array([5] * n, pa.uint32())), "page_size is 5, which no page has"),
        (with_column("event", lambda n: pa.array(["knife"] * n)), "event is 'knife', which no event of this .*"),
        (with_column("event", lambda n: pa.nulls(n, pa.string())), "an event has no kind"),
        (with_column("access", lambda n: pa.array(["eat"] * n)), "access is 'eat', which no event of this trace has"),
        (with_column("resolved", lambda n: pa.array([""] * n)), "resolved is '', which no event of this trace has"),
        (lambda table: table.drop_columns(["rip"]), "there is no column rip"),
        (lambda table: table.drop_columns(["resolved"]), "there is no column resolved"),
    ],
)
def test_tables_that_make_no_sense(
    said: Said, donor: Path, tmp_path: Path, change: Callable[[pa.Table], pa.Table], says: str
) -> None:
    path = damaged(donor, tmp_path / "t.parquet", change)
    for words in (["stat"], ["top"]):
        status, out, err = said(*words, path)
        assert (status, out) == (2, ""), out
        assert re.fullmatch(f"unimmu trace: {path}: {says}\n", err), err
    status, _, err = said("view", path)  # which reads other columns
    assert status in (0, 2) and "Traceback" not in err


def test_other_files(said: Said, donor: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"a": [1]}), other)
    whole = donor.read_bytes()
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(whole[: len(whole) // 2])
    for words in (["stat", other], ["top", other], ["view", other], ["diff", donor, other]):
        assert said(*words)[2] == f"unimmu trace: {other}: this is not a trace that `unimmu run --trace` wrote\n"
    for words in (["stat", cut], ["top", cut], ["view", cut], ["diff", cut, donor]):
        status, out, err = said(*words)
        assert (status, out) == (2, "")
        assert err.startswith(f"unimmu trace: {cut}: ") and err.count("\n") == 1
    pq.write_table(pq.read_table(donor).replace_schema_metadata({HEADER: b"[" * 100_000}), other)
    assert said("stat", other)[0] == 2
    pq.write_table(pq.read_table(donor).slice(0, 50), other)
    assert said("stat", other)[2].startswith(f"unimmu trace: {other}: its end is missing; ")
    pq.write_table(pq.read_table(donor).slice(0, 0), other)
    assert said("stat", other)[0] == said("top", other)[0] == said("view", other)[0] == 0


@pytest.mark.parametrize("seed", range(3))
def test_damage_of_any_byte_is_said_or_does_no_harm(said: Said, donor: Path, tmp_path: Path, seed: int) -> None:
    random, whole, path = np.random.default_rng(seed), donor.read_bytes(), tmp_path / "t.parquet"
    for _ in range(12):
        changed = bytearray(whole)
        for at in random.integers(4, len(whole) - 8, 3).tolist():
            changed[at] ^= int(random.integers(1, 256))
        path.write_bytes(changed)
        for words in (["stat", "--by", "process,function,region,sharing"], ["top"], ["view"], ["diff", donor]):
            status, _, err = said(*words, path)
            assert status in (0, 1, 2), err


@pytest.mark.parametrize(
    ("at", "field", "value"), [(7, "clock", -1), (12, "tid", 1 << 63), (12, "child", 1 << 40), (1, "pid", -5)]
)
def test_numbers_that_no_event_has(said: Said, tmp_path: Path, at: int, field: str, value: int) -> None:
    header, *events = map(json.loads, EXAMPLE.read_text().splitlines())
    events[at][field] = value
    path = tmp_path / "t.jsonl"
    path.write_text("".join(f"{json.dumps(each)}\n" for each in (header, *events)))
    for words in (["stat"], ["top"], ["diff", EXAMPLE]):
        status, _, err = said(*words, path)
        kind = events[at]["event"]
        assert (status, err) == (2, f"unimmu trace: {path}: line {at + 2}: {kind}: a number is out of range\n")


def test_a_row_that_is_no_event(donor: Path, tmp_path: Path) -> None:
    from emu.trace.events import RowReader

    path = damaged(donor, tmp_path / "t.parquet", with_column("detail", lambda n: pa.array(["5"] * n)))
    with pytest.raises(TraceError, match=str(path)):
        list(RowReader(emu.trace.open(path), ALL))
