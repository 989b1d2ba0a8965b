"""What it costs to record the events of a run, and to count them afterwards."""

from __future__ import annotations

import contextlib
import io
import os
import statistics
import tempfile
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

import guests
from emu.bench.figure import Aim, Figure, Measurement, alternate, cpu_seconds
from emu.machine import Machine
from emu.trace.formats.parquet import Parquet
from emu.trace.recorder import Recorder


def tracing(rounds: int, turns: int, rows: int) -> Measurement:
    """Eight processes that share a region (``region_stress``), alone and with every event written as Parquet; and a
    trace of so many ``rows``, made of those events again and again, counted by ``unimmu trace stat``.
    """
    words = [str(guests.path("region_stress")), "8", str(turns)]
    with tempfile.TemporaryDirectory(prefix="unimmu-bench-") as directory:
        path, large = os.path.join(directory, "t.parquet"), os.path.join(directory, "large.parquet")
        taken = alternate(
            rounds, {"plain": lambda: _run(words, None), "traced": lambda: _run(words, path)},
        )  # fmt: skip
        events = pq.read_metadata(path).num_rows
        _repeat(path, large, rows)
        taken |= alternate(rounds, {"stat": lambda: cpu_seconds(lambda: _stat(large))})
        size = os.path.getsize(path)
    plain, traced = taken["plain"], taken["traced"]
    rate = statistics.median(events / (one - other) for one, other in zip(traced, plain, strict=True)) / 1e6
    ratio = statistics.median(one / other for one, other in zip(traced, plain, strict=True))
    per_row = statistics.median(taken["stat"]) / rows * 10_000_000
    figures = (
        Figure("trace_parquet", "a run with every event written as Parquet / without", ratio, aim=Aim(2.0)),
        Figure("trace_parquet_rate", "  events by the CPU time that they cost", rate, "M/s", Aim(3.0, at_most=False)),
        Figure("trace_parquet_bytes", "  size of an event in the file", size / events, "bytes", Aim(12.0)),
        Figure("trace_stat", "unimmu trace stat of 10 M events, as so many take it", per_row, "s", Aim(3.0)),
    )
    return Measurement("tracing", taken, figures)


def _run(words: Sequence[str], path: str | None) -> float:
    machine = Machine(256 << 20, stdout=io.BytesIO())
    with contextlib.ExitStack() as stack:
        recorder = None
        if path is not None:
            file = stack.enter_context(open(path, "wb"))
            recorder = Recorder(machine, Parquet(file.write), command=words, seed=0, version="")
            machine.kernel.tracer = recorder
        machine.spawn(words[0], words[1:])

        def run() -> None:
            machine.run()
            if recorder is not None:
                recorder.finish()

        return cpu_seconds(run)


def _repeat(path: str, target: str, rows: int) -> None:
    """A file with so many rows, those of ``path`` again and again."""
    table = pq.read_table(path)
    with pq.ParquetWriter(target, table.schema, compression="zstd") as writer:
        while rows > 0:
            part: pa.Table = table.slice(0, min(rows, len(table)))
            writer.write_table(part)
            rows -= len(part)


def _stat(path: str) -> None:
    from emu.cli.main import main

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        main(["trace", "stat", path])
