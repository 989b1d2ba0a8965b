"""Analyses of access streams, and how a sweep goes faster on two processes than on one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

from emu.bench import dask_workers
from emu.bench.figure import Aim, Figure, Measurement, alternate, cpu_seconds, median_ratio, seconds
from emu.bench.lab import recorded, repeated
from emu.lab.dask_pool import DaskPool
from emu.lab.lru_stack import LruStack
from emu.lab.point import Point, point_of
from emu.lab.stream_file import read
from emu.lab.sweep import Came, LocalPool

_READ_IT = """
import resource, sys
from emu.bench.analyses import distances_of
distances_of(sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def analyses(rounds: int, turns: int, times: int) -> Measurement:
    """Reuse distances of random updates of 64 MiB, from the file on, and of one that is so many times longer; and a
    sweep of short runs.
    """
    with tempfile.TemporaryDirectory() as directory:
        stream, longer = (os.path.join(directory, f"{name}.parquet") for name in ("stream", "longer"))
        accesses = recorded(stream, "gups", ("64M", str(turns * 20_000)))
        repeated(stream, longer, times)
        taken = alternate(rounds, {"reuse": partial(cpu_seconds, partial(distances_of, stream))})
        points = [
            point_of(("run", "--seed", str(seed), "spin", "3000000"), Path(directory), 60) for seed in range(2 * turns)
        ]
        subjects = {
            f"{name}, {workers}": partial(seconds, partial(run, points, workers))
            for workers in (1, 2)
            for name, run in (("sweep", _swept), ("bare", _bare))
        }
        with ExitStack() as stack:
            for workers in (1, 2) if dask_workers.is_installed() else ():
                address = stack.enter_context(dask_workers.workers(workers))
                subjects[f"dask, {workers}"] = partial(seconds, partial(_swept_by_dask, points, address))
            taken.update(alternate(min(rounds, 3), subjects))
        kib, longer_kib = (_resident_kib(path) for path in (stream, longer))
    figures: tuple[Figure, ...] = (
        Figure(
            "lab_reuse_maccesses", "reuse distances of random updates: million accesses a second, the file read",
            accesses / median(taken["reuse"]) / 1e6, "M/s", aim=Aim(10, at_most=False),
        ),
        Figure(
            "lab_reuse_memory_growth", f"  memory of that: a stream {times} times as long / that", longer_kib / kib,
            aim=Aim(1.1),
        ),
        Figure(
            "lab_sweep_scaling", f"a sweep of {len(points)} points: time with one process / with two",
            gain := median_ratio(taken["sweep, 1"], taken["sweep, 2"]),
        ),
        Figure(
            "lab_sweep_share", "a sweep of runs: what two processes gain on one / what they gain without a pool",
            gain / median_ratio(taken["bare, 1"], taken["bare, 2"]), aim=Aim(0.9, at_most=False),
        ),
    )  # fmt: skip
    if "dask, 2" in taken:
        what = "  time with one worker of Dask / with two"
        figures = *figures, Figure("lab_dask_scaling", what, median_ratio(taken["dask, 1"], taken["dask, 2"]))
    return Measurement("analyses", taken, figures)


def distances_of(path: str) -> LruStack:
    """The reuse distances of a file."""
    stack = LruStack()
    for batch in read(path, ("page", "kind", "space", "pcid", "vcpu", "shift")):
        stack.take(batch)
    return stack


def _swept(points: list[Point], workers: int) -> None:
    _check(LocalPool(workers).run(points))


def _swept_by_dask(points: list[Point], address: str) -> None:
    _check(DaskPool(address, lambda said: None).run(points))


def _check(outcomes: Iterable[Came]) -> None:
    for came in outcomes:
        if "error" in came.outcome:
            raise RuntimeError(f"bench: {came.outcome['error']}")


def _bare(points: list[Point], workers: int) -> None:
    """The same runs without a pool, so many at once: what this host gains by that, with whatever else runs on it."""
    root = Path(__file__).resolve().parents[2]

    def run(point: Point) -> None:
        command = [sys.executable, "-m", "emu.cli.main", *point.words]
        subprocess.run(command, cwd=root, stdout=subprocess.DEVNULL, check=True)

    with ThreadPoolExecutor(workers) as threads:
        list(threads.map(run, points))


def _resident_kib(path: str) -> int:
    """The most memory that a process has had which analyses a file."""
    root = Path(__file__).resolve().parents[2]
    ran = subprocess.run([sys.executable, "-c", _READ_IT, path], cwd=root, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"bench: {ran.stderr.splitlines()[-1]}")
    return int(ran.stdout)
