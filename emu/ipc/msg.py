"""Message queues of System V: messages with a type, which a receiver may choose by (ipc/msg.c)."""

from __future__ import annotations

import errno
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, NamedTuple

from emu.ipc.ids import IPC_NOWAIT, AnyCaller, Ids, IpcObject
from emu.ipc.limits import MSGMNB, MSGMNI
from emu.linux.errors import LinuxError
from emu.linux.wait import WaitQueue
from emu.mm.kmem import MSG_MSG, Kmem

if TYPE_CHECKING:
    from emu.linux.clock import Clock

MSG_NOERROR, MSG_EXCEPT, MSG_COPY = 0o10000, 0o20000, 0o40000


class Message(NamedTuple):
    """A message."""

    type: int
    text: bytes

    @property
    def charged(self) -> int:
        """What it takes on the host."""
        return MSG_MSG + len(self.text)


class MessageQueue(IpcObject):
    """A queue (struct msg_queue).  Times in seconds since 1970."""

    def __init__(self, key: int, mode: int, caller: AnyCaller, now: int) -> None:
        super().__init__(key, mode, caller)
        self.messages: list[Message] = []
        #: Bytes in it, and the most that may be.
        self.cbytes, self.qbytes = 0, MSGMNB
        self.stime = self.rtime = 0
        self.ctime = now
        self.lspid = self.lrpid = 0
        self.senders, self.receivers = WaitQueue(), WaitQueue()

    def status(self) -> tuple[int, ...]:
        """Its struct msqid64_ds."""
        times = self.stime, self.rtime, self.ctime
        numbers = self.cbytes, len(self.messages), self.qbytes, self.lspid, self.lrpid
        return (*self.perm(), *times, *numbers, 0, 0)

    def fits(self, size: int) -> bool:
        """Whether a message of that size can be put in (msg_fits_inqueue)."""
        return self.cbytes + size <= self.qbytes and len(self.messages) + 1 <= self.qbytes

    def find(self, wanted: int, flags: int) -> Message | None:
        """The message that a receiver gets (find_msg)."""
        if flags & MSG_COPY:
            return self.messages[wanted] if 0 <= wanted < len(self.messages) else None
        if wanted == 0:
            return self.messages[0] if self.messages else None
        if wanted < 0:
            most = min(-wanted, (1 << 63) - 1)
            return min((m for m in self.messages if m.type <= most), key=lambda m: m.type, default=None)
        return next((m for m in self.messages if (m.type != wanted) == bool(flags & MSG_EXCEPT)), None)


class MessageQueues(Ids[MessageQueue]):
    """The queues of a machine."""

    def __init__(self, clock: Clock, kmem: Kmem) -> None:
        super().__init__(MSGMNI, kmem)
        self._clock = clock

    def _now(self) -> int:
        return self._clock.realtime_ns() // 1_000_000_000

    def msgget(self, caller: AnyCaller, key: int, flags: int) -> int:
        """msgget(2)."""
        return self.get(key, flags, caller, lambda: MessageQueue(key, flags, caller, self._now()), lambda _: None)

    def send(self, caller: AnyCaller, ident: int, message: Message, flags: int) -> Generator[Any, None, int]:
        """msgsnd(2)."""
        queue = self.find(ident)
        while True:
            if queue.deleted:
                raise LinuxError(errno.EIDRM)
            queue.check(caller, 0o222)
            if queue.fits(len(message.text)):
                break
            if flags & IPC_NOWAIT:
                raise LinuxError(errno.EAGAIN)
            with self.kmem.held(message.charged):
                yield queue.senders
        self.charge(queue, message.charged)
        queue.messages.append(message)
        queue.cbytes += len(message.text)
        queue.stime, queue.lspid = self._now(), caller.tgid
        queue.receivers.wake_all()
        return 0

    def receive(
        self, caller: AnyCaller, ident: int, size: int, wanted: int, flags: int
    ) -> Generator[Any, None, Message]:
        """msgrcv(2): the message, whose text is cut off at ``size`` bytes."""
        queue = self.find(ident)
        while True:
            if queue.deleted:
                raise LinuxError(errno.EIDRM)
            queue.check(caller, 0o444)
            found = queue.find(wanted, flags)
            if found is not None:
                break
            if flags & IPC_NOWAIT:
                raise LinuxError(errno.ENOMSG)
            yield queue.receivers
        if len(found.text) > size and not flags & MSG_NOERROR:
            raise LinuxError(errno.E2BIG)
        if not flags & MSG_COPY:
            self._take(caller, queue, found)
        return Message(found.type, found.text[:size])

    def _take(self, caller: AnyCaller, queue: MessageQueue, message: Message) -> None:
        at = next(i for i, each in enumerate(queue.messages) if each is message)
        del queue.messages[at]
        self.charge(queue, -message.charged)
        queue.cbytes -= len(message.text)
        queue.rtime, queue.lrpid = self._now(), caller.tgid
        queue.senders.wake_all()

    def rmid(self, queue: MessageQueue) -> None:
        """IPC_RMID: whoever waits gets EIDRM."""
        self.remove(queue)
        queue.messages.clear()
        queue.senders.wake_all()
        queue.receivers.wake_all()

    def changed(self, queue: MessageQueue) -> None:
        """IPC_SET."""
        queue.ctime = self._now()
        queue.senders.wake_all()
        queue.receivers.wake_all()
