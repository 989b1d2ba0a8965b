"""ThreadGroup: what the threads of a process have in common (signal_struct)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emu.kernel.task import Task, Usage
from emu.linux.wait import WaitQueue

if TYPE_CHECKING:
    from emu.kernel.signal_state import SigInfo


@dataclass(eq=False)
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
    exit_signal: int = 17
    limits: dict[int, tuple[int, int]] = field(default_factory=dict)
    threads: dict[int, Task] = field(default_factory=dict)
    #: How many threads there have been.
    started: int = 0
    #: Signals that any thread may take.
    pending: list[SigInfo] = field(default_factory=list)
    #: Leaders of the child processes, by pid.
    children: dict[int, Task] = field(default_factory=dict)
    #: Woken when a child changes state.
    child_exit: WaitQueue = field(default_factory=WaitQueue)
    children_usage: Usage = field(default_factory=Usage)
    #: What threads have used that are gone.
    ended_usage: Usage = field(default_factory=Usage)
    #: Deadline in ns, and the timer, of alarm(2).
    alarm: tuple[int, int] | None = None
    #: Every thread is to end with this status (exit_group, a fatal signal).
    exiting: int | None = None
    #: The status word that wait4 gives.
    exit_code: int = 0
    _leader: Task | None = None

    @property
    def leader(self) -> Task:
        """The first thread, or the one that has called execve since."""
        assert self._leader is not None, "ThreadGroup.leader: a group without a task"
        return self._leader

    @leader.setter
    def leader(self, task: Task) -> None:
        self._leader = task

    @property
    def alive(self) -> bool:
        """Whether a thread is left."""
        return bool(self.threads)

    @property
    def waitable(self) -> bool:
        """Whether the process is a zombie, which its parent may wait for."""
        return not self.threads and not self.leader.gone

    def add(self, task: Task) -> None:
        """A thread has come into being; the first one leads."""
        self.threads[task.pid] = task
        self.started += 1
        if self._leader is None:
            self._leader = task

    def usage(self) -> Usage:
        """What every thread has used, those that are gone too."""
        if self.started == 1:
            return self.leader.usage
        total = Usage()
        total.add(self.ended_usage)
        for task in {self.leader, *self.threads.values()}:
            total.add(task.usage)
        return total
