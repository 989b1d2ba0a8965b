"""Pseudo-terminals: a terminal whose keyboard and screen are a descriptor, the master (drivers/tty/pty.c)."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from emu.fs.file import File, WouldBlock
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags, PollEvents, makedev
from emu.linux.wait import WaitQueue
from emu.mm.kmem import FILP, INODE
from emu.tty import requests as req
from emu.tty.line import MAX_INPUT, LineDiscipline
from emu.tty.termios import Cc, Iflag, Lflag, Termios
from emu.tty.tty import SIGTTIN, SIGTTOU, WINSIZE, Tty

if TYPE_CHECKING:
    from collections.abc import Callable

    from emu.fs.dentry import Path
    from emu.linux.caller import Caller
    from emu.tty.tty import Jobs

_SLAVE_MAJOR = 136
#: As many bytes of output are kept for the reader of the master.
_MAX_OUTPUT = 8192 + MAX_INPUT
#: So many bytes may come of one (a tab).
_MOST_SHOWN = 8
_INT = struct.Struct("=i")
_IN, _OUT = int(PollEvents.IN | PollEvents.RDNORM), int(PollEvents.OUT | PollEvents.WRNORM)
_HUP, _ERR, _PRI = int(PollEvents.HUP), int(PollEvents.ERR), int(PollEvents.PRI)
_DECISECOND_NS = 100_000_000


class Pty(Tty):
    """A pair: the terminal, and what its master has of it.  ``gone`` is called when the master is closed."""

    def __init__(self, jobs: Jobs, number: int, gone: Callable[[Pty], object]) -> None:
        super().__init__(jobs)
        self.number = number
        self.name = f"pts/{number}"
        self.rdev = makedev(_SLAVE_MAJOR, number)
        self._gone = gone
        self.line = LineDiscipline(self._echo, self.signal_foreground, self.flush_output, self._flow_changed)
        self.locked = True
        #: How often it has hung up: descriptors from before are dead.
        self.hangups = 0
        #: Open descriptors of the terminal, and whether there have been any; the master is open.
        self.slaves = 0
        self.had_slaves = False
        self.master_open = True
        #: What the master has not read yet, and who waits there.
        self._shown = bytearray()
        self.master_input, self.master_room = WaitQueue(), WaitQueue()
        self.packet_mode = False
        self.packet_status = 0

    # -- from the terminal to the master ---------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """How many bytes of output there is room for."""
        return 0 if self.line.stopped else max(0, _MAX_OUTPUT - len(self._shown))

    def _show(self, data: bytes) -> None:
        self._shown += data
        self.master_input.wake_all()

    def _echo(self, data: bytes) -> int:
        shown = data[: self.room]
        if shown:
            self._show(shown)
        return len(shown)

    def write(self, data: bytes) -> int:
        """A process writes: how much there was room for."""
        room, done = self.room, 0
        modes = self.line.modes
        shown = bytearray()
        while done < len(data) and len(shown) < room:
            piece = data[done : done + max(1, (room - len(shown)) // _MOST_SHOWN)]
            shown += self.line.output.process(piece, modes)
            done += len(piece)
        if shown:
            self._show(bytes(shown))
        return done

    def take(self, count: int) -> bytes:
        """The master reads; in packet mode a control byte comes first."""
        if self.packet_mode:
            if self.packet_status:
                status, self.packet_status = self.packet_status, 0
                return bytes((status,))
            count -= 1
        data = bytes(self._shown[:count])
        del self._shown[:count]
        self.line.show_echo()
        self.output.wake_all()
        return b"\0" + data if self.packet_mode else data

    @property
    def has_shown(self) -> bool:
        """Whether the master can read something."""
        return bool(self._shown or (self.packet_mode and self.packet_status))

    @property
    def shown_bytes(self) -> int:
        """FIONREAD of the master."""
        return len(self._shown)

    def flush_output(self) -> None:
        """Discard what is still on its way to the master: not what could be read there already (pty_flush_buffer)."""
        del self._shown[MAX_INPUT:]
        self._packet(req.PKT_FLUSHWRITE)
        self.output.wake_all()

    def flush_input(self) -> None:
        """Discard what no process has read."""
        self.line.flush_input()
        self._packet(req.PKT_FLUSHREAD)
        self.master_room.wake_all()

    def _flow_changed(self, stopped: bool) -> None:
        if stopped:
            self.packet_status &= ~req.PKT_START
            self._packet(req.PKT_STOP)
        else:
            self.packet_status &= ~req.PKT_STOP
            self._packet(req.PKT_START)
            self.output.wake_all()

    def _packet(self, status: int) -> None:
        if self.packet_mode:
            self.packet_status |= status
            self.master_input.wake_all()

    # -- from the master to the terminal ---------------------------------------------------------------------------

    def type(self, data: bytes) -> int:
        """The master writes: how much there was room for."""
        taken = data[: self.line.room]
        self.line.receive(taken, at_once=bool(self.slaves))
        self.input.wake_all()
        return len(taken)

    # -- modes -----------------------------------------------------------------------------------------------------

    def set_modes(self, modes: Termios) -> None:
        """TCSETS."""
        before = self.line.modes
        self.line.set_modes(modes)
        if self.packet_mode and _flow_keys(before) != _flow_keys(modes):
            self.packet_status &= ~(req.PKT_DOSTOP | req.PKT_NOSTOP)
            self._packet(req.PKT_DOSTOP if _flow_keys(modes) else req.PKT_NOSTOP)
        self.input.wake_all()
        self.master_room.wake_all()

    # -- life ------------------------------------------------------------------------------------------------------

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

    def hang_up(self) -> None:
        self.hangups += 1
        super().hang_up()

    def close_master(self) -> None:
        """Nobody is left at the other end."""
        self.master_open = False
        self._gone(self)
        self.hang_up()

    def close_slave(self) -> None:
        """One descriptor less of the terminal; with the last one its session is over, and the master notices."""
        self.slaves -= 1
        if not self.slaves:
            self.leave_session()
            self.master_input.wake_all()
            self.master_room.wake_all()


def _flow_keys(modes: Termios) -> bool:
    """Whether the usual keys stop output."""
    return modes.has(Iflag.IXON) and modes.cc[Cc.STOP] == 0x13 and modes.cc[Cc.START] == 0x11


class _PtyFile(File):
    """What master and terminal have in common."""

    seekable = False

    def __init__(self, path: Path, flags: int, pty: Pty) -> None:
        super().__init__(path, flags)
        self.pty = pty

    def lseek(self, offset: int, whence: int) -> int:
        raise LinuxError(errno.ESPIPE)

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
            mm.write(argument, _INT.pack(_ANSWERS[command](self)))
        elif command in (req.TCSBRK, req.TCSBRKP, req.TIOCNXCL, req.TIOCEXCL):
            if command in (req.TIOCNXCL, req.TIOCEXCL):
                pty.exclusive = command == req.TIOCEXCL
        elif command == req.TIOCSETD:
            if _INT.unpack(mm.read(argument, 4))[0]:
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
_ANSWERS: dict[int, Callable[[_PtyFile], int]] = {
    req.FIONREAD: lambda file: file.unreadable(),
    req.TIOCOUTQ: lambda file: 0,
    req.TIOCGETD: lambda file: 0,
    req.TIOCGPGRP: lambda file: file.group(),
    req.TIOCGSID: lambda file: file.session(),
    req.TIOCGDEV: lambda file: file.pty.rdev,
    req.TIOCGEXCL: lambda file: int(file.pty.exclusive),
}


class SlaveFile(_PtyFile):
    """The terminal, opened."""

    def __init__(self, path: Path, flags: int, pty: Pty) -> None:
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

    def unread(self, data: bytes, stored: int) -> int:
        """What the buffer could not hold is lost."""
        return stored

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        pty, line = self.pty, self.pty.line
        if self._hung:
            return _IN | _OUT | _ERR | _HUP, ()
        least = line.modes.cc[Cc.MIN] if not line.modes.cc[Cc.TIME] else 1
        mask = (_IN if line.readable(least or 1) else 0) | (_OUT if pty.room else 0)
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
            pty.set_foreground(_INT.unpack(caller.mm.read(argument, 4))[0])
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


class MasterFile(_PtyFile):
    """The other end: what is typed is written here, what is shown is read here."""

    #: With the pair, what is on its way in both directions, and the name in devpts.
    struct_size = FILP + 2 * INODE + _MAX_OUTPUT + 4 * MAX_INPUT

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

    def unread(self, data: bytes, stored: int) -> int:
        """What the buffer could not hold is lost."""
        return stored

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
        mask = (_IN if pty.has_shown else 0) | (_OUT if pty.line.room else 0) | (_HUP if self._alone else 0)
        if pty.packet_mode and pty.packet_status:
            mask |= _PRI
        return mask, (pty.master_input, pty.master_room)

    def unreadable(self) -> int:
        return self.pty.shown_bytes

    def _control(self, caller: Caller[Path], command: int, argument: int) -> int:
        pty, mm = self.pty, caller.mm
        answers = {
            req.TIOCGPTN: pty.number, req.TIOCGPTLCK: int(pty.locked), req.TIOCGPKT: int(pty.packet_mode)
        }  # fmt: skip
        if command in answers:
            mm.write(argument, _INT.pack(answers[command]))
        elif command == req.TIOCGPTPEER:
            return pty.jobs.open_peer(pty.name, argument)
        elif command == req.TIOCSCTTY:
            pty.set_controlling(argument == 1, readable=self.readable)
        elif command == req.TIOCSPTLCK:
            pty.locked = bool(_INT.unpack(mm.read(argument, 4))[0])
        elif command == req.TIOCPKT:
            on = bool(_INT.unpack(mm.read(argument, 4))[0])
            if on and not pty.packet_mode:
                pty.packet_status = 0
            pty.packet_mode = on
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
