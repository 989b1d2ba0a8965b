"""Clocks and sleeping, in virtual time."""

from __future__ import annotations

import errno
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from emu.kernel.signal_state import Sig
from emu.linux.argument import INT, LONG, UINT, In, OneOf, Out, Pointer
from emu.linux.errors import LinuxError
from emu.linux.layout import TIMESPEC, TIMEVAL, Layout
from emu.linux.syscall import Restart, Returned, Syscall

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_NS = 1_000_000_000
_TIMER_ABSTIME = 1
TIMEZONE = Layout("timezone", "2i")


_REALTIME = {"REALTIME": 0, "REALTIME_COARSE": 5, "TAI": 11}
_MONOTONIC = {"MONOTONIC": 1, "MONOTONIC_RAW": 4, "MONOTONIC_COARSE": 6, "BOOTTIME": 7}
_THREAD_CPUTIME = 3
_CPUTIME = {"PROCESS_CPUTIME_ID": 2, "THREAD_CPUTIME_ID": _THREAD_CPUTIME}


def _clock_ns(kernel: Kernel, task: Task, clock: int) -> int:
    if clock in _REALTIME.values():
        return kernel.clock.realtime_ns()
    if clock in _MONOTONIC.values():
        return kernel.clock.now_ns()
    if clock in _CPUTIME.values():
        usage = task.usage if clock == _THREAD_CPUTIME else task.group.usage()
        return usage.instructions + kernel.scheduler.running_instructions()
    raise LinuxError(errno.EINVAL)


def sys_clock_gettime(kernel: Kernel, task: Task, clock: int) -> int:
    """clock_gettime(2)."""
    return _clock_ns(kernel, task, clock)


def sys_clock_getres(kernel: Kernel, task: Task, clock: int) -> int:
    """clock_getres(2): one nanosecond."""
    _clock_ns(kernel, task, clock)
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
    now = _clock_ns(kernel, task, clock)
    wanted = TIMESPEC.read(task.mm, request)
    if flags & _TIMER_ABSTIME:
        deadline, remaining = kernel.clock.now_ns() + wanted - now, 0
    else:
        deadline = kernel.clock.now_ns() + wanted
    return (yield from _sleep_until(kernel, task, deadline, remaining))


def sys_alarm(kernel: Kernel, task: Task, seconds: int) -> int:
    """alarm(2)."""
    clock = kernel.clock
    left = 0
    group = task.group
    if group.alarm is not None:
        deadline, handle = group.alarm
        clock.cancel(handle)
        left = -(-max(0, deadline - clock.now_ns()) // _NS)
        group.alarm = None
    if seconds:
        deadline = clock.now_ns() + seconds * _NS

        def ring() -> None:
            group.alarm = None
            kernel.signals.send_to_process(group.leader, Sig.ALRM)

        group.alarm = (deadline, clock.add_timer(deadline, ring))
    return left


#: The time that was left when a signal came; printed as an address.
_LEFT = Pointer(TIMESPEC, written=True, null=True, shown=False)
_CLOCK = OneOf("CLOCK_", **_REALTIME, **_MONOTONIC, **_CPUTIME)

TABLE = (
    Syscall(35, "nanosleep", sys_nanosleep, (In(TIMESPEC), _LEFT), restart=Restart.BLOCK),
    Syscall(37, "alarm", sys_alarm, (UINT,), Returned("seconds")),
    Syscall(96, "gettimeofday", sys_gettimeofday, (Out(TIMEVAL, null=True), Out(TIMEZONE, null=True))),
    Syscall(201, "time", sys_time, (Pointer(LONG, null=True),), Returned("seconds")),
    Syscall(228, "clock_gettime", sys_clock_gettime, (_CLOCK, Out(TIMESPEC))),
    Syscall(229, "clock_getres", sys_clock_getres, (_CLOCK, Out(TIMESPEC, null=True))),
    Syscall(
        230, "clock_nanosleep", sys_clock_nanosleep, (_CLOCK, INT, Pointer(TIMESPEC), _LEFT), restart=Restart.BLOCK
    ),
)
