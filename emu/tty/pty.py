"""Pseudo-terminals: a terminal whose keyboard and screen are a descriptor, the master (drivers/tty/pty.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.file import WouldBlock
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags, PollEvents
from emu.linux.wait import WaitQueue
from emu.mm.kmem import FILP, INODE
from emu.tty import requests as req
from emu.tty.line import MAX_INPUT
from emu.tty.pair import MAX_OUTPUT, Pair
from emu.tty.ptyfile import IN, INT, OUT, PtyFile
from emu.tty.slave import SlaveFile

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.linux.caller import Caller

_HUP, _PRI = int(PollEvents.HUP), int(PollEvents.PRI)


class Pty(Pair):
    """A pair whose terminal can be opened by its name."""

    def open(self, path: Path, flags: int) -> SlaveFile:
        """open(2).  LinuxError(EIO) while it is locked, (EBUSY) if another has it for itself."""
        if self.locked or not self.master_open:
            raise LinuxError(errno.EIO)
        if self.exclusive and not self.jobs.may_administer():
            raise LinuxError(errno.EBUSY)
        file = SlaveFile(path, flags, self)
        if not flags & OpenFlags.NOCTTY:
            self.opened(readable=file.readable)
        return file


class MasterFile(PtyFile):
    """The other end: what is typed is written here, what is shown is read here."""

    #: With the pair, what is on its way in both directions, and the name in devpts.
    struct_size = FILP + 2 * INODE + MAX_OUTPUT + 4 * MAX_INPUT

    def release(self) -> None:
        self.pty.close_master()

    @property
    def _alone(self) -> bool:
        """The terminal was open, and is no more."""
        return self.pty.had_slaves and not self.pty.slaves

    def read(self, count: int) -> bytes:
        pty = self.pty
        if not count:
            return b""
        if not pty.has_shown:
            if self._alone:
                raise LinuxError(errno.EIO)
            raise WouldBlock(pty.master_input)
        return pty.take(count)

    def prepare_write(self, count: int) -> int:
        if not self.pty.line.room:
            raise WouldBlock(self.pty.master_room)
        return super().prepare_write(count)

    def write(self, data: bytes) -> int:
        done = self.pty.type(data)
        if not done and data:
            raise WouldBlock(self.pty.master_room)
        return done

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        pty = self.pty
        mask = (IN if pty.has_shown else 0) | (OUT if pty.line.room else 0) | (_HUP if self._alone else 0)
        if pty.packet.pending:
            mask |= _PRI
        return mask, (pty.master_input, pty.master_room)

    def unreadable(self) -> int:
        return self.pty.shown_bytes

    def _control(self, caller: Caller[Path], command: int, argument: int) -> int:
        pty, mm = self.pty, caller.mm
        answers = {
            req.TIOCGPTN: pty.number, req.TIOCGPTLCK: int(pty.locked), req.TIOCGPKT: int(pty.packet.on)
        }  # fmt: skip
        if command in answers:
            mm.write(argument, INT.pack(answers[command]))
        elif command == req.TIOCGPTPEER:
            return pty.jobs.open_peer(pty.name, argument)
        elif command == req.TIOCSCTTY:
            pty.set_controlling(argument == 1, readable=self.readable)
        elif command == req.TIOCSPTLCK:
            pty.locked = bool(INT.unpack(mm.read(argument, 4))[0])
        elif command == req.TIOCPKT:
            pty.packet.turn(bool(INT.unpack(mm.read(argument, 4))[0]))
        elif command == req.TIOCSIG:
            if not 1 <= argument <= 64:
                raise LinuxError(errno.EINVAL)
            pty.signal_foreground(argument)
        elif command == req.TCFLSH:
            if argument != req.TCIFLUSH:
                pty.flush_input()
            if argument != req.TCOFLUSH:
                pty.flush_output()
        else:
            raise LinuxError(errno.ENOTTY)
        return 0
