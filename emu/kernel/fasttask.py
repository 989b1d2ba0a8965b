"""What a task must be like for native answers to be possible (:mod:`emu.kernel.fastpath`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.kernel.jobctl import FIRST, LAST
from emu.kernel.signal_state import SaFlags, SiCode
from emu.linux.clock import CPUTIME

if TYPE_CHECKING:
    from emu.kernel.signal_state import SigAction, SigInfo
    from emu.kernel.sigregs import SignalRegisters
    from emu.kernel.task import Task

_RESETHAND = int(SaFlags.RESETHAND)
_LOW_32, _LAST_POSITIVE = 0xFFFF_FFFF, 0x7FFF_FFFF
#: The numbers of clocks of CPU time: that of the thread, or the complement of a process's number, and these three bits.
_THREAD_CLOCK = CPUTIME["THREAD_CPUTIME_ID"]
_OF_THREAD, _WHICH, _USER_ONLY = 4, 3, 1


def counts_thread(task: Task, clock: int) -> bool | None:
    """Whether a clock that there is counts all CPU time of the task, or (False) of its process; None if neither."""
    if clock <= _LAST_POSITIVE:
        return clock == _THREAD_CLOCK
    of_thread = bool(clock & _OF_THREAD)
    number = task.means((_LOW_32 - clock) >> 3)
    if clock & _WHICH == _USER_ONLY or number not in (0, task.pid if of_thread else task.group.leader.pid):
        return None
    return of_thread


def is_plain(task: Task) -> bool:
    """Whether nothing is to be done with the task on its way to user mode, and nobody looks at its calls."""
    signals = task.signals
    if signals.pending or signals.shared or signals.saved_mask is not None or task.group.timers is not None:
        return False
    if task.ptrace is not None or task.seccomp is not None or task.then is not None:
        return False
    return not task.stopped_in_call and task.timer is None and bool(task.affinity & 1)


def sent_itself(task: Task, info: SigInfo, registers: SignalRegisters) -> bool:
    """Whether a signal came by kill(2) of the task, whose call the frame returns from."""
    if info.code != SiCode.USER or info.pid != task.tgid:
        return False
    from emu.kernel.sigregs import saved_call  # it is there already

    number, signo, result = saved_call(registers)
    return number == task.tgid and signo == info.signo and result == 0


def comes_again(task: Task, info: SigInfo, action: SigAction) -> bool:
    """Whether nothing else is to be done when a task sends itself such a signal again."""
    group = task.group
    if len(group.threads) > 1 or group.timers is not None or group.signalfd.awaited or task.rseq is not None:
        return False
    return not (FIRST <= info.signo <= LAST or action.flags & _RESETHAND or info.given or info.value)
