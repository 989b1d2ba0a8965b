"""Interval timers, POSIX timers, timerfd, and the CPU time of processes in ticks."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from emu.fs.timerfd import TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET, TimerFd
from emu.kernel.signal_state import Sig
from emu.kernel.timers import Notify, ProcessTimers
from emu.kernel.timing import add_posix_timer, process_timers, process_times_ns
from emu.linux.argument import FD, INT, S32, U32, UINT, Bits, OneOf, Out, Pointer, Scalar
from emu.linux.caller import UserMemory
from emu.linux.capability import WAKE_ALARM
from emu.linux.clock import ALARM, KTIME_MAX, MONOTONIC, REALTIME
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags
from emu.linux.layout import TIMESPEC, Layout, Time
from emu.linux.likeness import Likeness
from emu.linux.syscall import DESCRIPTOR, NUMBER, Returned, Syscall
from emu.linux.words import unknown
from emu.syscalls.queued import check_pending
from emu.syscalls.times import CLOCK
from emu.syscalls.types import signal_words

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_NS = 1_000_000_000
#: Nanoseconds in a tick of USER_HZ.
_TICK_NS = 10_000_000
_ITIMER_REAL, _ITIMERS = 0, 3
_TIMER_ABSTIME = 1
_CLOEXEC, _NONBLOCK = int(OpenFlags.CLOEXEC), int(OpenFlags.NONBLOCK)
_TIMERFD_CLOCKS = {REALTIME["REALTIME"], MONOTONIC["MONOTONIC"], MONOTONIC["BOOTTIME"], *ALARM.values()}


class _Setting(Layout):
    """An interval and a value, each a time: handlers have them in nanoseconds."""

    prints = True

    def __init__(self, name: str, time: Time) -> None:
        super().__init__(name, "4q")
        self._time = time

    def read(self, memory: UserMemory, address: int) -> tuple[int, int]:
        """LinuxError(EINVAL) for a time that is none."""
        data = memory.read(address, self.size)
        half = self.size // 2
        interval, value = self._time.decode(data[:half]), self._time.decode(data[half:])
        return min(interval, KTIME_MAX), min(value, KTIME_MAX)

    def write(self, memory: UserMemory, address: int, value: Any) -> None:
        memory.write(address, b"".join(map(self._time.encode, value)))

    def words(self, values: tuple[int, ...]) -> str:
        return f"{{it_interval={self._time.words(values[:2])}, it_value={self._time.words(values[2:])}}}"


class _Sigevent(Layout):
    """struct sigevent: value, signal, how to notify, thread."""

    prints = True

    def words(self, values: tuple[int, ...]) -> str:
        value, signo, notify, tid = values
        text = f"sigev_value={{sival_int={S32(value)}, sival_ptr={value:#x}}}, " if value else ""
        signal = signal_words(signo) if notify in (Notify.SIGNAL, Notify.THREAD_ID) else str(U32(signo))
        thread = f", sigev_notify_thread_id={tid}" if notify == Notify.THREAD_ID else ""
        known = notify in Notify._value2member_map_
        how = f"SIGEV_{Notify(notify).name}" if known else unknown(notify, "SIGEV_")
        return f"{{{text}sigev_signo={signal}, sigev_notify={how}{thread}}}"


#: A timeval whose microseconds are less than a second.
_TIMEVAL = Time("timeval", "tv_usec", 1000)
ITIMERVAL, ITIMERSPEC = _Setting("itimerval", _TIMEVAL), _Setting("itimerspec", TIMESPEC)
SIGEVENT = _Sigevent("sigevent", "Qiii44x")
TMS = Layout("tms", "4q")
TIMER_ID = Scalar("timer_t", S32, lambda number: f"[{number}]", prints=True)


# Interval timers


def _itimer(kernel: Kernel, task: Task, which: int) -> Any:
    if not 0 <= which < _ITIMERS:
        raise LinuxError(errno.EINVAL)
    return process_timers(kernel, task).interval[which]


def sys_getitimer(kernel: Kernel, task: Task, which: int) -> tuple[int, int]:
    """getitimer(2)."""
    setting: tuple[int, int] = _itimer(kernel, task, which).get()
    return setting


def sys_setitimer(kernel: Kernel, task: Task, which: int, new: int) -> tuple[int, int]:
    """setitimer(2); NULL stops the timer, as Linux has it."""
    wanted = ITIMERVAL.read(task.mm, new) if new else (0, 0)
    before: tuple[int, int] = _itimer(kernel, task, which).set(*wanted)
    return before


def sys_alarm(kernel: Kernel, task: Task, seconds: int) -> int:
    """alarm(2): the seconds that were left are rounded, and at least 1."""
    timer = process_timers(kernel, task).interval[_ITIMER_REAL]
    left = timer.set(0, seconds * _NS)[1] // 1000
    whole, fraction = divmod(left, 1_000_000)
    return whole + (fraction >= 500_000 or (fraction > 0 and not whole))


def sys_times(kernel: Kernel, task: Task, buffer: int) -> int:
    """times(2): in ticks of 10 ms, since the machine was made."""
    if buffer:
        children = task.group.children_usage
        times = (*process_times_ns(kernel, task.group), children.instructions, children.system_ns)
        TMS.write(task.mm, buffer, tuple(time // _TICK_NS for time in times))
    return kernel.clock.now_ns() // _TICK_NS


# POSIX timers


def sys_timer_create(kernel: Kernel, task: Task, clock: int, event: int, number: int) -> int:
    """timer_create(2)."""
    notify, signo, tid = int(Notify.SIGNAL), int(Sig.ALRM), 0
    value = None
    if event:
        value, signo, notify, tid = SIGEVENT.read(task.mm, event)
    check_pending(kernel, task)
    made = add_posix_timer(kernel, task, clock, notify, signo, value, tid)
    try:
        TIMER_ID.write(task.mm, number, made)
    except LinuxError:
        sys_timer_delete(kernel, task, made)
        raise
    return 0


def _posix(kernel: Kernel, task: Task) -> ProcessTimers:
    return process_timers(kernel, task)


def sys_timer_settime(kernel: Kernel, task: Task, number: int, flags: int, new: int) -> tuple[int, int]:
    """timer_settime(2)."""
    if not new:
        raise LinuxError(errno.EINVAL)
    interval, value = ITIMERSPEC.read(task.mm, new)
    timer = _posix(kernel, task).find(number)
    if flags & _TIMER_ABSTIME and value:
        value = task.ns.time.to_machine(timer.clockid, value) or 1
    return timer.settime(interval, value, absolute=bool(flags & _TIMER_ABSTIME))


def sys_timer_gettime(kernel: Kernel, task: Task, number: int) -> tuple[int, int]:
    """timer_gettime(2)."""
    return _posix(kernel, task).find(number).gettime()


def sys_timer_getoverrun(kernel: Kernel, task: Task, number: int) -> int:
    """timer_getoverrun(2)."""
    return _posix(kernel, task).find(number).overrun_last


def sys_timer_delete(kernel: Kernel, task: Task, number: int) -> int:
    """timer_delete(2)."""
    _posix(kernel, task).delete(number)
    return 0


# timerfd


def sys_timerfd_create(kernel: Kernel, task: Task, clock: int, flags: int) -> int:
    """timerfd_create(2)."""
    if flags & ~(_CLOEXEC | _NONBLOCK) or clock not in _TIMERFD_CLOCKS:
        raise LinuxError(errno.EINVAL)
    if clock in ALARM.values() and not task.credentials.capable(WAKE_ALARM):
        raise LinuxError(errno.EPERM)
    task.files.check_room()
    file = TimerFd(kernel.vfs.anon_inode("[timerfd]"), flags & _NONBLOCK, kernel.clock, clock)
    return task.files.open(file, bool(flags & _CLOEXEC))


def _timerfd(task: Task, fd: int) -> TimerFd:
    file = task.files.get(fd)
    if not isinstance(file, TimerFd):
        raise LinuxError(errno.EINVAL)
    return file


def sys_timerfd_settime(kernel: Kernel, task: Task, fd: int, flags: int, new: int) -> tuple[int, int]:
    """timerfd_settime(2)."""
    wanted = ITIMERSPEC.read(task.mm, new)
    if flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET):
        raise LinuxError(errno.EINVAL)
    timer, (interval, value) = _timerfd(task, fd), wanted
    if flags & TFD_TIMER_ABSTIME and value:
        value = task.ns.time.to_machine(timer.clockid, value) or 1
    return timer.settime(flags, interval, value)


def sys_timerfd_gettime(kernel: Kernel, task: Task, fd: int) -> tuple[int, int]:
    """timerfd_gettime(2)."""
    return _timerfd(task, fd).gettime()


_WHICH = OneOf("ITIMER_", REAL=0, VIRTUAL=1, PROF=2)
_TIMERFD_FLAGS = Bits("TFD_", CLOEXEC=_CLOEXEC, NONBLOCK=_NONBLOCK)
_TIMERFD_SET = Bits("TFD_", TIMER_ABSTIME=TFD_TIMER_ABSTIME, TIMER_CANCEL_ON_SET=TFD_TIMER_CANCEL_ON_SET)
_TIMER_SET = Bits("TIMER_", ABSTIME=_TIMER_ABSTIME)
_SPEC, _OLD_SPEC = Pointer(ITIMERSPEC, null=True), Out(ITIMERSPEC, null=True)
_VALUE, _OLD_VALUE = Pointer(ITIMERVAL, null=True), Out(ITIMERVAL, null=True)
_EVENT, _NEW_TIMER = Pointer(SIGEVENT, null=True), Pointer(TIMER_ID, written=True)

_TICKS = Returned("number", likeness=Likeness.FREE)

TABLE = (
    Syscall(36, "getitimer", sys_getitimer, (_WHICH, Out(ITIMERVAL))),
    Syscall(37, "alarm", sys_alarm, (UINT,), Returned("seconds", likeness=Likeness.FREE)),
    Syscall(38, "setitimer", sys_setitimer, (_WHICH, _VALUE, _OLD_VALUE)),
    Syscall(100, "times", sys_times, (Pointer(TMS, written=True, null=True, shown=False),), _TICKS),
    Syscall(222, "timer_create", sys_timer_create, (CLOCK, _EVENT, _NEW_TIMER)),
    Syscall(223, "timer_settime", sys_timer_settime, (INT, _TIMER_SET, _SPEC, _OLD_SPEC)),
    Syscall(224, "timer_gettime", sys_timer_gettime, (INT, Out(ITIMERSPEC))),
    Syscall(225, "timer_getoverrun", sys_timer_getoverrun, (INT,), NUMBER),
    Syscall(226, "timer_delete", sys_timer_delete, (INT,)),
    Syscall(283, "timerfd_create", sys_timerfd_create, (CLOCK, _TIMERFD_FLAGS), DESCRIPTOR),
    Syscall(286, "timerfd_settime", sys_timerfd_settime, (FD, _TIMERFD_SET, Pointer(ITIMERSPEC), _OLD_SPEC)),
    Syscall(287, "timerfd_gettime", sys_timerfd_gettime, (FD, Out(ITIMERSPEC))),
)
