"""The kernel: the state that a machine's processes share, and the task that is running."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from emu.cpu.cpu import Cpu
from emu.fs.resources import Resources
from emu.fs.vfs import Vfs
from emu.kernel.aiolimits import AioLimits
from emu.kernel.elf import KnownPrograms
from emu.kernel.entry import Entry
from emu.kernel.exit import do_exit, do_group_exit, reap_traced
from emu.kernel.futex import Futexes
from emu.kernel.jobctl import JobControl
from emu.kernel.layout import LayoutRandom
from emu.kernel.namespaces import Namespaces
from emu.kernel.nsproxy import NsProxy
from emu.kernel.pid import Pids
from emu.kernel.region import Region
from emu.kernel.rlimit import hard_limit, soft_limit
from emu.kernel.sched import Scheduler
from emu.kernel.signal_state import Sig
from emu.kernel.signals import Signals
from emu.kernel.task import INIT_PID, Task
from emu.kernel.tracer import Tracer
from emu.kernel.vdso import Vdso
from emu.linux.capability import SYS_RAWIO
from emu.linux.clock import Clock, HostClock
from emu.linux.cost import Cost
from emu.linux.namespace import LateNamespace, Namespace, UserNamespace
from emu.mm.address_space import AddressSpace
from emu.mm.context import MmContext
from emu.mm.flags import FaultResult
from emu.mm.frames import FrameAllocator
from emu.mm.hugetlb import HugePagePool
from emu.mm.sharecounts import ShareCounts
from emu.mm.tlbflush import TlbFlusher
from mmu import PhysicalMemory

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.ipc.keys import Keys
    from emu.ipc.namespace import IpcNamespace
    from emu.kernel.cgroup.group import Cgroup
    from emu.kernel.cgroup.hierarchy import Hierarchy
    from emu.kernel.oom import OomKiller
    from emu.kernel.printk import KernelLog
    from emu.kernel.translation_cycles import TranslationCycles
    from emu.kernel.ttys import Ttys
    from emu.linux.event_kind import Kind
    from emu.linux.syscall import Syscall
    from emu.mm.compaction import Compaction
    from emu.mm.khugepaged import Khugepaged
    from emu.mm.reclaim import Reclaim
    from emu.mm.swapfile import SwapArea
    from emu.mm.userfault import Userfault, Waiting
    from emu.net.namespace import NetNamespace
    from mmu.geometry import Geometry

#: The most messages that are kept, whatever guests do.
MAX_LOGGED = 1000
_FAULT, _RDTSC = Cost.FAULT, Cost.RDTSC


class LeftByTasks(Protocol):
    """What must know of a task that goes (emu.kernel.uring)."""

    def task_leaves(self, task: Task, *, ends: bool) -> None:
        """A task ends, or runs another program."""


class Kernel:
    """One machine's kernel; :mod:`emu.boot` adds its system calls and file systems.

    ``cpus`` and ``turn``: the number of vCPUs, and how many ns each runs at a time; ``real_time``: its clock is the
    host's; ``log`` gets each message for the user (repeated ones once).
    ``engine_fast`` is what :class:`emu.cpu.cpu.Cpu` has as ``fast``.
    """

    #: The terminals; set when the machine boots.
    ttys: Ttys

    def __init__(
        self,
        ram: PhysicalMemory,
        *,
        seed: int = 0,
        tlb: str | Geometry = "off",
        la57: bool = False,
        cpus: int = 1,
        engine_fast: bool | None = None,
        turn: int | tuple[int, int] | None = None,
        real_time: bool = False,
        hostname: str = "unimmu",
        aslr: bool = False,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self._log = log or (lambda message: print(f"unimmu: {message}", file=sys.stderr))
        self._logged: set[str] = set()
        #: The source of random bytes.
        self.random = random.Random(seed)
        self.known_programs = KnownPrograms()
        #: kernel.randomize_va_space, vm.legacy_va_layout, and where places for programs come from.
        self.randomize_va_space = 2 if aslr else 0
        self.legacy_va_layout = 0
        self.layout_random = LayoutRandom(seed)
        self.ram = ram
        self.cpus = cpus
        self.aio = AioLimits()
        #: kernel.core_pattern and kernel.core_uses_pid.
        self.core_pattern = "core"
        self.core_uses_pid = 0
        self.perf_event_paranoid = 2
        #: kernel.io_uring_disabled and kernel.io_uring_group, and the instances, once there is one.
        self.io_uring_disabled, self.io_uring_group = 0, -1
        self.urings: LeftByTasks | None = None
        #: What all events of perf_event_open(2) share, once there is one.
        self.perf: object = None
        #: How many sessions the audit has numbered (/proc/PID/sessionid).
        self.login_sessions = 0
        #: How many open files programs have compared (kcmp).
        self.compared_files = 0
        self.cpu = Cpu(ram, entry_frame=2, tlb=tlb, seed=seed, la57=la57, cpus=cpus, fast=engine_fast)
        mmu = self.cpu.mmu
        self.frames = FrameAllocator(ram, mmu.code_written, mmu.code_written_many, mmu.has_code)
        self.clock = (HostClock if real_time else Clock)(self.cpu.retired)
        self.cpu.read_tsc = self._read_tsc
        self.flusher = TlbFlusher(
            self.cpu.mmu, current_pid=self.current_tgid, tracer=lambda: self.tracer, clock=self.clock
        )
        #: The area on the device that the machine has for it, if any.
        self.swap_device: SwapArea | None = None
        #: The pool of 2 MiB pages.
        self.huge_pages = HugePagePool(self.frames, self.flusher.empty_untold)
        self.share_counts = ShareCounts()
        self.mm_context = MmContext(
            self.frames,
            self.flusher,
            self.share_counts,
            {},
            levels=5 if la57 else 4,
            limit=lambda resource: soft_limit(self.scheduler.current, resource),
            hard_limit=lambda resource: hard_limit(self.scheduler.current, resource),
            clock=self.clock,
            may_map_low=lambda: self.current is not None and self.current.credentials.capable(SYS_RAWIO),
            may_write=lambda file: self.current is None or file.may_write(self.current.credentials),
        )
        self.mm_context.wait_userfault, self.mm_context.wait_event = self._wait_userfault, self._wait_event
        self.mm_context.shrinkers.append(self._shrink_lazyfree)
        self._reclaim_to_swap()
        self.vdso = Vdso(self.frames, self.clock)
        self.tracer = Tracer()
        #: Rows for the events of modules: the tracer accepts no other kinds of events.
        self.event_kinds: list[Kind] = []
        #: What is recorded and counted.
        self.region = Region()
        self.tasks: dict[int, Task] = {}
        self.pids = Pids(self.tasks, lambda: self.namespaces.others)
        context = self.mm_context
        resources = Resources(
            self.frames, self.huge_pages, self.clock, self.random, context.thp, context.swap, context.commit
        )
        self.vfs = Vfs(resources, self._places)
        #: The sockets of AF_UNIX that have a file, by its device and inode number.
        self._unix_names: dict[tuple[int, int], Any] = {}
        self.namespaces = Namespaces(
            hostname, self.tasks, ipc=self._new_ipc, net=self._new_net, vfs=self.vfs, tell=self.log_once,
            pid_in_use=self.pids.in_use, begin=self._set_apart, cgroup=self._new_cgroup_ns,
        )  # fmt: skip
        self.namespaces.on_end.append(self.vdso.forget)
        self.futexes = Futexes(self.tasks, self.clock)
        self.scheduler = Scheduler(
            self.cpu, self.clock, self.flusher, self.tasks, cpus, turn, random.Random(f"turns {seed}")
        )
        #: Whose the cycles are that the TLB model counts; None where it counts none.
        self.translation_cycles: TranslationCycles | None = None
        if self.cpu.mmu.tlb is not None and self.cpu.mmu.tlb.costs is not None:
            from emu.kernel.translation_cycles import TranslationCycles  # few machines count them

            self.translation_cycles = TranslationCycles(self.cpu.mmu)
            self.scheduler.on_account.append(self.translation_cycles.account)
        self.stop = self.mm_context.stop = self.scheduler.stop
        self.scheduler.on_idle = self._idle
        self.jobs = JobControl(
            self.tasks, self.scheduler, lambda task, signo, info: self.signals.send_to_process(task, signo, info)
        )
        self.signals = Signals(
            self.cpu,
            wake=self.scheduler.wake,
            hurry=self.scheduler.hurry,
            exit=self.exit,
            charge=self.clock.charge,
            jobs=self.jobs,
            tracer=lambda: self.tracer,
        )
        self.entry = Entry(self)
        #: (file system type, path, options) that a module wants mounted unless the user mounts something there.
        self.default_mounts: list[tuple[str, str, str]] = []
        #: Called when a process ends, with its last thread, and when a thread ends; its memory still exists.
        self.exit_hooks: list[Callable[[Task], None]] = []
        self.thread_exit_hooks: list[Callable[[Task], None]] = []
        #: Findings that modules report to the audit, a sentence each.
        self.audit_hooks: list[Callable[[], Iterable[str]]] = []
        #: The figures of the memory of each kind, for reports (/proc/vmstat).
        self.memory_figures: Callable[[], dict[str, int]] = dict
        #: What memory.stat of a control group says.
        self.memory_stat: Callable[[Cgroup], str] = lambda group: ""
        #: Sections that modules add to the ``--json`` report, by name.
        self.reporters: dict[str, Callable[[], Any]] = {}

    def _reclaim_to_swap(self) -> None:
        """What is to be done where memory is short and pages can go to swap."""
        context = self.mm_context

        def when_on(reclaim: Callable[[int], int]) -> Callable[[int], int]:
            return lambda wanted: reclaim(wanted) if context.swap.areas.active else 0

        context.shrinkers.append(when_on(lambda wanted: self.reclaim.direct(wanted)))
        self.frames.swap_out = when_on(lambda wanted: self.reclaim.unmapped(wanted))
        context.out_of_memory = lambda mm: self.oom.relieve(mm)
        self.frames.out_of_memory = lambda: self.oom.relieve_here()
        self.frames.compact = lambda: self.compaction.direct()
        context.balance = lambda: self.reclaim.balance()
        context.shrink_to_swap = lambda wanted, among: self.reclaim.shrink(wanted, "direct", among)
        context.make_room = lambda number: self.reclaim.make_room(number)

    @cached_property
    def compaction(self) -> Compaction:
        """What moves pages so that free frames adjoin, made when there is a need."""
        from emu.mm.compaction import Compaction  # few machines need it

        return Compaction(self.mm_context)

    @cached_property
    def oom(self) -> OomKiller:
        """What decides who is killed where memory is out."""
        from emu.kernel.oom import OomKiller  # few machines need it

        return OomKiller(self)

    @cached_property
    def printk(self) -> KernelLog:
        """The kernel's log."""
        from emu.kernel.printk import KernelLog

        return KernelLog(self.clock.now_ns)

    @cached_property
    def reclaim(self) -> Reclaim:
        """What makes memory free, made when there is a need."""
        from emu.mm.reclaim import Reclaim  # few machines swap

        return Reclaim(self.mm_context)

    @property
    def ns(self) -> NsProxy:
        """The namespaces of the task whose turn it is."""
        current = self.scheduler.current
        return self.namespaces.initial if current is None else current.ns

    def _set_apart(self) -> None:
        """There are namespaces from now on in which processes or users have other numbers."""
        from emu.kernel.pidns import SeenSignals  # few machines have any

        self.signals.apart = SeenSignals(lambda: self.current)

    def _new_ipc(self, user: UserNamespace | None) -> LateNamespace[IpcNamespace]:
        def make() -> IpcNamespace:
            from emu.ipc.namespace import IpcNamespace

            made = IpcNamespace(self.vfs, self.clock, self.current_tgid, user)
            self.exit_hooks.append(made.process_ended)
            return made

        def end(made: IpcNamespace) -> None:
            self.exit_hooks.remove(made.process_ended)
            made.release()

        return LateNamespace("ipc", make, user, end)

    def _new_net(self, user: UserNamespace | None) -> LateNamespace[NetNamespace]:
        def make() -> NetNamespace:
            from emu.net.namespace import NetNamespace

            up = space.is_initial
            tell, names = self.log_once, self._unix_names
            return NetNamespace(self.vfs, self.clock, lambda: self.current, tell, names, user=user, up=up)

        space = LateNamespace("net", make, user)
        return space

    @property
    def ipc(self) -> IpcNamespace:
        """System V IPC, as the task whose turn it is sees it."""
        return self.ns.ipc.content

    @cached_property
    def keys(self) -> Keys:
        """The keys, made for the first who asks."""
        from emu.ipc.keys import Keys
        from emu.kernel.process_keys import has_ended

        made = Keys(self.clock, self.frames.kmem, self.random.getrandbits(28))
        self.thread_exit_hooks.append(lambda task: has_ended(made, task))
        return made

    @cached_property
    def cgroups(self) -> Hierarchy:
        """The control groups, made for the first who asks."""
        from emu.kernel.cgroup.freezer import Freezer
        from emu.kernel.cgroup.hierarchy import Hierarchy
        from emu.kernel.cgroup.memory import Memory

        def kill(task: Task) -> None:
            self.signals.send_to_process(task, Sig.KILL)

        memory = Memory(
            self.mm_context, self.tasks, lambda: self.current, lambda task: self.cgroups.of(task),
            end=lambda task: self.oom.end(task), post=self.scheduler.post, log=self.log,
            oom=lambda: self.oom,
        )  # fmt: skip
        return Hierarchy(self.tasks, self.frames.kmem, Freezer(self.scheduler, self.clock), memory, kill)

    def _new_cgroup_ns(self, task: Task, user: UserNamespace | None) -> Namespace:
        from emu.kernel.cgroup.hierarchy import CgroupNamespace

        return CgroupNamespace(self.cgroups.of(task), user)

    @property
    def net(self) -> NetNamespace:
        """The sockets, likewise."""
        return self.ns.net.content

    @property
    def current(self) -> Task | None:
        """The task whose turn it is."""
        return self.scheduler.current

    @cached_property
    def khugepaged(self) -> Khugepaged:
        """What makes huge pages of small ones by itself."""
        from emu.mm.khugepaged import Khugepaged  # few programs have huge pages

        return Khugepaged()

    def _shrink_lazyfree(self, wanted: int) -> int:
        from emu.mm.lazyfree import shrink_lazyfree  # most runs have memory enough

        return shrink_lazyfree(self.mm_context, wanted)

    def _idle(self, ns: int) -> None:
        """Every task sleeps for so long."""
        if self.mm_context.thp.used:
            now = self.clock.now_ns()
            self.khugepaged.idle(self.mm_context, now, now + ns)

    def _wait_userfault(self, fault: Userfault) -> None:
        from emu.kernel.userfaultfd import wait_in_kernel  # hardly any program has one

        wait_in_kernel(self, fault)

    def _wait_event(self, waiting: Waiting) -> None:
        from emu.kernel.userfaultfd import wait_event

        wait_event(self, waiting)

    @cached_property
    def init(self) -> Task:
        """Process 1, made for the first who asks.  LinuxError(ENOMEM)."""
        from emu.kernel.init import new_init  # few programs ask

        return new_init(self.mm_context, self.cpu.fresh_context(0), self.vfs.root, self.namespaces.initial)

    def end_init(self) -> None:
        """Nobody is left who could ask for process 1: what it has is given back."""
        init = self.__dict__.pop("init", None)
        if init is not None:
            init.mm.put()

    def find_call(self, number: int) -> Syscall | None:
        """The row of a system call."""
        return self.entry.lookup(number)

    def find_task(self, pid: int) -> Task | None:
        """The task that has a number of the machine's (find_task_by_vpid); process 1 is one besides :attr:`tasks`."""
        return self.init if pid == INIT_PID else self.tasks.get(pid)

    def with_init(self) -> list[Task]:
        """Every task, process 1 included, in the order in which they were made (for_each_process_thread)."""
        return [self.init, *self.tasks.values()]

    def current_tgid(self) -> int | None:
        """The process whose turn it is."""
        return None if self.current is None else self.current.tgid

    def _places(self) -> Iterator[Path]:
        for task in self.tasks.values():
            yield from task.places

    # -- services --------------------------------------------------------------------------------------------------

    def log(self, message: str) -> None:
        """Tell the user."""
        self._log(message)

    def log_once(self, message: str) -> None:
        """Tell the user, unless the same message was sent before."""
        if message in self._logged or len(self._logged) > MAX_LOGGED:
            return
        self._logged.add(message)
        self._log(message if len(self._logged) <= MAX_LOGGED else "further messages are suppressed")

    def _read_tsc(self) -> int:
        """The time-stamp counter: the machine's time in ns, as of a processor of 1 GHz."""
        if self.entry.fast_path.begun:
            self.entry.fast_path.end()
        self.clock.charge(_RDTSC)
        return self.clock.now_ns()

    def count_kernel_fault(self, result: int, number: int, copying: bool) -> None:
        """Count faults that the kernel took on user memory for the current task, but not as hardware faults."""
        self.clock.charge(number * _FAULT)
        if self.current is not None:
            if copying:
                self.current.usage.kernel_faults += number
            elif result in (FaultResult.MINOR, FaultResult.LINKED):
                self.current.usage.populated += number
            if result == FaultResult.MINOR:
                self.current.usage.min_flt += number
            elif result == FaultResult.LINKED:
                self.current.usage.link_faults += number
            elif result == FaultResult.MAJOR:
                self.current.usage.maj_flt += number

    def pid_of(self, mm: AddressSpace) -> int | None:
        """A process with this address space; the current one if there is none, since execve takes down its old one."""
        if self.current is not None and self.current.mm is mm:
            return self.current.tgid
        fallback = None if self.current is None else self.current.tgid
        return next((task.tgid for task in self.tasks.values() if task.mm is mm), fallback)

    # -- the end of processes --------------------------------------------------------------------------------------

    def exit(self, task: Task, status: int) -> None:
        """End the process of a task; ``status`` as wait4 gives it (exit code << 8, or the signal)."""
        do_group_exit(self, task, status)

    def exit_thread(self, task: Task, status: int) -> None:
        """End one thread, and with the last one the process."""
        do_exit(self, task, status)

    def reap_traced(self, task: Task) -> None:
        """The tracer of a task that has ended will not wait for it."""
        reap_traced(self, task)

    def out_of_memory(self, task: Task) -> None:
        """A task must have a page, and no frame is left, or its control group has no room."""
        if self.mm_context.group_is_full() and self.cgroups.memory.fault_fails(task):
            return
        self.oom.kill_for(task)
