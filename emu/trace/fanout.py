"""Several tracers at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from emu.kernel.tracer import Tracer

if TYPE_CHECKING:
    from emu.kernel.signal_state import SigInfo
    from emu.kernel.task import Task
    from emu.linux.syscall import Syscall
    from emu.mm.address_space import AddressSpace
    from emu.mm.flags import FaultResult
    from mmu import Access


class Fanout(Tracer):
    """Tells each of ``tracers``, in their order, what it wants to know."""

    def __init__(self, tracers: Sequence[Tracer]) -> None:
        self._all = tuple(tracers)
        self._of_syscalls = tuple(t for t in tracers if t.syscalls)
        self._of_events = tuple(t for t in tracers if t.active)
        self.syscalls = bool(self._of_syscalls)
        self.active = bool(self._of_events)
        self.maps = any(t.maps for t in tracers)
        self.faults_natively = all(t.faults_natively for t in self._of_events)
        # what comes often goes straight to the only one that wants to know
        for wanted, names in (
            (self._of_syscalls, ("syscall_enter", "syscall_exit")),
            (self._of_events, ("fault_begins", "fault_ends", "event")),
        ):
            for name in names if len(wanted) == 1 else ():
                setattr(self, name, getattr(wanted[0], name))

    def syscall_enter(self, task: Task, number: int, call: Syscall | None, arguments: tuple[int, ...]) -> None:
        for tracer in self._of_syscalls:
            tracer.syscall_enter(task, number, call, arguments)

    def syscall_exit(self, task: Task, number: int, call: Syscall | None, result: int) -> None:
        for tracer in self._of_syscalls:
            tracer.syscall_exit(task, number, call, result)

    def signal(self, task: Task, info: SigInfo) -> None:
        for tracer in self._all:
            tracer.signal(task, info)

    def fault_begins(self, mm: AddressSpace, vaddr: int) -> object:
        return [tracer.fault_begins(mm, vaddr) for tracer in self._of_events]

    def fault_ends(self, mm: AddressSpace, vaddr: int, access: Access, result: FaultResult, begun: object) -> None:
        for tracer, one in zip(self._of_events, cast("list[object]", begun), strict=True):
            tracer.fault_ends(mm, vaddr, access, result, one)

    def populated(self, host: AddressSpace, address: int, pid: int) -> None:
        for tracer in self._of_events:
            tracer.populated(host, address, pid)

    def stopped(self, task: Task, signo: int) -> None:
        for tracer in self._all:
            tracer.stopped(task, signo)

    def ignored(self, task: Task, info: SigInfo) -> None:
        for tracer in self._all:
            tracer.ignored(task, info)

    def fork(self, parent: Task, child: Task) -> None:
        for tracer in self._all:
            tracer.fork(parent, child)

    def exec(self, task: Task, path: str, argv: tuple[bytes, ...]) -> None:
        for tracer in self._all:
            tracer.exec(task, path, argv)

    def mapped(self, task: Task, start: int, end: int) -> None:
        for tracer in self._all:
            if tracer.active or tracer.maps:
                tracer.mapped(task, start, end)

    def exit(self, task: Task, status: int) -> None:
        for tracer in self._all:
            tracer.exit(task, status)

    def supersede(self, task: Task, leader: Task) -> None:
        for tracer in self._all:
            tracer.supersede(task, leader)

    def event(self, kind: str, *, pid: int | None = None, **fields: Any) -> None:
        for tracer in self._of_events:
            tracer.event(kind, pid=pid, **fields)
