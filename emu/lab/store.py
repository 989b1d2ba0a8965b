"""The results of a sweep in a directory: one file a point, named by the key of its content, and one Parquet of all.

A file comes there by a rename, so that each is whole at any time, and a point that is there is never run again.  Who
reads the directory while a sweep goes on sees what is done.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from emu.lab.scratch import remove_abandoned_files, scratch_file
from emu.lab.spec import Task

_DONE, _FAILED = ".json", ".failed.json"
RESULTS, PAGE = "results.parquet", "report.html"
#: The largest number of a figure; and bytes of a point's file, at most: there are some thousands of figures.
_MOST, _MOST_BYTES = (1 << 64) - 1, 1 << 26


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
        for each in (directory, self._points):
            remove_abandoned_files(each)

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
                found = json.loads(_read_whole(self._points / f"{key}{suffix}"))
            except (FileNotFoundError, ValueError, RecursionError):
                continue
            if isinstance(found, dict) and found.get("key") == key and _is_outcome(found):
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


def _read_whole(path: Path) -> bytes:
    """What is in a file.  ValueError for what is none, or larger than a result is; OSError."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("not a regular file")
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ValueError(f"more than {_MOST_BYTES} bytes")
    return data


def _is_outcome(found: Mapping[str, Any]) -> bool:
    """Whether this is what may come of a point: numbers by their names, or an error; and how long it took."""
    if not _is_number(found.get("seconds", 0)):
        return False
    if "figures" in found:
        figures = found["figures"]
        return isinstance(figures, dict) and all(map(_is_number, figures.values()))
    return isinstance(found.get("error"), str)


def _is_number(value: object) -> bool:
    """Whether this is a number that a table has room for."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MOST


def _write_whole(path: Path, data: bytes) -> None:
    try:
        with scratch_file(path) as scratch:
            scratch.write_bytes(data)
            os.replace(scratch, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None  # not the other name


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
    mixed = min(known, default=0) < 0 and max(known) > _MOST >> 1  # no type of whole numbers has both
    if mixed or any(isinstance(value, float) for value in known):
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.array(values, pa.uint64() if all(value >= 0 for value in known) else pa.int64())
