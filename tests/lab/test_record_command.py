"""``unimmu run --record`` and ``unimmu tlb sim``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from emu.cli.lab.sim import geometries_of
from emu.cli.main import main
from emu.lab.stream import open_stream
from emu.lab.stream_file import StreamWriter, facts_of

PROGRAM = ("gups", "4M", "2000")


def figures(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("streams") / "a.parquet"
    assert main(["run", "--cpus", "2", "--seed", "3", "--record", str(path), *PROGRAM]) == 0
    return str(path)


def test_each_model_has_the_figures_of_a_run(stream: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, live = tmp_path / "sim.json", tmp_path / "live.json"
    options = ["--tlb-set", "l2.policy=random"]
    models = ["skylake-sp", "zen4"]
    assert main(["tlb", "sim", stream, "--tlb", ",".join(models), *options, "--json", str(out)]) == 0
    shown = capsys.readouterr().out
    found = figures(out)
    for model, counted in zip(models, found["models"], strict=True):
        assert main(["run", "--cpus", "2", "--seed", "3", "--tlb", model, *options, "--json", str(live), *PROGRAM]) == 0
        assert counted == {name: figures(live)["mmu"][name] for name in counted}
    loads = found["models"][0]["perf"]["dTLB-loads"]
    assert f"{stream}: {found['accesses']:,} accesses" in shown
    (line,) = [line for line in shown.splitlines() if line.startswith(" dTLB-loads ")]
    assert line.split() == ["dTLB-loads", f"{loads:,}", f"{loads:,}"]


def test_cycles_are_those_of_a_run(stream: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, live = tmp_path / "sim.json", tmp_path / "live.json"
    options = ["--tlb-latency", "--tlb-set", "latency.load=250"]
    assert main(["tlb", "sim", stream, "--tlb", "skylake-sp,zen4", *options, "--json", str(out)]) == 0
    shown = {line.strip().partition("  ")[0] for line in capsys.readouterr().out.splitlines()}
    assert {"cycles of hits", "cycles of walks", "loads, L1D", "loads, memory"} <= shown
    counted = figures(out)["models"][1]
    run = ["run", "--cpus", "2", "--seed", "3", "--tlb", "zen4", *options, "--json", str(live), *PROGRAM]
    assert main(run) == 0
    assert counted == {name: figures(live)["mmu"][name] for name in counted}
    assert counted["latency"]["cycles"] > 0


@pytest.mark.parametrize("size", ["4K", "2M"])
def test_two_dimensions_are_those_of_a_run(size: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of large pages, which the TLBs hold in pieces where those of EPT are small; the stream is of one dimension."""
    path, out, live = (str(tmp_path / name) for name in ("a.parquet", "sim.json", "live.json"))
    options = [f"--nested={size}", "--tlb-latency", "--tlb-set", "nested.tlb=4"]
    program = ("gups", "4M", "1000", "thp")
    assert main(["run", "--record", path, *program]) == 0
    assert main(["tlb", "sim", path, "--tlb", "skylake-sp", *options, "--json", out]) == 0
    assert main(["run", "--tlb", "skylake-sp", *options, "--json", live, *program]) == 0
    (counted,) = figures(Path(out))["models"]
    assert counted == {name: figures(Path(live))["mmu"][name] for name in counted}
    shown = {line.strip().partition("  ")[0] for line in capsys.readouterr().out.splitlines()}
    assert {"EPT walks", "EPT entries", "nested TLB hits"} <= shown
    assert main(["tlb", "sim", path, "--tlb", "zen4", *options[:1], "--warm-up", "100", "--json", out]) == 0
    assert figures(Path(out))["models"][0]["nested"]["page_size"] == {"4K": 4096, "2M": 2 << 20}[size]


def test_a_table_of_addresses_has_no_second_dimension(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.csv"
    path.write_text("address\n0x1000\n")
    assert main(["tlb", "sim", str(path), "--tlb", "zen4", "--nested=4K"]) == 2
    assert "--nested: " in capsys.readouterr().err


def test_all_models_are_those_with_latencies(stream: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tlb", "sim", stream, "--tlb", "champsim", "--tlb-latency"]) == 2
    assert "champsim does not say what translations cost" in capsys.readouterr().err
    names = [geometry.name for _, geometry in geometries_of(["all"], [], latency=True)]
    assert "zen4" in names and "champsim" not in names
    assert "champsim" in [geometry.name for _, geometry in geometries_of(["all"], [])]


def test_models_of_one_name_are_told_apart(
    stream: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["presets", "--show", "zen4"]) == 0
    (tmp_path / "my.toml").write_text(capsys.readouterr().out)
    monkeypatch.chdir(tmp_path)
    assert main(["tlb", "sim", stream, "--tlb", "zen4,my.toml,zen3"]) == 0
    assert capsys.readouterr().out.splitlines()[2].split() == ["zen4", "zen4", "of", "my.toml", "zen3"]


def test_recording_changes_no_figure(stream: str, tmp_path: Path) -> None:
    """Not even of the TLB that is modelled, while a trace is recorded too."""
    plain, both = tmp_path / "plain.json", tmp_path / "both.json"
    command = ["run", "--tlb", "zen4", "--trace-accesses", *PROGRAM]
    for more, target in (([], plain), (["--record", str(tmp_path / "b.parquet")], both)):
        trace = ["--trace", str(target.with_suffix(".jsonl")), "--json", str(target), *more]
        assert main([command[0], *trace, *command[1:]]) == 0
    assert {**figures(plain), "wall_s": 0} == {**figures(both), "wall_s": 0}
    assert plain.with_suffix(".jsonl").read_bytes() == both.with_suffix(".jsonl").read_bytes()


def test_a_stream_is_short_and_says_what_it_is_of(stream: str) -> None:
    accesses = sum(len(batch) for batch in open_stream(stream, ("kind",)))
    assert os.path.getsize(stream) < 4 * accesses + 30_000  # the footer, and tables of each batch
    facts = facts_of(stream)
    assert facts["command"] == " ".join(PROGRAM)
    assert (facts["seed"], facts["cpus"], facts["memory_bytes"], facts["tlb"]) == ("3", "2", "268435456", "textbook")


def test_accesses_to_warm_up_with(stream: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, rest, none = (tmp_path / f"{name}.json" for name in ("whole", "rest", "none"))
    for warm_up, path in ((0, whole), (3000, rest), (1 << 40, none)):
        assert main(["tlb", "sim", stream, "--tlb", "zen4", "--warm-up", str(warm_up), "--json", str(path)]) == 0
    all_of_it, later, nothing = (figures(path)["models"][0] for path in (whole, rest, none))
    names = ("dTLB-loads", "dTLB-stores", "iTLB-loads")
    counted = [sum(model["perf"][name] for name in names) for model in (all_of_it, later, nothing)]
    assert counted[0] - 3000 <= counted[1] < counted[0] and counted[2] == 0  # some of the first ones have faulted
    assert "of which the first 3,000 are not counted" in capsys.readouterr().out


def test_a_process_is_another_address_space(tmp_path: Path) -> None:
    path = tmp_path / "fork.parquet"
    assert main(["run", "--record", str(path), "fork_shared"]) == 0
    pairs = {pair for one in open_stream(path) for pair in zip(one.pid.tolist(), one.space.tolist(), strict=True)}
    assert len(pairs) == 2 and len({pid for pid, _ in pairs}) == len({space for _, space in pairs}) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--record", "a.txt", "hello"], "--record a.txt: the name must end in .parquet"),
        (["run", "--record", "/nowhere/a.parquet", "hello"], "--record /nowhere/a.parquet: cannot be written"),
        (["run", "--record", "a.parquet", "--region", "main", "--stats", "hello"], "--record and --region exclude"),
        (["run", "--record", "a.parquet", "--stats", "-r", "3", "hello"], "--record"),
        (["tlb", "sim", "a.parquet"], "--tlb A,B says which models: presets (`unimmu presets` lists them)"),
        (["tlb", "sim", "a.parquet", "--tlb", ","], "--tlb A,B says which models"),
        (["tlb", "analyze", "STREAM", "--shared"], "--shared needs --tlb: a preset"),
        (["tlb", "sim", "a.parquet", "--tlb", "zen99"], "no TLB preset 'zen99'"),
        (["tlb", "sim", "a.parquet", "--tlb", "zen4"], "a.parquet: No such file or directory"),
        (["tlb", "sim", "a.txt", "--tlb", "zen4"], "no access stream by its name"),
        (["tlb", "sim", "other.parquet", "--tlb", "zen4"], "it does not say how much memory"),
        (["tlb", "sim", "STREAM", "--tlb", "zen4", "--pages", "thp"], "has the page tables of the run"),
        (["tlb", "sim", "STREAM", "--tlb", "zen4", "--tlb-set", "l9.ways=1"], "has no l9"),
        (["tlb", "sim", "STREAM", "--tlb", "zen4", "--json", "STREAM"], "that is the stream, which would be lost"),
        (["tlb", "analyze", "STREAM", "-o", "STREAM"], "that is the stream, which would be lost"),
        (
            ["tlb", "sim", "trace.parquet", "--tlb", "zen4"],
            "this is a trace of `unimmu run --trace`; a stream is what --re",
        ),
        (
            ["tlb", "analyze", "trace.parquet"],
            "this is a trace of `unimmu run --trace`; a stream is what --record writes",
        ),
        (["trace", "stat", "STREAM"], "wrote, but a stream of --record: unimmu tlb sim and analyze read it"),
    ],
)
def test_mistakes_are_said_in_a_line(
    words: list[str], said: str, stream: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    StreamWriter("other.parquet").close()
    if "trace.parquet" in words:
        assert main(["run", "--trace", "trace.parquet", "hello"]) == 0
    assert main([stream if word == "STREAM" else word for word in words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and error.startswith(f"unimmu {words[0]}")
