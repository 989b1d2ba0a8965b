"""Clocks and sleeping, in virtual time."""

from __future__ import annotations

import errno
import struct
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from emu.kernel.signal_state import Sig
from emu.linux.errors import LinuxError
from emu.linux.syscall import Syscall, s32

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_NS = 1_000_000_000
_TIMER_ABSTIME = 1
_REALTIME = frozenset({0, 5, 11})
_MONOTONIC = frozenset({1, 4, 6, 7})
_THREAD_CPUTIME = 3
_CPUTIME = frozenset({2, _THREAD_CPUTIME})


def _clock_ns(kernel: Kernel, task: Task, clock: int) -> int:
    if clock in _REALTIME:
        return kernel.clock.realtime_ns()
    if clock in _MONOTONIC:
        return kernel.clock.now_ns()
    if clock in _CPUTIME:
        usage = task.usage if clock == _THREAD_CPUTIME else task.group.usage()
        return usage.instructions + kernel.scheduler.running_instructions()
    raise LinuxError(errno.EINVAL)


def sys_clock_gettime(kernel: Kernel, task: Task, clock: int, buffer: int) -> int:
    """clock_gettime(2)."""
    task.mm.write(buffer, struct.pack("<qq", *divmod(_clock_ns(kernel, task, s32(clock)), _NS)))
    return 0


def sys_clock_getres(kernel: Kernel, task: Task, clock: int, buffer: int) -> int:
    """clock_getres(2): one nanosecond."""
    _clock_ns(kernel, task, s32(clock))
    if buffer:
        task.mm.write(buffer, struct.pack("<qq", 0, 1))
    return 0


def sys_gettimeofday(kernel: Kernel, task: Task, buffer: int, zone: int) -> int:
    """gettimeofday(2)."""
    if buffer:
        seconds, nanoseconds = divmod(kernel.clock.realtime_ns(), _NS)
        task.mm.write(buffer, struct.pack("<qq", seconds, nanoseconds // 1000))
    if zone:
        task.mm.write(zone, bytes(8))
    return 0


def sys_time(kernel: Kernel, task: Task, buffer: int) -> int:
    """time(2)."""
    seconds = kernel.clock.realtime_ns() // _NS
    if buffer:
        task.mm.write_u64(buffer, seconds)
    return seconds


def _read_timespec(task: Task, address: int) -> int:
    seconds, nanoseconds = struct.unpack("<qq", task.mm.read(address, 16))
    if seconds < 0 or not 0 <= nanoseconds < _NS:
        raise LinuxError(errno.EINVAL)
    return int(seconds) * _NS + int(nanoseconds)


def _sleep_until(kernel: Kernel, task: Task, deadline: int, remaining: int) -> Generator[Any, None, int]:
    while True:
        left = deadline - kernel.clock.now_ns()
        if left <= 0:
            return 0
        try:
            yield (None, deadline)
        except LinuxError:
            if remaining:
                left = max(0, deadline - kernel.clock.now_ns())
                task.mm.write(remaining, struct.pack("<qq", *divmod(left, _NS)))
            raise


def sys_nanosleep(kernel: Kernel, task: Task, request: int, remaining: int) -> Generator[Any, None, int]:
    """nanosleep(2)."""
    deadline = kernel.clock.now_ns() + _read_timespec(task, request)
    return (yield from _sleep_until(kernel, task, deadline, remaining))


def sys_clock_nanosleep(
    kernel: Kernel, task: Task, clock: int, flags: int, request: int, remaining: int
) -> Generator[Any, None, int]:
    """clock_nanosleep(2)."""
    now = _clock_ns(kernel, task, s32(clock))
    wanted = _read_timespec(task, request)
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
    seconds &= 0xFFFFFFFF
    if seconds:
        deadline = clock.now_ns() + seconds * _NS

        def ring() -> None:
            group.alarm = None
            kernel.signals.send_to_process(group.leader, Sig.ALRM)

        group.alarm = (deadline, clock.add_timer(deadline, ring))
    return left


TABLE = (
    Syscall(35, "nanosleep", sys_nanosleep, ("ptr", "ptr")),
    Syscall(37, "alarm", sys_alarm, ("uint",)),
    Syscall(96, "gettimeofday", sys_gettimeofday, ("ptr", "ptr")),
    Syscall(201, "time", sys_time, ("ptr",)),
    Syscall(228, "clock_gettime", sys_clock_gettime, ("int", "ptr")),
    Syscall(229, "clock_getres", sys_clock_getres, ("int", "ptr")),
    Syscall(230, "clock_nanosleep", sys_clock_nanosleep, ("int", "int", "ptr", "ptr")),
)
