"""Tracing of one task by another, ptrace(2): instructions, signals, events and the end of the task that is traced
(kernel/ptrace.c).  This has nothing to do with the trace of events (:mod:`emu.kernel.tracer`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.kernel.ptracecalls import TraceeCalls
from emu.kernel.ptracestops import Event, Options
from emu.kernel.signal_state import (
    CLD_DUMPED,
    CLD_EXITED,
    CLD_KILLED,
    SIG_IGN,
    TRAP_HWBKPT,
    SiCode,
    Sig,
    SigInfo,
)
from emu.kernel.traced import StopKind
from emu.linux.errors import LinuxError
from emu.mm.gup import read_remote

if TYPE_CHECKING:
    from emu.kernel.task import Task

#: Of the flags of clone(2).
_CLONE_SIGNAL, _CLONE_PTRACE, _CLONE_VFORK, _CLONE_UNTRACED = 0xFF, 0x2000, 0x4000, 0x800000


class Tracee(TraceeCalls):
    """The state of a traced task (``task.ptrace``)."""

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

    def _read(self, address: int, length: int) -> bytes:
        try:
            return read_remote(self.task.mm, address, length, force=True)
        except LinuxError:
            return b""

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
