"""What all sockets have: a queue of what has arrived, a peer, options (net/socket.c, net/core/sock.c)."""

from __future__ import annotations

import errno
import stat
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from emu.fs.dentry import Path, unnamed_path
from emu.fs.file import BrokenPipe, File, WouldBlock
from emu.fs.libfs import FixedDirectory, Node
from emu.fs.superblock import FileSystemType, SuperBlock
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags, PollEvents
from emu.linux.wait import WaitQueue
from emu.mm.kmem import SK_BUFF, SOCK

if TYPE_CHECKING:
    from emu.fs.mount import VfsMount
    from emu.fs.resources import Resources
    from emu.linux.caller import Caller

SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET = 1, 2, 3, 5
SHUT_RD, SHUT_WR, SHUT_RDWR = 0, 1, 2
MSG_OOB, MSG_PEEK, MSG_CTRUNC, MSG_TRUNC, MSG_DONTWAIT, MSG_EOR = 1, 2, 8, 0x20, 0x40, 0x80
MSG_WAITALL, MSG_NOSIGNAL, MSG_MORE, MSG_CMSG_CLOEXEC = 0x100, 0x4000, 0x8000, 0x4000_0000
#: net.core.wmem_default, wmem_max, somaxconn.
DEFAULT_BUFFER, MAX_BUFFER, SOMAXCONN = 212992, 212992, 4096
#: What a message takes beside its bytes (the size of a struct sk_buff and what it shares), and takes at least.
_OVERHEAD, _LEAST = 576, 768
_IN = int(PollEvents.IN | PollEvents.RDNORM)
_OUT = int(PollEvents.OUT | PollEvents.WRNORM)
_HUP, _ERR, _RDHUP = int(PollEvents.HUP), int(PollEvents.ERR), int(PollEvents.RDHUP)
SOCKFS_MAGIC = 0x534F434B


class Identity(NamedTuple):
    """struct ucred: who sent a message, or made a connection."""

    pid: int
    uid: int
    gid: int


def identity_of(caller: Caller[Path]) -> Identity:
    """Who the caller is, by its effective ids."""
    return Identity(caller.tgid, caller.credentials.euid, caller.credentials.egid)


NOBODY = Identity(0, -1, -1)


@dataclass
class Packet:
    """Bytes on their way: a message, or a part of a stream."""

    data: bytes
    #: Whose room they take until they are read.
    sender: Socket | None
    #: The sender's address, as sockaddr bytes.
    address: bytes = b""
    identity: Identity = NOBODY
    files: list[File] = field(default_factory=list)
    #: What it is charged with while it waits in an inbox.
    charged: int = 0

    @property
    def cost(self) -> int:
        """The room that it takes from the sender's buffer."""
        return max(_LEAST, len(self.data) + _OVERHEAD)

    def drop(self) -> None:
        """It goes without having been received."""
        for file in self.files:
            file.put()
        self.files = []


class Received(NamedTuple):
    """What a receiver gets."""

    data: bytes
    address: bytes = b""
    #: The length of the whole message.
    length: int = 0
    identity: Identity = NOBODY
    files: Sequence[File] = ()


class SocketInode(Node):
    """The inode of a socket."""

    def __init__(self, sb: SuperBlock) -> None:
        super().__init__(sb, stat.S_IFSOCK | 0o777)


class Socket(File):
    """A socket of any family; what differs between families is below the line."""

    struct_size = SOCK
    seekable = False
    has_fasync = True
    family: int

    def __init__(self, mount: VfsMount, type_: int, protocol: int, flags: int = 0) -> None:
        inode = SocketInode(mount.sb)
        path = unnamed_path(mount, inode, f"socket:[{inode.ino}]")
        super().__init__(path, OpenFlags.RDWR | flags & OpenFlags.NONBLOCK)
        self._mount = mount
        self.type = type_
        self.protocol = protocol
        self.inbox: deque[Packet] = deque()
        #: The cost of what this socket has sent and nobody has read.
        self.outstanding = 0
        self.sndbuf = self.rcvbuf = DEFAULT_BUFFER
        self.peer: Socket | None = None
        #: Whether there has been a peer: it may have gone.
        self.connected = False
        self.shut_read = self.shut_write = False
        #: SO_ERROR.
        self.error = 0
        self.identity = self.peer_identity = NOBODY
        #: Connections that nobody has accepted; None: it does not listen.
        self.backlog: deque[Socket] | None = None
        self.max_backlog = 0
        #: SO_RCVTIMEO and SO_SNDTIMEO in nanoseconds, 0 for none; the other options by (level, name).
        self.receive_timeout = self.send_timeout = 0
        self.options: dict[tuple[int, int], int] = {}
        self.not_empty, self.not_full = WaitQueue(), WaitQueue()
        self.closed = False

    @property
    def is_stream(self) -> bool:
        """SOCK_STREAM: bytes without boundaries."""
        return self.type == SOCK_STREAM

    @property
    def is_connection(self) -> bool:
        """A type that connects, listens and accepts."""
        return self.type in (SOCK_STREAM, SOCK_SEQPACKET)

    def wake(self) -> None:
        """Anything may have changed."""
        self.not_empty.wake_all()
        self.not_full.wake_all()

    # -- sending ---------------------------------------------------------------------------------------------------

    def _check_send(self) -> None:
        self.raise_error()
        if self.shut_write:
            raise BrokenPipe

    def send(self, data: bytes, packet: Packet, target: Socket | None = None) -> int:
        """Give as much as has room to the peer, or a whole message to the ``target``; how many bytes went.

        ``packet`` has what goes along.  LinuxError, WouldBlock; ENOBUFS without memory.
        """
        self._check_send()
        to = target or self.peer
        if to is None:
            if self.connected and self.is_connection:
                raise BrokenPipe
            raise LinuxError(errno.ENOTCONN)
        if not self.is_stream and len(data) + _OVERHEAD > self.sndbuf:
            raise LinuxError(errno.EMSGSIZE)
        if to.closed or to.shut_read:
            raise BrokenPipe if self.is_connection else LinuxError(errno.ECONNREFUSED)
        if not self.is_stream:
            if not to.has_room_for(self, len(data)):
                raise WouldBlock(to.not_full)
        room = self.sndbuf - self.outstanding  # the last message may take more (sock_alloc_send_pskb)
        if room <= 0:
            raise WouldBlock(self.not_full)
        if self.is_stream and not data:
            return 0
        packet.data = data[:room] if self.is_stream else data
        to.put_in(packet)
        self.outstanding += packet.cost
        to.not_empty.wake_all()
        return len(packet.data)

    def put_in(self, packet: Packet, *, first: bool = False) -> None:
        """A packet has arrived (or has come back: ``first``).  LinuxError(ENOBUFS)."""
        packet.charged = SK_BUFF + len(packet.data)
        try:
            self.keep(self._kept + packet.charged)
        except LinuxError:
            raise LinuxError(errno.ENOBUFS) from None
        if first:
            self.inbox.appendleft(packet)
        else:
            self.inbox.append(packet)

    def _take_out(self) -> Packet:
        """The first packet leaves the inbox."""
        packet = self.inbox.popleft()
        self.keep(self._kept - packet.charged)
        return packet

    def send_to(self, caller: Caller[Path], address: bytes, data: bytes, packet: Packet) -> int:
        """:meth:`send`, to an address if one is given."""
        return self.send(data, packet, self.find_target(caller, address) if address else None)

    def has_room_for(self, sender: Socket, length: int) -> bool:
        """Whether a receiver of messages takes one more."""
        return True

    # -- receiving -------------------------------------------------------------------------------------------------

    def receive(self, count: int, flags: int = 0) -> Received:
        """At most ``count`` bytes of the stream, or the next message, cut off at ``count``.  LinuxError, WouldBlock."""
        if not self.inbox:
            self.raise_error()
            if self.shut_read or self._no_more():
                return Received(b"")
            if self.is_connection and not self.connected:
                raise LinuxError(self.not_connected_error)
            raise WouldBlock(self.not_empty)
        if not self.is_stream:
            return self._receive_message(count, flags)
        return self._receive_stream(count, bool(flags & MSG_PEEK))

    #: For who receives from a socket that never had a peer.
    not_connected_error: ClassVar[int] = errno.EINVAL

    def _no_more(self) -> bool:
        """Whether nothing can arrive any more."""
        peer = self.peer
        return self.is_connection and self.connected and (peer is None or peer.shut_write)

    def _receive_message(self, count: int, flags: int) -> Received:
        packet = self.inbox[0]
        if flags & MSG_PEEK:
            files = [file.get() for file in packet.files]
        else:
            self._take_out()
            files, packet.files = packet.files, []
            self.taken(packet, packet.cost)
        return Received(packet.data[:count], packet.address, len(packet.data), packet.identity, files)

    def _receive_stream(self, count: int, peek: bool) -> Received:
        """Bytes to the end of the first message that brings descriptors, or before one that comes from somebody else
        (unix_stream_read_generic).
        """
        first, parts, left = self.inbox[0], [], count
        files: list[File] = []
        for number, packet in enumerate(list(self.inbox)):
            if number and (files or packet.identity != first.identity or packet.address != first.address):
                break
            if not left and number:
                break
            part = packet.data[:left]
            parts.append(part)
            left -= len(part)
            if peek:
                files = [file.get() for file in packet.files]
                continue
            files, packet.files = packet.files, []
            if len(part) == len(packet.data):
                self._take_out()
                self.taken(packet, packet.cost)
            else:
                packet.data = packet.data[len(part) :]
                self.taken(packet, len(part))
        data = b"".join(parts)
        return Received(data, first.address, len(data), first.identity, files)

    def taken(self, packet: Packet, cost: int) -> None:
        """Part of a packet has been read, or it goes: its sender has that room again."""
        if packet.sender is not None:
            packet.sender.outstanding -= cost
            packet.sender.not_full.wake_all()

    def raise_error(self) -> None:
        """The error that waits (sock_error), once."""
        if self.error:
            error, self.error = self.error, 0
            raise LinuxError(error)

    # -- as a file -------------------------------------------------------------------------------------------------

    def read(self, count: int) -> bytes:
        if not count:  # sock_read_iter()
            return b""
        got = self.receive(count)
        for file in got.files:
            file.put()
        return got.data

    def write(self, data: bytes) -> int:
        return self.send(data, Packet(b"", self, self.source(), self.identity))

    def prepare_write(self, count: int) -> int:
        self._check_send()
        return super().prepare_write(count)

    def unread(self, data: bytes, stored: int) -> int:
        if self.is_stream and stored < len(data):
            self.put_in(Packet(data[stored:], None), first=True)
        return stored

    def fsync(self, data_only: bool) -> None:
        raise LinuxError(errno.EINVAL)

    def ioctl(self, caller: Caller[Path], command: int, argument: int) -> int:
        if command == 0x541B:  # FIONREAD
            if self.backlog is not None:
                raise LinuxError(errno.EINVAL)
            whole = sum(len(packet.data) for packet in self.inbox)
            number = whole if self.is_stream or not self.inbox else len(self.inbox[0].data)
        elif command == 0x5411:  # SIOCOUTQ
            number = self.outstanding
        else:
            raise LinuxError(errno.ENOTTY)
        caller.mm.write(argument, number.to_bytes(4, "little"))
        return 0

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        mask = _ERR if self.error else 0
        if self.backlog is not None:
            return mask | (_IN if self.backlog else 0), (self.not_empty,)
        ended = self._no_more()
        if self.inbox or self.shut_read or ended:
            mask |= _IN
        if self.shut_read or ended:
            mask |= _RDHUP
        if self.is_connection:
            if self._hung_up() or (self.shut_write and (self.shut_read or ended)):
                mask |= _HUP
            if not self.connected:
                return mask | _OUT, (self.not_empty, self.not_full)
        if 4 * self.outstanding <= self.sndbuf and self._peer_has_room():  # unix_writable()
            mask |= _OUT
        return mask, (self.not_empty, self.not_full)

    def _hung_up(self) -> bool:
        return not self.connected or self.peer is None

    def _peer_has_room(self) -> bool:
        return self.is_stream or self.peer is None or self.peer.has_room_for(self, 0)

    def release(self) -> None:
        self.closed = True
        self.unbind()
        for waiting in self.backlog or ():
            waiting.put()
        self.backlog = None
        unread, peer = bool(self.inbox), self.peer
        while self.inbox:
            packet = self._take_out()
            self.taken(packet, packet.cost)
            packet.drop()
        self.peer = None
        if peer is not None and peer.peer is self:
            peer.lost_peer(unread)
        self.wake()

    def lost_peer(self, unread: bool) -> None:
        """The peer was closed, perhaps with something unread."""
        if self.is_connection:
            self.peer = None
            if unread:
                self.error = errno.ECONNRESET
        self.wake()

    # -- connections -----------------------------------------------------------------------------------------------

    def listen(self, caller: Caller[Path], backlog: int) -> None:
        """listen(2).  LinuxError(EOPNOTSUPP, EINVAL)."""
        if not self.is_connection:
            raise LinuxError(errno.EOPNOTSUPP)
        if self.connected:
            raise LinuxError(errno.EINVAL)
        self.bind_to_listen()
        self.max_backlog = min(backlog if backlog >= 0 else SOMAXCONN, SOMAXCONN)
        if self.backlog is None:
            self.backlog = deque()
        self.identity = identity_of(caller)
        self.wake()

    def accept(self) -> Socket:
        """The next connection.  LinuxError, WouldBlock."""
        if self.backlog is None:
            raise LinuxError(errno.EINVAL if self.is_connection else errno.EOPNOTSUPP)
        if not self.backlog:
            if self.shut_read:
                raise LinuxError(errno.EINVAL)
            raise WouldBlock(self.not_empty)
        accepted = self.backlog.popleft()
        self.not_full.wake_all()
        return accepted

    def join(self, listener: Socket, caller: Caller[Path]) -> None:
        """Connect to a listening socket, which has a new socket for it to accept.  LinuxError, WouldBlock."""
        if listener.backlog is None or listener.shut_read:
            raise LinuxError(errno.ECONNREFUSED)
        if len(listener.backlog) > listener.max_backlog:
            raise WouldBlock(listener.not_full)
        other = listener.make_accepted(self)
        pair(self, other)
        self.identity, self.peer_identity = identity_of(caller), listener.identity
        other.identity, other.peer_identity = listener.identity, self.identity
        listener.backlog.append(other)
        listener.not_empty.wake_all()

    def shutdown(self, how: int) -> None:
        """shutdown(2).  LinuxError(EINVAL, ENOTCONN)."""
        if not SHUT_RD <= how <= SHUT_RDWR:
            raise LinuxError(errno.EINVAL)
        self.check_shutdown()
        read, write = how in (SHUT_RD, SHUT_RDWR), how in (SHUT_WR, SHUT_RDWR)
        self.shut_read |= read
        self.shut_write |= write
        if self.peer is not None and self.is_connection:
            self.peer.told_of_shutdown(read, write)
            self.peer.wake()
        self.wake()

    def told_of_shutdown(self, read: bool, write: bool) -> None:
        """The peer reads, or writes, no more."""

    # -- what a family decides -------------------------------------------------------------------------------------

    def address(self) -> bytes:
        """Its own address, as sockaddr bytes (getsockname)."""
        raise NotImplementedError

    def peer_address(self) -> bytes:
        """That of the peer.  LinuxError(ENOTCONN)."""
        raise NotImplementedError

    def bind(self, caller: Caller[Path], address: bytes) -> None:
        """bind(2)."""
        raise NotImplementedError

    def connect(self, caller: Caller[Path], address: bytes) -> None:
        """connect(2).  LinuxError, WouldBlock."""
        raise NotImplementedError

    def find_target(self, caller: Caller[Path], address: bytes) -> Socket:
        """The receiver of a message to an address."""
        raise NotImplementedError

    def bind_to_listen(self) -> None:
        """listen(2) on a socket without an address."""

    def make_accepted(self, client: Socket) -> Socket:
        """The socket that accept(2) gives for a connection."""
        raise NotImplementedError

    def unbind(self) -> None:
        """Its address is free again."""

    def source(self) -> bytes:
        """The address that a receiver of its messages sees."""
        return self.address()

    def check_shutdown(self) -> None:
        """LinuxError(ENOTCONN) if shutdown(2) needs a peer that is not there."""


def pair(one: Socket, other: Socket) -> None:
    """Two sockets are each other's peers."""
    one.peer, other.peer = other, one
    one.connected = other.connected = True


class SockSuperBlock(SuperBlock):
    """The one instance."""

    magic = SOCKFS_MAGIC

    def __init__(self, resources: Resources, fstype: FileSystemType) -> None:
        super().__init__(resources, fstype)
        self.root = FixedDirectory(self)


class SockFsType(FileSystemType):
    """The type ``sockfs``."""

    name = "sockfs"

    def mount(self, resources: Resources, options: str) -> SuperBlock:
        return SockSuperBlock(resources, self)
