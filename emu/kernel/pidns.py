"""What tasks see of each other between PID namespaces, and what signals between them say (kernel/pid.c, signal.c)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.kernel.signal_state import SIG_DFL, SiCode, Sig, SigInfo
from emu.linux.errors import LinuxError
from emu.linux.namespace import Namespace
from emu.linux.pidns import PidNamespace

if TYPE_CHECKING:
    from emu.kernel.task import Task

#: si_pid and si_uid, and where they are in a siginfo_t.
_WHO, _WHO_AT = struct.Struct("<iI"), 16


def numbers(task: Task, machine: int, outermost: Namespace | None) -> list[int]:
    """The numbers of something in a PID namespace and in those inside it that a task is in, from the outside in."""
    spaces = [] if task.pid_ns is None else list(task.pid_ns.around)[::-1]
    if isinstance(outermost, PidNamespace):
        if outermost not in spaces:
            return [0]
        return [space.shown(machine) for space in spaces[spaces.index(outermost) :]]
    return [machine, *(space.shown(machine) for space in spaces)]


class SeenSignals:
    """Signals between namespaces: what a receiver sees of the sender (send_signal_locked)."""

    def __init__(self, current: Callable[[], Task | None]) -> None:
        """``current``: the task that makes a call."""
        self._current = current

    def shields(self, target: Task, signo: int, info: SigInfo | None) -> bool:
        """Whether the first process of a namespace does not get a signal: it has no handler, and nobody outside sends
        one that it could not catch (sig_task_ignored).
        """
        signals = target.signals
        if not target.group.unkillable or signals.actions[signo].handler != SIG_DFL or signals.blocked >> signo - 1 & 1:
            return False
        forced = info is None or info.code == SiCode.KERNEL or not self._sees_sender(target)
        return not (forced and signo in (Sig.KILL, Sig.STOP))

    def _sees_sender(self, target: Task) -> bool:
        sender = self._current()
        return sender is not None and (target.pid_ns is None or bool(target.pid_ns.shown(sender.pid)))

    def seen(self, target: Task, info: SigInfo | None) -> SigInfo | None:
        """The siginfo_t as the target gets it."""
        if info is None or (info.code > 0 and info.signo != Sig.CHLD) or info.timer is not None:
            return info
        who, space = target.credentials, target.pid_ns
        if not info.given:
            pid = info.pid if space is None else space.shown(info.pid)
            return info._replace(pid=pid, uid=who.shown("uid", info.uid))
        pid, uid = info.pid if self._sees_sender(target) else 0, info.uid
        sender = self._current()
        if sender is not None and sender.credentials.user_ns is not who.user_ns:
            try:
                uid = who.shown("uid", sender.credentials.down("uid", uid))
            except LinuxError:
                uid = who.shown("uid", -1)
        given = info.given[:_WHO_AT] + _WHO.pack(pid, uid) + info.given[_WHO_AT + _WHO.size :]
        return info._replace(pid=pid, uid=uid, given=given)
