"""/proc/PID/wchan: the function of Linux in which a task sleeps, as a Linux 6.18 of today says it (proc_pid_wchan)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.fs.eventfd import EventFd
from emu.fs.pipefile import PipeFile
from emu.fs.timerfd import TimerFd
from emu.kernel.signalfd import SignalFd
from emu.kernel.task import TaskState
from emu.linux.caller import may_access
from emu.linux.errors import LinuxError
from emu.net.inet import InetSocket
from emu.net.socket import Socket

if TYPE_CHECKING:
    from emu.fs.file import File
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_POLL, _SLEEP, _EVENTS, _PACKETS = (
    "poll_schedule_timeout.constprop.0", "hrtimer_nanosleep", "do_epoll_wait", "__skb_wait_for_more_packets",
)  # fmt: skip
#: By the name of the call.
_OF_CALLS = {
    "pause": "__do_sys_pause", "nanosleep": _SLEEP, "clock_nanosleep": _SLEEP, "poll": _POLL, "ppoll": _POLL,
    "select": _POLL, "pselect6": _POLL, "epoll_wait": _EVENTS, "epoll_pwait": _EVENTS, "epoll_pwait2": _EVENTS,
    "wait4": "do_wait", "waitid": "do_wait", "futex": "futex_do_wait", "futex_wait": "futex_do_wait",
    "futex_waitv": "futex_wait_multiple", "semop": "__do_semtimedop", "semtimedop": "__do_semtimedop",
    "msgrcv": "do_msgrcv", "msgsnd": "do_msgsnd", "rt_sigtimedwait": "do_sigtimedwait.isra.0",
    "rt_sigsuspend": "sigsuspend.isra.0", "flock": "locks_lock_inode_wait", "fcntl": "fcntl_setlk",
    "open": "wait_for_partner", "openat": "wait_for_partner", "openat2": "wait_for_partner", "vfork": "kernel_clone",
    "clone": "kernel_clone", "clone3": "kernel_clone", "mq_timedreceive": "wq_sleep", "mq_timedsend": "wq_sleep",
    "io_getevents": "read_events", "io_pgetevents": "read_events", "splice": "pipe_wait_readable",
    "tee": "pipe_wait_readable", "vmsplice": "pipe_wait_writable", "sendfile": "pipe_wait_writable",
}  # fmt: skip
_WRITES = frozenset({"write", "writev", "pwritev2", "sendto", "sendmsg", "sendmmsg"})
_FUTEX_LOCK_PI, _FUTEX_LOCK_PI2, _COMMAND = 6, 13, 0x7F


def wchan(kernel: Kernel, task: Task) -> bytes:
    """/proc/PID/wchan; "0" for a task that runs, and for who may not look."""
    reader = kernel.current
    if reader is not None and not may_access(reader, task):
        return b"0"
    if task.state == TaskState.STOPPED:
        return b"do_signal_stop"
    if task.state == TaskState.TRACED:
        return b"ptrace_stop"
    if task.state == TaskState.FROZEN:
        return b"get_signal"
    if task.state != TaskState.SLEEPING or task.syscall is None:
        return b"0"
    number, registers = task.syscall
    row = kernel.entry.lookup(number)
    name = "" if row is None else row.name
    if name == "futex" and registers[1] & _COMMAND in (_FUTEX_LOCK_PI, _FUTEX_LOCK_PI2):
        return b"rt_mutex_schedule"
    known = _OF_CALLS.get(name)
    if known is None:
        try:
            known = _of_file(task.files.get_any(registers[0]), name)
        except LinuxError:
            known = "0"
    return known.encode()


def _of_file(file: File, call: str) -> str:
    """Where calls on a file wait."""
    writes = call in _WRITES
    if isinstance(file, PipeFile):
        return "anon_pipe_write" if writes else "anon_pipe_read"
    if isinstance(file, EventFd | TimerFd):
        return "do_wait_intr_irq"
    if isinstance(file, SignalFd):
        return "signalfd_read_iter"
    if not isinstance(file, Socket):
        return "wait_woken"  # terminals, inotify
    if isinstance(file, InetSocket):
        if call in ("accept", "accept4"):
            return "inet_csk_accept"
        return "wait_woken" if file.is_stream else "sock_alloc_send_pskb" if writes else _PACKETS
    if writes:
        return "sock_alloc_send_pskb"
    return "unix_stream_read_generic" if file.is_stream and call not in ("accept", "accept4") else _PACKETS
