"""Clocks and sleeping, in virtual time."""

from __future__ import annotations

import errno
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from emu.linux.argument import INT, LONG, S64, In, OneOf, Out, Pointer, Scalar
from emu.linux.clock import ALARM, CPUTIME, MONOTONIC, NEVER_SET, REALTIME, SET_LIKE_REALTIME, WITHOUT_TIMERS
from emu.linux.errors import LinuxError
from emu.linux.layout import TIMESPEC, TIMEVAL, Layout
from emu.linux.likeness import Likeness
from emu.linux.syscall import Restart, Returned, Syscall

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_NS = 1_000_000_000
_TIMER_ABSTIME = 1
TIMEZONE = Layout("timezone", "2i", likeness=Likeness.EXACT)


def clock_ns(kernel: Kernel, task: Task, clock: int) -> int:
    """The time of a clock.  LinuxError(EINVAL)."""
    if clock in SET_LIKE_REALTIME:
        return kernel.clock.realtime_ns()
    if clock in NEVER_SET:
        return kernel.clock.now_ns()
    from emu.kernel.timing import cpu_clock  # with the timers, and few programs ask

    return cpu_clock(kernel, task, clock)[0]()


def sys_clock_gettime(kernel: Kernel, task: Task, clock: int) -> int:
    """clock_gettime(2)."""
    return clock_ns(kernel, task, clock)


def sys_clock_getres(kernel: Kernel, task: Task, clock: int) -> int:
    """clock_getres(2): one nanosecond."""
    clock_ns(kernel, task, clock)
    return 1


def sys_gettimeofday(kernel: Kernel, task: Task) -> tuple[int, tuple[int, int]]:
    """gettimeofday(2)."""
    return kernel.clock.realtime_ns(), (0, 0)


def sys_time(kernel: Kernel, task: Task, buffer: int) -> int:
    """time(2)."""
    seconds = kernel.clock.realtime_ns() // _NS
    if buffer:
        LONG.write(task.mm, buffer, seconds)
    return seconds


def _sleep_until(kernel: Kernel, task: Task, deadline: int, remaining: int) -> Generator[Any, None, int]:
    while True:
        left = deadline - kernel.clock.now_ns()
        if left <= 0:
            return 0
        try:
            yield (None, deadline)
        except LinuxError:
            if remaining:
                TIMESPEC.write(task.mm, remaining, max(0, deadline - kernel.clock.now_ns()))
            raise


def sys_nanosleep(kernel: Kernel, task: Task, time: int, remaining: int) -> Generator[Any, None, int]:
    """nanosleep(2)."""
    return (yield from _sleep_until(kernel, task, kernel.clock.now_ns() + time, remaining))


def sys_clock_nanosleep(
    kernel: Kernel, task: Task, clock: int, flags: int, request: int, remaining: int
) -> Generator[Any, None, int]:
    """clock_nanosleep(2)."""
    if clock in WITHOUT_TIMERS or clock in ALARM.values() or clock == CPUTIME["THREAD_CPUTIME_ID"]:
        raise LinuxError(errno.EOPNOTSUPP)
    now = clock_ns(kernel, task, clock)
    wanted = TIMESPEC.read(task.mm, request)
    if flags & _TIMER_ABSTIME:
        deadline, remaining = kernel.clock.now_ns() + wanted - now, 0
    else:
        deadline = kernel.clock.now_ns() + wanted
    return (yield from _sleep_until(kernel, task, deadline, remaining))


_SECONDS = Pointer(Scalar("long", S64, likeness=Likeness.FREE), null=True)
#: The time that was left when a signal came; printed as an address.
_LEFT = Pointer(TIMESPEC, written=True, null=True, shown=False)
CLOCK = OneOf("CLOCK_", **REALTIME, **MONOTONIC, **CPUTIME, **ALARM)

TABLE = (
    Syscall(35, "nanosleep", sys_nanosleep, (In(TIMESPEC), _LEFT), restart=Restart.BLOCK),
    Syscall(96, "gettimeofday", sys_gettimeofday, (Out(TIMEVAL, null=True), Out(TIMEZONE, null=True))),
    Syscall(201, "time", sys_time, (_SECONDS,), Returned("seconds", likeness=Likeness.FREE)),
    Syscall(228, "clock_gettime", sys_clock_gettime, (CLOCK, Out(TIMESPEC))),
    Syscall(229, "clock_getres", sys_clock_getres, (CLOCK, Out(TIMESPEC, null=True))),
    Syscall(230, "clock_nanosleep", sys_clock_nanosleep, (CLOCK, INT, Pointer(TIMESPEC), _LEFT), restart=Restart.BLOCK),
)
