"""AF_INET and AF_INET6: TCP and UDP on a loopback that ends in the machine (tcp(7), udp(7), ipv6(7)).

A connection to any other address has no route: nothing leaves the machine.  What is sent is there at once and in order,
so that two runs are the same.
"""

from __future__ import annotations

import errno
import ipaddress
import struct
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from emu.fs.file import BrokenPipe
from emu.linux.errors import LinuxError
from emu.net.socket import SOCK_DGRAM, SOCK_STREAM, Packet, Socket

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.mount import VfsMount
    from emu.linux.caller import Caller

AF_UNSPEC, AF_INET, AF_INET6 = 0, 2, 10
IPPROTO_TCP, IPPROTO_UDP = 6, 17
SOL_SOCKET, SO_REUSEADDR, SO_REUSEPORT, SO_BROADCAST = 1, 2, 15, 6
IPPROTO_IPV6, IPV6_V6ONLY = 41, 26
#: net.ipv4.ip_local_port_range, and the ports of root.
_FIRST_PORT, _LAST_PORT, _PRIVILEGED = 32768, 60999, 1024
_ANY4, _ANY6 = ipaddress.IPv4Address(0), ipaddress.IPv6Address(0)
_LOOPBACK4, _LOOPBACK6 = ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address(1)
_MAX_DATAGRAM = 65507
Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


class Endpoint(NamedTuple):
    """An address and a port."""

    ip: Ip
    port: int


class Loopback:
    """Who is bound to which port."""

    def __init__(self) -> None:
        self._bound: dict[tuple[int, int], list[InetSocket]] = {}
        self._next = _FIRST_PORT

    def bind(self, socket: InetSocket, ip: Ip, port: int) -> Endpoint:
        """Give a socket an address, and a free port for 0.  LinuxError(EADDRINUSE)."""
        if not port:
            for _ in range(_LAST_PORT - _FIRST_PORT + 1):
                port = self._next
                self._next = port + 1 if port < _LAST_PORT else _FIRST_PORT
                if not self._bound.get((socket.protocol, port)):
                    break
            else:
                raise LinuxError(errno.EADDRINUSE)
        others = self._bound.setdefault((socket.protocol, port), [])
        if any(other.conflicts(socket, ip) for other in others):
            raise LinuxError(errno.EADDRINUSE)
        others.append(socket)
        return Endpoint(ip, port)

    def unbind(self, socket: InetSocket, port: int) -> None:
        """The socket is closed."""
        others = self._bound.get((socket.protocol, port), [])
        if socket in others:
            others.remove(socket)
            if not others:
                del self._bound[socket.protocol, port]

    def find(self, protocol: int, target: Endpoint, source: Endpoint | None = None) -> InetSocket | None:
        """Who gets what is sent there: a socket that is connected to the source, or has the address, or any address."""
        found = [each for each in self._bound.get((protocol, target.port), []) if each.accepts(target.ip)]
        for each in found:
            if each.remote is not None and each.remote == source:
                return each
        free = [each for each in found if each.remote is None]
        return min(free, key=lambda each: each.is_any, default=None)


class InetSocket(Socket):
    """A TCP or UDP socket."""

    not_connected_error: ClassVar[int] = errno.ENOTCONN

    def __init__(self, loopback: Loopback, mount: VfsMount, family: int, type_: int, flags: int = 0) -> None:
        super().__init__(mount, type_, IPPROTO_TCP if type_ == SOCK_STREAM else IPPROTO_UDP, flags)
        self.family = family
        self._loopback = loopback
        self.local: Endpoint | None = None
        self.remote: Endpoint | None = None
        self._port_held = False
        #: The peer was closed and this end was not told that it cannot send; or was.
        self._half_closed = self.reset = False
        #: connect(2) has said EINPROGRESS.
        self.in_progress = False

    # -- addresses -------------------------------------------------------------------------------------------------

    @property
    def _any(self) -> Ip:
        return _ANY6 if self.family == AF_INET6 else _ANY4

    @property
    def is_any(self) -> bool:
        """Bound to every address of the machine."""
        return self.local is not None and int(self.local.ip) == 0

    def _dual(self) -> bool:
        return self.family == AF_INET6 and not self.options.get((IPPROTO_IPV6, IPV6_V6ONLY))

    def accepts(self, ip: Ip) -> bool:
        """Whether something sent to the address is for this socket's address."""
        assert self.local is not None
        mine = _unmapped(self.local.ip)
        ip = _unmapped(ip)
        return mine == ip or (self.is_any and (ip.version == mine.version or self._dual()))

    def conflicts(self, other: InetSocket, ip: Ip) -> bool:
        """Whether another socket cannot have this one's port at the address (inet_csk_bind_conflict)."""
        if self.options.get((SOL_SOCKET, SO_REUSEPORT)) and other.options.get((SOL_SOCKET, SO_REUSEPORT)):
            return False
        reuse = self.options.get((SOL_SOCKET, SO_REUSEADDR)) and other.options.get((SOL_SOCKET, SO_REUSEADDR))
        if reuse and self.backlog is None:
            return False
        assert self.local is not None
        same_kind = _unmapped(self.local.ip).version == _unmapped(ip).version or self._dual() or other._dual()
        return ((self.is_any or int(ip) == 0) and same_kind) or _unmapped(self.local.ip) == _unmapped(ip)

    def _parse(self, address: bytes) -> Endpoint:
        """A sockaddr_in or sockaddr_in6.  LinuxError(EINVAL, EAFNOSUPPORT)."""
        if len(address) < 2:
            raise LinuxError(errno.EINVAL)
        (family,) = struct.unpack_from("<H", address)
        if self.family == AF_INET:
            if len(address) < 16:
                raise LinuxError(errno.EINVAL)
            if family not in (AF_INET, AF_UNSPEC):
                raise LinuxError(errno.EAFNOSUPPORT)
            port, ip = struct.unpack_from(">HI", address, 2)
            return Endpoint(ipaddress.IPv4Address(ip), port)
        if len(address) >= 16 and family == AF_INET:
            port, ip = struct.unpack_from(">HI", address, 2)
            return Endpoint(ipaddress.IPv4Address(ip), port)
        if len(address) < 24:
            raise LinuxError(errno.EINVAL)
        if family != AF_INET6:
            raise LinuxError(errno.EAFNOSUPPORT)
        (port,) = struct.unpack_from(">H", address, 2)
        return Endpoint(ipaddress.IPv6Address(address[8:24]), port)

    def shown(self, endpoint: Endpoint) -> bytes:
        """An endpoint as sockaddr bytes of this socket's family."""
        ip, port = endpoint
        if self.family == AF_INET:
            return struct.pack("<H", AF_INET) + struct.pack(">HI8x", port, int(_unmapped(ip)) & 0xFFFF_FFFF)
        if ip.version == 4:
            ip = ipaddress.IPv6Address(int(ip) | 0xFFFF << 32) if int(ip) else _ANY6
        return struct.pack("<H", AF_INET6) + struct.pack(">HI", port, 0) + ip.packed + bytes(4)

    def address(self) -> bytes:
        return self.shown(self.local or Endpoint(self._any, 0))

    def peer_address(self) -> bytes:
        if self.remote is None or (self.is_connection and not self.connected):
            raise LinuxError(errno.ENOTCONN)
        return self.shown(self.remote)

    def bind(self, caller: Caller[Path], address: bytes) -> None:
        ip, port = self._parse(address)
        if struct.unpack_from("<H", address)[0] != self.family and not (self.family == AF_INET and int(ip) == 0):
            raise LinuxError(errno.EAFNOSUPPORT)
        if not _is_local(ip):
            raise LinuxError(errno.EADDRNOTAVAIL)
        if 0 < port < _PRIVILEGED and caller.credentials.euid:
            raise LinuxError(errno.EACCES)
        if self.local is not None:
            raise LinuxError(errno.EINVAL)
        self._take(ip, port)

    def _take(self, ip: Ip, port: int = 0) -> None:
        self.local = self._loopback.bind(self, ip, port)
        self._port_held = True

    def unbind(self) -> None:
        if self._port_held and self.local is not None:
            self._loopback.unbind(self, self.local.port)
            self._port_held = False

    # -- connections -----------------------------------------------------------------------------------------------

    def connect(self, caller: Caller[Path], address: bytes) -> None:
        if len(address) >= 2 and struct.unpack_from("<H", address)[0] == AF_UNSPEC:
            self._disconnect()
            return
        target = self._destination(self._parse(address))
        if self.type == SOCK_DGRAM:
            self._bind_towards(target.ip)
            self.remote, self.connected = target, True
            self.wake()
            return
        if self.connected or self.peer is not None:
            raise LinuxError(errno.EISCONN)
        if self.backlog is not None:
            raise LinuxError(errno.EISCONN)
        listener = self._loopback.find(IPPROTO_TCP, target)
        if listener is None or listener.backlog is None or not target.port:
            raise LinuxError(errno.ECONNREFUSED)
        self._bind_towards(target.ip)
        self.remote = target
        try:
            self.join(listener, caller)
        except BaseException:
            self.remote = None
            raise

    def _disconnect(self) -> None:
        if self.is_connection and self.peer is not None:
            peer, self.peer = self.peer, None
            peer.lost_peer(True)
        self.remote, self.connected = None, False

    def _destination(self, target: Endpoint) -> Endpoint:
        """Where it goes: the unspecified address is this machine.  LinuxError(ENETUNREACH)."""
        ip = _unmapped(target.ip)
        if self.family == AF_INET6 and ip.version == 4 and not self._dual():
            raise LinuxError(errno.ENETUNREACH)
        if int(ip) == 0:
            ip = _LOOPBACK4 if ip.version == 4 else _LOOPBACK6
        if not _is_local(ip):
            raise LinuxError(errno.ENETUNREACH)
        return Endpoint(ip, target.port)

    def _bind_towards(self, ip: Ip) -> None:
        """A socket without an address gets the one that leads there."""
        mine = _LOOPBACK4 if ip.version == 4 else _LOOPBACK6
        if self.local is None:
            self._take(mine)
        elif self.is_any and self.is_connection:
            self.local = Endpoint(mine, self.local.port)

    def lost_peer(self, unread: bool) -> None:
        if self.is_connection:
            self._half_closed, self.reset = not unread, unread
        super().lost_peer(unread)

    def _hung_up(self) -> bool:
        return not self.connected or self.reset

    def bind_to_listen(self) -> None:
        if self.local is None:
            self._take(self._any)

    def make_accepted(self, client: Socket) -> Socket:
        assert isinstance(client, InetSocket) and client.local is not None and client.remote is not None
        accepted = InetSocket(self._loopback, self._mount, self.family, self.type)
        accepted.local, accepted.remote = client.remote, client.local
        accepted.options = dict(self.options)
        return accepted

    def check_shutdown(self) -> None:
        if not self.connected:
            raise LinuxError(errno.ENOTCONN)

    # -- sending ---------------------------------------------------------------------------------------------------

    def send_to(self, caller: Caller[Path], address: bytes, data: bytes, packet: Packet) -> int:
        if self.is_connection:
            return self.send(data, packet)
        return self._send_datagram(data, packet, self._destination(self._parse(address)) if address else self.remote)

    def send(self, data: bytes, packet: Packet, target: Socket | None = None) -> int:
        if not self.is_connection:
            return self._send_datagram(data, packet, self.remote)
        if not self.connected and not self.error:
            raise BrokenPipe
        if self._half_closed and not self.error and not self.shut_write:
            self.error, self._half_closed = errno.EPIPE, False  # the other end answers that it is closed
            self.reset = True
            return len(data)
        if self.error == errno.EPIPE:
            self.error = 0
            raise BrokenPipe
        return super().send(data, packet)

    def _send_datagram(self, data: bytes, packet: Packet, target: Endpoint | None) -> int:
        """A datagram is there at once, or lost: if nobody has the port, a connected sender is told at its next call."""
        self._check_send()
        if target is None:
            raise LinuxError(errno.EDESTADDRREQ)
        if not target.port:
            raise LinuxError(errno.EINVAL)
        if len(data) > _MAX_DATAGRAM:
            raise LinuxError(errno.EMSGSIZE)
        self._bind_towards(target.ip)
        source = self._source(target.ip)
        receiver = self._loopback.find(IPPROTO_UDP, target, source)
        if receiver is None:
            if self.remote is not None:
                self.error = errno.ECONNREFUSED
                self.wake()
            return len(data)
        packet.data, packet.sender, packet.address = data, None, receiver.shown(source)
        if not receiver.shut_read and sum(each.cost for each in receiver.inbox) + packet.cost <= receiver.rcvbuf:
            receiver.put_in(packet)
            receiver.not_empty.wake_all()
        return len(data)

    def _source(self, towards: Ip) -> Endpoint:
        assert self.local is not None
        ip = _unmapped(self.local.ip)
        if int(ip) == 0:
            ip = _LOOPBACK4 if towards.version == 4 else _LOOPBACK6
        return Endpoint(ip, self.local.port)

    def _peer_has_room(self) -> bool:
        return True


def _is_local(ip: Ip) -> bool:
    ip = _unmapped(ip)
    return int(ip) == 0 or ip.is_loopback


def _unmapped(ip: Ip) -> Ip:
    return ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip
