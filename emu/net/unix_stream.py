"""AF_UNIX streams, with an urgent byte (unix_stream_sendmsg, unix_stream_read_generic)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.file import WouldBlock
from emu.linux.errors import LinuxError
from emu.linux.wait import WaitQueue
from emu.net.packet import MAX_HEAD, MSG_OOB, MSG_PEEK, NOBODY, Identity, Message, Packet, Received, Sink, true_size
from emu.net.socket import PRI, SO_OOBINLINE, broken_pipe
from emu.net.unix import UnixSocket

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.linux.caller import Caller

#: The most that a packet has behind its head (UNIX_SKB_FRAGS_SZ).
_PAGES = 32768


class UnixStream(UnixSocket):
    """SOCK_STREAM."""

    #: The urgent byte that was sent last, until it is received or passed; once received it stays in the inbox, empty.
    oob: Packet | None = None
    #: The bytes that have arrived and were not read; an urgent byte that a read has passed over counts on, as there.
    _inq_len = 0
    #: Who sent what was read last, for what comes back.
    _read_from: tuple[Identity, bytes] = (NOBODY, b"")

    # -- sending ---------------------------------------------------------------------------------------------------

    def send(self, caller: Caller[Path] | None, data: bytes, message: Message) -> int:
        urgent = bool(message.flags & MSG_OOB) and not message.more
        if message.flags & MSG_OOB and not data:
            raise LinuxError(errno.EOPNOTSUPP)
        if message.to:
            raise LinuxError(errno.EISCONN if self.connected else errno.EOPNOTSUPP)
        peer = self.peer
        if peer is None:
            raise LinuxError(errno.ENOTCONN)
        if self.shut_write:
            raise broken_pipe(message)
        if not data:
            return 0
        self.raise_error()
        if self.outstanding >= self.sndbuf:
            raise WouldBlock(self.not_full)
        assert isinstance(peer, UnixStream)
        if peer.closed or peer.shut_read:
            raise broken_pipe(message)
        if urgent and len(data) == 1:
            return self._send_urgent(data, message, peer)
        size = min(len(data) - urgent, (self.sndbuf >> 1) - 64, MAX_HEAD + _PAGES)
        pages = min(size, -(-max(0, size - MAX_HEAD) // 4096) * 4096)
        packet = self._packet(data[:size], message, peer, true_size(size - pages, pages))
        peer.put_in(packet)
        peer.data_ready()
        return size

    def _send_urgent(self, data: bytes, message: Message, peer: UnixStream) -> int:
        packet = self._packet(data, message, peer, true_size(1))
        peer.put_in(packet)
        peer.oob = packet
        self.net.send_sigurg(peer)
        peer.data_ready()
        return 1

    def put_in(self, packet: Packet, *, first: bool = False) -> None:
        super().put_in(packet, first=first)
        self._inq_len += len(packet.data)

    # -- receiving -------------------------------------------------------------------------------------------------

    def receive(self, got: Received, count: int, flags: int, sink: Sink) -> None:
        if not self.connected:
            raise LinuxError(errno.EINVAL)
        if flags & MSG_OOB:
            self._receive_urgent(got, count, flags, sink)
            return
        at, before = 0, got.count
        skip = self.peek_offset if flags & MSG_PEEK else 0
        while True:
            packet, at = self._next(at, flags, got)
            if packet is None:
                if got.complete or got.count > before:
                    return
                self._nothing_there(got)
                return
            if skip and skip >= len(packet.data):
                skip, at = skip - len(packet.data), at + 1
                continue
            if got.packets and self.passes_credentials and packet.identity != got.identity:
                got.complete = True
                return
            if not got.packets:
                got.identity = packet.identity
            got.packets += 1
            if packet.sender is not None:
                assert isinstance(packet.sender, UnixSocket)
                packet.address = packet.sender.source()
            got.address = got.address or packet.address
            count -= self._take_from(packet, got, skip, count, sink, peek=bool(flags & MSG_PEEK))
            skip = 0
            if got.complete or not (count or flags & MSG_PEEK):
                return
            if flags & MSG_PEEK:  # goes on to the end, even where nothing is wanted any more
                at += 1
                if at >= len(self.inbox):
                    got.complete = True
                    return

    def _take_from(self, packet: Packet, got: Received, skip: int, count: int, sink: Sink, *, peek: bool) -> int:
        """Take what is wanted of a packet: how many bytes those are; the call is complete if more cannot follow."""
        part = packet.data[skip : skip + count]
        try:
            if part:
                sink(part)
        except LinuxError:
            if not got.count:
                raise
            got.complete = True
            return 0
        got.count += len(part)
        self.move_peek_offset(len(part) if peek else -len(part))
        if peek:
            got.files += [file.get() for file in packet.files]
            got.complete = bool(packet.files)
            return len(part)
        self._read_from = packet.identity, packet.address
        got.files += self.net.scm.land(packet)
        packet.data = packet.data[len(part) :]
        self._inq_len -= len(part)
        if packet.data:
            got.complete = True
        else:
            self.take_out(packet)
            got.complete = bool(got.files)
        return len(part)

    def _nothing_there(self, got: Received) -> None:
        """The end of the stream; otherwise LinuxError or WouldBlock."""
        self.raise_error()
        if not self.shut_read:
            raise WouldBlock(self.not_empty)
        got.complete = True

    def unread(self, data: bytes, stored: int) -> int:
        if stored < len(data):
            identity, address = self._read_from
            self.put_in(Packet(data[stored:], None, address, identity), first=True)
        return stored

    # -- the urgent byte -------------------------------------------------------------------------------------------

    def _next(self, at: int, flags: int, got: Received) -> tuple[Packet | None, int]:
        """The packet to be read next, and its place: a read ends before the urgent byte, and the next one passes it or,
        with SO_OOBINLINE, starts with it (manage_oob).
        """
        if at >= len(self.inbox):
            return None, at
        packet = self.inbox[at]
        if packet.data and packet is not self.oob:
            return packet, at
        peek = bool(flags & MSG_PEEK)
        if not packet.data:
            if got.count and (self.oob is None or packet is self.oob):
                got.complete = True
                return None, at
            at = self._pass(packet, at, peek=peek)
            if at >= len(self.inbox):
                return None, at
            packet = self.inbox[at]
        if packet is not self.oob:
            return packet, at
        if got.count:
            got.complete = True
            return None, at
        inline = bool(self.option(SO_OOBINLINE))
        if not peek:
            self.oob = None
        if not inline:
            at = self._pass(packet, at, peek=peek)
        return (self.inbox[at] if at < len(self.inbox) else None), at

    def _pass(self, packet: Packet, at: int, *, peek: bool) -> int:
        """Go on behind a packet, which leaves the inbox unless the call only looks."""
        if peek:
            return at + 1
        self.take_out(packet)
        for file in self.net.scm.land(packet):
            file.put()
        return at

    def _receive_urgent(self, got: Received, count: int, flags: int, sink: Sink) -> None:
        packet = self.oob
        if self.option(SO_OOBINLINE) or packet is None:
            raise LinuxError(errno.EINVAL)
        byte = packet.data[:1]
        if not flags & MSG_PEEK:
            self.oob = None
            packet.data = b""
            self._inq_len -= 1
        if count:
            sink(byte)
        got.count, got.flags, got.complete = 1, MSG_OOB, True

    def at_mark(self) -> bool:
        if not self.inbox:
            return bool(self.backlog)  # a connection that waits is an empty packet
        first = self.inbox[0]
        behind = self.inbox[1] if len(self.inbox) > 1 else None
        return first is self.oob or (not first.data and (self.oob is None or behind is self.oob))

    def bytes_waiting(self) -> int:
        if self.backlog is not None:
            raise LinuxError(errno.EINVAL)
        return self._inq_len

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        mask, queues = super().poll()
        return mask | (PRI if self.oob is not None else 0), queues
