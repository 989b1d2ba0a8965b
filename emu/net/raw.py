"""Raw sockets, and what the kernel answers to ICMP itself (net/ipv4/raw.c, net/ipv4/icmp.c, net/ipv6/raw.c, raw(7))."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError
from emu.net.address import AF_INET, AF_INET6, Endpoint, Ip, unmapped
from emu.net.datagram import DEFAULT_TTL, Datagram, DatagramSocket
from emu.net.inet import IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_IP, Loopback
from emu.net.packet import Message, true_size
from emu.net.socket import SOCK_RAW

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.linux.caller import Caller

IPPROTO_RAW, IP_HDRINCL = 255, 3
#: ICMP_FILTER of SOL_RAW, and of IPPROTO_ICMPV6.
SOL_RAW, ICMP_FILTER = 255, 1
_ECHO, _ECHO_REPLY, _ECHO6, _ECHO6_REPLY = 8, 0, 128, 129
_HEADER = struct.Struct(">BBHHHBBH4s4s")
_DONT_FRAGMENT = 0x4000


class RawSocket(DatagramSocket):
    """A raw socket: it gets a copy of every packet of its protocol, with AF_INET from the IP header on."""

    most = 65515
    minds_shutdown = False

    def __init__(self, loopback: Loopback, family: int, protocol: int, flags: int = 0) -> None:
        super().__init__(loopback, family, SOCK_RAW, protocol, flags)
        #: Types of ICMP that it does not want, a bit each.
        self.icmp_filter = 0
        if protocol == IPPROTO_RAW:
            self.options[IPPROTO_IP, IP_HDRINCL] = 1

    # -- addresses: the protocol stands where others have a port ---------------------------------------------------

    def take_port(self, ip: Ip, port: int = 0) -> None:
        if not self.holds_port:
            self._loopback.share(self, self.protocol)
        self.local, self.holds_port = Endpoint(ip, self.protocol), True

    def address(self) -> bytes:
        return self.shown(self.local or Endpoint(self.any_ip, self.protocol))

    def forget_chosen(self) -> None:
        if self.local is not None and not self._address_chosen:
            self.local = self.local._replace(ip=self.any_ip)

    def opened(self) -> RawSocket:
        """It gets packets from the start."""
        self.take_port(self.any_ip)
        return self

    def bind(self, caller: Caller[Path], address: bytes) -> None:
        before = self.local
        self.unbind()
        try:
            super().bind(caller, address[:2] + bytes(2) + address[4:])
        finally:
            if not self.holds_port:
                self.take_port(self.any_ip if before is None else before.ip)

    # -- packets ---------------------------------------------------------------------------------------------------

    def _target(self, message: Message) -> Endpoint:
        if message.to:
            return self.parse(message.to)
        if self.remote is None:
            raise LinuxError(errno.EDESTADDRREQ)
        return self.remote

    def _deliver(self, packet: Datagram, target: Endpoint, source: Endpoint) -> None:
        protocol, payload = self.protocol, packet.data
        if self.family == AF_INET and self.option(IP_HDRINCL, IPPROTO_IP):
            if len(payload) < _HEADER.size or payload[0] & 15 < 5:
                raise LinuxError(errno.EINVAL)
            protocol, payload = payload[9], payload[(payload[0] & 15) * 4 :]
        if protocol == IPPROTO_ICMPV6 and len(payload) >= 4:
            payload = with_checksum6(payload, unmapped(source.ip), target.ip)
        tell_raw(self._loopback, protocol, payload, source.ip, target, packet.ttl, packet.tos)
        answer_echo(self._loopback, protocol, payload, source, target)

    def wants(self, protocol: int, payload: bytes) -> bool:
        """Whether its filter lets a packet through."""
        if protocol == IPPROTO_ICMP and payload and payload[0] < 32:
            return not self.icmp_filter >> payload[0] & 1
        if protocol == IPPROTO_ICMPV6 and payload:
            return not self.icmp_filter >> payload[0] & 1
        return True


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071).

    >>> hex(checksum(bytes.fromhex("0800000000010001")))
    '0xf7fd'
    """
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def with_checksum6(payload: bytes, source: Ip, target: Ip) -> bytes:
    """An ICMPv6 message with its checksum, which covers the addresses."""
    bare = payload[:2] + bytes(2) + payload[4:]
    pseudo = source.packed.rjust(16, b"\0") + target.packed.rjust(16, b"\0") + struct.pack(">IxxxB", len(bare), 58)
    return payload[:2] + struct.pack(">H", checksum(pseudo + bare)) + payload[4:]


def ip_header(
    length: int, protocol: int, source: Ip, target: Ip, ttl: int = DEFAULT_TTL, tos: int = 0, *, whole: bool = True
) -> bytes:
    """The IPv4 header of a packet; ``whole``: it may not be divided."""
    fields = (0x45, tos, _HEADER.size + length, 0, _DONT_FRAGMENT * whole, ttl, protocol)
    ends = unmapped(source).packed, unmapped(target).packed
    return _HEADER.pack(*fields, checksum(_HEADER.pack(*fields, 0, *ends)), *ends)


def tell_raw(
    loopback: Loopback, protocol: int, payload: bytes, source: Ip, target: Endpoint, ttl: int = DEFAULT_TTL,
    tos: int = 0, *, whole: bool = True,
) -> None:  # fmt: skip
    """Give every raw socket of the protocol a copy of a packet that arrives (raw_local_deliver)."""
    four = unmapped(target.ip).version == 4
    family = AF_INET if four else AF_INET6
    source = unmapped(source)
    for socket in loopback.bound(protocol, protocol):
        if not isinstance(socket, RawSocket) or socket.family != family or not socket.takes(target.ip):
            continue
        if socket.remote is not None and unmapped(socket.remote.ip) != source:
            continue
        if socket.wants(protocol, payload):
            head = ip_header(len(payload), protocol, source, target.ip, ttl, tos, whole=whole) if four else b""
            data = head + payload
            copy = Datagram(data, None, socket.shown(Endpoint(source, 0)), cost=true_size(min(len(data), 3776)))
            copy.target, copy.ttl, copy.tos = target, ttl, tos
            socket.take_in(copy)


def answer_echo(loopback: Loopback, protocol: int, payload: bytes, source: Endpoint, target: Endpoint) -> None:
    """The kernel answers a ping."""
    request = {IPPROTO_ICMP: _ECHO, IPPROTO_ICMPV6: _ECHO6}.get(protocol)
    if request is None or len(payload) < 8 or payload[0] != request:
        return
    back = Endpoint(unmapped(source.ip), 0)
    if protocol == IPPROTO_ICMP:
        if checksum(payload):
            return
        bare = bytes([_ECHO_REPLY, 0]) + bytes(2) + payload[4:]
        reply = bare[:2] + struct.pack(">H", checksum(bare)) + payload[4:]
    else:
        reply = with_checksum6(bytes([_ECHO6_REPLY, 0, 0, 0]) + payload[4:], target.ip, back.ip)
    tell_raw(loopback, protocol, reply, target.ip, back, whole=False)


def tell_unreachable(loopback: Loopback, packet: Datagram, header: bytes, source: Endpoint, target: Endpoint) -> None:
    """Nobody has the port: raw sockets of ICMP hear of it (icmp_send)."""
    if unmapped(target.ip).version == 4 and loopback.bound(IPPROTO_ICMP, IPPROTO_ICMP):
        original = ip_header(8 + len(packet.data), 17, source.ip, target.ip, packet.ttl, packet.tos)
        body = bytes([3, 3, 0, 0, 0, 0, 0, 0]) + (original + header + packet.data)[:548]
        body = body[:2] + struct.pack(">H", checksum(body)) + body[4:]
        tell_raw(loopback, IPPROTO_ICMP, body, target.ip, Endpoint(source.ip, 0), tos=0xC0, whole=False)
