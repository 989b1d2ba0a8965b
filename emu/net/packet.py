"""What goes between sockets: packets, who sent them, what a call sends and receives (struct sk_buff, struct msghdr)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from emu.fs.file import File

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.linux.caller import Caller

MSG_OOB, MSG_PEEK, MSG_DONTROUTE, MSG_CTRUNC, MSG_TRUNC, MSG_DONTWAIT, MSG_EOR = 1, 2, 4, 8, 0x20, 0x40, 0x80
MSG_WAITALL, MSG_ERRQUEUE, MSG_NOSIGNAL, MSG_MORE, MSG_WAITFORONE = 0x100, 0x2000, 0x4000, 0x8000, 0x10000
MSG_FASTOPEN, MSG_CMSG_CLOEXEC = 0x2000_0000, 0x4000_0000
#: sizeof(struct sk_buff), and of struct skb_shared_info, in whole cache lines.
_SK_BUFF, _SHARED_INFO, _LINE, _LEAST_HEAD, _PAGE = 256, 320, 64, 512, 4096
#: What a head can hold that takes no more than a page, or four (SKB_MAX_HEAD, SKB_MAX_ALLOC).
MAX_HEAD, MAX_ALLOC = _PAGE - _SHARED_INFO, 4 * _PAGE - _SHARED_INFO

#: Stores what has been received where the guest wants it.  LinuxError(EFAULT): then it counts as not received.
Sink = Callable[[bytes], None]


class Identity(NamedTuple):
    """struct ucred: who sent a message, or made a connection."""

    pid: int
    uid: int
    gid: int


def identity_of(caller: Caller[Path]) -> Identity:
    """Who the caller is, by its effective ids."""
    return Identity(caller.tgid, caller.credentials.euid, caller.credentials.egid)


NOBODY = Identity(0, -1, -1)


def true_size(head: int, pages: int = 0) -> int:
    """What a packet takes of its sender's buffer (skb->truesize), with so many bytes in its head and so many behind.

    >>> true_size(1), true_size(2240), true_size(904, 4096)
    (768, 4352, 6400)
    """
    need = -(-head // _LINE) * _LINE + _SHARED_INFO
    return _SK_BUFF + max(_LEAST_HEAD, 1 << (need - 1).bit_length()) + -(-pages // _PAGE) * _PAGE


class Sender(Protocol):
    """Whose buffer a packet takes room in."""

    outstanding: int

    def room_again(self) -> None:
        """Some of it was read."""


@dataclass(eq=False)
class Packet:
    """Bytes on their way: a message, or a part of a stream."""

    data: bytes
    #: Whose room they take until they are read.
    sender: Sender | None
    #: The sender's address, as sockaddr bytes.
    address: bytes = b""
    identity: Identity = NOBODY
    files: list[File] = field(default_factory=list)
    #: The user who has sent those.
    sent_by: int = 0
    #: What it takes of the sender's buffer until it has been read.
    cost: int = 0
    #: What it is charged with while it waits in an inbox.
    charged: int = 0
    #: When it arrived, in nanoseconds of the clock of the day.
    time: int = 0


@dataclass
class Message:
    """What a call sends, besides the bytes."""

    #: The receiver's sockaddr, or nothing.
    to: bytes = b""
    flags: int = 0
    #: Who says that he is the sender; None: nobody said anything.
    claimed: Identity | None = None
    files: list[File] = field(default_factory=list)
    #: The other control messages: (level, type, body).
    control: tuple[tuple[int, int, bytes], ...] = ()
    #: Bytes of the same call follow.
    more: bool = False

    def drop(self) -> None:
        """It goes, and its descriptors were not passed on."""
        for file in self.files:
            file.put()
        self.files = []


@dataclass
class Received:
    """What a call has received; the bytes went to its sink."""

    count: int = 0
    address: bytes = b""
    #: The length of the whole message.
    length: int = 0
    identity: Identity = NOBODY
    files: list[File] = field(default_factory=list)
    #: MSG_OOB, MSG_TRUNC and their like.
    flags: int = 0
    time: int = 0
    #: What the family says of it in control messages: (level, type, body).
    control: list[tuple[int, int, bytes]] = field(default_factory=list)
    #: How many packets it is from, and whether the call is to end with it, though it wanted more.
    packets: int = 0
    complete: bool = False

    def drop(self) -> None:
        """Nobody takes the descriptors."""
        for file in self.files:
            file.put()
        self.files = []
