"""setsockopt and getsockopt: the options of sockets (socket(7), tcp(7), ip(7), ipv6(7))."""

from __future__ import annotations

import errno
import ipaddress
import struct
from typing import TYPE_CHECKING

from emu.linux.argument import FD, INT, S32, Pointer, Scalar
from emu.linux.capability import NET_ADMIN
from emu.linux.errors import LinuxError
from emu.linux.layout import Opaque
from emu.linux.syscall import Syscall
from emu.linux.words import Choice
from emu.net.address import AF_INET, AF_INET6, Endpoint, is_local, parse_in, parse_in6, unmapped
from emu.net.datagram import IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP, IP_MULTICAST_IF, LO_INDEX
from emu.net.inet import (
    IPPROTO_ICMP,
    IPPROTO_ICMPV6,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_TCP,
    IPPROTO_UDP,
    IPV6_V6ONLY,
    InetSocket,
)
from emu.net.option import option_of
from emu.net.packet import NOBODY
from emu.net.raw import ICMP_FILTER, SOL_RAW, RawSocket
from emu.net.socket import MAX_BUFFER, MIN_RCVBUF, MIN_SNDBUF, SOL_SOCKET, Socket
from emu.net.tcp import TcpSocket, tcp_info
from emu.net.tcp_state import CONNECTED, TcpState
from emu.net.tcp_stream import TCP_CORK, TCP_NODELAY
from emu.net.udp import UDP_CORK, UdpSocket
from emu.net.unix import UnixSocket
from emu.syscalls.pidfd import sys_pidfd_open
from emu.syscalls.sockets import LENGTH, socket_of

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_INT, _LONG, _UCRED, _TIMEVAL = struct.Struct("<i"), struct.Struct("<q"), struct.Struct("<3i"), struct.Struct("<2q")
_LINGER = struct.Struct("<2i")
#: The longest time that SO_LINGER takes, in ticks of CONFIG_HZ (250).
_LONGEST_LINGER = (1 << 63) - 1
_HZ = 250
_MAXSEG, _INFO, _CONGESTION, _ULP, _FASTOPEN_KEY = 2, 11, 13, 31, 33
_IP_OPTIONS, _IP_PKTOPTIONS, _IP_MTU, _IPV6_MTU = 4, 9, 14, 24
_JOIN_GROUP, _LEAVE_GROUP, _MCAST_JOIN_GROUP, _MCAST_LEAVE_GROUP = 20, 21, 42, 45
#: struct group_req: the device, and a struct sockaddr_storage.
_GROUP_REQ = 136
_ADDRFORM = 1
_CONGESTION_CONTROLS = (b"cubic", b"reno")
_LO = b"lo"
_LO_MTU = 65536


class Sockopt(Choice, prefix="SO_"):
    """Options of SOL_SOCKET."""

    DEBUG = 1
    REUSEADDR = 2
    TYPE = 3
    ERROR = 4
    DONTROUTE = 5
    BROADCAST = 6
    SNDBUF = 7
    RCVBUF = 8
    KEEPALIVE = 9
    OOBINLINE = 10
    PRIORITY = 12
    LINGER = 13
    REUSEPORT = 15
    NO_CHECK = 11
    PASSCRED = 16
    PEERCRED = 17
    RCVLOWAT = 18
    SNDLOWAT = 19
    RCVTIMEO = 20
    SNDTIMEO = 21
    BINDTODEVICE = 25
    ATTACH_FILTER = 26
    DETACH_FILTER = 27
    PEERNAME = 28
    TIMESTAMP = 29
    ACCEPTCONN = 30
    PEERSEC = 31
    SNDBUFFORCE = 32
    RCVBUFFORCE = 33
    PASSSEC = 34
    TIMESTAMPNS = 35
    MARK = 36
    TIMESTAMPING = 37
    PROTOCOL = 38
    DOMAIN = 39
    RXQ_OVFL = 40
    PEEK_OFF = 42
    LOCK_FILTER = 44
    BUSY_POLL = 46
    MAX_PACING_RATE = 47
    INCOMING_CPU = 49
    ATTACH_BPF = 50
    ATTACH_REUSEPORT_CBPF = 51
    ATTACH_REUSEPORT_EBPF = 52
    CNX_ADVICE = 53
    MEMINFO = 55
    INCOMING_NAPI_ID = 56
    COOKIE = 57
    PEERGROUPS = 59
    ZEROCOPY = 60
    TXTIME = 61
    BINDTOIFINDEX = 62
    TIMESTAMPING_NEW = 65
    RCVTIMEO_NEW = 66
    SNDTIMEO_NEW = 67
    BUF_LOCK = 72
    PASSPIDFD = 76
    PEERPIDFD = 77


_TIMEOUTS = (Sockopt.RCVTIMEO, Sockopt.SNDTIMEO, Sockopt.RCVTIMEO_NEW, Sockopt.SNDTIMEO_NEW)
#: Booleans of Linux that change how a queue is served, and nothing that can be seen: written, and not shown.
_WRITE_ONLY = (Sockopt.CNX_ADVICE,)


# -- setsockopt --------------------------------------------------------------------------------------------------------


def sys_setsockopt(kernel: Kernel, task: Task, fd: int, level: int, name: int, value_at: int, length: int) -> int:
    """setsockopt(2)."""
    file = socket_of(task, fd)
    if length < 0:
        raise LinuxError(errno.EINVAL)
    if level == SOL_SOCKET:
        _set_socket_option(task, file, name, value_at, length)
    elif isinstance(file, TcpSocket) and (level, name) in ((IPPROTO_TCP, _CONGESTION), (IPPROTO_TCP, _ULP)):
        _set_congestion(task, file, name, value_at, length)
    elif isinstance(file, RawSocket) and (level, name) in _FILTERS:
        _set_icmp_filter(task, file, level, value_at, length)
    elif isinstance(file, InetSocket) and file.family == AF_INET6 and (level, name) == (IPPROTO_IPV6, _ADDRFORM):
        _become_four(task, file, value_at, length)
    elif isinstance(file, InetSocket) and (level, name) in _SPECIAL:
        _set_group_option(task, file, level, name, value_at, length)
    else:
        _set_number(task, file, level, name, value_at, length)
    return 0


def _set_number(task: Task, file: Socket, level: int, name: int, value_at: int, length: int) -> None:
    """An option that is a number: of IP also in a single byte, and without any it is 0."""
    own_level = isinstance(file, InetSocket) and level == file.protocol
    option = option_of(file, level, name, changes=True) if not own_level or length >= _INT.size else None
    if option is None or (length < _INT.size and (level != IPPROTO_IP or (not length and option.needs_value))):
        raise LinuxError(errno.EINVAL)
    if length >= _INT.size:
        value = INT.read(task.mm, value_at)
    else:
        value = task.mm.read(value_at, 1)[0] if length else 0
    if (level, name) == (IPPROTO_IPV6, IPV6_V6ONLY) and isinstance(file, InetSocket) and file.local is not None:
        raise LinuxError(errno.EINVAL)
    file.options[level, name] = int(option.taken(value))
    if isinstance(file, TcpSocket) and level == IPPROTO_TCP and _lets_go(name, value):
        file.uncork()
    if isinstance(file, UdpSocket) and (level, name, value) == (IPPROTO_UDP, UDP_CORK, 0):
        file.uncork()


def _lets_go(name: int, value: int) -> bool:
    """Whether an option of TCP sends what was held."""
    return (name == TCP_CORK and not value) or (name == TCP_NODELAY and bool(value))


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


_FILTERS = ((SOL_RAW, ICMP_FILTER), (IPPROTO_ICMPV6, ICMP_FILTER))


def _set_icmp_filter(task: Task, file: RawSocket, level: int, value_at: int, length: int) -> None:
    """Which types of ICMP it does not want: of ICMPv6 those whose bit is set too (struct icmp6_filter)."""
    if file.protocol != (IPPROTO_ICMP if level == SOL_RAW else IPPROTO_ICMPV6):
        raise LinuxError(errno.EOPNOTSUPP if level == SOL_RAW else errno.ENOPROTOOPT)
    file.icmp_filter = int.from_bytes(task.mm.read(value_at, min(length, 4 if level == SOL_RAW else 32)), "little")


_SPECIAL = frozenset(
    {*((level, name) for level in (IPPROTO_IP, IPPROTO_IPV6) for name in (_MCAST_JOIN_GROUP, _MCAST_LEAVE_GROUP)),
     (IPPROTO_IP, _IP_OPTIONS), (IPPROTO_IP, IP_MULTICAST_IF), (IPPROTO_IP, IP_ADD_MEMBERSHIP),
     (IPPROTO_IP, IP_DROP_MEMBERSHIP), (IPPROTO_IPV6, _JOIN_GROUP), (IPPROTO_IPV6, _LEAVE_GROUP)}
)  # fmt: skip


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


def _set_socket_option(task: Task, file: Socket, name: int, value_at: int, length: int) -> None:
    if name == Sockopt.BINDTODEVICE:
        _bind_to_device(task, file, value_at, length)
        return
    if length < _INT.size:
        raise LinuxError(errno.EINVAL)
    value = INT.read(task.mm, value_at)
    if name in _TIMEOUTS:
        _set_timeout(task, file, name, value_at, length)
    elif name == Sockopt.LINGER:
        if length < _LINGER.size:
            raise LinuxError(errno.EINVAL)
        on, seconds = _LINGER.unpack(task.mm.read(value_at, _LINGER.size))
        kept = file.options.get((SOL_SOCKET, name), 0) >> 1
        ticks = (seconds * _HZ if seconds >= 0 else _LONGEST_LINGER) if on else kept
        file.options[SOL_SOCKET, name] = ticks << 1 | bool(on)
    elif name in (Sockopt.SNDBUF, Sockopt.SNDBUFFORCE, Sockopt.RCVBUF, Sockopt.RCVBUFFORCE):
        _set_buffer(task, file, name, value)
    elif name in (Sockopt.ATTACH_FILTER, Sockopt.DETACH_FILTER):
        raise LinuxError(errno.EINVAL if name == Sockopt.ATTACH_FILTER else errno.ENOENT)
    elif name in (Sockopt.ATTACH_BPF, Sockopt.ATTACH_REUSEPORT_EBPF):
        task.files.get(value)
        raise LinuxError(errno.EINVAL)
    elif name == Sockopt.ATTACH_REUSEPORT_CBPF:
        raise LinuxError(errno.EINVAL)
    elif name in (Sockopt.TIMESTAMPING, Sockopt.TIMESTAMPING_NEW, Sockopt.MAX_PACING_RATE):
        if name != Sockopt.MAX_PACING_RATE and not 0 <= value < 1 << 16:
            raise LinuxError(errno.EINVAL)
        file.options[SOL_SOCKET, name] = value
    elif name == Sockopt.TXTIME:
        raise LinuxError(errno.EINVAL)
    elif name not in _WRITE_ONLY:
        _check_privilege(task, name, value)
        file.options[SOL_SOCKET, name] = int(option_of(file, SOL_SOCKET, name, changes=True).taken(value))


def _check_privilege(task: Task, name: int, value: int) -> None:
    """What only root may ask for (CAP_NET_ADMIN)."""
    if task.credentials.capable(NET_ADMIN):
        return
    if name == Sockopt.DEBUG and value:
        raise LinuxError(errno.EACCES)
    if name == Sockopt.MARK or (name == Sockopt.PRIORITY and not 0 <= value <= 6):
        raise LinuxError(errno.EPERM)
    if name == Sockopt.BUSY_POLL and value > 0:
        raise LinuxError(errno.EPERM)


def _bind_to_device(task: Task, file: Socket, value_at: int, length: int) -> None:
    word = task.mm.read(value_at, min(length, 15)).partition(b"\0")[0] if length else b""
    if word not in (b"", _LO):
        raise LinuxError(errno.ENODEV)
    file.options[SOL_SOCKET, Sockopt.BINDTOIFINDEX] = LO_INDEX if word else 0


def _set_timeout(task: Task, file: Socket, name: int, value_at: int, length: int) -> None:
    if length < _TIMEVAL.size:
        raise LinuxError(errno.EINVAL)
    seconds, microseconds = _TIMEVAL.unpack(task.mm.read(value_at, _TIMEVAL.size))
    if not 0 <= microseconds < 1_000_000:
        raise LinuxError(errno.EDOM)
    timeout = max(0, seconds * 1_000_000_000 + microseconds * 1000)
    if name in (Sockopt.RCVTIMEO, Sockopt.RCVTIMEO_NEW):
        file.receive_timeout = timeout
    else:
        file.send_timeout = timeout


def _set_buffer(task: Task, file: Socket, name: int, value: int) -> None:
    """SO_SNDBUF and SO_RCVBUF: twice what is asked for, within limits that the FORCE ones do not have."""
    force = name in (Sockopt.SNDBUFFORCE, Sockopt.RCVBUFFORCE)
    if force and not task.credentials.capable(NET_ADMIN):
        raise LinuxError(errno.EPERM)
    value = min(max(value, 0), 0x3FFF_FFFF) if force else min(value % (1 << 32), MAX_BUFFER)
    if isinstance(file, TcpSocket):
        file.buffers_chosen = True
    if name in (Sockopt.SNDBUF, Sockopt.SNDBUFFORCE):
        file.sndbuf = max(2 * value, MIN_SNDBUF)
        file.write_space()
    else:
        file.rcvbuf = max(2 * value, MIN_RCVBUF)


# -- getsockopt --------------------------------------------------------------------------------------------------------


def sys_getsockopt(kernel: Kernel, task: Task, fd: int, level: int, name: int, value_at: int, length_at: int) -> int:
    """getsockopt(2)."""
    file = socket_of(task, fd)
    room = INT.read(task.mm, length_at)
    if room < 0:
        raise LinuxError(errno.EINVAL)
    if level == SOL_SOCKET:
        value = _socket_option(kernel, task, file, name, room)
    else:
        value = _protocol_option(file, level, name)
        if level == IPPROTO_IP and len(value) == _INT.size and 0 < room < _INT.size and value[1:] == bytes(3):
            value = value[:1]
    if not isinstance(file, UnixSocket) or room:
        task.mm.write(value_at, value[:room])
    INT.write(task.mm, length_at, min(room, len(value)))
    return 0


def _protocol_option(file: Socket, level: int, name: int) -> bytes:
    if isinstance(file, InetSocket):
        if isinstance(file, TcpSocket) and level == IPPROTO_TCP:
            special = _tcp_option(file, name)
            if special is not None:
                return special
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
    return _INT.pack(_number(file, level, name))


def _number(file: Socket, level: int, name: int) -> int:
    option = option_of(file, level, name, changes=False)
    if option.hidden:
        raise LinuxError(option.hidden)
    return file.options.get((level, name), option.default)


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


def _socket_option(kernel: Kernel, task: Task, file: Socket, name: int, room: int) -> bytes:
    match name:
        case Sockopt.PEERCRED:
            return _UCRED.pack(*file.peer_identity)
        case Sockopt.PEERPIDFD:
            return _INT.pack(_peer_pidfd(kernel, task, file))
        case Sockopt.PEERGROUPS:
            if file.peer_identity == NOBODY:
                raise LinuxError(errno.ENODATA)
            return b""
        case Sockopt.PEERNAME:
            return file.peer_address()
        case Sockopt.BINDTODEVICE:
            bound = file.option(Sockopt.BINDTOIFINDEX)
            if bound and room < 16:
                raise LinuxError(errno.EINVAL)
            return _LO + b"\0" if bound else b""
        case Sockopt.COOKIE:
            if room < _LONG.size:
                raise LinuxError(errno.EINVAL)
            return _LONG.pack(file.cookie)
        case Sockopt.MEMINFO:
            kept = sum(each.cost for each in file.inbox)
            return struct.pack("<9I", kept, file.rcvbuf, file.outstanding, file.sndbuf, 0, 0, 0, 0, 0)
        case _ if name in _TIMEOUTS:
            incoming = name in (Sockopt.RCVTIMEO, Sockopt.RCVTIMEO_NEW)
            time = file.receive_timeout if incoming else file.send_timeout
            return _TIMEVAL.pack(time // 1_000_000_000, time % 1_000_000_000 // 1000)
        case Sockopt.LINGER:
            kept = file.option(name)
            return struct.pack("<iI", kept & 1, (kept >> 1) // _HZ % (1 << 32))
        case Sockopt.TIMESTAMPING | Sockopt.TIMESTAMPING_NEW:
            return _LONG.pack(file.option(name))
        case Sockopt.TXTIME:
            return bytes(8)
        case Sockopt.MAX_PACING_RATE:
            rate = file.options.get((SOL_SOCKET, name), -1)
            return _LONG.pack(rate if rate == -1 else rate % (1 << 32))
        case Sockopt.ATTACH_FILTER:
            return b""
        case _:
            return _INT.pack(_socket_number(file, name))


def _socket_number(file: Socket, name: int) -> int:
    match name:
        case Sockopt.ERROR:
            value, file.error = file.error, 0
        case Sockopt.TYPE:
            value = file.type
        case Sockopt.PROTOCOL:
            value = file.protocol
        case Sockopt.DOMAIN:
            value = file.family
        case Sockopt.ACCEPTCONN:
            value = int(file.backlog is not None)
        case Sockopt.SNDBUF:
            value = file.sndbuf
        case Sockopt.RCVBUF:
            value = file.rcvbuf
        case _:
            value = _number(file, SOL_SOCKET, name)
    return value


def _peer_pidfd(kernel: Kernel, task: Task, file: Socket) -> int:
    """SO_PEERPIDFD: a descriptor of the process that made the connection."""
    if file.peer_identity == NOBODY:
        raise LinuxError(errno.ENODATA)
    return sys_pidfd_open(kernel, task, file.peer_identity.pid, 0)


def _level_words(value: int) -> str:
    names = {SOL_SOCKET: "SOL_SOCKET", 0: "SOL_IP", IPPROTO_TCP: "SOL_TCP", IPPROTO_UDP: "SOL_UDP", 41: "SOL_IPV6"}
    return names.get(value, str(value))


_LEVEL, _VALUE = Scalar("level", S32, _level_words), Pointer(Opaque("option value"))

TABLE = (
    Syscall(54, "setsockopt", sys_setsockopt, (FD, _LEVEL, INT, _VALUE, INT)),
    Syscall(55, "getsockopt", sys_getsockopt, (FD, _LEVEL, INT, _VALUE, LENGTH)),
)
