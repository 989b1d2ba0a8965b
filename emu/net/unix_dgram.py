"""AF_UNIX messages: SOCK_DGRAM, and SOCK_SEQPACKET with connections (unix_dgram_sendmsg, unix_dgram_recvmsg)."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from emu.fs.file import WouldBlock
from emu.linux.errors import LinuxError
from emu.net.packet import MAX_ALLOC, MSG_OOB, Message, Packet, Received, Sink, true_size
from emu.net.socket import SOCK_SEQPACKET, receive_message, receiver_waits
from emu.net.unix import AF_UNSPEC, UnixSocket, path_of

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.linux.caller import Caller

#: The most that a message has behind its head (MAX_SKB_FRAGS pages).
_PAGES = 17 * 4096


class UnixDatagrams(UnixSocket):
    """SOCK_DGRAM."""

    # -- sending ---------------------------------------------------------------------------------------------------

    def send(self, caller: Caller[Path] | None, data: bytes, message: Message) -> int:
        if message.flags & MSG_OOB:
            raise LinuxError(errno.EOPNOTSUPP)
        if message.to:
            path_of(message.to)
        self._autobind_for_credentials()
        if len(data) > self.sndbuf - 32:
            raise LinuxError(errno.EMSGSIZE)
        self.raise_error()
        if self.shut_write:
            raise LinuxError(errno.EPIPE)
        if self.outstanding >= self.sndbuf:
            raise WouldBlock(self.not_full)
        to = self._receiver(caller, message.to)
        if to.peer not in (None, self):
            raise LinuxError(errno.EPERM)
        if to.closed:
            raise self._receiver_gone(to)
        if to.shut_read:
            raise LinuxError(errno.EPIPE)
        if to is not self and to.peer is not self and to.is_full:
            raise WouldBlock(to.peer_wait)
        pages = min(max(0, len(data) - MAX_ALLOC), _PAGES)
        pages = min(-(-pages // 4096) * 4096, len(data))
        to.put_in(self._packet(data, message, to, true_size(len(data) - pages, pages)))
        to.data_ready()
        return len(data)

    def _receiver(self, caller: Caller[Path] | None, address: bytes) -> UnixSocket:
        if address:
            assert caller is not None
            return self._names.find(caller, address, self.type)
        if self.peer is None:
            raise LinuxError(errno.ENOTCONN)
        return self.peer

    def _receiver_gone(self, to: UnixSocket) -> LinuxError:
        """The receiver was closed: a sender that was connected to it is not any more."""
        if self.is_connection:
            return LinuxError(errno.EPIPE)
        self.peer, self.connected = None, False
        self._disconnected(to)
        return LinuxError(errno.ECONNREFUSED)

    def _peer_has_room(self) -> bool:
        peer = self.peer
        if peer is None or peer.peer is self or not peer.is_full:
            return True
        peer.tell_of_room(self)
        return False

    def connect(self, caller: Caller[Path], address: bytes, *, wait: bool) -> None:
        before, to = self.peer, None
        if struct.unpack_from("<H", address)[0] != AF_UNSPEC:
            path_of(address)
            self._autobind_for_credentials()
            to = self._names.find(caller, address, self.type)
            if to.peer not in (None, self):
                raise LinuxError(errno.EPERM)
            to.connected = True
        self.peer, self.connected = to, to is not None
        if before is not None and before is not to:
            self._disconnected(before)
            before.connected = before.peer is not None
        self.wake()

    def _disconnected(self, before: UnixSocket) -> None:
        """It has no peer, or another: what has arrived is lost, and a peer that is still connected learns so."""
        if self.inbox:
            self.purge()
            self.room_for_peers()
            if not before.closed and before.peer is self:
                before.error = errno.ECONNRESET
                before.wake()

    # -- receiving -------------------------------------------------------------------------------------------------

    def receive(self, got: Received, count: int, flags: int, sink: Sink) -> None:
        if flags & MSG_OOB:
            raise LinuxError(errno.EOPNOTSUPP)
        self.raise_error()
        if not self.inbox:
            if self.shut_read and (self.type == SOCK_SEQPACKET or receiver_waits(self, flags)):
                got.complete = True
                return
            raise WouldBlock(self.not_empty)
        sender = self.inbox[0].sender
        if isinstance(sender, UnixSocket):
            self.inbox[0].address = sender.source()
        receive_message(self, got, count, flags, sink)

    def at_mark(self) -> bool:
        raise LinuxError(errno.EOPNOTSUPP)

    def take_out(self, packet: Packet) -> None:
        super().take_out(packet)
        self.room_for_peers()


class UnixSeqpacket(UnixDatagrams):
    """SOCK_SEQPACKET: the addresses of messages do not matter."""

    def check_sender(self) -> None:
        self.raise_error()
        if not self.connected:
            raise LinuxError(errno.ENOTCONN)

    def send(self, caller: Caller[Path] | None, data: bytes, message: Message) -> int:
        self.check_sender()
        message.to = b""
        return super().send(caller, data, message)

    def receive(self, got: Received, count: int, flags: int, sink: Sink) -> None:
        if not self.connected:
            raise LinuxError(errno.ENOTCONN)
        super().receive(got, count, flags, sink)

    def connect(self, caller: Caller[Path], address: bytes, *, wait: bool) -> None:
        UnixSocket.connect(self, caller, address, wait=wait)

    def bytes_waiting(self) -> int:
        if self.backlog is not None:
            raise LinuxError(errno.EINVAL)
        return sum(len(packet.data) for packet in self.inbox)
