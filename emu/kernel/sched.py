"""The scheduler: a deterministic round robin, and the loop that runs the machine."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any

from emu.kernel.task import Task, TaskState
from emu.kernel.wait import WaitQueue

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel

#: Instructions a task may retire before the next one runs.
TIME_SLICE = 1_000_000


class StopReason(Enum):
    """Why :meth:`Scheduler.run` returned."""

    EXITED = "every process has ended"
    IDLE = "every process waits, and nothing is left that could wake one"
    TIMEOUT = "the time limit was reached"
    CONDITION = "the caller's condition holds"


class Scheduler:
    """Who runs next: first come, first served, one time slice each."""

    def __init__(self, kernel: Kernel, time_slice: int = TIME_SLICE) -> None:
        self._kernel = kernel
        self._queue: deque[Task] = deque()
        self.time_slice = time_slice
        self.switches = 0
        self._loaded: Task | None = None
        self.yielded = False
        self._since = 0

    def running_instructions(self) -> int:
        """Instructions that the current task has retired since its usage was last added up."""
        return self._kernel.cpu.clock - self._since

    # -- states ----------------------------------------------------------------------------------------------------

    def add(self, task: Task) -> None:
        """A new task is runnable."""
        self._queue.append(task)

    def wake(self, task: Task) -> None:
        """Make a sleeping task runnable; nothing happens to any other."""
        if task.state != TaskState.SLEEPING:
            return
        self._forget_sleep(task)
        task.state = TaskState.RUNNABLE
        self._queue.append(task)

    def _forget_sleep(self, task: Task) -> None:
        for queue in task.sleeping_on:
            queue.remove(task)
        task.sleeping_on = ()
        if task.timer is not None:
            self._kernel.clock.cancel(task.timer)
            task.timer = None

    def sleep(self, task: Task, wanted: object) -> None:
        """Put the current task to sleep on what its system call yielded: a queue, several, and/or a deadline."""
        queues, deadline = _what_to_wait_for(wanted)
        task.state = TaskState.SLEEPING
        task.usage.voluntary_switches += 1
        task.sleeping_on = queues
        for queue in queues:
            queue.add(task, self.wake)
        if deadline is not None:
            task.timer = self._kernel.clock.add_timer(deadline, lambda: self._timed_out(task))

    def _timed_out(self, task: Task) -> None:
        task.timer = None
        self.wake(task)

    def remove(self, task: Task) -> None:
        """The task has ended."""
        self._forget_sleep(task)
        if task in self._queue:
            self._queue.remove(task)
        if self._loaded is task:
            self._loaded = None

    @property
    def runnable(self) -> int:
        """How many tasks could run now."""
        return len(self._queue)

    def account(self, task: Task) -> None:
        """Add what the current task has retired to its usage."""
        task.usage.instructions += self.running_instructions()
        self._since = self._kernel.cpu.clock

    # -- running ---------------------------------------------------------------------------------------------------

    def run(self, until: Callable[[], bool] | None = None, timeout_s: float | None = None) -> StopReason:
        """Run until every process has ended or waits for ever, ``until()`` holds (asked once a slice), or time is up.

        ``timeout_s`` is in seconds of host time, looked at once a slice.
        """
        kernel = self._kernel
        limit = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            kernel.clock.run_timers()
            if until is not None and until():
                return StopReason.CONDITION
            if limit is not None and time.monotonic() >= limit:
                return StopReason.TIMEOUT
            if self._queue:
                self._run_one(self._queue.popleft())
            elif not any(task.alive for task in kernel.tasks.values()):
                return StopReason.EXITED
            elif not kernel.clock.skip_to_next_timer():
                return StopReason.IDLE

    def _run_one(self, task: Task) -> None:
        """One turn of a task: load it, run it to the end of its slice, save it."""
        kernel = self._kernel
        if self._loaded is not task:
            task.context.restore()
            self._loaded = task
            self.switches += 1
        kernel.current = task
        cpu = kernel.cpu
        cpu.mmu.state.asid = task.pid
        kernel.flusher.switch_mm(task.mm)
        self._since = cpu.clock
        cpu.trap.budget = self.time_slice
        kernel.entry.run(task)
        self.account(task)
        kernel.current = None
        if task.alive:
            task.context.save()
            if task.state == TaskState.RUNNABLE:
                self._queue.append(task)


def _what_to_wait_for(wanted: Any) -> tuple[tuple[WaitQueue, ...], int | None]:
    """A yielded item: a queue, a tuple of queues, or (either or None, deadline in ns or None)."""
    deadline = None
    if isinstance(wanted, tuple) and len(wanted) == 2 and not isinstance(wanted[1], WaitQueue):
        wanted, deadline = wanted
    if wanted is None:
        return (), deadline
    if isinstance(wanted, WaitQueue):
        return (wanted,), deadline
    return tuple(wanted), deadline
