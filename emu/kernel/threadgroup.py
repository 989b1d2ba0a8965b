"""Processes: what the threads of one share (signal_struct)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.kernel.signal_state import SigPending
from emu.kernel.usage import Usage
from emu.linux.wait import WaitQueue
from mmu.record import field, record

if TYPE_CHECKING:
    from emu.ipc.key import Key
    from emu.kernel.task import Task
    from emu.kernel.timers import ProcessTimers
    from emu.tty.tty import Tty


@record(eq=False, repr=False)
class ThreadGroup:
    """One process.

    ``tgid`` is its number, that of the leader; ``threads`` are the tasks that have not ended, by tid.  The leader may
    have ended before the others: then it stays a zombie until the last of them ends.
    """

    tgid: int
    ppid: int
    pgid: int
    sid: int
    parent: ThreadGroup | None = None
    #: The thread that made it: the parent for __WNOTHREAD and PR_SET_PDEATHSIG.
    maker: Task | None = None
    #: The machine's owner has started it, and is its parent.
    launched: bool = False
    #: It has called setsid(2), and execve(2) since it was forked.
    leads_session: bool = False
    has_execed: bool = False
    exit_signal: int = 17
    #: Keyrings of the process and of its session.
    process_keyring: Key | None = None
    session_keyring: Key | None = None
    #: /proc/PID/oom_score_adj, and the least that it was made by a privileged process.
    oom_score_adj: int = 0
    oom_score_adj_min: int = 0
    #: The audit's ids (/proc/PID/loginuid, sessionid); -1 before they are set.
    loginuid: int = 0xFFFFFFFF
    sessionid: int = 0xFFFFFFFF
    limits: dict[int, tuple[int, int]] = field(default_factory=dict)
    threads: dict[int, Task] = field(default_factory=dict)
    #: How many threads there have been.
    started: int = 0
    #: Signals that any thread may take.
    pending: SigPending = field(init=False)
    #: Leaders of the child processes, by pid.
    children: dict[int, Task] = field(default_factory=dict)
    #: Numbers of those that may have ended, stopped or gone on without its having waited for that.
    news: set[int] = field(default_factory=set)
    #: How many children it has had, and which of its parent's it is.
    had_children: int = 0
    place: int = 0
    #: Woken when a child changes state.
    child_exit: WaitQueue = field(default_factory=WaitQueue)
    children_usage: Usage = field(default_factory=Usage)
    #: Woken when it ends and when it is waited for, once somebody watches (pidfd).
    end_watchers: WaitQueue | None = None
    #: Usage of the threads that have ended.
    ended_usage: Usage = field(default_factory=Usage)
    #: The memory barriers for which it has registered (membarrier).
    barriers: int = 0
    #: Interval timers and POSIX timers, once there is one.
    timers: ProcessTimers | None = None
    #: Woken when a signal becomes pending, for those who read them from a descriptor.
    signalfd: WaitQueue = field(default_factory=WaitQueue)
    #: Every thread is to end with this status (exit_group, a fatal signal).
    exiting: int | None = None
    #: The status word that wait4 gives.
    exit_code: int = 0
    #: The signal that has stopped it (0: it runs), as long as nobody has waited for that, and that SIGCONT has
    #: continued it, likewise.
    stopped_by: int = 0
    stop_code: int = 0
    continued: bool = False
    #: Its controlling terminal, and the foreground group of the one that its session has lost.
    tty: Tty | None = None
    tty_old_pgrp: int = 0
    #: The tasks that its threads trace, in the order in which they stopped; also ended ones that it was not told of.
    tracees: dict[Task, None] = field(default_factory=dict)
    #: It has ended as the first of its PID namespace, and nobody has waited yet for others in it.
    outlived: bool = False
    #: It is the first of its PID namespace: only what it has a handler for can be done to it.
    unkillable: bool = False
    #: It adopts the orphans among its descendants (PR_SET_CHILD_SUBREAPER).
    subreaper: bool = False
    #: The first thread, or one that has called execve since; there from the first thread on.
    leader: Task = None  # type: ignore[assignment]

    @property
    def alive(self) -> bool:
        """Whether a thread is left."""
        return bool(self.threads)

    @property
    def waitable(self) -> bool:
        """Whether the process is a zombie, which its parent may wait for."""
        return not self.threads and not self.leader.gone and not self.outlived

    def adopt(self, child: ThreadGroup) -> None:
        """It has one more child, of which there may be something to tell already."""
        self.had_children += 1
        child.place = self.had_children
        self.children[child.tgid] = child.leader
        if child.has_news:
            self.news.add(child.tgid)

    @property
    def has_news(self) -> bool:
        """Whether there is something that its parent may wait for."""
        return self.waitable or bool(self.stop_code) or self.continued

    def tell_parent(self) -> None:
        """Its parent may wait for something new."""
        if self.parent is not None:
            self.parent.news.add(self.tgid)

    def children_with_news(self) -> list[Task]:
        """The leaders of the children of which there may be something to tell, the oldest child first."""
        found = []
        for pid in list(self.news):
            child = self.children.get(pid)
            if child is not None and child.group.has_news:
                found.append(child)
            else:
                self.news.discard(pid)
        return found if len(found) < 2 else sorted(found, key=lambda child: child.group.place)

    def add(self, task: Task) -> None:
        """A thread has come into being; the first one leads."""
        self.threads[task.pid] = task
        self.started += 1
        if self.started == 1:
            self.leader = task
            self.pending = SigPending(task.kmem)

    def usage(self) -> Usage:
        """The usage of all threads, ended ones included."""
        if self.started == 1:
            return self.leader.usage
        total = Usage()
        total.add(self.ended_usage)
        for task in {self.leader, *self.threads.values()}:
            total.add(task.usage)
        return total

    def usage_with_children(self) -> Usage:
        """With that of the children for which it has waited: what its parent gets to know (RUSAGE_BOTH)."""
        total = Usage()
        total.add(self.usage())
        total.add(self.children_usage)
        return total
