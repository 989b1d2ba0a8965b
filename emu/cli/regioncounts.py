"""What was counted within the region of interest: the sum over each time that it was entered."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from emu.kernel.task import Usage

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task, ThreadGroup


class RegionCounts:
    """Sums of counts of a machine that is about to run; what the caches hold goes on outside the region."""

    def __init__(self, kernel: Kernel, text: str, read: Callable[[], dict[str, Any]]) -> None:
        """``text`` is what was asked for; ``read()`` gives the counts, which grow: numbers in dictionaries and lists,
        among texts."""
        self._kernel, self._region, self._read, self.text = kernel, kernel.region, read, text
        #: Sums of ``read()``.
        self.total = difference(read(), read())
        #: The usage of each process, by number.
        self.processes: dict[int, Usage] = {}
        #: Nanoseconds of the machine's time.
        self.elapsed = 0
        self._counts, self._usages, self._began = self.total, dict[int, Usage](), 0
        self._region.on_change.append(self._changed)
        kernel.exit_hooks.append(self._ended)
        if self._region.on:
            self._begin()

    def finish(self) -> None:
        """The run is over."""
        if self._region.on:
            self._end()

    @property
    def entered(self) -> int:
        """How often the region was entered."""
        return self._region.entered

    def usage(self) -> Usage:
        """That of all processes."""
        usage = Usage()
        for each in self.processes.values():
            usage.add(each)
        return usage

    def _changed(self) -> None:
        if self._region.on:
            self._begin()
        else:
            self._end()

    def _begin(self) -> None:
        self._counts, self._began = self._read(), self._kernel.clock.now_ns() - self._region.ahead
        self._usages = {group.tgid: self._usage_of(group) for group in self._living()}

    def _end(self) -> None:
        add(self.total, difference(self._read(), self._counts))
        self.elapsed += self._kernel.clock.now_ns() - self._region.ahead - self._began
        for group in self._living():
            self._add(group)

    def _ended(self, last: Task) -> None:
        """A process ends."""
        if self._region.on:
            self._add(last.group)
            self._usages.pop(last.group.tgid, None)

    def _living(self) -> set[ThreadGroup]:
        return {task.group for task in self._kernel.tasks.values() if task.alive}

    def _add(self, group: ThreadGroup) -> None:
        now, before = self._usage_of(group), self._usages.get(group.tgid, _NOTHING)
        spent = Usage(**{name: value - getattr(before, name) for name, value in vars(now).items()})
        self.processes.setdefault(group.tgid, Usage()).add(spent)

    def _usage_of(self, group: ThreadGroup) -> Usage:
        """With what the task that runs has done since that was added up last."""
        usage, scheduler = Usage(), self._kernel.scheduler
        usage.add(group.usage())
        if scheduler.current is not None and scheduler.current.group is group:
            usage.instructions += scheduler.running_instructions() - self._region.ahead
            usage.system_ns += scheduler.running_system_ns()
        return usage


_NOTHING = Usage()


def difference(after: Any, before: Any) -> Any:
    """How much each number has grown; what is none stays as it is.

    >>> difference({"walks": 5, "of": [{"cpu": "a", "n": 3}], "new": 2}, {"walks": 1, "of": [{"cpu": "a", "n": 3}]})
    {'walks': 4, 'of': [{'cpu': 'a', 'n': 0}], 'new': 2}
    """
    if isinstance(after, dict):
        return {name: difference(value, before.get(name, _empty(value))) for name, value in after.items()}
    if isinstance(after, list):
        return [difference(*pair) for pair in zip(after, before, strict=True)]
    return after - before if isinstance(after, int | float) and not isinstance(after, bool) else after


def add(total: dict[str, Any], more: dict[str, Any]) -> None:
    """Add each number to that of the same name.

    >>> total = {"walks": 4, "of": [{"n": 1}]}
    >>> add(total, {"walks": 1, "of": [{"n": 1}], "new": 2})
    >>> total
    {'walks': 5, 'of': [{'n': 2}], 'new': 2}
    """
    for name, value in more.items():
        known = total.get(name)
        if isinstance(known, dict):
            add(known, value)
        elif isinstance(known, list):
            for one, other in zip(known, value, strict=True):
                add(one, other)
        elif isinstance(known, int | float) and not isinstance(known, bool):
            total[name] = known + value
        else:
            total[name] = value


def _empty(value: Any) -> Any:
    """What there was before a name came."""
    return {} if isinstance(value, dict) else 0 if isinstance(value, int | float) else value
