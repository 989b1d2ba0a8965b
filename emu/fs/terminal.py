"""A terminal of the host (drivers/tty/tty_io.c, tty_ioctl.c): its modes and its size.

Modes go through to the host's terminal, and :meth:`Terminal.restore` undoes them.  Signals stay with the host: the key
for SIGINT (Ctrl-C) ends the run, whatever modes a guest has asked for.  There is no typing on behalf of the user
(TIOCSTI).
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios
from typing import TYPE_CHECKING

from emu.fs.hostfile import FIONREAD, HostDescriptor, HostFile
from emu.linux.errors import LinuxError

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.linux.caller import Caller
    from emu.linux.host_events import HostEvents

TCGETS, TCSETS, TCSETSW, TCSETSF = 0x5401, 0x5402, 0x5403, 0x5404
TCSBRK, TCFLSH = 0x5409, 0x540B
TIOCGPGRP, TIOCSPGRP, TIOCGSID = 0x540F, 0x5410, 0x5429
TIOCOUTQ, TIOCGWINSZ = 0x5411, 0x5413
TCGETS2, TCSETS2, TCSETSW2, TCSETSF2 = 0x802C542A, 0x402C542B, 0x402C542C, 0x402C542D

#: Requests whose answer the host's terminal gives: the size of the answer.
_ASKED = {TCGETS: 36, TCGETS2: 44, TIOCGWINSZ: 8, TIOCOUTQ: 4, FIONREAD: 4}
#: Requests that change its modes: the size of struct termios, or termios2.
_MODES = {TCSETS: 36, TCSETSW: 36, TCSETSF: 36, TCSETS2: 44, TCSETSW2: 44, TCSETSF2: 44}
#: Requests whose argument is a number.
_PASSED = frozenset({TCSBRK, TCFLSH})
#: c_lflag lies behind three other words; behind it come c_line and c_cc.
_LFLAG, _LFLAG_AT, _CC_AT = struct.Struct("=I"), 12, 17


class Terminal:
    """One terminal: what it must be like at the end, and its process group in the machine."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        #: The session that it belongs to, the machine's first process's, and its foreground process group.
        self.session = self.group = 0
        #: ISIG and VINTR of the modes that a guest has set last, which the host's terminal keeps as they were.
        self._wanted: tuple[int, int] | None = None
        self._before: list[object] | None = None
        self._interrupts = 0

    @property
    def name(self) -> str:
        """Its name below /dev."""
        try:
            return os.ttyname(self.fd).removeprefix("/dev/")
        except OSError:  # of another mount namespace
            return "console"

    def modes(self, command: int, size: int) -> bytes:
        """TCGETS."""
        data = bytearray(fcntl.ioctl(self.fd, command, bytes(size)))
        if self._wanted is not None:
            _set_interrupt(data, *self._wanted)
        return bytes(data)

    def set_modes(self, command: int, data: bytes) -> None:
        """TCSETS."""
        if self._before is None:
            self._before = termios.tcgetattr(self.fd)
            self._interrupts = fcntl.ioctl(self.fd, TCGETS, bytes(_MODES[TCSETS]))[_CC_AT + termios.VINTR]
        self._wanted = _LFLAG.unpack_from(data, _LFLAG_AT)[0] & termios.ISIG, data[_CC_AT + termios.VINTR]
        kept = bytearray(data)
        _set_interrupt(kept, termios.ISIG, self._interrupts)
        fcntl.ioctl(self.fd, command, bytes(kept))

    def restore(self) -> None:
        """Give the terminal the modes that it had, without waiting for what it has still to show."""
        before, self._before, self._wanted = self._before, None, None
        if before is not None:
            termios.tcsetattr(self.fd, termios.TCSANOW, before)  # type: ignore[arg-type]


def _set_interrupt(data: bytearray, isig: int, key: int) -> None:
    """Set ISIG and VINTR in a struct termios."""
    flags = _LFLAG.unpack_from(data, _LFLAG_AT)[0]
    _LFLAG.pack_into(data, _LFLAG_AT, flags & ~termios.ISIG | isig)
    data[_CC_AT + termios.VINTR] = key


class TerminalFile(HostFile):
    """An open terminal."""

    _piece = 512

    def __init__(self, path: Path, flags: int, host: HostDescriptor, events: HostEvents, terminal: Terminal) -> None:
        super().__init__(path, flags, host, events)
        self._terminal = terminal

    def ioctl(self, caller: Caller[Path], command: int, argument: int) -> int:
        try:
            done: int = self._host.guard(self._control, caller, command, argument)
            return done
        except OSError as error:
            raise LinuxError(error.errno or errno.EIO) from None

    def _control(self, caller: Caller[Path], command: int, argument: int) -> int:
        terminal, mm = self._terminal, caller.mm
        if command in (TCGETS, TCGETS2):
            mm.write(argument, terminal.modes(command, _ASKED[command]))
        elif command in _ASKED:
            mm.write(argument, fcntl.ioctl(terminal.fd, command, bytes(_ASKED[command])))
        elif command in _MODES:
            terminal.set_modes(command, mm.read(argument, _MODES[command]))
        elif command in _PASSED:
            fcntl.ioctl(terminal.fd, command, argument & 0xFFFF_FFFF)
        elif command == TIOCSPGRP:
            (terminal.group,) = struct.unpack("=i", mm.read(argument, 4))
        elif command in (TIOCGPGRP, TIOCGSID):
            mm.write(argument, struct.pack("=i", terminal.group if command == TIOCGPGRP else terminal.session))
        else:
            raise LinuxError(errno.ENOTTY)
        return 0
