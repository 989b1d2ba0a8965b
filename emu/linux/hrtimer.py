"""Timers that fire once, at a time of some clock (kernel/time/hrtimer.c)."""

from __future__ import annotations

from collections.abc import Callable

from emu.linux.clock import KTIME_MAX, Clock


class Timer:
    """A timer: it calls its function when it expires, and whoever wants it to go on forwards and starts it again."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function
        #: On the timer's clock, in ns.
        self.expires = 0
        self.active = False

    def now(self) -> int:
        """The time of its clock."""
        raise NotImplementedError

    def start(self, expires: int) -> None:
        """Fire at that time; at once, if it has passed."""
        self.cancel()
        self.expires = min(expires, KTIME_MAX)
        self.active = True
        self._arm()

    def cancel(self) -> None:
        """Do not fire."""
        if self.active:
            self.active = False
            self._disarm()

    @property
    def left(self) -> int:
        """The time until it expires; negative if that was in the past."""
        return self.expires - self.now()

    def shift(self, ns: int) -> None:
        """Fire so much earlier."""
        self.expires -= ns
        if self.active:
            self.start(self.expires)

    def forward(self, interval: int) -> int:
        """Move the time of expiry by as many intervals as it takes to have it in the future; how many those were."""
        over = -self.left
        periods = over // interval + 1 if over >= 0 else 0
        self.expires = min(self.expires + periods * interval, KTIME_MAX)
        return periods

    def look(self) -> None:
        """Fire now, if that is due."""
        if self.active and self.left <= 0:
            self.cancel()
            self._function()

    def _arm(self) -> None:
        raise NotImplementedError

    def _disarm(self) -> None:
        raise NotImplementedError


class Hrtimer(Timer):
    """A timer on the machine's clock."""

    def __init__(self, clock: Clock, function: Callable[[], None]) -> None:
        super().__init__(function)
        self._clock = clock
        self._handle = 0

    def now(self) -> int:
        return self._clock.now_ns()

    def _arm(self) -> None:
        self._handle = self._clock.add_timer(self.expires, self._fire)

    def _disarm(self) -> None:
        self._clock.cancel(self._handle)

    def _fire(self) -> None:
        self.active = False
        self._function()
