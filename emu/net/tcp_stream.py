"""The two streams of bytes of a TCP connection (net/ipv4/tcp_output.c, tcp_input.c, tcp.c): what is held back, on its
way, urgent and read, where segments arrive at once.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.file import WouldBlock
from emu.linux.errors import LinuxError
from emu.linux.wait import WaitQueue
from emu.net.inet import IPPROTO_TCP, InetSocket, Loopback
from emu.net.packet import (
    MSG_ERRQUEUE,
    MSG_FASTOPEN,
    MSG_MORE,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    Message,
    Packet,
    Received,
    Sink,
)
from emu.net.socket import (
    ERR,
    HUP,
    IN,
    OUT,
    PRI,
    RDHUP,
    SO_OOBINLINE,
    SO_RCVLOWAT,
    SOCK_STREAM,
    broken_pipe,
    sender_waits,
)
from emu.net.tcp_state import Connecting, TcpState

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.linux.caller import Caller

#: net.ipv4.tcp_wmem and tcp_rmem: what a socket has.
_SNDBUF, _RCVBUF = 16384, 131072
#: The most of one segment here, so that reading it in small pieces stays cheap.
_SEGMENT = 65536
#: The most that goes over lo at once, and how long less than that waits for more (TCP_CORK).
_LO_MSS, _CORKED_NS = 65483, 200_000_000
TCP_NODELAY, TCP_CORK = 1, 3


class TcpStream(InetSocket):
    """What a TCP socket sends and receives."""

    def __init__(self, loopback: Loopback, family: int, flags: int = 0) -> None:
        super().__init__(loopback, family, SOCK_STREAM, IPPROTO_TCP, flags)
        self.state = TcpState.CLOSE
        self.connecting = Connecting.UNCONNECTED
        self.peer: TcpStream | None = None
        self.sndbuf, self.rcvbuf = _SNDBUF, _RCVBUF
        #: The peer has said that nothing follows (SOCK_DONE).
        self.done = False
        #: Where in the stream the next byte is that is read, and that arrives.
        self.copied_seq = self.rcv_nxt = 0
        #: The place of the urgent byte, until it is passed, and the byte, until it is received.
        self.urgent_seq: int | None = None
        self.urgent: bytes = b""
        #: What was sent with MSG_MORE and has not gone yet.
        self._held = b""

    # -- sending ---------------------------------------------------------------------------------------------------

    def send(self, caller: Caller[Path] | None, data: bytes, message: Message) -> int:
        if message.flags & MSG_FASTOPEN and caller is not None:
            if not message.to:
                raise LinuxError(errno.EINVAL)
            self.connect(caller, message.to, wait=sender_waits(self, message))
            message.flags &= ~MSG_FASTOPEN
        if self.state == TcpState.SYN_SENT and not self.error:
            raise WouldBlock(self.not_full)
        if self.error or self.shut_write or self.state not in (TcpState.ESTABLISHED, TcpState.CLOSE_WAIT):
            if self.error and self.error != errno.EPIPE:
                self.raise_error()
            self.error = 0
            raise broken_pipe(message)
        if not data:
            return 0
        peer = self.peer
        assert peer is not None
        if self._refused_by(peer):
            return len(data)
        room = self._room(peer) - len(self._held)
        if room <= 0:
            raise WouldBlock(self.not_full)
        part = data[: min(room, _SEGMENT)]
        urgent = bool(message.flags & MSG_OOB) and not message.more and len(part) == len(data)
        if not urgent and (message.flags & MSG_MORE or self.option(TCP_CORK, IPPROTO_TCP)):
            self._hold(part)
        else:
            self._push(part, urgent=urgent)
        return len(part)

    def _refused_by(self, peer: TcpStream) -> bool:
        """Whether the other end takes no data any more: then the connection breaks."""
        if peer.state != TcpState.CLOSE and (peer.done or not peer.shut_read or peer.state != TcpState.FIN_WAIT2):
            return False
        if peer.state != TcpState.CLOSE:
            peer._abort(errno.ECONNRESET)
        self._abort(errno.EPIPE if self.state == TcpState.CLOSE_WAIT else errno.ECONNRESET)
        return True

    def _hold(self, part: bytes) -> None:
        """MSG_MORE and TCP_CORK: keep what is less than a whole segment, for a while."""
        if not self._held:
            self.net.later(_CORKED_NS, self.uncork)
        self._held += part
        while len(self._held) >= _LO_MSS:
            whole, self._held = self._held[:_LO_MSS], self._held[_LO_MSS:]
            self._give(whole, urgent=False)

    def uncork(self) -> None:
        """What was held goes."""
        held, self._held = self._held, b""
        if held and self.peer is not None and not self.peer.closed and not self._refused_by(self.peer):
            self._give(held, urgent=False)

    def _push(self, part: bytes, *, urgent: bool) -> None:
        held, self._held = self._held, b""
        self._give(held + part, urgent=urgent)

    def _give(self, data: bytes, *, urgent: bool) -> None:
        assert self.peer is not None
        self.peer._arrived(Packet(data, self, cost=len(data)), urgent=urgent)

    def _room(self, peer: TcpStream) -> int:
        """How many bytes more it can send: what the other end takes, and then its own buffer."""
        return self.sndbuf + peer.rcvbuf // 2 - self.outstanding

    def bytes_unsent(self) -> int:
        if self.state == TcpState.LISTEN:
            raise LinuxError(errno.EINVAL)
        return max(0, self.outstanding - (self.peer.rcvbuf // 2 if self.peer is not None else 0))

    def _arrived(self, packet: Packet, *, urgent: bool) -> None:
        self.put_in(packet)
        self.rcv_nxt += len(packet.data)
        if urgent:
            self._pass_unread_urgent()
            self.urgent_seq, self.urgent = self.rcv_nxt - 1, packet.data[-1:]
            self.net.send_sigurg(self)
        self.data_ready()

    def _pass_unread_urgent(self) -> None:
        """Another urgent byte comes while the last one is the next to be read: that one is lost (tcp_check_urg)."""
        if self.urgent_seq == self.copied_seq and not self.option(SO_OOBINLINE) and self.inbox:
            self._consume(self.inbox[0], 1)

    # -- receiving -------------------------------------------------------------------------------------------------

    def receive(self, got: Received, count: int, flags: int, sink: Sink) -> None:
        if self.state == TcpState.LISTEN:
            raise LinuxError(errno.ENOTCONN)
        if flags & MSG_ERRQUEUE:
            raise LinuxError(errno.EAGAIN)
        if flags & MSG_OOB:
            self._receive_urgent(got, count, flags, sink)
            return
        peek, before = bool(flags & MSG_PEEK), got.count
        seq, skip = self.copied_seq, max(got.count, self.peek_offset) if peek else 0
        for packet in list(self.inbox) if count else ():
            data, offset = packet.data, min(skip, len(packet.data))
            seq, skip = seq + offset, skip - offset
            if offset == len(data) and data:
                continue
            if self.urgent_seq == seq:
                if got.count:
                    got.complete = True
                    break
                if not self.option(SO_OOBINLINE):
                    offset, seq = offset + 1, seq + 1
                    if not peek:
                        self._consume(packet, 1)
            end = offset + count
            if self.urgent_seq is not None and self.urgent_seq > seq:
                end = min(end, offset + self.urgent_seq - seq)
            part = data[offset:end]
            if not self._copy(part, got, flags, sink):
                break
            count, seq = count - len(part), seq + len(part)
            if not peek:
                self._consume(packet, len(part))
            if not count:
                break
            if end < len(data):  # the urgent byte follows
                got.complete = True
                break
        self.move_peek_offset((got.count - before) * (1 if peek else -1))
        if got.count == before and not got.complete and (count or not self.inbox):
            self._nothing_there(got)

    def _copy(self, part: bytes, got: Received, flags: int, sink: Sink) -> bool:
        if not flags & MSG_TRUNC and part:  # with it, the bytes are only counted
            try:
                sink(part)
            except LinuxError:
                if not got.count:
                    raise
                got.complete = True
                return False
        got.count += len(part)
        return True

    def _consume(self, packet: Packet, count: int) -> None:
        """So many bytes of the first packet are read."""
        self.copied_seq += count
        if self.urgent_seq is not None and self.copied_seq > self.urgent_seq:
            self.urgent_seq, self.urgent = None, b""
        if count >= len(packet.data):
            self.take_out(packet)
            return
        packet.data = packet.data[count:]
        sender = packet.sender
        if sender is not None:
            packet.cost -= count
            sender.outstanding -= count
            sender.room_again()

    def room_again(self) -> None:
        peer = self.peer
        if peer is not None and self._writable(peer):
            self.write_space()

    def _nothing_there(self, got: Received) -> None:
        if got.count and (self.error or self.state == TcpState.CLOSE or self.shut_read):
            got.complete = True
            return
        if not self.done:
            self.raise_error()
            if not self.shut_read:
                if self.state == TcpState.CLOSE:
                    raise LinuxError(errno.ENOTCONN)
                raise WouldBlock(self.not_empty)
        got.complete = True

    def _receive_urgent(self, got: Received, count: int, flags: int, sink: Sink) -> None:
        if self.option(SO_OOBINLINE) or self.urgent_seq is None or not self.urgent:
            raise LinuxError(errno.EINVAL)
        byte = self.urgent
        if not flags & MSG_PEEK:
            self.urgent = b""
        got.flags, got.complete = MSG_OOB, True
        if not count:
            got.flags |= MSG_TRUNC
            return
        if not flags & MSG_TRUNC:
            sink(byte)
        got.count = 1

    def unread(self, data: bytes, stored: int) -> int:
        if stored < len(data):
            self.put_in(Packet(data[stored:], None), first=True)
            self.copied_seq -= len(data) - stored
        return stored

    def at_mark(self) -> bool:
        return self.urgent_seq is not None and self.urgent_seq == self.copied_seq

    def bytes_waiting(self) -> int:
        if self.state == TcpState.LISTEN:
            raise LinuxError(errno.EINVAL)
        if self.urgent_seq is not None and not self.option(SO_OOBINLINE):
            return self.urgent_seq - self.copied_seq
        return self.rcv_nxt - self.copied_seq

    # -- polling ---------------------------------------------------------------------------------------------------

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        queues = (self.not_empty, self.not_full)
        if self.backlog is not None:
            return (IN if self.backlog else 0) | (ERR if self.error else 0), queues
        mask = ERR if self.error else 0
        if (self.shut_read and self.shut_write) or self.state == TcpState.CLOSE:
            mask |= HUP
        if self.shut_read:
            mask |= IN | RDHUP
        if self.state == TcpState.SYN_SENT:
            return mask, queues
        target = max(1, self.option(SO_RCVLOWAT))
        if self.urgent_seq == self.copied_seq and not self.option(SO_OOBINLINE):
            target += 1
        if self.rcv_nxt - self.copied_seq >= target:
            mask |= IN
        if self.shut_write or self.peer is None or self._writable(self.peer):
            mask |= OUT
        if self.urgent:
            mask |= PRI
        return mask, queues

    def _writable(self, peer: TcpStream) -> bool:
        """Whether a third of its buffer is free (__sk_stream_is_writeable)."""
        queued = max(0, self.outstanding - peer.rcvbuf // 2)
        return 3 * queued <= 2 * self.sndbuf

    # -- the end of both -----------------------------------------------------------------------------------------------

    def _done(self) -> None:
        """The connection is over (tcp_done): what has arrived can still be read, and a port that bind(2) has not chosen
        is free again.
        """
        if not self._port_chosen:
            self.unbind()
        self.state = TcpState.CLOSE
        self.shut_read = self.shut_write = True
        self.wake()

    def _abort(self, error: int) -> None:
        """The other end answers that there is no such connection (tcp_reset)."""
        if self.state != TcpState.CLOSE or self.connecting == Connecting.UNCONNECTED:
            self.error = error
            self._done()
