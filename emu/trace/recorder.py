"""The recorder: what the MMU and the kernel tell, in the order in which it happened, given to a format's writer.

What the kernel tells has a place in the MMU's ring, so that nothing has to be looked at before the ring is full.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from emu.kernel.signal_state import signal_name
from emu.kernel.tracer import Tracer
from emu.linux.syscall_names import name_of
from emu.mm.pagetable import ADDRESS, PS, P
from emu.trace.batch import Batch, KernelKind, Note
from emu.trace.code import mapped_code
from emu.trace.header import make_header
from emu.trace.resolution import resolution
from emu.trace.schema import Schema
from emu.trace.selection import EVERYTHING, Selection
from emu.trace.within import Within
from mmu.event_table import Events
from mmu.events import EventKind
from mmu.host_array import HostArray
from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    from emu.kernel.signal_state import SigInfo
    from emu.kernel.task import Task
    from emu.linux.syscall import Syscall
    from emu.machine import Machine
    from emu.mm.address_space import AddressSpace
    from emu.mm.flags import FaultResult
    from emu.trace.formats.sink import Sink
    from mmu import Access

_LOW_32, _LOW_64 = (1 << 32) - 1, (1 << 64) - 1
#: What a call does not have of six arguments, by how many it has.
_ZEROS = [(0,) * (6 - many) for many in range(7)]
_SWITCH, _SYSCALL_ENTER, _SYSCALL_EXIT = map(
    int, (KernelKind.SWITCH, KernelKind.SYSCALL_ENTER, KernelKind.SYSCALL_EXIT)
)
#: Of the texts of events that wait in the ring.
_MOST_CHARACTERS = 1 << 22
#: What is recorded where nothing else is asked for: everything but each single access.
MOST = tuple(kind for kind in EventKind if kind not in (EventKind.ACCESS, EventKind.NOTE))


class Recorder(Tracer):
    """Gives the events of a machine to a :class:`emu.trace.formats.sink.Sink`.

    Recording starts at once.  Call :meth:`finish` at the end.  ``schema`` has the rows of all that can be recorded: an
    event that it does not have is an :class:`EventError`.
    """

    syscalls = True
    active = True
    faults_natively = True

    def __init__(
        self,
        machine: Machine,
        sink: Sink,
        *,
        command: Sequence[str],
        seed: int,
        version: str,
        root: str | None = None,
        accesses: bool = False,
        selection: Selection = EVERYTHING,
        region: str | None = None,
    ) -> None:
        """``root``: the directory of the host that is the machine's root.  ``accesses``: record each access too, which
        only a modelled TLB sees.  ``selection``: what is recorded; ``region``: what was asked for as the region of
        interest (:mod:`emu.trace.region`)."""
        kernel = machine.kernel
        mmu = kernel.cpu.mmu
        if accesses and mmu.tlb is None:
            raise ValueError("there is nothing to record of each access where no TLB is modelled")
        self._sink = sink
        self._kernel = kernel
        self._cpu = kernel.cpu
        self._ahead_ns = kernel.clock.ahead_ns
        self._state = mmu.state
        self._ring = mmu.events
        self._say, self._say_words = mmu.events.noter(), mmu.events.noter_of_words()
        self._selection = selection
        self._notes: list[Note] = []
        #: The numbers of their records in the ring.
        self._places: list[int] = []
        self._characters = 0
        self._seq = 0
        self._recording = True
        self._last: dict[int, int] = {}
        self._calls: dict[int, str] = {}
        #: Whether what the kernel does is recorded now, whoever it does it for.
        self._takes_all = False
        #: By process, that of which it has been told what code is mapped.
        self._told: dict[int, AddressSpace] = {}
        self._tells_code = selection.has("mmap") or "mmap" in sink.told
        self._within = Within(kernel)
        #: Whether these frequent ones are recorded.
        self.enters, self.exits, self.switches = (
            selection.has(kind) for kind in ("syscall_enter", "syscall_exit", "switch")
        )
        self.schema = Schema(kernel.event_kinds, cpus=mmu.processors)
        self._sink.begin(
            make_header(
                self.schema,
                unimmu=version,
                command=list(command),
                memory_bytes=machine.ram.size,
                seed=seed,
                tlb="off" if mmu.tlb is None else mmu.tlb.geometry.name,
                **({"root": root} if root is not None else {}),
                **({"levels": mmu.registers.levels} if mmu.registers.levels != 4 else {}),
                **({"cpus": mmu.processors} if mmu.processors > 1 else {}),
                **({} if region is None else {"region": region}),
            ),
            self.schema,
            mmu.registers.levels,
        )
        self._shared = HostArray(machine.ram.size >> PAGE_SHIFT, "B")
        self._first_pids = HostArray(machine.ram.size >> PAGE_SHIFT, "I")
        self._state.shared_tables, self._state.first_pids = self._shared.address, self._first_pids.address
        kernel.share_counts.mark(self._shared.view)
        kernel.scheduler.on_turn = self._turn
        self._ring.lend(self._batch)
        self._accesses = accesses
        selection.choose(self._ring)
        kernel.region.on_change.append(self._switched)
        self._choose()

    def finish(self) -> None:
        """Give away what is left, and record no more."""
        if self._recording:
            self._note("end", 0, 0, self._within.fields())
            self._ring.enable()
            self._kernel.region.on_change.remove(self._switched)
            self._ring.flush()
            self._recording = False
            self._sink.end()
            self._state.shared_tables = self._state.first_pids = 0
            self._kernel.share_counts.mark(None)
            self._kernel.scheduler.on_turn = None

    def _switched(self) -> None:
        """The region of interest begins or ends."""
        self._within.switched()
        self._choose()
        if self._kernel.region.on:
            for task in list(self._kernel.tasks.values()):
                self._tell_code(task)

    def _choose(self) -> None:
        self._takes_all = self._kernel.region.on and self._selection.takes_of_all
        if self._kernel.region.on:
            self._now()
            self._selection.begin(self._ring, accesses=self._accesses)
        else:
            self._ring.enable()

    def flush(self) -> None:
        """Give away what has been recorded so far."""
        self._ring.flush()
        self._sink.flush()

    def _batch(self, events: Events) -> None:
        """What was in the ring: its own numbers give way to those of the trace."""
        if not self._recording:
            return
        notes = self._notes
        told = bisect_right(self._places, int(events["seq"][-1]))
        self._notes, self._characters = notes[told:], 0
        del self._places[:told]
        events = self._selection.of_processes(events)
        if len(events) and (int(events["seq"][0]) != self._seq or self._selection.pids):
            events["seq"] = np.arange(self._seq, self._seq + len(events))
        self._seq += len(events)
        self._sink.write(Batch(events, notes[:told], self._calls))

    # -- the kernel's events ---------------------------------------------------------------------------------------

    def _note(self, kind: str, pid: int, tid: int, fields: dict[str, Any]) -> None:
        if not self._recording:
            return
        self._now()
        if kind != "end" and not self._kernel.region.on:
            return
        chosen = kind == "end" or self._selection.takes(kind, pid, tid, self._cpu.clock, fields)
        if not chosen and kind not in self._sink.told:
            return
        encoded = self.schema[kind].encode(fields)
        self._notes.append(Note(kind, encoded, chosen))
        self._say(EventKind.NOTE, pid, tid)
        self._places.append(self._state.ring_head - 1)
        self._characters += _characters(encoded)
        if self._characters > _MOST_CHARACTERS:  # a guest may exec with 2 MiB of arguments, again and again
            self._ring.flush()

    def _now(self) -> None:
        """Events happen at the machine's time from here on."""
        self._state.kernel_ns = self._ahead_ns()

    def _of_task(self, kind: str, task: Task, fields: dict[str, Any]) -> None:
        self._note(kind, task.tgid, task.pid, fields)

    def _is_chosen(self, task: Task) -> bool:
        if self._takes_all:
            return True
        return self._kernel.region.on and self._selection.takes_of(task.tgid, task.pid, self._cpu.clock)

    def _turn(self, task: Task) -> None:
        cpu, pid, tgid = self._state.cpu, task.pid, task.group.tgid
        if self._tells_code and self._told.get(tgid) is not task.mm:
            self._tell_code(task)
        previous = self._last.get(cpu)
        if previous != pid:
            self._last[cpu] = pid
            self._state.kernel_ns = self._ahead_ns()
            if self.switches and (self._takes_all or self._is_chosen(task)):
                self._say(_SWITCH, tgid, pid, previous or 0)

    def fault_begins(self, mm: AddressSpace, vaddr: int) -> object:
        return self._ring.hold(), mm.tables.pte(vaddr)

    def fault_ends(self, mm: AddressSpace, vaddr: int, access: Access, result: FaultResult, begun: object) -> None:
        held, before = cast("tuple[int, int]", begun)
        self._ring.release(resolution(mm, vaddr, before, access, result), held)
        self._now()

    def populated(self, host: AddressSpace, address: int, pid: int) -> None:
        slot = host.tables.leaf_slot(address)
        entry = 0 if slot is None else host.frames.ram.qwords[slot]
        if entry & P:
            first = (entry & ADDRESS) >> PAGE_SHIFT
            for frame in range(first, first + 512) if entry & PS else (first,):
                self._first_pids.view[frame] = pid

    def syscall_enter(self, task: Task, number: int, call: Syscall | None, arguments: tuple[int, ...]) -> None:
        self._state.kernel_ns = self._ahead_ns()
        if self.enters and (self._takes_all or self._is_chosen(task)):
            if number not in self._calls:
                self._name(number, call)
            many = len(arguments)
            self._say_words(
                _SYSCALL_ENTER, task.group.tgid, task.pid, number & _LOW_32, arguments + _ZEROS[many], many
            )  # fmt: skip

    def syscall_exit(self, task: Task, number: int, call: Syscall | None, result: int) -> None:
        self._state.kernel_ns = self._ahead_ns()
        if self.exits and (self._takes_all or self._is_chosen(task)):
            if number not in self._calls:
                self._name(number, call)
            self._say(_SYSCALL_EXIT, task.group.tgid, task.pid, number & _LOW_32, result & _LOW_64)

    def _name(self, number: int, call: Syscall | None) -> None:
        self._calls[number & _LOW_32] = call.name if call is not None else name_of(number)

    def signal(self, task: Task, info: SigInfo) -> None:
        fields = {"signal": signal_name(info.signo), "code": info.code, "addr": info.address, "from": info.pid}
        self._of_task("signal", task, fields)

    def fork(self, parent: Task, child: Task) -> None:
        self._of_task("fork", parent, {"child": child.pid})
        if self._told.get(parent.tgid) is parent.mm and self._is_chosen(parent):
            self._told[child.tgid] = child.mm
        else:
            self._tell_code(child)

    def exec(self, task: Task, path: str, argv: tuple[bytes, ...]) -> None:
        texts = [argument.decode("utf-8", "surrogateescape") for argument in argv]
        self._of_task("exec", task, {"path": path, "argv": texts})
        self._told.pop(task.tgid, None)
        self._tell_code(task)

    def mapped(self, task: Task, start: int, end: int) -> None:
        if self._tells_code and not self._tell_code(task):
            self._tell_mapped(task, start, end)

    def _tell_code(self, task: Task) -> bool:
        """All code of a process, if none of it has been told; whether that is so."""
        if self._told.get(task.tgid) is task.mm or not self._tells_code:
            return False
        if self._is_chosen(task):
            self._told[task.tgid] = task.mm
            self._tell_mapped(task, 0, _LOW_64)
        return True

    def _tell_mapped(self, task: Task, start: int, end: int) -> None:
        """Each mapping there of a file that may be executed, as perf's MMAP2 records do."""
        if not self._is_chosen(task):
            self._told.pop(task.tgid, None)  # all is told anew when more of it is recorded
            return
        for code in mapped_code(task.mm, start, end):
            self._of_task("mmap", task, code.fields)

    def exit(self, task: Task, status: int) -> None:
        signo = status & 0x7F
        self._of_task("exit", task, {"signal": signal_name(signo)} if signo else {"status": status >> 8})

    def supersede(self, task: Task, leader: Task) -> None:
        self._of_task("supersede", task, {"leader": leader.pid})

    def event(self, kind: str, *, pid: int | None = None, **fields: Any) -> None:
        self._note(kind, pid or 0, self._state.tid if pid == self._state.asid else 0, fields)


def _characters(fields: dict[str, Any]) -> int:
    """How long the texts of an event are."""
    return sum(
        len(value) if isinstance(value, str) else sum(map(len, map(str, value))) if isinstance(value, list) else 0
        for value in fields.values()
    )
