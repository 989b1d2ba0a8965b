"""The files of /proc/PID about a process as a whole (fs/proc/array.c, base.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.kernel.rlimit import limits_of
from emu.kernel.signal_state import SIG_DFL, SIG_IGN, mask_of
from emu.kernel.task import Task
from emu.kernel.threadgroup import ThreadGroup
from emu.kernel.timing import process_times_ns
from emu.linux.caller import may_access
from emu.linux.errors import LinuxError
from emu.linux.limits import Rlimit
from emu.mm.gup import read_remote
from emu.proc.pidfile import PidFile, sees

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.linux.pidns import PidNamespace

#: Nanoseconds in a tick of USER_HZ.
_TICK_NS = 10_000_000
#: The priority of an ordinary process with the nice value 0.
_PRIORITY = 20


def stat(kernel: Kernel, task: Task, space: PidNamespace | None) -> bytes:
    """/proc/PID/stat, whose fields proc_pid_stat(5) numbers, as a PID namespace sees it.  Places are for those only who
    may look into the process.
    """
    mm, group, usage, children = task.mm, task.group, task.group.usage(), task.group.children_usage
    times = (*process_times_ns(kernel, group), children.instructions, children.system_ns)
    signals = task.signals
    permitted = kernel.current is None or may_access(kernel.current, task)
    code = ((mm.start_code, mm.end_code, mm.start_stack) if permitted else (1, 1, 0)) if task.alive else (0, 0, 0)
    places = (mm.start_data, mm.end_data, mm.start_brk, mm.arg_start, mm.arg_end, mm.env_start, mm.env_end)
    fields = (
        task.state_letter, *(sees(space, pid) for pid in (task.ppid, task.pgid, task.sid)),  # 3-6
        *_terminal(group, space), 0x400000,  # 7-9
        usage.min_flt, children.min_flt, usage.maj_flt, children.maj_flt,  # 10-13
        *(time // _TICK_NS for time in times),  # 14-17
        *_priority(task), len(group.threads), 0, (task.started_ns + kernel.ns.time.boottime) // _TICK_NS,  # 18-22
        mm.total_bytes, mm.rss_anon + mm.rss_cache, limits_of(task, Rlimit.RSS)[0],  # 23-25
        *code, 0, 0,  # 26-30: no registers
        mask_of(signals.pending), signals.blocked, _handled(task, ignored=True), _handled(task, ignored=False),  # 31-34
        0, 0, 0, group.exit_signal if task.pid == task.tgid else -1, task.cpu,  # 35-39
        task.scheduling.priority, task.scheduling.policy, 0, 0, 0,  # 40-44
        *(places if permitted and task.alive else (0,) * len(places)), task.exit_code if permitted else 0,  # 45-52
    )  # fmt: skip
    return f"{sees(space, task.pid)} ({task.comm}) {' '.join(map(str, fields))}\n".encode("utf-8", "surrogateescape")


def _terminal(group: ThreadGroup, space: PidNamespace | None) -> tuple[int, int]:
    """The controlling terminal and its foreground process group."""
    tty = group.tty
    if tty is None:
        return 0, -1
    return tty.rdev, sees(space, tty.pgrp) if tty.pgrp else -1


def _priority(task: Task) -> tuple[int, int]:
    """Priority and nice value; a real-time task has a negative priority."""
    scheduling = task.scheduling
    return -1 - scheduling.priority if scheduling.priority else _PRIORITY + scheduling.nice, scheduling.nice


def _handled(task: Task, *, ignored: bool) -> int:
    """The low 31 signals that are ignored, or caught, as a mask."""
    mask = 0
    for number, action in enumerate(task.signals.actions[1:32]):
        if (action.handler == SIG_IGN) if ignored else (action.handler not in (SIG_DFL, SIG_IGN)):
            mask |= 1 << number
    return mask


def environ(kernel: Kernel, task: Task) -> bytes:
    """/proc/PID/environ: where the environment was at execve."""
    mm = task.mm
    if not task.alive or mm.env_end <= mm.env_start:
        return b""
    try:
        return read_remote(mm, mm.env_start, mm.env_end - mm.env_start, force=True)
    except LinuxError as error:
        raise LinuxError(errno.EIO if error.errno == errno.EFAULT else error.errno) from None


def auxv(kernel: Kernel, task: Task) -> bytes:
    """/proc/PID/auxv."""
    return task.mm.auxv if task.alive else b""


def loadavg(kernel: Kernel) -> bytes:
    """/proc/loadavg: the averages are what is runnable now; process 1 is a task too."""
    runnable = sum(vcpu.load for vcpu in kernel.scheduler.vcpus)
    last = max(kernel.tasks, default=0)
    return f"{runnable}.00 {runnable}.00 {runnable}.00 {runnable}/{len(kernel.tasks) + 1} {last}\n".encode()


def mounts(kernel: Kernel, task: Task) -> bytes:
    """/proc/PID/mounts."""
    return kernel.vfs.mounts(task.fs.root).encode("utf-8", "surrogateescape")


def mountinfo(kernel: Kernel, task: Task) -> bytes:
    """/proc/PID/mountinfo."""
    return kernel.vfs.mountinfo(task.fs.root).encode("utf-8", "surrogateescape")


def mountstats(kernel: Kernel, task: Task) -> bytes:
    """/proc/PID/mountstats."""
    return kernel.vfs.mountstats(task.fs.root).encode("utf-8", "surrogateescape")


PID_FILES = {
    "auxv": PidFile(auxv, 0o400), "environ": PidFile(environ, 0o400), "mountinfo": PidFile(mountinfo),
    "mounts": PidFile(mounts), "mountstats": PidFile(mountstats, 0o400), "stat": PidFile(None, with_numbers=stat),
}  # fmt: skip
