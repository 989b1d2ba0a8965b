"""A pseudo-terminal, opened: the end at which programs read and write (drivers/tty/n_tty.c, tty_ioctl.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.file import WouldBlock
from emu.linux.errors import LinuxError
from emu.linux.fileflags import PollEvents
from emu.linux.wait import WaitQueue
from emu.tty import requests as req
from emu.tty.ptyfile import IN, INT, OUT, PtyFile
from emu.tty.termios import Cc, Lflag
from emu.tty.tty import SIGTTIN, SIGTTOU

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.linux.caller import Caller
    from emu.tty.pair import Pair

_HUP, _ERR = int(PollEvents.HUP), int(PollEvents.ERR)
_DECISECOND_NS = 100_000_000


class SlaveFile(PtyFile):
    """The terminal, opened."""

    def __init__(self, path: Path, flags: int, pty: Pair) -> None:
        super().__init__(path, flags, pty)
        pty.slaves += 1
        pty.had_slaves = True
        pty.line.receive(b"")
        #: When a call began that waits for input with a time limit (VTIME).
        self._since = 0
        self._hangups = pty.hangups

    @property
    def _hung(self) -> bool:
        return self._hangups != self.pty.hangups

    def release(self) -> None:
        self.pty.close_slave()

    # Data

    def read(self, count: int) -> bytes:
        pty, line = self.pty, self.pty.line
        if self._hung or not count:
            return b""
        pty.check_change(SIGTTIN)
        least, deadline = self._limits(count)
        if not line.readable(least):
            now = pty.jobs.now_ns()
            if (deadline is None or now < deadline) and not (self.nonblocking and line.readable()):
                raise WouldBlock(pty.input, deadline)
            if not line.readable():
                return b""
        data = line.read(count)
        pty.master_room.wake_all()
        return data

    def _limits(self, count: int) -> tuple[int, int | None]:
        """How many bytes to wait for, and until when: VMIN and VTIME."""
        line, jobs = self.pty.line, self.pty.jobs
        if line.canonical:
            return 1, None
        least, time = line.modes.cc[Cc.MIN], line.modes.cc[Cc.TIME] * _DECISECOND_NS
        now = jobs.now_ns()
        if not jobs.has_slept() or (least and not line.readable()):
            self._since = now
        if not least:
            return 1, self._since + time
        if not time:
            return min(least, count), None
        return min(least, count), self._since + time if line.readable() else None

    def prepare_write(self, count: int) -> int:
        pty = self.pty
        if self._hung:
            raise LinuxError(errno.EIO)
        if pty.line.modes.has(Lflag.TOSTOP):
            pty.check_change(SIGTTOU)
        if not pty.room:
            raise WouldBlock(pty.output)
        return super().prepare_write(count)

    def write(self, data: bytes) -> int:
        if self._hung:
            raise LinuxError(errno.EIO)
        done = self.pty.write(data)
        if not done and data:
            raise WouldBlock(self.pty.output)
        return done

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        pty, line = self.pty, self.pty.line
        if self._hung:
            return IN | OUT | _ERR | _HUP, ()
        least = line.modes.cc[Cc.MIN] if not line.modes.cc[Cc.TIME] else 1
        mask = (IN if line.readable(least or 1) else 0) | (OUT if pty.room else 0)
        return mask, (pty.input, pty.output)

    # Control

    def _check_change(self) -> None:
        self.pty.check_change(SIGTTOU)

    def unreadable(self) -> int:
        return self.pty.line.available()

    def group(self) -> int:
        return self.pty.foreground()

    def session(self) -> int:
        return self.pty.get_session()

    def ioctl(self, caller: Caller[Path], command: int, argument: int) -> int:
        if self._hung:
            raise LinuxError(errno.ENOTTY if command == req.TIOCSPGRP else errno.EIO)
        return super().ioctl(caller, command, argument)

    def _control(self, caller: Caller[Path], command: int, argument: int) -> int:
        pty = self.pty
        if command == req.TIOCSPGRP:
            pty.set_foreground(caller.means(INT.unpack(caller.mm.read(argument, 4))[0]))
        elif command == req.TIOCSCTTY:
            pty.set_controlling(argument == 1, readable=self.readable)
        elif command == req.TIOCNOTTY:
            pty.give_up()
        elif command == req.TCFLSH:
            if argument not in (req.TCIFLUSH, req.TCOFLUSH, req.TCIOFLUSH):
                raise LinuxError(errno.EINVAL)
            if argument != req.TCOFLUSH:
                pty.flush_input()
            if argument != req.TCIFLUSH:
                pty.flush_output()
        elif command == req.TCXONC:
            self._flow(argument)
        elif command == req.TIOCSTI:
            self._type(caller.mm.read(argument, 1))
        elif command == req.TIOCVHANGUP:
            if not pty.jobs.may_administer():
                raise LinuxError(errno.EPERM)
            pty.hang_up()
        else:
            raise LinuxError(errno.EIO if command == req.TIOCGPTPEER else errno.ENOTTY)
        return 0

    def _flow(self, action: int) -> None:
        """TCXONC."""
        pty = self.pty
        if action == req.TCOOFF:
            pty.line.stop()
        elif action == req.TCOON:
            pty.line.start()
        elif action in (req.TCIOFF, req.TCION):
            key = pty.line.modes.cc[Cc.STOP if action == req.TCIOFF else Cc.START]
            if key:
                pty.write(bytes((key,)))
        else:
            raise LinuxError(errno.EINVAL)

    def _type(self, data: bytes) -> None:
        """TIOCSTI: only for CAP_SYS_ADMIN, as with dev.tty.legacy_tiocsti = 0."""
        if not self.pty.jobs.may_administer():
            raise LinuxError(errno.EIO)
        self.pty.type(data)
