"""eventfd: a counter of 64 bits behind a descriptor (fs/eventfd.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.anon import AnonFile
from emu.fs.file import WouldBlock
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags, PollEvents
from emu.linux.wait import WaitQueue

if TYPE_CHECKING:
    from emu.fs.dentry import Path

_MOST = (1 << 64) - 1
_SIZE = 8
_IN, _OUT = int(PollEvents.IN), int(PollEvents.OUT)


class EventFd(AnonFile):
    """The counter: write adds to it, read takes all of it, or one with EFD_SEMAPHORE."""

    nowait = True

    def __init__(self, path: Path, flags: int, count: int, number: int, *, semaphore: bool) -> None:
        """``number``: eventfd-id in /proc."""
        super().__init__(path, flags | OpenFlags.RDWR)
        self.count = count
        self.number = number
        self.semaphore = semaphore
        self._changed = WaitQueue()

    def read(self, count: int) -> bytes:
        if count < _SIZE:
            raise LinuxError(errno.EINVAL)
        if not self.count:
            raise WouldBlock(self._changed)
        taken = 1 if self.semaphore else self.count
        self.count -= taken
        self._changed.wake_all(_OUT)
        return taken.to_bytes(_SIZE, "little")

    def signal(self) -> None:
        """Count one more, as far as that can be counted (eventfd_signal)."""
        if self.count < _MOST - 1:
            self.count += 1
        self._changed.wake_all(_IN)

    def prepare_write(self, count: int) -> int:
        if count != _SIZE:
            raise LinuxError(errno.EINVAL)
        return _SIZE

    def write(self, data: bytes) -> int:
        if len(data) != _SIZE:
            raise LinuxError(errno.EINVAL)
        added = int.from_bytes(data, "little")
        if added == _MOST:
            raise LinuxError(errno.EINVAL)
        if self.count + added >= _MOST:
            raise WouldBlock(self._changed)
        self.count += added
        self._changed.wake_all(_IN)
        return _SIZE

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        mask = _IN if self.count else 0
        if self.count < _MOST - 1:
            mask |= _OUT
        return mask, (self._changed,)

    def show_fdinfo(self) -> str:
        return f"eventfd-count: {self.count:16x}\neventfd-id: {self.number}\neventfd-semaphore: {self.semaphore:d}\n"
