"""What it costs to record the events of a run, and to count them afterwards."""

from __future__ import annotations

import os
import pathlib
import statistics
import sys
import tempfile

import pyarrow as pa
import pyarrow.parquet as pq

import guests
from emu.bench.figure import Aim, Figure, Measurement, alternate, process_seconds
from emu.bench.startup import COMMAND, environment_of


def tracing(rounds: int, turns: int, rows: int) -> Measurement:
    """Whole processes: eight guests that share a region (``region_stress``), alone and with every event written as
    Parquet; and a trace of so many ``rows``, made of those events again and again, counted by ``unimmu trace stat``.
    """
    with tempfile.TemporaryDirectory(prefix="unimmu-bench-") as directory:
        environment = environment_of(directory)
        path, large = pathlib.Path(directory, "t.parquet"), pathlib.Path(directory, "large.parquet")
        unimmu = [sys.executable, "-c", COMMAND]
        guest = [str(guests.path("region_stress")), "8", str(turns)]
        taken = alternate(
            rounds,
            {
                "plain": lambda: process_seconds([*unimmu, "run", *guest], environment),
                "traced": lambda: process_seconds([*unimmu, "run", "--trace", str(path), *guest], environment),
            },
        )
        events, size = pq.read_metadata(path).num_rows, os.path.getsize(path)
        _repeat(path, large, rows)
        stat = [*unimmu, "trace", "stat", str(large)]
        taken |= alternate(rounds, {"stat": lambda: process_seconds(stat, environment)})
    plain, traced = taken["plain"], taken["traced"]
    rate = statistics.median(events / (one - other) for one, other in zip(traced, plain, strict=True)) / 1e6
    ratio = statistics.median(one / other for one, other in zip(traced, plain, strict=True))
    figures = (
        Figure("trace_parquet", "a run with every event written as Parquet / without", ratio, aim=Aim(2.0)),
        Figure("trace_parquet_rate", "  events by the CPU time that they cost", rate, "M/s", Aim(3.0, at_most=False)),
        Figure("trace_parquet_bytes", "  size of an event in the file", size / events, "bytes", Aim(12.0)),
        Figure("trace_stat", f"unimmu trace stat of {rows} events", statistics.median(taken["stat"]), "s", Aim(3.0)),
    )
    return Measurement("tracing", taken, figures)


def _repeat(path: pathlib.Path, target: pathlib.Path, rows: int) -> None:
    """A file with so many rows, those of ``path`` again and again."""
    table = pq.read_table(path)
    with pq.ParquetWriter(target, table.schema, compression="zstd") as writer:
        while rows > 0:
            part: pa.Table = table.slice(max(0, len(table) - rows))  # the end is the last
            writer.write_table(part)
            rows -= len(part)
