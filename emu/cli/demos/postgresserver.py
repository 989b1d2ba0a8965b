"""The machines of ``unimmu demo --postgres``: one that makes a cluster, and one for each run of its server."""

from __future__ import annotations

import io
import os
import re
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emu.cli import hostmemory
from emu.cli.arguments import UsageError
from emu.cli.demos.postgresguest import (
    READY,
    WORKING,
    environment,
    initdb_script,
    rows_read,
    serve_script,
    start,
    titles,
)
from emu.cli.messages import version
from emu.cli.progress import on_terminal, progress
from emu.kernel.report import describe_process
from emu.kernel.sched import StopReason
from emu.kernel.task import Task
from emu.kernel.tracer import Tracer
from emu.kernel.usage import Usage
from emu.machine import LaunchError, Machine, Mount
from emu.mm.address_space import AddressSpace
from emu.mm.pagetable import P
from emu.mm.vma import Vma
from emu.trace.report.postgres import Probe, ServerFigures
from emu.trace.report.snapshot import Snapshot, take_snapshot
from emu.trace.report.units import plural, size_text
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.trace.formats.sink import Sink
    from emu.trace.recorder import Recorder

_MOUNT_POINT = "/sys/fs/mshare"
#: About so many instructions: initdb, the server without clients, each client, and each row that one writes or reads.
_INITDB, _SERVER, _CLIENT, _ROW = 2_400_000_000, 350_000_000, 25_000_000, 3_000
#: Bytes of memory: a backend without what it has of the buffers; everything else; a machine for initdb.
_BACKEND, _REST, _FOR_INITDB = 6 << 20, 640 << 20, 768 << 20
#: So many of the guests' last lines are shown if something goes wrong.
_MOST_LINES = 20
_HUGE_PAGES = re.compile(rb"^huge pages: (\d+)$", re.M)
_VERSION = re.compile(rb"^postgres (.*)$", re.M)
_MISSES = ("dTLB-load-misses", "dTLB-store-misses", "iTLB-load-misses")


@dataclass(frozen=True)
class Work:
    """What a run does: ``programs`` are PostgreSQL's, as the machine sees them in ``root``; ``buffers`` in bytes."""

    root: str
    programs: str
    clients: int
    buffers: int
    cpus: int
    #: Each client reads one block of so many.
    stride: int = 1

    @property
    def memory(self) -> int:
        """Bytes of the machine: the buffers and the table's file, huge pages for as much, and the processes with tables
        of their own.  Files have half of the memory at most.
        """
        each = _BACKEND + (self.buffers >> 9)
        return (4 * self.buffers + self.clients * each + _REST + PAGE_SIZE - 1) & -PAGE_SIZE

    @property
    def host_memory(self) -> int:
        """About how many bytes of the host's memory this takes: what a client's backend reads stands in the buffers
        and in the file.
        """
        each = _BACKEND // 2 + (self.buffers >> 9)
        return 2 * self.buffers + self.clients * each + _REST


@dataclass(frozen=True)
class Mode:
    """A way to map the buffers; ``options`` are those of msharefs."""

    label: str
    title: str
    large_pages: bool = False
    ptshare: bool = False
    options: str = ""


@dataclass(frozen=True)
class Cluster:
    """A database cluster as a tar archive, how many huge pages its buffers take, and the version that made it."""

    archive: bytes
    huge_pages: int
    version: str


def initdb(work: Work) -> Cluster:
    """Make a cluster in a machine of its own."""
    archive, said = io.BytesIO(), bytearray()
    machine = _machine(_FOR_INITDB, work, stdout=archive.write, stderr=said.extend)
    variables = environment(work.programs, work.clients, work.buffers, work.stride, huge=False)
    try:
        task = start(machine, initdb_script(), variables)
    except LaunchError as error:
        raise UsageError(f"--root {work.root}: {error}") from None
    _run(machine, task, "initdb", _INITDB)
    huge_pages, version = _HUGE_PAGES.search(said), _VERSION.search(said)
    if task.exit_code or huge_pages is None or version is None:
        why = said.decode("utf-8", "replace").strip().rpartition("\n")[2] or f"exit status {task.exit_code}"
        raise UsageError(f"--root {work.root}: {work.programs} there makes no cluster: {why}")
    _end(machine, said)
    return Cluster(archive.getvalue(), int(huge_pages[1]), version[1].decode())


def serve(work: Work, cluster: Cluster, mode: Mode, tlb: str, sink: Sink | None = None) -> ServerFigures:
    """Run the server in one way; ``sink`` is given the events from the start of the clients on, until all wait."""
    return _Server(work, cluster, mode, tlb, sink).go()


@dataclass
class _Server:
    """A machine in which the server runs, and what is noted when the guests have come so far."""

    work: Work
    cluster: Cluster
    mode: Mode
    tlb: str
    sink: Sink | None = None
    said: bytearray = field(default_factory=bytearray)
    _line: bytes = b""
    _stage: bytes = b""
    _counted: dict[str, int] = field(default_factory=dict)
    #: The backends of clients that have come later: usage, and system time when they ended, the first first.
    _ended: list[tuple[Usage, int]] = field(default_factory=list)
    #: When every client waits: the postmaster, and the last process so far.
    _postmaster: int = 0
    _latest: int = 0

    def go(self) -> ServerFigures:
        """Everything, from the start of the server to its end."""
        work, mode = self.work, self.mode
        begun = time.process_time()
        options = [Mount("msharefs", _MOUNT_POINT, mode.options)] if mode.options else []
        self.machine = machine = _machine(
            work.memory, work, mounts=options, tlb=self.tlb, cpus=work.cpus,
            hugepages=self.cluster.huge_pages if mode.large_pages else 0, stdin=io.BytesIO(self.cluster.archive),
            stdout=self._hear, stderr=self.said.extend,
        )  # fmt: skip
        if mode.ptshare:
            machine.kernel.vfs.write_file("/proc/sys/vm/ptshare_anonymous", b"1")
        machine.kernel.exit_hooks.append(self._note_end)
        recorder = None if self.sink is None else _recorder(machine, self.sink, work)
        variables = environment(work.programs, work.clients, work.buffers, work.stride, mode.large_pages)
        task = start(machine, serve_script(), variables)
        clients = plural(work.clients, "client", "clients")
        title = f"{mode.title}: {clients}, {size_text(work.buffers)}" + (f", {self.tlb}" if self.tlb != "off" else "")
        rows = 3 * rows_read(work.buffers, 1) + work.clients * rows_read(work.buffers, work.stride)
        total = _SERVER + work.clients * _CLIENT + rows * _ROW
        reason = _run(machine, task, title, total)
        _expect(task.alive and self._stage == READY, f"the server did not come so far: {reason.value}", self.said)
        if recorder is not None:
            recorder.finish()
            machine.kernel.tracer = Tracer()
        worked = {name: value - self._counted[name] for name, value in self._counts().items()}
        processes, beside = len(machine.tasks), hostmemory.rss_besides(machine.ram)
        snapshot, server, shared = self._look(begun)
        reason = _run(machine, task, f"{title}: its end", None)
        _expect(not task.alive and task.exit_code == 0, f"the work failed: {reason.value}", self.said)
        machine.run()  # who has ended with the script, but later
        _expect(len(self._ended) > 0, "no backend came later", self.said)
        usage, until = self._ended[0]
        probe = Probe(usage.min_flt, usage.link_faults, usage.hw_faults, until, usage.system_ns - until)
        _end(machine, self.said)
        misses = {} if self.tlb == "off" else {self.tlb: sum(worked[name] for name in _MISSES)}
        return ServerFigures(
            mode.label, mode.title, snapshot, server, shared, worked["walks"], worked["walk_loads"], misses,
            worked["shootdowns"], worked["receivers"], probe, processes, beside, time.process_time() - begun,
        )  # fmt: skip

    # -- while it runs ---------------------------------------------------------------------------------------------

    def _hear(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            if line not in (WORKING, READY):
                self.said += line + b"\n"
                continue
            self._stage = line
            if line == WORKING:
                self._counted = self._counts()
            else:
                self.machine.stop()
            self.machine.kernel.region.switch(line == WORKING)

    def _note_end(self, task: Task) -> None:
        if self._postmaster == task.ppid and task.tgid > self._latest:
            self._ended.append((task.usage, task.usage.system_ns))

    def _counts(self) -> dict[str, int]:
        """What grows while the machine runs."""
        kernel = self.machine.kernel
        counters, shootdowns = kernel.cpu.mmu.counters, kernel.flusher.shootdowns.report()
        counts = {
            "walks": counters.walks,
            "walk_loads": counters.walk_loads,
            "shootdowns": shootdowns["sent"],
            "receivers": shootdowns["ipis"],
        }
        if self.tlb != "off":
            from mmu.perf_events import perf_events

            counts |= perf_events(kernel.cpu.mmu, None)
        return counts

    # -- when every client waits -----------------------------------------------------------------------------------

    def _look(self, begun: float) -> tuple[Snapshot, int, int]:
        """The tables of the backends, and the bytes of those of the server's processes, and of those of nobody."""
        machine, shown = self.machine, titles(self.machine)
        server = [task for task in machine.tasks if "postgres" in shown.get(task.tgid, "").split(" -D")[0]]
        backends = [task for task in server if shown[task.tgid].endswith("SELECT waiting")]
        _expect(len(backends) == self.work.clients, f"{len(backends)} backends wait: {shown}", self.said)
        self._postmaster, self._latest = backends[0].ppid, max(machine.kernel.tasks)
        start, length = _buffers(backends)
        used = _first_used(backends, start, length)
        seconds = time.process_time() - begun
        snapshot = take_snapshot(
            machine, self.mode.label, self.mode.title, used, start + length - used, seconds, backends
        )
        hosts = [mm for mm in machine.kernel.mm_context.address_spaces.values() if mm.shared_tables]
        family = [task for task in server if self._postmaster in (task.tgid, task.ppid)]
        return (
            snapshot,
            sum(describe_process(task.group)["pagetable_bytes"] for task in family),
            sum(mm.tables.table_bytes for mm in hosts),
        )


def _buffers(backends: list[Task]) -> tuple[int, int]:
    """Where the large shared memory of all of them is, and how many bytes."""
    vma = max((vma for vma in backends[0].mm.vmas if vma.shared), key=_length)
    return vma.start, _length(vma)


def _length(vma: Vma) -> int:
    """Bytes of what a mapping shows: that of a region is larger."""
    backing = vma.ops.backing(vma)
    inner = None if backing is None else backing[0].vmas.find(backing[1])
    return vma.length if inner is None else inner.length


def _first_used(backends: list[Task], start: int, length: int) -> int:
    """The first page there that each has used."""
    for address in range(start, start + length, PAGE_SIZE):
        if all(_uses(task.mm, address) for task in backends):
            return address
    raise AssertionError("_first_used: backends that have no page in common")


def _uses(mm: AddressSpace, address: int) -> bool:
    slot = mm.tables.leaf_slot(address)
    return slot is not None and bool(mm.frames.ram.qwords[slot] & P)


# -- machines ----------------------------------------------------------------------------------------------------------


def _machine(memory: int, work: Work, **options: Any) -> Machine:
    try:
        return Machine(memory, root=work.root, log=lambda message: None, **options)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _recorder(machine: Machine, sink: Sink, work: Work) -> Recorder:
    """It records while the region of interest is switched on."""
    from emu.trace.recorder import Recorder  # few runs are recorded

    machine.kernel.region.switch(False)
    command = ["unimmu", "demo", "--postgres", f"--clients={work.clients}", f"--shared-buffers={work.buffers}"]
    command += [f"--stride={work.stride}"] if work.stride > 1 else []
    root = os.path.abspath(work.root)
    machine.kernel.tracer = recorder = Recorder(machine, sink, command=command, seed=0, version=version(), root=root)
    return recorder


def _run(machine: Machine, script: Task, title: str, instructions: int | None) -> StopReason:
    """Run it until everything, or the script in it, has ended, with a bar on the terminal or a line before, and a line
    behind.
    """
    began, cpu = time.perf_counter(), machine.kernel.cpu
    if not on_terminal():
        print(f"{title} ...", file=sys.stderr, flush=True)
    with progress(title, instructions) as report:

        def look() -> bool:
            report(cpu.clock)
            return not script.alive  # it failed, and has left a server behind

        reason = machine.run(until=look)
    print(f"{title}: {time.perf_counter() - began:.1f} s", file=sys.stderr, flush=True)
    return reason


def _end(machine: Machine, said: bytearray) -> None:
    findings = machine.audit()
    _expect(not findings, "the audit found: " + "; ".join(findings), said)
    machine.ram.discard(0, machine.ram.size)  # now, not when Python happens to drop the machine


def _expect(condition: bool, complaint: str, said: bytearray) -> None:
    if not condition:
        text = "\n".join(said.decode("utf-8", "replace").strip().splitlines()[-_MOST_LINES:])
        raise RuntimeError(f"demo: {complaint}" + (f"\nthe guests said: {text}" if text else ""))
