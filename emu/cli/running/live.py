"""``unimmu run --live``: a view like top's on the terminal while guests run.

It looks at the machine between two turns and changes nothing in it: counts, events and their order are those of a run
without.  The view has the screen, so what guests write to the terminal is kept meanwhile and written in the end.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from emu.cli.arguments import UsageError
from emu.cli.messages import complain
from emu.cli.running.liveprocesses import folded, processes_table
from emu.cli.screen import Screen
from emu.cli.streams import Stopper, host_stream
from emu.fs.hostfile import HostDescriptor
from emu.kernel.report import describe_process
from emu.kernel.task import TaskState
from emu.linux.event_kind import printable
from emu.mm.pageflags import FrameKind
from emu.trace.report.units import plural, size_text
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.kernel.task import Task
    from emu.machine import Machine

#: Seconds from one look to the next; a look takes a twentieth of the time at most.
_PAUSE_S, _SHARE = 0.25, 20
#: Of what guests have written, so many bytes are looked at for the last lines, and so many lines are shown.
_TAIL, _LAST_LINES = 2048, 3
#: Bytes of a file of what they have written, of which there are two.
_MOST_KEPT = 32 << 20
#: Lines that the processes have at least, with their heading.
_LEAST_ROWS = 4
_STATES = {TaskState.RUNNABLE: "R", TaskState.SLEEPING: "S", TaskState.STOPPED: "T", TaskState.TRACED: "t"}


class KeptOutput:
    """What guests write to the terminal meanwhile: a file without a name, in which both streams have their order."""

    def __init__(self) -> None:
        """:class:`UsageError` if the host has no room for it."""
        try:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by release()
        except OSError as error:
            raise UsageError(f"--live: there is no file for what the program writes: {error.strerror}") from None
        self._complaints: list[str] = []
        #: What was written before, in a file that is full, and how much before that.
        self._before: int | None = None
        self._left_out = 0

    def streams(self, stopper: Stopper) -> tuple[Any, Any, Any]:
        """Standard streams for the guest: this in place of a terminal, and an empty input in place of its keys."""
        return (
            HostDescriptor(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
            if sys.stdin is not None and sys.stdin.isatty()
            else host_stream(sys.stdin, "standard input", stopper),
            HostDescriptor(self._file.fileno())
            if sys.stdout is not None and sys.stdout.isatty()
            else host_stream(sys.stdout, "standard output", stopper),
            HostDescriptor(self._file.fileno()),
        )

    def complain(self, line: str) -> None:
        """A line of ours, for later."""
        self._complaints.append(line)

    def last_lines(self) -> list[str]:
        """The last lines that guests have written, for the view."""
        fd = self._file.fileno()
        size = os.fstat(fd).st_size
        text = os.pread(fd, _TAIL, max(0, size - _TAIL)).decode("utf-8", "replace")
        return [printable(line) for line in text.splitlines()[-_LAST_LINES:]]

    def trim(self) -> None:
        """Of very much only the last is kept: this file and the one before it."""
        fd = self._file.fileno()
        size = os.fstat(fd).st_size
        if size < _MOST_KEPT:
            return
        if self._before is not None:
            self._left_out += os.fstat(self._before).st_size
            os.close(self._before)
        self._before = os.dup(fd)
        with tempfile.TemporaryFile() as new:
            os.dup2(new.fileno(), fd, inheritable=False)

    def release(self) -> None:
        """Write all that is kept to the terminal."""
        if self._left_out:
            complain(f"unimmu: --live: the first {self._left_out:,} bytes of the output are not kept")
        for fd in filter(None, (self._before, self._file.fileno())):
            _copy(fd, sys.stderr.fileno())
        if self._before is not None:
            os.close(self._before)
        self._file.close()
        for line in self._complaints:
            complain(line)


def _copy(source: int, target: int) -> None:
    """All of a file, to a terminal that may go."""
    at = 0
    while data := os.pread(source, 1 << 16, at):
        at += len(data)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(target, view) :]
        except OSError:
            return


class LiveView:
    """The view of a machine; within ``with``, :meth:`look` is to be called often."""

    def __init__(self, machine: Machine, command: str, kept: KeptOutput) -> None:
        self._machine, self._command, self._kept = machine, command, kept
        self._console = Screen(stderr=True)
        self._live: Live | None = None
        self._suspended = False
        self._started = self._last = time.monotonic()
        self._next = self._started + _PAUSE_S
        self._instructions = 0
        self._of: dict[int, int] = {}

    def __enter__(self) -> LiveView:
        self._before = signal.signal(signal.SIGTSTP, self._suspend)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        signal.signal(signal.SIGTSTP, self._before)
        self._leave()
        self._kept.release()

    def _suspend(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-Z: at the next look."""
        self._suspended, self._next = True, 0.0

    def _leave(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def look(self) -> None:
        """Show how things are, if it is time to."""
        now = time.monotonic()
        if now < self._next:
            return
        if self._suspended:
            self._suspended = False
            self._leave()
            os.kill(os.getpid(), signal.SIGSTOP)
        if self._live is None:
            self._live = Live(
                console=self._console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
            )
            self._live.start()
        self._kept.trim()
        self._live.update(self._shown(now), refresh=True)
        took = time.monotonic() - now
        self._last, self._next = now, now + took + max(_PAUSE_S, took * _SHARE)

    # -- what is shown ---------------------------------------------------------------------------------------------

    def _shown(self, now: float) -> Group:
        kernel = self._machine.kernel
        speed = (kernel.cpu.clock - self._instructions) / max(now - self._last, 1e-6) / 1e6
        self._instructions = kernel.cpu.clock
        lines = [
            f"unimmu: {printable(self._command)}",
            f"up {now - self._started:.1f} s, guest time {kernel.clock.now_ns() / 1e9:.3f} s, "
            f"{kernel.cpu.clock:,} instructions, {speed:.1f} million/s, "
            f"{plural(len(kernel.scheduler.vcpus), 'vCPU', 'vCPUs')}",
            self._mmu_line(),
            self._tables_line(),
            *self._tlb_lines(),
        ]
        tail = self._kept.last_lines()
        lines = [lines[0], *(part for line in lines[1:] for part in folded(line, self._console.width))]
        lines = lines[: max(self._console.height - _LEAST_ROWS, 1)]
        tail = tail[: max(self._console.height - len(lines) - _LEAST_ROWS - 1, 0)]
        room = self._console.height - len(lines) - (len(tail) + 1 if tail else 0) - 2
        text = Text("\n".join(lines), no_wrap=True, overflow="ellipsis")
        processes = self._processes(max(room, 1))
        if not tail:
            return Group(text, processes)
        return Group(
            text, processes, Text("\n".join(["output:", *tail]), no_wrap=True, overflow="ellipsis", style="dim")
        )

    def _mmu_line(self) -> str:
        c = self._machine.kernel.cpu.mmu.counters
        sent = self._machine.kernel.flusher.shootdowns.report()["sent"]
        return (
            f"MMU: {c.walks:,} walks, {c.walk_loads:,} entries read, {c.fills:,} fills, {c.page_faults:,} #PF, "
            f"{c.flushes:,} flushes, {sent:,} shootdowns"
        )

    def _tables_line(self) -> str:
        kernel = self._machine.kernel
        tables, shares = kernel.frames.used[FrameKind.PAGETABLE], kernel.share_counts.items()
        regions = sum(mm.shared_tables for mm in kernel.mm_context.address_spaces.values())
        links = sum(count for _, count in shares)
        times = plural(links, "time", "times")
        linked = f"{len(shares):,} of them linked {times}" if shares else "none linked"
        return f"tables: {tables:,} ({size_text(tables * PAGE_SIZE)}), {linked}, {plural(regions, 'region', 'regions')}"

    def _tlb_lines(self) -> list[str]:
        """Each array of the modelled TLBs of all vCPUs; nothing where none is modelled."""
        mmu = self._machine.kernel.cpu.mmu
        if mmu.tlb is None:
            return []
        counted = [model.array_counters() for model in mmu.tlbs]
        words = []
        for array in mmu.tlb.geometry.arrays:
            lookups, misses = (sum(getattr(c[array.name], name) for c in counted) for name in ("lookups", "misses"))
            words.append(f"{array.name} {misses:,}/{lookups:,}")
        return [f"TLB misses/lookups: {', '.join(words)}"]

    def _processes(self, room: int) -> Table:
        """The busiest processes, by the instructions since the last look."""
        rows, before = [], self._of
        self._of = {}
        for task in self._machine.tasks:
            row = describe_process(task.group)
            since = row["instructions"] - before.get(task.tgid, 0)
            self._of[task.tgid] = row["instructions"]
            rows.append((since, row, task))
        total = sum(since for since, _, _ in rows) or 1
        rows.sort(key=lambda each: (-each[0], each[1]["pid"]))
        shown = rows[: room - 1 if len(rows) > room else room]
        cells = [
            {**row, "cpu": f"{100 * since / total:.1f}", "state": _state(task)} for since, row, task in shown
        ]  # fmt: skip
        return processes_table(cells, len(rows) - len(shown), self._console.width)


def _state(task: Task) -> str:
    return _STATES.get(task.state, "S") if task.alive else "Z"
