"""AF_UNIX: sockets whose addresses are names of files, or abstract (net/unix/af_unix.c, unix(7))."""

from __future__ import annotations

import errno
import stat
import struct
from typing import TYPE_CHECKING

from emu.fs import operations
from emu.linux.errors import LinuxError
from emu.linux.fileflags import May
from emu.net.socket import Packet, Socket, identity_of, pair

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.mount import VfsMount
    from emu.fs.vfs import Vfs
    from emu.linux.caller import Caller

AF_UNIX = 1
_FAMILY = struct.pack("<H", AF_UNIX)
_MAX_PATH = 108
#: net.unix.max_dgram_qlen: messages that a receiver keeps.
_MAX_MESSAGES = 10


class UnixSockets:
    """The names of a machine's sockets: abstract ones, and by device and inode number."""

    def __init__(self, vfs: Vfs) -> None:
        self.vfs = vfs
        self.abstract: dict[bytes, UnixSocket] = {}
        self.bound: dict[tuple[int, int], UnixSocket] = {}
        self._last = 0

    def autobind(self) -> bytes:
        """A free abstract name of five digits (unix_autobind)."""
        while True:
            self._last = self._last + 1 & 0xFFFFF
            name = b"\0%05x" % self._last
            if name not in self.abstract:
                return name


class UnixSocket(Socket):
    """A socket of AF_UNIX."""

    family = AF_UNIX

    def __init__(self, names: UnixSockets, mount: VfsMount, type_: int, flags: int = 0) -> None:
        super().__init__(mount, type_, 0, flags)
        self._names = names
        #: sun_path, as bound: with its NUL for the name of a file.
        self.name = b""
        #: The device and inode number of its file.
        self._place: tuple[int, int] | None = None

    # -- addresses -------------------------------------------------------------------------------------------------

    def address(self) -> bytes:
        return _FAMILY + self.name

    def source(self) -> bytes:
        return self.address() if self.name else b""

    def peer_address(self) -> bytes:
        if self.peer is None:
            raise LinuxError(errno.ENOTCONN)
        return self.peer.address()

    def bind(self, caller: Caller[Path], address: bytes) -> None:
        name = _path_of(address)
        if self.name:
            raise LinuxError(errno.EINVAL)
        if not name:
            name = self._names.autobind()
        if name[0] == 0:
            if name in self._names.abstract:
                raise LinuxError(errno.EADDRINUSE)
            self._names.abstract[name] = self
            self.name = name
            return
        walker, text = self._names.vfs.walker(caller), _text(name)
        try:
            operations.mknod(walker, text, stat.S_IFSOCK | 0o777, 0)
        except LinuxError as error:
            raise LinuxError(errno.EADDRINUSE if error.errno == errno.EEXIST else error.errno) from None
        found = walker.resolve(text, follow=False).dentry.inode.getattr()
        self._place = found.dev, found.ino
        self._names.bound[self._place] = self
        self.name = name

    def unbind(self) -> None:
        if self._names.abstract.get(self.name) is self:
            del self._names.abstract[self.name]
        if self._place is not None and self._names.bound.get(self._place) is self:
            del self._names.bound[self._place]

    def find_target(self, caller: Caller[Path], address: bytes) -> UnixSocket:
        name = _path_of(address)
        if not name:
            raise LinuxError(errno.EINVAL)
        if name[0] == 0:
            found = self._names.abstract.get(name)
        else:
            walker = self._names.vfs.walker(caller)
            inode = walker.resolve(_text(name)).dentry.inode
            inode.permission(int(May.WRITE), walker.who)
            there = inode.getattr()
            found = self._names.bound.get((there.dev, there.ino))
        if found is None:
            raise LinuxError(errno.ECONNREFUSED)
        if found.type != self.type:
            raise LinuxError(errno.EPROTOTYPE)
        return found

    def send_to(self, caller: Caller[Path], address: bytes, data: bytes, packet: Packet) -> int:
        if address and self.is_stream:
            raise LinuxError(errno.EISCONN if self.connected else errno.EOPNOTSUPP)
        return super().send_to(caller, b"" if self.is_connection else address, data, packet)

    # -- connections -----------------------------------------------------------------------------------------------

    def connect(self, caller: Caller[Path], address: bytes) -> None:
        if self.is_connection:
            if self.backlog is not None:
                raise LinuxError(errno.EINVAL)
            target = self.find_target(caller, address)
            if self.connected:
                raise LinuxError(errno.EISCONN)
            self.join(target, caller)
        elif struct.unpack_from("<H", address)[0] == 0:  # AF_UNSPEC
            self.peer, self.connected = None, False
        else:
            target = self.find_target(caller, address)
            if target.peer not in (None, self):
                raise LinuxError(errno.EPERM)
            self.peer, self.connected = target, True
            self.wake()

    def bind_to_listen(self) -> None:
        if not self.name:
            raise LinuxError(errno.EINVAL)

    def make_accepted(self, client: Socket) -> Socket:
        accepted = UnixSocket(self._names, self._mount, self.type)
        accepted.name = self.name
        return accepted

    def told_of_shutdown(self, read: bool, write: bool) -> None:
        self.shut_read |= write
        self.shut_write |= read

    def has_room_for(self, sender: Socket, length: int) -> bool:
        return self.is_connection or self.peer is sender or len(self.inbox) <= _MAX_MESSAGES

    def taken(self, packet: Packet, cost: int) -> None:
        super().taken(packet, cost)
        self.not_full.wake_all()


def socketpair(
    names: UnixSockets, mount: VfsMount, caller: Caller[Path], type_: int, flags: int
) -> tuple[UnixSocket, UnixSocket]:
    """socketpair(2)."""
    one = UnixSocket(names, mount, type_, flags)
    try:
        other = UnixSocket(names, mount, type_, flags)
    except LinuxError:
        one.put()
        raise
    pair(one, other)
    who = identity_of(caller)
    for socket in (one, other):
        socket.identity = socket.peer_identity = who
    return one, other


def _path_of(address: bytes) -> bytes:
    """sun_path, with a NUL behind the name of a file.  LinuxError(EINVAL)."""
    if not 2 <= len(address) <= 2 + _MAX_PATH or address[:2] != _FAMILY:
        raise LinuxError(errno.EINVAL)
    name = address[2:]
    return name if not name or name[0] == 0 else name.partition(b"\0")[0] + b"\0"


def _text(name: bytes) -> str:
    return name.partition(b"\0")[0].decode("utf-8", "surrogateescape")
