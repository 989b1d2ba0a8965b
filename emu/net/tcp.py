"""TCP (net/ipv4/tcp.c, tcp(7)): the states of a connection whose segments arrive at once."""

from __future__ import annotations

import errno
import struct
from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING

from emu.fs.file import WouldBlock
from emu.linux.errors import LinuxError
from emu.linux.wait import WaitQueue
from emu.net.address import AF_INET, AF_INET6, AF_UNSPEC, family_of, parse_in, parse_in6
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
    identity_of,
)  # fmt: skip
from emu.net.socket import (
    ERR,
    HUP,
    IN,
    OUT,
    PRI,
    RDHUP,
    SHUT_RD,
    SHUT_RDWR,
    SO_LINGER,
    SO_OOBINLINE,
    SO_RCVLOWAT,
    SOCK_STREAM,
    broken_pipe,
    sender_waits,
)  # fmt: skip

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.linux.caller import Caller

#: net.ipv4.tcp_wmem and tcp_rmem: what a socket has, and what a connection over lo makes of the former.
_SNDBUF, _RCVBUF, _CONNECTED_SNDBUF = 16384, 131072, 3939840
#: The most of one segment here, so that reading it in small pieces stays cheap.
_SEGMENT = 65536
#: The most that goes over lo at once, and how long less than that waits for more (TCP_CORK).
LO_MSS, _CORKED_NS = 65483, 200_000_000
TCP_NODELAY, TCP_CORK = 1, 3


class TcpState(IntEnum):
    """include/net/tcp_states.h."""

    ESTABLISHED = 1
    SYN_SENT = 2
    FIN_WAIT2 = 5
    CLOSE = 7
    CLOSE_WAIT = 8
    LISTEN = 10


class Connecting(IntEnum):
    """How far connect(2) is (socket_state)."""

    UNCONNECTED = 0
    CONNECTING = 1
    CONNECTED = 2


class TcpSocket(InetSocket):
    """A TCP socket."""

    def __init__(self, loopback: Loopback, family: int, flags: int = 0) -> None:
        super().__init__(loopback, family, SOCK_STREAM, IPPROTO_TCP, flags)
        self.state = TcpState.CLOSE
        self.connecting = Connecting.UNCONNECTED
        self.peer: TcpSocket | None = None
        self.sndbuf, self.rcvbuf = _SNDBUF, _RCVBUF
        self.buffers_chosen = False
        #: The peer has said that nothing follows (SOCK_DONE).
        self.done = False
        #: Where in the stream the next byte is that is read, and that arrives.
        self.copied_seq = self.rcv_nxt = 0
        #: The place of the urgent byte, until it is passed, and the byte, until it is received.
        self.urgent_seq: int | None = None
        self.urgent: bytes = b""
        #: What was sent with MSG_MORE and has not gone yet.
        self._held = b""
        #: Connections to this listening socket that wait for room in the backlog.
        self.syn_queue: deque[TcpSocket] = deque()

    # -- connections -----------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        return self.state == TcpState.LISTEN

    def peer_address(self) -> bytes:
        if self.remote is None or self.state in (TcpState.CLOSE, TcpState.SYN_SENT):
            raise LinuxError(errno.ENOTCONN)
        return self.shown(self.remote)

    def connect(self, caller: Caller[Path], address: bytes, *, wait: bool) -> None:
        if family_of(address) == AF_UNSPEC:
            self.disconnect()
            self.connecting = Connecting.UNCONNECTED
            return
        if self.connecting == Connecting.CONNECTED:
            raise LinuxError(errno.EISCONN)
        error = errno.EALREADY
        if self.connecting == Connecting.UNCONNECTED:
            if self.state != TcpState.CLOSE:
                raise LinuxError(errno.EISCONN)
            self._start_connecting(caller, address)
            self.connecting, error = Connecting.CONNECTING, errno.EINPROGRESS
            if not wait:  # the answer comes when the call has ended
                raise LinuxError(error)
        if self.state == TcpState.SYN_SENT:
            if not wait:
                raise LinuxError(error)
            raise WouldBlock(self.not_full)
        if self.state == TcpState.CLOSE:
            self.connecting = Connecting.UNCONNECTED
            waiting, self.error = self.error, 0
            self.disconnect()
            raise LinuxError(waiting or errno.ECONNABORTED)
        self.connecting = Connecting.CONNECTED

    def _start_connecting(self, caller: Caller[Path], address: bytes) -> None:
        """Ask for a connection (tcp_v4_connect): it is made, refused, or waits for room at the other end."""
        if self.family == AF_INET:
            target = parse_in(address)
            if family_of(address) != AF_INET:
                raise LinuxError(errno.EAFNOSUPPORT)
        else:
            target = parse_in6(address)
            if family_of(address) != AF_INET6:
                raise LinuxError(errno.EAFNOSUPPORT)
        target = self.destination(target)
        self.bind_towards(target.ip)
        assert self.local is not None
        self.error, self.done, self.shut_read, self.shut_write = 0, False, False, False
        self.remote = target
        self.identity = identity_of(caller)
        if target.port == self.local.port and self.takes(target.ip):  # both ends are this socket
            self.peer = self
            self._established()
            return
        listener = self._loopback.find(IPPROTO_TCP, target, self.source_towards(target.ip))
        if not isinstance(listener, TcpSocket) or listener.backlog is None or not target.port:
            self._abort(errno.ECONNREFUSED)
        elif len(listener.backlog) > listener.max_backlog:
            self.state = TcpState.SYN_SENT
            listener.syn_queue.append(self)
        else:
            listener.let_in(self)

    def let_in(self, client: TcpSocket) -> None:
        """A connection to this socket is made (tcp_check_req)."""
        assert self.backlog is not None and client.local is not None and client.remote is not None
        accepted = TcpSocket(self._loopback, self.family)
        accepted.local, accepted.remote = client.remote, client.source_towards(client.remote.ip)
        self._loopback.share(accepted, accepted.local.port)
        accepted.options = dict(self.options)
        accepted.buffers_chosen, accepted.sndbuf, accepted.rcvbuf = self.buffers_chosen, self.sndbuf, self.rcvbuf
        accepted.receive_timeout, accepted.send_timeout = self.receive_timeout, self.send_timeout
        accepted.listener, accepted.holds_port = self, True
        accepted.peer, client.peer = client, accepted
        accepted.connecting = Connecting.CONNECTED
        accepted._established()
        client._established()
        self.backlog.append(accepted)
        self.data_ready()

    def _established(self) -> None:
        self.state = TcpState.ESTABLISHED
        if not self.buffers_chosen:
            self.sndbuf = _CONNECTED_SNDBUF
        self.copied_seq = self.rcv_nxt = 0
        self.urgent_seq, self.urgent = None, b""
        self.wake()

    def listen(self, caller: Caller[Path], backlog: int) -> None:
        if self.connecting != Connecting.UNCONNECTED or self.state not in (TcpState.CLOSE, TcpState.LISTEN):
            raise LinuxError(errno.EINVAL)
        if not self.holds_port:
            self.take_port(self.local.ip if self.local is not None and self._address_chosen else self.any_ip)
        elif self.state == TcpState.CLOSE and not self.shares_port:
            assert self.local is not None
            others = [each for each in self._loopback.bound(IPPROTO_TCP, self.local.port) if each is not self]
            if any(other.backlog is not None and other.conflicts(self, self.local.ip) for other in others):
                raise LinuxError(errno.EADDRINUSE)
        self.start_listening(backlog)
        self.state = TcpState.LISTEN
        self.identity = identity_of(caller)
        self.shut_read = False

    def backlog_shrank(self) -> None:
        while self.syn_queue and self.backlog is not None and len(self.backlog) <= self.max_backlog:
            client = self.syn_queue.popleft()
            if client.state == TcpState.SYN_SENT:
                self.let_in(client)

    # -- the end of a connection -----------------------------------------------------------------------------------

    def shutdown(self, how: int) -> None:
        if not SHUT_RD <= how <= SHUT_RDWR:
            raise LinuxError(errno.EINVAL)
        state = self.state
        if state in (TcpState.LISTEN, TcpState.SYN_SENT):
            if state == TcpState.SYN_SENT or how != 1:
                self.disconnect()
                self.connecting = Connecting.UNCONNECTED
        else:
            self.shut_read |= how != 1
            self.shut_write |= how != SHUT_RD
            if how != SHUT_RD:
                self._send_fin()
        self.wake()
        if state == TcpState.CLOSE:
            raise LinuxError(errno.ENOTCONN)

    def _send_fin(self) -> None:
        self.uncork()
        peer = self.peer
        if self.state == TcpState.ESTABLISHED:
            self.state = TcpState.FIN_WAIT2
        elif self.state == TcpState.CLOSE_WAIT:
            self._done()
        else:
            return
        assert peer is not None
        peer._fin_arrived()

    def _fin_arrived(self) -> None:
        self.shut_read = self.done = True
        if self.state == TcpState.ESTABLISHED:
            self.state = TcpState.CLOSE_WAIT
        elif self.state == TcpState.FIN_WAIT2:
            self._done()
        self.wake()

    def _is_bound(self) -> bool:
        return self.state != TcpState.CLOSE or self.holds_port

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

    def _reset_peer(self) -> None:
        """Say so to the other end."""
        peer = self.peer
        if peer is not None and peer is not self and peer.peer is self and peer.state != TcpState.CLOSE:
            peer._abort(errno.EPIPE if peer.state == TcpState.CLOSE_WAIT else errno.ECONNRESET)

    def disconnect(self) -> None:
        """connect(2) with AF_UNSPEC, or the socket listens no more (tcp_disconnect)."""
        if self.state == TcpState.LISTEN:
            self.refuse_waiting()
        elif self.state in (TcpState.ESTABLISHED, TcpState.CLOSE_WAIT, TcpState.FIN_WAIT2):
            self._reset_peer()
            self.error = errno.ECONNRESET
        elif self.state == TcpState.SYN_SENT:
            self.error = errno.ECONNRESET
        self.state, self.peer, self.remote, self._held = TcpState.CLOSE, None, None, b""
        self.shut_read = self.shut_write = self.done = False
        self.urgent_seq, self.urgent = None, b""
        self.copied_seq = self.rcv_nxt
        self.purge()
        self.forget_chosen()
        self.wake()

    def refuse_waiting(self) -> None:
        clients, self.syn_queue = self.syn_queue, deque()
        super().refuse_waiting()
        for client in clients:
            if client.state == TcpState.SYN_SENT:
                client._abort(errno.ECONNREFUSED)

    def hang_up(self) -> None:
        unread = bool(self.inbox) or self.listener is not None
        self.purge()
        if self.state == TcpState.LISTEN:
            self.refuse_waiting()
        elif unread or self.option(SO_LINGER) == 1:  # on, and no time
            self._reset_peer()
            self.state = TcpState.CLOSE
        else:
            self.shut_read = True
            self._send_fin()
        self.shut_read = self.shut_write = True

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

    def _refused_by(self, peer: TcpSocket) -> bool:
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
        while len(self._held) >= LO_MSS:
            whole, self._held = self._held[:LO_MSS], self._held[LO_MSS:]
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

    def _room(self, peer: TcpSocket) -> int:
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

    def _writable(self, peer: TcpSocket) -> bool:
        """Whether a third of its buffer is free (__sk_stream_is_writeable)."""
        queued = max(0, self.outstanding - peer.rcvbuf // 2)
        return 3 * queued <= 2 * self.sndbuf


#: The states of a connection.
CONNECTED = (TcpState.ESTABLISHED, TcpState.CLOSE_WAIT, TcpState.FIN_WAIT2)
_INFO_SIZE, _INT_MAX = 280, 0x7FFF_FFFF


def tcp_info(file: TcpSocket) -> bytes:
    """struct tcp_info: what is known here of a connection (tcp_get_info)."""
    info = bytearray(_INFO_SIZE)
    info[0], info[7] = file.state, 1
    numbers = {80: 10, 88: 3}
    if file.state in CONNECTED:
        info[5:7] = 7, 0xAA  # timestamps, SACK and window scales of 10
        numbers |= {8: 204000, 16: 32768, 20: 536, 60: 65535, 64: 65483, 84: 65483, 96: 65483}
        numbers |= {76: _INT_MAX, 232: 65536, 228: 65536}
    elif file.state == TcpState.LISTEN:
        numbers |= {24: len(file.backlog or ()), 28: file.max_backlog}
    else:
        numbers |= {8: 1_000_000, 16: 536, 72: 250_000, 76: _INT_MAX}
    for at, number in numbers.items():
        struct.pack_into("<I", info, at, number)
    return bytes(info)
