"""The console: descriptors 0, 1 and 2 of the first process, connected to the host.

A descriptor of the host is what it is there (:mod:`emu.fs.hostfile`).  A stream of Python's looks like a pipe to the
guest: no terminal ioctls, no seeking.  Reading ends with the stream; without one it is at its end from the start.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from emu.fs.dentry import Path, unnamed_path
from emu.fs.devfs import DEVICES
from emu.fs.file import BrokenPipe, File
from emu.fs.hostfile import HostDescriptor, HostFile, HostInode
from emu.fs.inode import Inode
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags, PollEvents
from emu.linux.host_events import HostEvents

if TYPE_CHECKING:
    from emu.fs.fdtable import FdTable
    from emu.fs.superblock import SuperBlock
    from emu.fs.vfs import Vfs
    from emu.linux.caller import Caller


#: Opens a stream once more.
Stream = Callable[[], File]
#: Makes a stream of a descriptor that is a terminal.
Terminals = Callable[[HostDescriptor, int, os.stat_result], Stream]


class Source(Protocol):
    """A host stream to read from (a binary file)."""

    def read(self, count: int, /) -> bytes | None:
        """Up to ``count`` bytes; ``b""`` or None at the end."""


class Sink(Protocol):
    """A host stream to write to (a binary file)."""

    def write(self, data: bytes, /) -> object:
        """Take all of ``data``."""


class ConsoleFile(File):
    """One open end of the console."""

    seekable = False
    inode: ConsoleInode

    def read(self, count: int) -> bytes:
        return self.inode.receive(count) if count else b""

    def unread(self, data: bytes, stored: int) -> int:
        self.inode.put_back(data[stored:])
        return stored

    def write(self, data: bytes) -> int:
        send = self.inode.send
        if send is None:
            raise LinuxError(errno.EBADF)
        try:
            send(data)
        except BrokenPipeError:
            # The host's reader is gone: the guest sees what a program run natively would see.
            raise BrokenPipe from None
        return len(data)

    def poll(self) -> tuple[int, tuple[()]]:
        mask = 0
        if self.readable:
            mask |= PollEvents.IN | PollEvents.RDNORM
        if self.writable:
            mask |= PollEvents.OUT | PollEvents.WRNORM
        return int(mask), ()


class ConsoleInode(Inode):
    """What stands behind one console stream."""

    def __init__(self, sb: SuperBlock, source: Source | None, sink: Sink | Callable[[bytes], object] | None) -> None:
        super().__init__(sb, stat.S_IFIFO | 0o600)
        self._source = source
        self._back = b""
        self.send: Callable[[bytes], object] | None = sink if callable(sink) or sink is None else sink.write
        isatty = getattr(source, "isatty", None)
        #: A person types lines; anything else is read in full pieces, so that the guest's reads do not depend on how
        #: full the host's pipe happens to be.
        self._read = getattr(source, "readline", None) if isatty is not None and isatty() else None

    def receive(self, count: int) -> bytes:
        """Up to ``count`` bytes from the host; ``b""`` at the end."""
        if self._back:
            data, self._back = self._back[:count], self._back[count:]
            return data
        if self._source is None:
            return b""
        received = self._read(count) if self._read is not None else self._source.read(count)
        return bytes(received) if received else b""

    def put_back(self, data: bytes) -> None:
        """Give ``data`` to the next read."""
        self._back = data + self._back

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        if flags & OpenFlags.ACCMODE != OpenFlags.RDONLY and self.send is None:
            raise LinuxError(errno.EACCES)
        return ConsoleFile(path, flags)


class Console:
    """The three streams.  An input is a binary file or None, which is empty; an output is a binary file, a function
    that takes bytes, or None, which discards it; each may be a descriptor of the host.
    """

    def __init__(
        self,
        vfs: Vfs,
        stdin: Source | HostDescriptor | None = None,
        stdout: Sink | HostDescriptor | Callable[[bytes], object] | None = None,
        stderr: Sink | HostDescriptor | Callable[[bytes], object] | None = None,
        events: HostEvents | None = None,
        terminals: Terminals | None = None,
    ) -> None:
        """``events``: where tasks wait for descriptors of the host; ``terminals``: what is made of a terminal of the
        host (None: it is like any other device).
        """
        self._vfs = vfs
        self._events = events or HostEvents()
        self._terminals = terminals
        self._streams = [
            self._stream(stdin, None), self._stream(None, stdout or _discard), self._stream(None, stderr or _discard)
        ]  # fmt: skip

    def _stream(
        self, source: Source | HostDescriptor | None, sink: Sink | HostDescriptor | Callable[[bytes], object] | None
    ) -> Stream | None:
        host = source if isinstance(source, HostDescriptor) else sink if isinstance(sink, HostDescriptor) else None
        if host is not None:
            return None if host.fd is None else self._host_stream(host, host.fd)
        assert not isinstance(source, HostDescriptor) and not isinstance(sink, HostDescriptor)
        mount = self._vfs.internal_mount("pipefs")
        inode = ConsoleInode(mount.sb, source, sink)
        path = unnamed_path(mount, inode, f"pipe:[{inode.ino}]")
        return lambda: ConsoleFile(path, OpenFlags.RDONLY if sink is None else OpenFlags.WRONLY)

    def _host_stream(self, host: HostDescriptor, fd: int) -> Stream:
        """A descriptor of the host: a terminal and a device that the machine has too are found in its /dev; the rest
        has no name.
        """
        events, status = self._events, os.fstat(fd)
        if self._terminals is not None and os.isatty(fd):
            return self._terminals(host, fd, status)
        if stat.S_ISCHR(status.st_mode) and status.st_rdev in DEVICES.values():
            (name,) = (name for name, rdev in DEVICES.items() if rdev == status.st_rdev)
            known = self._vfs.walker(None).resolve(f"/dev/{name}")
            return lambda: HostFile.of(known, host, events)
        mount = self._vfs.internal_mount("pipefs")
        inode = HostInode(mount.sb, host, events)
        kind = {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}.get(inode.kind, "host")
        path = unnamed_path(mount, inode, f"{kind}:[{inode.ino}]")
        return lambda: HostFile.of(path, host, events)

    def open(self, stream: int) -> File | None:
        """A new open file for stream 0, 1 or 2; None if it is closed."""
        made = self._streams[stream]
        return None if made is None else made()

    def install(self, files: FdTable) -> None:
        """Put the streams into an empty table as descriptors 0, 1 and 2."""
        for stream in range(3):
            file = self.open(stream)
            if file is not None:
                files.open(file, lowest=stream)


def _discard(data: bytes) -> None:
    """Discards its output."""
