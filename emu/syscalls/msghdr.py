"""The arguments of calls on sockets: addresses, messages with their control messages, and values of options, as they
compare with those of another run.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator

from emu.linux.argument import INT, S32, Pointer, Shown, View, compared
from emu.linux.layout import Layout, Opaque, buffers
from emu.linux.likeness import Likeness, Part
from emu.net.socket import SOL_SOCKET
from emu.syscalls.cmsg import SCM_CREDENTIALS, SCM_RIGHTS

MSGHDR = Layout("msghdr", "QI4xQQQQi4x")
#: struct mmsghdr: a msghdr, and how many bytes it had.
MMSG = 64
_MMSG_LENGTH, _MAX_MMSG = 56, 1024
_CMSG = struct.Struct("<QII")
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_MAX_ADDRESS, _MAX_CONTROL, _MAX_OPTION = 128, 1 << 16, 256
#: Ports from here on are given to sockets that have none (ip_local_port_range), names of this kind to those of AF_UNIX.
_OWN_PORTS = 32768
_AUTOBOUND = re.compile(rb"\0[0-9a-f]{5}")
#: Control messages that say a time: SO_TIMESTAMP, SO_TIMESTAMPNS, SO_TIMESTAMPING, old and new.
_TIMES = frozenset({29, 35, 37, 63, 64, 65})
_SO_PEERCRED = 17
#: Options that say a figure: SO_INCOMING_CPU, SO_MEMINFO, SO_INCOMING_NAPI_ID, SO_COOKIE; TCP_INFO.
_FIGURES = frozenset({(SOL_SOCKET, 49), (SOL_SOCKET, 55), (SOL_SOCKET, 56), (SOL_SOCKET, 57), (6, 11)})


def _address(data: bytes) -> Iterator[Part]:
    """A sockaddr: ports and names that the kernel has chosen are the same."""
    family = int.from_bytes(data[:2], "little")
    rest = data[2:]
    if family == _AF_UNIX:
        rest = rest if rest[:1] == b"\0" else rest.split(b"\0", 1)[0]
        rest = b"a name of its own" if _AUTOBOUND.fullmatch(rest) else rest
    elif family in (_AF_INET, _AF_INET6):
        rest = rest[:6] if family == _AF_INET else rest[:26]
        rest = b"a port of its own" + rest[2:] if int.from_bytes(rest[:2], "big") >= _OWN_PORTS else rest
    elif family == _AF_NETLINK:
        rest = rest[6:10]
    if data:
        yield Part("sa_family", Likeness.EXACT, family, beside=True)
        yield Part("sockaddr", Likeness.EXACT, rest, beside=True)


def _credentials(data: bytes) -> Iterator[Part]:
    if len(data) >= 12:
        for name, likeness, value in zip(
            ("pid", "uid", "gid"), (Likeness.TASK, Likeness.OWNER, Likeness.OWNER), struct.unpack("<iII", data[:12]),
            strict=True,
        ):  # fmt: skip
            yield Part(name, likeness, value, beside=True)


def _control(data: bytes) -> Iterator[Part]:
    """Control messages (cmsg(3))."""
    while len(data) >= _CMSG.size:
        length, level, kind = _CMSG.unpack_from(data)
        if not _CMSG.size <= length <= len(data):
            break
        inner = data[_CMSG.size : length]
        yield Part("cmsg_level", Likeness.EXACT, level, beside=True)
        yield Part("cmsg_type", Likeness.EXACT, kind, beside=True)
        if level == SOL_SOCKET and kind == SCM_CREDENTIALS:
            yield from _credentials(inner)
        elif level == SOL_SOCKET and kind == SCM_RIGHTS:
            for (fd,) in struct.iter_unpack("<i", inner[: len(inner) // 4 * 4]):
                yield Part("fd", Likeness.EXACT, fd, beside=True)
        elif level != SOL_SOCKET or kind not in _TIMES:
            yield Part("cmsg_data", Likeness.EXACT, inner, beside=True)
        data = data[(length + 7) & ~7 :]


class SocketAddress(Pointer):
    """A sockaddr.  The next argument is its length, or points at it where the call writes the address."""

    def __init__(self, *, written: bool = False) -> None:
        super().__init__(Opaque("sockaddr"), written=written, null=True)

    def given(self, at: int, call: Shown) -> Iterable[Part]:
        address = call.values[at]
        yield Part("address of sockaddr", Likeness.PLACE, address, beside=True)
        if address and not self.fills:
            yield from _address(call.view.peek(address, max(0, min(S32(call.values[at + 1]), _MAX_ADDRESS))))

    def got(self, at: int, call: Shown) -> Iterable[Part]:
        address, length = call.values[at : at + 2]
        if address and self.fills:
            size = call.view.peek(length, INT.size)
            yield from _address(call.view.peek(address, max(0, min(INT.unpack(size), _MAX_ADDRESS))))


class _Message(Pointer):
    """A msghdr: its bytes, its address, and its control messages."""

    def __init__(self, name: str = "msghdr", *, written: bool = False) -> None:
        super().__init__(Opaque(name), written=written)

    def given(self, at: int, call: Shown) -> Iterable[Part]:
        if not self.fills:
            yield from self._parts(call.view, call.values[at])

    def got(self, at: int, call: Shown) -> Iterable[Part]:
        if self.fills:
            yield from self._parts(call.view, call.values[at], call.result or 0)

    def _parts(self, view: View, address: int, count: int | None = None) -> Iterator[Part]:
        """A message, of which ``count`` bytes have come; None: it is to be sent, and has no flags."""
        data = view.peek(address, MSGHDR.size)
        if len(data) < MSGHDR.size:
            return
        name, name_length, pieces, number, control, control_length, flags = MSGHDR.unpack(data)
        yield buffers(view, pieces, number) if count is None else buffers(view, pieces, number, count)
        if name:
            yield from _address(view.peek(name, min(name_length, _MAX_ADDRESS)))
        if control:
            yield from _control(view.peek(control, min(control_length, _MAX_CONTROL)))
        if count is not None:
            yield Part("msg_flags", Likeness.EXACT, flags, beside=True)


class _Messages(_Message):
    """An array of mmsghdr; the next argument says how many, and the result how many were used."""

    def given(self, at: int, call: Shown) -> Iterable[Part]:
        for n in range(0 if self.fills else min(call.values[at + 1], _MAX_MMSG)):
            yield from self._parts(call.view, call.values[at] + n * MMSG)

    def got(self, at: int, call: Shown) -> Iterable[Part]:
        for n in range(min(call.result or 0, _MAX_MMSG)):
            message = call.values[at] + n * MMSG
            length = int.from_bytes(call.view.peek(message + _MMSG_LENGTH, 4), "little")
            if self.fills:
                yield from self._parts(call.view, message, length)
            else:
                yield Part("msg_len", Likeness.EXACT, length, beside=True)


class OptionValue(Pointer):
    """The value of a socket's option; before it stand level and option, behind it its length, or a pointer to that."""

    def __init__(self, *, written: bool = False) -> None:
        super().__init__(Opaque("option value"), written=written)

    def given(self, at: int, call: Shown) -> Iterable[Part]:
        yield Part(self.name, Likeness.PLACE, call.values[at])
        if not self.fills:
            yield from self._value(at, call, S32(call.values[at + 1]))

    def got(self, at: int, call: Shown) -> Iterable[Part]:
        if self.fills:
            yield from self._value(at, call, INT.unpack(call.view.peek(call.values[at + 1], INT.size)))

    @staticmethod
    def _value(at: int, call: Shown, length: int) -> Iterator[Part]:
        option = (call.values[at - 2], call.values[at - 1])
        data = call.view.peek(call.values[at], compared(min(length, _MAX_OPTION)))
        if option == (SOL_SOCKET, _SO_PEERCRED):
            yield from _credentials(data)
        elif option not in _FIGURES:
            yield Part("option value", Likeness.EXACT, data)


TO_ADDRESS, FROM_ADDRESS = SocketAddress(), SocketAddress(written=True)
SENT, RECEIVED = _Message(), _Message(written=True)
SENT_MESSAGES, RECEIVED_MESSAGES = _Messages("mmsghdr"), _Messages("mmsghdr", written=True)
OPTION, OPTION_OUT = OptionValue(), OptionValue(written=True)
