"""UDP (net/ipv4/udp.c, udp(7)), with groups on lo (igmp(7))."""

from __future__ import annotations

import errno
import struct

from emu.linux.errors import LinuxError
from emu.net.address import BROADCAST4, Endpoint, Ip, unmapped
from emu.net.datagram import IP_MULTICAST_IF, Datagram, DatagramSocket, QueuedError
from emu.net.inet import IPPROTO_IP, IPPROTO_IPV6, IPPROTO_UDP, Loopback
from emu.net.packet import MSG_MORE, Message
from emu.net.raw import tell_raw, tell_unreachable
from emu.net.socket import SOCK_DGRAM

#: Type and code of ICMP's and ICMPv6's "nobody has the port".
_UNREACHABLE4, _UNREACHABLE6 = (3, 3), (1, 4)
IPV6_MULTICAST_IF, UDP_CORK = 17, 1


class UdpSocket(DatagramSocket):
    """A UDP socket."""

    def __init__(self, loopback: Loopback, family: int, protocol: int = IPPROTO_UDP, flags: int = 0) -> None:
        super().__init__(loopback, family, SOCK_DGRAM, protocol, flags)

    def _corks(self, message: Message) -> bool:
        return bool(message.flags & MSG_MORE or self.option(UDP_CORK, IPPROTO_UDP))

    def may_bind_foreign(self, ip: Ip) -> bool:
        return ip.is_multicast

    def takes(self, ip: Ip) -> bool:
        ip = unmapped(ip)
        if ip.is_multicast or ip == BROADCAST4:
            assert self.local is not None
            named = unmapped(self.local.ip) == ip
            return named or (self.is_any and (ip == BROADCAST4 or ip in self.groups))
        return super().takes(ip)

    def destination(self, target: Endpoint) -> Endpoint:
        ip = unmapped(target.ip)
        if not ip.is_multicast:
            return super().destination(target)
        level, name = (IPPROTO_IP, IP_MULTICAST_IF) if ip.version == 4 else (IPPROTO_IPV6, IPV6_MULTICAST_IF)
        bound_to_lo = self.local is not None and unmapped(self.local.ip).is_loopback
        if not self.option(name, level) and not bound_to_lo:
            raise LinuxError(errno.ENETUNREACH)
        return Endpoint(ip, target.port)

    def _deliver(self, packet: Datagram, target: Endpoint, source: Endpoint) -> None:
        if not self.net.device.up:  # it is lost
            return
        if target.ip.is_multicast or target.ip == BROADCAST4:
            self._deliver_to_all(packet, target, source)
            return
        header = struct.pack(">4H", source.port, target.port, 8 + len(packet.data), 0)
        tell_raw(self._loopback, self.protocol, header + packet.data, source.ip, target, packet.ttl, packet.tos)
        receiver = self._loopback.find(self.protocol, target, source)
        if isinstance(receiver, UdpSocket):
            packet.address = receiver.shown(source)
            receiver.take_in(packet)
            return
        tell_unreachable(self._loopback, packet, header, source, target)
        kind, code = _UNREACHABLE4 if target.ip.version == 4 else _UNREACHABLE6
        self.came_back(QueuedError(errno.ECONNREFUSED, kind, code, packet.data, target, target.ip))

    def _deliver_to_all(self, packet: Datagram, target: Endpoint, source: Endpoint) -> None:
        """Every socket that wants it has its own packet; IP_MULTICAST_LOOP is about other devices than lo."""
        for each in self._loopback.bound(self.protocol, target.port):
            if isinstance(each, UdpSocket) and each.takes(target.ip) and each.remote in (None, source):
                copy = Datagram(packet.data, None, each.shown(source), cost=packet.cost)
                copy.target, copy.ttl, copy.tos = target, packet.ttl, packet.tos
                each.take_in(copy)
