"""A system call from its number to its result: filters, tracers, sleeping, and starting again behind a signal
(do_syscall_64).
"""

from __future__ import annotations

import errno
import struct
from functools import partial
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from emu.kernel.signal_state import SaFlags, Sig, SigInfo
from emu.kernel.syscall_table import SyscallTable
from emu.kernel.task import Task, TaskState
from emu.linux.cost import BYTE_SHIFT, Cost
from emu.linux.errors import Interrupted, LinuxError, NoIntr, NoPage
from emu.linux.syscall import BYTES, Registers, Restart

if TYPE_CHECKING:
    from emu.kernel.fastpath import FastPath
    from emu.kernel.kernel import Kernel
    from emu.kernel.tracer import Tracer

_WAKE = Cost.WAKE
#: From so many bytes on it matters how many a call moves.
_LARGE = 1024
_ZOMBIE = int(TaskState.ZOMBIE)


class SystemCalls(SyscallTable):
    """The calls of the table, as tasks make them."""

    def __init__(self, kernel: Kernel, fast_path: FastPath) -> None:
        super().__init__(fast_path.kept)
        self._kernel, self._cpu, self._clock = kernel, kernel.cpu, kernel.clock
        #: Answers natively where that is possible.
        self.fast_path = fast_path

    def system_call(self, task: Task) -> bool:
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
        """Ask seccomp about a call: None if it may be made; else as :meth:`system_call` (__seccomp_filter)."""
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

    def resume(self, task: Task) -> bool:
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
