"""Marks: points of a guest program at which a test can stop it and look (``unimmu_mark(n)`` in ``unimmu.h``)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emu.linux.argument import INT
from emu.linux.syscall import Restart, Syscall
from emu.linux.wait import WaitQueue

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

#: A system call that no kernel has.
NR_MARK = 1_000_000


@dataclass(frozen=True)
class Mark:
    """A process came to a mark, and was stopped there or not."""

    task: Task
    number: int
    stopped: bool


class Marks:
    """The marks that processes have come to, and the processes that stand at one."""

    def __init__(self, kernel: Kernel) -> None:
        self.passed: list[Mark] = []
        #: Told of each mark, before the process may stop there.
        self.listeners: list[Callable[[Task, int], None]] = []
        self._awaited: tuple[Task | None, int] | None = None
        self._held: dict[Task, WaitQueue] = {}
        self.arrived: Task | None = None
        kernel.entry.register(Syscall(NR_MARK, "unimmu_mark", self._sys_mark, (INT,), restart=Restart.SYS))

    def _sys_mark(self, kernel: Kernel, task: Task, number: int) -> int | Generator[WaitQueue, None, int]:
        awaited = self._awaited is not None and self._awaited[1] == number and self._awaited[0] in (None, task)
        self.passed.append(Mark(task, number, stopped=awaited))
        for listener in self.listeners:
            listener(task, number)
        if not awaited:
            return 0
        self._awaited, self.arrived = None, task
        return self._stand(task)

    def _stand(self, task: Task) -> Generator[WaitQueue, None, int]:
        queue = self._held[task] = WaitQueue()
        try:
            while task in self._held:
                yield queue
        finally:
            self._held.pop(task, None)
        return 0

    def wait_for(self, task: Task | None, number: int) -> None:
        """The next time that ``task`` (None: anyone) comes to the mark, it stops there and is :attr:`arrived`."""
        self._awaited, self.arrived = (task, number), None

    def passed_unnoticed(self, task: Task | None, number: int, before: int) -> Task | None:
        """Who (``task``, or anyone) came to the mark and did not stop there, among the first ``before`` of
        :attr:`passed`.
        """
        seen = (mark for mark in self.passed[:before] if mark.number == number and task in (None, mark.task))
        return next((mark.task for mark in seen if not mark.stopped), None)

    def stands(self, task: Task) -> bool:
        """Whether the process stands at a mark."""
        return task in self._held

    def release(self, task: Task) -> None:
        """Let a process that stands at a mark go on, when the machine next runs."""
        queue = self._held.pop(task, None)
        if queue is not None:
            queue.wake_all()

    def release_all(self) -> None:
        """Let all of them go on; nothing is waited for any more."""
        self._awaited = None
        for task in list(self._held):
            self.release(task)
