"""The clocks of a task, and the timers of its process (kernel/time/posix-timers.c)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from emu.kernel.rlimit import limits_of
from emu.kernel.signal_state import Sig
from emu.kernel.timers import Notify, PosixTimer, ProcessTimers, Recipient
from emu.linux.clock import ALARM, CPUTIME, NEVER_SET, SET_LIKE_REALTIME, WITHOUT_TIMERS
from emu.linux.errors import LinuxError
from emu.linux.hrtimer import Hrtimer, Timer
from emu.linux.limits import INFINITY, Rlimit

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.signal_state import SigInfo, SigPending
    from emu.kernel.task import Task
    from emu.kernel.threadgroup import ThreadGroup

_THREAD_CPUTIME = CPUTIME["THREAD_CPUTIME_ID"]
_NS = 1_000_000_000
_KNOWN = SET_LIKE_REALTIME | NEVER_SET
#: The parts of the number of another task's clock: ~pid << 3, and these.
_PER_THREAD, _WHICH, _NO_CLOCK = 4, 3, 3
_CPUCLOCK_VIRT = 1


def process_times_ns(kernel: Kernel, group: ThreadGroup) -> tuple[int, int]:
    """User time of a process, a nanosecond an instruction, and the time of the kernel's work for it."""
    current, usage, scheduler = kernel.current, group.usage(), kernel.scheduler
    if current is None or current.group is not group:
        return usage.instructions, usage.system_ns
    return usage.instructions + scheduler.running_instructions(), usage.system_ns + scheduler.running_system_ns()


def process_cpu_ns(kernel: Kernel, group: ThreadGroup) -> int:
    """CPU time of a process."""
    return sum(process_times_ns(kernel, group))


def process_user_ns(kernel: Kernel, group: ThreadGroup) -> int:
    """User time of a process."""
    return process_times_ns(kernel, group)[0]


def thread_user_ns(kernel: Kernel, task: Task) -> int:
    """User time of one thread."""
    return task.usage.instructions + (kernel.scheduler.running_instructions() if task is kernel.current else 0)


def thread_cpu_ns(kernel: Kernel, task: Task) -> int:
    """CPU time of one thread."""
    if task is not kernel.current:
        return task.usage.cpu_ns
    return task.usage.cpu_ns + kernel.scheduler.running_instructions() + kernel.scheduler.running_system_ns()


def cpu_clock(kernel: Kernel, task: Task, clock: int) -> tuple[Callable[[], int], Task | None]:
    """The clock of CPU time with a number, and the thread whose time it is (None: of a process).

    LinuxError(EINVAL) if there is no such clock, or it is of a thread of another process.
    """
    if clock in CPUTIME.values():
        pid, of_thread = 0, clock == _THREAD_CPUTIME
    else:
        pid, of_thread = task.means(~(clock >> 3)), bool(clock & _PER_THREAD)
        if clock >= 0 or clock & _WHICH == _NO_CLOCK:
            raise LinuxError(errno.EINVAL)
    found = kernel.find_task(pid) if pid else task
    if found is None or (of_thread and found.group is not task.group):
        raise LinuxError(errno.EINVAL)
    user_only = clock < 0 and clock & _WHICH == _CPUCLOCK_VIRT
    if of_thread:
        return partial(thread_user_ns if user_only else thread_cpu_ns, kernel, found), found
    if pid and found is not found.group.leader:
        raise LinuxError(errno.EINVAL)
    return partial(process_user_ns if user_only else process_cpu_ns, kernel, found.group), None


def process_timers(kernel: Kernel, task: Task) -> ProcessTimers:
    """The timers of a task's process."""
    group = task.group
    if group.timers is None:
        group.timers = ProcessTimers(
            partial(Hrtimer, kernel.clock),
            lambda: process_user_ns(kernel, group),
            lambda: process_cpu_ns(kernel, group),
            lambda signo: kernel.signals.send_to_process(group.leader, signo),
            kernel.frames.kmem,
        )
    return group.timers


def limit_cpu_time(kernel: Kernel, group: ThreadGroup) -> None:
    """RLIMIT_CPU has been set, or a child has inherited it."""
    soft, hard = limits_of(group.leader, Rlimit.CPU)
    timer = process_timers(kernel, group.leader).cpu_limit(lambda: _out_of_cpu_time(kernel, group))
    timer.cancel()
    if min(soft, hard) < INFINITY:
        timer.start(min(soft, hard) * _NS)


def _out_of_cpu_time(kernel: Kernel, group: ThreadGroup) -> None:
    """The soft limit is reached, which then is a second more, or the hard one (check_process_timers)."""
    soft, hard = limits_of(group.leader, Rlimit.CPU)
    used = process_cpu_ns(kernel, group)
    if hard < INFINITY and used >= hard * _NS:
        kernel.signals.send_to_process(group.leader, Sig.KILL)
        return
    if used >= soft * _NS:
        kernel.signals.send_to_process(group.leader, Sig.XCPU)
        group.limits[Rlimit.CPU] = (soft + 1, hard)
    limit_cpu_time(kernel, group)


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
    of_day = kernel.clock if clock in SET_LIKE_REALTIME else None
    timer = PosixTimer(number, make, recipient, signo, number if value is None else value, of_day)
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
        target = kernel.find_task(task.means(tid))
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
