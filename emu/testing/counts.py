"""What is counted while a test looks on, and the expectation that compares it with what should be counted."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from emu.kernel.task import Task
from emu.testing.walks import name_of

if TYPE_CHECKING:
    from emu.machine import Machine
    from emu.testing.events import MmuEvents

_MAX_SHOWN = 30
#: Which events explain a figure.
_EXPLAINED_BY = {
    "minor_faults": ("fault", "link", "unlink"),
    "major_faults": ("fault", "link", "unlink"),
    "hardware_faults": ("fault", "link", "unlink"),
    "page_faults": ("fault", "link", "unlink"),
    "link_faults": ("fault", "link", "unlink"),
    "flushes": ("flush",),
    "shootdowns": ("flush", "shootdown"),
    "ipis": ("flush", "shootdown"),
    "walks": ("walk",),
    "fills": ("fill",),
}


@dataclass(frozen=True)
class Counts:
    """Figures of a machine, or of one process where it has them (faults and instructions).

    ``minor_faults`` and ``major_faults`` are getrusage's; ``link_faults`` linked a shared table and are no minor
    faults; ``hardware_faults`` are page-fault exceptions taken in user mode; ``page_faults`` are walks that
    ended in a fault.  The rest is as in ``unimmu run --json``.
    """

    minor_faults: int
    major_faults: int
    link_faults: int
    hardware_faults: int
    instructions: int
    fills: int = 0
    walks: int = 0
    walk_loads: int = 0
    page_faults: int = 0
    ad_updates: int = 0
    flushes: int = 0
    cr3_loads: int = 0
    shootdowns: int = 0
    ipis: int = 0

    def since(self, earlier: Counts) -> Counts:
        """What has been added."""
        after, before = dataclasses.astuple(self), dataclasses.astuple(earlier)
        return Counts(*(new - old for new, old in zip(after, before, strict=True)))


NAMES = tuple(field.name for field in dataclasses.fields(Counts))
_OF_PROCESS = NAMES[:5]
#: Figures that stay at 0 where nobody runs, so that to expect this says nothing.
_NEEDS_INSTRUCTIONS = {"minor_faults", "major_faults", "link_faults", "hardware_faults", "page_faults"}


def counts_of_task(task: Task) -> Counts:
    """A process's own figures."""
    usage = task.usage
    return Counts(usage.min_flt, usage.maj_flt, usage.link_faults, usage.hw_faults, usage.instructions)


def counts_of_machine(machine: Machine) -> Counts:
    """The sum over all processes, ended ones included, and what the MMU counts."""
    processes = machine.processes()
    sums = [sum(int(process[name]) for process in processes) for name in _OF_PROCESS]
    mmu = machine.kernel.cpu.mmu.counters
    shootdowns = machine.kernel.flusher.shootdowns.by_policy.values()
    hardware = [getattr(mmu, name) for name in NAMES[len(_OF_PROCESS) : -2]]
    told = [sum(one.sent for one in shootdowns), sum(one.ipis for one in shootdowns)]
    return Counts(*sums, *hardware, *told)


class Expectation:
    """``with machine.expect(link_faults=1, minor_faults=0): ...``: in the end exactly these have been counted.

    :attr:`counts` is then everything that was counted, and :attr:`events` what was recorded meanwhile, of all that
    ``recorded`` gives.
    """

    counts: Counts
    events: MmuEvents

    def __init__(
        self, machine: Machine, recorded: Callable[[], MmuEvents], task: Task | None, expected: dict[str, int]
    ) -> None:
        known = NAMES if task is None else _OF_PROCESS
        for name in expected:
            if name not in known:
                whose = "a machine" if task is None else "one process"
                raise ValueError(f"there is no figure {name!r} of {whose}; there are: {', '.join(known)}")
        if not expected:
            raise ValueError("nothing is expected: name a figure, such as link_faults=1")
        self._machine, self._recorded, self._task, self._expected = machine, recorded, task, expected
        self._made_at = _caller()
        self.is_unused, self.is_open = True, False

    def _now(self) -> Counts:
        return counts_of_machine(self._machine) if self._task is None else counts_of_task(self._task)

    @property
    def complaint(self) -> str:
        """What is wrong with one that nobody has had checked."""
        figures = ", ".join(_number(value, name) for name, value in self._expected.items())
        how = "was made without `with`" if self.is_unused else "was entered and never left"
        return f"{self._made_at}: the expectation of {figures} {how}, so nothing was checked"

    def __enter__(self) -> Expectation:
        self.is_unused, self.is_open = False, True
        self._before = self._now()
        self._ran = counts_of_machine(self._machine).instructions
        self._first = len(self._recorded())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        self.is_open = False
        self.counts = self._now().since(self._before)
        self.events = self._recorded()[self._first :]
        if kind is not None:
            return
        if any(getattr(self.counts, name) != value for name, value in self._expected.items()):
            raise AssertionError(self._explanation())
        if set(self._expected) <= _NEEDS_INSTRUCTIONS and counts_of_machine(self._machine).instructions == self._ran:
            raise AssertionError("no process has run meanwhile, so nothing was checked: run the machine in the block")

    def _explanation(self) -> str:
        counted = {name: getattr(self.counts, name) for name in NAMES}
        wrong = {name: value for name, value in self._expected.items() if counted[name] != value}
        whose = "the machine" if self._task is None else name_of(self._task)
        sentence = "; ".join(f"expected {_number(n, name)}, counted {counted[name]}" for name, n in wrong.items())
        width = max(map(len, counted))
        lines = [f"{whose}: {sentence}.", ""]
        for name, value in counted.items():
            if name in self._expected:
                words = f"<- expected {self._expected[name]}" if name in wrong else "as expected"
                lines.append(f"{name:{width}} {value:6}  {words}")
            elif value and name in (NAMES if self._task is None else _OF_PROCESS):
                lines.append(f"{name:{width}} {value:6}")
        return "\n".join([*lines, "", *self._happenings(wrong)])

    def _happenings(self, wrong: dict[str, int]) -> list[str]:
        kinds = {kind for name in wrong for kind in _EXPLAINED_BY.get(name, ())}
        pid = None if self._task is None else self._task.pid
        seen = self.events.where(pid=pid, test=lambda event: event.kind in kinds)
        if not len(seen):
            return ["Nothing of the kind was recorded meanwhile."] if kinds else []
        more = [f"  ... and {len(seen) - _MAX_SHOWN} more"] if len(seen) > _MAX_SHOWN else []
        return ["What happened meanwhile:", *(f"  {event}" for event in seen[:_MAX_SHOWN]), *more]


def _caller() -> str:
    """FILE:LINE of whoever called this package."""
    frame, here = sys._getframe(1), str(Path(__file__).parent)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(here):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _number(count: int, name: str) -> str:
    words = name.replace("_", " ")
    if count == 1:
        words = {"flushes": "flush"}.get(words, words.removesuffix("s"))
    return f"{count or 'no'} {words}"
