"""What --stats -e counts, by perf's names: `perf list` of the machine."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

from emu.cli.running.regioncounts import RegionCounts, kernel_counts
from emu.kernel.tracer import Tracer
from emu.kernel.usage import Usage
from emu.linux.syscall_names import NAMES

if TYPE_CHECKING:
    from emu.kernel.signal_state import SigInfo
    from emu.kernel.task import Task
    from emu.linux.syscall import Syscall
    from emu.machine import Machine

#: Other names of events, and what perf stat shows if it is not told.
_ALIASES = {
    "faults": "page-faults", "cs": "context-switches", "migrations": "cpu-migrations", "instructions:u": "instructions",
    "sched:sched_switch": "context-switches", "sched:sched_migrate_task": "cpu-migrations",
}  # fmt: skip
DEFAULT = ("task-clock", "context-switches", "cpu-migrations", "page-faults", "instructions")
_DEFAULT_TLB = ("dTLB-loads", "dTLB-load-misses", "iTLB-loads", "iTLB-load-misses")
_OF_CALL = ("syscalls:sys_enter_", "syscalls:sys_exit_")
_TRACEPOINTS = (
    "raw_syscalls:sys_enter", "raw_syscalls:sys_exit", "signal:signal_deliver", "sched:sched_process_fork",
    "sched:sched_process_exec", "sched:sched_process_exit",
)  # fmt: skip
_CLOCKS = {"task-clock": "msec", "cpu-clock": "msec", "duration_time": "ns", "user_time": "ns", "system_time": "ns"}


class UnknownEvent(ValueError):
    """There is no such event, or it is not counted in this machine; the message says why."""


class Count(NamedTuple):
    """How often an event happened; ``unit`` is empty for a plain number."""

    name: str
    value: float
    unit: str = ""


class Counts(NamedTuple):
    """What one run came to; times in ns, by the machine's clock."""

    events: tuple[Count, ...]
    elapsed: int
    user: int
    system: int


class _Tracepoints(Tracer):
    """Counts what the kernel tells of."""

    def __init__(self, counts_now: Callable[[], bool], *, syscalls: bool) -> None:
        self._counts_now, self.syscalls = counts_now, syscalls
        self.counts: Counter[str] = Counter()

    def _count(self, name: str) -> None:
        if self._counts_now():
            self.counts[name] += 1

    def syscall_enter(self, task: Task, number: int, call: Syscall | None, arguments: tuple[int, ...]) -> None:
        self._call("enter", number, call)

    def syscall_exit(self, task: Task, number: int, call: Syscall | None, result: int) -> None:
        if task.alive:  # a call that ends its caller does not return
            self._call("exit", number, call)

    def _call(self, side: str, number: int, call: Syscall | None) -> None:
        self._count(f"raw_syscalls:sys_{side}")
        name = NAMES.get(number) if call is None else call.name
        if name is not None:
            self._count(f"syscalls:sys_{side}_{name}")

    def signal(self, task: Task, info: SigInfo) -> None:
        self._count("signal:signal_deliver")

    def fork(self, parent: Task, child: Task) -> None:
        self._count("sched:sched_process_fork")

    def exec(self, task: Task, path: str, argv: tuple[bytes, ...]) -> None:
        self._count("sched:sched_process_exec")

    def exit(self, task: Task, status: int) -> None:
        self._count("sched:sched_process_exit")


class Events:
    """The events that are asked for, in a machine that has not run yet."""

    def __init__(self, machine: Machine, names: Iterable[str], region: RegionCounts | None = None) -> None:
        """:class:`UnknownEvent`; without names, what perf stat shows.  ``region``: only that of interest counts."""
        self._region = region
        self._kernel = machine.kernel
        modelled = self._kernel.cpu.mmu.tlb is not None
        self._names = tuple(names) or (*DEFAULT, *(_DEFAULT_TLB if modelled else ()))
        self._known = {name.lower(): name for name in self._all()}
        self._usage = Usage()
        self._kernel.exit_hooks.append(lambda last: self._usage.add(last.group.usage()))
        chosen = [self._checked(name) for name in self._names]
        tracepoints = [name for name in chosen if name in _TRACEPOINTS or name.startswith(_OF_CALL)]
        calls = any("syscalls:" in name for name in tracepoints)
        #: Who must be told of what happens; None if the machine counts it anyway.
        self.tracer = _Tracepoints(self._counts_now, syscalls=calls) if tracepoints else None

    def _all(self) -> list[str]:
        """Every event but those of single system calls."""
        return [
            *_CLOCKS, "context-switches", "cpu-migrations", "page-faults", "minor-faults", "major-faults",
            "instructions", *_ALIASES, *_tlb_names(), *self._vendor_names(), *_TRACEPOINTS,
            *self._plain(kernel_counts(self._kernel)),
        ]  # fmt: skip

    def _vendor_names(self) -> tuple[str, ...]:
        """Those that only processors of the vendor have that the model is of."""
        tlb = self._kernel.cpu.mmu.tlb
        if tlb is None:
            return ()
        from mmu.perf_events import vendor_names

        return vendor_names(tlb.geometry.counters)

    def _checked(self, text: str) -> str:
        """The name as it is counted; one with ``*`` stays as it is."""
        name = self._known.get(text.lower(), text)
        name = _ALIASES.get(name, name)
        if name.startswith(_OF_CALL):
            call = name.split("_", 2)[2]
            named = {*NAMES.values(), *(each.name for each in self._kernel.entry.calls())}
            if not any(fnmatchcase(each, call) for each in named):
                raise UnknownEvent(f"there is no system call {call!r}")
        elif name.lower() not in self._known:
            self._refuse_vendors(text)
            known = ", ".join((*self._known.values(), *(f"{prefix}NAME" for prefix in _OF_CALL)))
            raise UnknownEvent(f"there is no event {text!r}{self._near(text)}; there are {known}")
        elif name in _tlb_names() and self._kernel.cpu.mmu.tlb is None:
            raise UnknownEvent(f"{name} is counted in a modelled TLB: give --tlb PRESET (`unimmu presets` lists them)")
        elif name in _latency_names() and self._kernel.cpu.mmu.tlb is not None:
            if self._kernel.cpu.mmu.tlb.costs is None:
                raise UnknownEvent(f"{name} is counted where translations have latencies: give --tlb-latency")
        return name

    def _refuse_vendors(self, text: str) -> None:
        """:class:`UnknownEvent` for an event that models of other processors count; it names those that do."""
        from mmu.geometry import COUNTERS
        from mmu.perf_events import vendor_names
        from mmu.presets import all_presets

        having = {each for each in COUNTERS if text.lower() in vendor_names(each)}
        if not having:
            return
        presets = ", ".join(name for name, preset in all_presets().items() if preset.geometry.counters in having)
        tlb = self._kernel.cpu.mmu.tlb
        what = "without a modelled TLB" if tlb is None else f"by {tlb.geometry.name}"
        raise UnknownEvent(f"{text} is not counted {what}; it is by --tlb {presets}")

    def _near(self, text: str) -> str:
        """The events whose names are like this one, in words."""
        import difflib  # needed only here

        part = text.lower().removesuffix(":u")
        near = [name for name in self._known if name.partition(":")[2] == part]
        near += [name for name in difflib.get_close_matches(part, self._known, 3) if name not in near]
        return f" (perhaps {' or '.join(self._known[name] for name in near)})" if near else ""

    def _counts_now(self) -> bool:
        return self._region is None or self._kernel.region.on

    # -- after the run ---------------------------------------------------------------------------------------------

    def counts(self) -> Counts:
        """What was counted."""
        kernel, usage, region = self._kernel, Usage(), self._region
        if region is not None:
            usage, elapsed = region.usage(), region.elapsed
            with region.shown():
                hardware = self._hardware()
        else:
            usage.add(self._usage)
            for group in {task.group for task in kernel.tasks.values() if task.alive}:
                usage.add(group.usage())
            elapsed, hardware = kernel.clock.now_ns(), self._hardware()
        values: dict[str, float] = {**hardware, **_of_usage(usage), "duration_time": elapsed}
        traced: Counter[str] = Counter() if self.tracer is None else self.tracer.counts
        found: list[Count] = []
        for text in self._names:
            name = self._checked(text)
            if "*" in name:
                found += [Count(each, traced[each]) for each in sorted(traced) if fnmatchcase(each, name)]
            else:
                value = values[name] if name in values else traced[name]
                found.append(Count(text, value, _CLOCKS.get(name, "")))
        return Counts(tuple(found), elapsed, usage.instructions, usage.system_ns)

    def _hardware(self) -> dict[str, Any]:
        """What no process has for itself."""
        of_kernel = kernel_counts(self._kernel) if self._region is None else self._region.kernel
        counted = {**self._plain(of_kernel), "context-switches": of_kernel["context_switches"]}
        if self._kernel.cpu.mmu.tlb is None:
            return counted
        from mmu.perf_events import perf_events

        return counted | perf_events(self._kernel.cpu.mmu)

    def _plain(self, of_kernel: dict[str, Any]) -> dict[str, float]:
        """What the MMU counts without a model of the TLB, and what vCPUs send to each other."""
        mmu, shootdowns = self._kernel.cpu.mmu, of_kernel["shootdowns"]
        counted = {f"mmu:{name}": value for name, value in dataclasses.asdict(mmu.counters).items()}
        return {
            **counted, "tlb:tlb_flush": counted["mmu:flushes"] + counted["mmu:cr3_loads"],
            "mmu:shootdowns": shootdowns["sent"], "mmu:shootdown_ipis": shootdowns["ipis"],
            "exceptions:page_fault_user": 0, "link-faults": 0,
        }  # fmt: skip


def _of_usage(usage: Usage) -> dict[str, float]:
    cpu_ms = usage.cpu_ns / 1e6
    return {
        "task-clock": cpu_ms, "cpu-clock": cpu_ms, "user_time": usage.instructions, "system_time": usage.system_ns,
        "instructions": usage.instructions, "cpu-migrations": usage.migrations,
        "page-faults": usage.hw_faults + usage.kernel_faults,
        "minor-faults": usage.min_flt + usage.link_faults - usage.populated, "major-faults": usage.maj_flt,
        "link-faults": usage.link_faults, "exceptions:page_fault_user": usage.hw_faults,
    }  # fmt: skip


def _tlb_names() -> tuple[str, ...]:
    from mmu.perf_events import NAMES as tlb_names

    return (*tlb_names, *_latency_names())


def _latency_names() -> tuple[str, ...]:
    from mmu.perf_events import LATENCY_NAMES

    return LATENCY_NAMES
