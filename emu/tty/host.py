"""The host's terminal as the machine's (drivers/tty/tty_io.c): its lines, its echo and its keys are the host's work.

Modes go through to the host's terminal, and :meth:`HostTty.restore` undoes them.  Where a guest has switched the keys
that make signals off, what is typed is listened to as it comes, so that a user can always reach the emulator.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
import termios
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.fs.hostfile import HostDescriptor, HostFile, flags_of
from emu.linux.errors import LinuxError, NoIntr
from emu.linux.fileflags import OpenFlags, PollEvents
from emu.tty import requests as req
from emu.tty.termios import TERMIOS_SIZE, Lflag, Termios
from emu.tty.tty import SIGTTIN, SIGTTOU, SIGWINCH, WINSIZE, Tty

if TYPE_CHECKING:
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
#: So much of what is typed is kept for a guest that does not read.
_MOST_KEPT = 4096


class HostTty(Tty):
    """One terminal of the host, by one of its descriptors."""

    def __init__(self, jobs: Jobs, fd: int, host: HostDescriptor, events: HostEvents) -> None:
        super().__init__(jobs)
        self.fd, self.host, self._events = fd, host, events
        self.name = _name_of(fd)
        self.rdev = os.fstat(fd).st_rdev
        #: How often guests have read from it or written there: whether somebody is there who answers a key.
        self.uses = 0
        #: Told of what is typed where no key makes a signal.
        self.heard: Callable[[bytes], object] = lambda typed: None
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        #: The modes that a guest has set last, and those from before.
        self._wanted: Termios | None = None
        self._before: list[object] | None = None

    # -- modes -----------------------------------------------------------------------------------------------------

    @property
    def modes(self) -> Termios:
        """The present modes."""
        return Termios.unpack(fcntl.ioctl(self.fd, req.TCGETS, bytes(TERMIOS_SIZE)))

    def set_modes(self, command: int, data: bytes) -> None:
        """TCSETS."""
        if self._before is None:
            self._before = termios.tcgetattr(self.fd)
        fcntl.ioctl(self.fd, command, data)
        self._wanted = Termios.unpack(data)

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

    def listen(self) -> bool:
        """Without ISIG: take what has been typed, for those who will read it; whether there was something.  Nothing is
        taken in the background, where that would stop the emulator.
        """
        if self._wanted is None or self._wanted.has(Lflag.ISIG) or len(self.host.back) >= _MOST_KEPT:
            return False
        if not self._poll.poll(0) or os.tcgetpgrp(self.fd) != os.getpgrp():
            return False
        typed = os.read(self.fd, _MOST_KEPT)
        self.host.back += typed
        self.heard(typed)
        self._events.readable(self.fd).wake_all()
        return bool(typed)

    def job_control(self) -> None:
        """A shell has given the terminal to a job: sleeps take their time from now on, for who may stop the job."""
        self._events.watched = True

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
        except InterruptedError:  # by a key, while output drains
            raise NoIntr from None
        except OSError as error:
            raise LinuxError(error.errno or errno.EIO) from None

    def _control(self, caller: Caller[Path], command: int, argument: int) -> int:
        tty, mm = self.tty, caller.mm
        if command in req.GET_MODES:
            mm.write(argument, fcntl.ioctl(tty.fd, command, bytes(req.GET_MODES[command])))
        elif command in _ASKED:
            mm.write(argument, fcntl.ioctl(tty.fd, command, bytes(_ASKED[command])))
        elif command in req.SET_MODES:
            tty.set_modes(command, mm.read(argument, req.SET_MODES[command][0]))
        elif command == req.TIOCSWINSZ:
            fcntl.ioctl(tty.fd, command, mm.read(argument, WINSIZE.size))
        elif command in _PASSED:
            fcntl.ioctl(tty.fd, command, argument & 0xFFFF_FFFF)
        elif command == req.TIOCSPGRP:
            tty.set_foreground(caller.means(_INT.unpack(mm.read(argument, 4))[0]))
            tty.job_control()
        elif command in _ANSWERS:
            answer = _ANSWERS[command](tty)
            mm.write(argument, _INT.pack(caller.sees(answer) if command in req.OF_PROCESSES else answer))
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
