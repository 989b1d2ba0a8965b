"""The command that holds us against builds of ChampSim and DynamoRIO, with programs that print what those would."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from emu.cli.tlb import preset_or_file
from emu.lab.batch import Batch
from emu.lab.page_policy import TABLE_BYTES, PageMapper, PagePolicy
from emu.lab.simulation import Simulation
from emu.lab.stream import open_stream
from mmu.presets import load_preset
from tests.lab.compare_simulators import main
from tests.lab.simulators import ChampSim, ComparisonError, Counts, Drcachesim

#: Loads and stores of 70 pages in turns, with a fetch before each.
PAGES, TURNS = 70, 900
FETCHES, LOADS = np.full(TURNS, 0x40_1000, np.uint64), np.arange(TURNS, dtype=np.uint64) % np.uint64(PAGES)
STREAM = Batch.of(
    vaddr=np.column_stack((FETCHES, (LOADS << np.uint64(12)) + np.uint64(0x1000_0000))).ravel(),
    kind=np.column_stack((np.full(TURNS, 2), np.arange(TURNS) % 2)).ravel(),
)
#: What a program that stands for one of them is: it checks its arguments and its trace, and then says what it was told.
CHAMPSIM = """
import json, sys
words = sys.argv[1:]
assert words[:4] == ["--warmup-instructions", "0", "--simulation-instructions", "900"], words
records = open(words[4], "rb").read()
assert len(records) == 900 * 64 and {records[at + 10] for at in range(0, len(records), 64)} == {1}
assert records[8:18] == bytes([0, 0, 1, 0, 1, 0, 0, 0, 0, 0]), "no load waits for the one before"
assert words[5] == "--json"
open(words[6], "w").write(TOLD)
print("ChampSim completed all CPUs")
"""
DRRUN = """
import struct, sys
words = sys.argv[1:]
options = dict(zip(words[::2], words[1::2]))
assert options["-simulator_type"] == "TLB" and options["-cores"] == "1", words
assert [options[f"-TLB_{one}_entries"] for one in ("L1I", "L1D", "L2")] == ["32", "32", "1024"]
assert [options[f"-TLB_{one}_assoc"] for one in ("L1I", "L1D", "L2")] == ["32", "32", "4"]
types = [one[0] for one in struct.iter_unpack("<HHQ", open(options["-infile"], "rb").read())]
assert types[0] == 25 and types[-1] == 26 and types.count(10) == 900 and types.count(0) == types.count(1) == 450
print(TOLD, file=sys.stderr)
"""


def counted(geometry: str, path: Path) -> dict[str, Counts]:
    """What our model counts of a trace."""
    preset = load_preset(geometry) if geometry == "champsim" else preset_or_file(geometry, "test").geometry
    simulation = Simulation([preset], TABLE_BYTES)
    for batch in PageMapper(PagePolicy.FOUR_K).mapped(open_stream(path)):
        simulation.add(batch)
    levels = simulation.figures()[0]["tlb"].values()
    return {name: Counts(one["hits"], one["misses"]) for level in levels for name, one in level.items()}


def said_by_champsim(counts: Mapping[str, Counts]) -> str:
    """A --json with these counts, of which one kind of access has some, and one core."""
    none = {"hit": [0], "miss": [0], "mshr_merge": [0]}
    caches = {
        f"cpu0_{name}": {"LOAD": {"hit": [one.hits], "miss": [one.misses], "mshr_merge": [0]}, "RFO": none}
        for name, one in counts.items()
    }
    phase = {"name": "Simulation", "traces": ["x"], "roi": {"cores": [], **caches}, "sim": {}}
    return json.dumps([phase])


def said_by_drcachesim(counts: Mapping[str, Counts]) -> str:
    lines = ["TLB simulation results:", "Core #0 (traced CPU(s): #0)"]
    for name, one in counts.items():
        lines += [
            f"  {name} stats:",
            f"    Hits:             {one.hits:20,}",
            f"    Misses:           {one.misses:20,}",
        ]
        lines += ["    Invalidations:                       0", "    Miss rate:                        1.52%"]
    return "\n".join(lines)


@pytest.fixture
def stream(tmp_path: Path) -> str:
    """The stream, as a table of addresses."""
    path = tmp_path / "stream.csv"
    kinds = ("load", "store", "fetch")
    rows = zip(STREAM.vaddr.tolist(), STREAM.kind.tolist(), strict=True)
    path.write_text("vaddr,kind\n" + "".join(f"{vaddr:#x},{kinds[kind]}\n" for vaddr, kind in rows))
    return str(path)


def stands_for(path: Path, program: str, told: str) -> str:
    """Make a program that says what it is told; its path."""
    path.write_text(f"#!{sys.executable}\nTOLD = {told!r}\n{program}")
    path.chmod(0o755)
    return str(path)


def test_the_traces_are_the_stream(tmp_path: Path) -> None:
    champsim, drcachesim = ChampSim(Path("x"), tmp_path), Drcachesim(Path("x"), tmp_path)
    zero = Batch.of(vaddr=[0, 8], kind=[0, 1])  # ChampSim takes 0 for no address
    assert champsim.write([STREAM, zero]) == TURNS + 1 and drcachesim.write([STREAM]) == TURNS
    (batch,) = open_stream(champsim.trace)
    assert batch.vaddr[batch.kind == 0].tolist() == [*STREAM.vaddr[STREAM.kind != 2].tolist(), 8]
    assert set(batch.vaddr[batch.kind == 2].tolist()) == {0x40_1000}
    (batch,) = open_stream(drcachesim.trace)
    assert batch.vaddr.tolist() == STREAM.vaddr.tolist() and batch.kind.tolist() == STREAM.kind.tolist()


def test_champsims_default_is_the_preset_and_drcachesims_is_written(tmp_path: Path) -> None:
    assert ChampSim(Path("x"), tmp_path).geometry() == "champsim"
    arrays = preset_or_file(Drcachesim(Path("x"), tmp_path, "fifo").geometry(), "test").geometry.arrays
    assert [(one.name, one.level, one.sets, one.ways) for one in arrays] == [
        ("L1I", 1, 1, 32), ("L1D", 1, 1, 32), ("LL", 2, 256, 4),
    ]  # fmt: skip
    assert {one.replacement.name for one in arrays} == {"FIFO"}


def test_it_says_what_is_equal_and_what_is_not(stream: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    champsim, drcachesim = ChampSim(Path("x"), tmp_path), Drcachesim(Path("x"), tmp_path)
    champsim.write([STREAM])
    drcachesim.write([STREAM])
    first = {name: counted("champsim", champsim.trace)[name] for name in champsim.arrays}
    second = counted(drcachesim.geometry(), drcachesim.trace)
    # 16 sets of 4 have 64 of the 70 pages; 6 sets have 5, in turns, and miss always
    assert first["DTLB"].misses > PAGES and second["L1D"] == Counts(0, TURNS) and second["LL"].misses == PAGES + 1
    binaries = [
        "--champsim", stands_for(tmp_path / "champsim", CHAMPSIM, said_by_champsim(first)),
        "--drrun", stands_for(tmp_path / "drrun", DRRUN, said_by_drcachesim(second)),
    ]  # fmt: skip
    assert main([*binaries, "--keep", str(tmp_path / "kept"), stream]) == 0
    printed = capsys.readouterr().out
    assert printed.count("  equal\n") == 5 and "different" not in printed and printed.count(" CPU time: ") == 2
    assert f"ChampSim: 900 loads and stores of {stream}" in printed
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [
        "champsim.json", "drcachesim.toml", "stream.champsim", "stream.memtrace", "unimmu-ChampSim.json",
        "unimmu-drcachesim.json",
    ]  # fmt: skip
    wrong = {**second, "LL": Counts(second["LL"].hits + 1, second["LL"].misses)}
    drrun = stands_for(tmp_path / "drrun", DRRUN, said_by_drcachesim(wrong))
    assert main(["--drrun", drrun, stream]) == 1
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith(" L")]
    assert [line[-1] for line in lines] == ["equal", "equal", "different"]
    assert lines[2][1:5] == [str(wrong["LL"].hits), "71", str(second["LL"].hits), "71"]


def test_what_cannot_be_compared_is_told_in_a_line(
    stream: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two, empty, none = tmp_path / "two.csv", tmp_path / "empty.csv", tmp_path / "none"
    two.write_text("pid,vaddr\n1,4096\n2,4096\n")
    empty.write_text("vaddr,kind\n4096,fetch\n")
    silent = stands_for(tmp_path / "silent", "", "")
    broken = stands_for(tmp_path / "broken", "import sys\nprint('no such option')\nsys.exit(3)\n", "")
    for words, what in (
        ([stream], "no simulator: --champsim or --drrun names a build"),
        (["--drrun", str(none), stream], f"{none}: not a program that can be run"),
        (["--drrun", str(tmp_path), stream], "not a program"),
        (["--drrun", silent, str(two)], "two.csv: it is of several address spaces"),
        (["--champsim", silent, str(empty)], "empty.csv: there is no load and no store in it"),
        (["--champsim", silent, str(tmp_path / "no.csv")], "no.csv: No such file"),
        (["--champsim", silent, str(tmp_path / "no.txt")], "no.txt: no access stream by its name"),
        (["--drrun", broken, stream], "broken ended with 3: no such option"),
        (["--drrun", silent, stream], "drcachesim: what it prints is not understood: nothing was printed"),
        (["--champsim", silent, stream], "ChampSim: its --json is not understood: FileNotFoundError"),
    ):
        assert main(words) == 2
        said = capsys.readouterr()
        assert said.err.count("\n") == 1 and what in said.err and said.out == "", said.err


def test_outputs_that_are_not_understood_are_refused(tmp_path: Path) -> None:
    champsim, drcachesim = ChampSim(Path("x"), tmp_path), Drcachesim(Path("x"), tmp_path)
    whole = {"DTLB": Counts(5, 4), "STLB": Counts(3, 2)}
    for said in (
        "{}", "[]", "no JSON", said_by_champsim({"DTLB": Counts(1, 1)}), said_by_champsim(whole).replace("miss", "x"),
        said_by_champsim(whole).replace("[5]", '"many"'),
    ):  # fmt: skip
        (tmp_path / "champsim.json").write_text(said)
        with pytest.raises(ComparisonError, match="not understood"):
            champsim.read("")
    for said in (said_by_champsim(whole), said_by_champsim(whole).replace("[5]", "5").replace("[3]", "3")):
        (tmp_path / "champsim.json").write_text(said)
        assert champsim.read("") == whole
    counts = {"L1I": Counts(1_234_567, 1), "L1D": Counts(900, 70), "LL": Counts(0, 71)}
    said = said_by_drcachesim(counts)
    for grouped in (said, said.replace(",", "."), said.replace(",", "'"), said.replace(",", "")):
        assert drcachesim.read(f"hello\n{grouped}\nCore #1 (0 traced CPU(s))\n") == counts
    with pytest.raises(ComparisonError, match="drcachesim: what it prints is not understood"):
        drcachesim.read(said.replace("LL stats", "other stats"))
    with pytest.raises(ComparisonError, match="not understood: Usage error"):
        drcachesim.read("Usage error: option TLB_replace_policy is invalid\n")
