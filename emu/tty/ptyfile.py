"""What the descriptors of a pseudo-terminal and of its master have in common: ioctls, mostly."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from emu.fs.file import File
from emu.linux.errors import LinuxError
from emu.linux.fileflags import PollEvents
from emu.tty import requests as req
from emu.tty.termios import Termios
from emu.tty.tty import WINSIZE

if TYPE_CHECKING:
    from collections.abc import Callable

    from emu.fs.dentry import Path
    from emu.linux.caller import Caller
    from emu.tty.pair import Pair

INT = struct.Struct("=i")
IN, OUT = int(PollEvents.IN | PollEvents.RDNORM), int(PollEvents.OUT | PollEvents.WRNORM)


class PtyFile(File):
    """What master and terminal have in common."""

    seekable = False

    def __init__(self, path: Path, flags: int, pty: Pair) -> None:
        super().__init__(path, flags)
        self.pty = pty

    def lseek(self, offset: int, whence: int) -> int:
        raise LinuxError(errno.ESPIPE)

    def unread(self, data: bytes, stored: int) -> int:
        """What the buffer could not hold is lost."""
        return stored

    def ioctl(self, caller: Caller[Path], command: int, argument: int) -> int:
        pty, mm = self.pty, caller.mm
        if command in req.CHANGES:
            self._check_change()
        if command in req.GET_MODES:
            mm.write(argument, pty.line.modes.pack(req.GET_MODES[command]))
        elif command in req.SET_MODES:
            size, flush = req.SET_MODES[command]
            modes = Termios.unpack(mm.read(argument, size))
            if flush:
                pty.flush_input()
            pty.set_modes(modes)
        elif command == req.TIOCGWINSZ:
            mm.write(argument, pty.winsize)
        elif command == req.TIOCSWINSZ:
            pty.resize(mm.read(argument, WINSIZE.size))
        elif command in _ANSWERS:
            answer = _ANSWERS[command](self)
            mm.write(argument, INT.pack(caller.sees(answer) if command in req.OF_PROCESSES else answer))
        elif command in (req.TCSBRK, req.TCSBRKP, req.TIOCNXCL, req.TIOCEXCL):
            if command in (req.TIOCNXCL, req.TIOCEXCL):
                pty.exclusive = command == req.TIOCEXCL
        elif command == req.TIOCSETD:
            if INT.unpack(mm.read(argument, 4))[0]:
                raise LinuxError(errno.EINVAL)
        else:
            return self._control(caller, command, argument)
        return 0

    def _check_change(self) -> None:
        """Whether the caller may change the terminal."""

    def _control(self, caller: Caller[Path], command: int, argument: int) -> int:
        raise LinuxError(errno.ENOTTY)

    def unreadable(self) -> int:
        """FIONREAD."""
        return 0

    def group(self) -> int:
        """TIOCGPGRP."""
        return self.pty.pgrp

    def session(self) -> int:
        """TIOCGSID."""
        if not self.pty.session:
            raise LinuxError(errno.ENOTTY)
        return self.pty.session


#: Requests whose answer is a number.
_ANSWERS: dict[int, Callable[[PtyFile], int]] = {
    req.FIONREAD: lambda file: file.unreadable(),
    req.TIOCOUTQ: lambda file: 0,
    req.TIOCGETD: lambda file: 0,
    req.TIOCGPGRP: lambda file: file.group(),
    req.TIOCGSID: lambda file: file.session(),
    req.TIOCGDEV: lambda file: file.pty.rdev,
    req.TIOCGEXCL: lambda file: int(file.pty.exclusive),
}
