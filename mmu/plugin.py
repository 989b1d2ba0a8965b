"""Mmu: the page walk attached to a ``unicorn.Uc``."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from unicorn import UC_HOOK_BLOCK, UC_HOOK_MEM_READ, UC_HOOK_MEM_WRITE, UC_HOOK_TLB_FILL, UC_PROT_ALL, Uc

from mmu import unicorn_abi
from mmu.events import EventKind, EventRing
from mmu.faults import GeneralProtection, PageFault
from mmu.geometry import Geometry
from mmu.hooks import PHYSMAP
from mmu.memory import PAGE_SHIFT, PAGE_SIZE, BusError, PhysicalMemory
from mmu.processors import COUNTERS, PLAIN_FILLS, Processors
from mmu.registers import CR3_NO_FLUSH, Access, Registers, check_cr3, check_cr4
from mmu.state import MmuState, Status
from mmu.translation import library, load_registers

if TYPE_CHECKING:
    from mmu.model import Invpcid, TlbModel

_UC_MEM_READ = 16
_PAGE_FAULT = int(Status.PAGE_FAULT)
#: A fault handler that says "fixed" this often for one access without making the walk succeed is broken.
_MAX_RETRIES = 64
#: A range of more pages than this is flushed by flushing all (Linux's tlb_single_page_flush_ceiling).
SINGLE_PAGE_CEILING = 33
_CEILING_BYTES = SINGLE_PAGE_CEILING * PAGE_SIZE
_WINDOW_SHIFT = 40
_MAX_STALE = 1000
_NOTICE1 = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)
_NOTICE3 = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64)

Fault = PageFault | GeneralProtection
FaultHandler = Callable[[PageFault], bool]


@dataclass(frozen=True)
class Counters:
    """What the MMU has done since it was attached."""

    fills: int
    walks: int
    walk_loads: int
    page_faults: int
    ad_updates: int
    flushes: int
    cr3_loads: int


@dataclass(frozen=True)
class StaleHit:
    """A modelled TLB hit that the page tables no longer bear out: what the TLB held, and what a walk finds (None: a
    fault)."""

    vaddr: int
    access: Access
    cached_paddr: int
    fresh_paddr: int | None
    asid: int
    cpu: int
    clock: int


def _geometry(tlb: str | Geometry) -> Geometry | None:
    if isinstance(tlb, Geometry):
        return tlb
    if tlb == "off":
        return None
    from mmu.presets import load_preset

    return load_preset(tlb)


class Mmu:
    """Resolves every address that ``uc`` touches through page tables in ``ram``.

    Maps ``ram`` at physical address 0 of ``uc``, switches ``uc`` to UC_TLB_VIRTUAL and answers its TLB fills:
    natively where the walk
    succeeds, else by asking :attr:`on_page_fault`.  Call :meth:`load_cr3` before the first ``emu_start``.

    ``tlb``: "off" is *filtered* mode: fills are reported, and a fill is never called a TLB miss, since Unicorn's own
    translation cache stands before it.  A preset's name or a :class:`mmu.geometry.Geometry` is *exact* mode: every data
    access and every fetch goes through the model :attr:`tlb`, and a guest gets what the model holds, stale or not.
    ``seed`` is for random replacement.

    ``processors``: logical processors that take turns (:meth:`switch_to`), each with CR3, translation caches and
    counters of its own.
    """

    def __init__(
        self,
        uc: Uc,
        ram: PhysicalMemory,
        *,
        tlb: str | Geometry = "off",
        seed: int = 0,
        ring_capacity: int = 1 << 15,
        processors: int = 1,
    ) -> None:
        geometry = _geometry(tlb)
        unicorn_abi.self_test()
        self.uc = uc
        self.ram = ram
        self.state = MmuState()
        #: Asked for each page fault, inside the fill: True if the tables were changed so that the access is to be
        #: tried again.
        self.on_page_fault: FaultHandler | None = None
        #: The last access that could not be resolved (emu_start ended with UC_ERR_EXCEPTION).
        self._failed: tuple[int, int, int, int] | None = None
        self._error: BaseException | None = None
        self._slots = np.zeros(8, dtype=np.uint64)
        self._has_code = np.zeros(ram.frames, dtype=np.uint8)
        self._written_epoch = np.zeros(ram.frames, dtype=np.uint32)
        self.has_code = memoryview(self._has_code)  # type: ignore[arg-type]
        self._prepare_state(ring_capacity)
        self.events = EventRing(self.state, ring_capacity)
        #: "native" or "reference": how the hooks run.
        self.code = library().mode
        self._processors = Processors(self.state, processors)
        #: An operation is being done on a processor that does not have its turn: the engine holds nothing of it.
        self._elsewhere = False
        #: The TLB model of the processor that has its turn; None in filtered mode.
        self.tlb: TlbModel | None = None
        #: The models of all processors; empty in filtered mode.
        self.tlbs: tuple[TlbModel, ...] = ()
        #: Stale translations that the detector has seen (see :meth:`check_tlb`), and who is told of each.
        self.stale: list[StaleHit] = []
        self.on_stale_hit: Callable[[StaleHit], None] | None = None
        if geometry is not None:
            self._prepare_exact(geometry, seed)
        self._attach()

    def _prepare_state(self, ring_capacity: int) -> None:
        state = self.state
        state.ram, state.ram_bytes = self.ram.host, self.ram.size
        state.slots = self._slots.ctypes.data
        state.has_code = self._has_code.ctypes.data
        state.written_epoch = self._written_epoch.ctypes.data
        state.epoch = 1
        self._reserved = np.zeros(12, dtype=np.uint64)
        state.reserved = self._reserved.ctypes.data
        self._facts = Registers(cr3=0, cpl=0)
        load_registers(state, self._facts)
        self._state_address = ctypes.addressof(state)

    @property
    def mode(self) -> str:
        """"filtered" or "exact"."""
        return "filtered" if self.tlb is None else "exact"

    def _prepare_exact(self, geometry: Geometry, seed: int) -> None:
        from mmu.exact import WINDOWS
        from mmu.model import TlbModel

        state = self.state
        self._page_of = np.zeros(WINDOWS * self.ram.frames, dtype=np.uint64)
        state.page_of, state.frames, state.windows = self._page_of.ctypes.data, self.ram.frames, WINDOWS
        state.engine_flush_page = unicorn_abi.symbol_address("tlb_flush_page_x86_64")
        state.engine_flush = unicorn_abi.symbol_address("tlb_flush_x86_64")
        self._make_room = _NOTICE1(self._on_full)
        self._stale_callback = _NOTICE3(self._on_stale)
        state.make_room = ctypes.cast(self._make_room, ctypes.c_void_p).value or 0
        state.on_stale = ctypes.cast(self._stale_callback, ctypes.c_void_p).value or 0
        models: list[TlbModel] = []
        for processor in reversed(range(self.processors)):  # the first one has its turn in the end
            if processor != self.processor:
                self._processors.select(processor)
            models.insert(0, TlbModel(state, geometry, seed + processor))
        self.tlb, self.tlbs = models[0], tuple(models)

    def _attach(self) -> None:
        uc: Any = self.uc
        uc._unimmu = self  # as with its own hooks, the engine keeps what it is going to call
        windows = self.state.windows or 1
        for k in range(windows):
            uc.mem_map_ptr(k << _WINDOW_SHIFT, self.ram.size, UC_PROT_ALL, ctypes.c_void_p(self.ram.host))
        unicorn_abi.use_virtual_tlb(uc)
        unicorn_abi.steady_tlb(uc)
        self._fill = library()["fill"]
        if self.tlb is not None:
            from mmu.model import exact_library

            self.state.engine_cpu = unicorn_abi.cpu_state(uc)  # which is there only now that memory is mapped
            self.state.engine_windows = unicorn_abi.tlb_windows(uc)
            self._fill = exact_library()["fill_exact"]
            for kind, name in ((UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE, "on_memory"), (UC_HOOK_BLOCK, "on_fetch")):
                unicorn_abi.hook_add(uc, kind, exact_library()[name].address, self._state_address)
        unicorn_abi.hook_add(uc, UC_HOOK_TLB_FILL, self._fill.address, self._state_address)
        self._callback = unicorn_abi.FILL_CALLBACK(self._on_unresolved)
        address = ctypes.cast(self._callback, ctypes.c_void_p).value
        assert address is not None
        unicorn_abi.hook_add(uc, UC_HOOK_TLB_FILL, address, 0)

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
            unicorn_abi.flush_tlb(self.uc)
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
        load_registers(self.state, registers)
        self.state.pcid = registers.pcid
        self._facts = registers
        self.flush()

    def load_cr3(self, cr3: int) -> None:
        """MOV to CR3: use the tables at this physical address; every translation is invalidated (SDM vol. 3,
        4.10.4.1).  ValueError where a processor raises #GP(0).
        """
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
        unicorn_abi.flush_tlb(self.uc)
        state.epoch += 1

    def load_cr4(self, cr4: int) -> None:
        """MOV to CR4, and what it invalidates (SDM vol. 3, 4.10.4.1).  ValueError where a processor raises #GP(0)."""
        state = self.state
        check_cr4(state.cr4, cr4, state.cr3)
        changed = replace(self.registers, cr4=cr4)
        if self.tlb is not None:
            self.tlb.mov_cr4(state.cr4, cr4)
        load_registers(state, changed)
        state.pcid, self._facts = changed.pcid, changed
        unicorn_abi.flush_tlb(self.uc)
        state.epoch += 1

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

    def flush_range(self, start: int, length: int) -> None:
        """Invalidate the translations of every page that has a byte in [start, start + length)."""
        self._count_flush(start, length)
        if self.tlb is not None:
            if length <= _CEILING_BYTES:
                for vaddr in range(start & -PAGE_SIZE, start + length, PAGE_SIZE):
                    self.tlb.invlpg(vaddr)
            else:
                self.tlb.mov_cr3(self.state.cr3)
        if self._elsewhere:
            return
        # Unicorn holds a large page in pieces of 4 KiB, and which ones is not known
        large = self.state.large_epoch == self.state.epoch
        if length <= _CEILING_BYTES and not large:
            for vaddr in range(start & -PAGE_SIZE, start + length, PAGE_SIZE):
                unicorn_abi.flush_page(self.uc, vaddr)
        else:
            unicorn_abi.flush_tlb(self.uc)
            self.state.epoch += 1

    def _count_flush(self, start: int, length: int) -> None:
        self.state.flushes += 1
        if self.state.event_mask:
            self.events.emit(EventKind.FLUSH, vaddr=start, length=length)

    def code_written(self, frame: int) -> None:
        """Somebody other than the guest changed this frame: drop the code that was translated from it."""
        if self.has_code[frame]:
            self._drop_code(frame)
            unicorn_abi.flush_tlb(self.uc)
            self.state.epoch += 1

    def code_written_many(self, frames: npt.NDArray[np.int64]) -> None:
        """As :meth:`code_written`, for each frame of an array."""
        for frame in frames[self._has_code[frames] != 0].tolist():
            self.code_written(frame)

    def _drop_code(self, frame: int) -> None:
        """Invalidate translated code by physical address: the physmap makes the frame reachable for
        uc_ctl_remove_cache.
        """
        self.state.physmap_open = 1
        try:
            for window in range(self.state.windows or 1):
                start = PHYSMAP + (window << _WINDOW_SHIFT) + (frame << PAGE_SHIFT)
                self.uc.ctl_remove_cache(start, start + PAGE_SIZE)
        finally:
            self.state.physmap_open = 0
        self.has_code[frame] = 0

    def watch_privileged_instructions(self) -> None:
        """Let INVLPG and MOV to CR3, executed by the guest at CPL 0, take effect (see :mod:`mmu.privileged` for how far
        that goes).  To be called before the code is run."""
        from mmu.privileged import PrivilegedInstructions

        watcher = PrivilegedInstructions(self)

        def fetched(vaddr: int, frame: int, _nothing: int) -> int:
            try:
                watcher.page_fetched(vaddr, frame)
            except BaseException as error:
                self._error = error
            return 0

        self._code_callback = _NOTICE3(fetched)
        self.state.on_code = ctypes.cast(self._code_callback, ctypes.c_void_p).value or 0

    # -- exact mode ------------------------------------------------------------------------------------------------

    def check_tlb(self, enable: bool = True) -> None:
        """The stale-translation detector: hold each modelled hit against a fresh walk, and collect what differs in
        :attr:`stale`.  ValueError in filtered mode, which models no TLB."""
        if self.tlb is None:
            raise ValueError("the stale-translation detector needs a modelled TLB (exact mode)")
        self.state.check = int(enable)

    def _on_full(self, _nothing: int) -> int:
        try:
            self.events.make_room()
        except BaseException as error:
            self._error = error
        return 0

    def _on_stale(self, vaddr: int, access: int, cached: int) -> int:
        state = self.state
        fresh = state.paddr if state.status == Status.OK else None
        hit = StaleHit(vaddr, Access(access), cached, fresh, state.asid, state.cpu, state.clock)
        if len(self.stale) < _MAX_STALE:
            self.stale.append(hit)
        if self.on_stale_hit is not None:
            try:
                self.on_stale_hit(hit)
            except BaseException as error:
                self._error = error
        return 0

    # -- what the native hook could not do ------------------------------------------------------------------------

    def _on_unresolved(self, uc: int, vaddr: int, kind: int, result: int, _data: int) -> bool:
        try:
            return self._resolve(uc, vaddr, kind, result)
        except BaseException as error:
            self._error, self._failed = error, None
            return False

    def _resolve(self, uc: int, vaddr: int, kind: int, result: int) -> bool:
        state = self.state
        for _ in range(_MAX_RETRIES):
            status = state.status
            if status == _PAGE_FAULT:
                fault = PageFault(vaddr, state.error_code)
                if self.on_page_fault is None or not self.on_page_fault(fault):
                    self._failed = (status, kind - _UC_MEM_READ, fault.error_code, vaddr)
                    return False
            elif status == Status.RING_FULL:
                self.events.make_room()
            elif status == Status.CODE_WRITTEN:
                self.code_written(state.paddr >> PAGE_SHIFT)
            elif status == Status.WRITTEN_CODE:
                unicorn_abi.flush_tlb(self.uc)
                state.epoch += 1
            else:
                self._failed = (status, kind - _UC_MEM_READ, 0, vaddr)
                return False
            if self._fill.call(uc, vaddr, kind, result, self._state_address):
                return True
        raise RuntimeError(
            f"Mmu: the page-fault handler said {_MAX_RETRIES} times that {vaddr:#x} is fixed, and it is not"
        )

    def take_failure(self) -> tuple[Fault, Access] | None:
        """After emu_start ended with UC_ERR_EXCEPTION: the fault that nobody resolved, and what the access was.

        The fault carries the exact address (CR2).  None if no access failed.  Raises what a fault handler raised, or
        :class:`mmu.BusError` if a table or a page lies outside physical memory.
        """
        library().raise_failures()
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        if self._failed is None:
            return None
        (status, access, error_code, page), self._failed = self._failed, None
        vaddr = unicorn_abi.invalid_address(self.uc)
        if status == Status.BUS:
            raise BusError(f"the tables map {page:#x} outside physical memory of {self.ram.size:#x} bytes")
        if status == Status.GENERAL_PROTECTION:
            return GeneralProtection(vaddr), Access(access)
        return PageFault(vaddr, error_code), Access(access)

    @property
    def counters(self) -> Counters:
        """What was done so far, by all processors together."""
        each = [self.counters_of(processor) for processor in range(self.processors)]
        return Counters(*(sum(getattr(c, name) for c in each) for name in COUNTERS))

    def counters_of(self, processor: int) -> Counters:
        """What one processor has done so far."""
        counted = {name: self._processors.register(processor, name) for name in COUNTERS}
        plain = self._processors.register(processor, PLAIN_FILLS)
        for name, each in (("fills", 1), ("walks", 1), ("walk_loads", 4)):
            counted[name] += each * plain
        return Counters(**counted)
