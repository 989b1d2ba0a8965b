"""AF_INET and AF_INET6 sockets: addresses and ports (net/ipv4/af_inet.c, net/ipv6/af_inet6.c).

The network is a loopback that ends in the machine; nothing leaves it, and another address has no route.  What is sent
is there at once and in order, so that two runs are the same.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.linux.capability import NET_BIND_SERVICE
from emu.linux.errors import LinuxError
from emu.mm.kmem import SOCKETS
from emu.net.address import (
    AF_INET,
    AF_INET6,
    AF_UNSPEC,
    ANY4,
    ANY6,
    LOOPBACK4,
    Endpoint,
    Ip,
    family_of,
    is_local,
    loopback_of,
    parse_in,
    parse_in6,
    shown,
    unmapped,
)  # fmt: skip
from emu.net.socket import Socket

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.linux.caller import Caller
    from emu.net.network import Network

IPPROTO_IP, IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_IPV6, IPPROTO_ICMPV6 = 0, 1, 6, 17, 41, 58
IPPROTO_UDPLITE = 136
SO_REUSEADDR, SO_REUSEPORT, SO_BROADCAST = 2, 15, 6
IPV6_V6ONLY = 26
#: net.ipv4.ip_local_port_range, and the ports of root.
FIRST_PORT, LAST_PORT, PRIVILEGED = 32768, 60999, 1024


class Loopback:
    """The ports, by protocol."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self._bound: dict[tuple[int, int], list[InetSocket]] = {}
        self._next = FIRST_PORT

    def bind(self, socket: InetSocket, ip: Ip, port: int) -> Endpoint:
        """Give a socket an address, and a free port for 0.  LinuxError(EADDRINUSE)."""
        port = port or self._free_port(socket.protocol)
        others = self._bound.get((socket.protocol, port), ())
        if any(other.conflicts(socket, ip) for other in others):
            raise LinuxError(errno.EADDRINUSE)
        self.share(socket, port)
        return Endpoint(ip, port)

    def _free_port(self, protocol: int) -> int:
        for _ in range(LAST_PORT - FIRST_PORT + 1):
            port = self._next
            self._next = port + 1 if port < LAST_PORT else FIRST_PORT
            if not self._bound.get((protocol, port)):
                return port
        raise LinuxError(errno.EADDRINUSE)

    def share(self, socket: InetSocket, port: int) -> None:
        """A socket has a port, whoever else has it."""
        self._bound.setdefault((socket.protocol, port), []).append(socket)

    def unbind(self, socket: InetSocket, port: int) -> None:
        """The socket gives its port back."""
        others = self._bound.get((socket.protocol, port), [])
        if socket in others:
            others.remove(socket)
            if not others:
                del self._bound[socket.protocol, port]

    def bound(self, protocol: int, port: int) -> list[InetSocket]:
        """Who has a port, in the order of binding."""
        return self._bound.get((protocol, port), [])

    def find(self, protocol: int, target: Endpoint, source: Endpoint) -> InetSocket | None:
        """Who gets what is sent there: a socket that is connected to the source, or has the address, or any address.

        Of several that share the port by SO_REUSEPORT, the source's port chooses.
        """
        found = [each for each in self.bound(protocol, target.port) if each.takes(target.ip)]
        for each in found:
            if each.hears(source):
                return each
        free = [each for each in found if each.remote is None and each.is_open]
        if not free:
            return None
        best = min(each.distance for each in free)
        group = [each for each in free if each.distance == best]
        return group[source.port % len(group)] if group[0].shares_port else group[-1]


class InetSocket(Socket):
    """A socket of either family; what its protocol does is below."""

    kept_kind = SOCKETS

    def __init__(self, loopback: Loopback, family: int, type_: int, protocol: int, flags: int = 0) -> None:
        super().__init__(loopback.net, type_, protocol, flags)
        self.family = family
        self._loopback = loopback
        self.local: Endpoint | None = None
        self.remote: Endpoint | None = None
        #: The groups that it is in.
        self.groups: set[Ip] = set()
        #: Whether its port is its own (inet_num).
        self.holds_port = False
        #: Whether bind(2) has chosen its address, and its port (SOCK_BINDADDR_LOCK, SOCK_BINDPORT_LOCK).
        self._address_chosen = self._port_chosen = False

    # -- who gets what ---------------------------------------------------------------------------------------------

    @property
    def any_ip(self) -> Ip:
        """The address that stands for all, in its family."""
        return ANY6 if self.family == AF_INET6 else ANY4

    @property
    def is_any(self) -> bool:
        """Bound to every address of the machine."""
        return self.local is not None and int(unmapped(self.local.ip)) == 0

    @property
    def is_open(self) -> bool:
        """Whether something may come from anybody."""
        return True

    @property
    def shares_port(self) -> bool:
        """SO_REUSEPORT."""
        return bool(self.option(SO_REUSEPORT))

    @property
    def distance(self) -> int:
        """How far its address is from naming a target: an address is nearer than all, and one family than two."""
        return (2 + (self.family == AF_INET6)) if self.is_any else 0

    def _dual(self) -> bool:
        return self.family == AF_INET6 and not self.option(IPV6_V6ONLY, IPPROTO_IPV6)

    def takes(self, ip: Ip) -> bool:
        """Whether something sent to the address is for this socket's address."""
        assert self.local is not None
        mine, ip = unmapped(self.local.ip), unmapped(ip)
        return mine == ip or (self.is_any and (ip.version == mine.version or (mine.version == 6 and self._dual())))

    def hears(self, source: Endpoint) -> bool:
        """Whether it is connected to a source; a port of 0 stands for all."""
        remote = self.remote
        return remote is not None and remote.ip == source.ip and remote.port in (0, source.port)

    def conflicts(self, other: InetSocket, ip: Ip) -> bool:
        """Whether another socket cannot have this one's port at the address (inet_csk_bind_conflict)."""
        if self.shares_port and other.shares_port:
            return False
        if self.option(SO_REUSEADDR) and other.option(SO_REUSEADDR) and self.backlog is None:
            return False
        assert self.local is not None
        mine, ip = unmapped(self.local.ip), unmapped(ip)
        if mine.version == ip.version:
            return mine == ip or int(mine) == 0 or int(ip) == 0
        both = (mine.version == 6 and self._dual()) or (ip.version == 6 and other._dual())
        return both and (int(mine) == 0 if mine.version == 6 else int(ip) == 0)

    def become_four(self) -> None:
        """IPV6_ADDRFORM: from now on it is a socket of AF_INET."""
        self.family = AF_INET
        self.local = self.local and Endpoint(unmapped(self.local.ip), self.local.port)
        self.remote = self.remote and Endpoint(unmapped(self.remote.ip), self.remote.port)

    # -- addresses -------------------------------------------------------------------------------------------------

    def parse(self, address: bytes) -> Endpoint:
        """The sockaddr of a receiver of messages: either family's for AF_INET6.  LinuxError(EINVAL, EAFNOSUPPORT)."""
        family = family_of(address)
        if self.family == AF_INET:
            found = parse_in(address)
            if family not in (AF_INET, AF_UNSPEC):
                raise LinuxError(errno.EAFNOSUPPORT)
            return found
        if family == AF_INET:
            return parse_in(address)
        found = parse_in6(address)
        if family not in (AF_INET6, AF_UNSPEC):
            raise LinuxError(errno.EAFNOSUPPORT)
        return found

    def shown(self, endpoint: Endpoint) -> bytes:
        """An endpoint as sockaddr bytes of this socket's family."""
        return shown(endpoint, self.family)

    def address(self) -> bytes:
        return self.shown(self.local or Endpoint(self.any_ip, 0))

    def bind(self, caller: Caller[Path], address: bytes) -> None:
        family = family_of(address)
        if self.family == AF_INET:
            ip, port = parse_in(address)
            if family != AF_INET and not (family == AF_UNSPEC and int(ip) == 0):
                raise LinuxError(errno.EAFNOSUPPORT)
        else:
            ip, port = parse_in6(address)
            if family != AF_INET6:
                raise LinuxError(errno.EAFNOSUPPORT)
            if unmapped(ip).version == 4 and not self._dual():
                raise LinuxError(errno.EINVAL)
        if not self._may_bind(ip) and not self.may_bind_foreign(ip):
            raise LinuxError(errno.EADDRNOTAVAIL)
        if 0 < port < PRIVILEGED and not caller.credentials.capable_in(NET_BIND_SERVICE, self.net.user):
            raise LinuxError(errno.EACCES)
        if self._is_bound():
            raise LinuxError(errno.EINVAL)
        self.take_port(ip, port)
        self._address_chosen, self._port_chosen = int(ip) != 0, port != 0
        if self._address_chosen and unmapped(ip).version == 6:
            self.options[IPPROTO_IPV6, IPV6_V6ONLY] = 1

    def _may_bind(self, ip: Ip) -> bool:
        """Whether an address is one of the machine's: before lo is first taken up, every IPv4 address passes for one,
        and while it is down there is none of IPv6.
        """
        ip, device = unmapped(ip), self.net.device
        if ip.version == 4:
            return is_local(ip) or not device.configured
        return is_local(ip) and (device.up or int(ip) == 0)

    def _is_bound(self) -> bool:
        """Whether bind(2) comes too late."""
        return self.holds_port

    def may_bind_foreign(self, ip: Ip) -> bool:
        """Whether an address that is none of the machine's is one to bind to: that of a group."""
        return False

    def take_port(self, ip: Ip, port: int = 0) -> None:
        """Have an address, and a port: any for 0.  LinuxError(EADDRINUSE)."""
        self.local = self._loopback.bind(self, ip, port)
        self.holds_port = True

    def unbind(self) -> None:
        if self.holds_port and self.local is not None:
            self._loopback.unbind(self, self.local.port)
        self.holds_port = False

    def forget_chosen(self) -> None:
        """Disconnected: an address and a port that bind(2) did not choose are given back."""
        if self.local is None:
            return
        if not self._address_chosen:
            self.local = self.local._replace(ip=self.any_ip)
        if not self._port_chosen:
            self.unbind()
            self.local = self.local._replace(port=0) if self._address_chosen else None

    def destination(self, target: Endpoint) -> Endpoint:
        """Where it goes: the unspecified address is this machine.  LinuxError(ENETUNREACH)."""
        ip = unmapped(target.ip)
        if self.family == AF_INET6 and ip.version == 4 and not self._dual():
            raise LinuxError(errno.ENETUNREACH)
        bound_to_four = self.family == AF_INET6 and self.local is not None and unmapped(self.local.ip).version == 4
        if int(ip) == 0:
            ip = loopback_of(LOOPBACK4 if bound_to_four else ip)
        if bound_to_four and ip.version == 6:
            raise LinuxError(errno.EAFNOSUPPORT)
        device = self.net.device
        if not is_local(ip) or not (device.up or device.configured):
            six = ip.version == 6 and is_local(ip)
            raise LinuxError(errno.EADDRNOTAVAIL if six else errno.ENETUNREACH)
        if ip.version == 6 and not device.up:
            raise LinuxError(errno.EADDRNOTAVAIL)
        return Endpoint(ip, target.port)

    def source_towards(self, ip: Ip) -> Endpoint:
        """From where something comes that it sends there."""
        assert self.local is not None
        mine = unmapped(self.local.ip)
        return Endpoint(loopback_of(ip) if int(mine) == 0 else mine, self.local.port)

    def bind_towards(self, ip: Ip) -> None:
        """Its own end of a connection there: a port, and the address that leads there unless it has one."""
        if not self.holds_port:
            self.take_port(self.local.ip if self.local is not None and self._address_chosen else self.any_ip)
        assert self.local is not None
        if self.is_any:
            self.local = Endpoint(loopback_of(ip), self.local.port)
