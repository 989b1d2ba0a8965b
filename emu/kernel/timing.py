"""The clocks of a task, and the timers of its process (kernel/time/posix-timers.c)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from emu.kernel.timers import Notify, PosixTimer, ProcessTimers, Recipient
from emu.linux.clock import ALARM, CPUTIME, NEVER_SET, SET_LIKE_REALTIME, WITHOUT_TIMERS
from emu.linux.errors import LinuxError
from emu.linux.hrtimer import Hrtimer, Timer

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.signal_state import SigInfo, SigPending
    from emu.kernel.task import Task, ThreadGroup

_THREAD_CPUTIME = CPUTIME["THREAD_CPUTIME_ID"]
_KNOWN = SET_LIKE_REALTIME | NEVER_SET
#: The parts of the number of another task's clock: ~pid << 3, and these.
_PER_THREAD, _WHICH, _NO_CLOCK = 4, 3, 3


def process_cpu_ns(kernel: Kernel, group: ThreadGroup) -> int:
    """CPU time of a process: a nanosecond an instruction."""
    current = kernel.current
    running = kernel.scheduler.running_instructions() if current is not None and current.group is group else 0
    return group.usage().instructions + running


def thread_cpu_ns(kernel: Kernel, task: Task) -> int:
    """CPU time of one thread."""
    return task.usage.instructions + (kernel.scheduler.running_instructions() if task is kernel.current else 0)


def cpu_clock(kernel: Kernel, task: Task, clock: int) -> tuple[Callable[[], int], Task | None]:
    """The clock of CPU time with a number, and the thread whose time it is (None: of a process).

    LinuxError(EINVAL) if there is no such clock, or it is of a thread of another process.
    """
    if clock in CPUTIME.values():
        pid, of_thread = 0, clock == _THREAD_CPUTIME
    else:
        pid, of_thread = ~(clock >> 3), bool(clock & _PER_THREAD)
        if clock >= 0 or clock & _WHICH == _NO_CLOCK:
            raise LinuxError(errno.EINVAL)
    found = kernel.tasks.get(pid) if pid else task
    if found is None or (of_thread and found.group is not task.group):
        raise LinuxError(errno.EINVAL)
    if of_thread:
        return partial(thread_cpu_ns, kernel, found), found
    if pid and found is not found.group.leader:
        raise LinuxError(errno.EINVAL)
    return partial(process_cpu_ns, kernel, found.group), None


def process_timers(kernel: Kernel, task: Task) -> ProcessTimers:
    """The timers of a task's process."""
    group = task.group
    if group.timers is None:
        group.timers = ProcessTimers(
            partial(Hrtimer, kernel.clock),
            lambda: process_cpu_ns(kernel, group),
            lambda signo: kernel.signals.send_to_process(group.leader, signo),
            kernel.frames.kmem,
        )
    return group.timers


def add_posix_timer(
    kernel: Kernel, task: Task, clock: int, notify: int, signo: int, value: int | None, tid: int
) -> int:
    """timer_create(2); ``value``: None for the number of the timer.  The number.

    LinuxError(EINVAL), (EOPNOTSUPP) for a clock on which there are no timers, (ENOMEM).
    """
    if clock in WITHOUT_TIMERS or clock in ALARM.values():
        raise LinuxError(errno.EOPNOTSUPP)
    if clock >= 0 and clock not in _KNOWN and clock not in CPUTIME.values():
        raise LinuxError(errno.EINVAL)
    timers = process_timers(kernel, task)
    number = timers.new_number()
    recipient = _recipient(kernel, task, notify, signo, tid)
    make: Callable[[Callable[[], None]], Timer]
    if clock in _KNOWN:
        make = partial(Hrtimer, kernel.clock)
    else:
        make = partial(timers.cpu_timer, *cpu_clock(kernel, task, clock))
    offset = kernel.clock.realtime_offset if clock in SET_LIKE_REALTIME else 0
    timer = PosixTimer(number, make, recipient, signo, number if value is None else value, offset)
    timer.clockid, timer.notify = clock, Notify(notify)
    timers.add(timer)
    return number


def _recipient(kernel: Kernel, task: Task, notify: int, signo: int, tid: int) -> Recipient | None:
    """Who gets the signal (good_sigevent).  LinuxError(EINVAL)."""
    if notify == Notify.NONE:
        return None
    if notify not in (Notify.SIGNAL, Notify.THREAD, Notify.THREAD_ID) or not 1 <= signo <= 64:
        raise LinuxError(errno.EINVAL)
    if notify == Notify.THREAD_ID:
        target = kernel.tasks.get(tid)
        if target is None or target.group is not task.group:
            raise LinuxError(errno.EINVAL)
        return _to_thread(kernel, target)
    return _to_process(kernel, task.group)


def _to_thread(kernel: Kernel, task: Task) -> Recipient:
    def send(info: SigInfo) -> bool:
        ignored = task.alive and kernel.signals.ignores(task, info.signo)
        kernel.signals.send(task, info.signo, info)
        return ignored

    return Recipient(send, partial(_discard, task.signals.pending))


def _to_process(kernel: Kernel, group: ThreadGroup) -> Recipient:
    def send(info: SigInfo) -> bool:
        ignored = kernel.signals.ignores(group.leader, info.signo)
        kernel.signals.send_to_process(group.leader, info.signo, info)
        return ignored

    return Recipient(send, partial(_discard, group.pending))


def _discard(queue: SigPending, info: SigInfo) -> None:
    if info in queue:
        queue.dequeue(info)
