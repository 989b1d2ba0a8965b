"""Waiting for the host: tasks that sleep until a descriptor of the host can be read, or written."""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable

from emu.linux.stop import Stop
from emu.linux.wait import WaitQueue

_IN, _OUT = select.POLLIN, select.POLLOUT
_EITHER = select.POLLERR | select.POLLHUP | select.POLLNVAL
#: How often it is looked whether the run is to end while nothing happens.
_PAUSE_S = 0.05


class HostEvents:
    """A queue for each direction of each descriptor of the host.  It is woken when an operation would not block there
    any more, since it was last asked whether it would (:meth:`now`).
    """

    def __init__(self) -> None:
        self._queues: dict[tuple[int, int], WaitQueue] = {}
        #: What was found ready when it was last looked.
        self._ready: set[tuple[int, int]] = set()
        #: What is to be done between two turns, and whether keys may still send signals.
        self.posted: deque[Callable[[], object]] = deque()
        self.keyboard = False
        #: Whether a shell with job control is at the terminal, so that somebody watches what takes how long.
        self.watched = False
        #: Asked whether something has come that is not waited for with a queue.
        self.listeners: list[Callable[[], bool]] = []

    def readable(self, fd: int) -> WaitQueue:
        """The queue of those who wait for input."""
        return self._queues.setdefault((fd, _IN), WaitQueue())

    def writable(self, fd: int) -> WaitQueue:
        """The queue of those who wait for room."""
        return self._queues.setdefault((fd, _OUT), WaitQueue())

    def now(self, fd: int, wanted: int) -> int:
        """The poll events of a descriptor that hold."""
        poll = select.poll()
        poll.register(fd, wanted)
        found = poll.poll(0)
        mask = found[0][1] if found else 0
        for what in (_IN, _OUT):
            if wanted & what:
                self._note((fd, what), mask)
        return mask

    def would_block(self, queue: WaitQueue) -> None:
        """An operation has found that it would block, although it was said to be possible."""
        self._ready -= {key for key, known in self._queues.items() if known is queue}

    def _note(self, key: tuple[int, int], mask: int) -> bool:
        """Remember whether a direction is ready; whether it was not before."""
        if not mask & (key[1] | _EITHER):
            self._ready.discard(key)
            return False
        news = key not in self._ready
        self._ready.add(key)
        return news

    @property
    def awaited(self) -> bool:
        """Whether anybody sleeps here, or watches."""
        for queue in self._queues.values():  # noqa: SIM110 - asked once a turn, and any() takes twice as long
            if queue.awaited:
                return True
        return False

    def reads(self, queue: WaitQueue) -> bool | None:
        """Whether a queue is one of those who read (or else write); None if it is not of the host."""
        return next((what == _IN for (_, what), known in self._queues.items() if known is queue), None)

    def forget(self, fd: int) -> None:
        """The descriptor is about to be closed; nobody sleeps on it."""
        for key in ((fd, _IN), (fd, _OUT)):
            self._queues.pop(key, None)
            self._ready.discard(key)

    def look(self, timeout_s: float = 0) -> bool:
        """Wake those whose descriptor has become ready; if there is none, after waiting for one.  Whether one has."""
        keys = [key for key, queue in self._queues.items() if queue.awaited]
        if self._wake(keys, 0):
            return True
        return timeout_s > 0 and self._wake([key for key in keys if key not in self._ready], timeout_s)

    def _wake(self, keys: list[tuple[int, int]], timeout_s: float) -> bool:
        poll = select.poll()
        wanted: dict[int, int] = {}
        for fd, what in keys:
            wanted[fd] = wanted.get(fd, 0) | what
        for fd, events in wanted.items():
            poll.register(fd, events)
        found = dict(poll.poll(timeout_s * 1000))
        woken = False
        for key in keys:
            mask = found.get(key[0], 0)
            if self._note(key, mask):
                self._queues[key].wake_all(0 if mask & _EITHER else key[1])
                woken = True
        return woken

    def listen(self) -> bool:
        """Ask the listeners; whether something has come."""
        came = [listener() for listener in self.listeners]
        return any(came)

    def wait(self, timeout_s: float | None, stop: Stop) -> bool:
        """Wait until somebody can be woken (True), the time is over, or the run is to end."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while not stop.look():
            if self.posted or self.listen():
                return True
            left = _PAUSE_S if end is None else end - time.monotonic()
            if self.look(max(0.0, min(left, _PAUSE_S))):
                return True
            if left <= 0:
                return False
        return False
