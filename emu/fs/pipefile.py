"""The ends of pipes and FIFOs, as open files."""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING, TypeVar

from emu.fs.file import File, WouldBlock
from emu.fs.libfs import Node
from emu.fs.pipe import ERROR, HANGUP, READABLE, WRITABLE, Pipe, Pipes
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags
from emu.linux.wait import WaitQueue

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.inode import Inode
    from emu.fs.superblock import SuperBlock
    from emu.linux.caller import Caller

PIPEFS_MAGIC = 0x50495045
FIONREAD = 0x541B
_DIRECT = int(OpenFlags.DIRECT)
AnyPipeFile = TypeVar("AnyPipeFile", bound="PipeFile")


def open_fifo(pipes: Pipes, path: Path, flags: int) -> FifoFile:
    """Open a named pipe; the caller goes on to :meth:`File.wait_open`."""
    inode = path.dentry.inode
    if flags & OpenFlags.ACCMODE == OpenFlags.ACCMODE:
        raise LinuxError(errno.EINVAL)
    pipe = inode.private
    if not isinstance(pipe, Pipe):
        pipe = inode.private = pipes.new()
    return open_end(FifoFile, path, flags, pipe)


def open_end(kind: type[AnyPipeFile], path: Path, flags: int, pipe: Pipe) -> AnyPipeFile:
    """Open an end of a pipe, which is given up if that fails and nobody else has it open."""
    try:
        return kind(path, flags, pipe)
    except LinuxError:
        if not pipe.readers and not pipe.writers:
            kind.forget(path.dentry.inode, pipe)
        raise


class PipeFile(File):
    """One end (or, for a FIFO opened O_RDWR, both ends) of a pipe."""

    has_fasync = nowait = True

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
        self._writers_before = -1 if pipe.writers or isinstance(self.inode, PipeInode) else pipe.writers_opened
        pipe.wake_everyone()

    def release(self) -> None:
        pipe = self.pipe
        if self.fasync is not None:
            pipe.told.pop(self.fasync, None)
        pipe.readers -= self.readable
        pipe.writers -= self.writable
        pipe.wake_everyone()
        if not pipe.readers and not pipe.writers:
            self.forget(self.inode, pipe)

    @staticmethod
    def forget(inode: Inode, pipe: Pipe) -> None:
        """The last end has been closed."""
        assert isinstance(inode, Node)
        inode.private = None
        pipe.discard()

    def read(self, count: int) -> bytes:
        return self.pipe.read(count)

    def prepare_write(self, count: int) -> int:
        return self.pipe.prepare(count)

    def unread(self, data: bytes, stored: int) -> int:
        return self.pipe.unread(data, stored)

    def write(self, data: bytes) -> int:
        return self.pipe.write(data, packets=bool(self.flags & _DIRECT))

    def set_async(self, fd: int, on: bool) -> None:
        before = self.fasync
        super().set_async(fd, on)
        if self.writable:
            if before is not None:
                self.pipe.told.pop(before, None)
            if self.fasync is not None:
                self.pipe.told[self.fasync] = None

    def fsync(self, data_only: bool) -> None:
        raise LinuxError(errno.EINVAL)

    def ioctl(self, caller: Caller[Path], command: int, argument: int) -> int:
        if command == FIONREAD:
            caller.mm.write(argument, self.pipe.length.to_bytes(4, "little"))
            return 0
        raise LinuxError(errno.ENOTTY)

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        pipe = self.pipe
        mask = 0
        queues: tuple[WaitQueue, ...] = ()
        if self.readable:
            queues = (pipe.not_empty,)
            if pipe.length:
                mask |= READABLE
            if not pipe.writers and pipe.writers_opened != self._writers_before:
                mask |= HANGUP
        if self.writable:
            queues += (pipe.not_full,)
            if not pipe.full:
                mask |= WRITABLE
            if not pipe.readers:
                mask |= ERROR
        return mask, queues


class FifoFile(PipeFile):
    """An end of a named pipe: open(2) waits for the other end.  That of a pipe(2), opened again, does not."""

    def wait_open(self) -> None:
        pipe = self.pipe
        readers_seen, writers_seen = self._seen
        if isinstance(self.inode, PipeInode) or (self.readable and self.writable):
            return
        if self.readable:
            if not self.nonblocking and not pipe.writers and pipe.writers_opened == writers_seen:
                raise WouldBlock(pipe.not_empty)
        elif self.writable and not pipe.readers and pipe.readers_opened == readers_seen:
            if self.nonblocking:
                raise LinuxError(errno.ENXIO)
            raise WouldBlock(pipe.not_full)


class PipeInode(Node):
    """The inode of a pipe; opened again through /proc/<pid>/fd, it acts as a FIFO."""

    def __init__(self, sb: SuperBlock, pipe: Pipe) -> None:
        super().__init__(sb, stat.S_IFIFO | 0o600)
        self.private = pipe
