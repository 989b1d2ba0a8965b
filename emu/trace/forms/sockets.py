"""Sockets, their addresses, messages and options, as strace writes them."""

from __future__ import annotations

import socket
import struct

from emu.linux.argument import S32, U32, Shown, View
from emu.linux.layout import IOVEC
from emu.linux.words import pointer
from emu.trace.forms.addresses import address_at, address_words
from emu.trace.forms.form import (
    INT,
    MOST_SHOWN,
    UNSIGNED,
    Form,
    Forms,
    flags,
    given,
    hexed,
    names_of,
    number,
    one_of,
    pointed,
    unsigned,
)
from emu.trace.forms.sockopts import ETHER, FAMILIES, GET, LEVELS, NETLINK, PROTOCOLS, SET, TYPES
from emu.trace.forms.sockvalues import given_value, got_value, interface, option
from emu.trace.forms.times import TIMESPEC

_MESSAGE = {
    0x1: "MSG_OOB", 0x2: "MSG_PEEK", 0x4: "MSG_DONTROUTE", 0x8: "MSG_CTRUNC", 0x10: "MSG_PROBE", 0x20: "MSG_TRUNC",
    0x40: "MSG_DONTWAIT", 0x80: "MSG_EOR", 0x100: "MSG_WAITALL", 0x200: "MSG_FIN", 0x400: "MSG_SYN",
    0x800: "MSG_CONFIRM",
    0x1000: "MSG_RST", 0x2000: "MSG_ERRQUEUE", 0x4000: "MSG_NOSIGNAL", 0x8000: "MSG_MORE", 0x10000: "MSG_WAITFORONE",
    0x20000: "MSG_SENDPAGE_NOTLAST", 0x40000: "MSG_BATCH", 0x80000: "MSG_NO_SHARED_FRAGS", 0x4000000: "MSG_ZEROCOPY",
    0x20000000: "MSG_FASTOPEN", 0x40000000: "MSG_CMSG_CLOEXEC", 0x80000000: "MSG_CMSG_COMPAT",
}  # fmt: skip
message_flags = flags(_MESSAGE, "MSG_")
_PACKET = 17
_MSGHDR, _CMSG = struct.Struct("<QI4xQQQQI4x"), struct.Struct("<Qii")
#: Characters of several messages that are shown.
_MMSGHDR_SIZE, _MOST_TEXT = 64, 4096
_SHUTDOWN = number(one_of(names_of("SHUT_", "RD WR RDWR"), "SHUT_"))


# -- addresses -----------------------------------------------------------------------------------------------------


def _given_address(at: int, call: Shown) -> str:
    return address_at(call.view, call.values[at], S32(call.values[at + 1]))


class _Lengths:
    """Forms of an address that a call writes, and of its length before and after; what a program gave is read when the
    call begins, where strace reads it.
    """

    def __init__(self) -> None:
        self.address, self.length = Form(self._address, written=True), Form(self._length, written=True)

    @staticmethod
    def _address(at: int, call: Shown) -> str:
        if call.failed or not call.values[at + 1]:
            return pointer(call.values[at])
        length = int.from_bytes(call.view.peek(call.values[at + 1], 4), "little")
        before = call.before.get(at + 1, "")
        room = int(before[1:-1]) if before.startswith("[") else length
        return address_at(call.view, call.values[at], min(length, max(room, 0)))

    @staticmethod
    def _length(at: int, call: Shown) -> str:
        after = pointed(INT, call.view, call.values[at])
        before = call.before.get(at)
        if before is None or call.failed or before == after or not after.startswith("["):
            return after
        return f"{before[:-1]} => {after[1:]}"


_LENGTHS = _Lengths()


# -- messages ------------------------------------------------------------------------------------------------------


def _control(view: View, address: int, length: int) -> str | None:
    """Control messages; None if they cannot be read."""
    data = view.peek(address, min(length, 4096))
    texts: list[str] = []
    at = 0
    while at + _CMSG.size <= len(data) and len(texts) < MOST_SHOWN:
        size, level, kind = _CMSG.unpack_from(data, at)
        texts.append(_control_message(size, level, kind, data[at + _CMSG.size : at + max(size, _CMSG.size)]))
        at += max((size + 7) & ~7, _CMSG.size)
        if size < _CMSG.size:
            break
    if texts and at < min(length, len(data)):
        texts.append(f"... /* {address + at:#x} */")
    return f"[{', '.join(texts)}]" if texts else None


def _control_message(size: int, level: int, kind: int, body: bytes) -> str:
    names = {1: "SCM_RIGHTS", 2: "SCM_CREDENTIALS", 3: "SCM_SECURITY", 4: "SCM_PIDFD", 29: "SO_TIMESTAMP_OLD"}
    if level in (0, 1):
        table, prefix = (names, "SCM_") if level else SET[level]
        name = one_of(table, prefix)(kind)
    else:
        name = hexed(kind)
    head = f"cmsg_len={size}, cmsg_level={LEVELS.get(level, f'{level:#x}')}, cmsg_type={name}"
    if (level, kind) == (1, 1) and len(body) >= 4:
        fds = [str(fd) for (fd,) in struct.iter_unpack("<i", body[: len(body) & ~3])]
        return f"{{{head}, cmsg_data=[{', '.join(fds)}]}}"
    if (level, kind) == (1, 2) and len(body) >= 12:
        pid, uid, gid = struct.unpack_from("<3i", body)
        return f"{{{head}, cmsg_data={{pid={pid}, uid={uid}, gid={gid}}}}}"
    if (level, kind) == (0, 8) and len(body) >= 12:
        index, *places = (body[:4], body[4:8], body[8:12])
        local, to = (f'inet_addr("{socket.inet_ntoa(place)}")' for place in places)
        return f"{{{head}, cmsg_data={{ipi_ifindex={interface(index)}, ipi_spec_dst={local}, ipi_addr={to}}}}}"
    if (level, kind) == (0, 11) and len(body) >= 32:
        error, origin, type_, code, information, more = struct.unpack_from("<IBBBxII", body)
        text = f"ee_errno={error}, ee_origin={origin}, ee_type={type_}, ee_code={code}, ee_info={information}"
        return f"{{{head}, cmsg_data={{{text}, ee_data={more}, offender={address_words(body[16:32])}}}}}"
    if level == 0 and kind in (1, 2) and len(body) >= 1:
        value = int.from_bytes(body[:4], "little") if len(body) >= 4 else body[0]
        return f"{{{head}, cmsg_data=[{value:#x}]}}" if kind == 1 else f"{{{head}, cmsg_data=[{value}]}}"
    return f"{{{head}}}"


def message_at(view: View, address: int, filled: int | None, *, name_length: int | None = None) -> str:
    """A msghdr; ``filled`` bytes of its buffers hold data (None: all)."""
    data = view.peek(address, _MSGHDR.size) if address else b""
    if len(data) < _MSGHDR.size:
        return pointer(address)
    name, name_size, pieces, count, control, control_size, told = _MSGHDR.unpack(data)
    size = f"{name_length} => {S32(name_size)}" if name_length not in (None, name_size) else str(S32(name_size))
    text = f"msg_name={address_at(view, name, name_size)}, msg_namelen={size}"
    shown = IOVEC.pieces(view, pieces, count, filled) if pieces else None
    text += f", msg_iov={shown or pointer(pieces)}, msg_iovlen={count}"
    if control and control_size:
        text += f", msg_control={_control(view, control, control_size) or pointer(control)}"
    return f"{{{text}, msg_controllen={control_size}, msg_flags={message_flags(told)}}}"


def _sent(at: int, call: Shown) -> str:
    return message_at(call.view, call.values[at], None)


def _received(at: int, call: Shown) -> str:
    address = call.values[at]
    if call.failed:
        data = call.view.peek(address, _MSGHDR.size) if address else b""
        return f"{{msg_namelen={S32(_MSGHDR.unpack(data)[1])}}}" if len(data) == _MSGHDR.size else pointer(address)
    return message_at(call.view, address, call.result or 0, name_length=_name_length(call.before.get(at)))


def _name_length(before: str | None) -> int | None:
    return int(before) if before else None


def _before_message(at: int, call: Shown) -> str:
    """What a msghdr has room for, before the call writes that."""
    data = call.view.peek(call.values[at] + 8, 4) if call.values[at] else b""
    return str(int.from_bytes(data, "little")) if len(data) == 4 else ""


def _messages(at: int, call: Shown, *, received: bool) -> str:
    address, count = call.values[at], call.values[at + 1] & 0xFFFFFFFF
    if call.failed:
        if received or not address:
            return pointer(address)
        done = count
    else:
        done = call.result or 0
    texts: list[str] = []
    for n in range(min(done if received else count, MOST_SHOWN)):
        place = address + n * _MMSGHDR_SIZE
        length = call.view.peek(place + 56, 4)
        if len(length) < 4:
            return pointer(address) if not texts else f"[{', '.join(texts)}, ...]"
        moved = int.from_bytes(length, "little")
        told = f", msg_len={moved}" if n < done and not call.failed else ""
        if sum(map(len, texts)) > _MOST_TEXT:
            texts.append("...")
            break
        texts.append(f"{{msg_hdr={message_at(call.view, place, moved if received else None)}{told}}}")
    return f"[{', '.join(texts)}]"


# -- options -------------------------------------------------------------------------------------------------------


def _level(value: int) -> str:
    return LEVELS.get(S32(value), f"{value & 0xFFFFFFFF:#x} /* SOL_?? */")


def _protocol(at: int, call: Shown) -> str:
    family = S32(call.values[0])
    if family in (2, 10):
        return one_of(PROTOCOLS, "IPPROTO_")(call.values[at])
    if family == _PACKET:
        return f"htons({one_of(ETHER, 'ETH_P_')(socket.htons(call.values[at] & 0xFFFF))})"
    return one_of(NETLINK, "NETLINK_")(call.values[at]) if family == 16 else unsigned(call.values[at])


_KIND_FLAGS = {0x80000: "SOCK_CLOEXEC", 0x800: "SOCK_NONBLOCK"}


def _kind(value: int) -> str:
    """The type of a socket, and flags of its descriptor."""
    kind, rest = value & 0xF, value & 0xFFFFFFF0
    if kind not in TYPES:
        return flags(_KIND_FLAGS, "SOCK_")(U32(value))
    return f"{TYPES[kind]}|{flags(_KIND_FLAGS, 'SOCK_')(rest)}" if rest else TYPES[kind]


LENGTH_BEFORE = Form(lambda at, call: pointed(INT, call.view, call.values[at]))
_LENGTH_BEFORE: Forms = {2: LENGTH_BEFORE}
MESSAGE_BEFORE = Form(_before_message)
_ADDRESS: Forms = {1: Form(_given_address)}
_ASKED: Forms = {1: _LENGTHS.address, 2: _LENGTHS.length}
_FAMILY = number(one_of(FAMILIES, "AF_"))
_KIND, _FLAGS = number(_kind), number(lambda value: message_flags(value & 0xFFFFFFFF))
FORMS: dict[str, Forms] = {
    "socket": {0: _FAMILY, 1: _KIND, 2: Form(_protocol)},
    "socketpair": {0: _FAMILY, 1: _KIND, 2: UNSIGNED},
    "connect": _ADDRESS,
    "bind": _ADDRESS,
    "accept": _ASKED,
    "accept4": _ASKED,
    "getsockname": _ASKED,
    "getpeername": _ASKED,
    "sendto": {3: _FLAGS, 4: Form(_given_address)},
    "recvfrom": {3: _FLAGS, 4: _LENGTHS.address, 5: _LENGTHS.length},
    "sendmsg": {1: Form(_sent), 2: _FLAGS},
    "recvmsg": {1: Form(_received, written=True), 2: _FLAGS},
    "sendmmsg": {3: _FLAGS, 1: Form(lambda at, call: _messages(at, call, received=False), written=True)},
    "recvmmsg": {
        3: _FLAGS,
        1: Form(lambda at, call: _messages(at, call, received=True), written=True),
        4: given(TIMESPEC),
    },
    "shutdown": {1: _SHUTDOWN},
    "setsockopt": {1: number(_level), 2: Form(option), 3: Form(given_value)},
    "getsockopt": {
        1: number(_level),
        2: Form(lambda at, call: option(at, call, GET)),
        3: Form(got_value, written=True),
        4: _LENGTHS.length,
    },
}
#: What is looked at when a call begins, as the call changes it.
BEFORE: dict[str, Forms] = {
    "accept": _LENGTH_BEFORE, "accept4": _LENGTH_BEFORE, "getsockname": _LENGTH_BEFORE, "getpeername": _LENGTH_BEFORE,
    "recvfrom": {5: LENGTH_BEFORE}, "getsockopt": {4: LENGTH_BEFORE}, "recvmsg": {1: MESSAGE_BEFORE},
}  # fmt: skip
