"""The console: descriptors 0, 1 and 2 of the first process, connected to streams of the host.

To the guest they look like pipes, as they do for a program whose input and output are redirected: no terminal
ioctls, no seeking. Reading ends with the host's stream; without one it is at its end from the start.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from emu.fs.dentry import Path, unnamed_path
from emu.fs.file import BrokenPipe, File
from emu.fs.inode import Inode
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags, PollEvents

if TYPE_CHECKING:
    from emu.fs.fdtable import FdTable
    from emu.fs.superblock import SuperBlock
    from emu.fs.vfs import Vfs
    from emu.linux.caller import Caller


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
    """The three streams; an output is a binary file, a function that takes bytes, or None, which discards it."""

    def __init__(
        self,
        vfs: Vfs,
        stdin: Source | None = None,
        stdout: Sink | Callable[[bytes], object] | None = None,
        stderr: Sink | Callable[[bytes], object] | None = None,
    ) -> None:
        mount = vfs.internal_mount("pipefs")
        self._paths: list[Path] = []
        for source, sink in ((stdin, None), (None, stdout or _discard), (None, stderr or _discard)):
            inode = ConsoleInode(mount.sb, source, sink)
            self._paths.append(unnamed_path(mount, inode, f"pipe:[{inode.ino}]"))

    def open(self, stream: int) -> File:
        """A new open file for stream 0, 1 or 2."""
        return ConsoleFile(self._paths[stream], OpenFlags.RDONLY if stream == 0 else OpenFlags.WRONLY)

    def install(self, files: FdTable) -> None:
        """Put the three streams into an empty table as descriptors 0, 1 and 2."""
        for stream in range(3):
            files.open(self.open(stream))


def _discard(data: bytes) -> None:
    """Discards its output."""
