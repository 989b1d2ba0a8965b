"""Sending and delivering signals (kernel/signal.c)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from emu.kernel.jobctl import FIRST, LAST, JobControl
from emu.kernel.rlimit import limits_of
from emu.kernel.signal_state import (
    DUMPS_CORE,
    IGNORED_BY_DEFAULT,
    SIG_DFL,
    SIG_IGN,
    STOPS_BY_DEFAULT,
    SaFlags,
    SiCode,
    Sig,
    SigAction,
    SigInfo,
)
from emu.kernel.task import INIT_PID, Task, TaskState
from emu.linux.cost import Cost
from emu.linux.errors import LinuxError
from emu.linux.limits import Rlimit

if TYPE_CHECKING:
    from emu.cpu.cpu import Cpu
    from emu.kernel.pidns import SeenSignals
    from emu.kernel.sigframe import SignalFrames
    from emu.kernel.traced import Traced
    from emu.kernel.tracer import Tracer

_SIGNAL = Cost.SIGNAL
_NODEFER, _RESETHAND = int(SaFlags.NODEFER), int(SaFlags.RESETHAND)

_CORE_DUMPED = 0x80


class Signals:
    """The signal side of a kernel.

    ``wake`` makes a sleeping task runnable, ``hurry`` lets one run soon, ``exit`` ends the process of a task with a
    status, ``charge`` is told what its work costs, ``jobs`` stops and continues processes, ``tracer`` returns who
    is told of each delivery.
    """

    def __init__(
        self,
        cpu: Cpu,
        *,
        wake: Callable[[Task], None],
        hurry: Callable[[Task], None],
        exit: Callable[[Task, int], None],
        charge: Callable[[int], None],
        jobs: JobControl,
        tracer: Callable[[], Tracer],
    ) -> None:
        self._cpu = cpu
        self._wake = wake
        self._hurry = hurry
        self._exit = exit
        self._charge = charge
        self._jobs = jobs
        #: Writes the core of a process that a signal ends, and says whether there is one.
        self.dump_core: Callable[[Task, SigInfo], bool] = lambda task, info: False
        self._tracer = tracer
        self._made_frames: SignalFrames | None = None
        #: The signal, and its action, for which a frame has been made since somebody last looked here.
        self.made: tuple[SigInfo, SigAction] | None = None
        #: What receivers see of senders, once there are namespaces.
        self.apart: SeenSignals | None = None

    def send(self, task: Task, signo: int, info: SigInfo | None = None) -> None:
        """Send a signal to this one task; it is woken if it sleeps and the signal is not blocked."""
        if not task.alive or task.tgid == INIT_PID:
            return
        sent = self._prepared(task, task, signo, info)
        if sent is None:
            return
        task.signals.add(sent)
        task.group.signalfd.wake_all()
        if task.signals.deliverable():
            self._rouse(task, signo)

    def send_to_process(self, task: Task, signo: int, info: SigInfo | None = None) -> None:
        """Send a signal to the process of a task: to any thread that does not block it, the leader before the others
        (complete_signal).  If all block it, the first thread that unblocks it takes it.
        """
        group = task.group
        if not group.alive or group.tgid == INIT_PID:
            return
        sent = self._prepared(task, group.leader, signo, info)
        if sent is None:
            return
        group.pending.enqueue(sent)
        group.signalfd.wake_all()
        threads: Iterable[Task] = group.threads.values()
        if len(group.threads) > 1:
            threads = sorted(threads, key=lambda thread: thread is not group.leader)
        for thread in threads:
            if not thread.signals.blocked >> (signo - 1) & 1:
                self._rouse(thread, signo)
                return

    def _prepared(self, task: Task, receiver: Task, signo: int, info: SigInfo | None) -> SigInfo | None:
        """What of a signal's effect does not wait for its delivery (prepare_signal): what is to be pending, None where
        the ``receiver`` ignores it.
        """
        if self.apart is not None:
            if self.apart.shields(task, signo, info):
                return None
            info = self.apart.seen(task, info)
        if signo == Sig.KILL or FIRST <= signo <= LAST:
            self._act_at_once(task, signo)
        sent = info or SigInfo(signo, SiCode.KERNEL)
        if self.ignores(receiver, signo):
            self._tracer().ignored(receiver, sent)
            return None
        return sent

    def _rouse(self, task: Task, signo: int) -> None:
        """A task has a signal to take (signal_wake_up); one that ends or stops it does not wait for its turn."""
        self._wake(task)
        if task.signals.actions[signo].handler == SIG_DFL or signo in (Sig.KILL, Sig.STOP):
            self._hurry(task)

    def _act_at_once(self, task: Task, signo: int) -> None:
        """What SIGKILL, SIGCONT and the stop signals do when they are sent."""
        if signo == Sig.KILL:
            self._jobs.killed(task.group)
        else:
            self._jobs.prepare(task.group, signo)

    def dequeue(self, task: Task, wanted: int | None = None) -> SigInfo | None:
        """Take the next signal of a set (default: the unblocked ones); the timer that it came from goes on
        (dequeue_signal).
        """
        info = task.signals.take(wanted)
        if info is None:
            return None
        if task.group.timers is not None:
            task.group.timers.signal_taken(info.signo)
        return info if info.timer is None else info.timer.delivered()

    def ignores(self, task: Task, signo: int) -> bool:
        """Whether a signal would be ignored and so does not even become pending (sig_ignored)."""
        if task.signals.blocked >> (signo - 1) & 1 or signo in (Sig.KILL, Sig.STOP) or task.ptrace is not None:
            return False
        return self._ignored(signo, task.signals.actions[signo])

    def action_changed(self, task: Task, signo: int) -> None:
        """A signal that the new action ignores is not pending any more, blocked or not; the signal of a timer is, if it
        was ignored before (do_sigaction).
        """
        group = task.group
        if self._ignored(signo, task.signals.actions[signo]) and signo not in (Sig.KILL, Sig.STOP):
            self._jobs.flush(group, frozenset({signo}))
        elif group.timers is not None:
            group.timers.unignore(signo)

    def force(self, task: Task, info: SigInfo) -> None:
        """A signal that the task cannot defer (a fault): if it is blocked or ignored, the default action is taken."""
        signals = task.signals
        action = signals.actions[info.signo]
        bit = 1 << (info.signo - 1)
        if action.handler == SIG_IGN or signals.blocked & bit:
            signals.actions[info.signo] = SigAction()
            signals.blocked &= ~bit
        if signals.actions[info.signo].handler == SIG_DFL and task.ptrace is None:
            task.group.unkillable = False
        signals.add(info)

    @staticmethod
    def _ignored(signo: int, action: SigAction) -> bool:
        if action.handler == SIG_DFL:
            return signo in IGNORED_BY_DEFAULT
        return action.handler == SIG_IGN

    def deliver(self, task: Task) -> bool:
        """On the way back to user mode, with the task's registers in the CPU: act on every deliverable signal.

        False if the task has ended, or is stopped.
        """
        signals = task.signals
        if task.ptrace is not None and not self._goes_on_traced(task, task.ptrace):
            return False
        while task.alive:
            info = self.dequeue(task) if signals.pending or signals.shared else None
            if info is None:
                break
            if task.ptrace is not None:
                return task.ptrace.stop_for_signal(info, partial(self._act, task))
            if not self._act(task, info):
                return False
        if task.ptrace is not None:
            task.ptrace.without_handler()
        if signals.saved_mask is not None:
            signals.blocked, signals.saved_mask = signals.saved_mask, None
        return task.alive

    def fatal_status(self, task: Task, info: SigInfo) -> int:
        """The status word of a process that a signal ends; its core is written, if its limit allows one."""
        dumps = info.signo in DUMPS_CORE and limits_of(task, Rlimit.CORE)[0] and self.dump_core(task, info)
        return info.signo | (_CORE_DUMPED if dumps else 0)

    def _goes_on_traced(self, task: Task, tracee: Traced) -> bool:
        """SIGKILL comes before everything, and then a stop that the tracer wants.  Whether the task goes on."""
        if task.signals.pending_mask >> (Sig.KILL - 1) & 1:
            self._exit(task, Sig.KILL)
            return False
        return not tracee.traps()

    def _act(self, task: Task, info: SigInfo) -> bool:
        """A signal is delivered.  False if the task has ended, or is stopped."""
        self._tracer().signal(task, info)
        action = task.signals.actions[info.signo]
        if self._passes(task, info.signo, action):
            return task.state not in (TaskState.STOPPED, TaskState.TRACED)
        if action.handler == SIG_DFL or info.signo == Sig.KILL:
            status = self.fatal_status(task, info)
            if task.ptrace is None or not task.ptrace.tells_exit(status, partial(self._end, task, status)):
                self._exit(task, status)
            return False
        self._handle(task, info, action)  # the next frame lies on this one: its handler runs first
        return task.ptrace is None or not task.ptrace.stops_in_handler()

    def _end(self, task: Task, status: int) -> bool:
        self._exit(task, status)
        return False

    def pass_over(self, task: Task) -> None:
        """A call waits: act on signals that are harmless to the task, of which the call is to notice nothing."""
        while task.state != TaskState.STOPPED and (info := self.dequeue(task)) is not None:
            self._tracer().signal(task, info)
            self._passes(task, info.signo, task.signals.actions[info.signo])

    def _passes(self, task: Task, signo: int, action: SigAction) -> bool:
        """Whether a signal is over when it is delivered: it is ignored, or has stopped the process."""
        if signo == Sig.KILL:
            return False
        if task.group.unkillable and action.handler == SIG_DFL and signo != Sig.STOP:
            return True
        if signo == Sig.STOP or (signo in STOPS_BY_DEFAULT and action.handler == SIG_DFL):
            if self._jobs.stop(task, signo):
                for thread in task.group.threads.values():
                    self._tracer().stopped(thread, signo)
            return True
        return self._ignored(signo, action)

    @property
    def frames(self) -> SignalFrames:
        """Who makes frames."""
        if self._made_frames is None:
            from emu.kernel.sigframe import SignalFrames  # some ms, and many programs never get a signal

            self._made_frames = SignalFrames(self._cpu)
        return self._made_frames

    def restore(self, task: Task) -> int:
        """rt_sigreturn: back from a handler; returns RAX.  LinuxError(EFAULT) if the frame cannot be read."""
        return self.frames.restore(task)

    def _abort_sequence(self, task: Task, info: SigInfo) -> bool:
        """A handler interrupts a restartable sequence; False if that is SIGSEGV instead (rseq_signal_deliver)."""
        from emu.kernel.rseq import abort

        try:
            abort(task)
        except LinuxError:
            if info.signo == Sig.SEGV:
                task.signals.actions[Sig.SEGV] = SigAction()
            self.force(task, SigInfo(Sig.SEGV, SiCode.KERNEL))
            return False
        return True

    def _handle(self, task: Task, info: SigInfo, action: SigAction) -> None:
        self._charge(_SIGNAL)
        if task.ptrace is not None:
            task.ptrace.before_handler(action)
        signals = task.signals
        old_mask = signals.blocked if signals.saved_mask is None else signals.saved_mask
        signals.saved_mask = None
        if task.rseq is not None and not self._abort_sequence(task, info):
            return
        if not self.frames.setup(task, info, action, old_mask):
            # no room for the frame: SIGSEGV by default action (force_sigsegv)
            if info.signo == Sig.SEGV:
                signals.actions[Sig.SEGV] = SigAction()
            self.force(task, SigInfo(Sig.SEGV, SiCode.KERNEL))
            return
        self.made = info, action
        signals.blocked |= action.mask
        if not action.flags & _NODEFER:
            signals.blocked |= 1 << (info.signo - 1)
        if action.flags & _RESETHAND:
            signals.actions[info.signo] = action._replace(handler=SIG_DFL)
