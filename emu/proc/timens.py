"""/proc/PID/timens_offsets: what clocks are ahead for the children of a task (kernel/time/namespace.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.linux.capability import SYS_TIME
from emu.linux.errors import LinuxError
from emu.proc.pidfile import PidFile

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_NS = 1_000_000_000
#: KTIME_SEC_MAX.
_MOST = ((1 << 63) - 1) // _NS
_CLOCKS = {b"monotonic": "monotonic", b"1": "monotonic", b"boottime": "boottime", b"7": "boottime"}
_MOST_LINES, _PAGE = 2, 4096


def offsets(kernel: Kernel, task: Task) -> bytes:
    """Seconds and nanoseconds of each clock."""
    space = task.ns.time_for_children
    rows = (("monotonic", space.monotonic), ("boottime", space.boottime))
    return "".join(f"{name:<10} {ahead // _NS:>10} {ahead % _NS:>9}\n" for name, ahead in rows).encode()


def _parse(line: bytes) -> tuple[str, int]:
    words = line.split()
    try:
        clock, seconds, ns = _CLOCKS[words[0]], int(words[1]), int(words[2])
    except (IndexError, KeyError, ValueError):
        raise LinuxError(errno.EINVAL) from None
    if len(words) != 3 or not 0 <= ns < _NS:
        raise LinuxError(errno.EINVAL)
    if abs(seconds) > _MOST:
        raise LinuxError(errno.ERANGE)
    return clock, seconds * _NS + ns


def set_offsets(kernel: Kernel, task: Task, data: bytes) -> None:
    """proc_timens_set_offset().  LinuxError(EINVAL, EPERM, ERANGE), (EACCES) once a task is in the namespace."""
    lines = data.split(b"\0")[0].rstrip(b"\n").split(b"\n")
    if len(data) >= _PAGE:
        raise LinuxError(errno.EINVAL)
    wanted = [_parse(line) for line in lines[:_MOST_LINES]]
    space = task.ns.time_for_children
    if kernel.current is None or not kernel.current.credentials.capable_in(SYS_TIME, space.user):
        raise LinuxError(errno.EPERM)
    now = kernel.clock.now_ns()
    if any(not 0 <= (now + ahead) // _NS <= _MOST // 2 for _, ahead in wanted):
        raise LinuxError(errno.ERANGE)
    if space.frozen:
        raise LinuxError(errno.EACCES)
    for clock, ahead in wanted:
        setattr(space, clock, ahead)


PID_FILES = {"timens_offsets": PidFile(offsets, 0o644, set_offsets, of_thread=False)}
