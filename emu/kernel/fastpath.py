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

from emu.engine.records import TrapState
from emu.kernel.fastfaults import FastFaults
from emu.kernel.fastpairs import FastPairs
from emu.kernel.faststate import (
    ANSWERED,
    BLOCKED,
    CALLS,
    LOOK_AT,
    MASKS,
    SIGNALS,
    SYSTEM_NS,
    TASK_SIZE,
    FastState,
)
from emu.kernel.signal_state import SaFlags
from emu.kernel.task import Task
from emu.kernel.tracer import Tracer
from emu.linux.clock import CPUTIME
from emu.linux.unistd import (
    NR_CLOCK_GETRES,
    NR_CLOCK_GETTIME,
    NR_CLONE,
    NR_EXIT,
    NR_FUTEX,
    NR_GETEGID,
    NR_GETEUID,
    NR_GETGID,
    NR_GETPGRP,
    NR_GETPID,
    NR_GETPPID,
    NR_GETTID,
    NR_GETTIMEOFDAY,
    NR_GETUID,
    NR_KILL,
    NR_LSEEK,
    NR_MMAP,
    NR_MPROTECT,
    NR_MUNMAP,
    NR_READ,
    NR_RT_SIGPROCMASK,
    NR_RT_SIGRETURN,
    NR_TIME,
    NR_WRITE,
)
from emu.mm.kmem import SIGQUEUE
from mmu import unicorn_abi
from mmu.objectcode import load
from mmu.registers import CR4

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.latework import LateWork
    from emu.kernel.signal_state import SigAction, SigInfo
    from emu.kernel.sigregs import SignalRegisters
    from emu.linux.syscall import Enter, Registers
    from emu.mm.vma import Vma

#: Which word of the TrapState that is.
_ANSWER: int = TrapState.answer.offset // 8  # type: ignore[attr-defined]
#: After a change of the mask that was answered, the next one is prepared for in so many entries of the engine.
_SOON = 8
#: What they say changes by other calls only.
_WHO = frozenset({NR_GETPID, NR_GETTID, NR_GETPPID, NR_GETPGRP, NR_GETUID, NR_GETEUID, NR_GETGID, NR_GETEGID})
#: Calls that do not change it.
_KEEP = _WHO | {
    NR_READ, NR_LSEEK, NR_RT_SIGPROCMASK, NR_RT_SIGRETURN, NR_KILL, NR_FUTEX,
    NR_GETTIMEOFDAY, NR_TIME, NR_CLOCK_GETTIME, NR_CLOCK_GETRES,
}  # fmt: skip
#: As much memory as was mapped last has been unmapped so often before the next mapping may be foreseen.
_FEW_UNMAPPED = 16
#: Calls that change nothing of what munmap, mmap and mprotect depend on, but for the mappings.
_KEEP_MAPPINGS = _WHO | {
    NR_MMAP, NR_MUNMAP, NR_RT_SIGPROCMASK, NR_RT_SIGRETURN, NR_FUTEX, NR_CLOCK_GETTIME, NR_CLONE, NR_EXIT,
}  # fmt: skip
#: So many calls of that kind come to the kernel before any is answered natively.
_FEW = 64
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
        self.pairs = FastPairs(kernel, self._made, self._pair_taken)

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
            for number in (NR_READ, NR_WRITE, NR_RT_SIGPROCMASK, NR_RT_SIGRETURN, NR_KILL, NR_FUTEX, NR_CLOCK_GETTIME):
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
            if waits or task.seccomp is not None or self.pairs.pair is not None or tracer.syscalls:
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
        if not answered and self.pairs.pair is None and not self.faults.given:  # nothing has been done
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
        if self.pairs.pair is not None:
            self.pairs.settle(answered)
            self._is_ready()
        return self.faults.settle(task) if self.faults.given else []

    def goes_on(self, task: Task, address: int, mappings: list[Vma]) -> None:
        """The kernel has resolved a page fault, and the engine goes on: answer more of its kind, there and in these
        mappings."""
        if self.faults.prepare(task, address, mappings):
            state = self._made()
            clock = self._clock
            state.system_ns, state.look_at, state.turn_end = clock.system_ns, clock.look_at, clock.turn_end
            self.begun = True

    def kept(self, number: int, enter: Enter) -> Enter:
        """The entry of a call, of which what it says or does is kept in mind if calls like it may be answered."""
        if number in _WHO:
            return self._keeps_who(number, enter)
        if number == NR_CLOCK_GETTIME:
            return self._keeps_clock(enter)
        if number == NR_RT_SIGPROCMASK:
            return self._keeps_masks(enter)
        return self._keeps_mappings(enter) if number == NR_MUNMAP else enter

    # -- who the task is -------------------------------------------------------------------------------------------

    def _keeps_who(self, number: int, enter: Enter) -> Enter:
        """The entry of a call that says who the task is, with the result kept."""

        def answered(kernel: Kernel, task: Task, registers: Registers) -> int:
            result: int = enter(kernel, task, registers)
            self._asked += 1
            if self._asked > _FEW:
                self._keep(task, number, result)
            return result

        return answered

    def _keeps_clock(self, enter: Enter) -> Enter:
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

    def _keeps_masks(self, enter: Enter) -> Enter:
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

    def _keeps_mappings(self, enter: Enter) -> Enter:
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
        return kernel.perf is None and not kernel.entry.replaces((NR_MMAP, NR_MPROTECT, NR_MUNMAP))

    def _made_late(self) -> LateWork:
        from emu.kernel.latework import LateWork  # few programs get here

        kernel, state = self._kernel, self._made()
        for number in (NR_MMAP, NR_MPROTECT, NR_MUNMAP):
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
        kept = self._signals, self.pairs.pair, self._clock_of_thread
        self.ready = bool(self._known or self.masks or self._foreseen) or any(each is not None for each in kept)

    # -- signals ---------------------------------------------------------------------------------------------------

    def handler_entered(self, task: Task, info: SigInfo, action: SigAction) -> None:
        """The task that runs has got a frame for a signal, from which it may return, and it may come again."""
        kernel = self._kernel
        if (
            kernel.tracer.syscalls
            or self._cpu.mmu.state.cr4 & CR4.LA57
            or kernel.entry.replaces((NR_RT_SIGRETURN, NR_KILL))
        ):
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

    def _pair_taken(self) -> None:
        """What is known of the task that runs does not hold for the other one of a pair."""
        self._signals, self._made().signals = None, 0
        self.forget()
