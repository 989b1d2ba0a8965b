"""A process that does something and is watched from outside: how it ended, what it took, whether anything is left."""

from __future__ import annotations

import faulthandler
import os
import resource
import select
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

_WENT_WRONG = 99
_MAX_FILE = 256 << 20


@dataclass(frozen=True)
class End:
    """How a process ended."""

    #: Its exit status, or minus the signal.
    status: int
    #: Whether it had to be killed, because it did not end in time.
    killed: bool
    cpu_s: float
    peak_kib: int
    #: Whether processes of its were left behind (they have been ended).
    left: bool


def resident_kib() -> int:
    """What this process has in memory now."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() >> 10


def run_child(deed: Callable[[], object], limit_s: float, *, interrupt_s: float | None = None) -> End:
    """Fork, and have the child do it and end with status 0 (99 after an exception, which it prints); it leads a process
    group of its own.  After ``interrupt_s`` seconds it gets a SIGINT, after ``limit_s`` it is killed.
    """
    pid = os.fork()
    if pid == 0:
        _do(deed)
    pidfd = os.pidfd_open(pid)
    try:
        killed = not _wait(pidfd, pid, limit_s, interrupt_s)
        if killed:
            os.kill(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
    finally:
        os.close(pidfd)
    code = os.waitstatus_to_exitcode(status)
    return End(code, killed, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, _end_group(pid))


def _wait(pidfd: int, pid: int, limit_s: float, interrupt_s: float | None) -> bool:
    started = time.monotonic()
    if interrupt_s is not None:
        if select.select([pidfd], [], [], interrupt_s)[0]:
            return True
        os.kill(pid, signal.SIGINT)
    return bool(select.select([pidfd], [], [], max(0.0, limit_s - (time.monotonic() - started)))[0])


def _end_group(pid: int) -> bool:
    """Whether somebody is still in the process group; it is ended."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _do(deed: Callable[[], object]) -> None:
    """In the child; does not return."""
    status = _WENT_WRONG
    try:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_FILE, _MAX_FILE))
        faulthandler.enable()
        deed()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
