"""The recorder: every event of a run as a line of JSON, in the order in which they happened.

The first line is the header, the last one says "end".
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from emu.kernel.signal_state import signal_name
from emu.kernel.tracer import Tracer
from emu.linux.syscall_names import name_of
from emu.trace.header import make_header
from emu.trace.lines import HardwareLines
from emu.trace.schema import Schema
from mmu.event_table import Events
from mmu.events import EventKind

if TYPE_CHECKING:
    from emu.kernel.signal_state import SigInfo
    from emu.kernel.task import Task
    from emu.linux.syscall import Syscall
    from emu.machine import Machine

#: Characters that are collected before they are written.
_BUFFER = 1 << 20
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode


class Recorder(Tracer):
    """Writes the events of a machine; ``write`` gets bytes, whole lines at a time.

    Recording starts at once.  Call :meth:`finish` at the end.  ``schema`` has the rows of all that can be recorded: an
    event that it does not have is an :class:`EventError`.
    """

    syscalls = True
    active = True

    def __init__(
        self,
        machine: Machine,
        write: Callable[[bytes], None],
        *,
        command: Sequence[str],
        seed: int,
        version: str,
        accesses: bool = False,
    ) -> None:
        """``accesses``: record each access too, which only a modelled TLB sees."""
        mmu = machine.kernel.cpu.mmu
        if accesses and mmu.tlb is None:
            raise ValueError("there is nothing to record of each access where no TLB is modelled")
        self._write = write
        self._cpu = machine.kernel.cpu
        self._ring = mmu.events
        self._lines: list[str] = []
        self._buffered = 0
        self._seq = 0
        self._recording = True
        self._cpus = mmu.processors
        self._hardware_lines = HardwareLines(mmu.registers.levels, cpus=self._cpus)
        self.schema = Schema(machine.kernel.event_kinds, cpus=self._cpus)
        header = make_header(
            self.schema,
            unimmu=version,
            command=list(command),
            memory_bytes=machine.ram.size,
            seed=seed,
            tlb="off" if mmu.tlb is None else mmu.tlb.geometry.name,
            **({"cpus": self._cpus} if self._cpus > 1 else {}),
        )
        self._put(_ENCODE(header))
        self._ring.subscribe(self._hardware)
        self._ring.enable(*(kind for kind in EventKind if accesses or kind != EventKind.ACCESS))

    def finish(self) -> None:
        """Write what is left, and record no more."""
        if self._recording:
            self._kernel("end", None, {})
            self._ring.enable()
            self._recording = False
            self.flush()

    # -- the MMU's events ------------------------------------------------------------------------------------------

    def _hardware(self, events: Events) -> None:
        """A batch from the ring: its own sequence numbers give way to those of the file."""
        if not self._recording:
            return
        self._put("\n".join(self._hardware_lines.format(events, self._seq)))
        self._seq += len(events)

    # -- the kernel's events ---------------------------------------------------------------------------------------

    def _kernel(self, kind: str, pid: int | None, fields: dict[str, Any]) -> None:
        if not self._recording:
            return
        self._ring.flush()
        who = {} if pid is None else {"pid": pid}
        if self._cpus > 1:
            who["cpu"] = self._cpu.mmu.processor
        record = {"seq": self._seq, "clock": self._cpu.clock, **who, "event": kind, **self.schema[kind].encode(fields)}
        self._seq += 1
        self._put(_ENCODE(record))

    def syscall_enter(self, task: Task, number: int, call: Syscall | None, arguments: tuple[int, ...]) -> None:
        name = call.name if call is not None else name_of(number)
        self._kernel("syscall_enter", task.pid, {"number": number, "name": name, "arguments": arguments})

    def syscall_exit(self, task: Task, number: int, call: Syscall | None, result: int) -> None:
        name = call.name if call is not None else name_of(number)
        outcome = {"errno": errno.errorcode.get(-result, str(-result))} if result < 0 else {"result": result}
        self._kernel("syscall_exit", task.pid, {"number": number, "name": name, **outcome})

    def signal(self, task: Task, info: SigInfo) -> None:
        fields = {"signal": signal_name(info.signo), "code": info.code, "addr": info.address, "from": info.pid}
        self._kernel("signal", task.pid, fields)

    def fork(self, parent: Task, child: Task) -> None:
        self._kernel("fork", parent.pid, {"child": child.pid})

    def exec(self, task: Task, path: str, argv: tuple[bytes, ...]) -> None:
        texts = [argument.decode("utf-8", "surrogateescape") for argument in argv]
        self._kernel("exec", task.pid, {"path": path, "argv": texts})

    def exit(self, task: Task, status: int) -> None:
        signo = status & 0x7F
        self._kernel("exit", task.pid, {"signal": signal_name(signo)} if signo else {"status": status >> 8})

    def supersede(self, task: Task, leader: Task) -> None:
        self._kernel("supersede", task.pid, {"leader": leader.pid})

    def event(self, kind: str, *, pid: int | None = None, **fields: Any) -> None:
        self._kernel(kind, pid, fields)

    # -- the file --------------------------------------------------------------------------------------------------

    def _put(self, text: str) -> None:
        self._lines.append(text)
        self._buffered += len(text)
        if self._buffered > _BUFFER:
            self.flush()

    def flush(self) -> None:
        """Write what has been collected."""
        if self._lines:
            self._lines.append("")
            self._write("\n".join(self._lines).encode("ascii"))
            self._lines.clear()
            self._buffered = 0
