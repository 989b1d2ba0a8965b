"""lo, the one network device of a namespace, and the ioctls that ask about it (net/core/dev_ioctl.c, netdevice(7))."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.linux.capability import NET_ADMIN
from emu.linux.errors import LinuxError
from emu.net.address import AF_INET, LOOPBACK4

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.linux.caller import Caller
    from emu.linux.namespace import UserNamespace

LO, LO_INDEX, LO_MTU, LO_QUEUE = b"lo", 1, 65536, 1000
#: ARPHRD_LOOPBACK; IFF_LOOPBACK, and of one that is up IFF_UP and IFF_RUNNING, and with them IFF_LOWER_UP.
LO_TYPE, LO_DOWN_FLAGS, LO_FLAGS, LO_ALL_FLAGS = 772, 0x8, 0x49, 0x10049
IFF_UP = 1
_IFNAMSIZ, _IFREQ = 16, 40
_GIFNAME, _GIFCONF, _GIFFLAGS, _SIFFLAGS = 0x8910, 0x8912, 0x8913, 0x8914
_NETMASK = bytes((255, 0, 0, 0))


def _sockaddr(address: bytes) -> bytes:
    return struct.pack("<HH", AF_INET, 0) + address


#: What is read of lo: METRIC, MTU, HWADDR, INDEX, TXQLEN, MAP.
_ASKED: dict[int, bytes] = {
    0x891D: bytes(4), 0x8921: struct.pack("<i", LO_MTU),
    0x8927: struct.pack("<H", LO_TYPE), 0x8933: struct.pack("<i", LO_INDEX), 0x8942: struct.pack("<i", LO_QUEUE),
    0x8970: bytes(24),
}  # fmt: skip
#: The same of its IPv4 address, which only sockets of AF_INET know: SIOCGIFADDR, DSTADDR, BRDADDR, NETMASK.
_ASKED_OF_INET: dict[int, bytes] = {
    0x8915: _sockaddr(LOOPBACK4.packed), 0x8917: _sockaddr(LOOPBACK4.packed), 0x8919: _sockaddr(bytes(4)),
    0x891B: _sockaddr(_NETMASK),
}  # fmt: skip
#: What would change it: SIOCSIFFLAGS, METRIC, MTU, NAME, HWADDR, ADDMULTI, DELMULTI, TXQLEN, MAP, and addresses.
_CHANGES = frozenset(
    {0x8914, 0x891E, 0x8922, 0x8923, 0x8924, 0x8930, 0x8931, 0x8932, 0x8937, 0x8943, 0x8971, 0x8916, 0x8918, 0x891A,
     0x891C}
)  # fmt: skip
#: SIOCETHTOOL, the MII calls, wireless extensions, SIOCDEVPRIVATE to its 16th.
_UNSUPPORTED = frozenset({0x8946, 0x8947, 0x8948, 0x8949, 0x8B01, *range(0x89F0, 0x8A00)})


class Device:
    """lo: whether it is up, and whether it ever was, since when it has its IPv4 address."""

    def __init__(self, up: bool) -> None:
        self.up = self.configured = up

    @property
    def flags(self) -> int:
        """IFF_*, those that fit into 32 bits."""
        return LO_ALL_FLAGS if self.up else LO_DOWN_FLAGS

    def set_up(self, up: bool) -> None:
        """Take it up, or down."""
        self.up = up
        self.configured |= up


def device_ioctl(
    caller: Caller[Path], device: Device, user: UserNamespace | None, command: int, argument: int, family: int,
    told: Callable[[str], None],
) -> int:  # fmt: skip
    """An ioctl of any socket about a device.  LinuxError(ENODEV, ENOTTY, EPERM).  ``user``: whose capabilities count;
    ``told``: says what is missing.
    """
    if command == _GIFCONF:
        _list(caller, device, argument)
        return 0
    known = command in (_GIFNAME, _GIFFLAGS) or command in _ASKED or command in _CHANGES or command in _UNSUPPORTED
    if not known and not (command in _ASKED_OF_INET and family == AF_INET):
        raise LinuxError(errno.ENOTTY)
    request = caller.mm.read(argument, _IFREQ)
    if command == _GIFNAME:
        if int.from_bytes(request[_IFNAMSIZ : _IFNAMSIZ + 4], "little") != LO_INDEX:
            raise LinuxError(errno.ENODEV)
        caller.mm.write(argument, LO.ljust(_IFNAMSIZ, b"\0"))
        return 0
    name, _, label = request[:_IFNAMSIZ].partition(b"\0")[0].partition(b":")
    if command in _CHANGES and not caller.credentials.capable_in(NET_ADMIN, user):
        raise LinuxError(errno.EPERM)
    if name != LO:
        raise LinuxError(errno.ENODEV)
    if command in _UNSUPPORTED or command in _CHANGES:
        _change(device, command, request, told)
        return 0
    if command == _GIFFLAGS:
        caller.mm.write(argument + _IFNAMSIZ, struct.pack("<h", device.flags & 0x7FFF))
        return 0
    if command in _ASKED_OF_INET and (label or not device.configured):
        raise LinuxError(errno.EADDRNOTAVAIL)
    answer = _ASKED.get(command) or _ASKED_OF_INET[command].ljust(16, b"\0")
    caller.mm.write(argument + _IFNAMSIZ, answer)
    return 0


def _change(device: Device, command: int, request: bytes, told: Callable[[str], None]) -> None:
    """lo is taken up or down; another change succeeds if it is none.  LinuxError(EOPNOTSUPP)."""
    value = request[_IFNAMSIZ:]
    if command == _SIFFLAGS:
        device.set_up(bool(struct.unpack_from("<h", value)[0] & IFF_UP))
        return
    if command == 0x8922 and struct.unpack_from("<i", value)[0] == LO_MTU:
        return
    if command == 0x8916 and value[4:8] == LOOPBACK4.packed:
        return
    if command in _CHANGES:
        told("the network of the machine cannot be changed: EOPNOTSUPP")
    raise LinuxError(errno.EOPNOTSUPP)


def _list(caller: Caller[Path], device: Device, argument: int) -> None:
    """SIOCGIFCONF: the addresses of AF_INET; without a buffer, only the length of them all."""
    length, buffer = struct.unpack("<i4xQ", caller.mm.read(argument, 16))
    used = _IFREQ if device.configured else 0
    if buffer:
        used = used if length >= _IFREQ else 0
        if used:
            entry = LO.ljust(_IFNAMSIZ, b"\0") + _sockaddr(LOOPBACK4.packed)
            caller.mm.write(buffer, entry.ljust(_IFREQ, b"\0"))
    caller.mm.write(argument, struct.pack("<i", used))
