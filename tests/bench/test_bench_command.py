"""``unimmu bench``: it runs, and its file has the form that others rely on.  No time is asserted: hosts differ."""

from __future__ import annotations

import json
import math
import pathlib
import re
import runpy
from functools import partial

import pytest

import msharefs.module
from emu.bench.figure import Aim, Figure, Measurement, alternate, median_difference, median_ratio
from emu.bench.many import KINDS
from emu.bench.peers import beside, find_peers
from emu.bench.qemu_plugin import QemuPlugin
from emu.cli import bench
from emu.cli.main import main

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLE = runpy.run_path(str(ROOT / "docs" / "show_speed.py"))
AIMS = {
    "trace_parquet": ("at most", 2.0),
    "trace_parquet_rate": ("at least", 3.0),
    "trace_parquet_bytes": ("at most", 12.0),
    "trace_gups": ("at most", 2.0),
    "trace_gups_rate": ("at least", 3.0),
    "trace_gups_bytes": ("at most", 12.0),
    "trace_stat": ("at most", 3.0),
    "trace_report": ("at most", 10.0),
    "fill_ratio": ("at most", 0.7),
    "compute_ratio": ("at least", 0.9),
    "getpid_us": ("at most", 5),
    "fault_us": ("at most", 2.5),
    "signal_us": ("at most", 20),
    "pipe_us": ("at most", 20),
    "switch_us": ("at most", 20),
    "thread_us": ("at most", 120),
    "fork_ms": ("at most", 15),
    "mappings_ms": ("at most", 4),
    "programs_host_ratio": ("at most", 7),
    "startup_ratio": ("at most", 2.0),
    "reclaim_mpages_s": ("at least", 1.0),
    "huge_fault_faults": ("at most", 3),
    "branches_machine_ratio": ("at most", 0.65),
    "doubles_machine_ratio": ("at most", 0.9),
    "copies_machine_ratio": ("at most", 0.5),
    "exact_native_ratio": ("at most", 3),
    "exact_python_ratio": ("at least", 8),
    "exact_maccesses": ("at least", 80),
    "exact_helpers_gain": ("at least", 4.2),
    "exact_run_gain": ("at least", 2.8),
    "exact_missing_ns": ("at most", 400),
    "exact_chase_ns": ("at most", 400),
    "translate_many_mps": ("at least", 5),
    "lab_replay_maccesses": ("at least", 60),
    "lab_eight_ratio": ("at most", 5),
    "lab_random_eight_ratio": ("at most", 5),
    "lab_missing_maccesses": ("at least", 15),
    "lab_bytes": ("at most", 3),
    "lab_memory_growth": ("at most", 1.1),
    "lab_reuse_maccesses": ("at least", 10),
    "lab_reuse_memory_growth": ("at most", 1.1),
    "lab_sweep_share": ("at least", 0.9),
    "memory_filtered_growth": ("at most", 1.25),
    "memory_exact_growth": ("at most", 1.25),
    "processes_filtered_growth": ("at most", 1.25),
    "processes_exact_growth": ("at most", 1.25),
    "sharers_attach_growth": ("at most", 1.3),
    "sharers_link_growth": ("at most", 1.3),
    "sharers_detach_growth": ("at most", 1.3),
    **{f"{kind}_{step}_growth": ("at most", 1.3) for kind, steps in KINDS.items() for step in steps},
    **{f"mappings_{step}_growth": ("at most", 1.3) for step in ("fault", "protect", "map")},
}

#: Measurements of which there are fewer rounds.
LONG = {"tracing", "lab", "analyses"}


def test_quick(tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    # installed or not
    monkeypatch.setattr("emu.machine.find_modules", lambda: {"msharefs": msharefs.module.init})
    monkeypatch.setattr("emu.cli.bench.find_peers", dict)
    monkeypatch.setattr("emu.bench.lab.is_installed", lambda: False)
    monkeypatch.setattr("emu.bench.dask_workers.is_installed", lambda: False)
    least = bench._QUICK._replace(rounds=2, long_rounds=1, shrink=64, shrink_traces=400, mappings=(10, 1000))
    monkeypatch.setattr(bench, "_QUICK", least)
    monkeypatch.setattr("emu.bench.figure.COLD_TURNS", 0)
    target = tmp_path / "bench.json"
    assert main(["bench", "--quick", "--json", str(target)]) == 0
    out, err = capfd.readouterr()
    report = json.loads(target.read_text())
    assert (report["schema"], report["quick"], report["mode"]) == (1, True, "native")
    assert set(report["host"]) == {"python", "unicorn", "system", "cpus", "cpu"}
    figures = {figure["name"]: figure for figure in report["figures"]}
    assert len(figures) == len(report["figures"]), "names are unique"
    for figure in figures.values():
        assert set(figure) == {"name", "measurement", "what", "indented", "value", "unit", "aim", "met"}
        assert math.isfinite(figure["value"])
        assert figure["measurement"] in report["rounds_s"]
        assert (figure["met"] is None) == (figure["aim"] is None or figure["value"] <= 0)
        assert figure["what"].split(" (")[0] in out
    assert {n: (f["aim"]["limit"], f["aim"]["value"]) for n, f in figures.items() if f["aim"]} == AIMS
    shown = TABLE["table"](report).splitlines()
    assert shown[0].startswith(f"As `unimmu bench` measured it on {report['date']}, with ")
    readme = set(map(_kind_of_row, (ROOT / "README.md").read_text().splitlines()))
    assert [row for row in shown[4:] if _kind_of_row(row) not in readme] == [], "run docs/show_speed.py"
    for name, rounds in report["rounds_s"].items():
        assert len(rounds) >= 2, "something to compare with"
        assert {len(series) for series in rounds.values()} == {1 if name in LONG else 2}, name
        assert all(value > 0 for series in rounds.values() for value in series)
    assert [line for line in err.splitlines() if line.startswith("measuring")] == [
        "measuring fills ...",
        "measuring a compute loop ...",
        "measuring counting ...",
        "measuring exact mode ...",
        "measuring exact mode by helpers ...",
        "measuring translate_many ...",
        "measuring guest memory from 1 to 256 GiB ...",
        "measuring from 1 to 1000 processes ...",
        "measuring from 1 to 10,000 sharers of a region ...",
        "measuring from 10 to 10,000 mappings ...",
        *(f"measuring many {kind} ..." for kind in KINDS),
        "measuring reclaim to swap ...",
        "measuring system calls and page faults ...",
        "measuring faults of huge pages ...",
        "measuring processes and signals ...",
        "measuring start-up ...",
        "measuring traces ...",
        "measuring replays of access streams ...",
        "measuring analyses of access streams ...",
    ]


def _kind_of_row(row: str) -> str:
    """What it is about; how much of it there is depends on --quick."""
    return re.sub(r"[0-9,]+", "N", row.split(" | ")[0])


def test_peers_are_timed_where_they_are_installed(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the host's own processor in qemu-user's place, and a script in that of Qiling's."""
    for name, skipped in (("qemu-x86_64", 0), ("python", 2), ("valgrind", 2)):
        command = f'shift {skipped}; exec "$@"'
        (tmp_path / name).write_text(f"#!/bin/sh\n{command}\n")
    (tmp_path / "qltool").write_text(f"#!{tmp_path / 'python'}\n")
    for path in tmp_path.iterdir():
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = find_peers()
    monkeypatch.undo()
    assert found["qemu-user"] == [str(tmp_path / "qemu-x86_64")]
    assert found["Qiling"][:2] == [str(tmp_path / "python"), "-c"]
    figures = {figure.name: figure for figure in beside(found, 1, 20).figures}
    jobs = {name.removesuffix("_ms") for name in figures if name.endswith("_ms")}
    assert {name for name in figures if "lackey" in name} == {"peers_exact_lackey_ratio"}
    assert {name for name in figures if "qemu" in name} == {f"{job}_qemu_ratio" for job in jobs - {"peers_exact"}}
    assert jobs >= {"peers_exact"}
    with_qiling = {f"peers_{job}_qiling_ratio" for job in ("start", "compute", "calls", "io")}
    assert {name for name, figure in figures.items() if figure.aim is not None} == with_qiling
    assert all(figure.value > 0 for name, figure in figures.items() if name.endswith("_ms"))


def test_no_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert find_peers() == {}


def test_what_is_not_installed_is_said(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "_suite", lambda peers, quick: _suite(0.5))
    monkeypatch.setattr(bench, "find_peers", lambda: {"qemu-user": ["qemu-x86_64"]})
    monkeypatch.setattr("emu.bench.peers.find_plugin", lambda: QemuPlugin("/bin/qemu-x86_64", None, None))
    assert main(["bench"]) == 0
    absent = "Qiling, lackey, QEMU plugin (without a C compiler, qemu-plugin.h)"
    assert capfd.readouterr().err == f"not installed, so not measured beside: {absent}\nmeasuring x ...\n"


def test_an_earlier_run_is_shown_beside(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "_suite", lambda peers, quick: _suite(0.5))
    old = tmp_path / "old.json"
    assert main(["bench", "--json", str(old)]) == 0
    capsys.readouterr()
    monkeypatch.setattr(bench, "_suite", lambda peers, quick: [*_suite(0.75), *_new()])
    assert main(["bench", "--compare", str(old)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["x", "/", "y", "0.75", "×", "0.50", "×", "1.50", "<=", "1", "met"] in rows
    assert ["new", "3.00", "ms", "-"] in rows


def _new() -> list[tuple[str, object]]:
    return [("z", lambda: Measurement("z", {"z": [3.0]}, (Figure("new", "new", 3.0, "ms"),)))]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "No such file or directory"),
        ("{", "this is no file that unimmu bench --json has written"),
        ("[]", "this is no file that unimmu bench --json has written"),
        ('{"schema": 1}', "this is no file that unimmu bench --json has written"),
        ('{"schema": 2, "figures": []}', "its schema is 2, and this is 1"),
        ('{"schema": 1, "figures": [{"name": "x"}]}', "this is no file that unimmu bench --json has written"),
    ],
)
def test_what_is_no_earlier_run_is_told_at_once(
    text: str | None, why: str, tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old.json"
    if text is not None:
        old.write_text(text)
    assert main(["bench", "--compare", str(old)]) == 2
    assert capfd.readouterr() == ("", f"unimmu bench: --compare {old}: {why}\n")


def _suite(value: float) -> list[tuple[str, object]]:
    figure = Figure("x_ratio", "x / y", value, aim=Aim(1.0))
    return [("x", lambda: Measurement("x", {"x": [value], "y": [1.0]}, (figure,)))]


@pytest.mark.parametrize(("value", "word"), [(0.5, "met"), (1.0, "met"), (1.01, "missed"), (-2.8, "noise")])
def test_a_missed_aim_is_no_failure(
    value: float, word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(bench, "_suite", lambda peers, quick: _suite(value))
    target = tmp_path / "b.json"
    assert main(["bench", "--json", str(target)]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if "x / y" in line)
    assert row.split() == ["x", "/", "y", f"{value:.2f}", "×", "<=", "1", word]
    assert json.loads(target.read_text())["figures"] == [
        {
            "name": "x_ratio",
            "measurement": "x",
            "what": "x / y",
            "indented": False,
            "value": value,
            "unit": "",
            "aim": {"limit": "at most", "value": 1.0},
            "met": {"met": True, "missed": False, "noise": None}[word],
        }
    ]


@pytest.mark.parametrize(("name", "why"), [("no/b.json", "No such file or directory"), (".", "Is a directory")])
def test_a_file_that_cannot_be_is_told_at_once(
    name: str, why: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: pathlib.Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "--json", name]) == 2
    assert capfd.readouterr() == ("", f"unimmu bench: --json {name}: cannot be written: {why}\n")


def test_subjects_take_turns_after_one_that_does_not_count() -> None:
    order: list[str] = []

    def subject(name: str, value: float) -> float:
        order.append(name)
        return value * len(order)

    taken = alternate(2, {"a": lambda: subject("a", 1.0), "b": lambda: subject("b", 10.0)})
    assert order == ["a", "b"] * 3
    assert taken == {"a": [3.0, 5.0], "b": [40.0, 60.0]}
    order.clear()
    taken = alternate(2, {name: partial(subject, name, 1.0) for name in "ab"}, to_and_fro=True)
    assert order == ["a", "b", "a", "b", "b", "a"]
    assert taken == {"a": [3.0, 6.0], "b": [4.0, 5.0]}


@pytest.mark.parametrize("at_most", [True, False])
def test_less_than_nothing_is_noise(at_most: bool) -> None:
    """A rate is what a cost divides, so that one below zero is no more missed than a cost below zero is met."""
    figures = [Figure("x", "x", value, aim=Aim(3.0, at_most)) for value in (-0.1, 0.0, 3.0)]
    assert [figure.met for figure in figures] == [None, None, True]


def test_medians() -> None:
    assert median_ratio([2.0, 9.0, 8.0], [1.0, 3.0, 2.0]) == 3.0
    assert median_difference([10.0, 14.0, 90.0], [2.0, 4.0, 10.0], 2) == 5.0


@pytest.mark.parametrize(
    ("aim", "value", "met", "text"),
    [(Aim(2.0), 2.0, True, "<= 2"), (Aim(2.0), 2.1, False, "<= 2"), (Aim(0.9, at_most=False), 0.95, True, ">= 0.9")],
)
def test_aims(aim: Aim, value: float, met: bool, text: str) -> None:
    assert (aim.met(value), str(aim)) == (met, text)
