"""Waiting for the host: tasks that sleep until a descriptor of the host can be read, or written."""

from __future__ import annotations

import select
import time

from emu.linux.stop import Stop
from emu.linux.wait import WaitQueue

#: How often it is looked whether the run is to end while nothing happens.
_PAUSE_S = 0.05


class HostEvents:
    """A queue for each awaited direction of each descriptor of the host; its sleepers are woken when an operation would
    not block there.
    """

    def __init__(self) -> None:
        self._queues: dict[tuple[int, int], WaitQueue] = {}

    def readable(self, fd: int) -> WaitQueue:
        """The queue of those who wait for input."""
        return self._queues.setdefault((fd, select.POLLIN), WaitQueue())

    def writable(self, fd: int) -> WaitQueue:
        """The queue of those who wait for room."""
        return self._queues.setdefault((fd, select.POLLOUT), WaitQueue())

    @property
    def awaited(self) -> bool:
        """Whether anybody sleeps here."""
        return any(map(len, self._queues.values()))

    def reads(self, queue: WaitQueue) -> bool | None:
        """Whether a queue is one of those who read (or else write); None if it is not of the host."""
        return next((what == select.POLLIN for (_, what), known in self._queues.items() if known is queue), None)

    def forget(self, fd: int) -> None:
        """The descriptor is about to be closed; nobody sleeps on it."""
        for what in (select.POLLIN, select.POLLOUT):
            self._queues.pop((fd, what), None)

    def look(self, timeout_s: float = 0) -> bool:
        """Wake those whose descriptor is ready, after waiting for the first; whether there was one."""
        poll = select.poll()
        wanted: dict[int, int] = {}
        for (fd, what), queue in self._queues.items():
            if len(queue):
                wanted[fd] = wanted.get(fd, 0) | what
        for fd, events in wanted.items():
            poll.register(fd, events)
        ready = poll.poll(timeout_s * 1000)
        for fd, events in ready:
            for what in (select.POLLIN, select.POLLOUT):
                if events & (what | select.POLLERR | select.POLLHUP | select.POLLNVAL) and (fd, what) in self._queues:
                    self._queues[fd, what].wake_all()
        return bool(ready)

    def wait(self, timeout_s: float | None, stop: Stop) -> bool:
        """Wait until somebody can be woken (True), the time is over, or the run is to end."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while not stop.look():
            left = _PAUSE_S if end is None else end - time.monotonic()
            if self.look(max(0.0, min(left, _PAUSE_S))):
                return True
            if left <= 0:
                return False
        return False
