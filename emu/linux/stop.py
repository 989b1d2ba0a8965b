"""Ending a run from outside: the machine's fatal_signal_pending()."""

from __future__ import annotations

import time
from collections.abc import Callable

from emu.linux.errors import NoIntr


class Stop:
    """Whether the run is to end.

    The turn that runs ends before its next block of code.  A system call that works on much looks here at each piece,
    and ends as Linux's do where a fatal signal is pending: with what it has done so far, or to be started again if the
    machine runs again.
    """

    def __init__(self, end_turn: Callable[[], object] = lambda: None) -> None:
        #: Ends the turn that runs, and not the run.
        self.end_turn = end_turn
        self.requested = False
        #: By time.monotonic(), when the run is to end.
        self._limit: float | None = None
        #: What the end of a run has cut off; the next run does it first.
        self._put_off: list[Callable[[], None]] = []

    def begin(self, limit: float | None) -> None:
        """A run begins, which ends at ``limit`` (of time.monotonic()) at the latest."""
        self.requested, self._limit = False, limit
        put_off, self._put_off = self._put_off, []
        for work in put_off:
            work()

    def request(self) -> None:
        """End the run."""
        self.requested = True
        self.end_turn()

    def look(self) -> bool:
        """Whether the run is to end; the limit is looked at."""
        if self._limit is not None and not self.requested and time.monotonic() >= self._limit:
            self.request()
        return self.requested

    def check(self) -> None:
        """NoIntr if the run is to end."""
        if (self._limit is not None or self.requested) and self.look():
            raise NoIntr

    def put_off(self, work: Callable[[], None]) -> None:
        """Work that cannot be started again by its caller, the end of an address space: the next run goes on with
        it.
        """
        self._put_off.append(work)
