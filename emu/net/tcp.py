"""TCP sockets (net/ipv4/tcp.c, tcp(7)): how a connection comes to be, and how it ends."""

from __future__ import annotations

import errno
import struct
from collections import deque
from typing import TYPE_CHECKING

from emu.fs.file import WouldBlock
from emu.linux.errors import LinuxError
from emu.net.address import AF_INET, AF_INET6, AF_UNSPEC, family_of, parse_in, parse_in6
from emu.net.inet import IPPROTO_TCP, Loopback
from emu.net.packet import identity_of
from emu.net.socket import SHUT_RD, SHUT_RDWR, SO_LINGER
from emu.net.tcp_state import CONNECTED, Connecting, TcpState
from emu.net.tcp_stream import TcpStream

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.linux.caller import Caller

#: What a connection over lo makes of net.ipv4.tcp_wmem.
_CONNECTED_SNDBUF = 3939840
_INFO_SIZE, _INT_MAX = 280, 0x7FFF_FFFF

#: How long the first packet of a connection is sent again (tcp_syn_retries): 127 s.
_SYN_TIMEOUT_NS = 127_000_000_000


class TcpSocket(TcpStream):
    """A TCP socket."""

    peer: TcpSocket | None

    def __init__(self, loopback: Loopback, family: int, flags: int = 0) -> None:
        super().__init__(loopback, family, flags)
        self.buffers_chosen = False
        #: Connections to this listening socket that wait for room in the backlog.
        self.syn_queue: deque[TcpSocket] = deque()

    # -- connections -----------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        return self.state == TcpState.LISTEN

    def _is_bound(self) -> bool:
        return self.state != TcpState.CLOSE or self.holds_port

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
        if not self.net.device.up:  # what is sent is lost
            self.state = TcpState.SYN_SENT
            self.net.later(_SYN_TIMEOUT_NS, self._not_answered)
            return
        listener = self._loopback.find(IPPROTO_TCP, target, self.source_towards(target.ip))
        if not isinstance(listener, TcpSocket) or listener.backlog is None or not target.port:
            self._abort(errno.ECONNREFUSED)
        elif len(listener.backlog) > listener.max_backlog:
            self.state = TcpState.SYN_SENT
            listener.syn_queue.append(self)
        else:
            listener.let_in(self)

    def _not_answered(self) -> None:
        """Nobody has answered for so long (tcp_write_timeout)."""
        if self.state == TcpState.SYN_SENT:
            self._abort(errno.ETIMEDOUT)

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
