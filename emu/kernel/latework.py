"""Calls that native code answers at once (:mod:`emu.kernel.latecalls`), and the work that they leave to the kernel.

A program that makes thread after thread maps the same stack again and again, at the same place and with the same calls.
So when such memory has been unmapped, native code is told what the next call would give, and answers it; and when it
has been mapped so, it may be unmapped natively and mapped again.  What was asked for is done before the kernel looks at
anything, as everything that native code does.  Only what cannot fail is answered.  So it is with a task that is woken
where it is the only one that waits for a word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.kernel.faststate import HIGH, LOW, MAPPED, PAGES, PLACE, STANDS, UNMAPPED, WOKEN, WORD
from emu.linux.limits import Rlimit
from emu.mm.commit import Overcommit
from emu.mm.flags import VmFlags
from emu.mm.foreseen import Foreseen, foresee
from emu.mm.kmem import VM_AREA_STRUCT
from emu.mm.pagetable import RW, D
from emu.mm.vma import AnonVma
from mmu import unicorn_abi
from mmu.control import SINGLE_PAGE_CEILING
from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    from emu.cpu.cpu import Cpu
    from emu.kernel.fastfaults import FastFaults
    from emu.kernel.faststate import FastState
    from emu.kernel.futex import Futexes
    from emu.kernel.task import Task
    from emu.mm.address_space import AddressSpace
    from emu.mm.context import MmContext
    from emu.mm.vma import Vma

_ACCOUNT = int(VmFlags.ACCOUNT)
#: VMAs that both calls may make, with those that they may make room for.
_VMAS = 8
#: So often such memory is unmapped before the next mapping is foreseen; and after one that was not made.
_FEW, _PATIENCE = 16, 64
#: What no call asks for.
_NO_RIGHTS = 1 << 63


class Standing:
    """A mapping as it was foreseen: a part without rights, and above it one that has some."""

    __slots__ = ("_changes", "_seen", "foreseen", "guard", "mm", "stack")

    def __init__(self, mm: AddressSpace, foreseen: Foreseen, guard: Vma, stack: Vma) -> None:
        self.mm, self.foreseen, self.guard, self.stack = mm, foreseen, guard, stack
        self._changes, self._seen = mm.vmas.changes, (guard.allowed, guard.bits, stack.allowed, stack.bits)

    def is_as_made(self, mm: AddressSpace) -> bool:
        """Whether it is one of this address space, in which nothing has been mapped or unmapped since, and it has the
        rights and flags that it had."""
        if mm is not self.mm or mm.vmas.changes != self._changes:
            return False
        guard, stack = self.guard, self.stack
        return (guard.allowed, guard.bits, stack.allowed, stack.bits) == self._seen

    def renew(self) -> None:
        """It has been unmapped, and mapped again."""
        for vma in (self.guard, self.stack):
            vma.anon_vma = vma.policy = vma.swap_readahead = None

    def remove(self) -> None:
        """It has been unmapped; its entries have been cleared, and its tables are those of others too."""
        mm, gone = self.mm, [self.guard, self.stack]
        mm.vmas.remove_together(gone)
        for vma in gone:
            mm.total_bytes -= vma.end - vma.start
            if vma.bits & _ACCOUNT:
                mm.context.commit.uncharge((vma.end - vma.start) >> PAGE_SHIFT)


class LateWork:
    """What native code has been told, and what it leaves to the kernel."""

    def __init__(
        self, cpu: Cpu, context: MmContext, futexes: Futexes, faults: FastFaults, state: FastState
    ) -> None:  # fmt: skip
        self._context, self._futexes, self._faults, self._state = context, futexes, faults, state
        state.flush_page = unicorn_abi.symbol_address("tlb_flush_page_x86_64")
        state.engine_cpu, (state.zeroing, _) = unicorn_abi.cpu_state(cpu.uc), unicorn_abi.memory_functions()
        self._record = memoryview(state).cast("B").cast("Q")
        self._next: Foreseen | None = None
        self._left = _FEW
        #: The record for faults that are answered in what is mapped again, or 0.
        self._expects = 0
        #: The mapping that is there, and whether native code has been told of it.
        self.stands: Standing | None = None
        self.told = False

    # -- what native code is told ----------------------------------------------------------------------------------

    def foresee(self, mm: AddressSpace, length: int) -> bool:
        """So much memory has been unmapped: whether the next mapping is known."""
        mapped = mm.last_mapped
        if mapped is None or mapped[0] != length or not self._cannot_fail(mm, length):
            return False
        self._left -= 1
        if self._left > 0:
            return False
        self._next = coming = foresee(mm, *mapped, mm.last_rights)
        if coming is None:
            return False
        state, rights = self._state, int(mm.last_rights) if coming.protects else _NO_RIGHTS
        self.drop()
        state.place, state.length, state.prot, state.flags = coming.start, length, int(mapped[1]), mapped[2]
        state.rights, state.mapped, state.low, state.high = rights, 0, 0, 0
        return True

    def _cannot_fail(self, mm: AddressSpace, length: int) -> bool:
        context = self._context
        commit, kmem = context.commit, context.frames.kmem
        if context.swapping or commit.mode == Overcommit.NEVER or length >> PAGE_SHIFT > commit.unquestioned:
            return False
        if kmem.accounts is not None or not kmem.has_room(_VMAS * VM_AREA_STRUCT):
            return False
        if mm.bottom_up or mm.mdwe or mm.default_lock or len(mm.vmas) + _VMAS > context.max_map_count:
            return False
        return context.limit(Rlimit.AS) is None and context.limit(Rlimit.DATA) is None

    def tell(self, mm: AddressSpace) -> bool:
        """A task with this memory is about to enter the engine, and no fault is answered in what it has mapped: whether
        native code may wake another one, or unmap what stands."""
        word, stands, record = 0, self.stands, self._record
        if self._futexes.waiters:
            record[WORD] = word = self._futexes.only_word(mm.serial)
        if stands is None or self._next is not None or not stands.is_as_made(mm):
            if self.told:
                self.withdraw()
            return word != 0 or self._next is not None
        if not self.told:
            record[PLACE], record[STANDS], self.told = stands.foreseen.start, 1, True
        return True

    def withdraw(self) -> None:
        """Nothing may be unmapped for now."""
        self._state.place, self._state.stands, self.told = 0, 0, False

    def forget(self) -> None:
        """What was foreseen is not known any more; nothing has been asked for."""
        if self._next is not None:
            self._next, self._state.place = None, 0

    def drop(self) -> None:
        """What stands may be another mapping now."""
        self.stands = None
        if self.told:
            self.withdraw()

    # -- what it has left ------------------------------------------------------------------------------------------

    def take_back(self, task: Task) -> None:
        """The kernel goes on for a task: do what has been asked for meanwhile."""
        record, coming = self._record, self._next
        if record[UNMAPPED]:
            self._unmap(task)
        elif coming is not None:
            self._next, record[PLACE] = None, 0
            if record[MAPPED]:
                self._left = 1
                self._map(task.mm, coming)
            else:
                self._left = _PATIENCE
        if record[WOKEN]:
            record[WOKEN] = 0
            self._futexes.wake_the_only_one()
        else:
            record[WORD] = 0

    def _map(self, mm: AddressSpace, coming: Foreseen) -> None:
        """Make a mapping; it may be one that can be unmapped natively."""
        state, context = self._state, self._context
        low, high = self._record[LOW], self._record[HIGH]
        made = coming.make(mm, low, high)
        if made is None or high - low > SINGLE_PAGE_CEILING << PAGE_SHIFT:
            return
        if not coming.table_stays or not context.flusher.loads_only:
            return
        state.entries = context.entries.work_for(mm)
        if state.entries:
            state.guard, state.page_bits = low, made[1].page_bits | RW | D
            state.faults = self._expects = self._faults.record_for(mm)
            self.stands = Standing(mm, coming, *made)

    def _unmap(self, task: Task) -> None:
        """What stands has been unmapped, and perhaps mapped again."""
        record, stands = self._record, self.stands
        assert stands is not None
        mm, unmapped, mapped = stands.mm, record[UNMAPPED], record[MAPPED]
        record[UNMAPPED] = 0
        if unmapped != 1:
            raise AssertionError("LateWork: a frame has no reference to drop")
        mm.note_peak()
        freed = self._context.entries.cleared(mm, record[PAGES])
        if mm.total_bytes > mm.hiwater_bytes:
            mm.hiwater_bytes = mm.total_bytes
        if mapped and record[LOW] == stands.guard.end and record[HIGH] == stands.stack.end:
            stands.renew()
            record[STANDS] = 1
            if self._expects and self._faults.came_again(task, freed):
                stands.stack.anon_vma = AnonVma()  # no neighbour has one that it could share
            return
        stands.remove()
        self.drop()
        if mapped:
            self._map(mm, stands.foreseen)
