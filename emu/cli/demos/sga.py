"""``unimmu demo --sga``: the problem that mshare was made for, at its full size.

A database keeps 300 GiB in shared memory and serves 1,500 clients, each a process; with 4 KiB pages their page tables
are larger than the memory.  This builds it: every leaf entry is written, every client is a process that reads.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import guests
from emu.cli import hostmemory
from emu.cli.arguments import UsageError, format_size
from emu.cli.messages import version
from emu.cli.progress import Report, progress
from emu.cli.results import ResultFiles
from emu.cli.screen import Screen
from emu.kernel.sched import StopReason
from emu.kernel.signal_state import Sig
from emu.kernel.task import Task
from emu.machine import Machine, Mount
from emu.mm.kmem import XA_NODE
from emu.mm.pagetable import LEVEL_OF, span
from emu.trace.report.figures import Grid
from emu.trace.report.sga import Sga, grid, in_words, measure
from emu.trace.report.units import plural, size_text
from mmu.memory import MAX_BYTES, PAGE_SHIFT, PAGE_SIZE

#: Where the guest program `sga` maps the memory.
START = 2 << 40
SIZE, PROCESSES, PLAIN = 300 << 30, 1500, 3
QUICK_SIZE, QUICK_PROCESSES = 4 << 30, 100
#: Words that each process reads where the donor wrote, and as many elsewhere.
READS = 32
_SEED = 7
_MAX_PROCESSES = 4000
_MOUNT_POINT = "/sys/fs/mshare"
_PROGRAM = "/bin/sga"
_SCHEMA = 1
#: Bytes of host memory for a page of guest memory: the frame's count and kind, the page cache's entry, the audit's
#: count, and the host's own PTE, since tables lie all over the memory.
_BOOKS = 4 + 1 + 4 + 4 + 8
#: Bytes of host memory of the emulator itself, and of a guest process.
_EMULATOR, _PROCESS = 512 << 20, 256 << 10


@dataclass(frozen=True)
class SgaOptions:
    """What to build; ``size`` in bytes, ``plain`` the number of processes that map the memory without mshare."""

    size: int
    processes: int
    plain: int
    level: str
    json: pathlib.Path | None

    @property
    def memory(self) -> int:
        """Bytes of the machine: the data with the nodes of its page cache, every set of tables, and what the processes
        take.
        """
        sets = 2 + self.plain
        tables = sets * ((self.size >> 9) + (self.size >> 18) + (1 << 20))
        every = (self.processes + self.plain) * (256 << 10)
        nodes = self.size // (512 * PAGE_SIZE) * XA_NODE
        return (self.size + tables + every + nodes + (256 << 20) + PAGE_SIZE - 1) & -PAGE_SIZE

    @property
    def host_memory(self) -> int:
        """About how many bytes of the host's memory this takes."""
        tables = (1 + self.plain) * (self.size >> 9)
        return tables + (self.size >> PAGE_SHIFT) * _BOOKS + _EMULATOR + self.processes * _PROCESS


def options_from(arguments: argparse.Namespace) -> SgaOptions:
    """Check everything that can be checked before a long run.  :class:`UsageError` says what is wrong."""
    quick = arguments.quick
    size = arguments.size if arguments.size is not None else QUICK_SIZE if quick else SIZE
    processes = arguments.processes if arguments.processes is not None else QUICK_PROCESSES if quick else PROCESSES
    plain = arguments.plain if arguments.plain is not None else PLAIN
    unit = span(LEVEL_OF[arguments.level] + 1)
    if size <= 0 or size % unit:
        wanted = f"with --sga it must be a multiple of {size_text(unit)}, and not 0"
        raise UsageError(f"--size {format_size(size)}: {wanted}")
    if processes < 1:
        raise UsageError(f"--processes {processes}: it must be at least 1")
    if plain < 0:
        raise UsageError(f"--plain {plain}: it must be at least 0")
    if processes + plain > _MAX_PROCESSES:
        raise UsageError(f"--processes {processes}: a machine has at most {_MAX_PROCESSES} processes")
    options = SgaOptions(size, processes, plain, arguments.level, arguments.json)
    if options.memory > MAX_BYTES:
        raise UsageError(f"--size {format_size(size)}: too large: a machine has at most {size_text(MAX_BYTES)}")
    available = hostmemory.available_memory()
    if available is not None and options.host_memory > available:
        needed = f"about {size_text(options.host_memory >> 20 << 20)} of this host's memory are needed"
        advice = ", or fewer --plain" if plain else ""
        raise UsageError(f"{needed} and {size_text(available >> 20 << 20)} are free: use a smaller --size{advice}")
    return options


def run(arguments: argparse.Namespace, show: Callable[[Screen, Grid], None]) -> int:
    """Build it, measure it while every process is alive, and take it down again."""
    options = options_from(arguments)
    with ResultFiles({"--json": options.json}) as files:
        return _build(options, files, show)


def _build(options: SgaOptions, files: ResultFiles, show: Callable[[Screen, Grid], None]) -> int:
    console = Screen(file_width=120)
    begun = time.perf_counter()
    try:
        measured = _Run(options).go()
    except MemoryError as error:
        raise UsageError(f"the host does not have enough memory: {error}") from None
    wall = time.perf_counter() - begun
    show(console, grid(measured.sga))
    peak, tables = hostmemory.peak_rss(), measured.host_tables
    took = f"{wall:.0f} s on this host, {size_text(_rounded(peak))} of its memory at the peak"
    if tables:
        took += f", and {size_text(_rounded(tables))} for its own page tables"
    console.print("interface: mshare(2), first series: it makes a region of the donor's mapping by moving its tables")
    console.print(
        f"audit: nothing is lost: every table, frame and reference was recounted, which took {measured.audit_s:.1f} s"
    )
    console.print(f"took: {took}\n", soft_wrap=True)
    console.print(in_words(measured.sga), style="bold", soft_wrap=True)
    if options.json is not None:
        report = {
            "schema": _SCHEMA,
            "unimmu": version(),
            **measured.sga.as_json(),
            "host": {"wall_s": wall, "peak_rss_bytes": peak, "pagetable_bytes": tables},
            "stages_s": measured.stages_s,
            "audit": {"findings": [], "wall_s": measured.audit_s},
        }
        files.write("--json", json.dumps(report, indent=1) + "\n")
    return 0


@dataclass(frozen=True)
class _Measured:
    """What a run gives: the figures, the seconds of each stage and of the audit, and the host's page tables for it."""

    sga: Sga
    stages_s: dict[str, float]
    audit_s: float
    host_tables: int


@dataclass
class _Run:
    """The machine from start to end, and when the guest said what."""

    options: SgaOptions
    #: Lines of the guest, and when each was complete.
    lines: list[tuple[str, float]] = field(default_factory=list)
    complaints: bytearray = field(default_factory=bytearray)
    _unfinished: bytes = b""

    def go(self) -> _Measured:
        """Everything, from the first process to the last."""
        options = self.options
        _say(f"{size_text(options.size)}, {plural(options.processes, 'process', 'processes')} ...")
        start = time.perf_counter()
        machine = self._machine()
        donor = self._start(machine)
        with progress("the pages are populated", options.processes + options.plain) as report:
            reason = machine.run(interrupted=lambda: self._tell(report, len(machine.kernel.tasks) - 1))
        self._expect(reason == StopReason.IDLE, f"the processes ended as: {reason.value}")
        self._expect(self.lines[-1][0].endswith(": ok"), "the processes read wrong data")
        stages = self._stages(start)
        seconds = (stages.get("plain", 0.0), stages["attach"])
        sga = measure(machine, START, options.size, options.level, seconds)
        self._check(sga)
        _say("measured; now the audit ...")
        begun = time.perf_counter()
        with progress("audit", None):
            findings = machine.audit()
        audit_s, host_tables = time.perf_counter() - begun, hostmemory.own_tables() or 0
        self._expect(not findings, "the audit found: " + "; ".join(findings))
        begun = time.perf_counter()
        machine.send_signal(donor, Sig.USR1)
        reason = machine.run()
        self._expect(reason == StopReason.EXITED, f"the processes did not end: {reason.value}")
        self._expect(donor.exit_code == 0, f"the donor ended with status {donor.exit_code:#x}")
        stages["end"] = time.perf_counter() - begun
        findings = machine.audit()
        self._expect(not findings, "after the end, the audit found: " + "; ".join(findings))
        machine.ram.discard(0, machine.ram.size)  # now, not when Python happens to drop the machine
        return _Measured(sga, stages, audit_s, host_tables)

    def _machine(self) -> Machine:
        mount = Mount("msharefs", _MOUNT_POINT, f"level={self.options.level}")
        try:
            machine = Machine(self.options.memory, stdout=self._hear, stderr=self.complaints.extend, mounts=[mount])
        except ValueError as error:
            raise UsageError(str(error)) from None
        machine.ram.want_huge_pages(False)  # tables are written, and what lies between them is not
        return machine

    def _start(self, machine: Machine) -> Task:
        options = self.options
        machine.install(guests.path("sga"), _PROGRAM)
        numbers = (options.size, options.processes, options.plain, READS, _SEED)
        return machine.spawn(_PROGRAM, [str(number) for number in numbers], in_guest=True)

    def _hear(self, data: bytes) -> None:
        *lines, self._unfinished = (self._unfinished + data).split(b"\n")
        for line in lines:
            self.lines.append((line.decode(), time.perf_counter()))
            _say(line.decode().removeprefix("sga: "))

    def _tell(self, report: Report, processes: int) -> bool:
        """Say how many processes there are; for Machine.run(), the run is not to end."""
        title = "processes start" if self.lines else None
        report(processes, title)
        return False

    def _stages(self, start: float) -> dict[str, float]:
        """Seconds from one of the guest's lines to the next."""
        names = ["populate", "marks", *(["plain"] if self.options.plain else []), "mshare", "attach"]
        seconds = {}
        for name, (_, end) in zip(names, self.lines, strict=False):
            seconds[name], start = end - start, end
        return seconds

    def _check(self, sga: Sga) -> None:
        """Check what must hold if the figures are to mean anything."""
        options = self.options
        alive = (sga.plain.processes, sga.sharing.processes)
        self._expect(alive == (options.plain, options.processes), f"{alive} processes were alive")
        leaf = sga.leaf_formula(1)
        self._expect(sga.region_leaf_bytes == leaf, f"the region has {sga.region_leaf_bytes} bytes of leaf tables")
        self._expect(sga.plain.leaf_bytes == leaf * options.plain, f"{sga.plain.leaf_bytes} bytes of leaf tables")

    def _expect(self, condition: bool, complaint: str) -> None:
        if not condition:
            said = "\n".join([*(line for line, _ in self.lines), self.complaints.decode("utf-8", "replace")]).strip()
            raise RuntimeError(f"demo: {complaint}" + (f"\nthe guest said: {said}" if said else ""))


# -- the host ----------------------------------------------------------------------------------------------------------


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _rounded(size: int) -> int:
    """To whole MiB, so that it reads well."""
    return size >> 20 << 20
