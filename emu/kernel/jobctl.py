"""Job control: stopping and continuing processes, process groups and who is left to continue them (kernel/signal.c,
kernel/exit.c).

One kernel lock holds, so a group stop is done at once: the thread that takes the stop signal stops the others too.  A
thread that sleeps in a call stops where it sleeps, and the call looks at its condition again when the process goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from emu.kernel.signal_state import CLD_CONTINUED, CLD_STOPPED, SIG_IGN, STOPS_BY_DEFAULT, SaFlags, Sig, SigInfo

if TYPE_CHECKING:
    from emu.kernel.sched import Scheduler
    from emu.kernel.signal_state import SigPending
    from emu.kernel.task import Task
    from emu.kernel.threadgroup import ThreadGroup

#: Signals that act when they are sent: SIGCONT continues, whatever becomes of it, and a stop signal cancels it.
FIRST, LAST = int(Sig.CONT), int(Sig.TTOU)
_STOPS = frozenset(map(int, STOPS_BY_DEFAULT))


class JobControl:
    """The job-control side of a kernel.  ``send`` sends a signal to the process of a task."""

    def __init__(
        self,
        tasks: Mapping[int, Task],
        scheduler: Scheduler,
        send: Callable[[Task, int, SigInfo | None], None],
    ) -> None:
        self._tasks = tasks
        self._scheduler = scheduler
        self._send = send
        #: Told of a process that the machine's owner has started, and that has stopped.
        self.on_stopped: Callable[[ThreadGroup], object] = lambda group: None

    # -- stopping and continuing -----------------------------------------------------------------------------------

    def prepare(self, group: ThreadGroup, signo: int) -> None:
        """A signal is about to be sent to a process: stop signals and SIGCONT cancel each other, and SIGCONT continues
        it, even if it is blocked or ignored (prepare_signal).
        """
        if signo == Sig.CONT:
            self.flush(group, _STOPS)
            self._continue(group)
        elif signo in _STOPS:
            self.flush(group, frozenset({int(Sig.CONT)}))

    def killed(self, group: ThreadGroup) -> None:
        """SIGKILL: a stopped process goes on to its end, and so does one that its tracer has stopped."""
        if group.stopped_by:
            self._resume(group)
        for thread in group.threads.values():
            if thread.frozen:
                thread.frozen = False
                self._scheduler.resume(thread)
            if thread.ptrace is not None:
                thread.ptrace.killed()

    def stop(self, task: Task, signo: int) -> bool:
        """A task has taken a stop signal without a handler: its process stops, and its parent is told (do_signal_stop).

        False if nobody is there who could continue it: then SIGTSTP, SIGTTIN and SIGTTOU do nothing.
        """
        group = task.group
        if signo != Sig.STOP and self.orphaned(group.pgid, group.sid):
            return False
        group.stopped_by = group.stop_code = signo
        group.continued = False
        group.tell_parent()
        for thread in group.threads.values():
            thread.stopped_in_call = thread.sleeping is not None
            if thread.ptrace is None:
                self._scheduler.suspend(thread)
            elif thread.ptrace.kind is None:
                thread.ptrace.stop_of_group()
        self._notify(group, CLD_STOPPED, signo)
        if group.launched:
            self.on_stopped(group)
        return True

    def _continue(self, group: ThreadGroup) -> None:
        if not group.stopped_by:
            return
        self._resume(group)
        group.continued = True
        group.tell_parent()
        self._notify(group, CLD_CONTINUED, Sig.CONT)

    def _resume(self, group: ThreadGroup) -> None:
        group.stopped_by = group.stop_code = 0
        for thread in group.threads.values():
            if thread.ptrace is None:
                self._scheduler.resume(thread)
            else:
                thread.ptrace.continued()

    def _notify(self, group: ThreadGroup, code: int, status: int) -> None:
        """Tell the parent of a stop, or that it is over (do_notify_parent_cldstop)."""
        parent = group.parent
        if parent is None:
            return
        action = parent.leader.signals.actions[Sig.CHLD]
        if action.handler != SIG_IGN and not action.flags & SaFlags.NOCLDSTOP:
            uid = group.leader.credentials.uid
            self._send(parent.leader, Sig.CHLD, SigInfo(Sig.CHLD, code, pid=group.tgid, uid=uid, status=status))
        parent.child_exit.wake_all()

    @staticmethod
    def flush(group: ThreadGroup, signals: frozenset[int]) -> None:
        """Pending signals that will not be delivered; a timer whose signal was one waits (flush_sigqueue_mask)."""
        queues: list[SigPending] = [group.pending, *(thread.signals.pending for thread in group.threads.values())]
        for queue in queues:
            for info in [info for info in queue if info.signo in signals]:
                queue.dequeue(info)
                if info.timer is not None:
                    info.timer.ignored()

    # -- process groups --------------------------------------------------------------------------------------------

    def processes(self) -> Iterator[ThreadGroup]:
        """Every process, zombies included."""
        return (task.group for task in list(self._tasks.values()) if task is task.group.leader)

    def members(self, pgid: int) -> list[ThreadGroup]:
        """The processes of a group."""
        return [group for group in self.processes() if group.pgid == pgid]

    def signal_group(self, pgid: int, signo: int, info: SigInfo | None = None) -> bool:
        """The kernel sends a signal to every process of a group; whether there was one (kill_pgrp)."""
        members = self.members(pgid)
        for group in members:
            self._send(group.leader, signo, info)
        return bool(members)

    def orphaned(self, pgid: int, sid: int, but: ThreadGroup | None = None) -> bool:
        """Whether no process of a group (``but`` this one) has a parent in another group of its session, which could
        continue it (will_become_orphaned_pgrp).  The machine's owner is such a parent of what was started from outside.
        """
        return not any(_cared_for(group, pgid) for group in self.members(pgid) if group is not but and group.alive)

    def leave(self, group: ThreadGroup) -> None:
        """A process ends, its children still know it: groups that nobody can continue any more, and in which a process
        is stopped, get SIGHUP and SIGCONT (exit_notify).
        """
        for child in [child.group for child in group.children.values()]:
            if child.pgid != group.pgid and child.sid == group.sid:
                self._hang_up(child, [member for member in self.members(child.pgid) if member.parent is not group])
        if _cared_for(group, group.pgid):
            self._hang_up(group, [member for member in self.members(group.pgid) if member is not group])

    def _hang_up(self, group: ThreadGroup, left: list[ThreadGroup]) -> None:
        if any(_cared_for(member, group.pgid) for member in left if member.alive):
            return
        if any(member.stopped_by for member in self.members(group.pgid)):
            self.signal_group(group.pgid, Sig.HUP)
            self.signal_group(group.pgid, Sig.CONT)


def _cared_for(group: ThreadGroup, pgid: int) -> bool:
    """Whether a process has a parent in another group of its session."""
    parent = group.parent
    if parent is None:
        return group.launched and not group.leads_session
    return parent.pgid != pgid and parent.sid == group.sid
