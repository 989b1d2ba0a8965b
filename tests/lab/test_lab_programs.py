"""What a stream tells of functions, and of processes that map the same memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from unicorn.unicorn_py3.unicorn import uclib

import guests
from emu.cli.main import main
from emu.lab.analysis import analyse
from emu.lab.batch import Batch, StreamError
from emu.lab.by_function import ByFunction, Code, Image
from emu.lab.code_map import FACT, CodeMap
from emu.lab.shared import Shared
from emu.lab.stream import open_stream
from emu.lab.stream_file import facts_of
from emu.trace.stat.image import Mapping
from emu.trace.stat.symbols import Elf
from mmu.presets import find_preset
from tests.lab.recorded import MEMORY, Story, recorded
from tests.lab.stacks import SlowTlb, pages_of

UPPER = 0xFFFF_8000_0000_0000


def analysed(analysis: Any, batches: Any) -> dict[str, Any]:
    analyse(batches, [analysis])
    return dict(analysis.finding().figures)


def test_functions_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each access belongs to one function, or to none; their misses are those of lists."""
    path, figures = str(tmp_path / "a.parquet"), tmp_path / "a.json"
    assert main(["run", "--record", path, "regions"]) == 0
    words = ["--functions", "--elf", "regions", "--entries", "4", "--json", str(figures), path]
    assert main(["tlb", "analyze", *words]) == 0
    found = {one["function"]: one for one in json.loads(figures.read_bytes())["functions"]["functions"]}
    elf = Elf(guests.path("regions"))
    expected: dict[str, dict[str, Any]] = {}
    data, code = SlowTlb(4), SlowTlb(4)
    for batch in open_stream(path):
        places = elf.places(batch.rip)
        rows = zip(pages_of(batch), batch.kind.tolist(), places.tolist(), batch.shift.tolist(), strict=True)
        for page, kind, place, shift in rows:
            if shift:
                one = expected.setdefault(elf.name(place) if place >= 0 else "", {"accesses": 0, "pages": set()})
                one["accesses"] += 1
                one["pages"].add(page)
                (code if kind == 2 else data).access(page)
    named = {name: one for name, one in found.items() if not name.startswith("(")}
    assert len(named) > 1
    for name, one in named.items():
        assert (one["accesses"], one["pages"]) == (expected[name]["accesses"], len(expected[name]["pages"])), name
    assert sum(one["accesses"] for one in found.values()) == sum(one["accesses"] for one in expected.values())
    assert max(named, key=lambda name: named[name]["accesses"]) in capsys.readouterr().out


def test_a_recorded_stream_says_what_was_mapped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, figures = str(tmp_path / "a.parquet"), tmp_path / "a.json"
    assert main(["run", "--record", path, "regions"]) == 0
    found = []
    for words in ([], ["--elf", "regions"]):
        assert main(["tlb", "analyze", "--functions", *words, "--json", str(figures), path]) == 0
        functions = json.loads(figures.read_bytes())["functions"]["functions"]
        found.append([{**one, "file": Path(one["file"]).name} for one in functions if one["function"][0] != "("])
    assert found[0] == found[1] != []
    assert main(["tlb", "analyze", path]) == 0
    assert "Functions with most misses" in capsys.readouterr().out, "all analyses are what needs no choice"


def test_libraries_that_are_mapped_later_have_names(tmp_path: Path) -> None:
    """A program that is loaded anywhere, its loader, and the C library, in a child that has executed another one."""
    path, figures = str(tmp_path / "a.parquet"), tmp_path / "a.json"
    assert main(["run", "--root", "/", "--record", path, "sh", "-c", "ls -d / >/dev/null; :"]) == 0
    code = CodeMap.of(facts_of(path))
    spaces = {int(space) for batch in open_stream(path) for space in np.unique(batch.space)}
    mapped = [{Path(one.path).name for one in code.mappings(space)} for space in spaces]
    assert len(spaces) > 1
    assert all(any(name.startswith("libc") for name in names) for names in mapped)
    assert any("ls" in names for names in mapped) and any("ls" not in names for names in mapped)
    assert main(["tlb", "analyze", "--functions", "--json", str(figures), path]) == 0
    functions = json.loads(figures.read_bytes())["functions"]["functions"]
    assert any(Path(one["file"]).name.startswith("libc") and one["function"][0] != "(" for one in functions)


def test_a_function_is_that_of_its_process_and_of_what_was_mapped_last() -> None:
    code = CodeMap()
    code.add(1, Mapping(UPPER, UPPER + 4096, 0, "/one", ""))
    code.copy(1, 2)
    code.add(2, Mapping(UPPER, UPPER + 16, 0, "/two", ""))
    code.add(3, Mapping(UPPER, UPPER + 4096, 0, "/gone", ""))
    files: Any = {"/one": _TwoFunctions("/one"), "/two": _TwoFunctions("/two"), "/gone": None}
    analysis = ByFunction([], 1, code=Code(CodeMap.of({FACT: code.to_text()}), files.get))
    batch = Batch.of(vaddr=UPPER, rip=[UPPER, UPPER + 16] * 4, space=[1, 1, 2, 2, 3, 3, 4, 4], shift=12)
    found = {(one["file"], one["function"]): one["accesses"] for one in analysed(analysis, [batch])["functions"]}
    assert found == {
        ("/one", "f"): 1, ("/one", "g"): 2, ("/two", "f"): 1, ("/gone", "(no symbols)"): 2,
        ("", "(in none of the files)"): 2,
    }  # fmt: skip
    assert "No symbols of /gone: there is no such ELF file here." in analysis.finding().remark


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "3", '{"mappings": 3}', '{"mappings": [{}]}', '{"spaces": [[[1], [0]]]}', '{"spaces": [1]}',
        '{"mappings": [{"start": "0x1000", "length": -1, "offset": 0, "path": "/x"}]}', "[" * 100_000,
        '{"mappings": [{"start": "0x1000", "length": 1, "offset": 0, "path": "/x"}], "spaces": [[[1], [-1]]]}',
        '{"mappings": [{"start": "0x1000", "length": 1, "offset": 0, "path": "/x"}], "spaces": [[["1"], [0]]]}',
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(StreamError, match="what the stream says of mapped code makes no sense"):
        CodeMap.of({FACT: text})


class _TwoFunctions:
    """Stands for a file with functions of 16 bytes from 0 on."""

    end, stripped, build_id = 32, False, ""

    def __init__(self, path: str = "/made/up") -> None:
        self.path = path

    def bias(self, start: int, offset: int) -> int:
        return start - offset

    def places(self, addresses: np.ndarray) -> np.ndarray:
        return (addresses >> np.uint64(4)).astype(np.int64)

    def name(self, place: int) -> str:
        return "fg"[place]


def test_functions_in_the_upper_half() -> None:
    elf: Any = _TwoFunctions()
    analysis = ByFunction([Image(elf, UPPER)], 1)
    rips = [UPPER, UPPER + 16, UPPER + 15, UPPER + 31, UPPER - 1, UPPER + 32]
    pages = [UPPER, UPPER + 4096, UPPER, UPPER, UPPER, UPPER]
    batch = Batch.of(vaddr=pages, rip=rips, kind=[0, 1, 0, 0, 2, 0], shift=12)
    found = {one["function"][0]: one for one in analysed(analysis, [batch])["functions"]}
    counts = {name: [one[each] for each in ("accesses", "pages", "data_misses", "code_misses")]
              for name, one in found.items()}  # fmt: skip
    assert counts == {"f": [2, 1, 2, 0], "g": [2, 2, 1, 0], "(": [2, 1, 0, 1]}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "--functions: the stream does not say of which program; --elf FILE has its symbols"),
        (["--elf", "gups"], "--elf gups: it has no symbols"),
        (["--elf", uclib._name], "@0x... says where it was (a program, with run --no-aslr: 0x555555554000)"),
        (["--elf", "/proc/none"], "--elf /proc/none: "),
        (["--elf", __file__], "this is not an ELF file"),
    ],
)
def test_symbols_are_needed(tmp_path: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "a.csv")
    Path(path).write_text("address\n0x1000\n")
    assert main(["tlb", "analyze", "--functions", *words, path]) == 2
    assert told in capsys.readouterr().err


def test_processes_that_map_a_file_alike_have_their_tables_counted() -> None:
    """Four children each load 8 pages of memory that they share; pages that one of them has alone are not shared."""
    script = (
        "p = mmap 2T 64K RW MAP_SHARED|MAP_FIXED|MAP_ANONYMOUS -1 0; touch p 32K;"
        "fork a; scan p 32K; store p+32768 1; end; wait a; fork b; scan p 32K; end; wait b; scan p 32K"
    ).replace("MAP_ANONYMOUS", "ANON")
    batches, _ = recorded(Story("calls", (script,)))
    found = analysed(Shared(find_preset("zen4").geometry, MEMORY), batches)["ranges"]
    (shared,) = [one for one in found if one["vaddr"] == f"{2 << 40:#x}"]
    assert shared["pids"] == [100, 101, 102] and shared["tables"] >= 2
    assert shared["same_pages"] == 8
    assert shared["entries_of_one_table"] == 9 and shared["entries_read"] >= 17


def test_a_process_does_not_share_with_what_it_was_before_an_execve() -> None:
    """The same pages of the same program, at the same addresses, but never at once."""
    batches, _ = recorded(Story("exec_self"))
    pids, spaces = ({value for one in batches for value in getattr(one, name).tolist()} for name in ("pid", "space"))
    assert len(pids) == 1 and len(spaces) > 1
    assert analysed(Shared(find_preset("zen4").geometry, MEMORY), batches)["ranges"] == []
