"""What options of sockets are set to, and what they are, as strace writes it."""

from __future__ import annotations

import errno
import socket
import struct

from emu.linux.argument import S32, Shown, View, shown_buffer
from emu.linux.words import pointer
from emu.trace.forms.addresses import address_words
from emu.trace.forms.form import escaped, one_of
from emu.trace.forms.sockopts import SET

_SOCKET, _IP, _IPV6, _RAW, _NETLINK = 1, 0, 41, 255, 270
_ERROR, _LINGER, _PEERCRED, _GET_FILTER, _TXREHASH = 4, 13, 17, 26, 74
#: Options of SOL_SOCKET that are numbers, however long what is given is.
_NUMBERS = frozenset(
    {1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 18, 19, 27, 29, 30, 32, 33, 34, 35, 36, 37, 40, 41, 42, 43, 44, 45,
     46, 49, 53, 56, 60, 63, 64, 65, 68, 69, 70, 73, 75}
)  # fmt: skip
_GROUPS, _GROUPS6, _ANY_GROUPS = (35, 36), (20, 21, 27, 28), (42, 45)
_FILTERS = (26, 51)
_REHASH = one_of({0: "SOCK_TXREHASH_DISABLED", 1: "SOCK_TXREHASH_ENABLED", 255: "SOCK_TXREHASH_DEFAULT"},
                 "SOCK_TXREHASH_")  # fmt: skip
_ICMP = {
    at: f"ICMP_{name}" for at, name in {
        0: "ECHOREPLY", 3: "DEST_UNREACH", 4: "SOURCE_QUENCH", 5: "REDIRECT", 8: "ECHO", 11: "TIME_EXCEEDED",
        12: "PARAMETERPROB", 13: "TIMESTAMP", 14: "TIMESTAMPREPLY", 15: "INFO_REQUEST", 16: "INFO_REPLY", 17: "ADDRESS",
        18: "ADDRESSREPLY",
    }.items()
}  # fmt: skip
_ICMP_KINDS = 32


def interface(data: bytes) -> str:
    """The number of an interface; the machine's only one is lo."""
    index = int.from_bytes(data, "little")
    return 'if_nametoindex("lo")' if index == 1 else str(index)


def _number(data: bytes) -> int:
    return int.from_bytes(data[:4], "little", signed=True)


def _fields(data: bytes, *names: str) -> str:
    """Numbers by name, as far as there are bytes."""
    texts = []
    for at, name in enumerate(names):
        piece = data[4 * at : 4 * at + 4]
        if piece:
            texts.append(f"{name}={_number(piece) if len(piece) == 4 else escaped(piece)}")
    return f"{{{', '.join(texts)}}}"


def _plain(view: View, address: int, length: int) -> str:
    return f"[{_number(view.peek(address, 4))}]" if length == 4 else shown_buffer(view, address, length)


def _icmp_filter(data: bytes) -> str:
    """The kinds of messages that are not let through; where that is most of them, those that are."""
    mask = int.from_bytes(data[:4], "little")
    most = mask.bit_count() >= _ICMP_KINDS * 2 // 3
    words = one_of(_ICMP, "ICMP_")
    kinds = [words(kind) for kind in range(_ICMP_KINDS) if (mask >> kind & 1) != most]
    return f"{'~' if most else ''}[{' '.join(kinds)}]"


def _structure(level: int, option: int, data: bytes, length: int) -> str | None:
    """What is set that is a structure; empty if the option has one, but not of this length."""
    if level == _SOCKET and option == _LINGER:
        return _fields(data[:8], "l_onoff", "l_linger") if length >= 8 else ""
    if level == _SOCKET and option in _FILTERS:
        count, program = struct.unpack("<H6xQ", data) if length == 16 else (0, 0)
        return f"{{len={count}, filter={pointer(program)}}}" if length == 16 else ""
    if level == _IP and option in _GROUPS:
        group, place = (f'inet_addr("{socket.inet_ntoa(data[at : at + 4])}")' if length >= 8 else "" for at in (0, 4))
        return f"{{imr_multiaddr={group}, imr_interface={place}}}" if length >= 8 else ""
    if level == _IPV6 and option in _GROUPS6:
        if length < 20:
            return ""
        group = f'inet_pton(AF_INET6, "{socket.inet_ntop(socket.AF_INET6, data[:16])}", &ipv6mr_multiaddr)'
        return f"{{{group}, ipv6mr_interface={interface(data[16:20])}}}"
    if level in (_IP, _IPV6) and option in _ANY_GROUPS:
        if length < 136:
            return ""
        return f"{{gr_interface={interface(data[:4])}, gr_group={address_words(data[8:136])}}}"
    if level == _RAW and option == 1:
        return _icmp_filter(data) if length >= 4 else ""
    return None


def _number_set(level: int, option: int, data: bytes) -> str | None:
    """A number that is set, however many bytes are given; empty if it takes more of them."""
    if level == _SOCKET and option == _TXREHASH:
        return f"[{_REHASH(_number(data))}]" if len(data) >= 4 else ""
    if level == _NETLINK or (level == _SOCKET and option in _NUMBERS):
        return f"[{_number(data)}]" if len(data) >= 4 else ""
    return None


def given_value(at: int, call: Shown) -> str:
    """What setsockopt is given."""
    level, option, address, length = S32(call.values[1]), S32(call.values[2]), call.values[at], S32(call.values[at + 1])
    wanted = max(0, min(length, 4096))
    data = call.view.peek(address, wanted) if address else b""
    if not address or len(data) < wanted:
        return pointer(address)
    text = _structure(level, option, data, wanted)
    if text is None:
        text = _number_set(level, option, data)
    if text is None:
        return shown_buffer(call.view, address, 1 << 31) if length < 0 else _plain(call.view, address, length)
    return text or pointer(address)


def got_value(at: int, call: Shown) -> str:
    """What getsockopt has written."""
    address = call.values[at]
    size = call.view.peek(call.values[at + 1], 4) if call.values[at + 1] else b""
    if call.failed or len(size) < 4 or not address or _number(size) <= 0:
        return pointer(address)
    length = min(_number(size), 4096)
    data = call.view.peek(address, length)
    level, option = S32(call.values[1]), S32(call.values[2])
    if len(data) < length:
        return pointer(address)
    if level != _SOCKET:
        if (level, option) == (_RAW, 1):
            return _icmp_filter(data) if length >= 4 else pointer(address)
        return f"[{_number(data)}]" if level == _NETLINK and length >= 4 else _plain(call.view, address, length)
    if option == _LINGER:
        return _fields(data[:8], "l_onoff", "l_linger")
    if option == _PEERCRED:
        return _fields(data[:12], "pid", "uid", "gid")
    if option == _GET_FILTER:
        return pointer(address)
    if option not in _NUMBERS and option not in (_ERROR, _TXREHASH):
        return _plain(call.view, address, length)
    if length < 4:
        return escaped(data)
    number = _number(data)
    if option == _ERROR:
        return f"[{errno.errorcode.get(number, number)}]"
    return f"[{_REHASH(number) if option == _TXREHASH else number}]"


def option(at: int, call: Shown, known: dict[int, tuple[dict[int, str], str]] = SET) -> str:
    """The name of an option of a level."""
    names = known.get(S32(call.values[1]))
    return str(call.values[at] & 0xFFFFFFFF) if names is None else one_of(*names)(call.values[at])
