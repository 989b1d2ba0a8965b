"""The end of threads and processes, and waiting for them (kernel/exit.c)."""

from __future__ import annotations

import errno
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from emu.kernel.futex import exit_robust_list
from emu.kernel.signal_state import CLD_EXITED, CLD_KILLED, NSIG, SIG_IGN, SaFlags, Sig, SigInfo
from emu.kernel.task import Task, TaskState
from emu.linux.errors import LinuxError

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import ThreadGroup

WNOHANG = 1


def do_group_exit(kernel: Kernel, task: Task, status: int) -> None:
    """End every thread of a process (exit_group, a fatal signal).  ``status`` is the word that wait4 will give, unless
    another thread has already ended the process.
    """
    group = task.group
    if group.exiting is None:
        group.exiting = status
    for other in list(group.threads.values()):
        if other is not task:
            do_exit(kernel, other, group.exiting)
    if task.alive:
        do_exit(kernel, task, group.exiting)


def do_exit(kernel: Kernel, task: Task, status: int, *, told: bool = True) -> None:
    """End one thread; with the last one the process ends: its resources are freed and its parent is notified.

    ``status``: the process's status word if this is the last thread.  ``told``: whether the tracer is told of the exit.
    """
    group = task.group
    if told:
        kernel.tracer.exit(task, status)
    task.state = TaskState.ZOMBIE
    kernel.scheduler.remove(task)
    if task.sleeping is not None:
        task.sleeping.close()
        task.sleeping = None
    if task is kernel.current:
        kernel.scheduler.account(task)
    release_memory(kernel, task)
    del group.threads[task.pid]
    for hook in kernel.thread_exit_hooks:
        hook(task)
    if not group.threads:
        _end_process(kernel, task, status)
    task.files.put()
    task.mm.put()
    vfork_done(task)
    if not group.threads:
        _leave_family(kernel, group)
    if task is not group.leader:  # nobody waits for a thread
        group.ended_usage.add(task.usage)
        task.state = TaskState.DEAD
        del kernel.tasks[task.pid]
        task.free()
    _tell_watchers(task)
    if not group.threads and task is not group.leader:
        _tell_watchers(group.leader)


def _tell_watchers(task: Task) -> None:
    if task.end_watchers is not None:
        task.end_watchers.wake_all()


def _end_process(kernel: Kernel, last: Task, status: int) -> None:
    """The last thread has ended, and its memory is still there."""
    group = last.group
    group.exit_code = status if group.exiting is None else group.exiting
    if group.timers is not None:
        group.timers.stop()
    for hook in kernel.exit_hooks:
        hook(last)


def release_memory(kernel: Kernel, task: Task) -> None:
    """A task is about to leave its address space (mm_release): robust futexes that it held are marked, and waiters for
    its end are woken.
    """
    if task.robust_list:
        exit_robust_list(kernel.futexes, task)
        task.robust_list = 0
    if task.clear_child_tid:
        if task.mm.users > 1:  # as the kernel does: otherwise nobody could see the write
            try:
                task.mm.write_u32(task.clear_child_tid, 0)
            except LinuxError:
                pass  # as the kernel does: the address is the guest's affair
            kernel.futexes.wake_word(task.mm, task.clear_child_tid)
        task.clear_child_tid = 0


def vfork_done(task: Task) -> None:
    """The task has left the memory that its parent lent it (vfork)."""
    if task.vfork_done is not None:
        task.vfork_done.wake_all()
        task.vfork_done = None


def _leave_family(kernel: Kernel, group: ThreadGroup) -> None:
    """The process has ended: its children lose their parent, and its own parent is notified."""
    for child in list(group.children.values()):
        child.group.parent, child.group.ppid = None, 1
        if child.group.waitable:
            release(kernel, child)
    group.children.clear()
    notify_parent(kernel, group)


def notify_parent(kernel: Kernel, group: ThreadGroup) -> None:
    """Send SIGCHLD and wake the parent.  Without a parent, or if it ignores SIGCHLD, the zombie is released at once."""
    parent = group.parent
    if parent is None:
        release(kernel, group.leader)
        return
    action = parent.leader.signals.actions[Sig.CHLD]
    reaped = group.exit_signal == Sig.CHLD and (action.handler == SIG_IGN or action.flags & SaFlags.NOCLDWAIT)
    signo = group.exit_code & 0x7F
    if signo:
        info = SigInfo(Sig.CHLD, CLD_KILLED, pid=group.tgid, status=signo)
    else:
        info = SigInfo(Sig.CHLD, CLD_EXITED, pid=group.tgid, status=group.exit_code >> 8)
    if 0 < group.exit_signal <= NSIG and action.handler != SIG_IGN:
        told = info if group.exit_signal == Sig.CHLD else None
        kernel.signals.send_to_process(parent.leader, group.exit_signal, told)
    if reaped:
        release(kernel, group.leader)
    parent.child_exit.wake_all()


def release(kernel: Kernel, leader: Task) -> None:
    """Forget a zombie process."""
    leader.state = TaskState.DEAD
    _tell_watchers(leader)
    del kernel.tasks[leader.pid]
    leader.group.pending.flush()
    leader.free()
    parent = leader.group.parent
    if parent is not None:
        parent.children.pop(leader.pid, None)
        parent.children_usage.add(leader.group.usage())
        parent.children_usage.add(leader.group.children_usage)


def de_thread(kernel: Kernel, task: Task) -> None:
    """execve: the other threads end, and the caller becomes the leader, with the leader's number."""
    group, leader = task.group, task.group.leader
    for other in list(group.threads.values()):
        if other is not task:
            do_exit(kernel, other, 0, told=other is not leader)
    if leader is task:
        return
    kernel.tracer.supersede(task, leader)
    group.ended_usage.add(leader.usage)
    leader.state = TaskState.DEAD
    leader.free()
    del kernel.tasks[task.pid], group.threads[task.pid]
    task.pid = leader.pid
    kernel.tasks[task.pid] = group.threads[task.pid] = group.leader = task
    if group.parent is not None:
        group.parent.children[task.pid] = task


def do_wait(kernel: Kernel, task: Task, pid: int, options: int) -> Generator[Any, None, Task | None]:
    """The child of this process that has ended and matches ``pid`` as in wait4(2), after waiting for it; None with
    WNOHANG if none has yet.

    LinuxError(ECHILD) if there is no such child.  The child is still a zombie: the caller releases it.
    """
    while True:
        candidates = [child for child in task.children.values() if _matches(task, child, pid)]
        if not candidates:
            raise LinuxError(errno.ECHILD)
        for child in candidates:
            if child.group.waitable:
                return child
        if options & WNOHANG:
            return None
        yield task.group.child_exit


def _matches(task: Task, child: Task, pid: int) -> bool:
    if pid > 0:
        return child.pid == pid
    if pid == -1:
        return True
    return child.pgid == (task.pgid if pid == 0 else -pid)
