"""setsockopt and getsockopt: the options of sockets (socket(7), tcp(7), ip(7), ipv6(7))."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from emu.linux.argument import FD, INT, S32, Scalar
from emu.linux.errors import LinuxError
from emu.linux.syscall import Syscall
from emu.net.inet import IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_UDP, IPV6_V6ONLY, InetSocket
from emu.net.option import number_of, option_of
from emu.net.socket import SOL_SOCKET, Socket
from emu.net.tcp import TcpSocket
from emu.net.tcp_stream import TCP_CORK, TCP_NODELAY
from emu.net.udp import UDP_CORK, UdpSocket
from emu.net.unix import UnixSocket
from emu.syscalls.msghdr import OPTION, OPTION_OUT
from emu.syscalls.sockets import LENGTH, socket_of
from emu.syscalls.sockopt_inet import inet_option, set_inet_option
from emu.syscalls.sockopt_socket import set_socket_option, socket_option

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_INT = struct.Struct("<i")


def sys_setsockopt(kernel: Kernel, task: Task, fd: int, level: int, name: int, value_at: int, length: int) -> int:
    """setsockopt(2)."""
    file = socket_of(task, fd)
    if length < 0:
        raise LinuxError(errno.EINVAL)
    if level == SOL_SOCKET:
        set_socket_option(task, file, name, value_at, length)
    elif not isinstance(file, InetSocket) or not set_inet_option(task, file, level, name, value_at, length):
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


def sys_getsockopt(kernel: Kernel, task: Task, fd: int, level: int, name: int, value_at: int, length_at: int) -> int:
    """getsockopt(2)."""
    file = socket_of(task, fd)
    room = INT.read(task.mm, length_at)
    if room < 0:
        raise LinuxError(errno.EINVAL)
    if level == SOL_SOCKET:
        value = socket_option(kernel, task, file, name, room)
    else:
        special = inet_option(file, level, name) if isinstance(file, InetSocket) else None
        value = _INT.pack(number_of(file, level, name)) if special is None else special
        if level == IPPROTO_IP and len(value) == _INT.size and 0 < room < _INT.size and value[1:] == bytes(3):
            value = value[:1]
    if not isinstance(file, UnixSocket) or room:
        task.mm.write(value_at, value[:room])
    INT.write(task.mm, length_at, min(room, len(value)))
    return 0


def _level_words(value: int) -> str:
    names = {SOL_SOCKET: "SOL_SOCKET", 0: "SOL_IP", IPPROTO_TCP: "SOL_TCP", IPPROTO_UDP: "SOL_UDP", 41: "SOL_IPV6"}
    return names.get(value, str(value))


_LEVEL = Scalar("level", S32, _level_words)

TABLE = (
    Syscall(54, "setsockopt", sys_setsockopt, (FD, _LEVEL, INT, OPTION, INT)),
    Syscall(55, "getsockopt", sys_getsockopt, (FD, _LEVEL, INT, OPTION_OUT, LENGTH)),
)
