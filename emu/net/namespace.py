"""All sockets' names of a machine (struct net), and the making of sockets."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError
from emu.net.inet import AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP, InetSocket, Loopback
from emu.net.socket import SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM, Socket, SockFsType
from emu.net.unix import AF_UNIX, UnixSocket, UnixSockets, socketpair

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.vfs import Vfs
    from emu.linux.caller import Caller

_MOST_FAMILIES = 46
_PROTOCOL = {SOCK_STREAM: IPPROTO_TCP, SOCK_DGRAM: IPPROTO_UDP}


class NetNamespace:
    """The sockets of a machine."""

    def __init__(self, vfs: Vfs) -> None:
        self.unix = UnixSockets(vfs)
        self.loopback = Loopback()
        self._mount = vfs.internal_mount(SockFsType())

    def socket(self, family: int, type_: int, protocol: int, flags: int = 0) -> Socket:
        """socket(2).  LinuxError(EAFNOSUPPORT, ESOCKTNOSUPPORT, EPROTONOSUPPORT, EINVAL)."""
        if not 0 <= family < _MOST_FAMILIES:
            raise LinuxError(errno.EAFNOSUPPORT)
        if not 0 <= type_ < 11:
            raise LinuxError(errno.EINVAL)
        if family == AF_UNIX:
            if protocol not in (0, AF_UNIX):
                raise LinuxError(errno.EPROTONOSUPPORT)
            return UnixSocket(self.unix, self._mount, self._unix_type(type_), flags)
        if family not in (AF_INET, AF_INET6):
            raise LinuxError(errno.EAFNOSUPPORT)
        if type_ == SOCK_RAW:
            raise LinuxError(errno.EPROTONOSUPPORT if not protocol else errno.EPERM)
        if type_ not in _PROTOCOL:
            raise LinuxError(errno.ESOCKTNOSUPPORT)
        if protocol not in (0, _PROTOCOL[type_]):
            raise LinuxError(errno.EPROTONOSUPPORT)
        return InetSocket(self.loopback, self._mount, family, type_, flags)

    def socketpair(
        self, caller: Caller[Path], family: int, type_: int, protocol: int, flags: int
    ) -> tuple[Socket, Socket]:
        """socketpair(2).  LinuxError(EOPNOTSUPP) for any family but AF_UNIX."""
        if family != AF_UNIX:
            self.socket(family, type_, protocol).put()
            raise LinuxError(errno.EOPNOTSUPP)
        if protocol not in (0, AF_UNIX):
            raise LinuxError(errno.EPROTONOSUPPORT)
        return socketpair(self.unix, self._mount, caller, self._unix_type(type_), flags)

    @staticmethod
    def _unix_type(type_: int) -> int:
        if type_ == SOCK_RAW:
            return SOCK_DGRAM
        if type_ not in (SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET):
            raise LinuxError(errno.ESOCKTNOSUPPORT)
        return type_
