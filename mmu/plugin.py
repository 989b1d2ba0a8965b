"""Mmu: the page walk attached to a ``unicorn.Uc``."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from unicorn import (
    UC_ERR_EXCEPTION,
    UC_HOOK_BLOCK,
    UC_HOOK_MEM_READ,
    UC_HOOK_MEM_WRITE,
    UC_HOOK_TLB_FILL,
    Uc,
    UcError,
)

from mmu import unicorn_abi
from mmu.attaching import check_engine, enter_cpl_3
from mmu.coherence import TranslatedCode
from mmu.faults import GeneralProtection, PageFault
from mmu.memory import PAGE_SHIFT, PAGE_SIZE, BusError, PhysicalMemory
from mmu.privileged import PrivilegedInstructions
from mmu.registers import Access
from mmu.running import Run
from mmu.selftest import check_library
from mmu.state import Status
from mmu.translation import library
from mmu.walk import canonical
from mmu.windows import WINDOWS

if TYPE_CHECKING:
    from mmu.geometry import Geometry
    from mmu.helper_table import FastPath
    from mmu.stale import StaleHit, StaleHits

_PAGE_FAULT = int(Status.PAGE_FAULT)
#: A fault handler that says "fixed" this often for one access without making the walk succeed is broken.
_MAX_RETRIES = 64
_NOTICE1 = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)
_NOTICE3 = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64)

Fault = PageFault | GeneralProtection
FaultHandler = Callable[[PageFault], bool]


def _geometry(tlb: str | Geometry) -> Geometry | None:
    if tlb == "off":
        return None
    if not isinstance(tlb, str):
        return tlb
    from mmu.presets import load_preset

    return load_preset(tlb)


def _name_of(handler: Any) -> str:
    """What a person calls a handler by."""
    name = getattr(handler, "__qualname__", None)
    return repr(handler) if name is None else f"{handler.__module__}.{name}"


class Mmu(TranslatedCode):
    """Resolves every address that ``uc`` touches through page tables in ``ram``.

    Maps ``ram`` at physical address 0 of ``uc``, switches ``uc`` to UC_TLB_VIRTUAL and answers its TLB fills:
    natively where the walk
    succeeds, else by asking :attr:`on_page_fault`.  Call :meth:`load_cr3` before the first ``emu_start``.

    ``tlb``: "off" is *filtered* mode: fills are reported, and a fill is never called a TLB miss, since Unicorn's own
    translation cache stands before it.  A preset's name or a :class:`mmu.geometry.Geometry` is *exact* mode: every data
    access and every fetch goes through the model :attr:`tlb`, and a guest gets what the model holds, stale or not.
    ``seed`` is for random replacement.

    ``fetch_hook=False``: in exact mode a block hook of the caller's own has the model handle the fetches of each block
    (:func:`mmu.exact.fetch_block`).

    ``processors``: logical processors that take turns (:meth:`switch_to`), each with CR3, translation caches and
    counters of its own.

    A page fault that nobody resolves ends ``emu_start`` with UC_ERR_EXCEPTION, and :meth:`take_failure` says which it
    was.  ValueError for a Uc that is not of UC_MODE_64, has an Mmu already, or has memory mapped already; ValueError or
    :class:`mmu.presets.UnknownPreset` for a ``tlb`` that there is not; and :class:`mmu.unicorn_abi.UnicornMismatch` if
    this is not the Unicorn that was calibrated.

    >>> from unicorn import UC_ARCH_X86, UC_MODE_64, Uc, UcError
    >>> ram = PhysicalMemory(1 << 20)
    >>> mmu = Mmu(uc := Uc(UC_ARCH_X86, UC_MODE_64), ram)
    >>> mmu.load_cr3(0x1000)
    >>> try:
    ...     uc.emu_start(0x400000, 0)
    ... except UcError:
    ...     fault, access = mmu.take_failure()
    ...     print(fault)
    #PF at 0x400000, error code 0x10 (supervisor fetch: not present)
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
        fast: bool | None = None,
        fetch_hook: bool = True,
    ) -> None:
        check_engine(uc, ram)
        if seed < 0:
            raise ValueError(f"a seed is not below 0, as {seed} is")
        geometry = _geometry(tlb)
        check_library()
        super().__init__(uc, ram, ring_capacity, processors)
        self._begin_virtual()
        #: Asked for each page fault, inside the fill: True if the tables were changed so that the access is to be
        #: tried again.
        self.on_page_fault: FaultHandler | None = None
        #: Whether the handler is told of the entries that the walk read (``PageFault.steps``), which takes some time.
        self.faults_have_steps = True
        #: The access under way is to be made again, by the code that is at its instruction by now; emulation has ended
        #: with UC_ERR_EXCEPTION for that.
        self.starts_again = False
        #: The last access that could not be resolved (emu_start ended with UC_ERR_EXCEPTION).
        self._failed: tuple[int, int, int, int, bytes] | None = None
        self._walked = self.state.walked
        self._failed_walk = memoryview(self.state.failed).cast("B")
        #: An exception of an instruction that was done here.
        self._raised: tuple[Fault, Access] | None = None
        self._uc_emu_start, self._uc_emu_stop = uc.emu_start, uc.emu_stop
        #: The emu_start that is under way.
        self._run: Run | None = None
        self._begin_code()
        self._privileged = PrivilegedInstructions(self, self.fail, self._resolved)
        self._state_address = ctypes.addressof(self.state)
        #: "native" or "reference": how the hooks run.
        self.code = library().mode
        self._stale: StaleHits | None = None
        #: In exact mode: whether data accesses go through our own helpers.
        self.fast_path: FastPath | None = None
        if geometry is not None:
            self._prepare_exact(geometry, seed)
        self._fast, self._fetch_hook = fast, fetch_hook
        self._attach()

    def _prepare_exact(self, geometry: Geometry, seed: int) -> None:
        from mmu.model import TlbModel
        from mmu.stale import StaleHits

        state = self.state
        self._make_windows(WINDOWS)
        state.engine_flush = unicorn_abi.symbol_address("tlb_flush_x86_64")
        state.make_room = self.guard.pointer(_NOTICE1, self._on_full)
        self._stale = StaleHits(state, self.guard)
        models: list[TlbModel] = []
        for processor in reversed(range(self.processors)):  # the first one has its turn in the end
            if processor != self.processor:
                self._processors.select(processor)
            beside = models[0] if models else None
            models.insert(0, TlbModel(state, geometry, seed + processor, self.guard, beside))
        self.tlb, self.tlbs = models[0], tuple(models)

    def _attach(self) -> None:
        uc: Any = self.uc
        uc._unimmu = self  # as with its own hooks, the engine keeps what it is going to call
        self._stand_in(uc)
        uc.emu_start, uc.emu_stop = self._emu_start, self._emu_stop
        self.guard.signals_wait_in(Mmu._emu_start)
        self.guard.signals_wait_in(Mmu._drop_code)  # in reference mode Python answers the fills
        library().guards[unicorn_abi.handle(uc)] = self.guard
        windows = self.state.windows or 1
        for k in range(windows):
            self.map_window(k)
        unicorn_abi.use_virtual_tlb(uc)
        unicorn_abi.steady_tlb(uc)
        self.state.engine_cr3 = unicorn_abi.cpu_state(uc) + unicorn_abi.ENV_CR3
        self._follow_instructions()
        self._fill = library()["fill"]
        if self.tlb is not None:
            from mmu.helper_proof import begin_fast_path
            from mmu.model import exact_library

            exact_library().guards[unicorn_abi.handle(uc)] = self.guard
            self.state.engine_cpu = unicorn_abi.cpu_state(uc)  # which is there only now that memory is mapped
            self.state.engine_windows = unicorn_abi.tlb_windows(uc)
            self._fill = exact_library()["fill_exact"]
            hooks = {"on_memory": UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE, "on_fetch": UC_HOOK_BLOCK}
            if not self._fetch_hook:
                del hooks["on_fetch"]
            for name, kind in hooks.items():
                unicorn_abi.hook_add(uc, kind, exact_library()[name].address, self._state_address)
            self.fast_path = begin_fast_path(Mmu, uc, self.state, self._fast)
        self.state.on_code = self.guard.pointer(_NOTICE3, self._fetched)
        self._resolve_pointer = self.guard.pointer(unicorn_abi.FILL_CALLBACK, self._resolve)
        self._fill_hooks: list[int] = []
        self._hook_fills()

    def _hook_fills(self) -> None:
        """Ask :attr:`_fill` first, then Python."""
        for hook in self._fill_hooks:
            unicorn_abi.hook_del(self.uc, hook)
        asked = ((self._fill.address, self._state_address), (self._resolve_pointer, 0))
        self._fill_hooks = [unicorn_abi.hook_add(self.uc, UC_HOOK_TLB_FILL, *each) for each in asked]

    def __repr__(self) -> str:
        return f"<Mmu of {self.ram!r}: {self.mode}, CR3 {self.state.cr3:#x}, CPL {self.state.cpl}>"

    def enter_user_mode(self) -> None:
        """Go to CPL 3 with flat user segments, the engine and :attr:`registers` both; nothing else changes.

        A Uc begins at CPL 0, and writing CS does not change that.  Not within emulation.  From here on privileged
        instructions raise #GP (UC_HOOK_INTR 13), and pages without U/S fault.
        """
        enter_cpl_3(self.uc, self.guard, self.state, self.ram)
        self._failed = None
        self._set_cpl(3)

    def watch_privileged_instructions(self) -> None:
        """Look for INVLPG, INVPCID and MOV to and from control registers at other CPLs than 0 too: what is executed
        there is refused, also by an engine that is at CPL 0 itself (see :mod:`mmu.privileged`).  To be called before
        the code is run."""
        self.state.watch_code = 1

    def _fetched(self, vaddr: int, frame: int, _nothing: int) -> int:
        """Code of a page is about to be translated."""
        self._privileged.page_fetched(vaddr, frame)
        return 0

    # -- exact mode ------------------------------------------------------------------------------------------------

    def check_tlb(self, enable: bool = True) -> None:
        """The stale-translation detector: hold each modelled hit against a fresh walk, and collect what differs in
        :attr:`stale`.  ValueError in filtered mode, which models no TLB."""
        self._detector()
        self.state.check = int(enable)

    @property
    def stale(self) -> list[StaleHit]:
        """Stale translations that the detector has seen, the first 1000."""
        return self._stale.hits if self._stale else []

    @property
    def on_stale_hit(self) -> Callable[[StaleHit], None] | None:
        """Who is told of each stale hit.  To set it raises ValueError in filtered mode."""
        return self._stale.on_hit if self._stale else None

    @on_stale_hit.setter
    def on_stale_hit(self, told: Callable[[StaleHit], None] | None) -> None:
        self._detector().on_hit = told

    def _detector(self) -> StaleHits:
        if self._stale is None:
            raise ValueError("the stale-translation detector needs a modelled TLB (exact mode)")
        return self._stale

    def _on_full(self, _nothing: int) -> int:
        self.events.make_room()
        return 0

    # -- running ---------------------------------------------------------------------------------------------------

    def _emu_start(self, begin: int, until: int, timeout: int = 0, count: int = 0) -> None:
        """Stands in for ``uc.emu_start``: what a hook or a handler of the user's raises comes out as itself, also where
        the access that it was for could not be made.
        """
        uc: Any = self.uc
        guard = self.guard
        ended: BaseException | None = None
        with guard:
            outer = guard.failure, uc._hook_exception
            guard.failure = uc._hook_exception = self._failed = self._raised = None
            try:
                if guard.interruption is None:
                    outer_run, self._run = self._run, Run(self, self._uc_emu_start, until, timeout, count)
                    try:
                        self._run.run(begin)
                    finally:
                        self._run = outer_run
            except BaseException as error:
                ended = error
            try:
                self.follow_engine(guest=True)  # of code that wrote itself
            except ValueError as refused:
                ended = ended or refused
            for kept in (uc._hook_exception, guard.failure):
                ended = ended if kept is None else kept
            guard.failure, uc._hook_exception = outer
            if not isinstance(ended, UcError) or ended.errno != UC_ERR_EXCEPTION:
                self._failed = self._raised = None
            elif guard.refuses:
                ended = None  # a signal has ended it
            if ended is not None:
                raise ended

    def _resolved(self, fault: PageFault) -> bool:
        """Whether the handler has fixed a page fault."""
        return self.on_page_fault is not None and self.on_page_fault(fault)

    # -- what the native hook could not do ------------------------------------------------------------------------

    def _resolve(self, uc: int, vaddr: int, kind: int, result: int, _data: int) -> bool:
        state = self.state
        entered = self.guard.runs  # else somebody looks an address up: no access of the guest's
        for _ in range(_MAX_RETRIES):
            status = state.status
            if status == _PAGE_FAULT:
                if not entered:
                    return False
                steps = self._failed_walk.tobytes() if self.faults_have_steps else None
                fault = PageFault(vaddr, self._walked.error_code, steps)
                if self.on_page_fault is None or not self.on_page_fault(fault):
                    record = self._failed_walk.tobytes() if steps is None else steps
                    self._failed = (status, state.access, fault.error_code, vaddr, record)
                    self._undo(vaddr)
                    return False
            elif status == Status.FETCHED_AHEAD:
                if self._run is not None:
                    self._run.ahead = True
                    return False
                if canonical(state, vaddr) and not self._may_fetch(vaddr):
                    self._failed = (_PAGE_FAULT, Access.FETCH, self._walked.error_code, vaddr, b"")
                    return False
                state.crossing = self._rip.value  # in advance, as an access
            elif status == Status.RING_FULL:
                self.events.make_room()
            elif status == Status.CODE_WRITTEN:
                self.code_written(self._walked.paddr >> PAGE_SHIFT)
            elif status == Status.CR3_WRITTEN:
                self.follow_engine(guest=True)
            elif status == Status.WRITTEN_CODE:
                unicorn_abi.flush_tlb(self.uc)
                state.epoch += 1
            else:
                if entered:
                    self._failed = (status, state.access, 0, vaddr, b"")
                    self._undo(vaddr)
                return False
            if self._fill.call(uc, vaddr, kind, result, self._state_address):
                if -PAGE_SIZE < vaddr - self._rip.value <= PAGE_SIZE and self._moves_code(vaddr, result):
                    self.starts_again = True
                    return False
                if self._memory_hooks:
                    self._tell_hooks(vaddr)
                return not self.guard.refuses
        raise RuntimeError(
            f"Mmu: the page-fault handler {_name_of(self.on_page_fault)} said {_MAX_RETRIES} times that {vaddr:#x} is "
            f"fixed, and it is not"
        )

    def hold_back_fetches(self, may_fetch: Callable[[int], bool]) -> None:
        """For who enters the engine by other means than ``uc.emu_start``: a fetch ahead of time that cannot be made
        ends emulation as a page fault, but is none yet; it counts nowhere, and :attr:`on_page_fault` is not asked.  If
        ``may_fetch(vaddr)``, it is made in advance.  ``state.crossing`` is to have the address of an instruction that
        is known to need it."""
        self._may_fetch = may_fetch
        self.state.holds_back = 1

    def _undo(self, vaddr: int) -> None:
        """This page of a store of two pages cannot be reached: what the engine has stored into the other one goes."""
        state = self.state
        if state.undo_at and state.second_page == (vaddr >> PAGE_SHIFT) + 1:
            ctypes.c_uint64.from_address(state.undo_at).value = state.undo_value

    def _tell_hooks(self, vaddr: int) -> None:
        for hook in self._memory_hooks:
            hook.filled(vaddr)

    def _emu_stop(self) -> None:
        """Stands in for ``uc.emu_stop``."""
        if self._run is not None:
            self._run.stopped = True
        self._uc_emu_stop()

    def fail(self, fault: Fault, access: Access) -> NoReturn:
        """An instruction that was done in a Python hook raises this: emulation ends with UC_ERR_EXCEPTION, by the
        UcError raised here, and :meth:`take_failure` says so."""
        self._raised = fault, access
        raise UcError(UC_ERR_EXCEPTION)

    def take_failure(self) -> tuple[Fault, Access] | None:
        """After emu_start ended with UC_ERR_EXCEPTION: the fault that nobody resolved, and what the access was.

        The fault carries the exact address (CR2), and that of the instruction if it was this that was refused (a
        :class:`GeneralProtection` with a ``reason``).  None if no access failed.  Raises :class:`mmu.BusError` if a
        table or a page lies outside physical memory, and what a callback raised while no emu_start was there to do so.
        """
        if self.guard.failure is not None:
            self._failed = self._raised = None
            self.guard.raise_failure()
        if self._raised is not None:
            raised, self._raised = self._raised, None
            return raised
        if self._failed is None:
            return None
        (status, access, error_code, page, record), self._failed = self._failed, None
        vaddr = unicorn_abi.invalid_address(self.uc)
        if status == Status.BUS:
            raise BusError(f"the tables map {page:#x} outside physical memory of {self.ram.size:#x} bytes")
        if status == Status.GENERAL_PROTECTION:
            return GeneralProtection(vaddr), Access(access)
        return PageFault(vaddr, error_code, record), Access(access)
