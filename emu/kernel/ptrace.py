"""Tracing of one task by another, ptrace(2): stops, and how a task goes on after them (kernel/ptrace.c, signal.c).

A task that stops leaves the CPU in the middle of the kernel.  What it has to do next is kept as a function
(``Task.then``), which runs when its tracer has resumed it, with its registers in the CPU.  This has nothing to do with
the trace of events (:mod:`emu.kernel.tracer`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING

from emu.kernel.debug_registers import DebugRegisters
from emu.kernel.signal_state import (
    CLD_DUMPED,
    CLD_EXITED,
    CLD_KILLED,
    CLD_STOPPED,
    CLD_TRAPPED,
    SIG_IGN,
    TRAP_BRKPT,
    TRAP_HWBKPT,
    SaFlags,
    SiCode,
    Sig,
    SigAction,
    SigInfo,
)
from emu.kernel.task import TaskState
from emu.kernel.traced import StopKind, Traced
from emu.linux.errors import LinuxError
from emu.linux.syscall import Restart
from emu.linux.unistd import NR_EXIT, NR_EXIT_GROUP, NR_RESTART_SYSCALL
from emu.mm.gup import read_remote

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.errors import Interrupted
    from emu.linux.syscall import Syscall

_WORD = (1 << 64) - 1
_ENOSYS, _EINTR = 38, 4
_EXITS = frozenset({NR_EXIT, NR_EXIT_GROUP})
#: What RAX says of a call that a signal has interrupted, until it is decided whether that starts again
#: (include/linux/errno.h).
_RESTARTS = {Restart.SYS: 512, Restart.NOHAND: 514, Restart.BLOCK: 516}
_SYS, _NOHAND, _BLOCK = (_RESTARTS[kind] for kind in (Restart.SYS, Restart.NOHAND, Restart.BLOCK))
#: Of the flags of clone(2).
_CLONE_SIGNAL, _CLONE_PTRACE, _CLONE_VFORK, _CLONE_UNTRACED = 0xFF, 0x2000, 0x4000, 0x800000
#: No call: in ORIG_RAX.
NO_CALL = -1


class Options(IntFlag):
    """PTRACE_O_*."""

    TRACESYSGOOD = 0x1
    TRACEFORK = 0x2
    TRACEVFORK = 0x4
    TRACECLONE = 0x8
    TRACEEXEC = 0x10
    TRACEVFORKDONE = 0x20
    TRACEEXIT = 0x40
    TRACESECCOMP = 0x80
    EXITKILL = 0x100000
    SUSPEND_SECCOMP = 0x200000


class Event(IntEnum):
    """PTRACE_EVENT_*."""

    FORK = 1
    VFORK = 2
    CLONE = 3
    EXEC = 4
    VFORK_DONE = 5
    EXIT = 6
    SECCOMP = 7
    STOP = 128


class Tracee(Traced):
    """The state of a traced task (``task.ptrace``)."""

    def __init__(
        self, kernel: Kernel, task: Task, tracer: Task, *, privileged: bool, seized: bool = False, options: int = 0
    ) -> None:  # fmt: skip
        self._kernel = kernel
        self.task = task
        self.tracer, self.privileged = tracer, privileged
        self.seized = seized
        self.options = options
        #: How it was resumed: it stops at calls, or behind one instruction.
        self.syscalls = self.stepping = False
        #: The tracer makes its calls: it stops before them, and they are not made (PTRACE_SYSEMU).
        self.emulated = False
        #: The kind of the stop, None while it runs; and the code for wait(2), 0 once that was told.
        self.kind: StopKind | None = None
        self.code = 0
        #: What PTRACE_GETEVENTMSG and PTRACE_GETSIGINFO say.
        self.message = 0
        self.info: SigInfo | None = None
        #: The signal with which the tracer has resumed it.
        self.signal = 0
        #: The number of the system call in which it is.
        self.orig_rax = NO_CALL if task.syscall is None else task.syscall[0]
        #: It is to stop (PTRACE_INTERRUPT); it waits for SIGCONT (PTRACE_LISTEN), which came already.
        self.trap = self.listening = self.notified = False
        #: An event that is told of as soon as the call that it happened in is done so far: number, message.
        self.event: tuple[Event, int] | None = None
        #: The stops before the call are over; and that of its end, PTRACE_EVENT_EXIT.
        self._entered = self._exit_told = self._filter_told = False
        #: How a thread that has ended did so: the tracer is to be told.
        self.ended_as: int | None = None
        self.debug_registers = DebugRegisters()
        #: What PTRACE_SETSIGINFO has put in place of the signal's own.
        self.given_info: SigInfo | None = None
        tracer.group.tracees[task] = None
        task.ptrace = self

    # -- stopping and going on -------------------------------------------------------------------------------------

    def stop(
        self, kind: StopKind, code: int, info: SigInfo | None, then: Callable[[], bool] | None, *, message: int = 0
    ) -> bool:
        """Stop, tell the tracer, and go on with ``then`` afterwards; False, for a caller that leaves the CPU."""
        task = self.task
        self.kind, self.code, self.info, self.message, self.signal = kind, code, info, message, 0
        if then is not None:
            task.then = then
        self._kernel.scheduler.suspend(task, TaskState.TRACED)
        if task.signals.pending_mask >> (Sig.KILL - 1) & 1:  # nobody stops who is to end
            self.killed()
            return False
        self._tell(CLD_STOPPED if kind is StopKind.GROUP else CLD_TRAPPED, code & 0x7F)
        return False

    def resume(
        self, signal: int, *, syscalls: bool = False, stepping: bool = False, emulated: bool = False
    ) -> None:  # fmt: skip
        """PTRACE_CONT and its relatives."""
        self.syscalls, self.stepping, self.emulated, self.signal = syscalls, stepping, emulated, signal
        self.kind, self.code, self.info, self.listening = None, 0, None, False
        self._kernel.scheduler.resume(self.task)

    def detach(self, signal: int = 0) -> None:
        """The task goes on by itself (__ptrace_unlink)."""
        task, stopped = self.task, self.kind is not None
        self.unlink()
        if not task.alive:
            return
        self.resume(signal)
        if task.group.stopped_by and stopped:
            self._kernel.scheduler.suspend(task)

    def unlink(self) -> None:
        """The task is not traced any more."""
        self.tracer.group.tracees.pop(self.task, None)
        self.task.ptrace = None

    def _is_last(self) -> None:
        """There is news of the task: the tracer learns of that of others before."""
        tracees = self.tracer.group.tracees
        del tracees[self.task]
        tracees[self.task] = None

    def _tell(self, code: int, status: int) -> None:
        """SIGCHLD for the tracer, and whoever waits there wakes (do_notify_parent_cldstop)."""
        self._is_last()
        parent, task = self.tracer.group, self.task
        action = parent.leader.signals.actions[Sig.CHLD]
        if parent.alive and action.handler != SIG_IGN and not action.flags & SaFlags.NOCLDSTOP:
            info = SigInfo(Sig.CHLD, code, pid=task.pid, uid=task.credentials.uid, status=status)
            self._kernel.signals.send_to_process(parent.leader, Sig.CHLD, info)
        parent.child_exit.wake_all()

    def _own_info(self, signo: int, code: int) -> SigInfo:
        """The siginfo of a stop that no signal has caused (ptrace_do_notify)."""
        task = self.task
        words = struct.pack(
            "<iiiiiI", signo, 0, code, 0, task.vpid, task.credentials.shown("uid", task.credentials.uid)
        )
        return SigInfo(signo, code, given=words.ljust(128, b"\0"))

    def stop_for(self, event: Event, message: int, then: Callable[[], bool]) -> bool:
        """An event stop."""
        code = Sig.TRAP | event << 8
        return self.stop(StopKind.EVENT, code, self._own_info(Sig.TRAP, code), then, message=message)

    # -- system calls ----------------------------------------------------------------------------------------------

    def enter(self, number: int) -> bool:
        """A system call begins, or goes on behind its stops.  True if the task has stopped."""
        cpu, task = self._kernel.cpu, self.task
        if not self._entered:
            self._filter_told = False
            self.orig_rax = number if number >> 63 == 0 else number - (1 << 64)
        if (self.syscalls or self.emulated) and not self._entered:
            task.syscall_rflags = cpu.trap.rflags
            cpu.syscall_return(-_ENOSYS, task.rip)
            return not self._stop_at_call(StopKind.ENTRY, 1, self._skip if self.emulated else self._enter_again)
        if self.options & Options.TRACEEXIT and self.orig_rax in _EXITS and not self._exit_told:
            self._exit_told = self._entered = True
            task.syscall_rflags = cpu.trap.rflags
            status = cpu.general()[7] & 0xFF
            return not self.stop_for(Event.EXIT, status << 8, self._enter_again)
        self._entered = False
        return False

    @property
    def suspends_seccomp(self) -> bool:
        return bool(self.options & Options.SUSPEND_SECCOMP)

    def tells_filter(self, number: int, data: int) -> bool | None:
        if not self.options & Options.TRACESECCOMP:
            return None
        if self._filter_told:
            self._filter_told = False
            return True
        cpu, task = self._kernel.cpu, self.task
        self._filter_told = self._entered = True
        task.syscall_rflags = cpu.trap.rflags
        cpu.syscall_return(-_ENOSYS, task.rip)
        return self.stop_for(Event.SECCOMP, data, self._enter_again)

    def _stop_at_call(self, kind: StopKind, message: int, then: Callable[[], bool]) -> bool:
        code = Sig.TRAP | (0x80 if self.options & Options.TRACESYSGOOD else 0)
        return self.stop(kind, code, self._own_info(Sig.TRAP, code), then, message=message)

    def _enter_again(self) -> bool:
        """The call goes on with the registers that the tracer has left; the number -1 skips it."""
        cpu, task = self._kernel.cpu, self.task
        self._send_given()
        cpu.trap.rflags = task.syscall_rflags
        if self.orig_rax & 0xFFFFFFFF == 0xFFFFFFFF:
            self._entered = self._filter_told = False
            cpu.syscall_return(cpu.general()[0], task.rip)
            return self.leave()
        registers = cpu.general()
        registers[0] = self.orig_rax & _WORD
        cpu.set_general(registers, cpu.rflags)
        self._entered = task.ptrace is self
        return self._kernel.entry.system_call(task)

    def _skip(self) -> bool:
        """The call is not made, and RAX is as the tracer has left it."""
        cpu, task = self._kernel.cpu, self.task
        self._send_given()
        cpu.trap.rflags = task.syscall_rflags
        cpu.syscall_return(cpu.general()[0], task.rip)
        return self.leave()

    def _send_given(self) -> None:
        if self.signal:
            self._kernel.signals.send(self.task, self.signal, self._from_tracer(self.signal))

    def leave(self) -> bool:
        """A system call is done, and its result is in the registers.  False if the task has stopped."""
        if self.task.ptrace is not self:
            return True
        if self.event is not None:
            return self.stop_first(self.leave)
        if self.syscalls:
            return self._stop_at_call(StopKind.EXIT, 2, self._left)
        if self.stepping and not self.emulated:
            self._trap(TRAP_BRKPT)
        return True

    def _left(self) -> bool:
        self._send_given()
        return True

    # -- instructions ----------------------------------------------------------------------------------------------

    def before_step(self) -> bool:
        registers = self.debug_registers
        if registers.breaks_at(self.task.rip):
            self._trap(TRAP_HWBKPT)
            return False
        registers.look(self._read)
        return True

    def after_step(self) -> bool:
        if self.debug_registers.stepped(self._read, stepping=self.stepping) and not self.stepping:
            self._trap(TRAP_HWBKPT)
        return self.stepping

    def _trap(self, code: int) -> None:
        self._kernel.signals.force(self.task, SigInfo(Sig.TRAP, code, address=self.task.rip))

    def _read(self, address: int, length: int) -> bytes:
        try:
            return read_remote(self.task.mm, address, length, force=True)
        except LinuxError:
            return b""

    # -- calls that signals interrupt ------------------------------------------------------------------------------

    def interrupted(self, call: Syscall, registers: tuple[int, ...], how: Interrupted) -> int:
        """The result of a call that a signal has interrupted, until it is known whether a handler runs."""
        kind = call.restarts_as(registers)
        self.task.restart_block = how.goes_on if kind is Restart.BLOCK else None
        if kind is Restart.BLOCK and how.goes_on is None:
            kind = Restart.NOHAND
        return -_RESTARTS.get(kind, _EINTR) if kind is not None else -_EINTR

    def before_handler(self, action: SigAction) -> None:
        """A handler is about to run: a call that it interrupts starts again behind it, or fails (handle_signal)."""
        wanted = self._wants_restart()
        if wanted == _SYS and action.flags & SaFlags.RESTART:
            self._start_again(self.orig_rax)
        elif wanted:
            self._kernel.cpu.write("rax", -_EINTR)
            self.task.restart_block = None

    def stops_in_handler(self) -> bool:
        """Who steps stops there (signal_setup_done)."""
        if self.stepping:
            self.stop(StopKind.EVENT, Sig.TRAP, self._own_info(Sig.TRAP, Sig.TRAP), None)
        return self.stepping

    def without_handler(self) -> None:
        """No handler runs: the call starts again (arch_do_signal_or_restart)."""
        wanted = self._wants_restart()
        if wanted == _BLOCK:
            self._start_again(NR_RESTART_SYSCALL)
        elif wanted:
            self._start_again(self.orig_rax)

    def _wants_restart(self) -> int:
        if self.orig_rax < 0:
            return 0
        result = -self._kernel.cpu.general()[0] & _WORD
        return result if result in (_SYS, 513, _NOHAND, _BLOCK) else 0

    def _start_again(self, number: int) -> None:
        self._kernel.cpu.write("rax", number)
        self.task.rip -= 2
        self.orig_rax = NO_CALL

    # -- signals ---------------------------------------------------------------------------------------------------

    def stop_for_signal(self, info: SigInfo, then: Callable[[SigInfo], bool]) -> bool:
        """A signal is about to be delivered: the tracer says which one is.  False."""

        def go_on() -> bool:
            signo, task = self.signal, self.task
            if not signo:
                return True
            chosen = self.given_info or info
            self.given_info = None
            if signo != chosen.signo:
                chosen = self._from_tracer(signo)
            if task.signals.blocked >> (signo - 1) & 1:
                task.signals.add(chosen)
                return True
            return then(chosen)

        self.given_info = None
        return self.stop(StopKind.SIGNAL, info.signo, info, go_on)

    def _from_tracer(self, signo: int) -> SigInfo:
        """A signal that the tracer has given (ptrace_signal)."""
        tracer = self.tracer
        uid = self.task.credentials.shown("uid", tracer.credentials.uid)
        return SigInfo(signo, SiCode.USER, pid=self.task.sees(tracer.tgid), uid=uid)

    def traps(self) -> bool:
        """On the way to user mode: stop, if the tracer wants it.  Whether it has."""
        if not self.trap:
            return False
        self.stop_of_group()
        return True

    def stop_of_group(self) -> None:
        """The process is stopped, or a task that was seized is to stop (do_jobctl_trap)."""
        self.trap = self.notified = self.listening = False
        signo = self.task.group.stopped_by
        if not self.seized:
            self.stop(StopKind.GROUP, signo, None, None)
            return
        code = (signo or Sig.TRAP) | Event.STOP << 8
        self.stop(StopKind.GROUP, code, self._own_info(signo or Sig.TRAP, code), None)

    def continued(self) -> None:
        """SIGCONT has come for the process: who listens stops anew, so that the tracer learns of it."""
        if self.seized and self.kind is StopKind.GROUP:
            self.notified = True
            if self.listening:
                self.listen()

    def interrupt(self) -> None:
        """PTRACE_INTERRUPT: the task stops as soon as it can."""
        if self.listening:
            self.stop_of_group()
            return
        self.trap = True
        self._kernel.scheduler.wake(self.task)

    def listen(self) -> None:
        """PTRACE_LISTEN."""
        self.listening = not self.notified
        self.code = 0
        if self.notified:
            self.stop_of_group()

    def killed(self) -> None:
        """SIGKILL: the task goes on to its end."""
        if self.task.state == TaskState.TRACED:
            self.task.then = None
            self.resume(0)

    # -- events ----------------------------------------------------------------------------------------------------

    def forked(self, child: Task, flags: int) -> None:
        """The task has made another one: that is an event, if the tracer wants it, and the child is traced too
        (kernel_clone, ptrace_init_task).
        """
        if flags & _CLONE_VFORK:
            event, option = Event.VFORK, Options.TRACEVFORK
        elif flags & _CLONE_SIGNAL == Sig.CHLD:
            event, option = Event.FORK, Options.TRACEFORK
        else:
            event, option = Event.CLONE, Options.TRACECLONE
        told = bool(self.options & option) and not flags & _CLONE_UNTRACED
        if told:
            self.event = event, self.tracer.sees(child.pid)
        if told or flags & _CLONE_PTRACE:
            made = Tracee(
                self._kernel, child, self.tracer, privileged=self.privileged, seized=self.seized, options=self.options
            )  # fmt: skip
            made.trap, made.orig_rax = self.seized, self.orig_rax
            if not self.seized:
                child.signals.add(SigInfo(Sig.STOP, SiCode.USER))

    def vfork_done(self, child: Task) -> None:
        """The child has memory of its own, or has ended."""
        if self.options & Options.TRACEVFORKDONE:
            self.event = Event.VFORK_DONE, self.tracer.sees(child.pid)

    def executed(self, old_pid: int) -> None:
        """execve(2) has succeeded; ``old_pid``: the number that the thread had before (ptrace_event in exec)."""
        self.debug_registers.clear()
        if self.options & Options.TRACEEXEC:
            self.event = Event.EXEC, self.tracer.sees(old_pid)
        elif not self.seized:
            task = self.task
            info = SigInfo(Sig.TRAP, SiCode.USER, pid=task.tgid, uid=task.credentials.uid)
            self._kernel.signals.send(task, Sig.TRAP, info)

    def stop_first(self, then: Callable[[], bool]) -> bool:
        """An event comes before what a call does further."""
        assert self.event is not None
        (event, message), self.event = self.event, None
        return self.stop_for(event, message, then)

    def tells_exit(self, status: int, then: Callable[[], bool]) -> bool:
        """A signal ends the process: whether the tracer is told first."""
        if not self.options & Options.TRACEEXIT or self._exit_told:
            return False
        self._exit_told = True
        self.stop_for(Event.EXIT, status, then)
        return True

    # -- the end ---------------------------------------------------------------------------------------------------

    def ended(self, status: int) -> None:
        """The task has ended; its tracer, who is not its parent or traces a mere thread, is told first."""
        self._is_last()
        self.ended_as, self.code, self.kind = status, 0, None
        signo = status & 0x7F
        code = CLD_EXITED if not signo else CLD_DUMPED if status & 0x80 else CLD_KILLED
        parent = self.tracer.group
        if parent.alive and parent.leader.signals.actions[Sig.CHLD].handler != SIG_IGN:
            uid, what = self.task.credentials.uid, signo or status >> 8
            info = SigInfo(Sig.CHLD, code, pid=self.task.pid, uid=uid, status=what)
            self._kernel.signals.send_to_process(parent.leader, Sig.CHLD, info)
        parent.child_exit.wake_all()

    def tracer_ended(self) -> None:
        """Nobody traces the task any more (exit_ptrace)."""
        if not self.task.alive:
            self._kernel.reap_traced(self.task)
            return
        if self.options & Options.EXITKILL:
            self._kernel.signals.send_to_process(self.task, Sig.KILL)
        self.detach()
