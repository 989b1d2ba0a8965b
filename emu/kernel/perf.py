"""Performance events: what is counted of a task, or of a vCPU, while an event is enabled (kernel/events/core.c).

An event is not told of what happens.  It reads how far what it counts has come, which tasks and vCPUs keep anyway, when
it begins, and again when it is asked or ends.  There are no samples.
"""

from __future__ import annotations

from enum import IntFlag
from typing import TYPE_CHECKING, NamedTuple, Protocol

from emu.kernel.timing import thread_cpu_ns, thread_user_ns
from emu.linux.words import Choice
from emu.mm.kmem import PERF_COUNTER

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from mmu.plugin import Mmu

_CLONE_THREAD = 0x10000
TYPE_HARDWARE, TYPE_SOFTWARE, TYPE_HW_CACHE = 0, 1, 3
_INSTRUCTIONS = 1


class Software(Choice, prefix="PERF_COUNT_SW_"):
    """Events of TYPE_SOFTWARE."""

    CPU_CLOCK = 0
    TASK_CLOCK = 1
    PAGE_FAULTS = 2
    CONTEXT_SWITCHES = 3
    CPU_MIGRATIONS = 4
    PAGE_FAULTS_MIN = 5
    PAGE_FAULTS_MAJ = 6
    ALIGNMENT_FAULTS = 7
    EMULATION_FAULTS = 8
    DUMMY = 9
    BPF_OUTPUT = 10
    CGROUP_SWITCHES = 11


class Attr(IntFlag):
    """Bits of struct perf_event_attr."""

    DISABLED = 1 << 0
    INHERIT = 1 << 1
    PINNED = 1 << 2
    EXCLUSIVE = 1 << 3
    EXCLUDE_USER = 1 << 4
    EXCLUDE_KERNEL = 1 << 5
    FREQ = 1 << 10
    ENABLE_ON_EXEC = 1 << 12
    USE_CLOCKID = 1 << 25
    NAMESPACES = 1 << 28
    AUX_OUTPUT = 1 << 31
    INHERIT_THREAD = 1 << 35
    REMOVE_ON_EXEC = 1 << 36
    SIGTRAP = 1 << 37


class Kind(NamedTuple):
    """What an event counts: its type and number, and whether in the program's own code and in the kernel."""

    type: int
    config: int
    user: bool = True
    kernel: bool = True


#: The TLB model's counts (mmu.perf_events) by cache, operation and result of a PERF_TYPE_HW_CACHE event.
_TLB = {
    (3, 0, 0): "dTLB-loads", (3, 0, 1): "dTLB-load-misses", (3, 1, 0): "dTLB-stores", (3, 1, 1): "dTLB-store-misses",
    (4, 0, 0): "iTLB-loads", (4, 0, 1): "iTLB-load-misses",
}  # fmt: skip


def tlb_event(kind: Kind) -> str | None:
    """The event of the TLB model that is meant; None: another."""
    if kind.type != TYPE_HW_CACHE or kind.config >> 24:
        return None
    return _TLB.get((kind.config & 0xFF, kind.config >> 8 & 0xFF, kind.config >> 16))


def is_counted(kernel: Kernel, kind: Kind) -> bool:
    """Whether there is something that counts such events: instructions, and those of the TLB in exact mode."""
    if kind.type == TYPE_SOFTWARE:
        return kind.config <= Software.CGROUP_SWITCHES
    if kind.type == TYPE_HARDWARE:
        return kind.config == _INSTRUCTIONS
    return tlb_event(kind) is not None and kernel.cpu.mmu.tlb is not None


def _of_task(kernel: Kernel, task: Task, kind: Kind) -> int:
    """How far the count of a task has come."""
    usage = task.usage
    if kind.type == TYPE_HARDWARE:
        return thread_user_ns(kernel, task) if kind.user else 0  # a nanosecond an instruction
    if kind.type == TYPE_HW_CACHE:
        name = tlb_event(kind)
        if task is kernel.current:
            kernel.scheduler.account(task)
        return context_of(kernel, task).tlb.get(name, 0) if name is not None and kind.user else 0
    if kind.config in (Software.CPU_CLOCK, Software.TASK_CLOCK):
        return thread_cpu_ns(kernel, task)
    if kind.config == Software.PAGE_FAULTS:
        return usage.hw_faults * kind.user + usage.kernel_faults * kind.kernel
    if kind.config == Software.PAGE_FAULTS_MIN:
        return usage.min_flt + usage.link_faults - usage.populated
    if kind.config == Software.PAGE_FAULTS_MAJ:
        return usage.maj_flt
    if kind.config == Software.CONTEXT_SWITCHES:
        return usage.voluntary_switches + usage.involuntary_switches if kind.kernel else 0
    return usage.migrations if kind.config == Software.CPU_MIGRATIONS and kind.kernel else 0


#: What a vCPU itself counts; nobody else keeps its faults and migrations.
OF_VCPU = frozenset(Software) - {
    Software.PAGE_FAULTS, Software.PAGE_FAULTS_MIN, Software.PAGE_FAULTS_MAJ, Software.CPU_MIGRATIONS,
}  # fmt: skip


def _of_vcpu(kernel: Kernel, number: int, kind: Kind) -> int:
    vcpu = kernel.scheduler.vcpus[number]
    if kernel.current is not None:
        kernel.scheduler.account(kernel.current)
    if kind.type == TYPE_HARDWARE:
        return vcpu.instructions if kind.user else 0
    if kind.type == TYPE_HW_CACHE:
        return _tlb_counts(kernel.cpu.mmu, number).get(tlb_event(kind) or "", 0) if kind.user else 0
    if kind.config in (Software.CPU_CLOCK, Software.TASK_CLOCK):
        return kernel.clock.now_ns()
    return vcpu.switches if kind.config == Software.CONTEXT_SWITCHES and kind.kernel else 0


def _tlb_counts(mmu: Mmu, number: int) -> dict[str, int]:
    from mmu.perf_events import perf_events  # for exact mode

    return perf_events(mmu, number)


class Event(Protocol):
    """An event, as its counters know it (emu.kernel.perffile)."""

    kernel: Kernel
    cpu: int
    kind: Kind
    bits: int
    counters: dict[Task | None, Counter]

    @property
    def leader(self) -> Event:
        """The leader of its group."""

    def task_ended(self, counter: Counter) -> None:
        """The task of a counter has ended, or runs another program."""


class Counter:
    """An event on one task (None: on its vCPU): the one for which it was opened, or one that has inherited it."""

    def __init__(self, event: Event, task: Task | None, *, on: bool) -> None:
        """Whoever makes it has charged PERF_COUNTER for it."""
        self.event = event
        self.task = task
        self._kernel = event.kernel
        #: Its task has ended, or it has been removed otherwise.
        self.gone = False
        #: Whether it is enabled; it counts while its group's leader is too.
        self.on = on
        self.enables_on_exec = bool(event.bits & Attr.ENABLE_ON_EXEC)
        self._count = self._time = 0
        #: Where count and time stood when it began to count; None: it does not.
        self._began: tuple[int, int] | None = None
        if task is not None:
            context_of(self._kernel, task).counters.append(self)
        self.update()

    def _now(self) -> tuple[int, int]:
        kernel, task = self._kernel, self.task
        if task is None:
            return _of_vcpu(kernel, self.event.cpu, self.event.kind), kernel.clock.now_ns()
        return _of_task(kernel, task, self.event.kind), thread_cpu_ns(kernel, task)

    @property
    def value(self) -> tuple[int, int]:
        """The count, and the time for which it was counted, in ns."""
        if self._began is None:
            return self._count, self._time
        count, time = self._now()
        return self._count + count - self._began[0], self._time + time - self._began[1]

    def update(self, *, ended: bool = False) -> None:
        """Begin to count, or stop, as it and its leader are enabled or not."""
        leader = self.event.leader.counters.get(self.task)
        wanted = self.on and (leader is None or leader.on) and not ended
        if wanted and self._began is None:
            self._began = self._now()
        elif not wanted and self._began is not None:
            self._count, self._time = self.value
            self._began = None

    def reset(self) -> None:
        """Count from 0; the time goes on."""
        time = self.value[1]
        self._count, self._time = 0, time
        if self._began is not None:
            self._began = self._now()

    def remove(self) -> None:
        """Its task ends, or nobody asks any more."""
        self.update(ended=True)
        self.on, self.gone = False, True
        self._kernel.frames.kmem.uncharge(PERF_COUNTER)
        if self.task is not None:
            context_of(self._kernel, self.task).counters.remove(self)


class PerfContext:
    """The events of one task (struct perf_event_context)."""

    def __init__(self, kernel: Kernel, task: Task) -> None:
        self._kernel = kernel
        self._task = task
        self.counters: list[Counter] = []
        #: What the TLB model has counted for it, by the names of mmu.perf_events.
        self.tlb: dict[str, int] = {}

    def _inherited(self, flags: int) -> list[Counter]:
        wanted = Attr.INHERIT if flags & _CLONE_THREAD else Attr.INHERIT | Attr.INHERIT_THREAD
        return [counter for counter in self.counters if counter.event.bits & wanted == Attr.INHERIT & wanted]

    def size_for_child(self, flags: int) -> int:
        """What the counters that a child inherits take on the host."""
        return len(self._inherited(flags)) * PERF_COUNTER

    def forked(self, child: Task, flags: int) -> None:
        """A child inherits those that are inherited, for which :meth:`size_for_child` has been charged
        (perf_event_init_task).
        """
        for counter in self._inherited(flags):
            heir = Counter(counter.event, child, on=counter.on)
            heir.enables_on_exec = counter.enables_on_exec
            counter.event.counters[child] = heir
            heir.update()

    def execed(self) -> None:
        """The task runs another program (perf_event_exec)."""
        for counter in list(self.counters):
            if counter.event.bits & Attr.REMOVE_ON_EXEC:
                counter.event.task_ended(counter)
            elif counter.enables_on_exec:
                counter.enables_on_exec, counter.on = False, True
        for counter in self.counters:
            counter.update()
        if self._task.mm.dumpable != 1:
            self.ended()

    def ended(self) -> None:
        """The task has ended (perf_event_exit_task)."""
        for counter in list(self.counters):
            counter.event.task_ended(counter)


def context_of(kernel: Kernel, task: Task) -> PerfContext:
    """The events of a task, who has some, or gets the first."""
    if task.perf is None:
        task.perf = PerfContext(kernel, task)
    assert isinstance(task.perf, PerfContext)
    return task.perf


class Perf:
    """What all events of a machine share."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._last_id = 0
        #: What the TLB model of each vCPU had counted when its last turn was accounted for.
        self._tlb: list[dict[str, int]] = []
        kernel.thread_exit_hooks.append(self._task_ended)

    def new_id(self) -> int:
        """The number of a new event."""
        self._last_id += 1
        return self._last_id

    def count_tlb(self) -> None:
        """Tell from now on for which task the TLB model counts."""
        kernel = self._kernel
        if not self._tlb:
            if kernel.current is not None:
                kernel.scheduler.account(kernel.current)
            self._tlb = [_tlb_counts(kernel.cpu.mmu, number) for number in range(kernel.cpus)]
            kernel.scheduler.on_account.append(self._account)

    def _account(self, task: Task) -> None:
        before, now = self._tlb[task.cpu], _tlb_counts(self._kernel.cpu.mmu, task.cpu)
        if task.perf is not None:
            counted = context_of(self._kernel, task).tlb
            for name, count in now.items():
                counted[name] = counted.get(name, 0) + count - before[name]
        self._tlb[task.cpu] = now

    def _task_ended(self, task: Task) -> None:
        if task.perf is not None:
            context_of(self._kernel, task).ended()


def perf_of(kernel: Kernel) -> Perf:
    """What the events of a machine share, made for the first."""
    if kernel.perf is None:
        kernel.perf = Perf(kernel)
    assert isinstance(kernel.perf, Perf)
    return kernel.perf
