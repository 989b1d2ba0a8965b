"""The pair that a pseudo-terminal is: the terminal, what its master has not read, and who has them open
(drivers/tty/pty.c).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.linux.fileflags import makedev
from emu.linux.wait import WaitQueue
from emu.tty import requests as req
from emu.tty.line import MAX_INPUT, LineDiscipline
from emu.tty.packet import PacketMode
from emu.tty.termios import Termios
from emu.tty.tty import Tty

if TYPE_CHECKING:
    from collections.abc import Callable

    from emu.tty.tty import Jobs

_SLAVE_MAJOR = 136
#: As many bytes of output are kept for the reader of the master.
MAX_OUTPUT = 8192 + MAX_INPUT
#: So many bytes may come of one (a tab).
_MOST_SHOWN = 8


class Pair(Tty):
    """A pair: the terminal, and what its master has of it.  ``gone`` is called when the master is closed."""

    def __init__(self, jobs: Jobs, number: int, gone: Callable[[Pair], object]) -> None:
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
        self.packet = PacketMode(self.master_input)

    # -- from the terminal to the master ---------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """How many bytes of output there is room for."""
        return 0 if self.line.stopped else max(0, MAX_OUTPUT - len(self._shown))

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
        packets = self.packet.on
        if packets:
            if self.packet.status:
                return self.packet.take()
            count -= 1
        data = bytes(self._shown[:count])
        del self._shown[:count]
        self.line.show_echo()
        self.output.wake_all()
        return b"\0" + data if packets else data

    @property
    def has_shown(self) -> bool:
        """Whether the master can read something."""
        return bool(self._shown) or self.packet.pending

    @property
    def shown_bytes(self) -> int:
        """FIONREAD of the master."""
        return len(self._shown)

    def flush_output(self) -> None:
        """Discard what is still on its way to the master: not what could be read there already (pty_flush_buffer)."""
        del self._shown[MAX_INPUT:]
        self.packet.tell(req.PKT_FLUSHWRITE)
        self.output.wake_all()

    def flush_input(self) -> None:
        """Discard what no process has read."""
        self.line.flush_input()
        self.packet.tell(req.PKT_FLUSHREAD)
        self.master_room.wake_all()

    def _flow_changed(self, stopped: bool) -> None:
        self.packet.flow_changed(stopped=stopped)
        if not stopped:
            self.output.wake_all()

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
        self.packet.modes_changed(before, modes)
        self.input.wake_all()
        self.master_room.wake_all()

    # -- life ------------------------------------------------------------------------------------------------------

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
