"""The single accesses of a trace as instructions, for the simulators that take streams of addresses.

An ``access`` that ended in a fault did not happen: it comes again when the fault is resolved.  An instruction that
accesses nothing is only known where a block begins, or a page that one goes on in.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from emu.trace.batch import Batch
from emu.trace.formats.record import record_of
from emu.trace.formats.sink import Pieces, Sink, Write
from emu.trace.schema import Schema
from mmu.events import EventKind
from mmu.registers import Access


@dataclass
class One:
    """A load, a store or a fetch; ``paddr`` is None where nobody told it."""

    kind: int
    vaddr: int
    size: int
    paddr: int | None


@dataclass
class Instruction:
    """What is known of an instruction: its accesses, the fetch too if it is the first of a block or page."""

    pid: int
    tid: int
    cpu: int
    time: int
    ip: int
    accesses: list[One] = field(default_factory=list)


class AccessStream(Sink):
    """Tells of one instruction after the other."""

    def __init__(self, write: Write) -> None:
        self._pieces = Pieces(write)
        #: By vCPU: the instruction that may have more accesses, and the access whose walk is to come.
        self._current: dict[int, Instruction] = {}
        self._walking: dict[int, One] = {}

    def begin(self, header: Mapping[str, Any], schema: Schema, levels: int) -> None:
        """Nothing of it is in such a file."""

    @abstractmethod
    def instruction(self, one: Instruction) -> None:
        """The next instruction."""

    def write(self, batch: Batch) -> None:
        kinds = batch.records["kind"]
        for values in batch.records[np.isin(kinds, (EventKind.ACCESS, EventKind.WALK))].tolist():
            record = record_of(values)
            if record.kind == EventKind.ACCESS:
                self._access(record)
            else:
                self._walked(record)

    def end(self) -> None:
        for cpu in sorted(self._current):
            self._told(self._current[cpu])
        self._current.clear()
        self.flush()

    def flush(self) -> None:
        self._pieces.flush()

    def _access(self, record: Any) -> None:
        self._walking.pop(record.cpu, None)
        fetch = record.access == Access.FETCH
        ip = record.vaddr if fetch else record.rip
        current = self._current.get(record.cpu)
        if fetch or current is None or current.ip != ip or current.tid != record.tid:
            if current is not None:
                self._told(current)
            current = Instruction(record.asid, record.tid, record.cpu, record.time, ip)
            self._current[record.cpu] = current
        one = One(record.access, record.vaddr, record.size, record.paddr if record.level else None)
        current.accesses.append(one)
        if not record.level:
            self._walking[record.cpu] = one

    def _walked(self, record: Any) -> None:
        """The walk of the last access: it has the physical address, or ends in a fault."""
        one = self._walking.pop(record.cpu, None)
        if one is None or one.vaddr != record.vaddr or one.kind != record.access:
            return
        if record.rights:
            one.paddr = record.paddr
        else:
            self._current[record.cpu].accesses.remove(one)

    def _told(self, one: Instruction) -> None:
        if one.accesses:
            self.instruction(one)
