"""timerfd: a timer whose expirations are read from a descriptor (fs/timerfd.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.anon import AnonFile
from emu.fs.file import WouldBlock
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags, PollEvents
from emu.linux.hrtimer import Hrtimer
from emu.linux.wait import WaitQueue

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.linux.caller import Caller
    from emu.linux.clock import Clock

_SIZE = 8
_IN = int(PollEvents.IN)
_NS = 1_000_000_000
TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET = 1, 2
TFD_IOC_SET_TICKS = 0x40085400
CLOCK_REALTIME, CLOCK_REALTIME_ALARM = 0, 8


class TimerFd(AnonFile):
    """The timer.  As on Linux it stands still between an expiration and the next look at it, which counts those that
    were missed.
    """

    def __init__(self, path: Path, flags: int, clock: Clock, clockid: int) -> None:
        super().__init__(path, flags | OpenFlags.RDWR)
        self.clockid = clockid
        self._clock = clock
        self._of_day = clockid in (CLOCK_REALTIME, CLOCK_REALTIME_ALARM)
        #: TFD_TIMER_CANCEL_ON_SET: what CLOCK_REALTIME was ahead when that was last looked at.
        self._ahead: int | None = None
        self._timer = Hrtimer(clock, self._expire)
        self._interval = 0
        self._ticks = 0
        self._expired = False
        self._flags = 0
        self._changed = WaitQueue()

    def _expire(self) -> None:
        self._expired = True
        self._ticks += 1
        self._changed.wake_all(_IN)

    def _go_on(self) -> None:
        """Count the expirations since the last, and start the timer again."""
        if self._expired and self._interval:
            self._expired = False
            self._ticks += self._timer.forward(self._interval) - 1
            self._timer.start(self._timer.expires)

    def settime(self, flags: int, interval: int, value: int) -> tuple[int, int]:
        """timerfd_settime(2), in ns: the interval and the time that was left before."""
        self._watch(flags, value)
        self._timer.look()
        self._go_on()
        before = self._setting()
        self._timer.cancel()
        self._timer.expires = 0
        self._expired, self._ticks, self._interval, self._flags = False, 0, interval, flags
        if value:
            absolute = flags & TFD_TIMER_ABSTIME
            ahead = self._clock.realtime_offset if absolute and self._of_day else 0
            self._timer.start(value - ahead if absolute else self._timer.now() + value)
        return before

    def _watch(self, flags: int, value: int) -> None:
        """Be told when CLOCK_REALTIME is set, if the timer waits for a time of day (timerfd_setup_cancel)."""
        self._ahead = None
        self._clock.follow_realtime.pop(self, None)
        if not self._of_day or not flags & TFD_TIMER_ABSTIME:
            return
        if flags & TFD_TIMER_CANCEL_ON_SET:
            self._ahead = self._clock.realtime_offset
        if value or flags & TFD_TIMER_CANCEL_ON_SET:
            self._clock.follow_realtime[self] = None

    def shift(self, ns: int) -> None:
        """CLOCK_REALTIME has been set, so much ahead."""
        self._timer.shift(ns)
        if self._ahead is not None:
            self._changed.wake_all(_IN)

    def _check_set(self) -> None:
        """LinuxError(ECANCELED), once for each time that the clock has been set."""
        if self._ahead is not None and self._ahead != self._clock.realtime_offset:
            self._ahead = self._clock.realtime_offset
            self._ticks, self._expired = 0, False
            raise LinuxError(errno.ECANCELED)

    def gettime(self) -> tuple[int, int]:
        """timerfd_gettime(2): the interval and the time that is left."""
        self._timer.look()
        self._go_on()
        return self._setting()

    def _setting(self) -> tuple[int, int]:
        return self._interval, max(0, self._timer.left)

    def read(self, count: int) -> bytes:
        if count < _SIZE:
            raise LinuxError(errno.EINVAL)
        self._timer.look()
        self._check_set()
        if not self._ticks:
            raise WouldBlock(self._changed)
        self._go_on()
        ticks, self._ticks, self._expired = self._ticks, 0, False
        return ticks.to_bytes(_SIZE, "little")

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        self._timer.look()
        was_set = self._ahead is not None and self._ahead != self._clock.realtime_offset
        return _IN if self._ticks or was_set else 0, (self._changed,)

    def ioctl(self, caller: Caller[Path], command: int, argument: int) -> int:
        """TFD_IOC_SET_TICKS: as if it had expired so often (for checkpoints)."""
        if command != TFD_IOC_SET_TICKS:
            raise LinuxError(errno.ENOTTY)
        ticks = int.from_bytes(caller.mm.read(argument, _SIZE), "little")
        if not ticks:
            raise LinuxError(errno.EINVAL)
        self._check_set()
        self._ticks = ticks
        self._changed.wake_all(_IN)
        return 0

    def release(self) -> None:
        self._clock.follow_realtime.pop(self, None)
        self._timer.cancel()

    def show_fdinfo(self) -> str:
        value, interval = divmod(max(0, self._timer.left), _NS), divmod(self._interval, _NS)
        return (
            f"clockid: {self.clockid}\nticks: {self._ticks}\nsettime flags: 0{self._flags:o}\n"
            f"it_value: ({value[0]}, {value[1]})\nit_interval: ({interval[0]}, {interval[1]})\n"
        )
