"""UDP (net/ipv4/udp.c, udp(7)), with groups on lo (igmp(7))."""

from __future__ import annotations

import errno

from emu.linux.errors import LinuxError
from emu.net.address import BROADCAST4, Endpoint, Ip, unmapped
from emu.net.datagram import IP_MULTICAST_IF, IP_MULTICAST_LOOP, Datagram, DatagramSocket, QueuedError
from emu.net.inet import IPPROTO_IP, IPPROTO_IPV6, IPPROTO_UDP, Loopback
from emu.net.socket import SOCK_DGRAM

#: Type and code of ICMP's and ICMPv6's "nobody has the port".
_UNREACHABLE4, _UNREACHABLE6 = (3, 3), (1, 4)
IPV6_MULTICAST_IF, IPV6_MULTICAST_LOOP = 17, 19


class UdpSocket(DatagramSocket):
    """A UDP socket."""

    def __init__(self, loopback: Loopback, family: int, flags: int = 0) -> None:
        super().__init__(loopback, family, SOCK_DGRAM, IPPROTO_UDP, flags)
        #: The groups that it is in.
        self.groups: set[Ip] = set()

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
        if target.ip.is_multicast or target.ip == BROADCAST4:
            self._deliver_to_all(packet, target, source)
            return
        receiver = self._loopback.find(IPPROTO_UDP, target, source)
        if isinstance(receiver, UdpSocket):
            packet.address = receiver.shown(source)
            receiver.take_in(packet)
            return
        kind, code = _UNREACHABLE4 if target.ip.version == 4 else _UNREACHABLE6
        self.came_back(QueuedError(errno.ECONNREFUSED, kind, code, packet.data, target, target.ip))

    def _deliver_to_all(self, packet: Datagram, target: Endpoint, source: Endpoint) -> None:
        """Every socket that wants it has its own packet."""
        level, name = (IPPROTO_IP, IP_MULTICAST_LOOP) if target.ip.version == 4 else (IPPROTO_IPV6, IPV6_MULTICAST_LOOP)
        if target.ip.is_multicast and not self.options.get((level, name), 1):
            return
        for each in self._loopback.bound(IPPROTO_UDP, target.port):
            if isinstance(each, UdpSocket) and each.takes(target.ip) and each.remote in (None, source):
                copy = Datagram(packet.data, None, each.shown(source), cost=packet.cost)
                copy.target, copy.ttl, copy.tos = target, packet.ttl, packet.tos
                each.take_in(copy)
