"""unimmu tlb sweep: on this host, what is kept, and what comes of points that fail or are ended."""

from __future__ import annotations

import _thread
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from emu.cli.main import main
from emu.lab import sweep as sweep_module
from emu.lab.page import page_of
from emu.lab.point import Killed, Point, point_of, run_point
from emu.lab.spec import Measure, read_spec
from emu.lab.store import Store
from emu.lab.sweep import Came, LocalPool, Sweep
from emu.lab.sweep_report import findings

#: How long something may take that takes a second.
_PATIENCE_S = 120


def spec_file(directory: Path, text: str, name: str = "s.toml") -> Path:
    path = directory / name
    path.write_text(text)
    return path


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + _PATIENCE_S
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


def children() -> set[int]:
    tasks = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {int(pid) for task in tasks for pid in task.read_text().split()}


def sweep_command(spec: Path, results: Path, *more: str) -> list[str]:
    program = "from emu.cli.entry import main; main()"
    return [sys.executable, "-c", program, "tlb", "sweep", str(spec), "-d", str(results), *more]


def test_points_are_run_once_and_failures_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A failure is no end of the sweep, and is run again the next time; what is done is not."""
    text = (
        'program = "{what}"\n[axes]\nwhat = ["hello", "touch_pages 64K", "no_such_program"]\n'
        'tlb = ["textbook"]\n[report]\nmeasures = ["mmu.walks", "mmu.walks per 1000 instructions"]\nacross = "what"\n'
    )
    spec, results = spec_file(tmp_path, text), tmp_path / "r"
    assert main(["tlb", "sweep", str(spec), "-j", "2", "-d", str(results)]) == 1
    told = capsys.readouterr()
    assert "what=no_such_program tlb=textbook: exit status 127: " in told.err
    assert "3 points: 2 done, 1 failed, 0 missing" in told.out
    table = pq.read_table(results / "results.parquet").to_pylist()
    assert [(row["what"], row["state"]) for row in table] == [
        ("hello", "done"), ("touch_pages 64K", "done"), ("no_such_program", "failed"),
    ]  # fmt: skip
    direct = tmp_path / "direct.json"
    assert main(["run", "--json", str(direct), "--tlb", "textbook", "touch_pages", "64K"]) == 0
    expected = json.loads(direct.read_bytes())
    assert table[1]["mmu.walks"] == expected["mmu"]["walks"] and table[1]["instructions"] == expected["instructions"]
    kept = {path.name: path.stat().st_mtime_ns for path in (results / "points").glob("*.json")}
    assert len(kept) == 3
    capsys.readouterr()
    assert main(["tlb", "sweep", str(spec), "-j", "2", "-d", str(results)]) == 1
    assert "2 of 3 points have their results already" in capsys.readouterr().err
    again = {path.name: path.stat().st_mtime_ns for path in (results / "points").glob("*.json")}
    assert [name for name in kept if again[name] != kept[name]] == [name for name in kept if "failed" in name]


def test_a_process_that_is_ended_is_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three times at most."""
    begun: list[str] = []

    def ended_twice(data: bytes, stopped: object) -> bytes:
        begun.append(Point.from_bytes(data).words[-1])
        if begun.count(begun[-1]) < (3 if begun[-1] == "luck" else 9):
            raise Killed("ended by SIGKILL")
        return b'{"figures": {"n": 1}, "seconds": 0}'

    monkeypatch.setattr(sweep_module, "run_point", ended_twice)
    points = [point_of(("run", word), tmp_path, 1) for word in ("luck", "none")]
    came = {each.key: each.outcome for each in LocalPool(2).run(points)}
    assert came[points[0].key]["figures"] == {"n": 1}
    assert came[points[1].key] == {"error": "ended by SIGKILL, 3 times"}
    assert sorted(begun) == ["luck"] * 3 + ["none"] * 3


def test_a_kill_from_outside_is_noticed(tmp_path: Path) -> None:
    before = children()
    point = point_of(("run", "spin"), tmp_path, 60)
    with pytest.raises(Killed, match="SIGKILL"):

        def kill() -> None:
            wait_until(lambda: bool(children() - before))
            for pid in children() - before:
                os.kill(pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            run_point(point.to_bytes())
        finally:
            killer.join()


def test_a_point_that_takes_too_long(tmp_path: Path) -> None:
    outcome = json.loads(run_point(point_of(("run", "spin"), tmp_path, 0.5).to_bytes()))
    assert outcome["error"] == "not ready after 0.5 seconds"


def test_another_host_may_have_other_files(tmp_path: Path) -> None:
    geometry = spec_file(tmp_path, "one", "my.toml")
    point = point_of(("run", "--tlb", "my.toml", "hello"), tmp_path, 1)
    geometry.write_text("another one")
    os.utime(geometry, ns=(1, 1))
    assert "the files that the command names are others here" in json.loads(run_point(point.to_bytes()))["error"]
    elsewhere = dataclasses.replace(point, directory="/no/such")
    assert "there is no directory /no/such" in json.loads(run_point(elsewhere.to_bytes()))["error"]
    other = dataclasses.replace(point, code="0")
    assert "another unimmu" in json.loads(run_point(other.to_bytes()))["error"]


def test_a_sweep_that_was_stopped_goes_on(tmp_path: Path) -> None:
    """By Ctrl-C, SIGTERM, and then by SIGKILL: its processes end with it, and what was done is done."""
    text = (
        'program = "calls \'say {n}; {then}\'"\n[axes]\nn = [1, 2]\nthen = ["say 1", "repeat 1000000; load 0; end"]\n'
    )
    spec, results = spec_file(tmp_path, text), tmp_path / "r"
    points = results / "points"
    temporary = tmp_path / "t"
    temporary.mkdir()
    scratch = {**os.environ, "TMPDIR": str(temporary)}
    for how, status in ((signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)):
        sweep = subprocess.Popen(
            sweep_command(spec, results, "-j", "3"), stderr=subprocess.PIPE, text=True, env=scratch
        )
        wait_until(lambda: points.is_dir() and len(Store(results).done()) == 2)
        wait_until(lambda sweep=sweep: len(_descendants(sweep.pid)) >= 2)  # type: ignore[misc]
        running = _descendants(sweep.pid)
        kept = {path.name: path.stat().st_ino for path in points.glob("*.json")}
        assert len(kept) == 2
        sweep.send_signal(how)
        _, told = sweep.communicate(timeout=_PATIENCE_S)
        assert sweep.returncode == status
        assert ("stopped; the same command goes on" in told) == (how != signal.SIGKILL)
        wait_until(lambda running=running: not any(_lives(pid) for pid in running))  # type: ignore[misc]
        assert how == signal.SIGKILL or not [*temporary.iterdir()], "nothing is left of the points"
    assert {path.name: path.stat().st_ino for path in points.glob("*.json")} == kept
    assert not [path for path in points.iterdir() if path.name.startswith(".")]


def test_an_interruption_that_wakes_nobody_is_seen(tmp_path: Path) -> None:
    """What a signal does that comes just before the main thread waits, or that another thread is given."""
    point = point_of(("run", "spin"), tmp_path, 3600)

    def interrupt() -> None:
        wait_until(lambda: bool(children()))
        _thread.interrupt_main()

    interrupting = threading.Thread(target=interrupt)
    with pytest.raises(KeyboardInterrupt):
        interrupting.start()
        list(LocalPool(1).run([point]))
    interrupting.join()
    assert not children()


def _descendants(pid: int) -> set[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").glob("*/children"))
        return {int(child) for task in tasks for child in task.read_text().split()}
    except OSError:
        return set()


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_run_is_recorded_and_replayed(tmp_path: Path) -> None:
    """At each point anew: the figures are those of the two commands; and an exit status may be no failure."""
    text = (
        'program = "fork_shared"\nreplay = "{pcids}"\nends = [0, 7]\n[axes]\ntlb = ["zen4"]\n'
        'pcids = [{ name = "without", value = "" }, { name = "with", value = "--pcids 6" }]\n'
    )
    spec, results, stream = spec_file(tmp_path, text), tmp_path / "r", tmp_path / "a.parquet"
    assert main(["tlb", "sweep", str(spec), "-d", str(results)]) == 0
    assert main(["run", "--record", str(stream), "fork_shared"]) == 0
    table = pq.read_table(results / "results.parquet").to_pylist()
    for row, more in zip(table, ([], ["--pcids", "6"]), strict=True):
        assert main(["tlb", "sim", str(stream), "--tlb", "zen4", *more, "--json", str(tmp_path / "o.json")]) == 0
        (model,) = json.loads((tmp_path / "o.json").read_bytes())["models"]
        assert row["mmu.perf.PAGE_WALKER_LOADS"] == model["perf"]["PAGE_WALKER_LOADS"]
    assert table[0]["mmu.perf.PAGE_WALKER_LOADS"] > table[1]["mmu.perf.PAGE_WALKER_LOADS"]
    assert table[0]["accesses"] == table[1]["accesses"]


def test_an_exit_status_may_be_no_failure(tmp_path: Path) -> None:
    point = point_of(("run", "calls", "exit 7"), tmp_path, 60, ends=(7,))
    assert "figures" in json.loads(run_point(point.to_bytes()))
    assert "exit status 7" in json.loads(run_point(dataclasses.replace(point, ends=(0,)).to_bytes()))["error"]


def test_a_note_is_no_reason_of_a_failure(tmp_path: Path) -> None:
    """A directory below /tmp is not seen in the machine, and a run with --root says so."""
    point = point_of(("run", "--root", "/", "sh", "-c", "exit 3"), tmp_path, 60)
    assert json.loads(run_point(point.to_bytes()))["error"] == "exit status 3"
    point = point_of(("run", "--root", "/", "sh", "-c", "echo lost >&2; exit 3"), tmp_path, 60)
    assert json.loads(run_point(point.to_bytes()))["error"] == "exit status 3: lost"


# ---- the store and the report, without runs

SPEC = """
title = "made up"
program = "x {size} {pages}"
[axes]
pages = ["4k", "2m"]
size = ["1M", "4M", "64M"]
seed = [0, 1]
[report]
across = "size"
measures = ["mmu.walks per 10 instructions", "none"]
"""


class _MadeUp:
    """A pool whose results are those of a formula; one point fails."""

    def run(self, points: Sequence[Point]) -> Iterator[Came]:
        return (Came(point.key, self._outcome(point.words)) for point in points)

    def _outcome(self, words: tuple[str, ...]) -> dict[str, object]:
        seed, size, pages = int(words[words.index("--seed") + 1]), int(words[-2][:-1]), words[-1]
        if (size, pages, seed) == (64, "2m", 1):
            return {"error": "made up <b>"}
        walks = size * (10 if pages == "4k" else 1) + seed
        return {"figures": {"mmu.walks": walks, "instructions": 100, "big": (1 << 64) - 1 - seed}, "seconds": 0.5}


@pytest.fixture
def made_up(tmp_path: Path) -> Sweep:
    sweep = Sweep(read_spec(spec_file(tmp_path, SPEC)), Store(tmp_path / "r"))
    sweep.run(_MadeUp(), lambda came: None)
    return sweep


def test_curves_are_means_of_seeds(made_up: Sweep) -> None:
    found = findings(made_up.spec, made_up.rows())
    curves = {curve.name: list(curve.points) for curve in found[0].pictures[0].curves}
    assert curves["4k"] == [(n * 2.0**20, (10 * n + 0.5) * 10 / 100) for n in (1, 4, 64)]
    assert [y for _, y in curves["2m"]] == pytest.approx([0.15, 0.45, 6.4])
    assert found[0].pictures[0].logarithmic and found[1].remark == "No point has none."
    assert found[2].listings[0].rows == [("pages=2m size=64M seed=1", "made up <b>")]
    page = page_of("t", "o", found)
    assert "made up &lt;b&gt;" in page and "<svg" in page


def test_a_measure_without_a_value_says_why(made_up: Sweep) -> None:
    rows = made_up.rows()
    for text, why in (
        ("mmu.walkz", "No point has mmu.walkz; there is mmu.walks."),
        ("mmu.walks per instruction", "No point has instruction; there is instructions."),
    ):
        figure, _, by = text.partition(" per ")
        spec = dataclasses.replace(made_up.spec, measures=(Measure(text, figure, by or None, 1),))
        assert findings(spec, rows)[0].remark == why
        none = [row._replace(figures=None) for row in rows]
        assert findings(spec, none)[0].remark == "No point has a result yet."


def test_the_parquet_has_a_row_a_point(made_up: Sweep) -> None:
    rows = made_up.rows()
    made_up.store.write_results(rows[:-1] + [rows[-1]._replace(error=None)])
    table = pq.read_table(made_up.store.directory / "results.parquet")
    assert table.num_rows == 12 and len(set(table["key"].to_pylist())) == 12
    assert table["state"].to_pylist() == ["done"] * 11 + ["missing"]
    assert table["big"].to_pylist()[:2] == [(1 << 64) - 1, (1 << 64) - 2] and str(table["big"].type) == "uint64"


def test_a_failure_never_takes_the_place_of_a_result(made_up: Sweep) -> None:
    done = sorted(made_up.store.done())
    assert len(done) == 11 and [point.key for point in made_up.missing()] == [made_up.keys[-1]]
    made_up.store.write(done[0], {"error": "late"})
    assert made_up.store.done() == set(done) and "figures" in (made_up.store.read(done[0]) or {})


@pytest.mark.parametrize(
    "damage",
    [
        '{"key": "',
        '{"key": KEY, "figures": ["instructions"]}',
        '{"key": KEY, "figures": {"instructions": "many"}}',
        '{"key": KEY, "figures": {"instructions": NaN}}',
        '{"key": KEY, "figures": {"instructions": 1e400}}',
        '{"key": KEY, "figures": {"instructions": 36893488147419103232}}',
        '{"key": KEY, "figures": {"instructions": 1}, "seconds": "long"}',
        '{"key": KEY, "error": ["no", "text"]}',
        "[" * 100_000,
        "FIFO",
    ],
    ids=range(10),
)
def test_a_damaged_file_is_no_result(damage: str, made_up: Sweep) -> None:
    key = sorted(made_up.store.done())[0]
    path = made_up.store.directory / "points" / f"{key}.json"
    path.unlink()
    if damage == "FIFO":
        os.mkfifo(path)
    else:
        path.write_text(damage.replace("KEY", f'"{key}"'))
    assert key not in made_up.store.done() and key in {point.key for point in made_up.missing()}
    made_up.store.write_results(made_up.rows())
    assert findings(made_up.spec, made_up.rows())


def test_numbers_that_no_type_of_whole_numbers_has_are_kept(made_up: Sweep) -> None:
    for number, key in zip((-1, 1 << 63), sorted(made_up.store.done()), strict=False):
        made_up.store.write(key, {"figures": {"instructions": number}})
    made_up.store.write_results(made_up.rows())
    column = pq.read_table(made_up.store.directory / "results.parquet")["instructions"].to_pylist()
    assert {-1.0, 2.0**63} <= set(column)


def test_the_end_of_what_a_guest_complains_of_is_told(tmp_path: Path) -> None:
    """More than a pipe holds, and at last what commands a terminal."""
    script = "yes a line of complaints | head -n 5000 >&2; printf '\\033[31mred\\n' >&2; exit 3"
    point = point_of(("run", "--root", "/", "sh", "-c", script), tmp_path, 60)
    assert json.loads(run_point(point.to_bytes()))["error"] == r"exit status 3: \x1b[31mred"


def test_two_values_that_come_to_one_command_are_run_once(tmp_path: Path) -> None:
    text = 'program = "hello"\n[axes]\ntlb = [{ name = "a", value = "zen4" }, { name = "b", value = "zen4" }]'
    sweep = Sweep(read_spec(spec_file(tmp_path, text)), Store(tmp_path / "r"))
    assert len(sweep.tasks) == 2 and len(sweep.missing()) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere.toml"], "nowhere.toml: No such file or directory"),
        (["-j", "2", "--scheduler", "tcp://x:8786", "s.toml"], "-j is for this host"),
        (["--scheduler", "127.0.0.1", "s.toml"], "--scheduler: '127.0.0.1' is not tcp://HOST:PORT"),
        (["--scheduler", "tcp://x:99999", "s.toml"], "--scheduler: 'tcp://x:99999' is not tcp://HOST:PORT"),
        (["--scheduler", "tcp://:8786", "s.toml"], "--scheduler: 'tcp://:8786' is not tcp://HOST:PORT"),
        (["--scheduler", "tcp://[::1]:8786", "-j", "2", "s.toml"], "-j is for this host"),
        (["-j", "0", "s.toml"], "'0' is not a whole number from 1 to 4096"),
    ],
)
def test_mistakes_are_told_in_a_line(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tlb", "sweep", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


def test_status_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = spec_file(tmp_path, 'program = "hello"\n[axes]\nseed = [1, 2]')
    command = ["tlb", "sweep", "--status", "-d", str(tmp_path / "r"), str(spec)]
    assert main(command) == 2 and not (tmp_path / "r").exists()
    assert f"--status: {tmp_path / 'r'}: no sweep has begun there" in capsys.readouterr().err
    (tmp_path / "r").mkdir()
    assert main(command) == 0
    assert "2 points: 0 done, 0 failed, 2 missing" in capsys.readouterr().out
