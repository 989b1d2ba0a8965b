"""Wait queues: tasks sleep there until another task or an event wakes them, and watchers (epoll) are told of it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

#: The sleeper: a task of the scheduler.
Sleeper = TypeVar("Sleeper", bound=Hashable)
#: Is told the poll events of a wake (0: any); says whether the wake has reached somebody who waits.
Watcher = Callable[[int], bool]


class WaitQueue:
    """Tasks that sleep until an event, woken in order of arrival.

    Waking only makes a task runnable: it must look at its condition again, as with the kernel's ``wait_event``.
    """

    __slots__ = ("_sleepers", "_watchers")

    def __init__(self) -> None:
        self._sleepers: dict[Hashable, Callable[[Any], None]] = {}
        #: By the object that watches; True: only one such watcher is told (EPOLLEXCLUSIVE).
        self._watchers: dict[Hashable, tuple[Watcher, bool]] | None = None

    def add(self, task: Sleeper, wake: Callable[[Sleeper], None]) -> None:
        """Put ``task`` to sleep here; ``wake(task)`` is the scheduler's way to make it runnable."""
        self._sleepers[task] = wake

    def remove(self, task: Hashable) -> None:
        """Forget ``task`` (it was woken by something else); no error if it is not here."""
        self._sleepers.pop(task, None)

    def watch(self, key: Hashable, watcher: Watcher, *, exclusive: bool = False) -> None:
        """Have ``watcher`` told of every wake from now on.  Of the exclusive ones, which come after the others, the
        first whom the wake serves is the last to be told.
        """
        if self._watchers is None:
            self._watchers = {}
        self._watchers[key] = (watcher, exclusive)

    def unwatch(self, key: Hashable) -> None:
        """Forget a watcher; no error if it is not here."""
        if self._watchers is not None:
            self._watchers.pop(key, None)

    def wake_all(self, events: int = 0) -> int:
        """Wake every sleeper; return how many there were.  ``events``: the poll events that come about (0: any)."""
        sleepers, self._sleepers = self._sleepers, {}
        for task, wake in sleepers.items():
            wake(task)
        if self._watchers:
            self._tell(self._watchers, events)
        return len(sleepers)

    def wake_one(self) -> None:
        """Wake the sleeper that came last."""
        if self._sleepers:
            task, wake = self._sleepers.popitem()
            wake(task)

    @staticmethod
    def _tell(watchers: dict[Hashable, tuple[Watcher, bool]], events: int) -> None:
        for watcher, exclusive in sorted(watchers.values(), key=lambda entry: entry[1]):
            if watcher(events) and exclusive:
                return

    @property
    def awaited(self) -> bool:
        """Whether anybody sleeps here, or watches."""
        return bool(self._sleepers or self._watchers)

    def only(self, task: Hashable) -> bool:
        """Whether nobody sleeps here, or only this task does, and nobody watches."""
        return not self._watchers and (not self._sleepers or (len(self._sleepers) == 1 and task in self._sleepers))

    def __len__(self) -> int:
        return len(self._sleepers)


def what_to_wait_for(wanted: Any) -> tuple[tuple[WaitQueue, ...], int | None]:
    """A yielded item: a queue, a tuple of queues, or (either or None, deadline in ns or None)."""
    if type(wanted) is WaitQueue:
        return (wanted,), None
    deadline = None
    if isinstance(wanted, tuple) and len(wanted) == 2 and not isinstance(wanted[1], WaitQueue):
        wanted, deadline = wanted
    if wanted is None:
        return (), deadline
    if isinstance(wanted, WaitQueue):
        return (wanted,), deadline
    return tuple(wanted), deadline
