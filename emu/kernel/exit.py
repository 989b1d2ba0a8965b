"""The end of a process, and waiting for it (kernel/exit.c)."""

from __future__ import annotations

import errno
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from emu.kernel.errors import LinuxError
from emu.kernel.signal_state import CLD_EXITED, CLD_KILLED, SIG_IGN, SaFlags, Sig, SigInfo
from emu.kernel.task import Task, TaskState

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel

WNOHANG = 1


def do_exit(kernel: Kernel, task: Task, status: int) -> None:
    """End a task: give back everything, tell the parent.  ``status`` is the word that wait4 will give."""
    task.exit_code = status
    kernel.tracer.exit(task, status)
    task.state = TaskState.ZOMBIE
    kernel.scheduler.remove(task)
    if task.sleeping is not None:
        task.sleeping.close()
        task.sleeping = None
    if task.clear_child_tid:
        try:
            task.mm.write_u32(task.clear_child_tid, 0)
        except LinuxError:
            pass  # as the kernel does: the address is the guest's affair
        kernel.futexes.wake_word(task.mm, task.clear_child_tid)
    if task.alarm is not None:
        kernel.clock.cancel(task.alarm[1])
    if task is kernel.current:
        kernel.scheduler.account(task)
    kernel.remember(task)
    for hook in kernel.exit_hooks:
        hook(task)
    task.files.put()
    task.mm.put()
    if task.vfork_done is not None:
        task.vfork_done.wake_all()
        task.vfork_done = None
    for child in list(task.children.values()):
        child.parent, child.ppid = None, 1
        if child.state == TaskState.ZOMBIE:
            release(kernel, child)
    task.children.clear()
    notify_parent(kernel, task)


def notify_parent(kernel: Kernel, task: Task) -> None:
    """SIGCHLD and the wake-up; a parent that ignores SIGCHLD, or that there is none, means the zombie goes at once."""
    parent = task.parent
    if parent is None:
        release(kernel, task)
        return
    action = parent.signals.actions[Sig.CHLD]
    reaped = task.exit_signal == Sig.CHLD and (action.handler == SIG_IGN or action.flags & SaFlags.NOCLDWAIT)
    signo = task.exit_code & 0x7F
    if signo:
        info = SigInfo(Sig.CHLD, CLD_KILLED, pid=task.pid, status=signo)
    else:
        info = SigInfo(Sig.CHLD, CLD_EXITED, pid=task.pid, status=task.exit_code >> 8)
    if task.exit_signal and action.handler != SIG_IGN:
        kernel.signals.send(parent, task.exit_signal, info if task.exit_signal == Sig.CHLD else None)
    if reaped:
        release(kernel, task)
    parent.child_exit.wake_all()


def release(kernel: Kernel, task: Task) -> None:
    """Forget a zombie."""
    task.state = TaskState.DEAD
    del kernel.tasks[task.pid]
    if task.parent is not None:
        task.parent.children.pop(task.pid, None)
        usage = task.parent.children_usage
        usage.add(task.usage)
        usage.add(task.children_usage)


def do_wait(kernel: Kernel, task: Task, pid: int, options: int) -> Generator[Any, None, Task | None]:
    """The child that has ended and matches ``pid`` as in wait4(2), after waiting for it; None with WNOHANG if none
    has yet.

    LinuxError(ECHILD) if there is no such child.  The child is still a zombie: the caller releases it.
    """
    while True:
        candidates = [child for child in task.children.values() if _matches(task, child, pid)]
        if not candidates:
            raise LinuxError(errno.ECHILD)
        for child in candidates:
            if child.state == TaskState.ZOMBIE:
                return child
        if options & WNOHANG:
            return None
        yield task.child_exit


def _matches(task: Task, child: Task, pid: int) -> bool:
    if pid > 0:
        return child.pid == pid
    if pid == -1:
        return True
    return child.pgid == (task.pgid if pid == 0 else -pid)
