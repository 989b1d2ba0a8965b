"""Pipes and FIFOs (fs/pipe.c): 64 KiB between two ends, writes of up to PIPE_BUF bytes are atomic."""

from __future__ import annotations

import errno
from collections import deque
from typing import TYPE_CHECKING

from emu.fs.file import BrokenPipe, File, WouldBlock
from emu.fs.flags import PIPE_BUF, OpenFlags, PollEvents
from emu.kernel.errors import LinuxError
from emu.kernel.wait import WaitQueue

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.kernel.task import Task

#: Bytes that a pipe holds unless F_SETPIPE_SZ says otherwise.
DEFAULT_CAPACITY = 65536
#: /proc/sys/fs/pipe-max-size.
MAX_CAPACITY = 1 << 20
FIONREAD = 0x541B

_READABLE = int(PollEvents.IN | PollEvents.RDNORM)
_WRITABLE = int(PollEvents.OUT | PollEvents.WRNORM)


class Pipe:
    """The buffer, its two kinds of users and the queue on which both sleep."""

    def __init__(self) -> None:
        self.capacity = DEFAULT_CAPACITY
        self.length = 0
        self.readers = 0
        self.writers = 0
        #: How often each end was opened: a FIFO's open waits for one of these to move.
        self.readers_opened = 0
        self.writers_opened = 0
        self.not_empty = WaitQueue()
        self.not_full = WaitQueue()
        self._pieces: deque[bytes] = deque()

    def read(self, count: int) -> bytes:
        """What is there, at most ``count`` bytes; ``b""`` if nobody can write any more."""
        if not count:
            return b""
        if not self.length:
            if not self.writers:
                return b""
            raise WouldBlock(self.not_empty)
        pieces = self._pieces
        taken: list[bytes] = []
        left = count
        while left and pieces:
            piece = pieces.popleft()
            if len(piece) > left:
                pieces.appendleft(piece[left:])
                piece = piece[:left]
            taken.append(piece)
            left -= len(piece)
        data = taken[0] if len(taken) == 1 else b"".join(taken)
        self.length -= len(data)
        self.not_full.wake_all()
        return data

    def write(self, data: bytes) -> int:
        """Put in as much as fits, all or nothing up to PIPE_BUF bytes; BrokenPipe without a reader."""
        if not self.readers:
            raise BrokenPipe
        if not data:
            return 0
        room = self.capacity - self.length
        if len(data) > room:
            if len(data) <= PIPE_BUF or room <= 0:
                raise WouldBlock(self.not_full)
            data = data[:room]
        self._pieces.append(data)
        self.length += len(data)
        self.not_empty.wake_all()
        return len(data)

    def unread(self, data: bytes) -> None:
        """Put back what was just read."""
        self._pieces.appendleft(data)
        self.length += len(data)

    def resize(self, size: int) -> int:
        """F_SETPIPE_SZ: round up to a power of two of pages; EBUSY below what is in the pipe."""
        if not 0 < size <= MAX_CAPACITY:
            raise LinuxError(errno.EPERM if size > MAX_CAPACITY else errno.EINVAL)
        capacity = max(PIPE_BUF, 1 << (size - 1).bit_length())
        if capacity < self.length:
            raise LinuxError(errno.EBUSY)
        self.capacity = capacity
        self.not_full.wake_all()
        return capacity

    def wake_everyone(self) -> None:
        """An end was opened or closed."""
        self.not_empty.wake_all()
        self.not_full.wake_all()


class PipeFile(File):
    """One end (or, for a FIFO opened O_RDWR, both ends) of a pipe."""

    seekable = False

    def __init__(self, path: Path, flags: int, pipe: Pipe) -> None:
        super().__init__(path, flags)
        self.pipe = pipe
        if self.readable:
            pipe.readers += 1
            pipe.readers_opened += 1
        if self.writable:
            pipe.writers += 1
            pipe.writers_opened += 1
        self._seen = (pipe.readers_opened, pipe.writers_opened)
        #: A FIFO opened without O_NONBLOCK shows no POLLHUP before its first writer came.
        self._writers_before = pipe.writers_opened if not pipe.writers else -1
        pipe.wake_everyone()

    def release(self) -> None:
        pipe = self.pipe
        pipe.readers -= self.readable
        pipe.writers -= self.writable
        pipe.wake_everyone()
        if not pipe.readers and not pipe.writers:
            self.inode.pipe = None

    def read(self, count: int) -> bytes:
        return self.pipe.read(count)

    def unread(self, data: bytes) -> None:
        self.pipe.unread(data)

    def write(self, data: bytes) -> int:
        return self.pipe.write(data)

    def fsync(self, data_only: bool) -> None:
        raise LinuxError(errno.EINVAL)

    def ioctl(self, task: Task, command: int, argument: int) -> int:
        if command == FIONREAD:
            task.mm.write(argument, self.pipe.length.to_bytes(4, "little"))
            return 0
        raise LinuxError(errno.ENOTTY)

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        pipe = self.pipe
        mask = 0
        queues: tuple[WaitQueue, ...] = ()
        if self.readable:
            queues = (pipe.not_empty,)
            if pipe.length:
                mask |= _READABLE
            if not pipe.writers and pipe.writers_opened != self._writers_before:
                mask |= PollEvents.HUP
        if self.writable:
            queues += (pipe.not_full,)
            if pipe.capacity - pipe.length >= PIPE_BUF:
                mask |= _WRITABLE
            if not pipe.readers:
                mask |= PollEvents.ERR
        return int(mask), queues


class FifoFile(PipeFile):
    """An end of a named pipe: open(2) waits for the other end."""

    def wait_open(self) -> None:
        pipe = self.pipe
        readers_seen, writers_seen = self._seen
        if self.readable and self.writable:
            return
        if self.readable:
            if not self.nonblocking and not pipe.writers and pipe.writers_opened == writers_seen:
                raise WouldBlock(pipe.not_empty)
        elif self.writable and not pipe.readers and pipe.readers_opened == readers_seen:
            if self.nonblocking:
                raise LinuxError(errno.ENXIO)
            raise WouldBlock(pipe.not_full)


def open_fifo(path: Path, flags: int) -> FifoFile:
    """Open a named pipe; the caller goes on to :meth:`File.wait_open`."""
    inode = path.dentry.inode
    if flags & OpenFlags.ACCMODE == OpenFlags.ACCMODE:
        raise LinuxError(errno.EINVAL)
    if inode.pipe is None:
        inode.pipe = Pipe()
    return FifoFile(path, flags, inode.pipe)
