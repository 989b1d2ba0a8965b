"""When page faults can be answered natively (:mod:`emu.kernel.faultfill`), and what the kernel then has to know.

These are the first accesses to pages of private memory, and stores to pages that the process is to get a copy of, where
nothing is needed but a frame, an entry and counts.  What native code may do is prepared when such a fault has been
resolved by the kernel, and holds until the kernel gets control for anything but a fault: no mapping changes meanwhile.
Frames are taken in the order in which the kernel would take them.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.mm import rss
from emu.mm.frames import Coming
from emu.mm.pagetable import RW, SPECIAL, D
from mmu import unicorn_abi
from mmu.host_array import HostArray
from mmu.memory import PAGE_SHIFT
from mmu.objectcode import load
from mmu.registers import Access

if TYPE_CHECKING:
    from emu.cpu.cpu import Cpu
    from emu.kernel.faststate import FastState
    from emu.kernel.faultfill import FaultState
    from emu.kernel.task import Task
    from emu.kernel.tracer import Tracer
    from emu.mm.address_space import AddressSpace
    from emu.mm.context import MmContext
    from emu.mm.vma import Vma

#: So many faults of that kind come to the kernel before any is answered natively.
_FEW = 64
#: A fault that is answered gains twice what it costs to prepare for it; after such a loss, so many come to the kernel
#: before the next try.
_LOSS, _PATIENCE = -16, 32
#: So many frames are listed at once, at least and at most.
_LEAST, _MOST = 16, 1024
#: What has been done, when nothing has been.
_NOTHING = memoryview(array("Q", [0] * 5))


class FastFaults:
    """The native answers of one machine to page faults."""

    def __init__(
        self,
        cpu: Cpu,
        context: MmContext,
        path: Callable[[], FastState],
        counted: Callable[[], bool],
        tracer: Callable[[], Tracer],
    ) -> None:
        """``path()`` is the record with the clock; ``counted()``: whether somebody may want to see each fault when it
        is taken; ``tracer()`` is the kernel's.
        """
        self._cpu, self._context, self._path, self._counted, self._tracer = cpu, context, path, counted, tracer
        #: Whether any can be given.
        self.possible = cpu.fast and cpu.mmu.tlb is None
        #: How many faults were answered.
        self.answered = 0
        self._left, self._gain, self._listed = _FEW, 0, _LEAST
        self._state: FaultState | None = None
        #: What native code has.
        self.given: list[Vma] = []
        self._coming = Coming(0, [], 0, zero=True)

    def _made(self) -> FaultState:
        """The record of the native code, made when it is first needed."""
        if self._state is not None:
            return self._state
        from emu.kernel.faultfill import DONE, RANGES, FaultRange, FaultState  # few programs get here

        cpu, frames = self._cpu, self._context.frames
        self._ranges, self._frames = (FaultRange * RANGES)(), HostArray(_MOST, "Q")
        self._zeroing, copying = unicorn_abi.memory_functions()
        counts, kinds, flags = frames.addresses
        self._state = FaultState(
            path=ctypes.addressof(self._path()), mmu=ctypes.addressof(cpu.mmu.state),
            ranges=ctypes.addressof(self._ranges), listed=self._frames.address, counts=counts, kinds=kinds, flags=flags,
            copying=copying, flush_page=unicorn_abi.symbol_address("tlb_flush_page_x86_64"),
            engine_cpu=unicorn_abi.cpu_state(cpu.uc),
        )  # fmt: skip
        self._done = memoryview(self._state).cast("B").cast("Q")[DONE]
        mmu = cpu.mmu.state
        mmu.fault_record = ctypes.addressof(self._state)
        mmu.on_fault = load("emu.kernel.faultfill")["answer_fault"].address
        return self._state

    def prepare(self, task: Task, address: int, before: list[Vma]) -> bool:
        """A fault of a task has been resolved, and native code has answered some in these mappings before: whether it
        may go on."""
        if not before:
            self._left -= 1
            if self._left > 0:
                return False
        state = self._made()
        vma = task.mm.vmas.find(address)
        if vma is not None and vma.ordinary and not vma.shared and vma.uffd is None:
            self._add(vma, before)
        if not before or not self._may_answer(task) or not self._give_frames():
            return False
        clock = self._context.clock
        state.recorded, state.idle_ns = int(self._tracer().active), clock.ahead_ns() - clock.system_ns
        self.given = before
        state.number = len(before)
        return True

    def _may_answer(self, task: Task) -> bool:
        """Whether nobody sees the difference."""
        state, context = self._cpu.mmu.state, self._context
        tracer = self._tracer()
        if tracer.active and (not tracer.faults_natively or context.clock.real):
            return False
        if state.windows or self._counted() or task.ptrace is not None:
            return False
        return not task.mm.may_have_huge and context.frames.memcg is None and context.flusher.detector is None

    def _add(self, vma: Vma, before: list[Vma]) -> None:
        """One more mapping, in the place of the one that came first if there are too many."""
        if vma in before:
            index = before.index(vma)
        elif len(before) < len(self._ranges):
            index = len(before)
            before.append(vma)
        else:
            index = 0
            before[0] = vma
        given, bits, cache = self._ranges[index], vma.page_bits, vma.page_cache
        given.start, given.end = vma.start, vma.end
        zero = self._context.frames.zero_frame << PAGE_SHIFT
        new = bits | RW | D if vma.allows(Access.WRITE) and vma.anon_vma is not None else 0
        given.read = zero | bits | SPECIAL if cache is None and vma.allows(Access.READ) else 0
        given.write = new if cache is None else 0
        alone = self._context.flusher.cpus == 1  # no other processor hears of a copy
        given.copy = new if alone and not (cache is not None and cache.may_have_huge) else 0

    def _give_frames(self) -> bool:
        """Tell native code which frames are next; False where the kernel may have to make some free at any fault."""
        state, context = self._state, self._context
        assert state is not None
        most = context.frames.total
        if context.swapping:
            most = context.frames.free - context.watermarks.low
            if most <= 0:
                return False
        self._coming = coming = context.frames.coming(most, self._listed)
        if coming.listed:
            self._frames.view[: coming.number] = memoryview(array("Q", coming.listed))
        state.first, state.frames = coming.first, coming.number
        state.zeroing = 0 if coming.zero else self._zeroing
        return True

    def settle(self, task: Task) -> list[Vma]:
        """Do what native code has done for a task; the mappings that it had."""
        vmas, self.given = self.given, []
        state = self._state
        if state is None:
            return vmas
        state.number = 0
        taken, zero_pages, copies, cached, kept = self._done.tolist()
        number = taken + zero_pages + kept
        if number:
            self._done[:] = _NOTHING
            if taken:
                rss.came(task.mm, self._coming, taken, copies=copies, cached=cached)
            self._count(task, number)
        self._learn(number)
        return vmas

    # -- pages that have gone natively, and come again -----------------------------------------------------------------

    def record_for(self, mm: AddressSpace) -> int:
        """The host address of the record, for faults in memory that is mapped again (:mod:`emu.kernel.latework`);
        0 if somebody could see the difference."""
        state, context = self._cpu.mmu.state, self._context
        if not self.possible or state.event_mask or state.windows or self._counted() or mm.may_have_huge:
            return 0
        if context.frames.memcg is not None or context.flusher.detector is not None:
            return 0
        return ctypes.addressof(self._made())

    def came_again(self, task: Task, frames: list[int]) -> bool:
        """Some of these frames, in this order, may have been taken for such memory: whether any has been."""
        state = self._state
        assert state is not None
        state.number, taken = 0, state.taken
        if taken:
            self._done[:] = _NOTHING
            rss.came(task.mm, Coming(0, frames, len(frames), zero=False), taken, copies=0, cached=0)
            self._count(task, taken)
        return taken != 0

    def _count(self, task: Task, number: int) -> None:
        usage = task.usage
        usage.hw_faults += number
        usage.min_flt += number
        self.answered += number
        self._context.clock.look_at = self._path().look_at

    def _learn(self, number: int) -> None:
        """So many faults have been answered: how soon to try again, and with how many frames."""
        if number >= self._coming.number:
            self._listed = min(2 * self._listed, _MOST)
        else:
            self._listed = max(self._listed // 2, _LEAST)
        self._gain = max(_LOSS, min(self._gain + 2 * number - 1, -_LOSS))
        self._left = 1 if self._gain > _LOSS else _PATIENCE
