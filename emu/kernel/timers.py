"""The timers of a process: interval timers and POSIX timers (kernel/time/itimer.c, posix-timers.c,
posix-cpu-timers.c).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from emu.kernel.signal_state import SiCode, Sig, SigInfo
from emu.linux.errors import LinuxError
from emu.linux.hrtimer import Timer
from emu.mm.kmem import K_ITIMER, Kmem

if TYPE_CHECKING:
    from emu.linux.clock import Clock

_INT_MAX = (1 << 31) - 1


class Notify(IntEnum):
    """SIGEV_*."""

    SIGNAL = 0
    NONE = 1
    THREAD = 2
    THREAD_ID = 4


class CpuTimer(Timer):
    """A timer on the CPU time of a process, or of one of its threads."""

    def __init__(
        self,
        armed: dict[CpuTimer, None],
        clock: Callable[[], int],
        thread: Hashable | None,
        function: Callable[[], None],
    ) -> None:
        """``armed``: those of the process that are to fire; ``thread``: the one whose time it is (None: of all)."""
        super().__init__(function)
        self._armed = armed
        self._clock = clock
        self.thread = thread

    def now(self) -> int:
        return self._clock()

    def _arm(self) -> None:
        self._armed[self] = None

    def _disarm(self) -> None:
        del self._armed[self]


class IntervalTimer:
    """A timer of setitimer(2): it sends a signal, again and again if it has an interval.

    That of real time goes on when its signal is taken, those of CPU time at once.
    """

    def __init__(self, make: Callable[[Callable[[], None]], Timer], send: Callable[[], None], *, waits: bool) -> None:
        """``make`` makes the timer around a function; ``waits``: it waits for its signal to be taken."""
        self._timer = make(self._expire)
        self._send = send
        self._waits = waits
        self._interval = 0

    def set(self, interval: int, value: int) -> tuple[int, int]:
        """setitimer(2), in ns: interval and time left before."""
        before = self.get()
        self._timer.cancel()
        self._interval = interval if value or not self._waits else 0
        if value:
            self._timer.start(self._timer.now() + value)
        return before

    def get(self) -> tuple[int, int]:
        """getitimer(2): the interval, and the time that is left, at least a microsecond if the timer runs."""
        return self._interval, max(1000, self._timer.left) if self._timer.active else 0

    def taken(self) -> None:
        """Its signal, or another of that number, has been taken."""
        if self._waits and self._interval and not self._timer.active and self._timer.expires:
            self._timer.forward(self._interval)
            self._timer.start(self._timer.expires)

    def stop(self) -> None:
        """The process has ended."""
        self._timer.cancel()

    def _expire(self) -> None:
        self._send()
        if self._interval and not self._waits:
            self._timer.forward(self._interval)
            self._timer.start(self._timer.expires)


@dataclass(frozen=True)
class Recipient:
    """Who gets the signal of a POSIX timer: ``send`` queues it, and says whether it is ignored; ``discard`` takes it
    back.
    """

    send: Callable[[SigInfo], bool]
    discard: Callable[[SigInfo], None]


class PosixTimer:
    """A timer of timer_create(2).  Its signal is queued once; it goes on when that is taken, and counts then how often
    it would have expired meanwhile.
    """

    def __init__(
        self,
        number: int,
        make: Callable[[Callable[[], None]], Timer],
        recipient: Recipient | None,
        signo: int,
        value: int,
        of_day: Clock | None = None,
    ) -> None:
        """``recipient``: None for SIGEV_NONE; ``of_day``: whose CLOCK_REALTIME absolute times are of."""
        self.number = number
        #: What timer_create(2) was given (/proc/PID/timers).
        self.clockid, self.notify = 0, Notify.SIGNAL
        self._timer = make(self._expire)
        self._recipient = recipient
        self._info = SigInfo(signo, SiCode.TIMER, timer_id=number, value=value, timer=self)
        self._of_day = of_day
        self._interval = 0
        self._overrun = -1
        #: timer_getoverrun(2).
        self.overrun_last = 0
        #: The signal is queued, or it was ignored and will be queued when it is not ignored any more.
        self._queued = False
        self._ignored = False

    @property
    def signo(self) -> int:
        """The number of its signal."""
        return self._info.signo

    @property
    def value(self) -> int:
        """What its signal brings (sigev_value)."""
        return self._info.value

    def settime(self, interval: int, value: int, *, absolute: bool) -> tuple[int, int]:
        """timer_settime(2), in ns: the interval and the time that was left before."""
        before = self.gettime()
        self.stop()
        self._interval = 0
        self._overrun, self.overrun_last = -1, 0
        if value:
            self._interval = interval
            if absolute and self._of_day is not None:
                value -= self._of_day.realtime_offset
                self._of_day.follow_realtime[self] = None
            expires = value if absolute else self._timer.now() + value
            if self._recipient is None:
                self._timer.expires = expires
            else:
                self._timer.start(expires)
                self._timer.look()
        return before

    def gettime(self) -> tuple[int, int]:
        """timer_gettime(2): the interval, and the time that is left, at least a nanosecond if it runs."""
        self._timer.look()
        waits = self._queued or self._ignored
        silent = self._recipient is None
        if not self._interval and not self._timer.active and not silent:
            return 0, 0
        if self._interval and (waits or silent):
            self._overrun += self._timer.forward(self._interval)
        return self._interval, max(0 if silent else 1, self._timer.left)

    def stop(self) -> None:
        """It does not fire, and a signal that was not taken yet will not be."""
        if self._of_day is not None:
            self._of_day.follow_realtime.pop(self, None)
        self._timer.cancel()
        self._timer.expires = 0
        if self._queued and self._recipient is not None:
            self._recipient.discard(self._info)
        self._queued = self._ignored = False

    def shift(self, ns: int) -> None:
        """CLOCK_REALTIME has been set, so much ahead, and the timer waits for a time of day."""
        self._timer.shift(ns)

    def unignore(self) -> None:
        """The signal is not ignored any more."""
        if self._ignored:
            self._ignored = False
            self._expire()

    def ignored(self) -> None:
        """Its signal was discarded: it is queued when that is not ignored any more."""
        self._queued, self._ignored = False, True

    def delivered(self) -> SigInfo:
        """Its signal is being taken: the timer goes on (posixtimer_deliver_signal)."""
        self._queued = False
        if not self._interval:
            return self._info
        self._overrun += self._timer.forward(self._interval)
        self._timer.start(self._timer.expires)
        self.overrun_last, self._overrun = min(self._overrun, _INT_MAX), -1
        return SigInfo(
            self._info.signo, SiCode.TIMER, timer_id=self.number, value=self._info.value, overrun=self.overrun_last
        )

    def _expire(self) -> None:
        if self._recipient is not None:
            self._queued = not self._recipient.send(self._info)
            self._ignored = not self._queued


class ProcessTimers:
    """All timers of a process."""

    def __init__(
        self,
        real: Callable[[Callable[[], None]], Timer],
        user_ns: Callable[[], int],
        cpu_ns: Callable[[], int],
        send: Callable[[int], None],
        kmem: Kmem,
    ) -> None:
        """``real`` makes a timer of real time, ``user_ns`` and ``cpu_ns`` are the process's user time and CPU time,
        ``send`` sends it a signal; POSIX timers are charged to ``kmem``.
        """
        self._kmem = kmem
        self._cpu_ns = cpu_ns
        self._limit: CpuTimer | None = None
        #: Timers of CPU time that are to fire, in the order in which they were started.
        self.cpu: dict[CpuTimer, None] = {}

        def used(time: Callable[[], int]) -> Callable[[Callable[[], None]], Timer]:
            return lambda function: self.cpu_timer(time, None, function)

        #: By the numbers of setitimer(2): ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF.
        self.interval = (
            IntervalTimer(real, lambda: send(Sig.ALRM), waits=True),
            IntervalTimer(used(user_ns), lambda: send(Sig.VTALRM), waits=False),
            IntervalTimer(used(cpu_ns), lambda: send(Sig.PROF), waits=False),
        )
        self.posix: dict[int, PosixTimer] = {}
        self._next = 0

    def cpu_timer(self, clock: Callable[[], int], thread: Hashable | None, function: Callable[[], None]) -> CpuTimer:
        """A timer of CPU time."""
        return CpuTimer(self.cpu, clock, thread, function)

    def cpu_limit(self, function: Callable[[], None]) -> CpuTimer:
        """The timer of RLIMIT_CPU."""
        if self._limit is None:
            self._limit = self.cpu_timer(self._cpu_ns, None, function)
        return self._limit

    def new_number(self) -> int:
        """The number of the next POSIX timer."""
        self._next += 1
        return self._next - 1

    def add(self, timer: PosixTimer) -> None:
        """A POSIX timer has been made.  LinuxError(ENOMEM)."""
        self._kmem.charge(K_ITIMER)
        self.posix[timer.number] = timer

    def delete(self, number: int) -> None:
        """timer_delete(2).  LinuxError(EINVAL)."""
        self.find(number).stop()
        del self.posix[number]
        self._kmem.uncharge(K_ITIMER)

    @property
    def charged(self) -> int:
        """What the POSIX timers take on the host."""
        return K_ITIMER * len(self.posix)

    def find(self, number: int) -> PosixTimer:
        """A POSIX timer.  LinuxError(EINVAL)."""
        timer = self.posix.get(number)
        if timer is None:
            raise LinuxError(errno.EINVAL)
        return timer

    def cpu_left(self, thread: Hashable) -> int | None:
        """How much CPU time a thread may use until one of the timers is due, at least 1; None if there is none."""
        lefts = [timer.left for timer in self.cpu if timer.thread in (None, thread)]
        return max(1, min(lefts)) if lefts else None

    def run_cpu_timers(self) -> None:
        """CPU time has been used."""
        for timer in list(self.cpu):
            timer.look()

    def signal_taken(self, signo: int) -> None:
        """A signal has been taken."""
        if signo == Sig.ALRM:
            self.interval[0].taken()

    def unignore(self, signo: int) -> None:
        """A signal is not ignored any more."""
        for timer in self.posix.values():
            if timer.signo == signo:
                timer.unignore()

    def delete_posix(self) -> None:
        """execve(2) and the end of the process."""
        for timer in self.posix.values():
            timer.stop()
        self._kmem.uncharge(self.charged)
        self.posix.clear()

    def stop(self) -> None:
        """The process has ended."""
        self.delete_posix()
        if self._limit is not None:
            self._limit.cancel()
        for timer in self.interval:
            timer.stop()
