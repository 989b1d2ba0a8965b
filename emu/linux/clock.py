"""Virtual time: one nanosecond an instruction, and a jump to the next timer when all tasks sleep."""

from __future__ import annotations

import heapq
from collections.abc import Callable

#: CLOCK_REALTIME when the machine starts: the day of the first mshare posting; fixed, so that the same run gives the
#: same output.
BOOT_REALTIME_NS = 1_656_543_417 * 1_000_000_000
#: From this many on, cancelled timers are taken out of the heap when they are most of it.
_MANY = 256
#: Clocks that go on at each tick only, and the tick, in ns (CONFIG_HZ=250).
COARSE = frozenset({5, 6})
TICK_NS = 4_000_000
#: A timer that is set for then, or for later, never runs (KTIME_MAX: 292 years; kernel/time/hrtimer.c).
KTIME_MAX = (1 << 63) - 1
_NEVER = 0
#: Clocks by their names without CLOCK_: those that tell the time of day, those that are never set, those of CPU time,
#: and those that wake a sleeping machine, which this one never is.
REALTIME = {"REALTIME": 0, "REALTIME_COARSE": 5, "TAI": 11}
MONOTONIC = {"MONOTONIC": 1, "MONOTONIC_RAW": 4, "MONOTONIC_COARSE": 6, "BOOTTIME": 7}
CPUTIME = {"PROCESS_CPUTIME_ID": 2, "THREAD_CPUTIME_ID": 3}
ALARM = {"REALTIME_ALARM": 8, "BOOTTIME_ALARM": 9}
SET_LIKE_REALTIME = frozenset(REALTIME.values())
NEVER_SET = frozenset(MONOTONIC.values())
#: Clocks that can be read, and on which nobody can wait; those of ALARM cannot even be read without a real-time clock.
WITHOUT_TIMERS = frozenset({4, 5, 6})


class Clock:
    """CLOCK_MONOTONIC of the machine, and the timers that wait on it."""

    def __init__(self, instructions: Callable[[], int]) -> None:
        self._instructions = instructions
        self._idle_ns = 0
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._cancelled: set[int] = set()
        self._serial = 0
        #: What CLOCK_REALTIME is ahead.
        self.realtime_offset = BOOT_REALTIME_NS

    def now_ns(self) -> int:
        """Nanoseconds since the machine was made."""
        return self._instructions() + self._idle_ns

    def realtime_ns(self) -> int:
        """Nanoseconds since 1970."""
        return self.realtime_offset + self.now_ns()

    def pass_time(self, ns: int) -> None:
        """Let time pass in which no instruction retires: a system call takes long."""
        self._idle_ns += ns

    def add_timer(self, deadline_ns: int, function: Callable[[], None]) -> int:
        """Call ``function`` at ``deadline_ns``; returns a handle for :meth:`cancel`."""
        if deadline_ns >= KTIME_MAX:
            return _NEVER
        self._serial += 1
        heapq.heappush(self._timers, (deadline_ns, self._serial, function))
        return self._serial

    def cancel(self, handle: int) -> None:
        """Forget a timer that has not run."""
        if handle == _NEVER:
            return
        self._cancelled.add(handle)
        if len(self._cancelled) > _MANY and 2 * len(self._cancelled) > len(self._timers):
            self._timers = [timer for timer in self._timers if timer[1] not in self._cancelled]
            heapq.heapify(self._timers)
            self._cancelled.clear()

    def run_timers(self) -> None:
        """Run every timer whose time has come."""
        while self._timers and self._timers[0][0] <= self.now_ns():
            _, serial, function = heapq.heappop(self._timers)
            if serial in self._cancelled:
                self._cancelled.discard(serial)
            else:
                function()

    def until_next_timer(self) -> int | None:
        """Nanoseconds until the next timer; None if there is none."""
        while self._timers and self._timers[0][1] in self._cancelled:
            self._cancelled.discard(heapq.heappop(self._timers)[1])
        return max(0, self._timers[0][0] - self.now_ns()) if self._timers else None

    def skip_to_next_timer(self) -> bool:
        """No task can run: let time pass until the next timer, and run it.  False if there is none."""
        left = self.until_next_timer()
        if left is None:
            return False
        self._idle_ns += left
        self.run_timers()
        return True
