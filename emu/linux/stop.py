"""Ending a run from outside: the machine's fatal_signal_pending()."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable

from emu.linux.errors import LinuxError


class Stop:
    """Whether the run is to end.

    The turn that runs ends before its next block of code.  A system call that works on much looks here at each piece,
    and ends as Linux's do where a fatal signal is pending: with what it has done so far, or EINTR, which the guest
    does not get to see unless the machine runs again.
    """

    def __init__(self, end_turn: Callable[[], object] = lambda: None) -> None:
        """``end_turn`` ends the turn that runs."""
        self._end_turn = end_turn
        self.requested = False
        #: By time.monotonic(), when the run is to end.
        self._limit: float | None = None

    def begin(self, limit: float | None) -> None:
        """A run begins, which ends at ``limit`` (of time.monotonic()) at the latest."""
        self.requested, self._limit = False, limit

    def request(self) -> None:
        """End the run."""
        self.requested = True
        self._end_turn()

    def look(self) -> bool:
        """Whether the run is to end; the limit is looked at."""
        if self._limit is not None and not self.requested and time.monotonic() >= self._limit:
            self.request()
        return self.requested

    def check(self) -> None:
        """LinuxError(EINTR) if the run is to end."""
        if self.look():
            raise LinuxError(errno.EINTR)
