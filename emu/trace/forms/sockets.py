"""Sockets, their addresses, messages and options, as strace writes them."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from emu.linux.argument import S32, U32, Shown, View, shown_buffer
from emu.linux.layout import IOVEC
from emu.linux.words import pointer, quote
from emu.trace.forms.form import (
    INT,
    MOST_SHOWN,
    UNSIGNED,
    Form,
    Forms,
    flags,
    given,
    names_of,
    number,
    one_of,
    pointed,
    unsigned,
)
from emu.trace.forms.sockopts import FAMILIES, LEVELS, NETLINK, OPTIONS, PROTOCOLS, TYPES
from emu.trace.forms.times import TIMESPEC

_SO_ERROR, _SO_LINGER, _SO_PEERCRED, _SO_RCVTIMEO, _SO_SNDTIMEO = 4, 13, 17, 20, 21
_MESSAGE = {
    0x1: "MSG_OOB", 0x2: "MSG_PEEK", 0x4: "MSG_DONTROUTE", 0x8: "MSG_CTRUNC", 0x10: "MSG_PROBE", 0x20: "MSG_TRUNC",
    0x40: "MSG_DONTWAIT", 0x80: "MSG_EOR", 0x100: "MSG_WAITALL", 0x200: "MSG_FIN", 0x400: "MSG_SYN",
    0x800: "MSG_CONFIRM",
    0x1000: "MSG_RST", 0x2000: "MSG_ERRQUEUE", 0x4000: "MSG_NOSIGNAL", 0x8000: "MSG_MORE", 0x10000: "MSG_WAITFORONE",
    0x20000: "MSG_SENDPAGE_NOTLAST", 0x40000: "MSG_BATCH", 0x80000: "MSG_NO_SHARED_FRAGS", 0x4000000: "MSG_ZEROCOPY",
    0x20000000: "MSG_FASTOPEN", 0x40000000: "MSG_CMSG_CLOEXEC", 0x80000000: "MSG_CMSG_COMPAT",
}  # fmt: skip
message_flags = flags(_MESSAGE, "MSG_")
_MSGHDR, _CMSG = struct.Struct("<QI4xQQQQI4x"), struct.Struct("<Qii")
#: Characters of several messages that are shown.
_MMSGHDR_SIZE, _MOST_TEXT = 64, 4096
_SHUTDOWN = number(one_of(names_of("SHUT_", "RD WR RDWR"), "SHUT_"))


# -- addresses -----------------------------------------------------------------------------------------------------


def address_words(data: bytes) -> str:
    """A socket's address."""
    (family,) = struct.unpack_from("<H", data)
    name = FAMILIES.get(family, f"{family:#x} /* AF_??? */")
    rest = _REST.get(family)
    text = rest(data) if rest is not None else _unknown(data)
    return f"{{sa_family={name}{', ' + text if text else ''}}}"


def _unix(data: bytes) -> str:
    path = data[2:]
    if not path:
        return ""
    if path[0] == 0:
        return f"sun_path=@{quote(path[1:])}"
    return f"sun_path={quote(path.partition(bytes(1))[0])}"


def _inet(data: bytes) -> str:
    if len(data) < 16:
        return _unknown(data)
    (port,) = struct.unpack_from(">H", data, 2)
    return f'sin_port=htons({port}), sin_addr=inet_addr("{socket.inet_ntoa(data[4:8])}")'


def _inet6(data: bytes) -> str:
    if len(data) < 24:
        return _unknown(data)
    port, flow = struct.unpack_from(">HI", data, 2)
    address = socket.inet_ntop(socket.AF_INET6, data[8:24])
    scope = f", sin6_scope_id={struct.unpack_from('<I', data, 24)[0]}" if len(data) >= 28 else ""
    return f'sin6_port=htons({port}), sin6_flowinfo=htonl({flow}), inet_pton(AF_INET6, "{address}", &sin6_addr){scope}'


def _netlink(data: bytes) -> str:
    if len(data) < 12:
        return _unknown(data)
    pid, groups = struct.unpack_from("<II", data, 4)
    return f"nl_pid={pid}, nl_groups={groups:08x}" if groups == 0 else f"nl_pid={pid}, nl_groups={groups:#010x}"


def _unknown(data: bytes) -> str:
    return f"sa_data={quote(data[2:])}" if len(data) > 2 else ""


_REST: dict[int, Callable[[bytes], str]] = {1: _unix, 2: _inet, 10: _inet6, 16: _netlink}


def address_at(view: View, address: int, length: int) -> str:
    """The address of a socket in memory, or where it is if it cannot be read."""
    if not address:
        return "NULL"
    data = view.peek(address, max(0, min(length, 128)))
    return address_words(data) if length >= 2 and len(data) == min(length, 128) else pointer(address)


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
        if size < _CMSG.size:
            break
        body = data[at + _CMSG.size : at + size]
        texts.append(_control_message(size, level, kind, body))
        at += (size + 7) & ~7
    return f"[{', '.join(texts)}]" if texts else None


def _interface(data: bytes) -> str:
    """The number of an interface; the machine's only one is lo."""
    index = int.from_bytes(data, "little")
    return 'if_nametoindex("lo")' if index == 1 else str(index)


def _control_message(size: int, level: int, kind: int, body: bytes) -> str:
    names = {1: "SCM_RIGHTS", 2: "SCM_CREDENTIALS", 3: "SCM_SECURITY", 4: "SCM_PIDFD", 29: "SO_TIMESTAMP_OLD"}
    table, prefix = (names, "SCM_") if level == 1 else OPTIONS.get(level, ({}, "???"))
    name = table.get(kind) or f"{kind:#x} /* {prefix}??? */"
    head = f"cmsg_len={size}, cmsg_level={LEVELS.get(level, f'{level:#x}')}, cmsg_type={name}"
    if (level, kind) == (1, 1):
        fds = [str(fd) for (fd,) in struct.iter_unpack("<i", body[: len(body) & ~3])]
        return f"{{{head}, cmsg_data=[{', '.join(fds)}]}}"
    if (level, kind) == (1, 2) and len(body) >= 12:
        pid, uid, gid = struct.unpack_from("<3i", body)
        return f"{{{head}, cmsg_data={{pid={pid}, uid={uid}, gid={gid}}}}}"
    if (level, kind) == (0, 8) and len(body) >= 12:
        interface, *places = (body[:4], body[4:8], body[8:12])
        local, to = (f'inet_addr("{socket.inet_ntoa(place)}")' for place in places)
        return f"{{{head}, cmsg_data={{ipi_ifindex={_interface(interface)}, ipi_spec_dst={local}, ipi_addr={to}}}}}"
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


def _option(at: int, call: Shown) -> str:
    names, prefix = OPTIONS.get(S32(call.values[1]), (None, ""))
    return unsigned(call.values[at]) if names is None else one_of(names, prefix)(call.values[at])


def _value(call: Shown, at: int, length: int) -> str:
    level, option = S32(call.values[1]), S32(call.values[2])
    data = call.view.peek(call.values[at], max(0, min(length, 4096)))
    if length < 0 or len(data) < min(length, 4096) or not call.values[at]:
        return pointer(call.values[at])
    if (level, option) == (1, _SO_LINGER) and length >= 8:
        on, seconds = struct.unpack_from("<2i", data)
        return f"{{l_onoff={on}, l_linger={seconds}}}"
    if (level, option) == (1, _SO_PEERCRED) and length >= 12:
        pid, uid, gid = struct.unpack_from("<3i", data)
        return f"{{pid={pid}, uid={uid}, gid={gid}}}"
    if (level, option) == (0, 35) or (level, option) == (0, 36):
        if length >= 8:
            group, interface = socket.inet_ntoa(data[:4]), socket.inet_ntoa(data[4:8])
            return f'{{imr_multiaddr=inet_addr("{group}"), imr_interface=inet_addr("{interface}")}}'
    if (level, option) == (1, _SO_ERROR) and length == 4:
        import errno

        return f"[{errno.errorcode.get(S32(int.from_bytes(data, 'little')), S32(int.from_bytes(data, 'little')))}]"
    if length == 4:
        return f"[{int.from_bytes(data, 'little', signed=True)}]"
    return shown_buffer(call.view, call.values[at], length)


def _given_value(at: int, call: Shown) -> str:
    return _value(call, at, S32(call.values[at + 1]))


def _got_value(at: int, call: Shown) -> str:
    length = call.view.peek(call.values[at + 1], 4) if call.values[at + 1] else b""
    if call.failed or len(length) < 4:
        return pointer(call.values[at])
    return _value(call, at, int.from_bytes(length, "little"))


def _protocol(at: int, call: Shown) -> str:
    family = S32(call.values[0])
    if family in (2, 10):
        return one_of(PROTOCOLS, "IPPROTO_")(call.values[at])
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
    "setsockopt": {1: number(_level), 2: Form(_option), 3: Form(_given_value)},
    "getsockopt": {1: number(_level), 2: Form(_option), 3: Form(_got_value, written=True), 4: _LENGTHS.length},
}
#: What is looked at when a call begins, as the call changes it.
BEFORE: dict[str, Forms] = {
    "accept": _LENGTH_BEFORE, "accept4": _LENGTH_BEFORE, "getsockname": _LENGTH_BEFORE, "getpeername": _LENGTH_BEFORE,
    "recvfrom": {5: LENGTH_BEFORE}, "getsockopt": {4: LENGTH_BEFORE}, "recvmsg": {1: MESSAGE_BEFORE},
}  # fmt: skip
