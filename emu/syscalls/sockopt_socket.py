"""The options of every socket (SOL_SOCKET, socket(7))."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.linux.argument import INT
from emu.linux.capability import NET_ADMIN
from emu.linux.errors import LinuxError
from emu.linux.words import Choice
from emu.net.datagram import LO_INDEX
from emu.net.option import number_of, option_of
from emu.net.packet import NOBODY
from emu.net.socket import MAX_BUFFER, MIN_RCVBUF, MIN_SNDBUF, SOL_SOCKET, Socket
from emu.net.tcp import TcpSocket
from emu.syscalls.cmsg import seen_identity
from emu.syscalls.pidfd import sys_pidfd_open

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_INT, _LONG, _UCRED, _TIMEVAL = struct.Struct("<i"), struct.Struct("<q"), struct.Struct("<3i"), struct.Struct("<2q")
_LINGER = struct.Struct("<2i")
#: The longest time that SO_LINGER takes, in ticks of CONFIG_HZ (250).
_LONGEST_LINGER = (1 << 63) - 1
_HZ = 250
_LO = b"lo"


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


# -- setsockopt --------------------------------------------------------------------------------------------------------


def set_socket_option(task: Task, file: Socket, name: int, value_at: int, length: int) -> None:
    """Set an option; LinuxError."""
    if name == Sockopt.BINDTODEVICE:
        _bind_to_device(task, file, value_at, length)
        return
    if length < _INT.size:
        raise LinuxError(errno.EINVAL)
    value = INT.read(task.mm, value_at)
    if name in _TIMEOUTS:
        _set_timeout(task, file, name, value_at, length)
    elif name == Sockopt.LINGER:
        _set_linger(task, file, value_at, length)
    else:
        _SETTERS.get(name, _set_number)(task, file, name, value)


def _set_number(task: Task, file: Socket, name: int, value: int) -> None:
    """An option that is a number, and means nothing more when it is set."""
    _check_privilege(task, file, name, value)
    file.options[SOL_SOCKET, name] = int(option_of(file, SOL_SOCKET, name, changes=True).taken(value))


def _check_privilege(task: Task, file: Socket, name: int, value: int) -> None:
    """What only root may ask for (CAP_NET_ADMIN)."""
    if task.credentials.capable_in(NET_ADMIN, file.net.user):
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
    if force and not task.credentials.capable_in(NET_ADMIN, file.net.user):
        raise LinuxError(errno.EPERM)
    value = min(max(value, 0), 0x3FFF_FFFF) if force else min(value % (1 << 32), MAX_BUFFER)
    if isinstance(file, TcpSocket):
        file.buffers_chosen = True
    if name in (Sockopt.SNDBUF, Sockopt.SNDBUFFORCE):
        file.sndbuf = max(2 * value, MIN_SNDBUF)
        file.write_space()
    else:
        file.rcvbuf = max(2 * value, MIN_RCVBUF)


def _set_linger(task: Task, file: Socket, value_at: int, length: int) -> None:
    if length < _LINGER.size:
        raise LinuxError(errno.EINVAL)
    on, seconds = _LINGER.unpack(task.mm.read(value_at, _LINGER.size))
    kept = file.options.get((SOL_SOCKET, Sockopt.LINGER), 0) >> 1
    ticks = (seconds * _HZ if seconds >= 0 else _LONGEST_LINGER) if on else kept
    file.options[SOL_SOCKET, Sockopt.LINGER] = ticks << 1 | bool(on)


def _set_timestamping(task: Task, file: Socket, name: int, value: int) -> None:
    if not 0 <= value < 1 << 16:
        raise LinuxError(errno.EINVAL)
    file.options[SOL_SOCKET, name] = value


def _set_pacing_rate(task: Task, file: Socket, name: int, value: int) -> None:
    file.options[SOL_SOCKET, name] = value


def _attach_program(task: Task, file: Socket, name: int, value: int) -> None:
    """A BPF program, by a descriptor: none is one."""
    task.files.get(value)
    raise LinuxError(errno.EINVAL)


def _refuse(task: Task, file: Socket, name: int, value: int) -> None:
    raise LinuxError(errno.EINVAL)


def _detach_filter(task: Task, file: Socket, name: int, value: int) -> None:
    raise LinuxError(errno.ENOENT)


def _ignore(task: Task, file: Socket, name: int, value: int) -> None:
    """It changes how a queue is served, and nothing that can be seen: written, and not shown."""


#: The options whose number is more than kept.
_SETTERS: dict[int, Callable[[Task, Socket, int, int], None]] = {
    Sockopt.SNDBUF: _set_buffer, Sockopt.SNDBUFFORCE: _set_buffer, Sockopt.RCVBUF: _set_buffer,
    Sockopt.RCVBUFFORCE: _set_buffer, Sockopt.ATTACH_FILTER: _refuse, Sockopt.DETACH_FILTER: _detach_filter,
    Sockopt.ATTACH_BPF: _attach_program, Sockopt.ATTACH_REUSEPORT_EBPF: _attach_program,
    Sockopt.ATTACH_REUSEPORT_CBPF: _refuse, Sockopt.TIMESTAMPING: _set_timestamping,
    Sockopt.TIMESTAMPING_NEW: _set_timestamping, Sockopt.MAX_PACING_RATE: _set_pacing_rate,
    Sockopt.TXTIME: _refuse, Sockopt.CNX_ADVICE: _ignore,
}  # fmt: skip


# -- getsockopt --------------------------------------------------------------------------------------------------------


def socket_option(kernel: Kernel, task: Task, file: Socket, name: int, room: int) -> bytes:
    """The value of an option; LinuxError."""
    match name:
        case Sockopt.PEERCRED:
            peer = file.peer_identity
            return _UCRED.pack(*(peer if peer == NOBODY else seen_identity(task, peer)))
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
            value = number_of(file, SOL_SOCKET, name)
    return value


def _peer_pidfd(kernel: Kernel, task: Task, file: Socket) -> int:
    """SO_PEERPIDFD: a descriptor of the process that made the connection."""
    if file.peer_identity == NOBODY:
        raise LinuxError(errno.ENODATA)
    return sys_pidfd_open(kernel, task, file.peer_identity.pid, 0)
