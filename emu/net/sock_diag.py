"""NETLINK_SOCK_DIAG: which sockets there are (sock_diag(7), net/ipv4/inet_diag.c, net/unix/diag.c)."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError
from emu.net.address import AF_INET, AF_INET6, Endpoint, as_six, unmapped
from emu.net.inet import IPPROTO_TCP, InetSocket
from emu.net.netlink import AF_NETLINK, Answer, NetlinkSocket, Request, attribute
from emu.net.socket import Socket
from emu.net.tcp import TcpSocket
from emu.net.tcp_state import TcpState
from emu.net.unix import AF_UNIX, UnixSocket

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.linux.caller import Caller
    from emu.net.network import Network

SOCK_DIAG_BY_FAMILY, SOCK_DESTROY = 20, 21
_AF_PACKET = 17
_INET_REQUEST, _UNIX_REQUEST = struct.Struct("<BBBxI48s"), struct.Struct("<BBHIII8s")
_DESTINATION, _RAW = 4, 255
#: INET_DIAG_MEMINFO, INFO, CONG, TOS, SKMEMINFO and SHUTDOWN, CLASS_ID, SOCKOPT.
_MEMINFO, _INFO, _CONG, _TOS, _SKMEMINFO, _SHUTDOWN, _CLASS_ID, _SOCKOPT = 1, 2, 4, 5, 7, 8, 15, 22
#: UDIAG_SHOW_NAME, VFS, PEER, ICONS, RQLEN, MEMINFO, UID.
_SHOW_NAME, _SHOW_PEER, _SHOW_ICONS, _SHOW_RQLEN, _SHOW_MEMINFO, _SHOW_UID = 1, 4, 8, 16, 32, 64


def sock_diag(
    net: Network, info: Callable[[TcpSocket], bytes]
) -> Callable[[Caller[Path] | None, Request], Iterator[Answer]]:
    """The kernel's side; ``info`` makes a connection's struct tcp_info."""

    def answer(caller: Caller[Path] | None, request: Request) -> Iterator[Answer]:
        if request.kind != SOCK_DIAG_BY_FAMILY:
            raise LinuxError(errno.EOPNOTSUPP if request.kind == SOCK_DESTROY else errno.EINVAL)
        if not request.body:
            raise LinuxError(errno.EINVAL)
        family = request.body[0]
        if family in (AF_INET, AF_INET6):
            return iter(list(_inet(net, request, family, info)))
        if family == AF_UNIX:
            return iter(list(_unix(net, request)))
        if family == AF_NETLINK:
            return iter([_netlink(each) for each in net.open if isinstance(each, NetlinkSocket)])
        if family == _AF_PACKET:
            return iter(())
        raise LinuxError(errno.ENOENT if family < 46 else errno.EINVAL)

    return answer


def shutdowns(socket: Socket) -> int:
    """sk_shutdown."""
    return socket.shut_read | socket.shut_write << 1


def state_of(socket: Socket) -> int:
    """sk_state of any socket, as TCP numbers them."""
    if isinstance(socket, TcpSocket):
        return socket.state
    if socket.backlog is not None:
        return TcpState.LISTEN
    connected = socket.remote is not None if isinstance(socket, InetSocket) else getattr(socket, "connected", False)
    return TcpState.ESTABLISHED if connected else TcpState.CLOSE


def memory_of(socket: Socket) -> bytes:
    """SK_MEMINFO_*: what is received and sent, and the limits."""
    kept = sum(each.cost for each in socket.inbox)
    return struct.pack("<9I", kept, socket.rcvbuf, socket.outstanding, socket.sndbuf, 0, 0, 0, 0, 0)


def queues_of(socket: Socket) -> tuple[int, int]:
    """What waits to be read and to be sent; of a listening socket its backlog and the limit."""
    if socket.backlog is not None:
        return len(socket.backlog), socket.max_backlog
    return sum(len(each.data) for each in socket.inbox), 0


# -- AF_INET and AF_INET6 ----------------------------------------------------------------------------------------------


def _inet(net: Network, request: Request, family: int, info: Callable[[TcpSocket], bytes]) -> Iterator[Answer]:
    if len(request.body) < _INET_REQUEST.size:
        raise LinuxError(errno.EINVAL)
    _, protocol, wanted, states, _ = _INET_REQUEST.unpack_from(request.body)
    if protocol not in (6, 17, 136, 1, 58, _RAW):
        raise LinuxError(errno.ENOENT)
    if not request.dumps:
        raise LinuxError(errno.ENOENT)
    for socket in net.open:
        if not isinstance(socket, InetSocket) or socket.family != family or socket.protocol != protocol:
            continue
        if socket.local is None or not states >> state_of(socket) & 1:
            continue
        if protocol == IPPROTO_TCP and state_of(socket) == TcpState.CLOSE:
            continue
        yield _inet_message(socket, wanted, info)


def _side(endpoint: Endpoint, family: int) -> bytes:
    ip = unmapped(endpoint.ip)
    if family == AF_INET6:
        return as_six(ip).packed
    return ip.packed[:4].ljust(16, b"\0")


def _inet_message(socket: InetSocket, wanted: int, info: Callable[[TcpSocket], bytes]) -> Answer:
    """struct inet_diag_msg and what was asked for (inet_sk_diag_fill)."""
    local, remote = socket.local, socket.remote or Endpoint(socket.any_ip, 0)
    assert local is not None
    read, unsent = queues_of(socket)
    place = struct.pack(">HH", local.port, remote.port) + _side(local, socket.family) + _side(remote, socket.family)
    head = struct.pack("<4B", socket.family, state_of(socket), 0, 0) + place
    head += struct.pack("<IQ5I", 0, socket.cookie, 0, read, unsent, socket.inode.uid, socket.inode.ino)
    parts = [attribute(_SHUTDOWN, bytes([shutdowns(socket)]))]
    if wanted >> _TOS - 1 & 1:
        parts.append(attribute(_TOS, b"\0"))
    parts += [attribute(_CLASS_ID, bytes(4)), attribute(_SOCKOPT, b"\x50\0")]
    memory = memory_of(socket)
    if wanted >> _MEMINFO - 1 & 1:
        kept, _, sent = struct.unpack_from("<3I", memory)
        parts.append(attribute(_MEMINFO, struct.pack("<4I", kept, 0, 0, sent)))
    if wanted >> _SKMEMINFO - 1 & 1:
        parts.append(attribute(_SKMEMINFO, memory))
    if isinstance(socket, TcpSocket):
        if wanted >> _INFO - 1 & 1:
            parts.append(attribute(_INFO, info(socket)))
        if wanted >> _CONG - 1 & 1:
            parts.append(attribute(_CONG, b"cubic\0"))
    return Answer(SOCK_DIAG_BY_FAMILY, head + b"".join(parts))


# -- AF_UNIX -----------------------------------------------------------------------------------------------------------


def _unix(net: Network, request: Request) -> Iterator[Answer]:
    if len(request.body) < _UNIX_REQUEST.size:
        raise LinuxError(errno.EINVAL)
    _, _, _, states, inode, shown, _ = _UNIX_REQUEST.unpack_from(request.body)
    found = [each for each in net.open if isinstance(each, UnixSocket) and each.listener is None]
    if not request.dumps:
        if not inode:
            raise LinuxError(errno.EINVAL)
        found = [each for each in found if each.inode.ino == inode]
        if not found:
            raise LinuxError(errno.ENOENT)
        states = -1
    for socket in found:
        if states >> state_of(socket) & 1:
            yield _unix_message(socket, shown)


def _unix_message(socket: UnixSocket, shown: int) -> Answer:
    """struct unix_diag_msg and what was asked for (sk_diag_fill)."""
    parts = [struct.pack("<4BIQ", AF_UNIX, socket.type, state_of(socket), 0, socket.inode.ino, socket.cookie)]
    if shown & _SHOW_NAME and socket.name:
        parts.append(attribute(0, socket.name))
    if shown & _SHOW_PEER and socket.peer is not None:
        accepted = socket.peer.listener is None and not socket.peer.closed
        parts.append(attribute(2, struct.pack("<I", socket.peer.inode.ino if accepted else 0)))
    if shown & _SHOW_ICONS and socket.backlog is not None:
        clients = [each.peer.inode.ino for each in socket.backlog if isinstance(each, UnixSocket) and each.peer]
        parts.append(attribute(3, struct.pack(f"<{len(clients)}I", *clients)))
    if shown & _SHOW_RQLEN:
        parts.append(attribute(4, struct.pack("<2I", *queues_of(socket))))
    if shown & _SHOW_MEMINFO:
        parts.append(attribute(5, memory_of(socket)))
    parts.append(attribute(6, bytes([shutdowns(socket)])))
    if shown & _SHOW_UID:
        parts.append(attribute(7, struct.pack("<I", socket.inode.uid)))
    return Answer(SOCK_DIAG_BY_FAMILY, b"".join(parts))


def _netlink(socket: NetlinkSocket) -> Answer:
    """struct netlink_diag_msg."""
    head = struct.pack("<4B5I", AF_NETLINK, socket.type, socket.protocol, 7, socket.port, 0, 0, 0, socket.inode.ino)
    return Answer(SOCK_DIAG_BY_FAMILY, head + struct.pack("<Q", socket.cookie)[: 28 - len(head)])
