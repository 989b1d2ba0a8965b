"""When system calls can be answered natively (:mod:`emu.kernel.fastcalls`), and what the kernel then has to know.

These are: calls that only ask who the task is, again and again, or how much CPU time it has used; a signal that a task
sends itself again, and the return from a handler; changes of the signal mask while no signal is pending; and what two
tasks do that wait for each other in turns, through pipes or words.  Native code works on a copy of what it needs, which
is made just before the engine is entered, and only while nobody could see the difference: no call is traced or
filtered, and nothing is to be done between two turns.  Whatever comes next to Python, a page fault as well as another
system call, first brings the kernel's own objects up to date (:meth:`FastPath.end`).
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from emu.hooks import TrapState
from emu.kernel.fastfaults import FastFaults
from emu.kernel.faststate import (
    ANSWERED,
    BLOCKED,
    CALLS,
    CLOCK_GETTIME,
    DESCRIPTORS,
    FUTEX,
    KILL,
    LOOK_AT,
    MASKS,
    MMAP,
    MPROTECT,
    MUNMAP,
    READ,
    SIGNALS,
    SIGPROCMASK,
    SIGRETURN,
    SYSTEM_NS,
    TASK_SIZE,
    WRITE,
    FastState,
    Run,
)
from emu.kernel.futex import ANY_BIT, Waiter, futex_wait
from emu.kernel.signal_state import SaFlags
from emu.kernel.task import Task, TaskState
from emu.kernel.tracer import Tracer
from emu.linux.clock import CPUTIME
from emu.mm.kmem import PIPE_PAGE, SIGQUEUE
from mmu import unicorn_abi
from mmu.objectcode import load
from mmu.registers import CR4

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.latework import LateWork
    from emu.kernel.signal_state import SigAction, SigInfo
    from emu.kernel.sigregs import SignalRegisters
    from emu.kernel.taskpair import Pair, Side
    from emu.linux.syscall import Enter, Registers
    from emu.mm.vma import Vma

#: Which word of the TrapState that is.
_ANSWER: int = TrapState.answer.offset // 8  # type: ignore[attr-defined]
#: After a change of the mask that was answered, the next one is prepared for in so many entries of the engine.
_SOON = 8
#: getpid, getuid, getgid, geteuid, getegid, getppid, getpgrp, gettid: what they say changes by other calls only.
WHO = frozenset({39, 102, 104, 107, 108, 110, 111, 186})
#: Calls that do not change it: these, read, lseek, rt_sigreturn, kill, futex, and those that tell the time.
_KEEP = WHO | {READ, 8, SIGPROCMASK, SIGRETURN, KILL, 96, 201, FUTEX, CLOCK_GETTIME, 229}
#: As much memory as was mapped last has been unmapped so often before the next mapping may be foreseen.
_FEW_UNMAPPED = 16
#: Calls that change nothing of what munmap, mmap and mprotect depend on, but for the mappings: these, and clone, exit.
_KEEP_MAPPINGS = WHO | {MMAP, MUNMAP, SIGPROCMASK, SIGRETURN, FUTEX, CLOCK_GETTIME, 56, 60}
#: So many calls of that kind come to the kernel before any is answered natively.
_FEW = 64
#: Two tasks have gone on in turns so often before they are taken for a pair, and how often that may be at most.
_TURNS, _MOST_TURNS = 4, 4096
#: A pair that made fewer calls was none.
_WORTH = 40
#: After so many switches the kernel has its turn again.
_SWITCHES = 1000
_NODEFER = int(SaFlags.NODEFER)
_LOW_32, _LAST_POSITIVE = 0xFFFF_FFFF, 0x7FFF_FFFF
#: Clocks of CPU time; others have the complement of a process's number.
_PROCESS_CLOCK, _THREAD_CLOCK = CPUTIME["PROCESS_CPUTIME_ID"], CPUTIME["THREAD_CPUTIME_ID"]


class FastPath:
    """The native answers of one machine."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel, self._cpu, self._clock = kernel, kernel.cpu, kernel.clock
        self.faults = FastFaults(
            kernel.cpu, kernel.mm_context, self._made, lambda: kernel.perf is not None, lambda: kernel.tracer
        )
        #: Whether anything can be answered; and whether the engine has been entered for it.
        self.ready = self.begun = False
        #: How many calls were answered.
        self.answered = 0
        self._asked = 0
        self._state: FastState | None = None
        self._answers = (ctypes.c_uint64 * CALLS)()
        self._costs = (ctypes.c_uint64 * CALLS)()
        self._known: set[int] = set()
        #: Whether the task has asked for its own CPU time, or (False) for that of its process.
        self._clock_of_thread: bool | None = None
        #: Whether any of this is known of the task that runs, or a handler; other calls may change it.
        self.keeps_something = False
        #: In how many entries a change of the signal mask is still prepared for, and how many came to the kernel.
        self.masks = self._mask_calls = 0
        #: How often as much memory has been unmapped as was mapped last, up to so often.
        self._unmapped = 0
        #: Calls of which the work is done later, once there are any; and whether native code has been told of some.
        self._late: LateWork | None = None
        self._foreseen = False
        #: Whether there is a mapping that may be unmapped natively.
        self.stands = False
        #: Known where a handler has been entered, which may return soon.
        self._signals: SignalRegisters | None = None
        self._pair: Pair | None = None
        #: The tasks that went on last after a wait, how often they did in turns, and how often they are to.
        self._last = self._before = 0
        self._turns, self._patience = 0, _TURNS

    def _made(self) -> FastState:
        """The record of the native code, made when it is first needed."""
        if self._state is None:
            cpu, mmu = self._cpu, self._cpu.mmu
            uc, symbol = cpu.uc, unicorn_abi.symbol_address
            self._words = (ctypes.c_uint64 * 2)()
            self._state = FastState(
                trap=ctypes.addressof(cpu.trap), mmu=ctypes.addressof(mmu.state),
                answers=ctypes.addressof(self._answers), costs=ctypes.addressof(self._costs), most=_SWITCHES,
                context_save=symbol("uc_context_save"), context_restore=symbol("uc_context_restore"),
                reg_write=symbol("uc_reg_write"), scratch=ctypes.addressof(self._words),
                windows=unicorn_abi.tlb_windows(uc),
            )  # fmt: skip
            self._record = memoryview(self._state).cast("B").cast("Q")
            self._trap = memoryview(cpu.trap).cast("B").cast("Q")
            self._answer = load("emu.kernel.fastcalls")["answer"].address
            cpu.trap.fast_path = ctypes.addressof(self._state)
            for number in (READ, WRITE, SIGPROCMASK, SIGRETURN, KILL, FUTEX, CLOCK_GETTIME):
                self._costs[number] = self._kernel.entry.entry_of(number)[1]
        return self._state

    # -- around the engine -----------------------------------------------------------------------------------------

    def begin(self, task: Task) -> None:
        """This task is about to enter the engine."""
        state = self._state
        assert state is not None
        if self._signals is not None:
            self._prepare_signals(task, state, self._signals)
        record, clock, late = self._record, self._clock, self._late
        tells = False
        if self.masks:
            signals, tracer = task.signals, self._kernel.tracer
            waits = signals.pending or signals.shared or signals.saved_mask is not None
            if waits or task.seccomp is not None or self._pair is not None or tracer.syscalls:
                record[MASKS] = 0
            else:
                record[MASKS], record[BLOCKED], record[TASK_SIZE] = 1, signals.blocked, task.mm.task_size
                tells = late is not None and not (self.faults.given or tracer.active or task.personality)
        if late is not None:
            if tells:
                self._foreseen = late.tell(task.mm)
            elif late.told:
                late.withdraw()
        if self._clock_of_thread is not None:
            usage = task.usage if self._clock_of_thread else task.group.usage()
            since, system_since, _ = self._kernel.scheduler.turn_began
            state.clock_began = usage.cpu_ns - since - system_since
        record[SYSTEM_NS], record[LOOK_AT] = clock.system_ns, clock.look_at
        self._trap[_ANSWER] = self._answer
        self.begun = True

    def end(self) -> list[Vma]:
        """Python goes on: bring the kernel's own objects up to date.  Returns the mappings in which page faults have
        been answered."""
        record, task = self._record, self._kernel.scheduler.current
        assert task is not None
        self.begun = False
        self._trap[_ANSWER] = 0
        answered = record[ANSWERED]
        if not answered and self._pair is None and not self.faults.given:  # nothing has been done
            if self.masks:
                self._prepare_less()
            if self._foreseen:
                self._take_back(task)
            return []
        self._clock.system_ns, record[ANSWERED] = record[SYSTEM_NS], 0
        self.answered += answered
        if self.masks:
            if answered:
                self.masks = _SOON
                if record[MASKS] or record[SIGNALS]:
                    task.signals.blocked = record[BLOCKED]
            else:
                self._prepare_less()
        elif self._signals is not None and record[SIGNALS]:
            task.signals.blocked = record[BLOCKED]
        if self._foreseen:
            self._take_back(task)
        pair, self._pair = self._pair, None
        if pair is not None:
            self._is_ready()
            self._patience = _TURNS if answered >= _WORTH else min(2 * self._patience, _MOST_TURNS)
            state = self._made()
            if answered:
                self._settle(pair, state)
            state.current = 0
        return self.faults.settle(task) if self.faults.given else []

    def goes_on(self, task: Task, address: int, mappings: list[Vma]) -> None:
        """The kernel has resolved a page fault, and the engine goes on: answer more of its kind, there and in these
        mappings."""
        if self.faults.prepare(task, address, mappings):
            state = self._made()
            clock = self._clock
            state.system_ns, state.look_at, state.turn_end = clock.system_ns, clock.look_at, clock.turn_end
            self.begun = True

    # -- who the task is -------------------------------------------------------------------------------------------

    def keeps(self, number: int, enter: Enter) -> Enter:
        """The entry of a call that says who the task is, with the result kept."""

        def answered(kernel: Kernel, task: Task, registers: Registers) -> int:
            result: int = enter(kernel, task, registers)
            self._asked += 1
            if self._asked > _FEW:
                self._keep(task, number, result)
            return result

        return answered

    def keeps_clock(self, enter: Enter) -> Enter:
        """The entry of clock_gettime, which notes whose CPU time is asked for."""

        def answered(kernel: Kernel, task: Task, registers: Registers) -> int:
            result: int = enter(kernel, task, registers)
            clock = registers[0] & _LOW_32
            if clock in (_PROCESS_CLOCK, _THREAD_CLOCK) or clock > _LAST_POSITIVE:
                self._asked += 1
                if self._asked > _FEW and result == 0:
                    self._keep_clock(task, clock)
            return result

        return answered

    # -- the signal mask -------------------------------------------------------------------------------------------

    def keeps_masks(self, enter: Enter) -> Enter:
        """The entry of rt_sigprocmask, which notes that more such calls may come."""

        def answered(kernel: Kernel, task: Task, registers: Registers) -> int:
            result: int = enter(kernel, task, registers)
            self._mask_calls += 1
            if self._mask_calls > _FEW and not self._watched(task):
                self._mask_calls, self.masks, self.ready = _FEW, _SOON, True
                self._made()
            return result

        return answered

    def _prepare_less(self) -> None:
        """No change of the mask has come; perhaps none will."""
        self.masks -= 1
        if not self.masks:
            self._made().masks = self._mask_calls = 0
            self._is_ready()

    def _watched(self, task: Task) -> bool:
        """Whether somebody sees each call of a task, or its tables are none that native code knows."""
        watched = self._kernel.tracer.syscalls or task.ptrace is not None or task.seccomp is not None
        return watched or bool(self._cpu.mmu.state.cr4 & CR4.LA57)

    # -- calls of which the work is done later -----------------------------------------------------------------------

    def keeps_mappings(self, enter: Enter) -> Enter:
        """The entry of munmap, behind which memory may be mapped as before."""

        def answered(kernel: Kernel, task: Task, registers: Registers) -> int:
            result: int = enter(kernel, task, registers)
            mapped = task.mm.last_mapped
            if mapped is None or mapped[0] != registers[1]:
                return result
            if self._unmapped < _FEW_UNMAPPED:
                self._unmapped += 1
            elif not self._watched(task) and self._may_foresee(task):
                if self._late is None:
                    self._late = self._made_late()
                if self._late.foresee(task.mm, registers[1]):
                    self._foreseen = self.ready = self.keeps_something = True
            return result

        return answered

    def _may_foresee(self, task: Task) -> bool:
        kernel = self._kernel
        if task.personality or kernel.tracer.active:
            return False
        return kernel.perf is None and not kernel.entry.replaces((MMAP, MPROTECT, MUNMAP))

    def _made_late(self) -> LateWork:
        from emu.kernel.latework import LateWork  # few programs get here

        kernel, state = self._kernel, self._made()
        for number in (MMAP, MPROTECT, MUNMAP):
            self._costs[number] = kernel.entry.entry_of(number)[1]
        return LateWork(self._cpu, kernel.mm_context, kernel.futexes, self.faults, state)

    def _take_back(self, task: Task) -> None:
        late, self._foreseen = self._late, False
        assert late is not None
        late.take_back(task)
        self.stands = late.stands is not None
        if not self.masks:
            self._is_ready()

    def run_begins(self) -> None:
        """The machine goes on, and whoever has it may have changed anything."""
        if self._late is not None:
            self._late.drop()
            self.stands = False

    def _keep_clock(self, task: Task, clock: int) -> None:
        if self._watched(task):
            return
        from emu.kernel.fasttask import counts_thread  # few programs get here

        self._clock_of_thread, self.keeps_something = counts_thread(task, clock), True
        state = self._made()
        state.clocks, state.clockid, state.task_size = self._clock_of_thread is not None, clock, task.mm.task_size
        self._is_ready()

    def _keep(self, task: Task, number: int, result: int) -> None:
        if self._watched(task):
            return
        state = self._made()
        state.task_size = task.mm.task_size
        self._costs[number] = self._kernel.entry.entry_of(number)[1]
        self._answers[number] = result + 1
        self._known.add(number)
        self.ready = self.keeps_something = True

    def called(self, number: int) -> None:
        """The kernel does this call itself, which may change what is known (``keeps_something``, ``stands``)."""
        if self.keeps_something and number not in _KEEP:
            self.forget()
        if self.stands and number not in _KEEP_MAPPINGS:
            self.run_begins()

    def turn_begins(self) -> None:
        """Another task may run than that of which something is known (``keeps_something``)."""
        if self._signals is not None:
            self._signals = None
            self._made().signals = 0
        self.forget()

    def forget(self) -> None:
        """The task is another one now."""
        if self._foreseen:
            assert self._late is not None
            self._late.forget()
            self._foreseen = False
        self.keeps_something = self._signals is not None
        for number in self._known:
            self._answers[number] = 0
        self._known.clear()
        if self._state is not None:
            self._state.self = self._state.clocks = 0
        self._clock_of_thread = None
        self._is_ready()

    def _is_ready(self) -> None:
        kept = self._signals, self._pair, self._clock_of_thread
        self.ready = bool(self._known or self.masks or self._foreseen) or any(each is not None for each in kept)

    # -- signals ---------------------------------------------------------------------------------------------------

    def handler_entered(self, task: Task, info: SigInfo, action: SigAction) -> None:
        """The task that runs has got a frame for a signal, from which it may return, and it may come again."""
        kernel = self._kernel
        if kernel.tracer.syscalls or self._cpu.mmu.state.cr4 & CR4.LA57 or kernel.entry.replaces((SIGRETURN, KILL)):
            return
        state = self._made()
        registers = self._signals = kernel.signals.frames.registers
        state.registers, state.self = ctypes.addressof(registers), 0
        self.ready = self.keeps_something = True
        from emu.kernel.fasttask import comes_again, sent_itself  # few programs get here

        if sent_itself(task, info, registers) and comes_again(task, info, action):
            if type(kernel.tracer).signal is Tracer.signal or not kernel.tracer.each_signal:
                state.self = task.tgid
                state.blocks = action.mask | (0 if action.flags & _NODEFER else 1 << (info.signo - 1))

    def _prepare_signals(self, task: Task, state: FastState, registers: SignalRegisters) -> None:
        """Whether a handler may return, now: nobody sees the call, and no signal waits for it."""
        signals = task.signals
        waits = signals.pending or signals.shared or signals.saved_mask is not None
        if waits or task.seccomp is not None or not task.mm.kmem.has_room(SIGQUEUE):
            state.signals = 0
            return
        state.signals, state.blocked, state.task_size = 1, signals.blocked, task.mm.task_size
        registers.alt_stack, registers.alt_size, registers.alt_flags = signals.alt_stack

    # -- pairs -----------------------------------------------------------------------------------------------------

    def resumed(self, task: Task, number: int) -> None:
        """A task goes on behind a call in which it has waited, and is about to enter the engine."""
        before, self._before, self._last = self._before, self._last, task.pid
        if task.pid != before or task.pid == self._before or number not in (READ, FUTEX):
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
        kernel, state = self._kernel, self._cpu.mmu.state
        if not kernel.scheduler.turns_are_alike or not kernel.flusher.loads_only or kernel.tracer.syscalls:
            return False
        if self._clock.real or self._clock.until_next_timer() is not None or state.event_mask:
            return False
        return not state.cr4 & CR4.LA57 and not kernel.entry.replaces((READ, WRITE, FUTEX))

    def _take(self, task: Task, partner: Task) -> bool:
        """Take these two for a pair, of which the first runs; False if that is not possible."""
        from emu.kernel.fastcalls import waits_for_word  # few programs get here
        from emu.kernel.fasttask import is_plain
        from emu.kernel.taskpair import Pair, Side

        kernel, blocks = self._kernel, self._cpu.blocks
        if not self._possible() or not is_plain(task) or not is_plain(partner) or partner.syscall is None:
            return False
        waits = partner.state == TaskState.SLEEPING and kernel.scheduler.nobody_queued
        if not (waits or (partner.state == TaskState.RUNNABLE and kernel.scheduler.only_queued is partner)):
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
        if number == READ:
            fd = registers[0] & _LOW_32
            pipe = other.descriptors[fd] & -8 if fd < DESCRIPTORS else 0
            if not pipe or (waits and partner.sleeping_on != (pair.pipe_at(pipe).not_empty,)):
                return False
        elif number == FUTEX and waits_for_word(registers[1] & _LOW_32, registers[5] & _LOW_32, registers[3]):
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
        self._signals, state.signals = None, 0
        self.forget()
        self._pair, self.ready = pair, True
        state.current, state.other = ctypes.addressof(one.record), ctypes.addressof(other.record)
        state.task_size, state.futexes, state.time_slice = one.task.mm.task_size, futexes, scheduler.time_slice
        state.since, state.system_since, state.start = scheduler.turn_began
        state.switches = state.instructions = state.vcpu_ns = 0

    def _settle(self, pair: Pair, state: FastState) -> None:
        """Do what native code has done."""
        kernel, clock = self._kernel, self._clock
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
            if other.record.number == FUTEX:
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
        if record.number == READ:
            task.sleeping = kernel.entry.entry_of(READ)[0](kernel, task, registers)
        else:
            waiter = Waiter((task.mm.serial, record.rdi), ANY_BIT)
            task.sleeping = futex_wait(kernel.futexes, self._clock, waiter, None)
        task.syscall, task.rip = (record.number, registers), record.rip
        task.syscall_rflags, task.syscall_rsp = record.rflags, record.rsp
        kernel.scheduler.sleep(task, next(task.sleeping))
