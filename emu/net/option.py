"""The options of sockets that are numbers: what they start as and which values they take (socket(7), ip(7), tcp(7)).

What an option means is with whoever looks at it; most are kept and shown again, and change nothing on a loopback.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import NamedTuple

from emu.linux.errors import LinuxError
from emu.net.address import AF_INET, AF_INET6
from emu.net.inet import IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_UDP, InetSocket
from emu.net.netlink import SOL_NETLINK, NetlinkSocket
from emu.net.raw import SOL_RAW, RawSocket
from emu.net.socket import SOCK_RAW, SOL_SOCKET, Socket
from emu.net.tcp import TcpSocket
from emu.net.unix import UnixSocket

_INT_MAX = 0x7FFF_FFFF


class Option(NamedTuple):
    """A number that a socket keeps."""

    default: int = 0
    #: What is kept of a new value.  LinuxError.
    taken: Callable[[int], int] = bool
    #: Whether a value of no bytes is an error, where those of less than four are not.
    needs_value: bool = False
    #: The error of who asks for it.
    hidden: int = 0


def _any(value: int) -> int:
    return value


def _refuse(error: int) -> Callable[[int], int]:
    def refuse(value: int) -> int:
        raise LinuxError(error)

    return refuse


def _within(low: int, high: int, error: int = errno.EINVAL) -> Callable[[int], int]:
    def within(value: int) -> int:
        if not low <= value <= high:
            raise LinuxError(error)
        return value

    return within


def _or_default(default: int, low: int, high: int) -> Callable[[int], int]:
    """-1 is the default."""
    within = _within(low, high)
    return lambda value: default if value == -1 else within(value)


def _tos_of_stream(value: int) -> int:
    return value & 0xFC


def _low_water(value: int) -> int:
    return _INT_MAX if value < 0 else value or 1


def _locked(value: int) -> int:
    return 1 if value else _refuse(errno.EPERM)(value)


def _deferred(value: int) -> int:
    """Seconds, as the retransmissions within them take (secs_to_retrans, retrans_to_secs)."""
    if value <= 0:
        return 0
    period, timeout = 1, 1
    while period < value and timeout < 1 << 30:
        timeout = min(timeout << 1, 120)
        period += timeout
    return period


def _fixed(default: int) -> Option:
    """Shown, and not to be changed."""
    return Option(default, _refuse(errno.ENOPROTOOPT))


def _refused(error: int, hidden: int = 0) -> Option:
    return Option(0, _refuse(error), hidden=hidden)


_FLAG, _NUMBER = Option(), Option(0, _any)
_NOT_HERE = _refused(errno.EOPNOTSUPP, errno.EOPNOTSUPP)
_NO_BUSY_POLL = _refused(errno.EOPNOTSUPP)
_OF_GROUPS = _refused(errno.EINVAL, errno.ENOPROTOOPT)

#: SO_DEBUG, REUSEADDR, DONTROUTE, BROADCAST, KEEPALIVE, OOBINLINE, NO_CHECK and so on, by number.
_SOCKET: Mapping[int, Option] = {
    **dict.fromkeys((1, 2, 5, 6, 9, 10, 11, 29, 35, 40, 41, 43, 45, 63, 64, 69, 75, 82), _FLAG),
    **dict.fromkeys((12, 36), _NUMBER),
    14: Option(0, lambda value: 0), 18: Option(1, _low_water), 19: _fixed(1), 42: Option(-1, _any),
    44: Option(0, _locked), 46: Option(0, _within(0, _INT_MAX)), 48: _fixed(64), 49: Option(-1, _any), 56: _fixed(0),
    62: Option(0, _within(0, _INT_MAX)), 72: Option(0, _within(0, 2)), 73: _NO_BUSY_POLL,
}  # fmt: skip
#: SO_PASSCRED, PASSSEC, PASSPIDFD, PASSRIGHTS, ZEROCOPY, TXREHASH, SO_REUSEPORT, SO_INQ.
_UNIX_SOCKET: Mapping[int, Option] = {
    16: _FLAG, 34: _FLAG, 76: _FLAG, 83: Option(1), 60: _NO_BUSY_POLL,
    15: Option(0, lambda value: _refuse(errno.EOPNOTSUPP)(value) if value else 0),
}  # fmt: skip
_INET_SOCKET: Mapping[int, Option] = {15: _FLAG, 60: Option(0, _within(0, 1))}
_TCP_SOCKET: Mapping[int, Option] = {
    18: Option(1, lambda value: 16777216 if value < 0 else value or 1), 74: Option(1, _or_default(1, 0, 1)),
}  # fmt: skip
#: Options that only the other family has.
_NOT_INET, _NOT_UNIX = (16, 34, 74, 76, 83), (74,)

_IP: Mapping[int, Option] = {
    1: Option(0, lambda value: value & 0xFF), 2: Option(64, _or_default(64, 1, 255), True), 3: _fixed(0),
    5: _refused(errno.EINVAL), **dict.fromkeys((6, 7, 8, 11, 12, 13, 18, 20, 23, 24, 25), _FLAG),
    10: Option(1, _within(0, 5)), 15: Option(needs_value=True), 19: Option(needs_value=True),
    21: Option(0, _within(0, 255), True), 22: _fixed(0), 26: Option(0, _within(0, 1)),
    33: Option(1, _or_default(1, 0, 255), True), 34: Option(1, bool, True), 49: Option(1, _within(0, 1), True),
    51: Option(0, lambda value: value if value in (-1, 0) or 0 < value < 0x10000 else _refuse(errno.EINVAL)(value)),
    52: _fixed(0), **dict.fromkeys(range(37, 48), _OF_GROUPS),
    50: Option(0, lambda value: _refuse(errno.EADDRNOTAVAIL)(value) if value else 0),
}  # fmt: skip
_IP_OF_STREAM: Mapping[int, Option] = {
    1: Option(0, _tos_of_stream), 25: _refused(errno.EINVAL), 33: Option(1, _refuse(errno.EINVAL)),
}  # fmt: skip

_IPV6: Mapping[int, Option] = {
    **dict.fromkeys((2, 3, 4, 5, 8, 11, 25, 26, 30, 33, 49, 51, 53, 56, 58, 60, 62, 66, 74, 75, 77, 78), _FLAG),
    16: Option(64, _or_default(64, 0, 255)), 18: Option(1, _or_default(1, 0, 255)), 19: Option(1, _within(0, 1)),
    22: _fixed(0), 23: Option(1, _within(0, 5)), 29: Option(1), 31: Option(0, _within(0, 1)),
    67: Option(0, _or_default(0, 0, 255)), 70: Option(1), 73: Option(0, _within(0, 255)),
    17: Option(0, lambda value: value if value in (0, 1) else _refuse(errno.ENODEV)(value)),
}  # fmt: skip
_IPV6_OF_STREAM: Mapping[int, Option] = {
    17: _fixed(0), 18: _fixed(1), 67: Option(0, lambda value: 0 if value == -1 else _within(0, 255)(value) & 0xFC),
}  # fmt: skip

#: IPV6_CHECKSUM, IPV6_HDRINCL of raw sockets.
_RAW6: Mapping[int, Option] = {
    7: Option(-1, lambda value: _refuse(errno.EINVAL)(value) if value > 0 and value & 1 else max(value, -1)), 36: _FLAG,
}  # fmt: skip

#: TCP_NODELAY, MAXSEG, CORK, KEEPIDLE, KEEPINTVL, KEEPCNT, SYNCNT, LINGER2, DEFER_ACCEPT, WINDOW_CLAMP and so on.
_TCP: Mapping[int, Option] = {
    1: _FLAG, 3: _FLAG, 4: Option(7200, _within(1, 32767)), 5: Option(75, _within(1, 32767)),
    6: Option(9, _within(1, 127)), 7: Option(6, _within(1, 127)),
    8: Option(60, lambda value: -1 if value < 0 else min(value, 120) or 60), 9: Option(0, _deferred),
    10: Option(0, lambda value: max(value, 1152) if value else 0), 12: Option(1), 16: Option(0, _within(0, 1)),
    17: Option(0, lambda value: _within(0, 1)(value) * 0), 18: Option(0, _within(0, _INT_MAX)),
    19: Option(0, lambda value: 0 if value == -1 else _within(0, 1)(value)),
    20: _refused(errno.EPERM, errno.EINVAL), 23: Option(0, lambda value: min(_within(0, _INT_MAX)(value), 4096)),
    25: _NUMBER, 27: Option(0, _within(0, 2)), 30: Option(0, _within(0, 1)), 34: Option(0, _within(0, 1)),
    36: Option(0, _within(0, 1)), 37: Option(0, _within(0, _INT_MAX)), 43: _fixed(0),
    44: Option(120000, _within(1000, 120000)),
    2: Option(536, lambda value: _within(88, 32767)(value) if value else 536),
}  # fmt: skip
#: UDP_CORK, UDPLITE's two, UDP_ENCAP, NO_CHECK6_TX, NO_CHECK6_RX, UDP_SEGMENT, UDP_GRO.
_UDP: Mapping[int, Option] = {
    1: _FLAG, 10: _fixed(0), 11: _fixed(0), 101: _FLAG, 102: _FLAG, 103: Option(0, _within(0, 0xFFFF)), 104: _FLAG,
    100: Option(0, lambda value: value if value in (0, 2, 3) else _refuse(errno.ENOPROTOOPT)(value)),
}  # fmt: skip
#: NETLINK_ADD_MEMBERSHIP, DROP_MEMBERSHIP (no group has news here), PKTINFO, BROADCAST_ERROR, NO_ENOBUFS,
#: LISTEN_ALL_NSID, LIST_MEMBERSHIPS, CAP_ACK, EXT_ACK, GET_STRICT_CHK.
_NETLINK: Mapping[int, Option] = {
    1: Option(0, _within(1, 255)), 2: Option(0, _within(1, 255)), 9: _fixed(0),
    **dict.fromkeys((3, 4, 5, 8, 10, 11, 12), _FLAG),
}  # fmt: skip


def option_of(socket: Socket, level: int, name: int, *, changes: bool) -> Option:
    """The option of a socket.  LinuxError(ENOPROTOOPT, EOPNOTSUPP)."""
    tables = _tables(socket, level)
    for table in tables:
        if name in table:
            return table[name]
    foreign = not tables and not changes and socket.family == AF_INET
    raise LinuxError(errno.EOPNOTSUPP if foreign else errno.ENOPROTOOPT)


def _tables(socket: Socket, level: int) -> tuple[Mapping[int, Option], ...]:
    """Where its options of a level are: the first that has one decides.  LinuxError(EOPNOTSUPP)."""
    stream = isinstance(socket, TcpSocket)
    if level == SOL_SOCKET:
        if isinstance(socket, UnixSocket | NetlinkSocket):
            return _UNIX_SOCKET, dict.fromkeys(_NOT_UNIX, _NOT_HERE), _SOCKET
        own = (_TCP_SOCKET, _INET_SOCKET) if stream else (_INET_SOCKET,)
        return *own, dict.fromkeys(_NOT_INET, _NOT_HERE), _SOCKET
    if isinstance(socket, NetlinkSocket):
        return (_NETLINK,) if level == SOL_NETLINK else ()
    if not isinstance(socket, InetSocket):
        raise LinuxError(errno.EOPNOTSUPP)
    if level == IPPROTO_IP:
        return (_IP_OF_STREAM, _IP) if stream else ({3: _FLAG}, _IP) if socket.type == SOCK_RAW else (_IP,)
    if isinstance(socket, RawSocket) and socket.family == AF_INET6 and level in (SOL_RAW, IPPROTO_IPV6):
        return (_RAW6, _IPV6) if level == IPPROTO_IPV6 else (_RAW6,)
    if level == IPPROTO_IPV6 and socket.family == AF_INET6:
        return (_IPV6_OF_STREAM, _IPV6) if stream else (_IPV6,)
    if level == IPPROTO_TCP and stream:
        return (_TCP,)
    if level == IPPROTO_UDP and socket.protocol == IPPROTO_UDP:
        return (_UDP,)
    return ()


def number_of(file: Socket, level: int, name: int) -> int:
    """The number that a socket keeps.  LinuxError."""
    option = option_of(file, level, name, changes=False)
    if option.hidden:
        raise LinuxError(option.hidden)
    return file.options.get((level, name), option.default)
