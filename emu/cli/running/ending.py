"""How a run ended: the exit status, and what to say about it."""

from __future__ import annotations

from emu.cli.streams import Cause, Stopper
from emu.kernel.sched import StopReason
from emu.kernel.signal_state import (
    BUS_ADRERR,
    SEGV_ACCERR,
    SEGV_MAPERR,
    SiCode,
    Sig,
    SigInfo,
    signal_name,
)
from emu.kernel.task import Task
from emu.kernel.tracer import Tracer
from emu.machine import Machine, exit_status
from mmu.faults import ErrorCode
from mmu.record import field, record

TIMED_OUT = 124  # as timeout(1)'s
IDLE = 125
_MOST_SHOWN = 8  # processes
#: Signals of which shells say nothing either.
_UNTOLD = frozenset({int(Sig.INT), int(Sig.PIPE)})
CAUSE_STATUS = {Cause.INTERRUPT: 128 + Sig.INT, Cause.TERMINATE: 128 + Sig.TERM, Cause.TIMEOUT: TIMED_OUT}

_WHY = {
    (Sig.SEGV, SEGV_MAPERR): "where nothing is mapped",
    (Sig.SEGV, SEGV_ACCERR): "which it has no right to",
    (Sig.BUS, BUS_ADRERR): "beyond the end of the file that is mapped there",
}
_VERB = {"write": "writing to", "read": "reading", "fetch": "executing"}


class Deaths(Tracer):
    """Notes which signal ended each process, for the last line."""

    each_signal = False

    def __init__(self) -> None:
        self._last: dict[int, SigInfo] = {}
        #: pid -> a line, for processes that a signal has ended.
        self.lines: dict[int, str] = {}

    def signal(self, task: Task, info: SigInfo) -> None:
        self._last[task.pid] = info

    def exit(self, task: Task, status: int) -> None:
        signo = status & 0x7F
        info = self._last.pop(task.pid, None)
        if signo:  # of several threads, the one that took the signal knows more
            line = f"{_name(task)} was killed by {signal_name(signo)}"
            if info is not None and info.signo == signo:
                self.lines[task.tgid] = line + _death(task, info)
            else:
                self.lines.setdefault(task.tgid, line)


def _death(task: Task, info: SigInfo) -> str:
    at = f"the instruction at {task.rip:#x}"
    why = _WHY.get((Sig(info.signo), info.code)) if info.signo < 32 else None
    if why is not None:
        code = ErrorCode(task.fault_words[0])
        verb = _VERB["write" if code & ErrorCode.WR else "fetch" if code & ErrorCode.ID else "read"]
        return f": {verb} {info.address:#x}, {why} ({at})"
    if info.code in (SiCode.USER, SiCode.TKILL, SiCode.QUEUE) and info.signo != Sig.PIPE:
        return f", sent by {'itself' if info.pid == task.tgid else f'process {info.pid}'}"
    return f": {at}" if info.signo in (Sig.SEGV, Sig.BUS, Sig.ILL, Sig.FPE, Sig.TRAP) else ""


@record(eq=False, repr=False)
class Ending:
    """``reason`` in one word, for ``--json``; ``lines`` for stderr."""

    status: int
    reason: str
    lines: list[str] = field(default_factory=list)


def ending_of(machine: Machine, first: Task, reason: StopReason, stopper: Stopper, deaths: Deaths) -> Ending:
    """What became of the run whose first process was ``first``."""
    cause = stopper.cause
    if cause is not None:
        shown = "; ".join(_shown(machine))
        return Ending(CAUSE_STATUS[cause], cause.name.lower(), [f"{STOPPED[cause]}: {shown}"])
    if reason == StopReason.IDLE:
        lines = _shown(machine)
        lines.append("every process waits, and nothing is left that could wake one")
        return Ending(IDLE, "idle", lines)
    status = exit_status(first.exit_code)
    if first.exit_code & 0x7F:
        told = first.exit_code & 0x7F not in _UNTOLD
        return Ending(status, "signal", [deaths.lines[first.tgid]] if told else [])
    return Ending(status, "exit")


STOPPED = {Cause.INTERRUPT: "interrupted", Cause.TERMINATE: "terminated", Cause.TIMEOUT: "stopped by --timeout"}


def _name(task: Task) -> str:
    return f"{task.tgid} ({task.comm})"


def _shown(machine: Machine) -> list[str]:
    """What each living process is doing; of many, only the first ones."""
    tasks = machine.tasks
    shown = [f"{_name(task)} {_activity(machine, task)}" for task in tasks[:_MOST_SHOWN]]
    return shown + ([f"and {len(tasks) - _MOST_SHOWN} more"] if len(tasks) > _MOST_SHOWN else [])


def _activity(machine: Machine, task: Task) -> str:
    """What a living process is doing: its leader, or its first thread if the leader has ended."""
    if not task.alive:
        task = next(iter(task.group.threads.values()))
    if task.group.stopped_by:
        return f"was stopped by {signal_name(task.group.stopped_by)}"
    if len(task.sleeping_on) == 1:
        reads = machine.kernel.scheduler.host.reads(task.sleeping_on[0])
        if reads is not None:
            return "reads its input" if reads else "writes its output"
    if task.syscall is not None:
        number, _ = task.syscall
        call = machine.kernel.entry.lookup(number)
        return f"waits in {call.name if call else number}"
    return f"runs at {task.rip:#x}"
