"""Descriptors on their way through AF_UNIX sockets, and those that nobody can receive any more (net/unix/garbage.c)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from emu.fs.file import File

if TYPE_CHECKING:
    from emu.net.packet import Packet


class Holder(Protocol):
    """Who has an inbox: a socket."""

    @property
    def waits_at(self) -> File | None:
        """The listening socket that it is to be accepted from."""

    def purge(self) -> None:
        """Empty the inbox."""


class InFlight:
    """All descriptors that are on their way.

    Sockets may be on their way through each other, so that no process reaches them although their counts of references
    stay above zero; :meth:`collect` finds those, some time after a socket was closed.
    """

    def __init__(self) -> None:
        #: In whose inbox each packet with descriptors waits.
        self._packets: dict[Packet, Holder] = {}
        #: How many descriptors each user has on their way.
        self._of_user: dict[int, int] = {}
        self._collecting = False
        #: What is to be closed, while something is.
        self._dropped: deque[File] | None = None

    def of_user(self, uid: int) -> int:
        """The number of descriptors that a user has sent and nobody has received."""
        return self._of_user.get(uid, 0)

    @property
    def busy(self) -> bool:
        """Whether anything is on its way."""
        return bool(self._packets)

    def fly(self, packet: Packet, to: Holder) -> None:
        """A packet with descriptors is in an inbox."""
        self._packets[packet] = to
        self._of_user[packet.sent_by] = self.of_user(packet.sent_by) + len(packet.files)

    def land(self, packet: Packet) -> list[File]:
        """Its descriptors leave a packet and belong to the caller."""
        files, packet.files = packet.files, []
        if files:
            del self._packets[packet]
            self._of_user[packet.sent_by] -= len(files)
        return files

    def drop(self, files: list[File]) -> None:
        """Close what nobody will receive.  That may close sockets on whose way are further ones, through any number of
        sockets: those are closed afterwards, not inside (as the kernel does with fput()).
        """
        if self._dropped is not None:
            self._dropped += files
            return
        self._dropped = dropped = deque(files)
        try:
            while dropped:
                dropped.popleft().put()
        finally:
            self._dropped = None

    def collect(self) -> None:
        """Let go what only sockets on their way refer to (unix_gc)."""
        if not self._packets or self._collecting:
            return
        self._collecting = True
        try:
            garbage = self._garbage()
            for socket in garbage:
                socket.get()
            for packet, holder in list(self._packets.items()):
                if packet in self._packets and self._owner(holder) in garbage:
                    holder.purge()
            for socket in garbage:
                socket.put()
        finally:
            self._collecting = False

    @staticmethod
    def _owner(holder: Holder) -> File:
        """Who must be reached so that a packet can be received."""
        owner = holder.waits_at or holder
        assert isinstance(owner, File)
        return owner

    def _garbage(self) -> set[File]:
        """The sockets that only packets refer to which nobody can receive."""
        on_their_way: dict[File, int] = {}
        receivable: dict[File, list[File]] = {}
        for packet, to in self._packets.items():
            receivable.setdefault(self._owner(to), []).extend(packet.files)
            for file in packet.files:
                on_their_way[file] = on_their_way.get(file, 0) + 1
        suspects = {file for file, number in on_their_way.items() if file.references == number}
        pending = [holder for holder in receivable if holder not in suspects]
        reached: set[File] = set()
        while pending:
            holder = pending.pop()
            if holder not in reached:
                reached.add(holder)
                pending += receivable.get(holder, ())
        return {holder for holder in receivable if holder in suspects and holder not in reached}
