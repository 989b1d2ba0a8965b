"""The host's terminal as the machine's (drivers/tty/tty_io.c): its lines, its echo and its keys are the host's work.

Modes go through to the host's terminal, and :meth:`HostTty.restore` undoes them.  One thing is kept there: the host's
terminal goes on to make a signal of the interrupt key where a guest wants the bare character, so that a user can always
reach the emulator; :meth:`HostTty.press` then gives the guest its character.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios
from typing import TYPE_CHECKING

from emu.fs.hostfile import HostDescriptor, HostFile, flags_of
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags, PollEvents
from emu.tty import requests as req
from emu.tty.termios import DISABLED, TERMIOS_SIZE, Cc, Lflag, Termios
from emu.tty.tty import SIGTTIN, SIGTTOU, SIGWINCH, WINSIZE, Tty

if TYPE_CHECKING:
    from collections.abc import Callable

    from emu.fs.dentry import Path
    from emu.linux.caller import Caller
    from emu.linux.host_events import HostEvents
    from emu.linux.wait import WaitQueue
    from emu.tty.tty import Jobs

_INT = struct.Struct("=i")
_IN = int(PollEvents.IN | PollEvents.RDNORM)
#: Requests whose answer the host's terminal gives: the size of the answer.
_ASKED = {req.TIOCGWINSZ: WINSIZE.size, req.TIOCOUTQ: 4, req.FIONREAD: 4}
#: Requests whose argument is a number, and that the host carries out.
_PASSED = frozenset({req.TCSBRK, req.TCFLSH, req.TCXONC})
_KEYS = {2: Cc.INTR, 3: Cc.QUIT, 20: Cc.SUSP}


class HostTty(Tty):
    """One terminal of the host, by one of its descriptors."""

    def __init__(self, jobs: Jobs, fd: int, host: HostDescriptor, events: HostEvents) -> None:
        super().__init__(jobs)
        self.fd, self.host, self._events = fd, host, events
        self.name = _name_of(fd)
        self.rdev = os.fstat(fd).st_rdev
        #: How often guests have read from it or written there: whether somebody is there who answers a key.
        self.uses = 0
        #: The modes that a guest has set last, and those from before.
        self._wanted: Termios | None = None
        self._before: list[object] | None = None

    # -- modes -----------------------------------------------------------------------------------------------------

    def _host_modes(self, command: int = req.TCGETS, size: int = TERMIOS_SIZE) -> Termios:
        return Termios.unpack(fcntl.ioctl(self.fd, command, bytes(size)))

    @property
    def modes(self) -> Termios:
        """The modes as guests see them."""
        return self._wanted or self._host_modes()

    def get_modes(self, command: int) -> bytes:
        """TCGETS."""
        size = req.GET_MODES[command]
        if self._wanted is not None:
            return self._wanted.pack(size)
        return fcntl.ioctl(self.fd, command, bytes(size))

    def set_modes(self, command: int, data: bytes) -> None:
        """TCSETS."""
        if self._before is None:
            self._before = termios.tcgetattr(self.fd)
        self._wanted = Termios.unpack(data)
        fcntl.ioctl(self.fd, command, self._kept(self._wanted).pack(len(data)))

    def _kept(self, wanted: Termios) -> Termios:
        """The modes that the host's terminal gets: without ISIG only the key for SIGINT sends a signal."""
        if wanted.has(Lflag.ISIG):
            return wanted
        assert self._before is not None
        cc = bytearray(wanted.cc)
        before: list[bytes] = self._before[6]  # type: ignore[assignment]
        cc[Cc.INTR] = before[termios.VINTR][0]
        cc[Cc.QUIT] = cc[Cc.SUSP] = DISABLED
        return wanted._replace(lflag=wanted.lflag | Lflag.ISIG | Lflag.NOFLSH, cc=bytes(cc))

    def restore(self) -> None:
        """Give the terminal the modes that it had, without waiting for what it has still to show."""
        before, self._before = self._before, None
        if before is not None:
            termios.tcsetattr(self.fd, termios.TCSANOW, before)  # type: ignore[arg-type]

    def give_back(self) -> None:
        """After :meth:`restore`: the modes that the guest had set, once more."""
        if self._wanted is not None and self._before is None:
            self.set_modes(req.TCSETS, self._wanted.pack(TERMIOS_SIZE))

    # -- keys ------------------------------------------------------------------------------------------------------

    def press(self, signo: int) -> None:
        """The host has made a signal of a key: the foreground gets it, or without ISIG the key's character."""
        if self.modes.has(Lflag.ISIG):
            self.signal_foreground(signo)
            return
        key = self._host_modes().cc[_KEYS[signo]]
        while self._events.now(self.fd, 1):
            self.host.back += os.read(self.fd, 4096)
        self.host.back += bytes((key,))
        self._events.readable(self.fd).wake_all()

    def resized(self) -> None:
        """The window has another size."""
        self.signal_foreground(SIGWINCH)

    # -- files -----------------------------------------------------------------------------------------------------

    def open(self, path: Path, flags: int) -> TerminalFile:
        """open(2)."""
        file = TerminalFile(path, flags, self.host, self._events, self)
        if not flags & OpenFlags.NOCTTY:
            self.opened(readable=file.readable)
        return file


def _name_of(fd: int) -> str:
    """Its name below /dev."""
    try:
        return os.ttyname(fd).removeprefix("/dev/")
    except OSError:  # of another mount namespace
        return "console"


class TerminalFile(HostFile):
    """The terminal, opened."""

    _piece = 512

    def __init__(self, path: Path, flags: int, host: HostDescriptor, events: HostEvents, tty: HostTty) -> None:
        super().__init__(path, flags, host, events)
        self.tty = tty

    @classmethod
    def of_stream(cls, path: Path, host: HostDescriptor, events: HostEvents, tty: HostTty) -> TerminalFile:
        """A standard stream, with the rights and flags that it has."""
        return cls(path, flags_of(host), host, events, tty)

    def read(self, count: int) -> bytes:
        self.tty.check_change(SIGTTIN)
        kept = self.tty.host
        if kept.back and count:
            data, kept.back = kept.back[:count], kept.back[count:]
        else:
            data = super().read(count)
        self.tty.uses += 1
        return data

    def unread(self, data: bytes, stored: int) -> int:
        self.tty.host.back = data[stored:] + self.tty.host.back
        return stored

    def prepare_write(self, count: int) -> int:
        if self.tty.modes.has(Lflag.TOSTOP):
            self.tty.check_change(SIGTTOU)
        return super().prepare_write(count)

    def write(self, data: bytes) -> int:
        self.tty.uses += 1
        return super().write(data)

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        mask, queues = super().poll()
        return mask | (_IN if self.tty.host.back and self.readable else 0), queues

    def ioctl(self, caller: Caller[Path], command: int, argument: int) -> int:
        if command in req.CHANGES:
            self.tty.check_change(SIGTTOU)
        try:
            done: int = self._host.guard(self._control, caller, command, argument)
            return done
        except OSError as error:
            raise LinuxError(error.errno or errno.EIO) from None

    def _control(self, caller: Caller[Path], command: int, argument: int) -> int:
        tty, mm = self.tty, caller.mm
        if command in req.GET_MODES:
            mm.write(argument, tty.get_modes(command))
        elif command in _ASKED:
            mm.write(argument, fcntl.ioctl(tty.fd, command, bytes(_ASKED[command])))
        elif command in req.SET_MODES:
            tty.set_modes(command, mm.read(argument, req.SET_MODES[command][0]))
        elif command == req.TIOCSWINSZ:
            fcntl.ioctl(tty.fd, command, mm.read(argument, WINSIZE.size))
        elif command in _PASSED:
            fcntl.ioctl(tty.fd, command, argument & 0xFFFF_FFFF)
        elif command == req.TIOCSPGRP:
            tty.set_foreground(_INT.unpack(mm.read(argument, 4))[0])
        elif command in _ANSWERS:
            mm.write(argument, _INT.pack(_ANSWERS[command](tty)))
        elif command == req.TIOCSCTTY:
            tty.set_controlling(argument == 1, readable=self.readable)
        elif command == req.TIOCNOTTY:
            tty.give_up()
        else:
            raise LinuxError(errno.ENOTTY)
        return 0


_ANSWERS: dict[int, Callable[[HostTty], int]] = {
    req.TIOCGPGRP: lambda tty: tty.foreground(), req.TIOCGSID: lambda tty: tty.get_session(),
    req.TIOCGETD: lambda tty: 0, req.TIOCGDEV: lambda tty: tty.rdev,
}  # fmt: skip
