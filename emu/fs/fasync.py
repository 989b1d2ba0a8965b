"""Who is told by a signal of what happens to an open file: its owner, and O_ASYNC (fs/fcntl.c)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from emu.linux.fileflags import PollEvents
from emu.linux.wait import WaitQueue

F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP = range(3)
#: In place of a reason: an urgent byte has arrived, and SIGURG says so.
URGENT = 0
POLL_IN, POLL_OUT, POLL_MSG, POLL_ERR, POLL_PRI, POLL_HUP = range(1, 7)
_READABLE = int(PollEvents.IN | PollEvents.RDNORM | PollEvents.HUP)
_WRITABLE = int(PollEvents.OUT | PollEvents.WRNORM | PollEvents.ERR)

#: Sends the signal: the owner, the descriptor, and what has happened (POLL_*).
SendSigio = Callable[["FileOwner", int, int], None]


class FileOwner:
    """Who gets the signals of an open file, with the ids of whoever said so (struct fown_struct)."""

    def __init__(self, send: SendSigio) -> None:
        self._send = send
        self.kind, self.pid = F_OWNER_PID, 0
        self.uid = self.euid = 0
        #: F_SETSIG; 0 is SIGIO without a siginfo.
        self.signum = 0

    def set(self, kind: int, pid: int, uid: int, euid: int) -> None:
        """f_modown()."""
        self.kind, self.pid, self.uid, self.euid = kind, pid, uid, euid

    def send(self, fd: int, reason: int) -> None:
        """Something has happened (send_sigio)."""
        if self.pid:
            self._send(self, fd, reason)


class Polled(Protocol):
    """An open file, as far as its signals are concerned."""

    readable: bool
    writable: bool
    owner: FileOwner | None

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        """What holds now, and who is woken when that changes."""


class Fasync:
    """An open file with O_ASYNC, and the descriptor by which it was set (fasync_struct)."""

    def __init__(self, file: Polled, fd: int) -> None:
        self._file = file
        self.fd = fd
        _, self._queues = file.poll()
        for queue in self._queues:
            queue.watch(self, self._woken)

    def _woken(self, events: int) -> bool:
        file = self._file
        mask = file.poll()[0] & (events or -1)
        if file.owner is not None:
            if file.readable and mask & _READABLE:
                file.owner.send(self.fd, POLL_IN)
            if file.writable and mask & _WRITABLE:
                file.owner.send(self.fd, POLL_OUT)
        return False

    def tell(self, reason: int) -> None:
        """Something has happened of which no queue is told."""
        if self._file.owner is not None:
            self._file.owner.send(self.fd, reason)

    def end(self) -> None:
        """The flag was cleared, or the file closed."""
        for queue in self._queues:
            queue.unwatch(self)
