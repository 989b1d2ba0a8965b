"""Packet mode: a master is told what happens to its terminal, by a control byte (TIOCPKT, ioctl_tty(2))."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.tty import requests as req
from emu.tty.termios import Cc, Iflag, Termios

if TYPE_CHECKING:
    from emu.linux.wait import WaitQueue


class PacketMode:
    """What the reader of a master, who waits at ``reader``, is to be told."""

    def __init__(self, reader: WaitQueue) -> None:
        self.on = False
        self.status = 0
        self._reader = reader

    def turn(self, on: bool) -> None:
        """TIOCPKT: what happened before does not count."""
        if on and not self.on:
            self.status = 0
        self.on = on

    @property
    def pending(self) -> bool:
        """Whether there is something to tell."""
        return bool(self.on and self.status)

    def take(self) -> bytes:
        """The control byte; none if there is nothing to tell."""
        status, self.status = self.status, 0
        return bytes((status,)) if status else b""

    def tell(self, status: int) -> None:
        """Something happened."""
        if self.on:
            self.status |= status
            self._reader.wake_all()

    def flow_changed(self, *, stopped: bool) -> None:
        """Output stops, or goes on: the later one counts."""
        self.status &= ~(req.PKT_START if stopped else req.PKT_STOP)
        self.tell(req.PKT_STOP if stopped else req.PKT_START)

    def modes_changed(self, before: Termios, after: Termios) -> None:
        """Whether the usual keys stop output may be different now."""
        if self.on and _flow_keys(before) != _flow_keys(after):
            self.status &= ~(req.PKT_DOSTOP | req.PKT_NOSTOP)
            self.tell(req.PKT_DOSTOP if _flow_keys(after) else req.PKT_NOSTOP)


def _flow_keys(modes: Termios) -> bool:
    """Whether the usual keys stop output."""
    return modes.has(Iflag.IXON) and modes.cc[Cc.STOP] == 0x13 and modes.cc[Cc.START] == 0x11
