"""Two tasks that wait for each other in turns, through pipes or words, and so may be switched natively
(:mod:`emu.kernel.fastcalls`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.kernel.faststate import DESCRIPTORS, FastState, Run
from emu.kernel.futex import ANY_BIT, Waiter, futex_wait
from emu.kernel.task import Task, TaskState
from emu.linux.unistd import NR_FUTEX, NR_READ, NR_WRITE
from emu.mm.kmem import PIPE_PAGE
from mmu.registers import CR4

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.taskpair import Pair, Side

#: Two tasks have gone on in turns so often before they are taken for a pair, and how often that may be at most.
_TURNS, _MOST_TURNS = 4, 4096
#: A pair that made fewer calls was none.
_WORTH = 40
_LOW_32 = 0xFFFF_FFFF


class FastPairs:
    """Finds such a pair, hands it to native code, and does in the kernel's own objects what was done there.

    ``made`` gives the record of the native code, and ``taken`` is called once that is about a pair.
    """

    def __init__(self, kernel: Kernel, made: Callable[[], FastState], taken: Callable[[], None]) -> None:
        self._kernel, self._made, self._taken = kernel, made, taken
        #: The pair that native code has.
        self.pair: Pair | None = None
        #: The tasks that went on last after a wait, how often they did in turns, and how often they are to.
        self._last = self._before = 0
        self._turns, self._patience = 0, _TURNS

    def resumed(self, task: Task, number: int) -> None:
        """A task goes on behind a call in which it has waited, and is about to enter the engine."""
        before, self._before, self._last = self._before, self._last, task.pid
        if task.pid != before or task.pid == self._before or number not in (NR_READ, NR_FUTEX):
            self._turns = 0
            return
        self._turns += 1
        if self._turns >= self._patience:
            self._turns = 0
            partner = self._kernel.tasks.get(self._before)
            if partner is None or not self._take(task, partner):
                self._patience = min(2 * self._patience, _MOST_TURNS)

    def _possible(self) -> bool:
        """Whether turns may be taken natively now."""
        kernel, state = self._kernel, self._kernel.cpu.mmu.state
        if not kernel.scheduler.turns_are_alike or not kernel.flusher.loads_only or kernel.tracer.syscalls:
            return False
        if kernel.clock.real or kernel.clock.until_next_timer() is not None or state.event_mask:
            return False
        return not state.cr4 & CR4.LA57 and not kernel.entry.replaces((NR_READ, NR_WRITE, NR_FUTEX))

    def _take(self, task: Task, partner: Task) -> bool:
        """Take these two for a pair, of which the first runs; False if that is not possible."""
        from emu.kernel.fastcalls import waits_for_word  # few programs get here
        from emu.kernel.fasttask import is_plain
        from emu.kernel.taskpair import Pair, Side

        kernel, blocks = self._kernel, self._kernel.cpu.blocks
        if not self._possible() or not is_plain(task) or not is_plain(partner) or partner.syscall is None:
            return False
        waits = partner.state == TaskState.SLEEPING and kernel.scheduler.queues.nobody_queued
        if not (waits or (partner.state == TaskState.RUNNABLE and kernel.scheduler.queues.only_queued is partner)):
            return False
        codes = [blocks.place(each.mm.code_id, catches_faults=each.mm.catches_faults) for each in (task, partner)]
        if codes[0] is None or codes[1] is None:
            return False
        one, other = Side(task, codes[0]), Side(partner, codes[1])
        pair = Pair(one, other)
        pair.add_descriptors(one, partner)
        pair.add_descriptors(other, partner)
        pipe, key = 0, None
        number, registers = partner.syscall
        if number == NR_READ:
            fd = registers[0] & _LOW_32
            pipe = other.descriptors[fd] & -8 if fd < DESCRIPTORS else 0
            if not pipe or (waits and partner.sleeping_on != (pair.pipe_at(pipe).not_empty,)):
                return False
        elif number == NR_FUTEX and waits_for_word(registers[1] & _LOW_32, registers[5] & _LOW_32, registers[3]):
            key = (partner.mm.serial, registers[0]) if waits else None
            if not kernel.futexes.only_at(key) or (waits and not kernel.futexes.waits_at(key)):
                return False
        else:
            return False
        if not kernel.mm_context.frames.kmem.has_room(PIPE_PAGE * len(pair.pipes)):
            return False
        other.sleeps(pipe)
        self._hand_over(pair, one, other, futexes=kernel.futexes.only_at(key))
        return True

    def _hand_over(self, pair: Pair, one: Side, other: Side, *, futexes: bool) -> None:
        state, scheduler = self._made(), self._kernel.scheduler
        self.pair = pair
        self._taken()
        state.current, state.other = ctypes.addressof(one.record), ctypes.addressof(other.record)
        state.task_size, state.futexes, state.time_slice = one.task.mm.task_size, futexes, scheduler.time_slice
        state.since, state.system_since, state.start = scheduler.turn_began
        state.switches = state.instructions = state.vcpu_ns = 0

    def settle(self, answered: int) -> None:
        """The turns of the pair are over, in which so many calls were answered."""
        pair, self.pair = self.pair, None
        assert pair is not None
        self._patience = _TURNS if answered >= _WORTH else min(2 * self._patience, _MOST_TURNS)
        state = self._made()
        if answered:
            self._settle(pair, state)
        state.current = 0

    def _settle(self, pair: Pair, state: FastState) -> None:
        """Do what native code has done."""
        kernel, clock = self._kernel, self._kernel.clock
        running, other = pair.sides[state.current], pair.sides[state.other]
        for side in (running, other):
            side.count()
        if state.switches:
            began = state.since, state.system_since, state.start
            kernel.scheduler.turns_taken(running.task, began, state.switches, state.instructions, state.vcpu_ns)
            kernel.flusher.was_loaded(running.task.mm)
            clock.turn_is(state.turn_end, state.look_at)
            if running.task.rseq is not None:
                running.task.rseq_event, running.task.rseq.concurrency_id = False, 0
        if running.task.sleeping is not None:
            self._end_sleep(running.task)
        if not other.record.told:
            if other.task.sleeping is not None:
                self._end_sleep(other.task)
            self._sleep(other)
        for pipe, (record, buffer) in pair.pipes.items():
            pipe.hold(buffer.raw[: record.length])
        if other.record.run == Run.WOKEN and other.task.state == TaskState.SLEEPING:
            if other.record.number == NR_FUTEX:
                kernel.futexes.wake((other.task.mm.serial, other.record.rdi), 1)
            else:
                kernel.scheduler.wake(other.task)

    def _end_sleep(self, task: Task) -> None:
        """The call in which it sleeps has ended."""
        self._kernel.scheduler.wake_unseen(task)
        assert task.sleeping is not None
        task.sleeping.close()
        task.sleeping = task.syscall = None

    def _sleep(self, side: Side) -> None:
        """A task has made a call that waits."""
        kernel, task, record = self._kernel, side.task, side.record
        registers = record.rdi, record.rsi, record.rdx, record.r10, record.r8, record.r9
        if record.number == NR_READ:
            task.sleeping = kernel.entry.entry_of(NR_READ)[0](kernel, task, registers)
        else:
            waiter = Waiter((task.mm.serial, record.rdi), ANY_BIT)
            task.sleeping = futex_wait(kernel.futexes, kernel.clock, waiter, None)
        task.syscall, task.rip = (record.number, registers), record.rip
        task.syscall_rflags, task.syscall_rsp = record.rflags, record.rsp
        kernel.scheduler.sleep(task, next(task.sleeping))
