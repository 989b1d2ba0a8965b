"""The results of a sweep in a directory: one file a point, named by the key of its content, and one Parquet of all.

A file comes there by a rename, so that each is whole at any time, and a point that is there is never run again.  Who
reads the directory while a sweep goes on sees what is done.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from emu.lab.spec import Task

_DONE, _FAILED = ".json", ".failed.json"
RESULTS, PAGE = "results.parquet", "report.html"


class Row(NamedTuple):
    """A point of the sweep: its task, its key, and what is known of it: figures, an error, or neither."""

    task: Task
    key: str
    figures: Mapping[str, int | float] | None
    error: str | None
    seconds: float | None


class Store:
    """The directory, which is made where there is none.  OSError."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._points = directory / "points"
        self._points.mkdir(parents=True, exist_ok=True)

    def write(self, key: str, outcome: Mapping[str, Any]) -> None:
        """Keep what came of a point: ``figures`` or an ``error``.  A failure never takes the place of a result."""
        suffix = _FAILED if "error" in outcome else _DONE
        _write_whole(self._points / f"{key}{suffix}", json.dumps({"key": key, **outcome}).encode())
        if suffix == _DONE:
            (self._points / f"{key}{_FAILED}").unlink(missing_ok=True)

    def done(self) -> set[str]:
        """The keys of all points with a result."""
        names = [name.partition(".")[0] for name in os.listdir(self._points) if not name.startswith(".")]
        return {key for key in set(names) if "figures" in (self.read(key) or {})}

    def read(self, key: str) -> dict[str, Any] | None:
        """What is known of a point: its result, else its failure; None if neither."""
        for suffix in (_DONE, _FAILED):
            try:
                found = json.loads((self._points / f"{key}{suffix}").read_bytes())
            except (FileNotFoundError, ValueError):
                continue
            if isinstance(found, dict) and found.get("key") == key and ("figures" in found or "error" in found):
                return found
        return None

    def rows(self, tasks: Sequence[Task], keys: Sequence[str]) -> list[Row]:
        """All points in their order."""
        rows = []
        for task, key in zip(tasks, keys, strict=True):
            held = self.read(key) or {}
            rows.append(Row(task, key, held.get("figures"), held.get("error"), held.get("seconds")))
        return rows

    def write_results(self, rows: Sequence[Row]) -> None:
        """Write the Parquet: a row a point, with columns for the axes, ``key``, ``state`` (done, failed or missing),
        ``error``, ``seconds``, and every figure."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        sink = pa.BufferOutputStream()
        pq.write_table(table_of(rows), sink, compression="zstd")
        _write_whole(self.directory / RESULTS, sink.getvalue().to_pybytes())

    def write_text(self, name: str, text: str) -> None:
        """Write the report, or a picture."""
        _write_whole(self.directory / name, text.encode("utf-8"))


def _write_whole(path: Path, data: bytes) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        scratch.write_bytes(data)
        os.replace(scratch, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None  # not the other name
    finally:
        scratch.unlink(missing_ok=True)


def table_of(rows: Sequence[Row]) -> Any:
    """The rows as a pyarrow.Table."""
    import pyarrow as pa

    columns: dict[str, Any] = {}
    for axis in dict.fromkeys(name for row in rows for name in row.task.labels):
        columns[axis] = pa.array([row.task.labels.get(axis) for row in rows], pa.string())
    state = ["done" if row.figures is not None else "failed" if row.error is not None else "missing" for row in rows]
    own = {
        "key": pa.array([row.key for row in rows], pa.string()),
        "state": pa.array(state, pa.string()),
        "error": pa.array([row.error if row.figures is None else None for row in rows], pa.string()),
        "seconds": pa.array([row.seconds for row in rows], pa.float64()),
    }
    for name in dict.fromkeys(name for row in rows for name in row.figures or ()):
        own[name] = _numbers([(row.figures or {}).get(name) for row in rows])
    for name, column in own.items():
        while name in columns:  # as an axis
            name += "_"
        columns[name] = column
    return pa.table(columns)


def _numbers(values: Sequence[int | float | None]) -> Any:
    import pyarrow as pa

    known = [value for value in values if value is not None]
    if any(isinstance(value, float) for value in known):
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.array(values, pa.uint64() if all(value >= 0 for value in known) else pa.int64())
