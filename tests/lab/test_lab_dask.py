"""A sweep on Dask's workers: one that is ended in the middle, and a scheduler that is begun anew."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from emu.cli.main import main
from emu.lab.spec import read_spec
from emu.lab.store import Store
from emu.lab.sweep import Sweep

needs_dask = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="distributed is not installed: pip install 'unimmu[dask]'"
)
_PATIENCE_S = 150
_ROOT = str(Path(__file__).resolve().parents[2])
SPEC = """
program = "{what}"
[axes]
what = ["hello", "touch_pages 64K", "no_such_program", "spin 30000000"]
seed = [0, 1]
[report]
measures = ["instructions"]
"""


class Cluster:
    """A scheduler and workers of one thread, each a process that may be ended."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self._directory = directory
        self._environment = {**os.environ, "PYTHONPATH": _ROOT, "TMPDIR": str(directory)}
        self.processes: list[subprocess.Popen[bytes]] = []

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", *words], cwd=self._directory, env=self._environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def scheduler(self) -> subprocess.Popen[bytes]:
        words = ("--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard", "--no-show")
        return self._start("distributed.cli.dask_scheduler", *words)

    def worker(self) -> subprocess.Popen[bytes]:
        return self._start(
            "distributed.cli.dask_worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard",
            "--memory-limit", "0", "--death-timeout", str(_PATIENCE_S),
        )  # fmt: skip

    def end(self, process: subprocess.Popen[bytes]) -> None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def cluster_in(directory: Path) -> Iterator[Cluster]:
    cluster = Cluster(directory)
    try:
        yield cluster
    finally:
        for process in cluster.processes:
            if process.poll() is None:
                cluster.end(process)


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + _PATIENCE_S
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


@needs_dask
def test_nothing_is_lost_and_nothing_is_there_twice(tmp_path: Path) -> None:
    spec, there = tmp_path / "s.toml", tmp_path / "there"
    spec.write_text(SPEC)
    program = "from emu.cli.entry import main; main()"
    with cluster_in(tmp_path) as cluster:
        scheduler, workers = cluster.scheduler(), [cluster.worker(), cluster.worker()]
        words = ["tlb", "sweep", str(spec), "-d", str(there), "--scheduler", cluster.address, "--patience", "100"]
        sweep = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", program, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        points = there / "points"
        wait_until(lambda: points.is_dir() and len(Store(there).done()) >= 2)
        cluster.end(workers[0])
        before = len(Store(there).done())
        wait_until(lambda: len(Store(there).done()) > before)
        cluster.end(scheduler)
        kept = {path.name: path.stat().st_mtime_ns for path in points.glob("*.json") if "failed" not in path.name}
        cluster.scheduler()
        cluster.worker()  # Dask's own end with their scheduler
        _, told = sweep.communicate(timeout=_PATIENCE_S)
    assert sweep.returncode == 1 and told.count("exit status 127") == 2, told
    assert all((points / name).stat().st_mtime_ns == mtime for name, mtime in kept.items())
    keys = Sweep(read_spec(spec), Store(there)).keys
    rows = pq.read_table(there / "results.parquet").to_pylist()
    assert [row["key"] for row in rows] == keys and len(set(keys)) == 8
    expected = ["failed" if row["what"] == "no_such_program" else "done" for row in rows]
    assert [row["state"] for row in rows] == expected
    ends = {"done": ".json", "failed": ".failed.json"}
    assert {path.name for path in points.iterdir()} == {row["key"] + ends[row["state"]] for row in rows}
    here = tmp_path / "here.json"
    assert main(["run", "--seed", "0", "--json", str(here), "touch_pages", "64K"]) == 0
    (row,) = [row for row in rows if (row["what"], row["seed"]) == ("touch_pages 64K", "0")]
    assert row["instructions"] == json.loads(here.read_bytes())["instructions"]


@needs_dask
def test_no_scheduler_is_told_in_a_line(tmp_path: Path) -> None:
    spec = tmp_path / "s.toml"
    spec.write_text('program = "hello"\n[axes]\nseed = [1]')
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))  # nobody listens
        address = f"tcp://127.0.0.1:{one.getsockname()[1]}"
        words = ["tlb", "sweep", str(spec), "-d", str(tmp_path / "r"), "--scheduler", address, "--patience", "0"]
        program = "from emu.cli.entry import main; main()"
        command = [sys.executable, "-W", "ignore", "-c", program, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    assert done.returncode == 2, done.stderr
    assert f"unimmu tlb: no scheduler answers at {address}" in done.stderr.splitlines()[-1]
    assert (tmp_path / "r" / "results.parquet").exists()


def test_without_distributed_it_is_said_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    spec = tmp_path / "s.toml"
    spec.write_text('program = "hello"\n[axes]\nseed = [1]')
    assert main(["tlb", "sweep", str(spec), "-d", str(tmp_path / "r"), "--scheduler", "tcp://127.0.0.1:1"]) == 70
    assert "distributed is needed, but is not installed: pip install 'unimmu[dask]'" in capsys.readouterr().err
