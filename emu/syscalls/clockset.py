"""Setting the clock, and the figures by which ntpd tunes it."""

from __future__ import annotations

import errno
from enum import IntFlag
from typing import TYPE_CHECKING, Any

from emu.linux.argument import In, Pointer
from emu.linux.capability import SYS_TIME
from emu.linux.clock import CPUTIME, KTIME_MAX, MONOTONIC, REALTIME, Ntp
from emu.linux.errors import LinuxError
from emu.linux.layout import TIMESPEC, TIMEVAL, Layout
from emu.linux.syscall import Returned, Syscall
from emu.syscalls.times import CLOCK, TIMEZONE, clock_ns

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_NS = 1_000_000_000
_CLOCK_REALTIME = REALTIME["REALTIME"]
#: Of the number of a clock that is a descriptor of a device.
_CLOCKFD_MASK, _CLOCKFD = 7, 3
#: No time may be set that would end within 30 years (TIME_SETTOD_SEC_MAX).
_SETTOD_SEC_MAX = KTIME_MAX // _NS - 30 * 365 * 24 * 3600
_MOST_MINUTES_WEST = 15 * 60
#: Bits of the status: not synchronized, times in ns, those that nobody may change; and the state that the first gives.
_STA_UNSYNC, _STA_NANO, _STA_RONLY, _TIME_ERROR = 0x40, 0x2000, 0xFF00, 5
TIMEX = Layout("timex", "I4x4qi4x8qi4x5qi44x")


class Adj(IntFlag):
    """ADJ_*."""

    FREQUENCY = 0x2
    MAXERROR = 0x4
    ESTERROR = 0x8
    STATUS = 0x10
    TIMECONST = 0x20
    TAI = 0x80
    SETOFFSET = 0x100
    MICRO = 0x1000
    NANO = 0x2000
    TICK = 0x4000
    #: adjtime(3) in place of ntp_adjtime(3); with the first of these, and perhaps the second.
    ADJTIME = 0x8000
    OFFSET_SINGLESHOT = 0x1
    OFFSET_READONLY = 0x2000


_MOST_TAI = 100_000
_LEAST_TICK, _MOST_TICK = 900_000 // 100, 1_100_000 // 100


def _may_set(task: Task) -> None:
    """CAP_SYS_TIME.  LinuxError(EPERM)."""
    if not task.credentials.capable(SYS_TIME):
        raise LinuxError(errno.EPERM)


def _set_time(kernel: Kernel, task: Task, ns: int) -> None:
    """do_sys_settimeofday64().  LinuxError(EINVAL), (EPERM)."""
    if ns // _NS >= _SETTOD_SEC_MAX:
        raise LinuxError(errno.EINVAL)
    _may_set(task)
    if ns < kernel.clock.now_ns():
        raise LinuxError(errno.EINVAL)
    kernel.clock.set_realtime(ns)
    kernel.vdso.renew()


def sys_settimeofday(kernel: Kernel, task: Task, time: int, zone: tuple[int, int] | None) -> int:
    """settimeofday(2): of the machine, never of the host."""
    wanted = None
    if time:
        seconds, microseconds = TIMEVAL.unpack(task.mm.read(time, TIMEVAL.size))
        if not (0 <= microseconds < 1_000_000 and 0 <= seconds < _SETTOD_SEC_MAX):
            raise LinuxError(errno.EINVAL)
        wanted = seconds * _NS + microseconds * 1000
    _may_set(task)
    if zone is not None:
        if abs(zone[0]) > _MOST_MINUTES_WEST:
            raise LinuxError(errno.EINVAL)
        kernel.clock.timezone = zone
        kernel.vdso.renew()
    if wanted is not None:
        _set_time(kernel, task, wanted)
    return 0


def sys_clock_settime(kernel: Kernel, task: Task, clock: int, time: int) -> int:
    """clock_settime(2): CLOCK_REALTIME of the machine, never of the host."""
    if clock < 0 and clock & _CLOCKFD_MASK != _CLOCKFD:
        task.mm.read(time, TIMESPEC.size)
        clock_ns(kernel, task, clock)
        raise LinuxError(errno.EPERM)
    if clock != _CLOCK_REALTIME:
        raise LinuxError(errno.EINVAL)
    _set_time(kernel, task, TIMESPEC.read(task.mm, time))
    return 0


def sys_adjtimex(kernel: Kernel, task: Task, address: int) -> int:
    """adjtimex(2): the figures are kept and shown, and the clock goes on as it does."""
    values = list(TIMEX.read(task.mm, address))
    modes, ntp = values[0], kernel.clock.ntp
    _check_modes(task, modes, values)
    if not modes & Adj.ADJTIME:
        if modes & Adj.SETOFFSET:
            more = values[10] if modes & Adj.NANO else values[10] * 1000
            _set_time(kernel, task, kernel.clock.realtime_ns() + values[9] * _NS + more)
        ntp = kernel.clock.ntp = _changed(ntp, modes, values)
    unit = 1 if ntp.status & _STA_NANO else 1000
    now = divmod(kernel.clock.realtime_ns(), _NS)
    TIMEX.write(task.mm, address, (
        modes, 0, ntp.frequency, ntp.max_error, ntp.est_error, ntp.status, ntp.constant, 1, 500 << 16,
        now[0], now[1] // unit, ntp.tick, 0, 0, 0, 0, 0, 0, 0, 0, ntp.tai,
    ))  # fmt: skip
    return _TIME_ERROR if ntp.status & _STA_UNSYNC else 0


def _check_modes(task: Task, modes: int, values: list[Any]) -> None:
    """timekeeping_validate_timex().  LinuxError(EINVAL), (EPERM)."""
    if modes & Adj.ADJTIME:
        if not modes & Adj.OFFSET_SINGLESHOT:
            raise LinuxError(errno.EINVAL)
        if not modes & Adj.OFFSET_READONLY:
            _may_set(task)
        return
    if modes:
        _may_set(task)
    if modes & Adj.TICK and not _LEAST_TICK <= values[11] <= _MOST_TICK:
        raise LinuxError(errno.EINVAL)
    if modes & Adj.SETOFFSET and not 0 <= values[10] < (_NS if modes & Adj.NANO else 1_000_000):
        raise LinuxError(errno.EINVAL)


def _changed(ntp: Ntp, modes: int, values: list[Any]) -> Ntp:
    """process_adjtimex_modes()."""
    limit = 500 << 16
    named = {
        Adj.FREQUENCY: ("frequency", max(-limit, min(values[2], limit))), Adj.MAXERROR: ("max_error", values[3]),
        Adj.ESTERROR: ("est_error", values[4]), Adj.TIMECONST: ("constant", max(0, min(values[6], 10))),
        Adj.TICK: ("tick", values[11]),
    }  # fmt: skip
    if 0 <= values[6] <= _MOST_TAI:
        named[Adj.TAI] = ("tai", values[6])
    changes = {name: value for bit, (name, value) in named.items() if modes & bit}
    status = ntp.status
    if modes & Adj.STATUS:
        status = status & _STA_RONLY | values[5] & ~_STA_RONLY
    if modes & Adj.NANO:
        status |= _STA_NANO
    if modes & Adj.MICRO:
        status &= ~_STA_NANO
    return ntp._replace(**changes, status=status)


def sys_clock_adjtime(kernel: Kernel, task: Task, clock: int, address: int) -> int:
    """clock_adjtime(2): of CLOCK_REALTIME."""
    task.mm.read(address, TIMEX.size)
    if clock == _CLOCK_REALTIME:
        return sys_adjtimex(kernel, task, address)
    known = {*REALTIME.values(), *MONOTONIC.values(), *CPUTIME.values(), 8, 9}
    if clock not in known and (clock >= 0 or clock & _CLOCKFD_MASK == _CLOCKFD):
        raise LinuxError(errno.EINVAL)
    raise LinuxError(errno.EOPNOTSUPP)


_TIMEX = Pointer(TIMEX, written=True)
_STATE = Returned("clock state")

TABLE = (
    Syscall(159, "adjtimex", sys_adjtimex, (_TIMEX,), _STATE),
    Syscall(164, "settimeofday", sys_settimeofday, (Pointer(TIMEVAL, null=True), In(TIMEZONE, null=True))),
    Syscall(227, "clock_settime", sys_clock_settime, (CLOCK, Pointer(TIMESPEC))),
    Syscall(305, "clock_adjtime", sys_clock_adjtime, (CLOCK, _TIMEX), _STATE),
)
