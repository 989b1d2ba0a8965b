"""The end of threads and processes (kernel/exit.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.kernel.creds import may_signal
from emu.kernel.futex import exit_robust_list
from emu.kernel.signal_state import CLD_DUMPED, CLD_EXITED, CLD_KILLED, NSIG, SIG_IGN, SaFlags, SiCode, Sig, SigInfo
from emu.kernel.task import Task, TaskState
from emu.linux.errors import LinuxError

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.threadgroup import ThreadGroup
    from emu.linux.pidns import PidNamespace


#: nsec_to_clock_t().
_TICK_NS = 10_000_000
_NOCLDWAIT = int(SaFlags.NOCLDWAIT)


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
    kernel.namespaces.leaving += 1  # it is in its own until everything is given up
    kernel.scheduler.remove(task)
    if task.sleeping is not None:
        task.sleeping.close()
        task.sleeping = None
    if task is kernel.scheduler.current:
        kernel.scheduler.account(task)
    release_memory(kernel, task)
    if task.cgroup is not None:
        kernel.cgroups.exited(task)
    del group.threads[task.pid]
    _leave_children_of_thread(kernel, task)
    for hook in kernel.thread_exit_hooks:
        hook(task)
    if not group.threads:
        _end_process(kernel, task, status)
    task.files.put()
    task.usage.max_rss = max(task.usage.max_rss, task.mm.peak)
    task.mm.put()
    task.free_stack()
    if task.vfork_done is not None:
        vfork_done(task)
    if not group.threads:
        _leave_family(kernel, group)
    if group.tracees:
        for tracee in [traced.ptrace for traced in group.tracees]:
            if tracee is not None and tracee.tracer is task:
                tracee.tracer_ended()
    if task is not group.leader:  # nobody waits for a thread, but its tracer
        group.ended_usage.add(task.usage)
        if task.ptrace is not None:
            task.ptrace.ended(status if group.exiting is None else group.exiting)
        else:
            _forget_thread(kernel, task)
    _tell_watchers(task)
    if not group.threads and task is not group.leader:
        _tell_watchers(group.leader)
    kernel.namespaces.leaving -= 1
    kernel.namespaces.sweep()


def _forget_thread(kernel: Kernel, task: Task) -> None:
    task.state = TaskState.DEAD
    del kernel.tasks[task.pid]
    kernel.pids.unused(task, task.pid)
    if task.cgroup is not None:
        kernel.cgroups.released(task)
    task.free()


def reap_traced(kernel: Kernel, task: Task) -> None:
    """The tracer of a task knows that it has ended: a thread is forgotten, and a process is its parent's affair."""
    if task.ptrace is not None:
        task.ptrace.unlink()
    if task is not task.group.leader:
        _forget_thread(kernel, task)
    elif task.group.waitable:
        notify_parent(kernel, task.group)


def _leave_children_of_thread(kernel: Kernel, task: Task) -> None:
    """Children of a thread that ends get the signal that they have asked for, and belong to another thread from now on
    (forget_original_parent).
    """
    children = task.group.children
    if not children:
        return
    heir = next(iter(task.group.threads.values()), None)
    for child in [child.group for child in children.values() if child.group.maker is task]:
        child.maker = heir
        for thread in list(child.threads.values()):
            if thread.pdeath_signal and may_signal(task, thread, thread.pdeath_signal):
                info = SigInfo(thread.pdeath_signal, SiCode.USER, pid=task.tgid, uid=task.credentials.uid)
                kernel.signals.send_to_process(thread, thread.pdeath_signal, info)


def _tell_watchers(task: Task) -> None:
    for watchers in (task.end_watchers, task.group.end_watchers if task is task.group.leader else None):
        if watchers is not None:
            watchers.wake_all()


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
    if kernel.futexes.pi:
        from emu.kernel.pifutex import exit_pi_states  # few programs have such locks

        exit_pi_states(kernel.futexes, task)
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
    """The process has ended: its children get another parent or none, and its own parent is notified."""
    kernel.jobs.leave(group)
    ns = group.leader.pid_ns
    is_init = ns is not None and ns.find(1) == group.tgid
    if ns is not None and is_init:
        _end_pid_namespace(kernel, ns, group)
    reaper = group.parent
    while reaper is not None and reaper.leader.pid_ns is ns and not (reaper.subreaper and reaper.threads):
        reaper = reaper.parent
    if ns is not None and (reaper is None or reaper.leader.pid_ns is not ns):
        init = None if ns.ended else kernel.tasks.get(ns.find(1))  # which does not outlive its children
        reaper = None if init is None else init.group
    for child in list(group.children.values()):
        _reparent(kernel, child.group, reaper)
    group.children.clear()
    group.news.clear()
    if ns is not None and is_init and _members(kernel, ns, group):
        group.outlived = True
    else:
        notify_parent(kernel, group)


def _end_pid_namespace(kernel: Kernel, ns: PidNamespace, init: ThreadGroup) -> None:
    """The first process of a PID namespace has ended: all others end too (zap_pid_ns_processes)."""
    ns.ended = True
    if ns.reboot:
        init.exit_code = ns.reboot
    for other in list(kernel.tasks.values()):
        if other.alive and other.pid_ns is not None and ns in other.pid_ns.around:
            do_group_exit(kernel, other, Sig.KILL)


def _members(kernel: Kernel, ns: PidNamespace, init: ThreadGroup) -> bool:
    """Whether a PID namespace has tasks, be they zombies, besides its first process."""
    others = (task for task in kernel.tasks.values() if task.group is not init and task.pid_ns is not None)
    return any(task.pid_ns is not None and ns in task.pid_ns.around for task in others)


def _member_gone(kernel: Kernel, task: Task) -> None:
    """A task is forgotten: the first process of its PID namespace may have waited for that with its own end."""
    for ns in () if task.pid_ns is None else task.pid_ns.around:
        init = kernel.tasks.get(ns.find(1)) if ns.ended else None
        if init is not None and init.group.outlived and not _members(kernel, ns, init.group):
            init.group.outlived = False
            notify_parent(kernel, init.group)


def _reparent(kernel: Kernel, group: ThreadGroup, reaper: ThreadGroup | None) -> None:
    """A process loses its parent; an ancestor that has asked for it adopts it (PR_SET_CHILD_SUBREAPER)."""
    group.parent = reaper
    group.exit_signal = Sig.CHLD
    if reaper is None:
        group.ppid, group.maker = 1, None
        if group.waitable:
            release(kernel, group.leader)
        return
    group.ppid, group.maker = reaper.tgid, next(iter(reaper.threads.values()))
    reaper.adopt(group)
    if group.waitable:
        notify_parent(kernel, group)


def notify_parent(kernel: Kernel, group: ThreadGroup) -> None:
    """Send SIGCHLD and wake the parent.  Without a parent, or if it ignores SIGCHLD, the zombie is released at once."""
    parent, tracee = group.parent, group.leader.ptrace
    group.tell_parent()
    if tracee is not None and tracee.tracer.group is not parent:
        tracee.ended(group.exit_code)
        return
    if parent is None:
        release(kernel, group.leader)
        return
    action = parent.leader.signals.actions[Sig.CHLD]
    reaped = group.exit_signal == Sig.CHLD and (action.handler == SIG_IGN or action.flags & _NOCLDWAIT)
    signo, uid = group.exit_code & 0x7F, group.leader.credentials.uid
    code, status = CLD_EXITED, group.exit_code >> 8
    if signo:
        code, status = CLD_DUMPED if group.exit_code & 0x80 else CLD_KILLED, signo
    usage = group.usage()
    info = SigInfo(
        Sig.CHLD, code, pid=group.tgid, uid=uid, status=status,
        utime=usage.instructions // _TICK_NS, stime=usage.system_ns // _TICK_NS,
    )  # fmt: skip
    if 0 < group.exit_signal <= NSIG and action.handler != SIG_IGN:
        told = info if group.exit_signal == Sig.CHLD else None
        kernel.signals.send_to_process(parent.leader, group.exit_signal, told)
    if reaped:
        release(kernel, group.leader)
    parent.child_exit.wake_all()


def release(kernel: Kernel, leader: Task) -> None:
    """Forget a zombie process."""
    leader.state = TaskState.DEAD
    if leader.ptrace is not None:
        leader.ptrace.unlink()
    _tell_watchers(leader)
    del kernel.tasks[leader.pid]
    kernel.pids.unused(leader, leader.pid)
    leader.group.pending.flush()
    if leader.cgroup is not None:
        kernel.cgroups.released(leader)
    leader.free()
    parent = leader.group.parent
    if parent is not None:
        parent.children.pop(leader.pid, None)
        parent.news.discard(leader.pid)
        parent.children_usage.add(leader.group.usage())
        parent.children_usage.add(leader.group.children_usage)
    _member_gone(kernel, leader)


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
    if leader.ptrace is not None:
        leader.ptrace.unlink()
    if leader.cgroup is not None:
        kernel.cgroups.released(leader)
    leader.free()
    del kernel.tasks[task.pid], group.threads[task.pid]
    kernel.pids.unused(task, task.pid)
    task.pid = leader.pid
    kernel.tasks[task.pid] = group.threads[task.pid] = group.leader = task
    if group.parent is not None:
        group.parent.children[task.pid] = task
