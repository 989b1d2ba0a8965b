"""DaskPool: points on the workers of a Dask scheduler (``distributed``), on one host or many.

Dask runs a task again when its worker goes, and forgets all of them when the scheduler does.  So nothing that it knows
counts as a result: what has not come back is submitted again, under another name each time, and the files of
:mod:`emu.lab.store` are all that there is.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from emu.lab.point import Point, run_point
from emu.lab.sweep import ATTEMPTS, Came

#: How long a scheduler may be away, and a worker be missing, before the sweep gives up.
PATIENCE_S = 300.0
_CONNECT_S, _POLL_S = 10, 0.5


class NoScheduler(Exception):
    """Nobody answers at the address, or it has no workers; one line."""


class DaskPool:
    """The workers of the scheduler at an address.

    ``say`` is told of what a person should know: that a scheduler is gone, or has no worker.  ``patience_s`` is how
    long such a thing may last.  ModuleNotFoundError without ``distributed``.
    """

    def __init__(self, address: str, say: Callable[[str], None], patience_s: float = PATIENCE_S) -> None:
        import distributed

        for name in ("distributed", *(f"distributed.{part}" for part in ("client", "comm", "core", "utils"))):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # what happens to a scheduler, ``say`` tells
        self._dask: Any = distributed
        self._address, self._say, self._patience_s = address, say, patience_s
        self._client: Any = None
        self._flying: dict[Any, Point] = {}
        self._attempts: Counter[str] = Counter()
        self._good_at = time.monotonic()
        self._said = ""
        #: Tasks that may be with the scheduler at once, and when to ask again how many workers there are.
        self._room, self._look_at = 0, 0.0

    def run(self, points: Sequence[Point]) -> Iterator[Came]:
        """See emu.lab.sweep.Pool.  :class:`NoScheduler`."""
        waiting = deque(points)
        self._good_at = time.monotonic()
        try:
            while waiting or self._flying:
                if self._connected(waiting):
                    self._submit(waiting)
                    yield from self._collect(waiting)
                else:
                    time.sleep(_POLL_S)
        finally:
            self._close()

    def _connected(self, waiting: deque[Point]) -> bool:
        """Whether there is a scheduler with workers; tries to reach one."""
        if self._client is not None and time.monotonic() < self._look_at and self._client.status == "running":
            return True
        try:
            if self._client is None or self._client.status != "running":
                self._lose(waiting)
                self._client = self._dask.Client(
                    self._address, timeout=max(1, min(_CONNECT_S, self._patience_s)), set_as_default=False
                )
            threads = sum(self._client.nthreads().values())
        except (OSError, TimeoutError, RuntimeError, ValueError) as error:
            self._lose(waiting)
            self._trouble(f"no scheduler answers at {self._address} ({type(error).__name__})")
            return False
        if not threads:
            self._trouble(f"the scheduler at {self._address} has no workers")
            return bool(self._flying)
        self._room, self._look_at = 2 * threads, time.monotonic() + _POLL_S
        return True

    def _lose(self, waiting: deque[Point]) -> None:
        """Forget a client, and begin anew with what it was to run."""
        self._close()
        waiting.extendleft(reversed(self._flying.values()))
        self._flying.clear()

    def _trouble(self, what: str) -> None:
        if time.monotonic() - self._good_at > self._patience_s:
            raise NoScheduler(f"{what}, for {self._patience_s:g} seconds")
        if what != self._said:
            self._said = what
            self._say(f"{what}; waiting")

    def _submit(self, waiting: deque[Point]) -> None:
        while waiting and len(self._flying) < self._room:
            point = waiting.popleft()
            key = f"unimmu-{point.key}-{uuid.uuid4().hex[:8]}"
            self._flying[self._client.submit(run_point, point.to_bytes(), key=key, pure=False, retries=0)] = point

    def _collect(self, waiting: deque[Point]) -> Iterator[Came]:
        """The outcomes that have come; what was lost goes back to those that wait."""
        if not any(future.done() for future in self._flying):
            time.sleep(_POLL_S / 10)
        for future in [future for future in self._flying if future.done()]:
            point = self._flying.pop(future)
            status = future.status
            if status == "finished":
                try:
                    data = future.result(timeout=_CONNECT_S)
                except Exception:  # the worker that held it is gone, or the scheduler
                    waiting.append(point)
                    continue
                self._good_at, self._said = time.monotonic(), ""
                yield Came(point.key, json.loads(data))
            elif status == "error":
                self._attempts[point.key] += 1
                if self._attempts[point.key] < ATTEMPTS:
                    waiting.append(point)
                    continue
                error = future.exception(timeout=_CONNECT_S)
                yield Came(point.key, {"error": f"{type(error).__name__}: {error}, {ATTEMPTS} times"})
            else:  # cancelled or lost: a scheduler that was begun anew knows nothing of it
                waiting.append(point)

    def _close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            try:
                client.close(timeout=1)
            except Exception:  # it is gone, and so is what it would tell
                pass
