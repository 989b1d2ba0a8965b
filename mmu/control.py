"""What instructions and the operating system do to an Mmu: control registers, invalidations, whose turn it is."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from unicorn import Uc

from mmu import unicorn_abi
from mmu.engine_registers import CONTROL_REGISTERS, EngineRegisters
from mmu.entries import ADDRESS
from mmu.event_ring import EventRing
from mmu.events import EventKind
from mmu.guard import Guard
from mmu.host_array import low_record
from mmu.memory import PAGE_SIZE, BusError, PhysicalMemory
from mmu.processors import COUNTERS, PLAIN_FILLS, Processors
from mmu.record import record, replace
from mmu.registers import CR3_NO_FLUSH, CR4, EFER, Registers, check_cr0, check_cr3, check_cr4, check_efer
from mmu.state import MmuState
from mmu.translation import load_registers

if TYPE_CHECKING:
    from mmu.model import Invpcid, TlbModel

#: A range of more pages than this is flushed by flushing all (Linux's tlb_single_page_flush_ceiling).
SINGLE_PAGE_CEILING = 33
_CEILING_BYTES = SINGLE_PAGE_CEILING * PAGE_SIZE
#: Bits of CR3 that mean nothing without CR4.PCIDE: a table's address has none of them.
_IGNORED = 0xFE7


@record(frozen=True)
class Counters:
    """What the MMU has done since it was attached."""

    fills: int
    walks: int
    walk_loads: int
    page_faults: int
    ad_updates: int
    flushes: int
    cr3_loads: int


def _where_it_begins(uc: Uc) -> int:
    """Where in a page the record is to begin in which code counts itself: far from where in its page the engine has
    the registers.  The host takes a load for one of what was just stored 4 KiB from it, and waits."""
    unused: int = MmuState.unused.offset  # type: ignore[attr-defined]
    return (ctypes.addressof(unicorn_abi.general_registers(uc)) - 0x400 - unused) % PAGE_SIZE & -64


class Control:
    """The registers and the cached translations of an :class:`mmu.Mmu`: those of the TLB model and, kept within them,
    the engine's own."""

    def __init__(self, uc: Uc, ram: PhysicalMemory, ring_capacity: int, processors: int) -> None:
        self.uc = uc
        self.ram = ram
        #: What is raised in callbacks.
        self.guard = Guard(uc)
        self.state = low_record(MmuState, _where_it_begins(uc))
        state = self.state
        state.ram, state.ram_bytes = ram.host, ram.size
        state.epoch = 1
        self._facts = Registers(cr3=0, cpl=0)
        load_registers(state, self._facts)
        self.events = EventRing(state, ring_capacity)
        self._processors = Processors(state, processors)
        self._engine = EngineRegisters(uc)
        self._engine.load(state.cr0, state.cr3, state.cr4)
        #: An operation is being done on a processor that does not have its turn: the engine holds nothing of it.
        self._elsewhere = False
        #: Where the engine keeps its CPU, once that is known.
        self._engine_cpu = 0
        #: The TLB model of the processor that has its turn; None in filtered mode.
        self.tlb: TlbModel | None = None
        #: The models of all processors; empty in filtered mode.
        self.tlbs: tuple[TlbModel, ...] = ()

    @property
    def mode(self) -> str:
        """The mode: "filtered" or "exact"."""
        return "filtered" if self.tlb is None else "exact"

    # -- processors -----------------------------------------------------------------------------------------------

    @property
    def processors(self) -> int:
        """How many logical processors there are."""
        return self._processors.number

    @property
    def processor(self) -> int:
        """The number of the one that has its turn."""
        return self._processors.current

    def switch_to(self, processor: int, *, loads_cr3: bool = False) -> None:
        """Let another processor have its turn.  Not within emulation.

        Unicorn's own translations are those of the one before: they go, unless both use the same tables and no TLB is
        modelled, or the caller ``loads_cr3`` next, which flushes them anyway.
        """
        state, old_cr3 = self.state, self.state.cr3
        self._processors.select(processor)
        if self.tlbs:
            self.tlb = self.tlbs[processor]
        if not loads_cr3 and (self.tlbs or state.cr3 != old_cr3):
            self._engine.load_cr3(state.cr3, state.cr3_loads)
            state.epoch += 1
        state.late_page = state.pieces_number = 0

    @contextmanager
    def on(self, processor: int) -> Iterator[None]:
        """Within the block :meth:`flush`, :meth:`flush_range` and :meth:`invlpg` are what ``processor`` does, as the
        handler of an IPI would, while another one has its turn."""
        here, state = self.processor, self.state
        if processor == here:
            yield
            return
        engine_cpu, state.engine_cpu = state.engine_cpu, 0
        self._processors.select(processor)
        self.tlb, self._elsewhere = self.tlbs[processor] if self.tlbs else None, True
        try:
            yield
        finally:
            self._processors.select(here)
            self.tlb, self._elsewhere = self.tlbs[here] if self.tlbs else None, False
            state.engine_cpu = engine_cpu

    def empty_models(self) -> None:
        """Empty the modelled TLBs and structure caches of all processors, which counts and records no flush."""
        for processor in range(len(self.tlbs)):
            with self.on(processor):
                self.tlbs[processor].flush_all()

    def cr3_of(self, processor: int) -> int:
        """CR3 of a processor."""
        return self._processors.register(processor, "cr3")

    # -- registers ------------------------------------------------------------------------------------------------

    @property
    def registers(self) -> Registers:
        """The paging registers.  Assigning flushes, as a change of CR0, CR4 or EFER does."""
        s = self.state
        return replace(
            self._facts, cr3=s.cr3, cr0=s.cr0, cr4=s.cr4, efer=s.efer, cpl=s.cpl, ac=bool(s.ac), pkru=s.pkru,
            pkrs=s.pkrs,
        )  # fmt: skip

    @registers.setter
    def registers(self, registers: Registers) -> None:
        if registers.cr3 & ADDRESS >= self.ram.size:
            raise BusError(f"CR3 {registers.cr3:#x} lies outside physical memory of {self.ram.size:#x} bytes")
        load_registers(self.state, registers)
        self.state.pcid = registers.pcid
        self._facts = registers
        self._engine.load(registers.cr0, self.state.cr3, registers.cr4)
        self.flush()

    def load_cr3(self, cr3: int) -> None:
        """MOV to CR3: use the tables at this physical address; every translation is invalidated (SDM vol. 3,
        4.10.4.1).  :class:`mmu.registers.Refused`, a ValueError, where a processor raises #GP(0); ValueError if this is
        not where a table can be.
        """
        if cr3 & _IGNORED or not 0 <= cr3 < self.ram.size:
            self._check_table(cr3)
        self.mov_to_cr3(cr3)

    def _check_table(self, cr3: int) -> None:
        check_cr3(cr3, self.state.cr4, self.state.maxphyaddr)
        if cr3 & _IGNORED and not self.state.cr4 & CR4.PCIDE:
            raise ValueError(f"CR3 {cr3:#x} is not aligned: a table begins at a multiple of {PAGE_SIZE:#x}")
        if cr3 & ADDRESS >= self.ram.size:
            raise BusError(f"CR3 {cr3:#x} lies outside physical memory of {self.ram.size:#x} bytes")

    def mov_to_cr3(self, cr3: int) -> None:
        """:meth:`load_cr3` as the instruction does it: bits that a processor ignores are ignored, and where the table
        is shows when it is walked."""
        state = self.state
        old = state.cr3
        check_cr3(cr3, state.cr4, state.maxphyaddr)
        state.cr3_loads += 1
        if state.event_mask:
            self.events.emit(EventKind.CR3_LOAD, old=old, new=cr3)
        if self.tlb is not None:
            self.tlb.mov_cr3(cr3)
        else:
            state.cr3 = cr3 & ~CR3_NO_FLUSH
        self._engine.load_cr3(state.cr3, state.cr3_loads)
        state.epoch += 1

    def cr3_was_loaded(self) -> None:
        """Native code has done what :meth:`load_cr3` does in filtered mode, as ``state`` says."""
        self._engine.cr3_is(self.state.cr3)

    def load_cr0(self, cr0: int) -> None:
        """MOV to CR0: WP takes effect.  ValueError where a processor raises #GP(0) in 64-bit mode."""
        check_cr0(cr0)
        self._replace(replace(self.registers, cr0=cr0))

    def load_cr4(self, cr4: int) -> None:
        """MOV to CR4, and what it invalidates (SDM vol. 3, 4.10.4.1).  ValueError where a processor raises #GP(0)."""
        state = self.state
        check_cr4(state.cr4, cr4, state.cr3)
        changed = replace(self.registers, cr4=cr4)
        if self.tlb is not None:
            self.tlb.mov_cr4(state.cr4, cr4)
        self._replace(changed)

    def load_efer(self, efer: int) -> None:
        """WRMSR to IA32_EFER: NXE takes effect, and LMA stays as it is.  It invalidates nothing that a TLB model holds
        (SDM vol. 3, 4.10.4.1).  ValueError where a processor raises #GP(0)."""
        old = self.state.efer
        check_efer(old, efer)
        self._replace(replace(self.registers, efer=efer & ~EFER.LMA | old & EFER.LMA))

    def _replace(self, registers: Registers) -> None:
        state = self.state
        load_registers(state, registers)
        state.pcid, self._facts = registers.pcid, registers
        self._engine.load(state.cr0, state.cr3, state.cr4)
        unicorn_abi.flush_tlb(self.uc)
        state.epoch += 1

    def _set_cpl(self, cpl: int) -> None:
        """The engine is at this CPL now, and holds translations for another one."""
        self.state.cpl = cpl
        unicorn_abi.flush_tlb(self.uc)
        self.state.epoch += 1

    def follow_engine(self, *, guest: bool = False) -> None:
        """Do what a MOV would that has left the engine's CR0, CR3 and CR4 as they are: a script has written them, or
        restored a context, or the ``guest`` has.  ValueError, and they are what they were, for what cannot be loaded.
        """
        changes = self._engine.changes()
        if changes is None:
            return
        state = self.state
        try:
            if changes.cr0:
                self.load_cr0(state.cr0 ^ changes.cr0)
            if changes.cr4:
                self.load_cr4(state.cr4 ^ changes.cr4)
            if changes.cr3 is not None and changes.cr3 != state.cr3:
                (self.mov_to_cr3 if guest else self.load_cr3)(changes.cr3)
        finally:
            self._engine.load(state.cr0, state.cr3, state.cr4)

    def _stand_in(self, uc: Any) -> None:
        """See what a script writes to the engine's registers."""
        self._context_restore, self._reg_write, self._reg_write_batch = (
            uc.context_restore, uc.reg_write, uc.reg_write_batch,
        )  # fmt: skip
        uc.context_restore = self._restored
        uc.reg_write, uc.reg_write_batch = self._register_written, self._registers_written

    def _restored(self, context: Any) -> None:
        """Stands in for ``uc.context_restore``: the registers of paging and the CPL are those of the context."""
        before = self._engine.cpl
        self._context_restore(context)
        self.follow_engine()
        cpl = self._engine.cpl
        if cpl != before:
            self._set_cpl(cpl)

    def _register_written(self, register: int, value: Any) -> None:
        """Stands in for ``uc.reg_write``: a write of CR0, CR3 or CR4 is a MOV to it."""
        self._reg_write(register, value)
        if register in CONTROL_REGISTERS:
            self.follow_engine()

    def _registers_written(self, written: Any) -> None:
        """Stands in for ``uc.reg_write_batch``."""
        pairs = list(written)
        self._reg_write_batch(pairs)
        if any(register in CONTROL_REGISTERS for register, _ in pairs):
            self.follow_engine()

    # -- invalidation ---------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Invalidate every translation."""
        self._count_flush(0, 0)
        if self.tlb is not None:
            self.tlb.flush_all()
        if not self._elsewhere:
            unicorn_abi.flush_tlb(self.uc)
            self.state.epoch += 1

    def invpcid(self, kind: Invpcid, pcid: int = 0, vaddr: int = 0) -> None:
        """INVPCID (SDM vol. 2): its four types.  Filtered mode models no PCID and invalidates everything.  ValueError
        where a processor raises #GP(0)."""
        from mmu.model import check_invpcid

        check_invpcid(self.state, kind, pcid, vaddr)
        self._count_flush(vaddr, 0)
        if self.tlb is not None:
            self.tlb.invpcid(kind, pcid, vaddr)
        unicorn_abi.flush_tlb(self.uc)
        self.state.epoch += 1

    def invlpg(self, vaddr: int) -> None:
        """Invalidate the translation of one page (of 4 KiB; every page of the range if ``vaddr`` lies in a large
        one).
        """
        self.flush_range(vaddr & -PAGE_SIZE, PAGE_SIZE)

    def flush_range(self, start: int, length: int, mapped: tuple[int, int] | None = None) -> None:
        """Invalidate the translations of every page that has a byte in [start, start + length).  ``mapped``: a part of
        it, from its first address to that behind it, outside of which nothing was mapped that could be held.
        ValueError for numbers below 0."""
        if start < 0 or length < 0:
            raise ValueError(f"a range has a start and a length from 0 on, not {start:#x} and {length:#x}")
        self._count_flush(start, length)
        if self.tlb is not None:
            if length <= _CEILING_BYTES:
                for vaddr in range(start & -PAGE_SIZE, start + length, PAGE_SIZE):
                    self.tlb.invlpg(vaddr)
            else:
                self.tlb.flush_current()
        if self._elsewhere:
            return
        # Unicorn holds a large page in pieces of 4 KiB, and which ones is not known
        large = self.state.large_epoch == self.state.epoch
        if length <= _CEILING_BYTES and not large:
            engine = self._engine_cpu or unicorn_abi.cpu_state(self.uc)
            unicorn_abi.flush_pages(engine, *(mapped or (start, start + length)))
        else:
            unicorn_abi.flush_tlb(self.uc)
            self.state.epoch += 1

    def _count_flush(self, start: int, length: int) -> None:
        self.state.flushes += 1
        if self.state.event_mask:
            self.events.emit(EventKind.FLUSH, vaddr=start, length=length)

    # -- counters -----------------------------------------------------------------------------------------------------

    @property
    def counters(self) -> Counters:
        """What was done so far, by all processors together."""
        each = [self.counters_of(processor) for processor in range(self.processors)]
        return Counters(*(sum(getattr(c, name) for c in each) for name in COUNTERS))

    def counter(self, processor: int, name: str) -> int:
        """One of a processor's counters (:data:`mmu.processors.COUNTERS`, and those fills that are counted apart)."""
        return self._processors.register(processor, name)

    def set_counter(self, processor: int, name: str, value: int) -> None:
        """Set it."""
        self._processors.set_register(processor, name, value)

    def counters_of(self, processor: int) -> Counters:
        """What one processor has done so far."""
        counted = {name: self._processors.register(processor, name) for name in COUNTERS}
        plain = self._processors.register(processor, PLAIN_FILLS)
        for name, each in (("fills", 1), ("walks", 1), ("walk_loads", 4)):
            counted[name] += each * plain
        return Counters(**counted)
