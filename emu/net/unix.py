"""AF_UNIX: sockets whose addresses are names of files, or abstract (net/unix/af_unix.c, unix(7))."""

from __future__ import annotations

import errno
import stat
import struct
from typing import TYPE_CHECKING

from emu.fs import operations
from emu.fs.file import WouldBlock
from emu.linux.caller import SCOPE_ABSTRACT_UNIX_SOCKET
from emu.linux.errors import LinuxError
from emu.linux.fileflags import May
from emu.linux.wait import WaitQueue
from emu.net.packet import NOBODY, Identity, Message, Packet, identity_of
from emu.net.socket import (
    ERR,
    HUP,
    IN,
    OUT,
    RDHUP,
    SHUT_RD,
    SHUT_RDWR,
    SHUT_WR,
    SO_PASSCRED,
    SO_PASSPIDFD,
    SOL_SOCKET,
    WRBAND,
    Socket,
)  # fmt: skip

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.linux.caller import Caller
    from emu.net.network import Network

AF_UNSPEC, AF_UNIX = 0, 1
_FAMILY = struct.pack("<H", AF_UNIX)
_MAX_PATH = 108
#: net.unix.max_dgram_qlen: messages that a receiver keeps.
_MAX_DGRAM_QLEN = 10
_PASSED_ON = ((SOL_SOCKET, SO_PASSCRED), (SOL_SOCKET, SO_PASSPIDFD))


class UnixSockets:
    """The names of a machine's sockets: abstract ones, of each type its own, and by device and inode number."""

    def __init__(self, net: Network, bound: dict[tuple[int, int], UnixSocket]) -> None:
        """``bound``: those with a file, which all networks have together."""
        self.net = net
        self.vfs = net.vfs
        self.abstract: dict[tuple[bytes, int], UnixSocket] = {}
        self.bound = bound
        self._last = 0

    def autobind(self, type_: int) -> bytes:
        """A free abstract name of five digits (unix_autobind)."""
        while True:
            self._last = self._last + 1 & 0xFFFFF
            name = b"\0%05x" % self._last
            if (name, type_) not in self.abstract:
                return name

    def find(self, caller: Caller[Path], address: bytes, type_: int) -> UnixSocket:
        """Who has an address (unix_find_other).  LinuxError."""
        name = path_of(address)
        if name[:1] == b"\0":
            found = self.abstract.get((name, type_))
        else:
            walker = self.vfs.walker(caller)
            inode = walker.resolve(_text(name)).dentry.inode
            inode.permission(int(May.WRITE), walker.who)
            there = inode.getattr()
            found = self.bound.get((there.dev, there.ino))
        if found is None:
            raise LinuxError(errno.ECONNREFUSED)
        if found.type != type_:
            raise LinuxError(errno.EPROTOTYPE)
        domain = None if caller is None or name[:1] != b"\0" else caller.credentials.landlock
        if domain is not None and domain.is_scoped(found.landlock, SCOPE_ABSTRACT_UNIX_SOCKET):
            raise LinuxError(errno.EPERM)
        return found


class UnixSocket(Socket):
    """A socket of AF_UNIX; how it sends and receives is its type's."""

    family = AF_UNIX

    def __init__(self, names: UnixSockets, type_: int, flags: int = 0) -> None:
        super().__init__(names.net, type_, 0, flags)
        self._names = names
        #: sun_path, as bound: with its NUL for the name of a file.
        self.name = b""
        #: The device and inode number of its file.
        self._place: tuple[int, int] | None = None
        #: The other end; it stays known when it was closed.
        self.peer: UnixSocket | None = None
        #: TCP_ESTABLISHED.
        self.connected = False
        #: Those who wait for room here sleep there; who only polls is told by its own queues.
        self.peer_wait = WaitQueue()
        self._told_of_room: dict[UnixSocket, None] = {}

    # -- addresses -------------------------------------------------------------------------------------------------

    def address(self) -> bytes:
        return _FAMILY + self.name

    def source(self) -> bytes:
        """The address that a receiver of its messages sees."""
        return self.address() if self.name else b""

    def peer_address(self) -> bytes:
        if self.peer is None:
            raise LinuxError(errno.ENOTCONN)
        return self.peer.address()

    def bind(self, caller: Caller[Path], address: bytes) -> None:
        if address == _FAMILY:
            self.autobind()
            return
        name = path_of(address)
        if name[:1] != b"\0":
            self._bind_file(caller, name)
            return
        if self.name:
            raise LinuxError(errno.EINVAL)
        if (name, self.type) in self._names.abstract:
            raise LinuxError(errno.EADDRINUSE)
        self._names.abstract[name, self.type] = self
        self.name = name

    def autobind(self) -> None:
        """Have a name, whichever."""
        if not self.name:
            self.name = self._names.autobind(self.type)
            self._names.abstract[self.name, self.type] = self

    def _bind_file(self, caller: Caller[Path], name: bytes) -> None:
        """The file is made first, and removed again if the socket has a name."""
        walker, text = self._names.vfs.walker(caller), _text(name)
        try:
            operations.mknod(walker, text, stat.S_IFSOCK | 0o777, 0)
        except LinuxError as error:
            raise LinuxError(errno.EADDRINUSE if error.errno == errno.EEXIST else error.errno) from None
        if self.name:
            operations.unlink(walker, text)
            raise LinuxError(errno.EINVAL)
        found = walker.resolve(text, follow=False).dentry.inode.getattr()
        self._place = found.dev, found.ino
        self._names.bound[self._place] = self
        self.name = name

    def unbind(self) -> None:
        if self._names.abstract.get((self.name, self.type)) is self:
            del self._names.abstract[self.name, self.type]
        if self._place is not None and self._names.bound.get(self._place) is self:
            del self._names.bound[self._place]

    # -- credentials -----------------------------------------------------------------------------------------------

    @property
    def passes_credentials(self) -> bool:
        """SO_PASSCRED or SO_PASSPIDFD is set."""
        return bool(self.option(SO_PASSCRED) or self.option(SO_PASSPIDFD))

    def _autobind_for_credentials(self) -> None:
        if self.passes_credentials:
            self.autobind()

    def _sender_of(self, message: Message, to: UnixSocket) -> Identity:
        """Who a packet is from: who was named, or the caller if an end wants to know (unix_maybe_add_creds)."""
        if message.claimed is not None:
            return message.claimed
        if self.passes_credentials or to.passes_credentials or to.listener is not None:
            return self.net.who_sends()
        return NOBODY

    def _packet(self, data: bytes, message: Message, to: UnixSocket, cost: int) -> Packet:
        """A packet to a socket, with what the message carries; that is gone then."""
        packet = Packet(data, self, b"", self._sender_of(message, to), message.files, cost=cost)
        if message.files:
            packet.sent_by = self.net.who_calls().uid
        return packet

    # -- connections -----------------------------------------------------------------------------------------------

    def listen(self, caller: Caller[Path], backlog: int) -> None:
        if not self.is_connection:
            raise LinuxError(errno.EOPNOTSUPP)
        if not self.name or self.connected:
            raise LinuxError(errno.EINVAL)
        self.start_listening(backlog)
        self.identity = identity_of(caller)
        self.peer_identity = self.identity
        self.peer_wait.wake_all()

    def connect(self, caller: Caller[Path], address: bytes, *, wait: bool) -> None:
        path_of(address)
        self._autobind_for_credentials()
        listener = self._names.find(caller, address, self.type)
        if listener.backlog is None or listener.shut_read:
            raise LinuxError(errno.ECONNREFUSED)
        if len(listener.backlog) > listener.max_backlog:
            raise WouldBlock(listener.peer_wait)
        if self.connected or self.backlog is not None:
            raise LinuxError(errno.EISCONN if self.connected else errno.EINVAL)
        accepted = self.new_end()
        accepted.name, accepted.listener = listener.name, listener
        for option in _PASSED_ON:
            accepted.options[option] = listener.options.get(option, 0)
        pair(self, accepted)
        self.identity, self.peer_identity = identity_of(caller), listener.identity
        accepted.identity, accepted.peer_identity = listener.identity, self.identity
        listener.backlog.append(accepted)
        listener.data_ready()

    def new_end(self) -> UnixSocket:
        """A socket of the same type, for the other side.  LinuxError(ENFILE, ENOMEM)."""
        return type(self)(self._names, self.type)

    def backlog_shrank(self) -> None:
        self.peer_wait.wake_all()

    def shutdown(self, how: int) -> None:
        if not SHUT_RD <= how <= SHUT_RDWR:
            raise LinuxError(errno.EINVAL)
        read, write = how in (SHUT_RD, SHUT_RDWR), how in (SHUT_WR, SHUT_RDWR)
        self.shut_read |= read
        self.shut_write |= write
        self.wake()  # before the peer: epoll tells of them in this order
        peer = self.peer
        if peer is not None and self.is_connection:
            peer.shut_read |= write
            peer.shut_write |= read
            peer.wake()

    def hang_up(self) -> None:
        peer, self.peer = self.peer, None
        self.connected = False
        if peer is not None and self.is_connection:
            peer.shut_read = peer.shut_write = True
            if self.listener is not None or self._has_unread():
                peer.error = errno.ECONNRESET
            peer.wake()
        self.refuse_waiting()
        self.purge()
        self.room_for_peers()
        self.net.collect_later()

    def _has_unread(self) -> bool:
        first = 1 if self.inbox and not self.inbox[0].data else 0  # an urgent byte that was read, or as if
        return len(self.inbox) > first

    # -- polling ---------------------------------------------------------------------------------------------------

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        mask = ERR if self.error else 0
        if self.shut_read:
            mask |= RDHUP | IN
            if self.shut_write:
                mask |= HUP
        if self.inbox or self.backlog:
            mask |= IN
        if self.is_connection and not self.connected and self.backlog is None:
            mask |= HUP
        if self.backlog is None and 4 * self.outstanding <= self.sndbuf and self._peer_has_room():  # unix_writable()
            mask |= OUT | WRBAND
        return mask, (self.not_empty, self.not_full)

    @property
    def is_full(self) -> bool:
        """It has as many messages as it keeps (unix_recvq_full)."""
        return len(self.inbox) > _MAX_DGRAM_QLEN

    def _peer_has_room(self) -> bool:
        return True

    def room_again(self) -> None:
        if 4 * self.outstanding <= self.sndbuf:
            self.write_space()

    def room_for_peers(self) -> None:
        """A message was received, or the socket closed: who waits for room here looks again."""
        self.peer_wait.wake_all()
        told, self._told_of_room = self._told_of_room, {}
        for each in told:
            each.write_space()

    def tell_of_room(self, sender: UnixSocket) -> None:
        """A sender polls, and there is no room (unix_dgram_peer_wake_me)."""
        self._told_of_room[sender] = None


def pair(one: UnixSocket, other: UnixSocket) -> None:
    """Two sockets are each other's peers."""
    one.peer, other.peer = other, one
    one.connected = other.connected = True


def path_of(address: bytes) -> bytes:
    """sun_path, with a NUL behind the name of a file (unix_validate_addr).  LinuxError(EINVAL)."""
    if not 2 < len(address) <= 2 + _MAX_PATH or address[:2] != _FAMILY:
        raise LinuxError(errno.EINVAL)
    name = address[2:]
    return name if name[0] == 0 else name.partition(b"\0")[0] + b"\0"


def _text(name: bytes) -> str:
    return name.partition(b"\0")[0].decode("utf-8", "surrogateescape")
