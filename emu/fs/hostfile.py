"""Descriptors of the host that a guest has from its start: standard input, output and error.

The guest sees what they are: a regular file with the host's offset, a pipe, a socket, a device, a terminal.  It reaches
these open descriptors and nothing else of the host: its names are unknown in the machine, and opening one again
(/dev/stdin, /proc/PID/fd/N) gives no right to write that the descriptor does not have.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from emu.fs.file import ALWAYS_READY, BrokenPipe, File, WouldBlock
from emu.fs.inode import Attributes, Inode, Stat
from emu.linux.errors import LinuxError
from emu.linux.fileflags import CHUNK, PAGE_SIZE, PIPE_BUF, OpenFlags

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.superblock import SuperBlock
    from emu.linux.caller import Caller
    from emu.linux.host_events import HostEvents
    from emu.linux.wait import WaitQueue

_T = TypeVar("_T")

FIONREAD = 0x541B
_ACCMODE, _RDONLY = int(OpenFlags.ACCMODE), int(OpenFlags.RDONLY)
#: The flags of the host's descriptor that the guest's has too.
_KEPT = int(OpenFlags.ACCMODE | OpenFlags.APPEND | OpenFlags.NONBLOCK)
#: The flags of open(2) that are the host's affair if a regular file is opened again.
_PASSED = int(OpenFlags.ACCMODE | OpenFlags.APPEND | OpenFlags.SYNC)


class HostDescriptor:
    """A descriptor of the host for the machine's processes; ``fd`` is None if it is closed.

    ``guard(function, *arguments)`` calls a function that may block and ends it with NoIntr if the run is to end;
    ``before`` is called before each write, and ``failed`` with an error of the host's.
    """

    def __init__(
        self,
        fd: int | None,
        *,
        guard: Callable[..., Any] = lambda function, *arguments: function(*arguments),
        before: Callable[[], object] = lambda: None,
        failed: Callable[[OSError], object] = lambda error: None,
    ) -> None:
        self.fd = fd
        self.guard, self.before, self.failed = guard, before, failed
        #: Input that a guest's buffer could not take.
        self.back = b""


def flags_of(host: HostDescriptor) -> int:
    """The flags with which the host has opened a descriptor."""
    assert host.fd is not None
    return fcntl.fcntl(host.fd, fcntl.F_GETFL) & _KEPT


class HostInode(Inode):
    """What stands behind a descriptor of the host that has no name in the machine."""

    def __init__(self, sb: SuperBlock, host: HostDescriptor, events: HostEvents) -> None:
        assert host.fd is not None
        status = os.fstat(host.fd)
        # the host clears set-ID bits itself
        super().__init__(sb, status.st_mode & ~0o6000, status.st_uid, status.st_gid, ino=status.st_ino)
        self.rdev = status.st_rdev
        self._host, self._fd, self._events = host, host.fd, events

    @property
    def size(self) -> int:
        """The present size: others may change it."""
        return os.fstat(self._fd).st_size

    @size.setter
    def size(self, size: int) -> None:
        """The host knows it."""

    def getattr(self) -> Stat:
        s = os.fstat(self._fd)
        return Stat(
            s.st_dev, s.st_ino, s.st_mode, s.st_nlink, s.st_uid, s.st_gid, s.st_rdev, s.st_size, s.st_blksize,
            s.st_blocks, s.st_atime_ns, s.st_mtime_ns, s.st_ctime_ns, s.st_ctime_ns,
        )  # fmt: skip

    def setattr(self, change: Attributes) -> None:
        """Only the size can be changed: the rest is the host's."""
        if change.size is None:
            raise LinuxError(errno.EPERM)
        self.truncate(change.size)

    def truncate(self, size: int) -> None:
        try:
            os.ftruncate(self._fd, size)
        except OSError as error:
            raise LinuxError(error.errno or errno.EIO) from None

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        """Open it again, as the host does by /proc/self/fd/N: a regular file gets an offset of its own.  EACCES for a
        right to write that the descriptor does not have.
        """
        if not (self.is_regular or self.kind == stat.S_IFIFO):
            raise LinuxError(errno.ENXIO if self.kind == stat.S_IFSOCK else errno.EACCES)
        if fcntl.fcntl(self._fd, fcntl.F_GETFL) & _ACCMODE == _RDONLY != flags & _ACCMODE:
            raise LinuxError(errno.EACCES)
        waits = 0 if self.is_regular else os.O_NONBLOCK
        try:
            fd = os.open(f"/proc/self/fd/{self._fd}", flags & _PASSED | os.O_CLOEXEC | waits)
        except OSError as error:
            raise LinuxError(error.errno or errno.EIO) from None
        return HostFile(path, flags, self._host, self._events, own=fd)


class HostFile(File):
    """An open descriptor of the host."""

    #: Before __init__ has set it.
    _fd = -1
    #: The most that is written at once where the host may have little room although it has some.
    _piece = CHUNK

    def __init__(
        self, path: Path, flags: int, host: HostDescriptor, events: HostEvents, *, own: int | None = None
    ) -> None:
        """``own``: another descriptor of the same file, which is closed with this."""
        super().__init__(path, flags)
        assert host.fd is not None
        self._host, self._events, self._own = host, events, own
        self._fd = host.fd if own is None else own
        kind = stat.S_IFMT(os.fstat(self._fd).st_mode)
        #: Whether reading or writing may have to wait.
        self._waits = kind not in (stat.S_IFREG, stat.S_IFBLK, stat.S_IFDIR)
        self._regular, self._socket = kind == stat.S_IFREG, kind == stat.S_IFSOCK
        if kind == stat.S_IFIFO:
            self._piece = PIPE_BUF
        self._has_room = False
        try:
            os.lseek(self._fd, 0, os.SEEK_CUR)
            self.seekable = True
        except OSError:
            self.seekable = False

    @classmethod
    def of(cls, path: Path, host: HostDescriptor, events: HostEvents) -> HostFile:
        """The descriptor itself, with the rights and flags that it has."""
        return cls(path, flags_of(host), host, events)

    # The position, which the host keeps

    @property
    def pos(self) -> int:
        """The offset, which processes of the host may share."""
        return os.lseek(self._fd, 0, os.SEEK_CUR) if self._fd >= 0 and self.seekable else 0

    @pos.setter
    def pos(self, pos: int) -> None:
        if self._fd >= 0 and self.seekable:
            os.lseek(self._fd, pos, os.SEEK_SET)

    def lseek(self, offset: int, whence: int) -> int:
        try:
            return os.lseek(self._fd, offset, whence)
        except OSError as error:
            self._fail(error)

    # Data

    def read(self, count: int) -> bytes:
        if not count:
            return b""
        host = self._host
        if host.back:
            data, host.back = host.back[:count], host.back[count:]
            return data
        if self._waits and not self._events.now(self._fd, select.POLLIN):
            raise WouldBlock(self._events.readable(self._fd))
        return self._do(self._events.readable, os.read, count)

    def unread(self, data: bytes, stored: int) -> int:
        if self.seekable:
            return super().unread(data, stored)
        self._host.back = data[stored:] + self._host.back
        return stored

    def pread(self, count: int, pos: int) -> bytes:
        return self._do(self._events.readable, os.pread, count, pos)

    def prepare_write(self, count: int) -> int:
        if self._waits and not self._events.now(self._fd, select.POLLOUT):
            raise WouldBlock(self._events.writable(self._fd))
        self._has_room = True
        return PAGE_SIZE

    def write(self, data: bytes) -> int:
        self._host.before()
        if self._regular:
            return self._do(self._events.writable, os.write, data)
        if not self._has_room:
            self.prepare_write(len(data))
        self._has_room = False
        if self._socket:
            return self._do(self._events.writable, _send, data)
        return self._do(self._events.writable, os.write, data[: self._piece])

    def pwrite(self, data: bytes, pos: int) -> int:
        self._host.before()
        return self._do(self._events.writable, os.pwrite, data, pos)

    def _do(self, queue: Callable[[int], WaitQueue], function: Callable[..., _T], *arguments: object) -> _T:
        try:
            result: _T = self._host.guard(function, self._fd, *arguments)
            return result
        except BlockingIOError:  # the host's own descriptor has O_NONBLOCK
            self._events.would_block(queue(self._fd))
            raise WouldBlock(queue(self._fd)) from None
        except BrokenPipeError:
            raise BrokenPipe from None
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> NoReturn:
        if error.errno in (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG):
            self._host.failed(error)
        raise LinuxError(error.errno or errno.EIO) from None

    def fsync(self, data_only: bool) -> None:
        if not self._regular:
            raise LinuxError(errno.EINVAL)
        self._do(self._events.writable, os.fdatasync if data_only else os.fsync)

    # Control

    def set_flags(self, flags: int) -> None:
        """O_APPEND is the file's, and so the host's; O_NONBLOCK is only the guest's, or other processes of the host
        would have it too.
        """
        super().set_flags(flags)
        if self._regular:
            now = fcntl.fcntl(self._fd, fcntl.F_GETFL)
            fcntl.fcntl(self._fd, fcntl.F_SETFL, now & ~os.O_APPEND | self.flags & os.O_APPEND)

    def ioctl(self, caller: Caller[Path], command: int, argument: int) -> int:
        if command != FIONREAD or self._regular:
            raise LinuxError(errno.ENOTTY)
        try:
            waiting = fcntl.ioctl(self._fd, FIONREAD, bytes(4))
        except OSError as error:
            self._fail(error)
        caller.mm.write(argument, waiting)
        return 0

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        if not self._waits:
            return ALWAYS_READY, ()
        mask = self._events.now(self._fd, select.POLLIN | select.POLLOUT | select.POLLPRI)
        mask |= (select.POLLRDNORM if mask & select.POLLIN else 0) | (select.POLLWRNORM if mask & select.POLLOUT else 0)
        queues = (self._events.readable(self._fd),) if self.readable else ()
        return mask, (*queues, self._events.writable(self._fd)) if self.writable else queues

    def readdir(self) -> NoReturn:
        """A directory of the host is not to be looked into."""
        raise LinuxError(errno.EACCES if self.inode.is_directory else errno.ENOTDIR)

    def release(self) -> None:
        if self._own is not None:
            self._events.forget(self._own)
            os.close(self._own)


def _send(fd: int, data: bytes) -> int:
    """write(2) to a socket, as far as there is room."""
    import socket  # 4 ms, and few have one

    with socket.socket(fileno=os.dup(fd)) as connection:
        return connection.send(data, socket.MSG_DONTWAIT)
