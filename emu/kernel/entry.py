"""Entries into the kernel from user mode: system calls, page faults and what becomes of exceptions (arch/x86/entry)."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from emu.cpu import DR6_BS, SYSCALL_TRAP, Trap, TrapKind
from emu.instructions.raised import GP
from emu.kernel.fastpath import WHO, FastPath
from emu.kernel.faststate import CLOCK_GETTIME, MUNMAP, SIGPROCMASK
from emu.kernel.signal_state import SaFlags, SiCode, Sig, SigInfo
from emu.kernel.task import Task, TaskState
from emu.kernel.traps import Traps
from emu.linux.cost import BYTE_SHIFT, Cost, costs_of_calls
from emu.linux.errors import Interrupted, LinuxError, NoIntr, NoPage
from emu.linux.syscall import BYTES, Enter, Registers, Restart, Syscall, compile_entry
from emu.mm.flags import FaultResult
from mmu import Access, PageFault
from mmu.walk import canonical

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.tracer import Tracer

_CALL, _FAULT, _WAKE = Cost.CALL, Cost.FAULT, Cost.WAKE
#: Registers with which a call can be given arguments.
_REGISTERS = 6
#: From so many bytes on it matters how many a call moves.
_LARGE = 1024
#: From here on an address may not be canonical.
_NOT_CANONICAL = 1 << 47

_ZOMBIE = int(TaskState.ZOMBIE)


class Entry:
    """Runs one task in user mode and answers every trap."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._cpu = kernel.cpu
        self._clock = kernel.clock
        self._table: dict[int, Syscall] = {}
        #: The compiled entry of a call, and what it costs.
        self._entries: dict[int, tuple[Enter, int, int]] = {}
        self._costs = costs_of_calls()
        self._traps = Traps(
            kernel.cpu, kernel.clock, kernel.signals, kernel.out_of_memory, log=kernel.log, log_once=kernel.log_once
        )
        #: By number, what gives the table that has a call which is not registered yet.
        self._late: dict[int, Callable[[], Iterable[Syscall]]] = {}
        #: What modules have replaced, by number; None while that is late, and where there was nothing.
        self._replaced: dict[int, Syscall | None] = {}
        #: Answers natively where that is possible.
        self.fast_path = FastPath(kernel)
        self._back_to_user: Callable[[Task, Iterable[Task]], bool] | None = None
        kernel.cpu.mmu.on_page_fault, kernel.cpu.mmu.faults_have_steps = self._page_fault, False
        kernel.cpu.mmu.hold_back_fetches(self._may_fetch)
        kernel.cpu.blocks.pages.renew, kernel.cpu.blocks.say_once = self._new_code, kernel.log_once

    def register(self, syscall: Syscall, *, replace: bool = False) -> None:
        """Register a system call.  A number can be taken once, unless a module means to ``replace`` its call."""
        if (syscall.number in self._table or syscall.number in self._late) and not replace:
            raise ValueError(f"system call {syscall.number} ({syscall.name}) is registered already")
        if replace:
            self._replaced.setdefault(syscall.number, self._table.get(syscall.number))
        self._table[syscall.number] = syscall
        self._entries.pop(syscall.number, None)

    def register_late(self, tables: Mapping[int, Callable[[], Iterable[Syscall]]]) -> None:
        """More system calls: by number, what gives a table with it, which is taken when a program makes the call."""
        self._late.update(tables)

    def has_replaced(self, number: int) -> bool:
        """Whether a module has replaced a call, and not only added one."""
        return number in self._late or self._replaced.get(number) is not None

    def replaced(self, number: int) -> Syscall:
        """The system call that a module has replaced."""
        self._take_late(number)
        replaced = self._replaced[number]
        assert replaced is not None
        return replaced

    def replaces(self, numbers: Iterable[int]) -> bool:
        """Whether a module has replaced one of these calls."""
        return any(number in self._replaced for number in numbers)

    def calls(self) -> list[Syscall]:
        """All system calls that there are."""
        for number in list(self._late):
            self._take_late(number)
        return list(self._table.values())

    def lookup(self, number: int) -> Syscall | None:
        """The system call with this number."""
        if number not in self._table:
            self._take_late(number)
        return self._table.get(number)

    def _take_late(self, number: int) -> None:
        """Register the calls of the table that has a number, if it is late."""
        for call in self._late[number]() if number in self._late else ():
            self._late.pop(call.number, None)
            if call.number in self._replaced:
                self._replaced[call.number] = call
            else:
                self.register(call)

    def entry_of(self, number: int) -> tuple[Enter, int, int]:
        """The compiled entry for a number, what a call costs, and how many registers hold arguments.  There are many
        rows and few are called, so each is compiled at its first call.
        """
        compiled = self._entries.get(number)
        if compiled is not None:
            return compiled
        call = self.lookup(number)
        if call is None:
            return partial(self._not_implemented, number), _CALL, _REGISTERS
        cost = _CALL + self._costs.get(call.name, 0)
        enter = compile_entry(call)
        if number in WHO and number not in self._replaced:
            enter = self.fast_path.keeps(number, enter)
        elif number == CLOCK_GETTIME and number not in self._replaced:
            enter = self.fast_path.keeps_clock(enter)
        elif number == SIGPROCMASK and number not in self._replaced:
            enter = self.fast_path.keeps_masks(enter)
        elif number == MUNMAP and number not in self._replaced:
            enter = self.fast_path.keeps_mappings(enter)
        self._entries[number] = compiled = enter, cost, call.in_registers
        return compiled

    # -- the loop --------------------------------------------------------------------------------------------------

    def run(self, task: Task) -> None:
        """Run until the slice ends, the task sleeps or it ends.  Its registers are in the CPU."""
        cpu, kernel, fast_path = self._cpu, self._kernel, self.fast_path
        if fast_path.keeps_something:
            fast_path.turn_begins()
        cpu.last_end, task.last_end = task.last_end, 0
        if task.then is not None:
            then, task.then = task.then, None
            if not then():
                return
        if task.sleeping is not None:
            assert task.syscall is not None
            number = task.syscall[0]
            if not self._resume(task):
                return
            fast_path.resumed(task, number)
            if kernel.scheduler.yielded:
                kernel.scheduler.yielded = False
                return
        while True:
            signals = task.signals
            tracee = task.ptrace
            if signals.pending or signals.shared or signals.saved_mask is not None or tracee is not None:
                if not kernel.signals.deliver(task):
                    return
                if kernel.signals.made is not None:
                    fast_path.handler_entered(task, *kernel.signals.made)
                    kernel.signals.made = None
            if task.rseq_event:
                if self._back_to_user is None:
                    from emu.kernel.rseq import back_to_user  # not for programs without it

                    self._back_to_user = back_to_user
                if not self._back_to_user(task, kernel.scheduler.running):
                    self._traps.force(task, Sig.SEGV, SiCode.KERNEL, 0, GP)
                    continue
            if task.rip >= _NOT_CANONICAL and not canonical(cpu.mmu.state, task.rip):
                # a frame or a handler asked for that, and IRET is where it shows
                self._traps.force(task, Sig.SEGV, SiCode.KERNEL, 0, GP)
                continue
            cpu.blocks.enter(task.mm.code_id, catches_faults=task.mm.catches_faults)
            fast = fast_path.ready and tracee is None
            try:
                steps = tracee is not None and (tracee.stepping or tracee.debug_registers.active)
                if tracee is not None and steps and not tracee.before_step():
                    continue
                if fast:
                    fast_path.begin(task)
                trap = cpu.single_step(task.rip) if steps else cpu.enter(task.rip)
            except BaseException:
                if fast_path.begun:
                    fast_path.end()
                task = kernel.scheduler.current or task
                task.rip, task.last_end = cpu.rip, cpu.last_end  # where it goes on
                raise
            if fast_path.begun:
                fast_path.end()
            if fast:
                task = kernel.scheduler.current or task
            kind = trap.kind
            if trap is SYSCALL_TRAP:
                if not self._system_call(task):
                    return
                if kernel.scheduler.yielded:
                    kernel.scheduler.yielded = False
                    return
            else:
                task.rip = cpu.rip
                if tracee is not None:
                    tracee.orig_rax = -1
                    if steps and trap.dr6 & DR6_BS and not tracee.after_step():
                        continue
                if kind == TrapKind.SLICE:
                    task.last_end = cpu.last_end
                    kernel.scheduler.slice_is_over()
                    return
                self._exception(task, trap)
                # killed for lack of memory, while other tasks may still use its address space; or the slice ended on
                # the way
                if task.state != TaskState.RUNNABLE or kernel.scheduler.slice_over:
                    return

    # -- system calls ----------------------------------------------------------------------------------------------

    def _system_call(self, task: Task) -> bool:
        """False if the task sleeps, is stopped or has ended."""
        number, rdx, rsi, rdi, r8, r9, r10, task.rip = self._cpu.syscall_words()
        registers = rdi, rsi, rdx, r10, r8, r9
        if self.fast_path.keeps_something or self.fast_path.stands:
            self.fast_path.called(number)
        if task.ptrace is not None and task.ptrace.enter(number):
            return False
        enter, cost, many = self._entries.get(number) or self.entry_of(number)
        clock = self._clock
        clock.system_ns += cost
        if clock.system_ns >= clock.look_at:
            clock.look()
        kernel = self._kernel
        if kernel.mm_context.swapping:
            kernel.mm_context.balance()
        tracer = kernel.tracer
        if tracer.syscalls:
            tracer.syscall_enter(task, number, self._table.get(number), registers[:many])
        if task.seccomp is not None:
            allowed = self._filter(task, number, registers)
            if allowed is not None:
                return allowed
        try:
            result = enter(kernel, task, registers)
        except NoIntr:
            return self._restart(task, number)
        except Interrupted as interrupted:
            result = -errno.EINTR
            if task.ptrace is not None:
                result = task.ptrace.interrupted(self._table[number], registers, interrupted)
            elif self._starts_again(task, number, registers):
                return self._restart(task, number)
        except LinuxError as error:
            if type(error) is NoPage and self._is_relieved(task):
                return self._restart(task, number)
            result = -error.errno
        if type(result) is not GeneratorType:
            if task.ptrace is not None or task.state >= _ZOMBIE or result >= _LARGE:
                return self._finish(task, number, result)
            if tracer.syscalls:
                self._tell_result(tracer, task, number, result)
            if task.registers_replaced:
                task.registers_replaced = False
            else:
                self._cpu.syscall_return(result, task.rip)
            return True
        if self._table[number].restart is None:
            raise AssertionError(f"{self._table[number].name} waits, and its row does not say what a signal does")
        task.sleeping = result
        task.syscall = (number, registers)
        task.syscall_rflags, task.syscall_rsp = self._cpu.trap.rflags, self._cpu.stack_pointer
        if task.ptrace is None:
            return self._advance(task, interrupted=False)
        if task.ptrace.event is not None:
            return task.ptrace.stop_first(partial(self._advance, task, interrupted=False))
        return self._advance(task, interrupted=task.signals.deliverable())  # sent while it was stopped before the call

    def _filter(self, task: Task, number: int, registers: Registers) -> bool | None:
        """Ask seccomp about a call: None if it may be made; else as :meth:`_system_call` (__seccomp_filter)."""
        from emu.kernel import seccomp

        assert task.seccomp is not None
        if task.ptrace is not None and task.ptrace.suspends_seccomp:
            return None
        action = task.seccomp.action(number, registers, task.rip)
        kind = action & 0xFFFF0000
        if kind in (seccomp.ALLOW, seccomp.LOG):
            return None
        if kind == seccomp.USER_NOTIF and number in self._table:
            asked = self._ask_listener(task, number, registers)
            if asked is not None:
                return asked
        if kind == seccomp.TRACE and task.ptrace is not None:
            told = task.ptrace.tells_filter(number, action & 0xFFFF)
            if told is not None:
                return None if told else False
        result = seccomp.refused(action)
        if result is not None:
            return self._finish(task, number, result)
        given = struct.pack("<iiiiQiI", Sig.SYS, action & 0xFFFF, 1, 0, task.rip, number, seccomp.AUDIT_ARCH_X86_64)
        info = SigInfo(Sig.SYS, 1, given=given.ljust(128, b"\0"))
        if kind == seccomp.TRAP:
            self._kernel.signals.force(task, info)
            return self._finish(task, number, number)
        if task.seccomp.mode == seccomp.MODE_STRICT:
            self._kernel.exit_thread(task, Sig.KILL)
        elif kind == seccomp.KILL_THREAD and len(task.group.threads) > 1:
            self._kernel.exit_thread(task, Sig.SYS)
        else:
            self._kernel.exit(task, self._kernel.signals.fatal_status(task, info))
        return False

    def _ask_listener(self, task: Task, number: int, registers: Registers) -> bool | None:
        """The call waits for what a filter's listener says; None if there is none (seccomp_do_user_notification)."""
        from emu.kernel.seccomp import seccomp_data
        from emu.kernel.seccomp_notify import Listener, notified

        assert task.seccomp is not None
        data = seccomp_data(number, registers, task.rip)
        listener = task.seccomp.listener(data)
        if not isinstance(listener, Listener) or listener.closed:
            return None
        enter = self.entry_of(number)[0]
        task.sleeping = notified(task, listener, data, partial(enter, self._kernel, task, registers))
        task.syscall = (number, registers)
        task.syscall_rflags, task.syscall_rsp = self._cpu.trap.rflags, self._cpu.stack_pointer
        return self._advance(task, interrupted=False)

    def repeat_call(self, task: Task) -> bool:
        """A call goes on behind a stop before it."""
        return self._system_call(task)

    def _finish(self, task: Task, number: int, result: int) -> bool:
        if result >= _LARGE and self._table[number].returns is BYTES:
            self._clock.charge(result >> BYTE_SHIFT)
        tracer = self._kernel.tracer
        if tracer.syscalls:
            self._tell_result(tracer, task, number, result)
        if task.registers_replaced:  # execve, rt_sigreturn
            task.registers_replaced = False
        elif task.state >= _ZOMBIE:
            return False
        else:
            self._cpu.syscall_return(result, task.rip)
        return task.ptrace is None or task.ptrace.leave()

    def _tell_result(self, tracer: Tracer, task: Task, number: int, result: int) -> None:
        signals = task.signals
        if (signals.pending or signals.shared) and signals.pending_mask >> (Sig.KILL - 1) & 1:
            return  # who is killed does not return
        tracer.syscall_exit(task, number, self._table.get(number), result)

    def _resume(self, task: Task) -> bool:
        """Go on with a system call that slept.  False if it sleeps again, or the task has ended or is stopped."""
        self._clock.charge(_WAKE)
        self._cpu.trap.rflags = task.syscall_rflags
        tracee = task.ptrace
        interrupted = task.signals.deliverable() or task.stopped_in_call or (tracee is not None and tracee.trap)
        if task.killable:
            interrupted = task.signals.fatal()
        task.stopped_in_call = False
        if interrupted and tracee is None and self._goes_on(task):
            self._pass_over(task)
            if task.state == TaskState.STOPPED:
                return False
            interrupted = False
        return self._advance(task, interrupted=interrupted)

    def _goes_on(self, task: Task) -> bool:
        """Whether no handler runs and the task lives, so that a call that is not over for any signal goes on, with
        what is left of its time.
        """
        assert task.syscall is not None
        number, registers = task.syscall
        restart = self._table[number].restarts_as(registers)
        return restart not in (Restart.INTR, Restart.UNINTERRUPTIBLE) and task.signals.harmless()

    def _pass_over(self, task: Task) -> None:
        """The signals are told of, and then the call again."""
        assert task.syscall is not None
        self._kernel.signals.pass_over(task)
        tracer = self._kernel.tracer
        if tracer.syscalls:
            number, registers = task.syscall
            call = self._table[number]
            tracer.syscall_enter(task, number, call, registers[: call.in_registers])

    def _advance(self, task: Task, *, interrupted: bool) -> bool:
        sleeping, call = task.sleeping, task.syscall
        assert sleeping is not None and call is not None
        kernel = self._kernel
        try:
            wanted: Any = next(sleeping)  # what came before the signal is more than the signal
            if interrupted:
                wanted = sleeping.throw(Interrupted())
                row = self._table[call[0]]
                if row.restart is not Restart.UNINTERRUPTIBLE:
                    raise AssertionError(f"{row.name} went back to sleep although a signal interrupted it")
                if task.signals.pending_mask >> (Sig.KILL - 1) & 1:
                    sleeping.close()
                    raise Interrupted
            kernel.scheduler.sleep(task, wanted)
            return False
        except StopIteration as done:
            result = int(done.value or 0)
        except Interrupted as interrupted:
            result = -errno.EINTR
            if task.ptrace is not None:
                result = task.ptrace.interrupted(self._table[call[0]], call[1], interrupted)
            elif self._starts_again(task, *call):
                return self._restart(task, call[0])
        except NoIntr:
            return self._restart(task, call[0])
        except LinuxError as error:
            if type(error) is NoPage and self._is_relieved(task):
                return self._restart(task, call[0])
            result = -error.errno
        task.sleeping = task.syscall = None
        if task.state != TaskState.RUNNABLE:
            return False
        return self._finish(task, call[0], result)

    def _is_relieved(self, task: Task) -> bool:
        """A call found no page, in the machine or in its control group: whether it is to start again, since there is
        memory now.
        """
        kernel = self._kernel
        if kernel.mm_context.group_is_full():
            return kernel.cgroups.memory.relieve(task)
        return kernel.oom.relieve_call(task)

    def _starts_again(self, task: Task, number: int, registers: tuple[int, ...]) -> bool:
        """Whether the call can start again, and the first signal with a handler allows that (SA_RESTART), or no signal
        has a handler (handle_signal).  Signals delivered after that one interrupt a handler, not the call.
        """
        restart = self._table[number].restarts_as(registers)
        if restart is Restart.NOHAND:
            return task.signals.harmless()
        if restart is not Restart.SYS:
            return False
        action = task.signals.first_caught()
        return action is None or bool(action.flags & SaFlags.RESTART)

    def _restart(self, task: Task, number: int) -> bool:
        task.sleeping = task.syscall = None
        task.rip -= 2  # the SYSCALL instruction
        self._cpu.syscall_return(number, task.rip + 2)
        return True

    def _not_implemented(self, number: int, kernel: Kernel, task: Task, registers: Registers) -> int:
        from emu.linux.syscall_names import why_not

        kernel.log_once(why_not(number))
        return -errno.ENOSYS

    # -- faults and exceptions -------------------------------------------------------------------------------------

    def _page_fault(self, fault: PageFault) -> bool:
        """A page fault within a TLB fill: resolve it there, so that the instruction never notices."""
        fast_path = self.fast_path
        begun = fast_path.begun
        mappings = fast_path.end() if begun else []
        task = self._kernel.scheduler.current
        assert task is not None
        usage = task.usage
        usage.hw_faults += 1
        tracer = self._kernel.tracer
        since = tracer.fault_begins(task.mm, fault.vaddr) if tracer.active else None
        result = task.mm.handle_fault(fault.vaddr, fault.access)
        clock = self._clock
        clock.system_ns += _FAULT
        if clock.system_ns >= clock.look_at:
            clock.look()
        if tracer.active:
            tracer.fault_ends(task.mm, fault.vaddr, fault.access, result, since)
        if result is FaultResult.MINOR:
            usage.min_flt += 1
            if fast_path.faults.possible:
                fast_path.goes_on(task, fault.vaddr, mappings)
            if begun and fast_path.masks:
                fast_path.begin(task)
        elif result is FaultResult.LINKED:
            usage.link_faults += 1
        elif result is FaultResult.MAJOR:
            usage.maj_flt += 1
        elif not result.resolved:
            task.fault_result = result
            return False
        return True

    def _may_fetch(self, vaddr: int) -> bool:
        """Whether a page of code can be brought in before the code in front of it has run."""
        if self.fast_path.begun:
            self.fast_path.end()
        task = self._kernel.scheduler.current
        vma = None if task is None else task.mm.vmas.find(vaddr)
        return vma is not None and vma.allows(Access.FETCH)

    def _new_code(self) -> int:
        """An address has other code than its address space had there before, or than another one has that it was
        forked from."""
        if self.fast_path.begun:
            self.fast_path.end()
        task = self._kernel.scheduler.current
        assert task is not None
        task.mm.renew_code()
        return task.mm.code_id

    def _exception(self, task: Task, trap: Trap) -> None:
        """Turn a trap that the guest caused into a signal."""
        if trap.kind == TrapKind.FAULT and trap.access == Access.FETCH and trap.fault is not None:
            if trap.fault.vaddr >> 12 != task.rip >> 12:
                # Unicorn fetches ahead while it translates: single-step towards the address to see whether it is
                # reached
                try:
                    trap = self._cpu.find_faulting_instruction(task.rip, self._kernel.stop.look)
                finally:
                    if self.fast_path.begun:
                        self.fast_path.end()
                task.rip = self._cpu.rip
                if trap.kind == TrapKind.SYSCALL:
                    self._system_call(task)
                    return
                if trap.kind == TrapKind.SLICE:
                    self._kernel.scheduler.slice_is_over()
                    return
        if task.fault_result is FaultResult.RETRY:
            from emu.kernel.userfaultfd import sleep_in_fault  # hardly any program has one

            assert trap.fault is not None
            if sleep_in_fault(self._kernel.scheduler, task, trap.fault.vaddr):
                task.fault_result = None
                return
            task.fault_result = FaultResult.ADRERR
        self._traps.raise_signal(task, trap)
