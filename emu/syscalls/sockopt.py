"""setsockopt and getsockopt: the options of sockets (socket(7), tcp(7), ip(7), ipv6(7))."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from emu.linux.argument import FD, INT, S32, Pointer, Scalar
from emu.linux.errors import LinuxError
from emu.linux.layout import Opaque
from emu.linux.syscall import Syscall
from emu.linux.words import Choice
from emu.net import socket as net
from emu.net.address import AF_INET6
from emu.net.inet import IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_UDP, InetSocket
from emu.net.socket import SOL_SOCKET, Socket
from emu.net.tcp import TcpSocket
from emu.syscalls.sockets import LENGTH, socket_of

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_UCRED, _TIMEVAL, _LINGER = struct.Struct("<3i"), struct.Struct("<2q"), struct.Struct("<2i")


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
    PASSCRED = 16
    PEERCRED = 17
    RCVLOWAT = 18
    SNDLOWAT = 19
    RCVTIMEO = 20
    SNDTIMEO = 21
    TIMESTAMP = 29
    ACCEPTCONN = 30
    PEERSEC = 31
    SNDBUFFORCE = 32
    RCVBUFFORCE = 33
    PROTOCOL = 38
    DOMAIN = 39


#: Options that are kept and shown again, and change nothing here.
_KEPT = frozenset(
    {Sockopt.DEBUG, Sockopt.DONTROUTE, Sockopt.BROADCAST, Sockopt.KEEPALIVE, Sockopt.OOBINLINE, Sockopt.PRIORITY,
     Sockopt.TIMESTAMP, Sockopt.REUSEADDR, Sockopt.REUSEPORT, Sockopt.PASSCRED}
)  # fmt: skip
#: TCP_NODELAY, CORK, KEEPIDLE, KEEPINTVL, KEEPCNT, SYNCNT, DEFER_ACCEPT, QUICKACK, USER_TIMEOUT; with their defaults.
_TCP_OPTIONS = {1: 0, 3: 0, 4: 7200, 5: 75, 6: 9, 7: 6, 9: 0, 12: 1, 18: 0, 23: 0}
_TCP_MAXSEG = 2
#: IPV6_UNICAST_HOPS, MULTICAST_LOOP, V6ONLY, RECVPKTINFO, TCLASS; IP_TOS, TTL, PKTINFO, MTU_DISCOVER, RECVERR.
_IPV6_OPTIONS = {16: 64, 19: 1, 26: 0, 49: 0, 67: 0}
_IP_OPTIONS = {1: 0, 2: 64, 8: 0, 10: 1, 11: 0}


def sys_setsockopt(kernel: Kernel, task: Task, fd: int, level: int, name: int, value_at: int, length: int) -> int:
    """setsockopt(2)."""
    file = socket_of(task, fd)
    if length < 0:
        raise LinuxError(errno.EINVAL)
    if level == SOL_SOCKET:
        _set_socket_option(task, file, name, value_at, length)
        return 0
    defaults = _options_of(file, level)
    if name not in defaults:
        raise LinuxError(errno.ENOPROTOOPT)
    if length < 4 and not (level != IPPROTO_TCP and length >= 1):
        raise LinuxError(errno.EINVAL)
    file.options[level, name] = INT.unpack(task.mm.read(value_at, min(length, 4)).ljust(4, b"\0"))
    return 0


def _options_of(file: Socket, level: int) -> dict[int, int]:
    """The options of a level and their defaults.  LinuxError(EOPNOTSUPP, ENOPROTOOPT)."""
    if not isinstance(file, InetSocket):
        raise LinuxError(errno.EOPNOTSUPP)
    if level == IPPROTO_TCP and file.is_connection:
        return _TCP_OPTIONS
    if level == IPPROTO_IPV6 and file.family == AF_INET6:
        return _IPV6_OPTIONS
    if level == 0:
        return _IP_OPTIONS
    raise LinuxError(errno.ENOPROTOOPT)


def _set_socket_option(task: Task, file: Socket, name: int, value_at: int, length: int) -> None:
    if name in (Sockopt.RCVTIMEO, Sockopt.SNDTIMEO):
        if length < _TIMEVAL.size:
            raise LinuxError(errno.EINVAL)
        seconds, microseconds = _TIMEVAL.unpack(task.mm.read(value_at, _TIMEVAL.size))
        if not 0 <= microseconds < 1_000_000:
            raise LinuxError(errno.EDOM)
        timeout = max(0, seconds * 1_000_000_000 + microseconds * 1000)
        if name == Sockopt.RCVTIMEO:
            file.receive_timeout = timeout
        else:
            file.send_timeout = timeout
        return
    if length < 4:
        raise LinuxError(errno.EINVAL)
    value = INT.read(task.mm, value_at)
    if name == Sockopt.LINGER:
        if length < _LINGER.size:
            raise LinuxError(errno.EINVAL)
        on, seconds = _LINGER.unpack(task.mm.read(value_at, _LINGER.size))
        file.options[SOL_SOCKET, name] = seconds << 1 | bool(on)
    elif name in (Sockopt.SNDBUF, Sockopt.SNDBUFFORCE):
        file.sndbuf = max(min(value & 0x7FFF_FFFF, net.MAX_BUFFER) * 2, 4608)
    elif name in (Sockopt.RCVBUF, Sockopt.RCVBUFFORCE):
        file.rcvbuf = max(min(value & 0x7FFF_FFFF, net.MAX_BUFFER) * 2, 2304)
    elif name == Sockopt.RCVLOWAT:
        file.options[SOL_SOCKET, name] = value if value > 0 else 1
    elif name in _KEPT:
        boolean = name != Sockopt.PRIORITY
        file.options[SOL_SOCKET, name] = int(bool(value)) if boolean else value
    else:
        raise LinuxError(errno.ENOPROTOOPT)


def sys_getsockopt(kernel: Kernel, task: Task, fd: int, level: int, name: int, value_at: int, length_at: int) -> int:
    """getsockopt(2)."""
    file = socket_of(task, fd)
    room = INT.read(task.mm, length_at)
    if room < 0:
        raise LinuxError(errno.EINVAL)
    if level == SOL_SOCKET:
        value = _socket_option(file, name)
    elif level == IPPROTO_TCP and name == _TCP_MAXSEG and isinstance(file, TcpSocket):
        value = struct.pack("<i", 65483 if file.remote else 536)
    elif level == IPPROTO_TCP and name == 11 and isinstance(file, TcpSocket):  # TCP_INFO
        value = bytes([file.state]) + bytes(231)
    else:
        defaults = _options_of(file, level)
        if name not in defaults:
            raise LinuxError(errno.ENOPROTOOPT)
        value = struct.pack("<i", file.options.get((level, name), defaults[name]))
    task.mm.write(value_at, value[:room])
    INT.write(task.mm, length_at, min(room, len(value)))
    return 0


def _socket_option(file: Socket, name: int) -> bytes:
    match name:
        case Sockopt.PEERCRED:
            return _UCRED.pack(*file.peer_identity)
        case Sockopt.RCVTIMEO | Sockopt.SNDTIMEO:
            time = file.receive_timeout if name == Sockopt.RCVTIMEO else file.send_timeout
            return _TIMEVAL.pack(time // 1_000_000_000, time % 1_000_000_000 // 1000)
        case Sockopt.LINGER:
            kept = file.options.get((SOL_SOCKET, name), 0)
            return _LINGER.pack(kept & 1, kept >> 1)
        case Sockopt.PEERSEC:
            raise LinuxError(errno.ENOPROTOOPT)
        case Sockopt.ERROR:
            value, file.error = file.error, 0
        case Sockopt.TYPE:
            value = file.type
        case Sockopt.PROTOCOL:
            value = file.protocol
        case Sockopt.DOMAIN:
            value = file.family
        case Sockopt.ACCEPTCONN:
            value = file.backlog is not None
        case Sockopt.SNDBUF:
            value = file.sndbuf
        case Sockopt.RCVBUF:
            value = file.rcvbuf
        case Sockopt.RCVLOWAT | Sockopt.SNDLOWAT:
            value = file.options.get((SOL_SOCKET, name), 1)
        case _ if name in _KEPT:
            value = file.options.get((SOL_SOCKET, name), 0)
        case _:
            raise LinuxError(errno.ENOPROTOOPT)
    return struct.pack("<i", value)


def _level_words(value: int) -> str:
    names = {SOL_SOCKET: "SOL_SOCKET", 0: "SOL_IP", IPPROTO_TCP: "SOL_TCP", IPPROTO_UDP: "SOL_UDP", 41: "SOL_IPV6"}
    return names.get(value, str(value))


_LEVEL, _VALUE = Scalar("level", S32, _level_words), Pointer(Opaque("option value"))

TABLE = (
    Syscall(54, "setsockopt", sys_setsockopt, (FD, _LEVEL, INT, _VALUE, INT)),
    Syscall(55, "getsockopt", sys_getsockopt, (FD, _LEVEL, INT, _VALUE, LENGTH)),
)
