"""Signals: numbers, siginfo, actions, and the signals pending and blocked in one task
(include/uapi/asm-generic/siginfo.h).
"""

from __future__ import annotations

import errno
import struct
from enum import IntEnum, IntFlag
from typing import NamedTuple, Protocol

from emu.linux.errors import LinuxError
from emu.mm.kmem import SIGQUEUE, Kmem
from mmu.record import field, record

NSIG = 64


class Sig(IntEnum):
    """SIG* of x86-64."""

    HUP, INT, QUIT, ILL, TRAP, ABRT, BUS, FPE, KILL, USR1, SEGV, USR2, PIPE, ALRM, TERM, STKFLT, CHLD, CONT, STOP = (
        range(1, 20)
    )
    TSTP, TTIN, TTOU, URG, XCPU, XFSZ, VTALRM, PROF, WINCH, IO, PWR, SYS = range(20, 32)


class SaFlags(IntFlag):
    """SA_*."""

    NOCLDSTOP = 0x1
    NOCLDWAIT = 0x2
    SIGINFO = 0x4
    RESTORER = 0x04000000
    ONSTACK = 0x08000000
    RESTART = 0x10000000
    NODEFER = 0x40000000
    RESETHAND = 0x80000000


class SiCode(IntEnum):
    """si_code values that belong to more than one signal."""

    USER = 0
    KERNEL = 0x80
    QUEUE = -1
    TIMER = -2
    TKILL = -6


SEGV_MAPERR, SEGV_ACCERR = 1, 2
BUS_ADRALN, BUS_ADRERR = 1, 2
FPE_INTDIV, FPE_FLTDIV, FPE_FLTOVF, FPE_FLTUND, FPE_FLTRES, FPE_FLTINV = 1, 3, 4, 5, 6, 7
ILL_ILLOPN, ILL_PRVOPC = 2, 5
TRAP_BRKPT, TRAP_TRACE, TRAP_HWBKPT = 1, 2, 4
CLD_EXITED, CLD_KILLED, CLD_DUMPED, CLD_TRAPPED, CLD_STOPPED, CLD_CONTINUED = range(1, 7)

SIG_DFL, SIG_IGN = 0, 1
#: Flags of a signal stack.
SS_ONSTACK, SS_DISABLE, SS_AUTODISARM = 1, 2, 1 << 31
_MINSIGSTKSZ = 2048
#: The most signals that are pending at once in a task, and in a process.
_MAX_QUEUED = 1024

#: Default actions other than "terminate".
IGNORED_BY_DEFAULT = frozenset({Sig.CHLD, Sig.URG, Sig.WINCH, Sig.CONT})
STOPS_BY_DEFAULT = frozenset({Sig.STOP, Sig.TSTP, Sig.TTIN, Sig.TTOU})
#: Those whose default action is to dump core.
DUMPS_CORE = frozenset({Sig.QUIT, Sig.ILL, Sig.TRAP, Sig.ABRT, Sig.BUS, Sig.FPE, Sig.SEGV, Sig.XCPU, Sig.XFSZ, Sig.SYS})
UNBLOCKABLE = 1 << (Sig.KILL - 1) | 1 << (Sig.STOP - 1)
SYNCHRONOUS = (Sig.SEGV, Sig.BUS, Sig.ILL, Sig.TRAP, Sig.FPE, Sig.SYS)


def signal_name(number: int) -> str:
    """``SIGSEGV``, or ``SIGRT_n``."""
    return f"SIG{Sig(number).name}" if number < 32 else f"SIGRT_{number - 32}"


class SignalTimer(Protocol):
    """The timer that a signal comes from."""

    def ignored(self) -> None:
        """Its signal was discarded, as it is ignored."""

    def delivered(self) -> SigInfo:
        """The signal is being taken: what it says then."""


#: siginfo_t of kill(2) and tgkill(2): si_signo, si_errno, si_code, si_pid, si_uid, si_value.
_FROM_A_PROCESS = struct.Struct("<iii4xiIQ96x")


class SigInfo(NamedTuple):
    """siginfo_t: the signal, its cause, and the fields of its kind."""

    signo: int
    code: int
    address: int = 0
    pid: int = 0
    uid: int = 0
    status: int = 0
    #: sigev_value or si_value.
    value: int = 0
    #: Of a POSIX timer's signal: the timer's number, how often it would have expired besides, and the timer itself.
    timer_id: int = 0
    overrun: int = 0
    timer: SignalTimer | None = None
    #: The siginfo_t that a program gave (rt_sigqueueinfo), which is passed on as it is.
    given: bytes = b""
    #: Of a child that has ended: its user and system time, in ticks of a hundredth of a second.
    utime: int = 0
    stime: int = 0

    def pack(self) -> bytes:
        """The 128 bytes that a handler gets."""
        if self.given:
            return self.given
        if self.code == SiCode.USER or self.code == SiCode.TKILL:
            return _FROM_A_PROCESS.pack(self.signo, 0, self.code, self.pid, self.uid, self.value)
        head = struct.pack("<iiii", self.signo, 0, self.code, 0)
        if self.signo in (Sig.SEGV, Sig.BUS, Sig.ILL, Sig.FPE, Sig.TRAP) and self.code > 0:
            body = struct.pack("<Q", self.address)
        elif self.signo == Sig.CHLD and self.code > 0:
            body = struct.pack("<iIi4xqq", self.pid, self.uid, self.status, self.utime, self.stime)
        elif self.code == SiCode.TIMER:
            body = struct.pack("<iiQ", self.timer_id, self.overrun, self.value)
        else:
            body = struct.pack("<iIQ", self.pid, self.uid, self.value)
        return (head + body).ljust(128, b"\0")


class AltStack(NamedTuple):
    """stack_t: the stack on which handlers with SA_ONSTACK run."""

    sp: int = 0
    size: int = 0
    #: As they were given; a process has none at first, and a thread SS_DISABLE (sas_ss_reset).
    flags: int = 0

    def holds(self, rsp: int) -> bool:
        """Whether an address lies on it (__on_sig_stack)."""
        return self.sp < rsp <= self.sp + self.size

    def in_use(self, rsp: int) -> bool:
        """Whether it must stay as it is: with SS_AUTODISARM it may be changed at any time (on_sig_stack)."""
        return not self.flags & SS_AUTODISARM and self.holds(rsp)

    def mode(self, rsp: int) -> int:
        """SS_DISABLE, SS_ONSTACK, or 0 if the next handler would begin at its top (sas_ss_flags)."""
        if not self.size:
            return SS_DISABLE
        return SS_ONSTACK if self.in_use(rsp) else 0

    def replaced(self, new: AltStack, rsp: int) -> AltStack:
        """What sigaltstack(2) makes of it.  LinuxError(EPERM) if it is in use, (EINVAL), (ENOMEM) if it is too small
        (do_sigaltstack).
        """
        if self.in_use(rsp):
            raise LinuxError(errno.EPERM)
        mode = new.flags & ~SS_AUTODISARM
        if mode not in (0, SS_ONSTACK, SS_DISABLE):
            raise LinuxError(errno.EINVAL)
        if new == self:
            return self
        if mode == SS_DISABLE:
            return AltStack(flags=new.flags)
        if new.size < _MINSIGSTKSZ:
            raise LinuxError(errno.ENOMEM)
        return new


NO_STACK = AltStack(flags=SS_DISABLE)


class SigAction(NamedTuple):
    """struct sigaction of the kernel."""

    handler: int = SIG_DFL
    flags: int = 0
    restorer: int = 0
    mask: int = 0


class SigPending(list[SigInfo]):
    """The pending signals of a task or of a process, charged to ``kmem``."""

    def __init__(self, kmem: Kmem) -> None:
        self.kmem = kmem  # and it is empty

    def enqueue(self, info: SigInfo) -> None:
        """Make a signal pending; a standard signal that is pending already is not queued twice, and without memory no
        signal is (__send_signal_locked).  That of a timer always is: there is one for each timer.
        """
        if info.timer is None and (self.full or (info.signo < 32 and self._holds(info.signo))):
            return
        try:
            self.kmem.charge(SIGQUEUE)
        except LinuxError:
            if info.timer is None and self._holds(info.signo):
                return
            self.kmem.charge_reserved(SIGQUEUE)
        self.append(info)

    @property
    def full(self) -> bool:
        """Whether there is no room for another signal."""
        return len(self) >= _MAX_QUEUED

    def dequeue(self, info: SigInfo) -> None:
        """A signal has been taken."""
        self.remove(info)
        self.kmem.uncharge(SIGQUEUE)

    def flush(self) -> None:
        """Nobody will take them."""
        self.kmem.uncharge(SIGQUEUE * len(self))
        self.clear()

    def _holds(self, signo: int) -> bool:
        return any(info.signo == signo for info in self)


def _precedence(info: SigInfo) -> tuple[bool, int]:
    return info.signo not in SYNCHRONOUS, info.signo


def mask_of(queue: list[SigInfo]) -> int:
    """The set of signals in a queue."""
    mask = 0
    for info in queue:
        mask |= 1 << (info.signo - 1)
    return mask


@record(eq=False, repr=False)
class SignalState:
    """One task's actions for signals, its mask, and its pending signals.

    ``actions`` and ``shared``, the signals that any thread may take, are common to all threads of the process.
    """

    pending: SigPending
    shared: SigPending

    actions: list[SigAction] = field(default_factory=lambda: [SigAction()] * (NSIG + 1))
    blocked: int = 0
    alt_stack: AltStack = field(default_factory=AltStack)
    #: The mask to put back after rt_sigsuspend, once a handler has its frame.
    saved_mask: int | None = None

    def of_thread(self, pending: SigPending, shared: SigPending) -> SignalState:
        """Those of another thread of the process, which has the same actions and mask."""
        signals = object.__new__(SignalState)  # threads are made often
        signals.pending, signals.shared, signals.actions = pending, shared, self.actions
        signals.blocked, signals.alt_stack, signals.saved_mask = self.blocked, NO_STACK, None
        return signals

    def add(self, info: SigInfo) -> None:
        """Make a signal pending for this task."""
        self.pending.enqueue(info)

    def deliverable(self) -> bool:
        """Whether a pending signal is not blocked."""
        if not self.pending and not self.shared:
            return False
        return self.has(~self.blocked)

    def has(self, wanted: int) -> bool:
        """Whether a signal of this set is pending."""
        return any(wanted >> (info.signo - 1) & 1 for queue in (self.pending, self.shared) for info in queue)

    def take(self, wanted: int | None = None) -> SigInfo | None:
        """The next signal of a set (default: the unblocked ones): the task's own before the process's, and in each
        queue synchronous signals first, then the lowest number (dequeue_signal).
        """
        mask = ~self.blocked if wanted is None else wanted
        for queue in (self.pending, self.shared):
            if not queue:
                continue
            ready = [info for info in queue if mask >> (info.signo - 1) & 1]
            if ready:
                chosen = ready[0] if len(ready) == 1 else min(ready, key=_precedence)
                queue.dequeue(chosen)
                return chosen
        return None

    def harmless(self) -> bool:
        """Whether what can be delivered neither ends the task nor finds a handler."""
        ready = [info.signo for queue in (self.pending, self.shared) for info in queue]
        return all(self._survives(signo) for signo in ready if not self.blocked >> (signo - 1) & 1)

    def fatal(self) -> bool:
        """Whether one of those that can be delivered ends the task (fatal_signal_pending)."""
        ready = [info.signo for queue in (self.pending, self.shared) for info in queue]
        return any(
            not self._survives(signo) and (signo == Sig.KILL or self.actions[signo].handler == SIG_DFL)
            for signo in ready
            if not self.blocked >> (signo - 1) & 1
        )

    def _survives(self, signo: int) -> bool:
        handler = self.actions[signo].handler
        by_default = signo in IGNORED_BY_DEFAULT or signo in STOPS_BY_DEFAULT
        return signo == Sig.STOP or (signo != Sig.KILL and (handler == SIG_IGN or (by_default and handler == SIG_DFL)))

    def first_caught(self) -> SigAction | None:
        """The action of the first signal that :meth:`take` will find a handler for."""
        for queue in (self.pending, self.shared):
            for info in sorted(queue, key=_precedence):
                action = self.actions[info.signo]
                if not self.blocked >> (info.signo - 1) & 1 and action.handler not in (SIG_DFL, SIG_IGN):
                    return action
        return None

    @property
    def pending_mask(self) -> int:
        """The set of pending signals (sigset_t), the process's included."""
        return mask_of(self.pending) | mask_of(self.shared)
