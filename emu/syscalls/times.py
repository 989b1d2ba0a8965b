"""Clocks and sleeping, in virtual time."""

from __future__ import annotations

import errno
from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any

from emu.linux.argument import INT, LONG, S64, In, OneOf, Out, Pointer, Scalar
from emu.linux.clock import (
    ALARM,
    COARSE,
    CPUTIME,
    MONOTONIC,
    NEVER_SET,
    REALTIME,
    SET_LIKE_REALTIME,
    TICK_NS,
    WITHOUT_TIMERS,
)
from emu.linux.errors import Interrupted, LinuxError
from emu.linux.layout import TIMESPEC, TIMEVAL, Layout
from emu.linux.likeness import Likeness
from emu.linux.syscall import Restart, RestartByFlag, Returned, Syscall
from emu.linux.wait import WaitQueue

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_NS = 1_000_000_000
_TIMER_ABSTIME = 1
#: The part of the number of another task's clock that says what it counts: user time, or all, by ticks or precisely.
_WHICH, _CPUCLOCK_SCHED = 3, 2
#: Of the number of a clock that is a descriptor of a device.
_CLOCKFD_MASK, _CLOCKFD = 7, 3
TIMEZONE = Layout("timezone", "2i", likeness=Likeness.EXACT)


def clock_ns(kernel: Kernel, task: Task, clock: int) -> int:
    """The time of a clock.  LinuxError(EINVAL)."""
    if clock in SET_LIKE_REALTIME:
        now = kernel.clock.realtime_ns()
        return now if clock not in COARSE else now - kernel.clock.now_ns() % TICK_NS
    if clock in NEVER_SET:
        now, ahead = kernel.clock.now_ns(), task.ns.time.ahead(clock)
        return (now if clock not in COARSE else now - now % TICK_NS) + ahead
    from emu.kernel.timing import cpu_clock  # with the timers, and few programs ask

    return cpu_clock(kernel, task, clock)[0]()


def sys_clock_gettime(kernel: Kernel, task: Task, clock: int) -> int:
    """clock_gettime(2)."""
    return clock_ns(kernel, task, clock)


def sys_clock_getres(kernel: Kernel, task: Task, clock: int) -> int:
    """clock_getres(2): one nanosecond, or a tick."""
    clock_ns(kernel, task, clock)
    return TICK_NS if clock in COARSE or (clock < 0 and clock & _WHICH != _CPUCLOCK_SCHED) else 1


def sys_gettimeofday(kernel: Kernel, task: Task) -> tuple[int, tuple[int, int]]:
    """gettimeofday(2)."""
    return kernel.clock.realtime_ns(), kernel.clock.timezone


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
        except Interrupted as interrupted:
            if remaining:
                TIMESPEC.write(task.mm, remaining, max(0, deadline - kernel.clock.now_ns()))
            interrupted.goes_on = partial(_sleep_until, kernel, task, deadline, remaining)
            raise


def _sleep_until_time_of_day(kernel: Kernel, wanted: int) -> Generator[Any, None, int]:
    """Whoever sets the clock moves the end."""
    while kernel.clock.realtime_ns() < wanted:
        yield (kernel.clock.was_set,), wanted - kernel.clock.realtime_offset
    return 0


def _sleep_for_cpu_time(
    kernel: Kernel, task: Task, clock: int, wanted: int, flags: int, remaining: int
) -> Generator[Any, None, int]:
    """Until others have used CPU time of the clock."""
    from emu.kernel.timing import cpu_clock, process_timers  # with the timers, and few programs ask

    now, thread = cpu_clock(kernel, task, clock)
    whose = task if thread is None and clock >= 0 else kernel.find_task(task.means(~(clock >> 3))) or task
    passed = WaitQueue()

    def wake() -> None:
        passed.wake_all()

    timer = process_timers(kernel, whose).cpu_timer(now, thread, wake)
    timer.start(wanted if flags & _TIMER_ABSTIME else now() + wanted)
    try:
        while timer.left > 0:
            yield passed
    except LinuxError:
        if remaining and not flags & _TIMER_ABSTIME:
            TIMESPEC.write(task.mm, remaining, max(0, timer.left))
        raise
    finally:
        timer.cancel()
    return 0


def sys_nanosleep(kernel: Kernel, task: Task, time: int, remaining: int) -> Generator[Any, None, int]:
    """nanosleep(2)."""
    return (yield from _sleep_until(kernel, task, kernel.clock.now_ns() + time, remaining))


def sys_clock_nanosleep(
    kernel: Kernel, task: Task, clock: int, flags: int, request: int, remaining: int
) -> Generator[Any, None, int]:
    """clock_nanosleep(2)."""
    if clock in WITHOUT_TIMERS or clock in ALARM.values() or clock == CPUTIME["THREAD_CPUTIME_ID"]:
        raise LinuxError(errno.EOPNOTSUPP)
    if clock < 0 and clock & _CLOCKFD_MASK == _CLOCKFD:
        raise LinuxError(errno.EOPNOTSUPP)
    clock_ns(kernel, task, clock)
    wanted = TIMESPEC.read(task.mm, request)
    if flags & _TIMER_ABSTIME and clock in SET_LIKE_REALTIME:
        return (yield from _sleep_until_time_of_day(kernel, wanted))
    if clock < 0 or clock in CPUTIME.values():
        return (yield from _sleep_for_cpu_time(kernel, task, clock, wanted, flags, remaining))
    if flags & _TIMER_ABSTIME:
        deadline, remaining = task.ns.time.to_machine(clock, wanted), 0
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
    Syscall(
        230,
        "clock_nanosleep",
        sys_clock_nanosleep,
        (CLOCK, INT, Pointer(TIMESPEC), _LEFT),
        restart=RestartByFlag(1, _TIMER_ABSTIME),
    ),
)
