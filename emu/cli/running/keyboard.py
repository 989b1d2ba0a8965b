"""The keys of the host's terminal that make signals, for the guest: Ctrl-C, Ctrl-\\, Ctrl-Z, and the window's size.

The machine hears of a key between two turns.  Where the guest hangs, Ctrl-C is for unimmu after all: when it has been
pressed three times, over at least a second, and no guest has used the terminal since, the run ends.  That is so as well
where a guest has switched the keys off (ISIG), and reads what is typed.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emu.cli.streams import Stopper
    from emu.kernel.threadgroup import ThreadGroup
    from emu.machine import Machine
    from emu.tty.host import HostTty

_PRESSES, _SECONDS = 3, 1.0
_CTRL_C = b"\x03"


class Keyboard:
    """Installed while a machine runs whose standard streams have a terminal."""

    def __init__(self, machine: Machine, tty: HostTty, stopper: Stopper) -> None:
        self._machine, self._tty, self._stopper = machine, tty, stopper
        self._before: dict[int, Any] = {}
        #: How often Ctrl-C was pressed since a guest has used the terminal, when first, and how often they had then.
        self._presses, self._first, self._uses = 0, 0.0, -1

    def __enter__(self) -> Keyboard:
        kernel = self._machine.kernel
        self._stopper.key = self._interrupt
        self._tty.heard = self._heard
        kernel.scheduler.host.listeners.append(self._tty.listen)
        kernel.scheduler.host.keyboard = True
        kernel.jobs.on_stopped = lambda group: kernel.scheduler.post(lambda: self._suspend(group))
        handlers: dict[int, Callable[[], object]] = {
            signal.SIGQUIT: lambda: self._tty.signal_foreground(signal.SIGQUIT),
            signal.SIGTSTP: lambda: self._tty.signal_foreground(signal.SIGTSTP),
            signal.SIGWINCH: self._tty.resized,
        }
        for number, work in handlers.items():
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handler(work))
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._stopper.key = None

    def _handler(self, work: Callable[[], object]) -> Callable[[int, FrameType | None], None]:
        def handler(_number: int, _frame: FrameType | None) -> None:
            self._machine.kernel.scheduler.post(work)

        return handler

    def _interrupt(self) -> bool:
        """Ctrl-C: whether it is for the guest."""
        if self._hangs():
            return False
        self._machine.kernel.scheduler.post(lambda: self._tty.signal_foreground(signal.SIGINT))
        return True

    def _heard(self, typed: bytes) -> None:
        for _ in range(typed.count(_CTRL_C)):
            if self._hangs():
                self._stopper.interrupt()

    def _hangs(self) -> bool:
        """Ctrl-C was pressed once more: whether that was often enough, without an answer."""
        now, uses = time.monotonic(), self._tty.uses
        if uses != self._uses:
            self._presses, self._first, self._uses = 0, now, uses
        self._presses += 1
        return self._presses >= _PRESSES and now - self._first >= _SECONDS

    def _suspend(self, group: ThreadGroup) -> None:
        """What was started here has stopped: unimmu stops too, and when it is continued, so is the guest."""
        if not group.stopped_by:
            return
        ttys = self._machine.kernel.ttys
        ttys.restore()
        handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, handler)
        ttys.give_back()
        self._machine.kernel.jobs.signal_group(group.pgid, signal.SIGCONT)
