"""The moment of a run at which `unimmu pt` looks: a run's end, the end of its program, a count, or a system call."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emu.cli.arguments import UsageError
from emu.kernel.sched import StopReason
from emu.kernel.task import Task
from emu.kernel.tracer import Tracer
from emu.linux.syscall_names import name_of

if TYPE_CHECKING:
    from emu.cli.streams import Stopper
    from emu.linux.syscall import Syscall
    from emu.machine import Machine


@dataclass(frozen=True)
class Moment:
    """``at`` is end, exit, instructions or syscall; ``number`` the count, or which of the calls of that ``name``."""

    at: str
    number: int = 0
    name: str = ""


def moment(text: str) -> Moment:
    """``end``, ``exit``, ``250000``, ``syscall:mmap`` or ``syscall:mmap:3``; argparse reports anything else."""
    if text in ("end", "exit"):
        return Moment(text)
    if text.isascii() and text.isdigit():
        return Moment("instructions", int(text))
    kind, _, rest = text.partition(":")
    name, _, number = rest.partition(":")
    if kind == "syscall" and name and (not number or (number.isascii() and number.isdigit() and int(number))):
        return Moment("syscall", int(number or 1), name)
    raise argparse.ArgumentTypeError(
        f"{text!r} is none of end, exit, a number of instructions, syscall:NAME and syscall:NAME:N"
    )


@dataclass(eq=False)
class Watch(Tracer):
    """Runs a machine and calls ``look`` once, with words for when that is; then the run ends."""

    machine: Machine
    first: Task
    moment: Moment
    look: Callable[[str], None]
    done: bool = False
    _seen: int = field(default=0, init=False)
    _timer: int = field(default=0, init=False)

    each_signal = False

    def __post_init__(self) -> None:
        self.syscalls = self.moment.at == "syscall"
        if self.syscalls and self.moment.name not in {call.name for call in self.machine.kernel.entry.calls()}:
            raise UsageError(f"--at syscall:{self.moment.name}: there is no such system call (docs/syscalls.md)")
        self.machine.kernel.tracer = self

    def run(self, stopper: Stopper) -> StopReason:
        """Run until it has looked, or nothing is left to run, or the ``stopper`` says so."""
        until = self._reached if self.moment.at == "instructions" else None
        reason = self.machine.run(until, interrupted=lambda: stopper.cause is not None)
        if not self.done and stopper.cause is None and self.moment.at in ("end", "exit"):
            self._look(reason.value)
        return reason

    def _look(self, when: str) -> None:
        if not self.done:
            self.done = True
            self.look(when)
            self.machine.stop()

    def exit(self, task: Task, status: int) -> None:
        group = task.group
        if self.moment.at == "exit" and group is self.first.group and (group.exiting is not None or _is_last(task)):
            self._look(f"process {group.tgid} ({task.comm}) is about to end")

    def syscall_enter(self, task: Task, number: int, call: Syscall | None, arguments: tuple[int, ...]) -> None:
        name = name_of(number) if call is None else call.name
        if name == self.moment.name:
            self._seen += 1
            if self._seen == self.moment.number:
                nth = "" if self._seen == 1 else f" (number {self._seen} of these)"
                self._look(f"process {task.tgid} ({task.comm}) is about to do {name}{nth}")

    def _reached(self) -> bool:
        """Asked before each turn: no turn goes on for more instructions than are left, as a timer ends it."""
        kernel = self.machine.kernel
        clock, left = kernel.clock, self.moment.number - kernel.cpu.clock
        clock.cancel(self._timer)
        self._timer = 0
        if left <= 0:
            self._look(f"{kernel.cpu.clock:,} instructions have run")
            return True
        if not clock.real and any(vcpu.load for vcpu in kernel.scheduler.vcpus):
            self._timer = clock.add_timer(clock.now_ns() + left, lambda: None)
        return False


def _is_last(task: Task) -> bool:
    return len(task.group.threads) == 1
