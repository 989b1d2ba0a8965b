"""Guest time: a nanosecond an instruction, what the kernel's work costs (:mod:`emu.linux.cost`), and a jump to the next
timer when all tasks sleep.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from emu.linux.cost import Cost
from emu.linux.stop import Stop
from emu.linux.wait import WaitQueue

#: What a machine's clock may be: guest time (docs/time.md), or the host's.
CLOCKS = ("virtual", "real")
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
_IDLE = Cost.IDLE
#: How often it is looked how much of a turn is left: behind each eighth of that, as a shift.
LOOKS = 3
#: By the host's clock an instruction takes 8 ns or less (as a shift); and the shortest turn before a timer.
_SLOWER, _AT_LEAST = 3, 1000
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


#: How often it is looked whether the run is to end while the host's time passes.
_PAUSE_S = 0.05


class Ntp(NamedTuple):
    """What adjtimex(2) keeps of a clock that nobody has synchronized."""

    frequency: int = 0
    max_error: int = 16_000_000
    est_error: int = 16_000_000
    status: int = 0x40
    constant: int = 2
    tick: int = 10_000
    tai: int = 0


class FollowsRealtime(Protocol):
    """A timer for a time of day."""

    def shift(self, ns: int) -> None:
        """That clock has been set, so much ahead."""


class Clock:
    """CLOCK_MONOTONIC of the machine, and the timers that wait on it."""

    #: Whether its time is the host's.
    real = False

    def __init__(self, instructions: Callable[[], int]) -> None:
        self._instructions = instructions
        self._idle_ns = 0
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._cancelled: set[int] = set()
        self._serial = 0
        #: What CLOCK_REALTIME is ahead.
        self.realtime_offset = BOOT_REALTIME_NS
        self.ntp = Ntp()
        #: What settimeofday(2) was told last: minutes west, and a number that means nothing.
        self.timezone = (0, 0)
        #: Woken when CLOCK_REALTIME is set, and the timers that are then to be set anew.
        self.was_set = WaitQueue()
        self.follow_realtime: dict[FollowsRealtime, None] = {}
        #: The time of the kernel's work.  Who adds to it calls :meth:`look` from ``look_at`` on.
        self.system_ns = 0
        self.look_at = KTIME_MAX
        self._turn_end = 0
        #: Ends the turn that runs after so many instructions.
        self.limit_turn: Callable[[int], None] = lambda left: None

    def now_ns(self) -> int:
        """Nanoseconds since the machine was made."""
        return self._instructions() + self.system_ns + self._idle_ns

    def ahead_ns(self) -> int:
        """What :meth:`now_ns` is ahead of the instructions that have been executed."""
        return self.system_ns + self._idle_ns

    def realtime_ns(self) -> int:
        """Nanoseconds since 1970."""
        return self.realtime_offset + self._instructions() + self.system_ns + self._idle_ns

    def set_realtime(self, ns: int) -> None:
        """CLOCK_REALTIME is set (clock_was_set): timers and sleepers for a time of day are moved."""
        ahead = ns - self.realtime_ns()
        self.realtime_offset += ahead
        for timer in list(self.follow_realtime):
            timer.shift(ahead)
        self.was_set.wake_all()

    # -- the time of the kernel's work, and turns ------------------------------------------------------------------

    def charge(self, ns: int) -> None:
        """The kernel has worked for the task that runs."""
        self.system_ns += ns
        if self.system_ns >= self.look_at:
            self.look()

    def pass_time(self, ns: int) -> None:
        """Let time pass that is nobody's work."""
        self._idle_ns += ns

    def begin_turn(self, left: int, instructions: int) -> None:
        """A turn begins, which is to end in ``left`` ns, for which the engine counts instructions; so many have been
        executed.
        """
        self._turn_end = instructions + self.system_ns + self._idle_ns + left
        self.look_at = self.system_ns + (left >> LOOKS)

    @property
    def turn_end(self) -> int:
        """When the turn that runs is to end, in instructions and the kernel's work; 0 where nobody knows."""
        return 0 if self.real else max(0, self._turn_end - self._idle_ns)

    def turn_is(self, end: int, look_at: int) -> None:
        """A turn has begun natively, which is to end when so much has been done."""
        self._turn_end, self.look_at = end + self._idle_ns, look_at

    def shorten_turn(self, ns: int) -> None:
        """The turn that runs ends in so much time, if it does not end before."""
        end = self.now_ns() + ns
        if end < self._turn_end:
            self._turn_end = end
            self.look()

    def instructions(self, ns: int) -> int:
        """How many instructions to run until so much time has passed."""
        return ns

    def end_turn(self) -> None:
        """No task runs."""
        self.look_at, self._turn_end = KTIME_MAX, 0

    def look(self) -> None:
        """The kernel has worked in this turn: fewer instructions are left of it.

        This is done each time when an eighth of what was left has been used, so that a turn is an eighth too long at
        most, and calls need not do it.
        """
        left = max(0, self._turn_end - self.now_ns())
        self.limit_turn(left)
        self.look_at = self.system_ns + (left >> LOOKS) + 1 if left else KTIME_MAX

    # -- timers ----------------------------------------------------------------------------------------------------

    def add_timer(self, deadline_ns: int, function: Callable[[], None]) -> int:
        """Call ``function`` at ``deadline_ns``; returns a handle for :meth:`cancel`."""
        if deadline_ns >= KTIME_MAX:
            return _NEVER
        self._serial += 1
        if deadline_ns < self._turn_end:
            self._turn_end = deadline_ns
            self.look()
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
        self._idle_ns += left + _IDLE
        self.run_timers()
        return True

    def sleep(self, stop: Stop) -> bool:
        """No task can run: sleep until the next timer, and run it.  False if there is none."""
        return self.skip_to_next_timer()


class HostClock(Clock):
    """The host's time, in which instructions and calls take what they take."""

    real = True

    def __init__(self, instructions: Callable[[], int]) -> None:
        super().__init__(instructions)
        self._start = time.monotonic_ns()
        self.realtime_offset = time.time_ns()

    def now_ns(self) -> int:
        return time.monotonic_ns() - self._start

    def ahead_ns(self) -> int:
        return self.now_ns() - self._instructions()

    def realtime_ns(self) -> int:
        return self.realtime_offset + time.monotonic_ns() - self._start

    def pass_time(self, ns: int) -> None:
        """It passes by itself."""

    def begin_turn(self, left: int, instructions: int) -> None:
        self._turn_end = KTIME_MAX

    def instructions(self, ns: int) -> int:
        return (ns >> _SLOWER) + _AT_LEAST

    def look(self) -> None:
        """A timer has been set meanwhile."""
        self.look_at = KTIME_MAX
        self.limit_turn(self.instructions(max(0, self._turn_end - self.now_ns())))

    def sleep(self, stop: Stop) -> bool:
        while (left := self.until_next_timer()) and not stop.look():
            time.sleep(min(left / 1e9, _PAUSE_S))
        return left is not None
