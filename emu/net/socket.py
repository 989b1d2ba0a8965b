"""What all sockets have: a queue of what has arrived, options, errors that wait (net/socket.c, net/core/sock.c)."""

from __future__ import annotations

import errno
from collections import deque
from typing import TYPE_CHECKING

from emu.fs.dentry import Path, unnamed_path
from emu.fs.file import BrokenPipe, File, WouldBlock
from emu.linux.errors import LinuxError, NoPage
from emu.linux.fileflags import OpenFlags, PollEvents
from emu.linux.wait import WaitQueue
from emu.mm.kmem import SK_BUFF, SOCK
from emu.net.packet import MSG_DONTWAIT, MSG_NOSIGNAL, MSG_PEEK, MSG_TRUNC, NOBODY, Message, Packet, Received, Sink
from emu.net.sockfs import SocketInode

if TYPE_CHECKING:
    from emu.linux.caller import Caller, Sandbox
    from emu.net.network import Network

SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET = 1, 2, 3, 5
SHUT_RD, SHUT_WR, SHUT_RDWR = 0, 1, 2
#: net.core.wmem_default and wmem_max; the least of both buffers (SOCK_MIN_SNDBUF, SOCK_MIN_RCVBUF).
DEFAULT_BUFFER, MAX_BUFFER = 212992, 4 << 20
MIN_SNDBUF, MIN_RCVBUF = 4608, 2304
SOL_SOCKET = 1
SO_OOBINLINE, SO_LINGER, SO_PASSCRED, SO_RCVLOWAT, SO_TIMESTAMP, SO_TIMESTAMPNS = 10, 13, 16, 18, 29, 35
SO_PEEK_OFF, SO_PASSPIDFD = 42, 76
FIONREAD, SIOCOUTQ, SIOCATMARK = 0x541B, 0x5411, 0x8905
IN, OUT = int(PollEvents.IN | PollEvents.RDNORM), int(PollEvents.OUT | PollEvents.WRNORM)
PRI, WRBAND, HUP = int(PollEvents.PRI), int(PollEvents.WRBAND), int(PollEvents.HUP)
ERR, RDHUP = int(PollEvents.ERR), int(PollEvents.RDHUP)
#: The events that a wake of the readers, and of the writers, brings (sock_def_readable, sock_def_write_space).
_READABLE, _WRITABLE = IN | PRI | int(PollEvents.RDBAND), OUT | WRBAND


class Socket(File):
    """A socket of any family; what differs between families is below the line."""

    struct_size = SOCK
    seekable = False
    has_fasync = nowait = True
    family: int
    #: What whoever made it had given up.
    landlock: Sandbox | None = None

    def __init__(self, net: Network, type_: int, protocol: int, flags: int = 0) -> None:
        inode = SocketInode(net.mount.sb)
        who = net.who_calls()
        inode.uid, inode.gid = max(who.uid, 0), max(who.gid, 0)
        path = unnamed_path(net.mount, inode, f"socket:[{inode.ino}]")
        super().__init__(path, OpenFlags.RDWR | flags & OpenFlags.NONBLOCK)
        self.net = net
        self.type = type_
        self.protocol = protocol
        self.one_message = type_ != SOCK_STREAM
        self.inbox: deque[Packet] = deque()
        #: What this socket has sent and nobody has read takes (sk_wmem_alloc).
        self.outstanding = 0
        self.sndbuf = self.rcvbuf = DEFAULT_BUFFER
        self.shut_read = self.shut_write = False
        #: SO_ERROR.
        self.error = 0
        self.identity = self.peer_identity = NOBODY
        #: Connections that nobody has accepted; None: it does not listen.
        self.backlog: deque[Socket] | None = None
        self.max_backlog = 0
        #: In whose backlog it is.
        self.listener: Socket | None = None
        #: SO_RCVTIMEO and SO_SNDTIMEO in nanoseconds, 0 for none; the other options by (level, name).
        self.receive_timeout = self.send_timeout = 0
        self.options: dict[tuple[int, int], int] = {}
        self.not_empty, self.not_full = WaitQueue(), WaitQueue()
        self.closed = False
        self._cookie = 0
        net.open[self] = None

    @property
    def is_stream(self) -> bool:
        """SOCK_STREAM: bytes without boundaries."""
        return self.type == SOCK_STREAM

    @property
    def is_connection(self) -> bool:
        """A type that connects, listens and accepts."""
        return self.type in (SOCK_STREAM, SOCK_SEQPACKET)

    @property
    def waits_at(self) -> File | None:
        """The listening socket that it is to be accepted from."""
        return self.listener

    @property
    def cookie(self) -> int:
        """SO_COOKIE: a number that no other socket has."""
        if not self._cookie:
            self._cookie = self.net.new_cookie()
        return self._cookie

    def option(self, name: int, level: int = SOL_SOCKET) -> int:
        """The value of an option that starts as 0."""
        return self.options.get((level, name), 0)

    def wake(self) -> None:
        """Anything may have changed (sk_state_change)."""
        self.not_empty.wake_all()
        self.not_full.wake_all()

    def data_ready(self) -> None:
        """Something has arrived."""
        self.not_empty.wake_all(_READABLE)

    def write_space(self) -> None:
        """There is room again."""
        self.not_full.wake_all(_WRITABLE)

    def raise_error(self) -> None:
        """The error that waits (sock_error), once."""
        if self.error:
            error, self.error = self.error, 0
            raise LinuxError(error)

    # -- the inbox -------------------------------------------------------------------------------------------------

    def put_in(self, packet: Packet, *, first: bool = False) -> None:
        """A packet has arrived (or has come back: ``first``).  LinuxError(ENOBUFS)."""
        packet.charged = SK_BUFF + len(packet.data)
        try:
            self.keep(self._kept + packet.charged)
        except NoPage:
            raise
        except LinuxError:
            raise LinuxError(errno.ENOBUFS) from None
        packet.time = self.net.now()
        if packet.sender is not None:
            packet.sender.outstanding += packet.cost
        if packet.files:
            self.net.scm.fly(packet, self)
        if first:
            self.inbox.appendleft(packet)
        else:
            self.inbox.append(packet)

    def take_out(self, packet: Packet) -> None:
        """A packet, usually the first, leaves the inbox, and its sender has its room again."""
        if self.inbox[0] is packet:
            self.inbox.popleft()
        else:
            self.inbox.remove(packet)
        self.keep(self._kept - packet.charged)
        sender = packet.sender
        if sender is not None:
            sender.outstanding -= packet.cost
            sender.room_again()

    def purge(self) -> None:
        """All that has arrived goes unread."""
        while self.inbox:
            packet = self.inbox[0]
            self.take_out(packet)
            self.net.scm.drop(self.net.scm.land(packet))

    def room_again(self) -> None:
        """Some of what this socket has sent was read."""
        self.write_space()

    # -- SO_PEEK_OFF: where MSG_PEEK begins ------------------------------------------------------------------------

    @property
    def peek_offset(self) -> int:
        """How many bytes MSG_PEEK passes over."""
        return max(0, self.option(SO_PEEK_OFF))

    def move_peek_offset(self, by: int) -> None:
        """So many bytes were looked at, or (less than 0) were read (sk_peek_offset_fwd, _bwd)."""
        offset = self.options.get((SOL_SOCKET, SO_PEEK_OFF), -1)
        if offset >= 0:
            self.options[SOL_SOCKET, SO_PEEK_OFF] = max(0, offset + by)

    # -- as a file -------------------------------------------------------------------------------------------------

    def read(self, count: int) -> bytes:
        if not count:  # sock_read_iter()
            return b""
        parts: list[bytes] = []
        got = Received()
        self.receive(got, count, 0, parts.append)
        got.drop()
        return b"".join(parts)

    def write(self, data: bytes) -> int:
        return self.send(None, data, Message())

    def write_nothing(self) -> int:
        try:
            return self.write(b"")
        except WouldBlock:
            if self.nonblocking:
                raise LinuxError(errno.EAGAIN) from None
            return 0

    def prepare_write(self, count: int) -> int:
        if self.shut_write:
            self.send(None, b"", Message(more=True))
        return super().prepare_write(count) if self.is_stream else count

    def unread(self, data: bytes, stored: int) -> int:
        if self.is_stream and stored < len(data):
            self.put_in(Packet(data[stored:], None), first=True)
        return stored

    def fsync(self, data_only: bool) -> None:
        raise LinuxError(errno.EINVAL)

    def ioctl(self, caller: Caller[Path], command: int, argument: int) -> int:
        if command == FIONREAD:
            number = self.bytes_waiting()
        elif command == SIOCOUTQ:
            number = self.bytes_unsent()
        elif command == SIOCATMARK:
            number = int(self.at_mark())
        else:
            return self.net.device_ioctl(caller, command, argument, self.family)
        caller.mm.write(argument, number.to_bytes(4, "little", signed=True))
        return 0

    def release(self) -> None:
        self.closed = True
        self.unbind()
        self.hang_up()
        del self.net.open[self]
        self.wake()

    # -- listening -------------------------------------------------------------------------------------------------

    def accept(self, *, wait: bool) -> Socket:
        """The next connection; ``wait``: the caller sleeps if there is none.  LinuxError, WouldBlock."""
        if self.backlog is None:
            raise LinuxError(errno.EINVAL if self.is_connection else errno.EOPNOTSUPP)
        if not self.backlog:
            if self.shut_read and wait:
                raise LinuxError(errno.EINVAL)
            raise WouldBlock(self.not_empty)
        accepted = self.backlog.popleft()
        accepted.listener = None
        self.backlog_shrank()
        return accepted

    def start_listening(self, backlog: int) -> None:
        """It listens from now on, or has another limit (__sys_listen)."""
        self.max_backlog = backlog if 0 <= backlog <= self.net.somaxconn else self.net.somaxconn
        if self.backlog is None:
            self.backlog = deque()

    def refuse_waiting(self) -> None:
        """It listens no more: connections that nobody has accepted are broken."""
        waiting, self.backlog = self.backlog, None
        for each in waiting or ():
            each.put()

    # -- what a family decides -------------------------------------------------------------------------------------

    def send(self, caller: Caller[Path] | None, data: bytes, message: Message) -> int:
        """sendmsg(2): give away as much as has room, or the whole message; how many bytes went.

        Without a caller it is write(2).  LinuxError, WouldBlock; ENOBUFS without memory.
        """
        raise NotImplementedError

    def check_sender(self) -> None:
        """What is looked at before control messages are.  LinuxError."""

    def receive(self, got: Received, count: int, flags: int, sink: Sink) -> None:
        """recvmsg(2): at most ``count`` bytes more of the stream, or the next message, cut off at ``count``, go to
        ``sink``, and ``got`` says what came.  LinuxError, WouldBlock.
        """
        raise NotImplementedError

    def address(self) -> bytes:
        """Its own address, as sockaddr bytes (getsockname)."""
        raise NotImplementedError

    def peer_address(self) -> bytes:
        """That of the peer.  LinuxError(ENOTCONN)."""
        raise NotImplementedError

    def bind(self, caller: Caller[Path], address: bytes) -> None:
        """bind(2)."""
        raise NotImplementedError

    def connect(self, caller: Caller[Path], address: bytes, *, wait: bool) -> None:
        """connect(2).  LinuxError, WouldBlock."""
        raise NotImplementedError

    def listen(self, caller: Caller[Path], backlog: int) -> None:
        """listen(2)."""
        raise LinuxError(errno.EOPNOTSUPP)

    def shutdown(self, how: int) -> None:
        """shutdown(2)."""
        raise LinuxError(errno.EOPNOTSUPP)

    def unbind(self) -> None:
        """Its address is free again."""

    def hang_up(self) -> None:
        """It was closed: who is connected to it learns so."""
        self.purge()

    def backlog_shrank(self) -> None:
        """A connection was accepted."""

    def bytes_waiting(self) -> int:
        """FIONREAD."""
        return len(self.inbox[0].data) if self.inbox else 0

    def bytes_unsent(self) -> int:
        """SIOCOUTQ."""
        return self.outstanding

    def at_mark(self) -> bool:
        """SIOCATMARK: whether the next byte is behind the urgent one.  LinuxError without urgent data."""
        raise LinuxError(errno.ENOTTY)


# -- parts of what families do -----------------------------------------------------------------------------------------


def sender_waits(socket: Socket, message: Message) -> bool:
    """Whether a send call sleeps until there is room."""
    return not (socket.nonblocking or message.flags & MSG_DONTWAIT)


def broken_pipe(message: Message) -> LinuxError:
    """EPIPE of a stream, with SIGPIPE unless the message says otherwise."""
    return LinuxError(errno.EPIPE) if message.flags & MSG_NOSIGNAL else BrokenPipe()


def receiver_waits(socket: Socket, flags: int) -> bool:
    """Whether a receive call sleeps until there is something."""
    return not (socket.nonblocking or flags & MSG_DONTWAIT)


def receive_message(socket: Socket, got: Received, count: int, flags: int, sink: Sink) -> None:
    """The first message of the inbox, cut off at ``count``; it is gone even if it cannot be stored."""
    packet, skip = socket.inbox[0], 0
    if flags & MSG_PEEK:
        packet, skip = _to_peek_at(socket)
        got.files = [file.get() for file in packet.files]
    else:
        socket.take_out(packet)
        got.files = socket.net.scm.land(packet)
    part, got.length = packet.data[skip : skip + count], len(packet.data) - skip
    socket.move_peek_offset(len(part) if flags & MSG_PEEK else -len(packet.data))
    got.address, got.identity = packet.address, packet.identity
    got.time, got.packets, got.complete = packet.time, 1, True
    if got.length > len(part):
        got.flags |= MSG_TRUNC
    if part:
        sink(part)
    got.count = len(part)


def _to_peek_at(socket: Socket) -> tuple[Packet, int]:
    """The message that MSG_PEEK looks at, and from where on.  WouldBlock behind the last."""
    skip = socket.peek_offset
    for packet in socket.inbox:
        if skip < len(packet.data) or not skip:
            return packet, skip
        skip -= len(packet.data)
    raise WouldBlock(socket.not_empty)
