"""Wait queues: tasks sleep there until another task or an event wakes them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

#: The sleeper: a task of the scheduler.
Sleeper = TypeVar("Sleeper", bound=Hashable)


class WaitQueue:
    """Tasks that sleep until an event, woken in order of arrival.

    Waking only makes a task runnable: it must look at its condition again, as with the kernel's ``wait_event``.
    """

    __slots__ = ("_sleepers",)

    def __init__(self) -> None:
        self._sleepers: dict[Hashable, Callable[[Any], None]] = {}

    def add(self, task: Sleeper, wake: Callable[[Sleeper], None]) -> None:
        """Put ``task`` to sleep here; ``wake(task)`` is the scheduler's way to make it runnable."""
        self._sleepers[task] = wake

    def remove(self, task: Hashable) -> None:
        """Forget ``task`` (it was woken by something else); no error if it is not here."""
        self._sleepers.pop(task, None)

    def wake_all(self) -> int:
        """Wake every sleeper; return how many there were."""
        sleepers, self._sleepers = self._sleepers, {}
        for task, wake in sleepers.items():
            wake(task)
        return len(sleepers)

    def __len__(self) -> int:
        return len(self._sleepers)
