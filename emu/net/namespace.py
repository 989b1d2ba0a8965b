"""All sockets' names of a machine (struct net), and the making of sockets."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from emu.linux.capability import NET_RAW
from emu.linux.errors import LinuxError
from emu.net.address import AF_INET, AF_INET6
from emu.net.inet import IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE, Loopback
from emu.net.netlink import (
    AF_NETLINK,
    NETLINK_ROUTE,
    NETLINK_SOCK_DIAG,
    PROTOCOLS,
    NetlinkPorts,
    NetlinkSocket,
)  # fmt: skip
from emu.net.network import Network
from emu.net.packet import identity_of
from emu.net.raw import RawSocket
from emu.net.rtnetlink import rtnetlink
from emu.net.sock_diag import sock_diag
from emu.net.socket import SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM, Socket
from emu.net.tcp import TcpSocket, tcp_info
from emu.net.udp import UdpSocket
from emu.net.unix import AF_UNIX, UnixSocket, UnixSockets, pair
from emu.net.unix_dgram import UnixDatagrams, UnixSeqpacket
from emu.net.unix_stream import UnixStream

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.vfs import Vfs
    from emu.linux.caller import Caller
    from emu.linux.clock import Clock
    from emu.linux.namespace import UserNamespace

_MOST_FAMILIES, _MOST_TYPES, _MOST_PROTOCOLS = 46, 11, 263
_AF_PACKET = 17


class NetNamespace(Network):
    """The sockets of a machine, or of a part of it.  ``bound``: those of AF_UNIX that have a file, of the machine."""

    def __init__(
        self, vfs: Vfs, clock: Clock, current: Callable[[], Caller[Path] | None], tell: Callable[[str], None],
        bound: dict[tuple[int, int], Any], *, user: UserNamespace | None = None, up: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(vfs, clock, current, tell, user=user, up=up)
        self.unix = UnixSockets(self, bound)
        self.loopback = Loopback(self)
        self.netlink = NetlinkPorts(self)
        self.netlink.kernels[NETLINK_ROUTE] = rtnetlink(self)
        self.netlink.kernels[NETLINK_SOCK_DIAG] = sock_diag(self, tcp_info)

    def socket(self, family: int, type_: int, protocol: int, flags: int = 0) -> Socket:
        """socket(2).  LinuxError(EAFNOSUPPORT, ESOCKTNOSUPPORT, EPROTONOSUPPORT, EINVAL)."""
        if not 0 <= family < _MOST_FAMILIES:
            raise LinuxError(errno.EAFNOSUPPORT)
        if not 0 <= type_ < _MOST_TYPES:
            raise LinuxError(errno.EINVAL)
        if family == AF_UNIX:
            return self._unix_socket(type_, protocol, flags)
        if family == AF_NETLINK:
            return self._netlink_socket(type_, protocol, flags)
        if family in (AF_INET, AF_INET6):
            return self._inet_socket(family, type_, protocol, flags)
        if family == _AF_PACKET and type_ in (SOCK_RAW, SOCK_DGRAM):
            if not self.capable(NET_RAW):
                raise LinuxError(errno.EPERM)
            self.tell("socket: AF_PACKET is not there: EAFNOSUPPORT")
        raise LinuxError(errno.EAFNOSUPPORT)

    def _inet_socket(self, family: int, type_: int, protocol: int, flags: int) -> Socket:
        """inet_create()."""
        if not 0 <= protocol < _MOST_PROTOCOLS:
            raise LinuxError(errno.EINVAL)
        if type_ == SOCK_RAW and protocol:
            if not self.capable(NET_RAW):
                raise LinuxError(errno.EPERM)
            if protocol >= 256:
                raise LinuxError(errno.EPROTONOSUPPORT)
            return RawSocket(self.loopback, family, protocol, flags).opened()
        if type_ == SOCK_STREAM and protocol in (0, IPPROTO_TCP):
            return TcpSocket(self.loopback, family, flags)
        if type_ == SOCK_DGRAM and protocol in (0, IPPROTO_UDP, IPPROTO_UDPLITE):
            return UdpSocket(self.loopback, family, protocol or IPPROTO_UDP, flags)
        if type_ == SOCK_DGRAM and protocol == (IPPROTO_ICMP if family == AF_INET else IPPROTO_ICMPV6):
            raise LinuxError(errno.EACCES)  # net.ipv4.ping_group_range has no group
        known = type_ in (SOCK_STREAM, SOCK_DGRAM, SOCK_RAW)
        raise LinuxError(errno.EPROTONOSUPPORT if known else errno.ESOCKTNOSUPPORT)

    def _netlink_socket(self, type_: int, protocol: int, flags: int) -> NetlinkSocket:
        if type_ not in (SOCK_RAW, SOCK_DGRAM):
            raise LinuxError(errno.ESOCKTNOSUPPORT)
        if protocol not in PROTOCOLS:
            raise LinuxError(errno.EPROTONOSUPPORT)
        return NetlinkSocket(self.netlink, type_, protocol, flags)

    def _unix_socket(self, type_: int, protocol: int, flags: int) -> UnixSocket:
        if protocol not in (0, AF_UNIX):
            raise LinuxError(errno.EPROTONOSUPPORT)
        if type_ == SOCK_STREAM:
            return UnixStream(self.unix, type_, flags)
        if type_ in (SOCK_DGRAM, SOCK_RAW):
            return UnixDatagrams(self.unix, SOCK_DGRAM, flags)
        if type_ == SOCK_SEQPACKET:
            return UnixSeqpacket(self.unix, type_, flags)
        raise LinuxError(errno.ESOCKTNOSUPPORT)

    def socketpair(
        self, caller: Caller[Path], family: int, type_: int, protocol: int, flags: int
    ) -> tuple[Socket, Socket]:
        """socketpair(2).  LinuxError(EOPNOTSUPP) for any family but AF_UNIX."""
        if family != AF_UNIX:
            self.socket(family, type_, protocol).put()
            raise LinuxError(errno.EOPNOTSUPP)
        one = self._unix_socket(type_, protocol, flags)
        try:
            other = self._unix_socket(type_, protocol, flags)
        except LinuxError:
            one.put()
            raise
        pair(one, other)
        who = identity_of(caller)
        for socket in (one, other):
            socket.identity = socket.peer_identity = who
        return one, other
