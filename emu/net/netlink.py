"""AF_NETLINK: messages to and from the kernel (net/netlink/af_netlink.c, netlink(7))."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from emu.fs.file import WouldBlock
from emu.linux.capability import NET_ADMIN
from emu.linux.errors import LinuxError
from emu.linux.wait import WaitQueue
from emu.net.packet import MSG_OOB, Identity, Message, Packet, Received, Sink, true_size
from emu.net.socket import ERR, IN, OUT, WRBAND, Socket, receive_message

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.linux.caller import Caller
    from emu.net.network import Network

AF_NETLINK = 16
NETLINK_ROUTE, NETLINK_USERSOCK, NETLINK_SOCK_DIAG, NETLINK_AUDIT = 0, 2, 4, 9
NETLINK_KOBJECT_UEVENT, NETLINK_GENERIC = 15, 16
PROTOCOLS = frozenset(
    {NETLINK_ROUTE, NETLINK_USERSOCK, NETLINK_SOCK_DIAG, NETLINK_AUDIT, NETLINK_KOBJECT_UEVENT, NETLINK_GENERIC}
)
#: Those of whose groups everybody may be a member.
_OPEN_GROUPS = frozenset({NETLINK_ROUTE, NETLINK_USERSOCK, NETLINK_KOBJECT_UEVENT, NETLINK_GENERIC})
NLM_F_REQUEST, NLM_F_MULTI, NLM_F_ACK, NLM_F_DUMP, NLM_F_CAPPED = 1, 2, 4, 0x300, 0x100
NLMSG_ERROR, NLMSG_DONE, NLMSG_MIN_TYPE = 2, 3, 16
SOL_NETLINK = 270
NETLINK_PKTINFO, NETLINK_CAP_ACK = 3, 10
_HEADER, _ADDRESS = struct.Struct("<IHHII"), struct.Struct("<HHII")
#: A dump is sent in packets of at most this size (NLMSG_GOODSIZE and what a reader has shown to take).
_PACKET = 8192


class Request(NamedTuple):
    """A message to the kernel."""

    kind: int
    flags: int
    sequence: int
    port: int
    body: bytes

    @property
    def dumps(self) -> bool:
        """Whether it asks for all there are."""
        return self.flags & NLM_F_DUMP == NLM_F_DUMP


class Answer(NamedTuple):
    """A message from the kernel, without its header."""

    kind: int
    body: bytes


#: What the kernel's side of a protocol answers.  LinuxError: an error message.
Kernel = Callable[["Caller[Path] | None", Request], Iterator[Answer]]


def attribute(kind: int, data: bytes) -> bytes:
    """A struct rtattr.

    >>> attribute(3, b"lo\\0").hex()
    '070003006c6f0000'
    """
    return struct.pack("<HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes of a message, by type.

    >>> attributes(attribute(1, b"abc") + attribute(5, b""))
    {1: b'abc', 5: b''}
    """
    found: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("<HH", data, at)
        if length < 4 or at + length > len(data):
            break
        found[kind & 0x3FFF] = data[at + 4 : at + length]
        at += length + 3 & -4
    return found


class NetlinkPorts:
    """Who has which port of which protocol, and the kernel's side of each."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.kernels: dict[int, Kernel] = {}
        self.bound: dict[tuple[int, int], NetlinkSocket] = {}

    def take(self, socket: NetlinkSocket, port: int) -> None:
        """Have a port.  LinuxError(EADDRINUSE)."""
        if (socket.protocol, port) in self.bound:
            raise LinuxError(errno.EADDRINUSE)
        self.bound[socket.protocol, port] = socket

    def free_port(self, protocol: int, pid: int) -> int:
        """The process's own number, or one from the top (netlink_autobind)."""
        port = pid
        rover = 0xFFFF_FFFF - 4096
        while (protocol, port) in self.bound:
            port, rover = rover, rover - 1
        return port


class NetlinkSocket(Socket):
    """A socket of AF_NETLINK."""

    family = AF_NETLINK

    def __init__(self, ports: NetlinkPorts, type_: int, protocol: int, flags: int = 0) -> None:
        super().__init__(ports.net, type_, protocol, flags)
        self._ports = ports
        self.port = 0
        self._bound = False
        self.groups = 0
        #: connect(2): the port and groups to which messages without an address go.
        self._to = (0, 0)

    # -- addresses -------------------------------------------------------------------------------------------------

    def address(self) -> bytes:
        return _ADDRESS.pack(AF_NETLINK, 0, self.port, self.groups)

    def peer_address(self) -> bytes:
        return _ADDRESS.pack(AF_NETLINK, 0, *self._to)

    def bind(self, caller: Caller[Path], address: bytes) -> None:
        port, groups = _parse(address)
        if groups and self.protocol not in _OPEN_GROUPS and not caller.credentials.capable_in(NET_ADMIN, self.net.user):
            raise LinuxError(errno.EPERM)
        if self._bound:
            if port != self.port:
                raise LinuxError(errno.EINVAL)
        elif port:
            self._ports.take(self, port)
            self.port, self._bound = port, True
        else:
            self._autobind(caller)
        self.groups = groups

    def _autobind(self, caller: Caller[Path] | None) -> None:
        if not self._bound:
            self.port = self._ports.free_port(self.protocol, self.net.who_calls().pid)
            self._ports.take(self, self.port)
            self._bound = True

    def connect(self, caller: Caller[Path], address: bytes, *, wait: bool) -> None:
        if int.from_bytes(address[:2], "little") == 0:
            self._to = (0, 0)
            return
        self._to = _parse(address)
        self._autobind(caller)

    def unbind(self) -> None:
        if self._bound:
            del self._ports.bound[self.protocol, self.port]

    # -- messages --------------------------------------------------------------------------------------------------

    def send(self, caller: Caller[Path] | None, data: bytes, message: Message) -> int:
        if message.flags & MSG_OOB:
            raise LinuxError(errno.EOPNOTSUPP)
        if not data:
            raise LinuxError(errno.ENODATA)
        port, groups = _parse(message.to) if message.to else self._to
        if (port or groups) and self.protocol != NETLINK_USERSOCK and not self.net.capable(NET_ADMIN):
            raise LinuxError(errno.EPERM)
        self._autobind(caller)
        if len(data) > self.sndbuf - 32:
            raise LinuxError(errno.EMSGSIZE)
        if port:
            other = self._ports.bound.get((self.protocol, port))
            if other is None:
                raise LinuxError(errno.ECONNREFUSED)
            other.take_in(data, self.address(), self.net.who_calls())
        else:
            kernel = self._ports.kernels.get(self.protocol)
            if kernel is None:
                raise LinuxError(errno.ECONNREFUSED)
            self._ask(kernel, caller, data)
        return len(data)

    def take_in(self, data: bytes, source: bytes, who: Identity) -> None:
        """A message has arrived.  LinuxError(EAGAIN) without room."""
        if self.closed:
            return
        cost = true_size(len(data))
        if sum(each.cost for each in self.inbox) + cost > self.rcvbuf and self.inbox:
            raise LinuxError(errno.EAGAIN)
        self.put_in(Packet(data, None, source, who, cost=cost))
        self.data_ready()

    def _ask(self, kernel: Kernel, caller: Caller[Path] | None, data: bytes) -> None:
        """What the kernel answers to each request of a packet (netlink_rcv_skb)."""
        while len(data) >= _HEADER.size:
            length, kind, flags, sequence, _ = _HEADER.unpack_from(data)
            if not _HEADER.size <= length <= len(data):
                return
            if flags & NLM_F_REQUEST and kind >= NLMSG_MIN_TYPE:
                self._answer(
                    kernel, caller, Request(kind, flags, sequence, self.port, data[_HEADER.size : length]), data
                )
            elif flags & NLM_F_ACK:
                self._acknowledge(data, 0)
            data = data[length + 3 & -4 :]

    def _answer(self, kernel: Kernel, caller: Caller[Path] | None, request: Request, data: bytes) -> None:
        flags = NLM_F_MULTI if request.dumps else 0
        packet = b""
        try:
            for answer in kernel(caller, request):
                message = _message(answer.kind, flags, request.sequence, self.port, answer.body)
                if packet and len(packet) + len(message) > _PACKET:
                    self.from_kernel(packet)
                    packet = b""
                packet += message
        except LinuxError as error:
            self._acknowledge(data, error.errno)
            return
        if request.dumps:
            packet += _message(NLMSG_DONE, NLM_F_MULTI, request.sequence, self.port, bytes(4))
        if packet:
            self.from_kernel(packet)
        if not request.dumps and request.flags & NLM_F_ACK:
            self._acknowledge(data, 0)

    def _acknowledge(self, data: bytes, error: int) -> None:
        """NLMSG_ERROR: 0, or the error with the request that met it (netlink_ack)."""
        length, _, _, sequence, _ = _HEADER.unpack_from(data)
        capped = not error or bool(self.option(NETLINK_CAP_ACK, SOL_NETLINK))
        body = struct.pack("<i", -error) + data[: _HEADER.size if capped else length]
        flags = NLM_F_CAPPED if capped else 0
        self.from_kernel(_message(NLMSG_ERROR, flags, sequence, self.port, body))

    def from_kernel(self, data: bytes) -> None:
        """The kernel has a message for it.  LinuxError(EAGAIN) without room."""
        self.take_in(data, _ADDRESS.pack(AF_NETLINK, 0, 0, 0), Identity(0, 0, 0))

    def receive(self, got: Received, count: int, flags: int, sink: Sink) -> None:
        if flags & MSG_OOB:
            raise LinuxError(errno.EOPNOTSUPP)
        self.raise_error()
        if not self.inbox:
            raise WouldBlock(self.not_empty)
        receive_message(self, got, count, flags, sink)
        if self.option(NETLINK_PKTINFO, SOL_NETLINK):
            got.control.append((SOL_NETLINK, NETLINK_PKTINFO, bytes(4)))

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        mask = OUT | WRBAND | (IN if self.inbox else 0) | (ERR if self.error else 0)
        return mask, (self.not_empty, self.not_full)

    def bytes_waiting(self) -> int:
        raise LinuxError(errno.ENOTTY)

    def bytes_unsent(self) -> int:
        raise LinuxError(errno.ENOTTY)


def _message(kind: int, flags: int, sequence: int, port: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, sequence, port) + body + bytes(-len(body) % 4)


def _parse(address: bytes) -> tuple[int, int]:
    """Port and groups of a struct sockaddr_nl.  LinuxError(EINVAL)."""
    if len(address) < _ADDRESS.size:
        raise LinuxError(errno.EINVAL)
    family, _, port, groups = _ADDRESS.unpack_from(address)
    if family != AF_NETLINK:
        raise LinuxError(errno.EINVAL)
    return port, groups
