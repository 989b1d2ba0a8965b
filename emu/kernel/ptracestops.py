"""Tracing of one task by another: the stops of the task that is traced, and how it goes on (ptrace_stop in
kernel/signal.c).

A task that stops leaves the CPU in the middle of the kernel.  What it has to do next is kept as a function
(``Task.then``), which runs when its tracer has resumed it, with its registers in the CPU.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING

from emu.kernel.debug_registers import DebugRegisters
from emu.kernel.signal_state import (
    CLD_STOPPED,
    CLD_TRAPPED,
    SIG_IGN,
    SaFlags,
    SiCode,
    Sig,
    SigInfo,
)
from emu.kernel.task import TaskState
from emu.kernel.traced import StopKind, Traced

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

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


class TraceeStops(Traced):
    """The state of a traced task, and how it stops and goes on."""

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

    def _from_tracer(self, signo: int) -> SigInfo:
        """A signal that the tracer has given (ptrace_signal)."""
        tracer = self.tracer
        uid = self.task.credentials.shown("uid", tracer.credentials.uid)
        return SigInfo(signo, SiCode.USER, pid=self.task.sees(tracer.tgid), uid=uid)

    def _send_given(self) -> None:
        if self.signal:
            self._kernel.signals.send(self.task, self.signal, self._from_tracer(self.signal))

    def _trap(self, code: int) -> None:
        self._kernel.signals.force(self.task, SigInfo(Sig.TRAP, code, address=self.task.rip))

    # -- events ----------------------------------------------------------------------------------------------------

    def stop_for(self, event: Event, message: int, then: Callable[[], bool]) -> bool:
        """An event stop."""
        code = Sig.TRAP | event << 8
        return self.stop(StopKind.EVENT, code, self._own_info(Sig.TRAP, code), then, message=message)

    def stop_first(self, then: Callable[[], bool]) -> bool:
        """An event comes before what a call does further."""
        assert self.event is not None
        (event, message), self.event = self.event, None
        return self.stop_for(event, message, then)

    # -- stops of the process --------------------------------------------------------------------------------------

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
