"""What it costs to record the events of a run, and to count them afterwards."""

from __future__ import annotations

import os
import pathlib
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq

import guests
from emu.bench.figure import Aim, Figure, Measurement, Rounds, alternate, median_ratio, process_seconds
from emu.bench.startup import COMMAND, environment_of


def tracing(rounds: int, turns: int, updates: int, rows: int) -> Measurement:
    """Whole processes: eight guests that share a region (``region_stress``) and one that updates a table at random
    (``gups``), alone and with every event written as Parquet; and traces made of those events again and again: one of
    so many ``rows`` counted by ``unimmu trace stat``, one of a tenth of them made a page by ``unimmu trace report``.
    """
    with tempfile.TemporaryDirectory(prefix="unimmu-bench-") as directory:
        environment = environment_of(directory)
        unimmu = [sys.executable, "-c", COMMAND]
        guests_ = {"region_stress": ["8", str(turns)], "gups": ["16M", str(updates)]}
        files = {name: pathlib.Path(directory, f"{name}.parquet") for name in guests_}
        subjects: dict[str, Callable[[], float]] = {}
        for name, words in guests_.items():
            guest = [str(guests.path(name)), *words]
            for kind, options in (("plain", []), ("traced", ["--trace", str(files[name])])):
                subjects[f"{name} {kind}"] = partial(
                    process_seconds, [*unimmu, "run", *options, *guest], environment
                )  # fmt: skip
        taken = alternate(rounds, subjects)
        large, page = (pathlib.Path(directory, f"{name}.parquet") for name in ("large", "page"))
        _repeat(files["region_stress"], large, rows)
        _repeat(files["region_stress"], page, rows // 10)
        report = [*unimmu, "trace", "report", str(page), "-o", str(pathlib.Path(directory, "page.html"))]
        taken |= alternate(
            rounds,
            {
                "stat": lambda: process_seconds([*unimmu, "trace", "stat", str(large)], environment),
                "report": lambda: process_seconds(report, environment),
            },
        )
        recorded = [each for name in guests_ for each in _recorded(name, taken, files[name])]
    figures = (
        *recorded,
        Figure("trace_stat", f"unimmu trace stat of {rows} events", statistics.median(taken["stat"]), "s", Aim(3.0)),
        Figure(
            "trace_report", f"unimmu trace report of {rows // 10} events", statistics.median(taken["report"]), "s",
            Aim(10.0),
        ),
    )  # fmt: skip
    return Measurement("tracing", taken, figures)


def _recorded(guest: str, taken: Rounds, file: pathlib.Path) -> tuple[Figure, ...]:
    """What the recording of a guest costs."""
    plain, traced = taken[f"{guest} plain"], taken[f"{guest} traced"]
    events, size = pq.read_metadata(file).num_rows, os.path.getsize(file)
    rate = statistics.median(events / (one - other) for one, other in zip(traced, plain, strict=True)) / 1e6
    name = {"region_stress": "trace_parquet", "gups": "trace_gups"}[guest]
    what = f"a run of {guest} with every event written as Parquet / without"
    return (
        Figure(name, what, median_ratio(traced, plain), aim=Aim(2.0)),
        Figure(f"{name}_rate", "  events by the CPU time that they cost", rate, "M/s", Aim(3.0, at_most=False)),
        Figure(f"{name}_bytes", "  size of an event in the file", size / events, "bytes", Aim(12.0)),
    )


def _repeat(path: pathlib.Path, target: pathlib.Path, rows: int) -> None:
    """A file with so many rows, those of ``path`` again and again."""
    table = pq.read_table(path)
    with pq.ParquetWriter(target, table.schema, compression="zstd") as writer:
        while rows > 0:
            part: pa.Table = table.slice(max(0, len(table) - rows))  # the end is the last
            writer.write_table(part)
            rows -= len(part)
