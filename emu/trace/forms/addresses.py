"""Addresses of sockets, as strace writes them."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from emu.linux.argument import View
from emu.linux.words import pointer, quote
from emu.trace.forms.sockopts import FAMILIES


def address_words(data: bytes) -> str:
    """A socket's address."""
    (family,) = struct.unpack_from("<H", data)
    name = FAMILIES.get(family, f"{family:#x} /* AF_??? */")
    rest = _REST.get(family)
    text = rest(data) if rest is not None else _unknown(data)
    return f"{{sa_family={name}{', ' + text if text else ''}}}"


def _unix(data: bytes) -> str:
    path = data[2:110]
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
