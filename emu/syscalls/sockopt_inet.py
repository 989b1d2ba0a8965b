"""The options of Internet sockets that are more than a number: of TCP, IP, IPv6 and ICMP (tcp(7), ip(7), ipv6(7))."""

from __future__ import annotations

import errno
import ipaddress
import struct
from typing import TYPE_CHECKING

from emu.linux.argument import INT
from emu.linux.errors import LinuxError
from emu.net.address import AF_INET, AF_INET6, Endpoint, is_local, parse_in, parse_in6, unmapped
from emu.net.datagram import IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP, IP_MULTICAST_IF, LO_INDEX
from emu.net.inet import IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, InetSocket
from emu.net.raw import ICMP_FILTER, SOL_RAW, RawSocket
from emu.net.tcp import TcpSocket, tcp_info
from emu.net.tcp_state import CONNECTED, TcpState
from emu.net.udp import UdpSocket

if TYPE_CHECKING:
    from emu.kernel.task import Task

_INT = struct.Struct("<i")
_MAXSEG, _INFO, _CONGESTION, _ULP, _FASTOPEN_KEY = 2, 11, 13, 31, 33
_IP_OPTIONS, _IP_PKTOPTIONS, _IP_MTU, _IPV6_MTU = 4, 9, 14, 24
_JOIN_GROUP, _LEAVE_GROUP, _MCAST_JOIN_GROUP, _MCAST_LEAVE_GROUP = 20, 21, 42, 45
#: struct group_req: the device, and a struct sockaddr_storage.
_GROUP_REQ = 136
_ADDRFORM = 1
_CONGESTION_CONTROLS = (b"cubic", b"reno")
_LO_MTU = 65536
_ICMP_FILTERS = ((SOL_RAW, ICMP_FILTER), (IPPROTO_ICMPV6, ICMP_FILTER))
_GROUP_OPTIONS = frozenset(
    {*((level, name) for level in (IPPROTO_IP, IPPROTO_IPV6) for name in (_MCAST_JOIN_GROUP, _MCAST_LEAVE_GROUP)),
     (IPPROTO_IP, _IP_OPTIONS), (IPPROTO_IP, IP_MULTICAST_IF), (IPPROTO_IP, IP_ADD_MEMBERSHIP),
     (IPPROTO_IP, IP_DROP_MEMBERSHIP), (IPPROTO_IPV6, _JOIN_GROUP), (IPPROTO_IPV6, _LEAVE_GROUP)}
)  # fmt: skip


# -- setsockopt --------------------------------------------------------------------------------------------------------


def set_inet_option(task: Task, file: InetSocket, level: int, name: int, value_at: int, length: int) -> bool:
    """Set an option that is more than a number; False if it is none of these."""
    if isinstance(file, TcpSocket) and (level, name) in ((IPPROTO_TCP, _CONGESTION), (IPPROTO_TCP, _ULP)):
        _set_congestion(task, file, name, value_at, length)
    elif isinstance(file, RawSocket) and (level, name) in _ICMP_FILTERS:
        _set_icmp_filter(task, file, level, value_at, length)
    elif file.family == AF_INET6 and (level, name) == (IPPROTO_IPV6, _ADDRFORM):
        _become_four(task, file, value_at, length)
    elif (level, name) in _GROUP_OPTIONS:
        _set_group_option(task, file, level, name, value_at, length)
    else:
        return False
    return True


def _set_congestion(task: Task, file: TcpSocket, name: int, value_at: int, length: int) -> None:
    """TCP_CONGESTION and TCP_ULP, by a name."""
    if not length:
        raise LinuxError(errno.EINVAL)
    word = task.mm.read(value_at, min(length, 15)).partition(b"\0")[0]
    if name == _ULP or word not in _CONGESTION_CONTROLS:
        raise LinuxError(errno.ENOENT)
    file.options[IPPROTO_TCP, name] = _CONGESTION_CONTROLS.index(word)


def _become_four(task: Task, file: InetSocket, value_at: int, length: int) -> None:
    """IPV6_ADDRFORM: a connection to a mapped address becomes one of AF_INET."""
    if length < _INT.size or INT.read(task.mm, value_at) != AF_INET:
        raise LinuxError(errno.EINVAL)
    if isinstance(file, RawSocket):
        raise LinuxError(errno.ENOPROTOOPT)
    remote = _connected_to(file)
    if unmapped(remote.ip).version != 4:
        raise LinuxError(errno.EADDRNOTAVAIL)
    file.become_four()


def _connected_to(file: InetSocket) -> Endpoint:
    """LinuxError(ENOTCONN)."""
    if file.remote is None or (isinstance(file, TcpSocket) and file.state != TcpState.ESTABLISHED):
        raise LinuxError(errno.ENOTCONN)
    return file.remote


def _set_icmp_filter(task: Task, file: RawSocket, level: int, value_at: int, length: int) -> None:
    """Which types of ICMP it does not want: of ICMPv6 those whose bit is set too (struct icmp6_filter)."""
    if file.protocol != (IPPROTO_ICMP if level == SOL_RAW else IPPROTO_ICMPV6):
        raise LinuxError(errno.EOPNOTSUPP if level == SOL_RAW else errno.ENOPROTOOPT)
    file.icmp_filter = int.from_bytes(task.mm.read(value_at, min(length, 4 if level == SOL_RAW else 32)), "little")


def _set_group_option(task: Task, file: InetSocket, level: int, name: int, value_at: int, length: int) -> None:
    """The options about groups, and IP_OPTIONS of which only the empty ones are there."""
    data = task.mm.read(value_at, min(length, 64)) if length else b""
    if (level, name) == (IPPROTO_IP, _IP_OPTIONS):
        if length > 40 or data.strip(b"\0\1"):
            raise LinuxError(errno.EINVAL)
        return
    if level == IPPROTO_IPV6 and file.family != AF_INET6:
        raise LinuxError(errno.ENOPROTOOPT)
    if name in (_MCAST_JOIN_GROUP, _MCAST_LEAVE_GROUP):
        if length < _GROUP_REQ:
            raise LinuxError(errno.EINVAL)
        _change_by_request(file, task.mm.read(value_at, _GROUP_REQ), level, join=name == _MCAST_JOIN_GROUP)
        return
    if isinstance(file, TcpSocket) and name != IP_MULTICAST_IF:
        raise LinuxError(errno.EPROTO)
    least = 20 if level == IPPROTO_IPV6 else 4 if name == IP_MULTICAST_IF else 8
    if length < least or not isinstance(file, UdpSocket):
        raise LinuxError(errno.EINVAL)
    if level == IPPROTO_IPV6:
        group, index = ipaddress.IPv6Address(data[:16]), int.from_bytes(data[16:20], "little")
        _change_membership(file, group, index, join=name == _JOIN_GROUP)
        return
    index = int.from_bytes(data[8:12], "little") if length >= 12 else 0
    local = ipaddress.IPv4Address(data[:4] if length < 8 else data[4:8])
    if name == IP_MULTICAST_IF:
        if int(local) and not is_local(local):
            raise LinuxError(errno.EADDRNOTAVAIL)
        file.options[level, name] = LO_INDEX if index or int(local) else 0
        return
    if int(local) and is_local(local):
        index = index or LO_INDEX
    _change_membership(file, ipaddress.IPv4Address(data[:4]), index, join=name == IP_ADD_MEMBERSHIP)


def _change_by_request(file: InetSocket, request: bytes, level: int, *, join: bool) -> None:
    """MCAST_JOIN_GROUP and MCAST_LEAVE_GROUP, of sockets of any type."""
    family = int.from_bytes(request[8:10], "little")
    if family != (AF_INET if level == IPPROTO_IP else AF_INET6):
        raise LinuxError(errno.EINVAL if level == IPPROTO_IP else errno.EADDRNOTAVAIL)
    group = parse_in(request[8:]).ip if family == AF_INET else parse_in6(request[8:]).ip
    _change_membership(file, group, int.from_bytes(request[:4], "little"), join=join)


def _change_membership(
    file: InetSocket, group: ipaddress.IPv4Address | ipaddress.IPv6Address, index: int, *, join: bool
) -> None:
    """A socket joins a group on lo, or leaves it (ip_mc_join_group, ip_mc_leave_group)."""
    if not join:
        if group not in file.groups:
            raise LinuxError(errno.EADDRNOTAVAIL)
        file.groups.remove(group)
        return
    if not group.is_multicast:
        raise LinuxError(errno.EINVAL)
    if index != LO_INDEX:
        raise LinuxError(errno.ENODEV)
    if group in file.groups:
        raise LinuxError(errno.EADDRINUSE)
    file.groups.add(group)


# -- getsockopt --------------------------------------------------------------------------------------------------------


def inet_option(file: InetSocket, level: int, name: int) -> bytes | None:
    """The value of an option that is more than a number; None if it is none of these."""
    if isinstance(file, TcpSocket) and level == IPPROTO_TCP:
        return _tcp_option(file, name)
    if (level, name) == (IPPROTO_IPV6, _ADDRFORM) and file.family == AF_INET6:
        _connected_to(file)
        return _INT.pack(AF_INET6)
    if (level, name) in ((IPPROTO_IP, _IP_MTU), (IPPROTO_IPV6, _IPV6_MTU)):
        if file.remote is None:
            raise LinuxError(errno.ENOTCONN)
        return _INT.pack(65535 if level == IPPROTO_IP else _LO_MTU)
    if level == IPPROTO_IP and name in (_IP_OPTIONS, _IP_PKTOPTIONS):
        return b""
    if level == IPPROTO_IP and name == IP_MULTICAST_IF:
        return bytes(4)
    return None


def _tcp_option(file: TcpSocket, name: int) -> bytes | None:
    """The options of TCP that are no numbers."""
    if name == _MAXSEG:
        return _INT.pack(32768) if file.state in CONNECTED else None
    if name == _INFO:
        return tcp_info(file)
    if name == _CONGESTION:
        return _CONGESTION_CONTROLS[file.option(name, IPPROTO_TCP)].ljust(16, b"\0")
    if name in (_ULP, _FASTOPEN_KEY):
        return b""
    return None
