"""Page tables for a stream that has none: those of a snapshot or of a dump, as they are there.

An access is what hardware makes of it with these tables: a page has the size, the frame, the rights and the neighbours
that its entries say, and walks set A and D where they are clear.  What would fault is left out, and counted: nobody
mends such a fault, and the access that the stream tells of has been made.

The lower half of the address space is user mode's.  From the first batch on that has an access to the upper one, all
accesses are the supervisor's, without SMEP and SMAP, so that both are reached.  Protection keys forbid nothing, as PKRU
is each thread's own.  Going from one address space to another loads CR3, without PCIDs; global pages stay.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from emu.lab.batch import CONTROL, FIELDS, Batch, Controls, Op, Register, StreamError, controls_of
from emu.lab.table_mapper_loop import (
    FOUND,
    FRAME_BYTES,
    KNOWN_WORDS,
    NO_SPACE,
    NO_TABLE,
    NOT_ALLOWED,
    NOT_MAPPED,
    REMEMBERED,
    TableReader,
)
from emu.trace.report.units import plural
from mmu.events import EventRecord
from mmu.host_array import HostArray
from mmu.memory import MAX_BYTES, PAGE_SHIFT, PAGE_SIZE, PhysicalMemory
from mmu.objectcode import load
from mmu.record import replace
from mmu.registers import CR0, CR4, CR4_LONG_MODE
from mmu.state import MmuState
from mmu.translation import load_registers

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.trace.pt.tables import PageTablesSnapshot
    from mmu.registers import Registers

_CONTROLS = 1 << 14
#: Bits that decide what a walk finds, and that tables do not say.
_CR4_KEPT = CR4.PGE | CR4.LA57
_UPPER_HALF = np.uint64(1 << 63)
#: So many pages are told apart of those that are left out for one reason.
_MOST_PAGES = 1 << 20
#: By outcome: its name among figures, and in words.
_REASONS = {
    NOT_MAPPED: ("not_mapped", "not mapped"), NOT_ALLOWED: ("not_allowed", "not allowed by their entries"),
    NO_TABLE: ("no_table", "mapped by tables that are not there"),
    NO_SPACE: ("no_process", "of processes that are not there"),
}  # fmt: skip


@dataclass
class _Left:
    accesses: int = 0
    pages: set[int] = field(default_factory=set)

    def add(self, pages: npt.NDArray[np.uint64]) -> None:
        self.accesses += len(pages)
        if len(self.pages) < _MOST_PAGES:
            self.pages.update(np.unique(pages)[: _MOST_PAGES - len(self.pages)].tolist())


class LeftOut:
    """The accesses that are left out, by the reason."""

    def __init__(self) -> None:
        self._by_reason = {reason: _Left() for reason in _REASONS}

    def add(self, outcomes: npt.NDArray[np.uint8], vaddr: npt.NDArray[np.uint64]) -> None:
        """Those of a batch, by what became of each access."""
        for reason, left in self._by_reason.items():
            chosen = outcomes == reason
            if chosen.any():
                left.add(vaddr[chosen] >> np.uint64(PAGE_SHIFT))

    @property
    def accesses(self) -> int:
        """How many in all."""
        return sum(left.accesses for left in self._by_reason.values())

    def figures(self) -> dict[str, dict[str, int]]:
        """Accesses and pages of 4 KiB by the reason; of pages no more than 1,048,576 are counted."""
        return {
            _REASONS[reason][0]: {"accesses": left.accesses, "pages": len(left.pages)}
            for reason, left in self._by_reason.items()
            if left.accesses
        }

    def told(self) -> str:
        """The same in words."""
        return "; ".join(
            f"{plural(left.accesses, 'access', 'accesses')} to {plural(len(left.pages), 'page', 'pages')}"
            f"{' or more' * (len(left.pages) == _MOST_PAGES)}, {_REASONS[reason][1]}"
            for reason, left in self._by_reason.items()
            if left.accesses
        )


class TableMapper:
    """Tells batches of the entries of given tables that they need."""

    def __init__(self, snapshot: PageTablesSnapshot, cr3_of: Callable[[int], int | None]) -> None:
        """``cr3_of``: the physical address of the top table of an address space of the stream (its process), None if
        there is none.  :class:`StreamError` if a table lies beyond 512 GiB."""
        top = max((*snapshot.tables, *(space.pgd for space in snapshot.spaces)), default=0) + PAGE_SIZE
        if top > MAX_BYTES:
            raise StreamError(f"a table at {top - PAGE_SIZE:#x} is beyond {MAX_BYTES >> 30} GiB, which is not built")
        #: As much memory as has all the tables.
        self.memory_bytes = top
        self.left_out = LeftOut()
        self._cr3_of = cr3_of
        self._tables = PhysicalMemory(top, huge_pages=False)
        self._frames = PhysicalMemory(_whole_pages((top >> PAGE_SHIFT) * FRAME_BYTES), huge_pages=False)
        for at, table in snapshot.tables.items():
            self._tables.words[at >> 3 : (at + PAGE_SIZE) >> 3] = table.entries
            self._frames.words[((at >> PAGE_SHIFT) * FRAME_BYTES >> 3) + 1] = 1
        self._registers = _registers(snapshot.registers)
        self._event = EventRecord()
        self._state = state = MmuState()
        state.ram, state.ram_bytes, state.read_only = self._tables.host, top, 1
        state.ring, state.ring_capacity = ctypes.addressof(self._event), 1
        load_registers(state, self._registers)
        self._controls = np.zeros(_CONTROLS, CONTROL)
        self._known = HostArray((REMEMBERED, KNOWN_WORDS), "Q")
        self._reader = TableReader(
            state=ctypes.addressof(state), frames=self._frames.host, known=self._known.address,
            controls=self._controls.ctypes.data, capacity=_CONTROLS,
        )  # fmt: skip
        self._loaded: int | None = None
        self._begun = False

    def mapped(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches with controls and the sizes of pages, and without what is left out.  :class:`StreamError` for an
        address that is not canonical, and at the end if every access was left out."""
        kept = 0
        for batch in batches:
            yield (made := self._found(batch))
            kept += len(made)
        if self.left_out.accesses and not kept:
            raise StreamError(f"no access is in these page tables: {self.left_out.told()}")

    def _found(self, batch: Batch) -> Batch:
        vaddr, kind = np.ascontiguousarray(batch.vaddr), np.ascontiguousarray(batch.kind)
        shift, outcomes = np.zeros(len(batch), np.uint8), np.full(len(batch), FOUND, np.uint8)
        reader = self._reader
        reader.kept = 0
        reader.kinds, reader.shifts, reader.outcomes = (array.ctypes.data for array in (kind, shift, outcomes))
        made = [self._beginning(vaddr)]
        changes = np.flatnonzero(np.diff(batch.space)) + 1
        for begin, end in zip([0, *changes.tolist()], [*changes.tolist(), len(batch)], strict=True):
            if begin == end:
                continue
            space = int(batch.space[begin])
            cr3 = self._cr3_of(space)
            if cr3 is None:
                outcomes[begin:end] = NO_SPACE
                continue
            if cr3 != self._loaded:
                self._loaded = self._state.cr3 = cr3
                at = reader.kept
                made.append(controls_of([(at, Op.CR3, 0, cr3, space), (at, Op.INVALIDATE, 0, 0, 0)]))
            made += self._look_up(vaddr, begin, end)
        columns = {name: getattr(batch, name) for name in FIELDS} | {"vaddr": vaddr, "kind": kind, "shift": shift}
        if reader.kept < len(batch):
            self.left_out.add(outcomes, vaddr)
            keep = outcomes == FOUND
            columns = {name: column[keep] for name, column in columns.items()}
        return Batch(**columns, controls=np.concatenate(made))

    def _beginning(self, vaddr: npt.NDArray[np.uint64]) -> Controls:
        """The registers, at first; and user mode ends where the upper half of the address space is accessed."""
        rows: list[tuple[int, Op, int, int, int]] = []
        if not self._begun:
            self._begun, registers = True, self._registers
            values = {
                Register.MAXPHYADDR: registers.maxphyaddr, Register.CR0: registers.cr0, Register.CR4: registers.cr4,
                Register.EFER: registers.efer, Register.CPL: registers.cpl,
            }  # fmt: skip
            rows += [(0, Op.REGISTER, 0, register, value) for register, value in values.items()]
        if self._state.cpl and (vaddr >= _UPPER_HALF).any():
            self._state.cpl = 0
            rows.append((0, Op.REGISTER, 0, Register.CPL, 0))
        return controls_of(rows)

    def _look_up(self, vaddr: npt.NDArray[np.uint64], begin: int, end: int) -> Iterator[Controls]:
        reader, native = self._reader, load("emu.lab.table_mapper_loop")["look_up"]
        while begin < end:
            before = begin
            begin = native(ctypes.addressof(reader), vaddr.ctypes.data, begin, end)
            if begin == before and not reader.made:
                raise StreamError(f"address {int(vaddr[begin]):#x} of the stream is not canonical")
            yield self._controls[: reader.made].copy()
            reader.made = 0


def _whole_pages(size: int) -> int:
    return -(-size // PAGE_SIZE) * PAGE_SIZE


def _registers(given: Registers) -> Registers:
    """Those of the snapshot as far as they matter here, for user mode."""
    cr0 = CR0.PE | CR0.PG | (given.cr0 & CR0.WP)
    cr4 = CR4_LONG_MODE | (given.cr4 & _CR4_KEPT)
    return replace(given, cr3=0, cr0=cr0, cr4=cr4, cpl=3, pkru=0, pkrs=0)
