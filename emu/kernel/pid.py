"""The numbers of tasks: which is the next, and which are in use (kernel/pid.c)."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from emu.linux.capability import CHECKPOINT_RESTORE, SYS_ADMIN
from emu.linux.errors import LinuxError
from emu.linux.pidns import PidNamespace

if TYPE_CHECKING:
    from emu.kernel.task import Task
    from emu.linux.namespace import Namespace, UserNamespace

#: Numbers of tasks are from the first on, and less than the other (PID_MAX_LIMIT).
FIRST_PID, PID_MAX = 100, 1 << 22
MAX_TASKS = 4096


class Pids:
    """Those of one machine.  ``tasks``: every task, by number; ``others`` gives the namespaces besides the initial
    ones.
    """

    def __init__(self, tasks: Mapping[int, Task], others: Callable[[], Iterable[Namespace]]) -> None:
        self._tasks, self._others = tasks, others
        #: How many processes and threads there have been.
        self.forks = 0
        #: Whether a number may come that something had or has already.
        self._next, self._repeat = FIRST_PID, False
        #: kernel.pid_max and kernel.threads-max.
        self.pid_max, self.max_threads = PID_MAX, MAX_TASKS

    def alloc(self, maker: Task, ns: PidNamespace | None, wanted: Sequence[int]) -> tuple[int, list[int]]:
        """A machine's number, and one in each PID namespace from ``ns`` outwards, for a task that ``maker`` makes;
        ``wanted``: the first of these, or all and the machine's (alloc_pid).

        LinuxError as :meth:`new`, and (ENOMEM) where the first process of the namespace has ended.
        """
        if ns is None and not wanted:
            return self.new_number(), []
        spaces = [] if ns is None else list(ns.around)
        if len(wanted) > len(spaces) + 1:
            raise LinuxError(errno.EINVAL)

        def may(user: UserNamespace | None) -> bool:
            who = maker.credentials
            return who.capable_in(CHECKPOINT_RESTORE, user) or who.capable_in(SYS_ADMIN, user)

        numbers = []
        for index, space in enumerate(spaces):
            numbers.append(space.choose(wanted[index] if index < len(wanted) else None, may))
        pid = self.new(maker, wanted[-1] if len(wanted) > len(spaces) else None)
        if ns is not None and ns.ended:
            raise LinuxError(errno.ENOMEM)
        if self._repeat:
            self._forget(pid)
        return pid, numbers

    def new_number(self) -> int:
        """A machine's number for a task in no PID namespace but the initial one.  LinuxError(EAGAIN)."""
        if len(self._tasks) >= self.max_threads:
            raise LinuxError(errno.EAGAIN)
        pid = self._next_free()
        self.forks += 1
        if self._repeat:
            self._forget(pid)
        return pid

    def _forget(self, pid: int) -> None:
        """A number begins to mean something else."""
        for space in self._others():
            if isinstance(space, PidNamespace):
                space.forget(pid)

    def unused(self, task: Task, pid: int) -> None:
        """A task has given up its number, which may still be that of a group or a session."""
        if task.pid_ns is not None and not self.in_use(pid):
            for space in task.pid_ns.around:
                space.forget(pid)

    def new(self, maker: Task | None = None, wanted: int | None = None) -> int:
        """A number that nothing has, ``wanted`` if given, for a task that ``maker`` makes (alloc_pid).

        LinuxError(EAGAIN) at the limit, (EINVAL) for what is no number of a task, (EPERM) for who may not choose,
        (EEXIST) for a number that is in use.
        """
        if len(self._tasks) >= self.max_threads:
            raise LinuxError(errno.EAGAIN)
        if wanted is None:
            pid = self._next_free()
        else:
            if not 1 <= wanted < self.pid_max:
                raise LinuxError(errno.EINVAL)
            if maker is not None and not any(map(maker.credentials.capable, (CHECKPOINT_RESTORE, SYS_ADMIN))):
                raise LinuxError(errno.EPERM)
            if wanted == 1 or self.in_use(wanted):
                raise LinuxError(errno.EEXIST)
            pid, self._repeat = wanted, True
        self.forks += 1
        return pid

    def _next_free(self) -> int:
        pid = self._next
        for _ in range(self.pid_max - FIRST_PID + 1):
            if pid >= self.pid_max:
                pid, self._repeat = FIRST_PID, True
            if pid not in self._tasks and not (self._repeat and self.in_use(pid)):
                self._next = pid + 1
                return pid
            pid += 1
        raise LinuxError(errno.EAGAIN)

    def in_use(self, pid: int) -> bool:
        """Whether a task, a process group or a session has the number."""
        return pid in self._tasks or any(pid in (task.pgid, task.sid) for task in self._tasks.values())
