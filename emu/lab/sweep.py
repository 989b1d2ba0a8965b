"""Running a sweep: the points that have no result yet go to a pool, and each result is kept when it comes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple, Protocol

from emu.lab.point import Killed, Point, point_of, run_point
from emu.lab.spec import Spec, Task
from emu.lab.store import Row, Store

#: How often a point is begun whose process is ended by a signal, or whose worker goes.
ATTEMPTS = 3
#: How often a sweep that waits for points looks whether it is to stop, in seconds: a Ctrl-C that comes just before a
#: thread begins to wait does not wake it, nor does one that the host gives to another thread.
_LOOK_S = 0.2


class Came(NamedTuple):
    """What came of a point: ``figures`` or ``error``, and ``seconds``."""

    key: str
    outcome: Mapping[str, Any]


class Pool(Protocol):
    """Runs points, in any order."""

    def run(self, points: Sequence[Point]) -> Iterator[Came]:
        """Each point's outcome, once."""


class Sweep:
    """The points of a specification, and their results in a store."""

    def __init__(self, spec: Spec, store: Store) -> None:
        self.spec, self.store = spec, store
        self.tasks: list[Task] = spec.tasks()
        points = [point_of(task.words, spec.directory, spec.timeout_s, task.replay, spec.ends) for task in self.tasks]
        self.keys = [point.key for point in points]
        #: By key: two values of an axis may come to the same command.
        self.points = {point.key: point for point in points}

    def missing(self) -> list[Point]:
        """The points without a result, in their order; those that failed among them."""
        done = self.store.done()
        return [point for key, point in self.points.items() if key not in done]

    def run(self, pool: Pool, came: Callable[[Came], None]) -> None:
        """Run what is missing, keep each outcome, and then tell of it."""
        for each in pool.run(self.missing()):
            self.store.write(each.key, each.outcome)
            came(each)

    def rows(self) -> list[Row]:
        """What is known now."""
        return self.store.rows(self.tasks, self.keys)


class LocalPool:
    """Points in processes of this host, so many at once."""

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def run(self, points: Sequence[Point]) -> Iterator[Came]:
        """See :class:`Pool`.  Those that run end with this process, or where the caller stops asking."""
        stopped = threading.Event()
        waiting = iter(points)
        with ThreadPoolExecutor(self._workers) as threads:
            flying: set[Future[Came]] = set()
            try:
                while True:
                    while len(flying) < self._workers and (point := next(waiting, None)) is not None:
                        flying.add(threads.submit(_attempted, point, stopped))
                    if not flying:
                        return
                    ready, flying = wait(flying, _LOOK_S, FIRST_COMPLETED)
                    for future in ready:
                        yield future.result()
            finally:
                stopped.set()


def _attempted(point: Point, stopped: threading.Event) -> Came:
    """Run a point here, again where its process was ended from outside."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return Came(point.key, json.loads(run_point(point.to_bytes(), stopped)))
        except Killed as killed:
            if attempt == ATTEMPTS or stopped.is_set():
                return Came(point.key, {"error": f"{killed}, {attempt} times"})
        except Exception as error:  # of this point alone: a directory for scratch files that is full, for one
            return Came(point.key, {"error": f"{type(error).__name__}: {error}"})
    raise AssertionError
