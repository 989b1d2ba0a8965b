"""POSIX message queues: files of their own file system, with messages by priority (ipc/mqueue.c)."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, NamedTuple

from emu.fs.file import File
from emu.fs.inode import Inode, NewOwner
from emu.fs.libfs import SimpleDirectory, drop_tree
from emu.fs.superblock import FileSystemType, SuperBlock
from emu.ipc.limits import HARD_MSGMAX, HARD_MSGSIZEMAX, MQ_PRIO_MAX, MqueueLimits
from emu.linux.errors import LinuxError
from emu.linux.fileflags import PollEvents, RenameFlags
from emu.linux.wait import WaitQueue
from emu.mm.kmem import INODE, MSG_MSG

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.resources import Resources
    from emu.linux.caller import Caller

MQUEUE_MAGIC = 0x19800202
#: The size of a queue's file, and what a name adds to the directory's (FILENT_SIZE, DIRENT_SIZE).
_FILE_SIZE, _DIRENT_SIZE = 80, 20
#: sizeof(struct msg_msg) and of struct posix_msg_tree_node, by which RLIMIT_MSGQUEUE counts.
_MESSAGE_SIZE, _NODE_SIZE = 48, 48
_IN = int(PollEvents.IN | PollEvents.RDNORM)
_OUT = int(PollEvents.OUT | PollEvents.WRNORM)

#: What a call that waits yields: the queue, and the deadline on the machine's clock.
Waiting = Generator[tuple[WaitQueue, int | None], None, int]


class MqAttr(NamedTuple):
    """The two limits of struct mq_attr."""

    maxmsg: int
    msgsize: int

    @property
    def user_bytes(self) -> int:
        """What a queue counts with for RLIMIT_MSGQUEUE."""
        return self.maxmsg * (self.msgsize + _MESSAGE_SIZE) + min(self.maxmsg, MQ_PRIO_MAX) * _NODE_SIZE


class MqMessage(NamedTuple):
    """A message."""

    priority: int
    text: bytes

    @property
    def charged(self) -> int:
        """What it takes on the host."""
        return MSG_MSG + len(self.text)


class Notification(NamedTuple):
    """Whom to tell, once, that a message has come into an empty queue (struct sigevent)."""

    tgid: int
    how: int
    #: For ``how == 0`` (SIGEV_SIGNAL).
    signo: int = 0
    #: Called with True when a message has come, with False when the wish is withdrawn.
    tell: Callable[[bool], None] = lambda woken: None


class MqueueInode(Inode):
    """A queue."""

    charged = INODE
    sb: MqueueSuperBlock

    def __init__(self, sb: MqueueSuperBlock, owner: NewOwner, attr: MqAttr, user: int) -> None:
        super().__init__(sb, stat.S_IFREG | owner.mode, owner.uid, owner.gid)
        self.size = _FILE_SIZE
        self.attr = attr
        #: Whose RLIMIT_MSGQUEUE it counts for.
        self.user = user
        #: By priority, the highest first, and then in order of arrival.
        self.messages: list[MqMessage] = []
        self.notification: Notification | None = None
        self.senders, self.receivers = WaitQueue(), WaitQueue()

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        return MqueueFile(path, flags)

    def truncate(self, size: int) -> None:
        self.size = size

    def evict(self) -> None:
        self.sb.drop(self.charged)
        self.sb.queues -= 1
        self.sb.user_bytes[self.user] -= self.attr.user_bytes

    def insert(self, message: MqMessage) -> None:
        """Put a message in, and tell whoever wants to know (msg_insert, __do_notify).  LinuxError(ENOMEM)."""
        self.sb.hold(message.charged)
        self.charged += message.charged
        at = len(self.messages)
        while at and self.messages[at - 1].priority < message.priority:
            at -= 1
        self.messages.insert(at, message)
        self.touch()
        notification, received = self.notification, bool(len(self.receivers))
        self.receivers.wake_all(_IN)
        if notification is not None and len(self.messages) == 1 and not received:
            self.notification = None
            notification.tell(True)

    def take(self) -> MqMessage:
        """The first message (msg_get)."""
        message = self.messages.pop(0)
        self.sb.drop(message.charged)
        self.charged -= message.charged
        self.touch()
        self.senders.wake_all(_OUT)
        return message

    def withdraw(self, tgid: int | None) -> None:
        """A process does not want to know any more (remove_notification)."""
        if self.notification is not None and self.notification.tgid == tgid:
            notification, self.notification = self.notification, None
            notification.tell(False)

    def status(self) -> str:
        """What reading the file gives."""
        size, told = sum(len(message.text) for message in self.messages), self.notification
        how, signo, tgid = (0, 0, 0) if told is None else (told.how, told.signo, told.tgid)
        return f"QSIZE:{size:<10} NOTIFY:{how:<5} SIGNO:{signo:<5} NOTIFY_PID:{tgid:<6}\n"


class MqueueFile(File):
    """An open queue."""

    inode: MqueueInode

    def pread(self, count: int, pos: int) -> bytes:
        return self.inode.status().encode()[pos : pos + count]

    @property
    def pollable(self) -> bool:
        return True

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        inode = self.inode
        mask = _IN if inode.messages else 0
        mask |= _OUT if len(inode.messages) < inode.attr.maxmsg else 0
        return mask, (inode.receivers, inode.senders)

    def fsync(self, data_only: bool) -> None:
        raise LinuxError(errno.EINVAL)

    def flush(self, owner: object) -> None:
        super().flush(owner)
        self.inode.withdraw(self.inode.sb.current_tgid())

    def send(self, message: MqMessage, deadline: int | None, now: Callable[[], int]) -> Waiting:
        """mq_timedsend(2), once the arguments have been checked."""
        inode = self.inode
        while len(inode.messages) >= inode.attr.maxmsg:
            yield from self._wait(inode.senders, deadline, now, message.charged)
        inode.insert(message)
        return 0

    def receive(
        self, deadline: int | None, now: Callable[[], int]
    ) -> Generator[tuple[WaitQueue, int | None], None, MqMessage]:
        """mq_timedreceive(2), once the arguments have been checked."""
        inode = self.inode
        while not inode.messages:
            yield from self._wait(inode.receivers, deadline, now, 0)
        return inode.take()

    def _wait(
        self, queue: WaitQueue, deadline: int | None, now: Callable[[], int], kept: int
    ) -> Generator[tuple[WaitQueue, int | None], None, None]:
        if self.nonblocking:
            raise LinuxError(errno.EAGAIN)
        if deadline is not None and now() >= deadline:
            raise LinuxError(errno.ETIMEDOUT)
        with self.inode.sb.resources.kmem.held(kept):
            yield queue, deadline


class MqueueDirectory(SimpleDirectory):
    """The root of the file system."""

    sb: MqueueSuperBlock

    def changed(self) -> None:
        self.size = _DIRENT_SIZE * (2 + len(self.entries))
        self.touch()

    def create(self, name: str, owner: NewOwner) -> Inode:
        return self.create_queue(name, owner, None, owner.uid, None, privileged=owner.uid == 0)

    def link(self, name: str, inode: Inode) -> None:
        raise LinuxError(errno.EPERM)

    def rename(self, name: str, new_directory: Inode, new_name: str, flags: RenameFlags) -> None:
        raise LinuxError(errno.EPERM)

    def create_queue(
        self, name: str, owner: NewOwner, attr: MqAttr | None, user: int, limit: int | None, *, privileged: bool
    ) -> MqueueInode:
        """Make a queue (mqueue_create_attr, mqueue_get_inode).  LinuxError(ENOSPC, EINVAL, EMFILE, ENOMEM).

        ``limit``: RLIMIT_MSGQUEUE; ``privileged``: CAP_SYS_RESOURCE.
        """
        sb = self.sb
        if sb.queues >= sb.limits.queues_max and not privileged:
            raise LinuxError(errno.ENOSPC)
        attr = self._limited(attr, privileged)
        used = sb.user_bytes.get(user, 0) + attr.user_bytes
        if limit is not None and used > limit:
            raise LinuxError(errno.EMFILE)
        sb.hold(INODE)
        inode = MqueueInode(sb, owner, attr, user)
        try:
            self.add(name, inode)
        except LinuxError:
            sb.drop(INODE)
            raise
        sb.queues += 1
        sb.user_bytes[user] = used
        return inode

    def _limited(self, attr: MqAttr | None, privileged: bool) -> MqAttr:
        limits = self.sb.limits
        if attr is None:
            return MqAttr(min(limits.msg_max, limits.msg_default), min(limits.msgsize_max, limits.msgsize_default))
        most = (HARD_MSGMAX, HARD_MSGSIZEMAX) if privileged else (limits.msg_max, limits.msgsize_max)
        if not (0 < attr.maxmsg <= most[0] and 0 < attr.msgsize <= most[1]):
            raise LinuxError(errno.EINVAL)
        return attr


class MqueueSuperBlock(SuperBlock):
    """All queues of a machine.  ``current_tgid``: the process that makes a call."""

    magic = MQUEUE_MAGIC
    root: MqueueDirectory

    def __init__(
        self,
        resources: Resources,
        fstype: FileSystemType,
        limits: MqueueLimits,
        current_tgid: Callable[[], int | None],
    ) -> None:
        super().__init__(resources, fstype)
        self.limits = limits
        self.current_tgid = current_tgid
        self.queues = 0
        #: What the queues of each user count with for RLIMIT_MSGQUEUE.
        self.user_bytes: dict[int, int] = {}
        self.root = MqueueDirectory(self, 0o1777)

    def put_super(self) -> None:
        drop_tree(self.root)
