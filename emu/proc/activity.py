"""Files of /proc/PID about what a process does: io, sched, syscall, timers and others (fs/proc/base.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.kernel.task import INIT_PID
from emu.kernel.timers import Notify
from emu.linux.errors import LinuxError
from emu.proc.pidfile import PidFile, sees
from emu.proc.wchan import wchan

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.pidns import PidNamespace

_MS = 1_000_000


def io(kernel: Kernel, task: Task) -> bytes:
    """/proc/PID/io: what calls have read and written; nothing comes from a disk."""
    usage = task.group.usage()
    names = ("rchar", "wchar", "syscr", "syscw")
    text = "".join(f"{name}: {getattr(usage, name)}\n" for name in names)
    return (text + "read_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n").encode()


def _run_ns(kernel: Kernel, task: Task) -> int:
    running = kernel.scheduler.running_instructions() if kernel.current is task else 0
    return task.usage.cpu_ns + running


def schedstat(kernel: Kernel, task: Task) -> bytes:
    """/proc/PID/schedstat: time on a vCPU; how long it waited for one is not measured; turns."""
    switches = task.usage.voluntary_switches + task.usage.involuntary_switches
    return f"{_run_ns(kernel, task)} 0 {switches}\n".encode()


def sched(kernel: Kernel, task: Task, space: PidNamespace | None) -> bytes:
    """/proc/PID/sched: those lines for which there is a figure."""
    usage, scheduling = task.usage, task.scheduling
    switches = usage.voluntary_switches + usage.involuntary_switches
    run = divmod(_run_ns(kernel, task), _MS)
    started = divmod(task.started_ns, _MS)
    priority = 99 - scheduling.priority if scheduling.priority else 120 + scheduling.nice
    figures = {
        "se.exec_start": f"{started[0]}.{started[1]:06}", "se.sum_exec_runtime": f"{run[0]}.{run[1]:06}",
        "nr_switches": switches, "nr_voluntary_switches": usage.voluntary_switches,
        "nr_involuntary_switches": usage.involuntary_switches, "policy": scheduling.policy, "prio": priority,
    }  # fmt: skip
    head = f"{task.comm} ({sees(space, task.pid)}, #threads: {len(task.group.threads)})\n{'-' * 67}\n"
    return (head + "".join(f"{name:<45}:{value!s:>21}\n" for name, value in figures.items())).encode()


def syscall(kernel: Kernel, task: Task) -> bytes:
    """/proc/PID/syscall: the call in which it is, or ``running``."""
    if not task.alive:
        raise LinuxError(errno.ESRCH)
    if task.syscall is None or task.sleeping is None:
        if task is not kernel.current:
            return b"running\n"
        _, number, registers = kernel.cpu.syscall_registers()
        arguments: tuple[int, ...] = registers
        stack = kernel.cpu.stack_pointer
    else:
        number, arguments = task.syscall
        stack = task.syscall_rsp
    words = " ".join(f"{value & (1 << 64) - 1:#x}" for value in (*arguments, stack, task.rip))
    return f"{number} {words}\n".encode()


def timers(kernel: Kernel, task: Task, space: PidNamespace | None) -> bytes:
    """/proc/PID/timers: the POSIX timers of the process."""
    found = task.group.timers
    if found is None:
        return b""
    words = {Notify.SIGNAL: "signal", Notify.NONE: "none", Notify.THREAD: "thread", Notify.THREAD_ID: "signal"}
    text = ""
    for number, timer in sorted(found.posix.items()):
        kind = "tid" if timer.notify == Notify.THREAD_ID else "pid"
        text += (
            f"ID: {number}\nsignal: {timer.signo}/{timer.value:016x}\n"
            f"notify: {words[timer.notify]}/{kind}.{sees(space, task.tgid)}\nClockID: {timer.clockid}\n"
        )
    return text.encode()


def children(kernel: Kernel, task: Task, space: PidNamespace | None) -> bytes:
    """/proc/PID/task/TID/children: those that the thread has made."""
    if task.pid == INIT_PID:
        everyone = sorted(kernel.tasks.items())
        made = [other for _, other in everyone if other is other.group.leader and other.group.parent is None]
    else:
        made = [child for pid, child in sorted(task.children.items()) if child.group.maker in (task, None)]
    return "".join(f"{sees(space, child.pid)} " for child in made).encode()


PID_FILES = {
    "children": PidFile(None, of_process=False, with_numbers=children), "io": PidFile(io, 0o400),
    "sched": PidFile(None, 0o644, lambda kernel, task, data: None, with_numbers=sched),
    "schedstat": PidFile(schedstat), "syscall": PidFile(syscall, 0o400),
    "timers": PidFile(None, of_thread=False, with_numbers=timers, private=True),
    "stack": PidFile(lambda kernel, task: b"", 0o400), "wchan": PidFile(wchan),
}  # fmt: skip
