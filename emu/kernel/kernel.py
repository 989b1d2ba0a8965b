"""The kernel: everything that a machine's processes share, and who is running."""

from __future__ import annotations

import errno
import random
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from emu.boot import populate
from emu.cpu import Cpu
from emu.fs.fdtable import FdTable
from emu.fs.vfs import Vfs
from emu.kernel.entry import Entry
from emu.kernel.exit import do_exit, do_group_exit
from emu.kernel.futex import Futexes
from emu.kernel.limits import soft_limit
from emu.kernel.sched import Scheduler
from emu.kernel.signal_state import Sig
from emu.kernel.signals import Signals
from emu.kernel.task import Task
from emu.linux.clock import Clock
from emu.linux.errors import LinuxError
from emu.linux.tracer import Tracer
from emu.mm.address_space import AddressSpace, MmContext
from emu.mm.frames import FrameAllocator
from emu.mm.hugetlb import HugePagePool
from emu.mm.pagetable import ShareCounts
from emu.mm.tlbflush import TlbFlusher
from emu.mm.vma import FaultResult
from emu.proc.memory import PID_FILES, PID_READERS, add_memory_files
from emu.syscalls import all_tables
from mmu import PhysicalMemory

if TYPE_CHECKING:
    from emu.kernel.group import ThreadGroup
    from emu.kernel.modules import Init
    from emu.linux.event_kind import Kind
    from mmu.geometry import Geometry

FIRST_PID = 100
MAX_TASKS = 4096
#: What the host keeps, whatever guests do: messages, ended processes, and bytes of the arguments of each.
MAX_LOGGED, MAX_FINISHED, MAX_ARGUMENTS = 1000, 1 << 16, 4096


class Kernel:
    """One machine's kernel.

    ``cpus`` and ``turn``: vCPUs, and how many instructions each runs at a time; ``modules`` are the init functions of
    kernel modules; ``log`` is told what a user should know (once each for what repeats).
    """

    def __init__(
        self,
        ram: PhysicalMemory,
        *,
        seed: int = 0,
        tlb: str | Geometry = "off",
        la57: bool = False,
        cpus: int = 1,
        turn: int | None = None,
        modules: dict[str, Init] | None = None,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self._log = log or (lambda message: print(f"unimmu: {message}", file=sys.stderr))
        self._logged: set[str] = set()
        #: The only source of randomness.
        self.random = random.Random(seed)
        self.ram = ram
        self.cpu = Cpu(ram, entry_frame=2, tlb=tlb, seed=seed, la57=la57, cpus=cpus)
        self.frames = FrameAllocator(ram, self.cpu.mmu.code_written, self.cpu.mmu.code_written_many)
        #: The pool of 2 MiB pages.
        self.huge_pages = HugePagePool(self.frames)
        self.flusher = TlbFlusher(self.cpu.mmu)
        self.flusher.current_pid = lambda: None if self.current is None else self.current.tgid
        self.huge_pages.before_give_back = self.flusher.empty_untold
        self.flusher.tracer = lambda: self.tracer
        self.share_counts = ShareCounts()
        self.mm_context = MmContext(self.frames, self.flusher, self.share_counts, {}, levels=5 if la57 else 4)
        self.clock = Clock(lambda: self.cpu.clock)
        self.tracer = Tracer()
        #: Rows that modules declare for what they tell the tracer: a trace knows no other kinds of events.
        self.event_kinds: list[Kind] = []
        self.tasks: dict[int, Task] = {}
        #: What is kept of processes that have ended, for the report.
        self.finished: list[dict[str, Any]] = []
        self.current: Task | None = None
        self.mm_context.limit = lambda resource: soft_limit(self.current, resource)
        self._next_pid = FIRST_PID
        self.futexes = Futexes()
        self.scheduler = Scheduler(self, cpus, turn)
        self.signals = Signals(self)
        self.entry = Entry(self)
        for table in all_tables():
            for call in table:
                self.entry.register(call)
        self.vfs = Vfs(self)
        populate(self, cpus, pid_files=PID_FILES, pid_readers=PID_READERS)
        add_memory_files(self)
        #: (file system type, path, options) that a module wants mounted unless the user mounts something there.
        self.default_mounts: list[tuple[str, str, str]] = []
        #: Told of each process that ends, by its last thread, and of each thread; before its memory goes.
        self.exit_hooks: list[Callable[[Task], None]] = []
        self.thread_exit_hooks: list[Callable[[Task], None]] = []
        #: Told by modules to the audit: what is wrong, in sentences.
        self.audit_hooks: list[Callable[[], Iterable[str]]] = []
        #: Sections that modules add to the ``--json`` report, by name.
        self.reporters: dict[str, Callable[[], Any]] = {}
        for init in (modules or {}).values():
            init(self)

    # -- services --------------------------------------------------------------------------------------------------

    def log(self, message: str) -> None:
        """Tell the user."""
        self._log(message)

    def log_once(self, message: str) -> None:
        """Tell the user, unless they were told already."""
        if message in self._logged or len(self._logged) > MAX_LOGGED:
            return
        self._logged.add(message)
        self._log(message if len(self._logged) <= MAX_LOGGED else "whatever else is new will not be told any more")

    def new_pid(self) -> int:
        """A number that no task has.  LinuxError(EAGAIN) at the limit."""
        if len(self.tasks) >= MAX_TASKS:
            raise LinuxError(errno.EAGAIN)
        pid = self._next_pid
        self._next_pid += 1
        return pid

    @property
    def forks(self) -> int:
        """How many processes and threads there have been."""
        return self._next_pid - FIRST_PID

    def count_kernel_fault(self, result: int, number: int) -> None:
        """Faults that the kernel took on user memory count for the current task, except as hardware faults."""
        if self.current is not None:
            if result == FaultResult.MINOR:
                self.current.usage.min_flt += number
            elif result == FaultResult.LINKED:
                self.current.usage.link_faults += number

    def pid_of(self, mm: AddressSpace) -> int | None:
        """A process that has this address space; the current one if none has, since execve takes down what it had."""
        if self.current is not None and self.current.mm is mm:
            return self.current.tgid
        fallback = None if self.current is None else self.current.tgid
        return next((task.tgid for task in self.tasks.values() if task.mm is mm), fallback)

    @staticmethod
    def unshare_files(files: FdTable) -> FdTable:
        """A table of its own for a task that shared one (execve after CLONE_FILES)."""
        if files.users == 1:
            return files
        own = files.copy()
        files.put()
        return own

    # -- the life of processes -------------------------------------------------------------------------------------

    def start_program(self, task: Task, rip: int, rsp: int) -> None:
        """Give a task the registers of a new program (ELF psABI: all zero but RSP)."""
        task.rip = rip
        if task is self.current:
            self.cpu.load_fresh(rsp)
            task.registers_replaced = True
        else:
            task.context = self.cpu.fresh_context(rsp)

    def exit(self, task: Task, status: int) -> None:
        """End the process of a task; ``status`` as wait4 gives it (exit code << 8, or the signal)."""
        do_group_exit(self, task, status)

    def exit_thread(self, task: Task, status: int) -> None:
        """End one thread, and with the last one the process."""
        do_exit(self, task, status)

    def out_of_memory(self, task: Task) -> None:
        """No frame is left for a page that the task must have: it is killed, as the OOM killer would."""
        self.log(
            f"out of memory: killed process {task.pid} ({task.comm}); "
            f"{self.frames.free} of {self.frames.total} frames are free"
        )
        self.exit(task, Sig.KILL)

    def remember(self, group: ThreadGroup) -> None:
        """Keep the figures of a process that ends; of very many, the last ones."""
        if len(self.finished) >= MAX_FINISHED:
            self.log_once(f"more than {MAX_FINISHED} processes have ended: the report forgets the first ones")
            del self.finished[0]
        self.finished.append(describe_process(group))


def _shown_arguments(argv: tuple[bytes, ...]) -> list[str]:
    """Arguments for the report, cut off after some thousand bytes."""
    shown, left = [], MAX_ARGUMENTS
    for argument in argv:
        shown.append(argument[:left].decode("utf-8", "replace"))
        left -= len(argument) + 1
        if left <= 0:
            break
    return shown


def describe_process(group: ThreadGroup) -> dict[str, Any]:
    """A process as the ``--json`` report shows it; ``threads``: how many it has had."""
    status, task, usage = group.exit_code, group.leader, group.usage()
    code = (128 + (status & 0x7F) if status & 0x7F else status >> 8) if not group.alive else None
    return {
        "pid": group.tgid,
        "ppid": task.ppid,
        "argv": _shown_arguments(task.argv),
        "exit_status": code,
        "threads": group.started,
        "minor_faults": usage.min_flt,
        "major_faults": usage.maj_flt,
        "link_faults": usage.link_faults,
        "hardware_faults": usage.hw_faults,
        "instructions": usage.instructions,
        "rss_bytes": (task.mm.rss_anon + task.mm.rss_cache) << 12,
        "pagetable_bytes": task.mm.tables.table_bytes,
    }
