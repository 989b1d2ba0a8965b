"""What was counted within the region of interest: the sum over each time that it was entered.

A function may be entered a million times, so that little may be done each time.  What the kernel counts changes only
where its clock does, by what it costs; between two changes there are only instructions to add up.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from emu.kernel.usage import Usage

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.kernel.threadgroup import ThreadGroup


def kernel_counts(kernel: Kernel) -> dict[str, Any]:
    """What the kernel counts for the machine, besides instructions."""
    shootdowns = kernel.flusher.shootdowns
    return {
        "context_switches": kernel.scheduler.switches,
        "shootdowns": shootdowns.report(),
        "cpus": [
            {
                "context_switches": vcpu.switches,
                "shootdowns_sent": shootdowns.sent_by[vcpu.number],
                "ipis_received": shootdowns.received_by[vcpu.number],
            }
            for vcpu in kernel.scheduler.vcpus
        ],
    }


class RegionCounts:
    """Sums of counts of a machine that is about to run; what the caches hold goes on outside the region."""

    def __init__(self, kernel: Kernel, text: str) -> None:
        """``text`` is what was asked for."""
        from mmu.counted import CounterWords  # late: numpy, which a run that asks for no region need not have

        self._kernel, self._region, self.text = kernel, kernel.region, text
        self._words = CounterWords(kernel.cpu.mmu)
        now = self._words.read()
        self._total, self._began = now - now, now
        #: Sums of :func:`kernel_counts`.
        self.kernel = _difference(kernel_counts(kernel), kernel_counts(kernel))
        #: Instructions by vCPU.
        self.instructions = [0] * len(kernel.scheduler.vcpus)
        #: The usage of each process, by number.
        self.processes: defaultdict[int, Usage] = defaultdict(Usage)
        #: Nanoseconds of the machine's time.
        self.elapsed = 0
        #: As of when the kernel's counts are known, and what they, the instructions and the usages were then.
        self._known: tuple[int, Task | None, int] = (-1, None, 0)
        self._counts, self._retired, self._usages = self.kernel, self.instructions, dict[int, Usage]()
        self._region.on_change.append(self._changed)
        kernel.exit_hooks.append(self._ended)
        if self._region.on:
            self._begin()

    @property
    def entered(self) -> int:
        """How often the region was entered."""
        return self._region.entered

    def finish(self) -> None:
        """The run is over."""
        self._region.on_change.remove(self._changed)
        if self._region.on:
            self._end()

    def usage(self) -> Usage:
        """That of all processes."""
        usage = Usage()
        for each in self.processes.values():
            usage.add(each)
        return usage

    def shown(self) -> contextlib.AbstractContextManager[None]:
        """As long as that lasts, the counters of the MMU are those of the region."""
        return self._words.showing(self._total)

    # -- while it runs ---------------------------------------------------------------------------------------------

    def _clock(self) -> int:
        return self._kernel.cpu.clock - self._region.ahead

    def _changed(self) -> None:
        if self._region.on:
            self._begin()
        else:
            self._end()

    def _begin(self) -> None:
        kernel, clock = self._kernel, self._clock()
        system_ns, current = kernel.clock.system_ns, kernel.scheduler.current
        if self._known[:2] == (system_ns, current) and current is not None and kernel.translation_cycles is None:
            since = clock - self._known[2]
            self._retired[current.cpu] += since
            self._usages[current.tgid].instructions += since
        else:
            self._counts, self._retired = kernel_counts(kernel), self._instructions()
            self._usages = {group.tgid: self._usage_of(group) for group in self._living()}
        self._known = system_ns, current, clock
        self._began, self._began_ns = self._words.read(), kernel.clock.now_ns() - self._region.ahead

    def _end(self) -> None:
        kernel, clock = self._kernel, self._clock()
        self._total += self._words.read() - self._began
        self.elapsed += kernel.clock.now_ns() - self._region.ahead - self._began_ns
        system_ns, current, since = self._known
        same = current is not None and (kernel.clock.system_ns, kernel.scheduler.current) == (system_ns, current)
        if current is not None and same and kernel.translation_cycles is None:
            self.instructions[current.cpu] += clock - since
            self.processes[current.tgid].instructions += clock - since
            return
        _add(self.kernel, _difference(kernel_counts(kernel), self._counts))
        for number, (now, before) in enumerate(zip(self._instructions(), self._retired, strict=True)):
            self.instructions[number] += now - before
        for group in self._living():
            self._add(group)

    def _ended(self, last: Task) -> None:
        """A process ends."""
        if self._region.on:
            self._add(last.group)
        self._usages.pop(last.group.tgid, None)

    def _living(self) -> set[ThreadGroup]:
        return {task.group for task in self._kernel.tasks.values() if task.alive}

    def _instructions(self) -> list[int]:
        """By vCPU, with what the task that runs has done since that was added up last."""
        scheduler = self._kernel.scheduler
        retired = [vcpu.instructions for vcpu in scheduler.vcpus]
        if scheduler.current is not None:
            retired[scheduler.current.cpu] += scheduler.running_instructions() - self._region.ahead
        return retired

    def _add(self, group: ThreadGroup) -> None:
        now, before = self._usage_of(group), self._usages.get(group.tgid, _NOTHING)
        spent = Usage(**{name: value - getattr(before, name) for name, value in vars(now).items()})
        self.processes[group.tgid].add(spent)

    def _usage_of(self, group: ThreadGroup) -> Usage:
        """With what the task that runs has done since that was added up last."""
        usage, scheduler = Usage(), self._kernel.scheduler
        usage.add(group.usage())
        if scheduler.current is not None and scheduler.current.group is group:
            usage.instructions += scheduler.running_instructions() - self._region.ahead
            usage.system_ns += scheduler.running_system_ns()
            if self._kernel.translation_cycles is not None:
                usage.translation_cycles += self._kernel.translation_cycles.running(scheduler.current.cpu)
        return usage


_NOTHING = Usage()


def _difference(after: Any, before: Any) -> Any:
    """How much each number has grown, in dictionaries and lists.

    >>> _difference({"walks": 5, "of": [{"n": 3}], "new": 2}, {"walks": 1, "of": [{"n": 3}]})
    {'walks': 4, 'of': [{'n': 0}], 'new': 2}
    """
    if isinstance(after, dict):
        return {name: _difference(value, before.get(name, _empty(value))) for name, value in after.items()}
    if isinstance(after, list):
        return [_difference(*pair) for pair in zip(after, before, strict=True)]
    return after - before


def _add(total: dict[str, Any], more: dict[str, Any]) -> None:
    """Add each number to that of the same name.

    >>> total = {"walks": 4, "of": [{"n": 1}]}
    >>> _add(total, {"walks": 1, "of": [{"n": 1}], "new": 2})
    >>> total
    {'walks': 5, 'of': [{'n': 2}], 'new': 2}
    """
    for name, value in more.items():
        known = total.get(name)
        if isinstance(known, dict):
            _add(known, value)
        elif isinstance(known, list):
            for one, other in zip(known, value, strict=True):
                _add(one, other)
        else:
            total[name] = value if known is None else known + value


def _empty(value: Any) -> Any:
    """What there was before a name came."""
    return {} if isinstance(value, dict) else 0
