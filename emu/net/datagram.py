"""What sockets that send single packets over IP share: connecting, errors that come back, and what control messages say
(net/ipv4/datagram.c, net/ipv4/ip_sockglue.c, net/ipv6/datagram.c).
"""

from __future__ import annotations

import errno
import struct
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emu.fs.file import WouldBlock
from emu.linux.errors import LinuxError
from emu.linux.wait import WaitQueue
from emu.net.address import (
    AF_INET,
    AF_INET6,
    AF_UNSPEC,
    BROADCAST4,
    Endpoint,
    Ip,
    as_six,
    family_of,
    parse_in,
    parse_in6,
    unmapped,
)  # fmt: skip
from emu.net.inet import IPPROTO_IP, IPPROTO_IPV6, SO_BROADCAST, InetSocket
from emu.net.packet import (
    MAX_HEAD,
    MSG_ERRQUEUE,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    Message,
    Packet,
    Received,
    Sink,
    true_size,
)
from emu.net.socket import (
    ERR,
    HUP,
    IN,
    OUT,
    RDHUP,
    SHUT_RD,
    SHUT_RDWR,
    WRBAND,
    receive_message,
    receiver_waits,
)  # fmt: skip

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.linux.caller import Caller

IP_TOS, IP_TTL, IP_PKTINFO, IP_RECVERR, IP_RECVTTL, IP_RECVTOS = 1, 2, 8, 11, 12, 13
IP_RECVORIGDSTADDR = 20
IP_MULTICAST_IF, IP_MULTICAST_TTL, IP_MULTICAST_LOOP, IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP = 32, 33, 34, 35, 36
IPV6_UNICAST_HOPS, IPV6_RECVERR, IPV6_RECVPKTINFO, IPV6_PKTINFO = 16, 25, 49, 50
IPV6_RECVHOPLIMIT, IPV6_HOPLIMIT, IPV6_RECVTCLASS, IPV6_TCLASS = 51, 52, 66, 67
#: The same as RFC 2292 had it, which ping still asks for.
IPV6_2292PKTINFO, IPV6_2292HOPLIMIT = 2, 8
LO_INDEX = 1
DEFAULT_TTL = 64
_ICMP_ORIGIN, _ICMP6_ORIGIN = 2, 3


@dataclass(eq=False)
class Datagram(Packet):
    """A packet that went over IP."""

    target: Endpoint | None = None
    ttl: int = DEFAULT_TTL
    tos: int = 0


@dataclass
class QueuedError:
    """What MSG_ERRQUEUE gives (struct sock_extended_err): a packet that came back."""

    errno: int
    kind: int
    code: int
    data: bytes
    target: Endpoint
    offender: Ip


class DatagramSocket(InetSocket):
    """A socket whose every call sends one packet."""

    #: The most that a packet holds.
    most = 65507
    #: The packet that calls with MSG_MORE have begun.
    _corked: Datagram | None = None
    #: Whether shutdown(2) keeps it from sending.
    minds_shutdown = True
    #: The errors that wait to be read with MSG_ERRQUEUE.
    _errors: deque[QueuedError] | None = None

    # -- connecting ------------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """TCP_ESTABLISHED."""
        return self.remote is not None

    def peer_address(self) -> bytes:
        if self.remote is None or not self.remote.port:
            raise LinuxError(errno.ENOTCONN)
        return self.shown(self.remote)

    def connect(self, caller: Caller[Path], address: bytes, *, wait: bool) -> None:
        family = family_of(address)
        if family == AF_UNSPEC:
            self.remote = None
            self.forget_chosen()
            self.wake()
            return
        self._autobind()
        if family == AF_INET and (self.family == AF_INET or self._dual()):
            target = parse_in(address)
        elif family == AF_INET6 == self.family:
            target = parse_in6(address)
        else:
            if self.family == AF_INET:
                parse_in(address)
            raise LinuxError(errno.EAFNOSUPPORT)
        target = self.destination(target)
        self._check_broadcast(target.ip)
        self.bind_towards(target.ip)
        self.remote = target
        self.wake()

    def _autobind(self) -> None:
        if not self.holds_port:
            self.take_port(self.local.ip if self.local is not None and self._address_chosen else self.any_ip)

    def _check_broadcast(self, ip: Ip) -> None:
        if ip == BROADCAST4 and not self.option(SO_BROADCAST):
            raise LinuxError(errno.EACCES)

    def shutdown(self, how: int) -> None:
        if not SHUT_RD <= how <= SHUT_RDWR:
            raise LinuxError(errno.EINVAL)
        self.shut_read |= how != 1
        self.shut_write |= how != SHUT_RD
        self.wake()
        if not self.connected:
            raise LinuxError(errno.ENOTCONN)

    # -- sending ---------------------------------------------------------------------------------------------------

    def send(self, caller: Caller[Path] | None, data: bytes, message: Message) -> int:
        self._autobind()
        if len(data) > 0xFFFF and self.family == AF_INET:
            raise LinuxError(errno.EMSGSIZE)
        if message.flags & MSG_OOB:
            raise LinuxError(errno.EOPNOTSUPP)
        if self._corked is not None:
            return self._send_more(data, message, self._corked)
        target = self._target(message)
        ttl, tos, source = self._said(message, target)
        target = self.destination(target)
        self._check_broadcast(target.ip)
        if len(data) > self.most:
            raise LinuxError(errno.EMSGSIZE)
        self.raise_error()
        if self.shut_write and self.minds_shutdown:
            raise LinuxError(errno.EPIPE)
        packet = Datagram(data, None, cost=_cost(len(data)), target=target, ttl=ttl, tos=tos)
        if self._corks(message):
            self._corked = packet
        else:
            self._deliver(packet, target, source or self.source_towards(target.ip))
        return len(data)

    def _corks(self, message: Message) -> bool:
        """Whether what is sent is only the beginning of a packet."""
        return False

    def _send_more(self, data: bytes, message: Message, packet: Datagram) -> int:
        """What follows goes into the same packet, wherever it was to go."""
        if len(packet.data) + len(data) > self.most:
            raise LinuxError(errno.EMSGSIZE)
        packet.data += data
        if not self._corks(message):
            self.uncork()
        return len(data)

    def uncork(self) -> None:
        """The packet that was begun goes as it is."""
        packet, self._corked = self._corked, None
        if packet is not None and packet.target is not None:
            packet.cost = _cost(len(packet.data))
            self._deliver(packet, packet.target, self.source_towards(packet.target.ip))

    def _target(self, message: Message) -> Endpoint:
        """Where it is to go.  LinuxError(EDESTADDRREQ, EINVAL, EAFNOSUPPORT)."""
        target = self.parse(message.to) if message.to else self.remote
        if target is None:
            raise LinuxError(errno.EDESTADDRREQ)
        to_four = self.family == AF_INET6 and unmapped(target.ip).version == 4
        if to_four and not self._dual():
            raise LinuxError(errno.ENETUNREACH)
        if not target.port and (message.to or to_four):
            raise LinuxError(errno.EINVAL)
        return target

    def _said(self, message: Message, target: Endpoint) -> tuple[int, int, Endpoint | None]:
        """TTL, TOS and perhaps the source, from options and control messages.  LinuxError(EINVAL)."""
        if unmapped(target.ip).version == 4:
            ttl, tos = self.option(IP_TTL, IPPROTO_IP) or DEFAULT_TTL, self.option(IP_TOS, IPPROTO_IP)
        else:
            ttl = self.options.get((IPPROTO_IPV6, IPV6_UNICAST_HOPS), DEFAULT_TTL)
            ttl, tos = DEFAULT_TTL if ttl < 0 else ttl, max(0, self.option(IPV6_TCLASS, IPPROTO_IPV6))
        for level, kind, body in message.control:
            if (level, kind) in ((IPPROTO_IP, IP_TTL), (IPPROTO_IPV6, IPV6_HOPLIMIT)):
                ttl = _within(_integer(body), 1 if level == IPPROTO_IP else -1, ttl)
            elif (level, kind) in ((IPPROTO_IP, IP_TOS), (IPPROTO_IPV6, IPV6_TCLASS)):
                tos = _within(_integer(body), 0 if level == IPPROTO_IP else -1, 0xFF)
            elif (level, kind) in ((IPPROTO_IP, IP_PKTINFO), (IPPROTO_IPV6, IPV6_PKTINFO)):
                if len(body) != (12 if level == IPPROTO_IP else 20):
                    raise LinuxError(errno.EINVAL)
            elif level in (IPPROTO_IP, IPPROTO_IPV6):
                raise LinuxError(errno.EINVAL)
        return ttl, tos, None

    def _deliver(self, packet: Datagram, target: Endpoint, source: Endpoint) -> None:
        """Bring a packet to who gets it."""
        raise NotImplementedError

    def take_in(self, packet: Packet) -> None:
        """A packet has arrived; it is lost without room."""
        if sum(each.cost for each in self.inbox) + packet.cost <= self.rcvbuf:
            self.put_in(packet)
            self.data_ready()

    def came_back(self, error: QueuedError) -> None:
        """A packet could not be delivered (__udp4_lib_err): who is connected there learns so, or who has asked to."""
        if self.remote is not None and not self.hears(error.target):
            return
        six = unmapped(error.target.ip).version == 6
        asked = self.option(IPV6_RECVERR, IPPROTO_IPV6) if six else self.option(IP_RECVERR, IPPROTO_IP)
        if asked:
            self._errors = self._errors or deque()
            self._errors.append(error)
        elif self.remote is None:
            return
        self.error = error.errno
        self.wake()

    # -- receiving -------------------------------------------------------------------------------------------------

    def receive(self, got: Received, count: int, flags: int, sink: Sink) -> None:
        if flags & MSG_ERRQUEUE:
            self._receive_error(got, count, sink)
            return
        self.raise_error()
        if not self.inbox:
            if self.shut_read and receiver_waits(self, flags):
                got.complete = True
                return
            raise WouldBlock(self.not_empty)
        packet = self.inbox[0]
        try:
            receive_message(self, got, count, flags & ~MSG_OOB, sink)
        finally:
            if flags & MSG_PEEK == 0 and self.inbox:
                self.not_empty.wake_all(IN)
        if isinstance(packet, Datagram) and packet.target is not None:
            got.control = self._told(packet, packet.target)

    def _told(self, packet: Datagram, target: Endpoint) -> list[tuple[int, int, bytes]]:
        """The control messages that options ask for (ip_cmsg_recv, ip6_datagram_recv_ctl)."""
        ip = unmapped(target.ip)
        said = self._told_as_six(packet, ip) if self.family == AF_INET6 else []
        if ip.version == 4:
            if self.option(IP_PKTINFO, IPPROTO_IP):
                said.append((IPPROTO_IP, IP_PKTINFO, struct.pack("<i", LO_INDEX) + ip.packed * 2))
            if self.option(IP_RECVTTL, IPPROTO_IP):
                said.append((IPPROTO_IP, IP_TTL, struct.pack("<i", packet.ttl)))
            if self.option(IP_RECVTOS, IPPROTO_IP):
                said.append((IPPROTO_IP, IP_TOS, bytes([packet.tos])))
            if self.option(IP_RECVORIGDSTADDR, IPPROTO_IP):
                address = struct.pack("<H", AF_INET) + struct.pack(">H", target.port) + ip.packed + bytes(8)
                said.append((IPPROTO_IP, IP_RECVORIGDSTADDR, address))
        return said

    def _told_as_six(self, packet: Datagram, ip: Ip) -> list[tuple[int, int, bytes]]:
        said: list[tuple[int, int, bytes]] = []
        if self.option(IPV6_RECVPKTINFO, IPPROTO_IPV6):
            said.append((IPPROTO_IPV6, IPV6_PKTINFO, as_six(ip).packed + struct.pack("<i", LO_INDEX)))
        if ip.version == 6 and self.option(IPV6_RECVHOPLIMIT, IPPROTO_IPV6):
            said.append((IPPROTO_IPV6, IPV6_HOPLIMIT, struct.pack("<i", packet.ttl)))
        if ip.version == 6 and self.option(IPV6_RECVTCLASS, IPPROTO_IPV6):
            said.append((IPPROTO_IPV6, IPV6_TCLASS, struct.pack("<i", packet.tos)))
        if ip.version == 6 and self.option(IPV6_2292PKTINFO, IPPROTO_IPV6):
            said.append((IPPROTO_IPV6, IPV6_2292PKTINFO, ip.packed + struct.pack("<i", LO_INDEX)))
        if ip.version == 6 and self.option(IPV6_2292HOPLIMIT, IPPROTO_IPV6):
            said.append((IPPROTO_IPV6, IPV6_2292HOPLIMIT, struct.pack("<i", packet.ttl)))
        return said

    def _receive_error(self, got: Received, count: int, sink: Sink) -> None:
        """MSG_ERRQUEUE: the packet that came back, and why (ip_recv_error)."""
        if not self._errors:
            raise LinuxError(errno.EAGAIN)
        error = self._errors.popleft()
        self.error = self._errors[0].errno if self._errors else 0
        six = unmapped(error.target.ip).version == 6
        got.address = self.shown(error.target)
        part, got.length = error.data[:count], len(error.data)
        got.flags = MSG_ERRQUEUE | (MSG_TRUNC if got.length > len(part) else 0)
        got.packets, got.complete = 1, True
        origin = _ICMP6_ORIGIN if six else _ICMP_ORIGIN
        body = struct.pack("<I4B2I", error.errno, origin, error.kind, error.code, 0, 0, 0)
        if six:
            body += struct.pack("<HHI", AF_INET6, 0, 0) + error.offender.packed + bytes(4)
            got.control = [(IPPROTO_IPV6, IPV6_RECVERR, body)]
        else:
            body += struct.pack("<HH", AF_INET, 0) + unmapped(error.offender).packed + bytes(8)
            got.control = [(IPPROTO_IP, IP_RECVERR, body)]
        if part:
            sink(part)
        got.count = len(part)

    # -- polling ---------------------------------------------------------------------------------------------------

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        mask = ERR if self.error or self._errors else 0
        if self.shut_read:
            mask |= IN | RDHUP
            if self.shut_write:
                mask |= HUP
        if self.inbox:
            mask |= IN
        return mask | OUT | WRBAND, (self.not_empty, self.not_full)


def _cost(length: int) -> int:
    return true_size(min(length, MAX_HEAD), max(0, length - MAX_HEAD))


def _within(value: int, low: int, default: int) -> int:
    """A value of a byte; -1, where it is allowed, is the default.  LinuxError(EINVAL)."""
    if not low <= value <= 255:
        raise LinuxError(errno.EINVAL)
    return default if value == -1 else value


def _integer(body: bytes) -> int:
    """The value of a control message: a byte or an int.  LinuxError(EINVAL)."""
    if len(body) == 1:
        return body[0]
    if len(body) != 4:
        raise LinuxError(errno.EINVAL)
    return int.from_bytes(body, "little", signed=True)
