"""Waiting for children that end, stop or go on (kernel/exit.c)."""

from __future__ import annotations

import errno
from collections.abc import Generator, Iterator
from enum import IntFlag
from typing import TYPE_CHECKING, Any, NamedTuple

from emu.kernel.exit import reap_traced, release
from emu.kernel.signal_state import (
    CLD_CONTINUED,
    CLD_DUMPED,
    CLD_EXITED,
    CLD_KILLED,
    CLD_STOPPED,
    CLD_TRAPPED,
    Sig,
)
from emu.linux.errors import LinuxError
from emu.linux.words import tested_often

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.kernel.threadgroup import ThreadGroup
    from emu.kernel.usage import Usage

_CORE_DUMPED, _STOPPED, _CONTINUED = 0x80, 0x7F, 0xFFFF


@tested_often
class Wait(IntFlag):
    """What to wait for, and how (include/uapi/linux/wait.h)."""

    NOHANG = 1
    STOPPED = 2
    EXITED = 4
    CONTINUED = 8
    NOWAIT = 0x0100_0000
    #: Children of this thread only; children of every kind; those that do not send SIGCHLD.
    NOTHREAD = 0x2000_0000
    ALL = 0x4000_0000
    CLONE = 0x8000_0000


class Waited(NamedTuple):
    """What became of a child: CLD_*, and the exit code or signal."""

    child: Task
    code: int
    status: int
    usage: Usage
    #: Its number for who has waited.
    number: int = 0

    @property
    def word(self) -> int:
        """The status word of wait4(2)."""
        if self.code == CLD_EXITED:
            return self.status << 8
        if self.code in (CLD_STOPPED, CLD_TRAPPED):
            return self.status << 8 | _STOPPED
        if self.code == CLD_CONTINUED:
            return _CONTINUED
        return self.status | (_CORE_DUMPED if self.code == CLD_DUMPED else 0)


class Whom(NamedTuple):
    """Which children are meant: one by its number (P_PID) or by itself (P_PIDFD), those of a process group (P_PGID), or
    all (P_ALL).
    """

    pid: int | None = None
    pgid: int | None = None
    child: Task | None = None

    def means(self, child: Task) -> bool:
        """Whether it is one of them."""
        if self.child is not None:
            return child is self.child
        return self.pid in (None, child.pid) and self.pgid in (None, child.pgid)

    def among(self, group: ThreadGroup) -> Iterator[Task]:
        """Those among the children of a process, the oldest first."""
        pid = self.pid if self.child is None else self.child.pid
        some = group.children.values() if pid is None else filter(None, (group.children.get(pid),))
        return filter(self.means, some)

    def with_news(self, group: ThreadGroup) -> list[Task]:
        """Of them those of which there may be something to tell."""
        if self.pid is None and self.child is None:
            return list(filter(self.means, group.children_with_news()))
        return list(self.among(group))


def do_wait(kernel: Kernel, task: Task, wanted: Whom, options: int) -> Generator[Any, None, Waited | None]:
    """What became of a child that ``wanted`` means, after waiting for it; None with WNOHANG if nothing has yet.
    Without WNOWAIT nobody is told of it again, and a zombie is released.

    LinuxError(ECHILD) if there is no such child.
    """
    while True:
        traced = [t for t in task.group.tracees if wanted.means(t) and _traced_by(t, task, options)]
        if not traced and not any(_eligible(task, child.group, options) for child in wanted.among(task.group)):
            raise LinuxError(errno.ECHILD)
        for child in wanted.with_news(task.group):
            if not _eligible(task, child.group, options):
                continue
            number = task.sees(child.pid)
            found = _news(kernel, child, options)
            if found is not None:
                return Waited(found.child, found.code, found.status, found.usage, number)
        for child in traced:
            number = task.sees(child.pid)
            found = _news_of_traced(kernel, child, options)
            if found is not None:
                return Waited(found.child, found.code, found.status, found.usage, number)
        if options & Wait.NOHANG:
            return None
        yield task.group.child_exit


def _eligible(task: Task, child: ThreadGroup, options: int) -> bool:
    """eligible_child(), and whose child it is."""
    if options & Wait.NOTHREAD and child.maker is not task:
        return False
    if child.waitable and not options & Wait.EXITED:  # it will not be told of again
        return False
    return bool(options & Wait.ALL) or (child.exit_signal != Sig.CHLD) == bool(options & Wait.CLONE)


def _traced_by(tracee: Task, task: Task, options: int) -> bool:
    state = tracee.ptrace
    return state is not None and (not options & Wait.NOTHREAD or state.tracer is task)


def _news_of_traced(kernel: Kernel, task: Task, options: int) -> Waited | None:
    """What is to be told of a traced task to its tracer: a stop, whether or not that is asked for, or its end."""
    tracee, keep = task.ptrace, bool(options & Wait.NOWAIT)
    assert tracee is not None
    if tracee.ended_as is not None:
        if not options & Wait.EXITED:
            return None
        if not keep:
            reap_traced(kernel, task)
        return _ended(task, tracee.ended_as, task.usage)
    code = tracee.code
    if not code:
        return None
    tracee.code = code if keep else 0
    return Waited(task, CLD_TRAPPED, code, task.usage)


def _ended(child: Task, code: int, usage: Usage) -> Waited:
    if not code & 0x7F:
        return Waited(child, CLD_EXITED, code >> 8, usage)
    return Waited(child, CLD_DUMPED if code & _CORE_DUMPED else CLD_KILLED, code & 0x7F, usage)


def _news(kernel: Kernel, child: Task, options: int) -> Waited | None:
    """What is to be told of a child (wait_consider_task)."""
    group, keep = child.group, bool(options & Wait.NOWAIT)
    told = child.ptrace is None or child.ptrace.tracer.group is group.parent  # or another tracer comes first
    if options & Wait.EXITED and group.waitable and told:
        code, usage = group.exit_code, group.usage_with_children()
        if not keep:
            release(kernel, child)
        return _ended(child, code, usage)
    if child.ptrace is not None and told:
        return None
    if options & Wait.STOPPED and group.stop_code:
        status = group.stop_code
        group.stop_code = status if keep else 0
        return Waited(child, CLD_STOPPED, status, group.usage_with_children())
    if options & Wait.CONTINUED and group.continued:
        group.continued = keep
        return Waited(child, CLD_CONTINUED, Sig.CONT, group.usage_with_children())
    return None
