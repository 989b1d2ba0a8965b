"""Addresses of AF_INET and AF_INET6, as Python's ipaddress has them and as struct sockaddr (ip(7), ipv6(7))."""

from __future__ import annotations

import errno
import ipaddress
import struct
from typing import NamedTuple

from emu.linux.errors import LinuxError

AF_UNSPEC, AF_INET, AF_INET6 = 0, 2, 10
ANY4, ANY6 = ipaddress.IPv4Address(0), ipaddress.IPv6Address(0)
LOOPBACK4, LOOPBACK6 = ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address(1)
#: The address to which everybody on lo listens who may.
BROADCAST4 = ipaddress.IPv4Address("127.255.255.255")
Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
_MAPPED = 0xFFFF << 32
#: The lengths of struct sockaddr_in, and of struct sockaddr_in6 without its scope (SIN6_LEN_RFC2133).
_SOCKADDR_IN, _SOCKADDR_IN6 = 16, 24


class Endpoint(NamedTuple):
    """An address and a port."""

    ip: Ip
    port: int


def family_of(address: bytes) -> int:
    """sa_family.  LinuxError(EINVAL)."""
    if len(address) < 2:
        raise LinuxError(errno.EINVAL)
    return int.from_bytes(address[:2], "little")


def parse_in(address: bytes) -> Endpoint:
    """A struct sockaddr_in.  LinuxError(EINVAL)."""
    if len(address) < _SOCKADDR_IN:
        raise LinuxError(errno.EINVAL)
    port, ip = struct.unpack_from(">HI", address, 2)
    return Endpoint(ipaddress.IPv4Address(ip), port)


def parse_in6(address: bytes) -> Endpoint:
    """A struct sockaddr_in6.  LinuxError(EINVAL)."""
    if len(address) < _SOCKADDR_IN6:
        raise LinuxError(errno.EINVAL)
    (port,) = struct.unpack_from(">H", address, 2)
    return Endpoint(ipaddress.IPv6Address(address[8:24]), port)


def shown(endpoint: Endpoint, family: int) -> bytes:
    """An endpoint as sockaddr bytes of a family."""
    ip, port = endpoint
    if family == AF_INET:
        return struct.pack("<H", AF_INET) + struct.pack(">HI8x", port, int(unmapped(ip)) & 0xFFFF_FFFF)
    return struct.pack("<H", AF_INET6) + struct.pack(">HI", port, 0) + as_six(ip).packed + bytes(4)


def as_six(ip: Ip) -> ipaddress.IPv6Address:
    """The address as AF_INET6 writes it."""
    if isinstance(ip, ipaddress.IPv6Address):
        return ip
    return ipaddress.IPv6Address(int(ip) | _MAPPED) if int(ip) else ANY6


def unmapped(ip: Ip) -> Ip:
    """The IPv4 address that an IPv6 address stands for, or the address itself."""
    return ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip


def is_local(ip: Ip) -> bool:
    """Whether a socket may have the address: any, or one of lo."""
    ip = unmapped(ip)
    return int(ip) == 0 or ip.is_loopback


def loopback_of(ip: Ip) -> Ip:
    """The loopback address of the same version: what is sent there comes from it."""
    return LOOPBACK4 if unmapped(ip).version == 4 else LOOPBACK6
