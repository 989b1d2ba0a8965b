"""inotify: a queue of what happened to watched files (fs/notify/inotify)."""

from __future__ import annotations

import errno
import struct
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from emu.fs.anon import AnonFile
from emu.fs.dentry import encode_name
from emu.fs.file import WouldBlock
from emu.fs.notify import Notice, Watch
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags, PollEvents, kernel_device
from emu.linux.wait import WaitQueue
from emu.mm.kmem import FSNOTIFY_EVENT, FSNOTIFY_MARK

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.linux.caller import Caller

#: fs.inotify.max_queued_events and max_user_instances; the first is that of each instance.
MAX_QUEUED_EVENTS = 16384
MAX_USER_INSTANCES = 128
#: struct inotify_event up to the name, whose length is a multiple of its size.
_EVENT = struct.Struct("<iIII")
FIONREAD = 0x541B
#: What a watch is told of whether or not it was asked for.
_ALWAYS = int(Notice.UNMOUNT | Notice.IGNORED)
_HAPPENS = 0xFFF
_KEPT = _HAPPENS | int(Notice.EXCL_UNLINK | Notice.ONESHOT)


class Event(NamedTuple):
    """One event in the queue."""

    wd: int
    mask: int
    cookie: int
    name: bytes

    @property
    def charged(self) -> int:
        """What it takes on the host; nothing for the one that stands for all for which there was no room."""
        return 0 if self.wd < 0 else FSNOTIFY_EVENT + len(self.name)

    def pack(self) -> bytes:
        """struct inotify_event, with the name."""
        length = -(-(len(self.name) + 1) // _EVENT.size) * _EVENT.size if self.name else 0
        return _EVENT.pack(self.wd, self.mask, self.cookie, length) + self.name.ljust(length, b"\0")


_OVERFLOW = Event(-1, int(Notice.Q_OVERFLOW), 0, b"")


class InotifyWatch(Watch):
    """A watch of an inotify instance, by its number."""

    def __init__(self, owner: Inotify, wd: int, path: Path, mask: int) -> None:
        self.owner = owner
        self.wd = wd
        #: Kept, so that the inode stays the one that lookups find.
        self.path = path
        self.mask = mask

    def tell(self, mask: int, name: str, cookie: int) -> None:
        self.owner.queue(Event(self.wd, mask, cookie, encode_name(name)))
        if self.mask & Notice.ONESHOT:
            self.owner.forget(self)

    def inode_gone(self) -> None:
        if self.mask & Notice.DELETE_SELF:
            self.tell(int(Notice.DELETE_SELF), "", 0)
        self.owner.forget(self)

    def unmounted(self) -> None:
        self.tell(int(Notice.UNMOUNT), "", 0)
        self.owner.forget(self)


class Inotify(AnonFile):
    """An inotify instance."""

    has_fasync = True

    def __init__(self, path: Path, flags: int) -> None:
        """LinuxError(EMFILE) if there are too many."""
        resources = path.dentry.inode.sb.resources
        if resources.inotify_instances >= MAX_USER_INSTANCES:
            raise LinuxError(errno.EMFILE)
        super().__init__(path, flags | OpenFlags.RDONLY)
        resources.inotify_instances += 1
        self._watches: dict[int, InotifyWatch] = {}
        self._last_wd = 0
        self._queue: deque[Event] = deque()
        self._changed = WaitQueue()

    # -- watches ---------------------------------------------------------------------------------------------------

    def add(self, path: Path, flags: int) -> int:
        """inotify_add_watch(2): the watch's number.  LinuxError(ENOSPC), (EEXIST), (ENOMEM)."""
        mask, inode = _ALWAYS | flags & _KEPT, path.dentry.inode
        watch = inode.watches.get(self) if inode.watches else None
        if isinstance(watch, InotifyWatch):
            if flags & Notice.MASK_CREATE:
                raise LinuxError(errno.EEXIST)
            watch.mask = watch.mask | mask if flags & Notice.MASK_ADD else mask
            return watch.wd
        resources = self.inode.sb.resources
        if resources.file_watches >= resources.max_file_watches:
            raise LinuxError(errno.ENOSPC)
        self.keep(self._kept + FSNOTIFY_MARK)
        resources.file_watches += 1
        self._last_wd += 1
        watch = self._watches[self._last_wd] = InotifyWatch(self, self._last_wd, path, mask)
        if inode.watches is None:
            inode.watches = {}
        inode.watches[self] = watch
        inode.sb.watches[watch] = None
        return watch.wd

    def remove(self, wd: int) -> None:
        """inotify_rm_watch(2).  LinuxError(EINVAL)."""
        watch = self._watches.get(wd)
        if watch is None:
            raise LinuxError(errno.EINVAL)
        self.forget(watch)

    def forget(self, watch: InotifyWatch) -> None:
        """A watch ends, of which it is told last."""
        if self._watches.pop(watch.wd, None) is not None:
            self._take_off(watch)
            self.queue(Event(watch.wd, int(Notice.IGNORED), 0, b""))

    def _take_off(self, watch: InotifyWatch) -> None:
        inode = watch.path.inode
        if inode.watches:
            inode.watches.pop(self, None)
        inode.sb.watches.pop(watch, None)
        self.keep(self._kept - FSNOTIFY_MARK)
        self.inode.sb.resources.file_watches -= 1

    def release(self) -> None:
        for watch in self._watches.values():
            self._take_off(watch)
        self._watches.clear()
        self.inode.sb.resources.inotify_instances -= 1

    # -- the queue -------------------------------------------------------------------------------------------------

    def queue(self, event: Event) -> None:
        """Add an event, unless the last one says the same, cookie or not (inotify_merge); one that is too many, or for
        which there is no memory, says only that there were more.
        """
        last = self._queue[-1] if self._queue else None
        if last is not None and (last.wd, last.mask, last.name) == (event.wd, event.mask, event.name):
            return
        try:
            if len(self._queue) >= MAX_QUEUED_EVENTS:
                raise LinuxError(errno.ENOSPC)
            self.keep(self._kept + event.charged)
        except LinuxError:
            event = _OVERFLOW
            if self._queue and self._queue[-1] == event:
                return
        self._queue.append(event)
        self._changed.wake_all(int(PollEvents.IN | PollEvents.RDNORM))

    def read(self, count: int) -> bytes:
        if not self._queue:
            raise WouldBlock(self._changed)
        data = b""
        while self._queue:
            packed = self._queue[0].pack()
            if len(data) + len(packed) > count:
                break
            data += packed
            self.keep(self._kept - self._queue.popleft().charged)
        if not data:
            raise LinuxError(errno.EINVAL)
        return data

    def ioctl(self, caller: Caller[Path], command: int, argument: int) -> int:
        if command != FIONREAD:
            raise LinuxError(errno.ENOTTY)
        caller.mm.write(argument, sum(len(event.pack()) for event in self._queue).to_bytes(4, "little"))
        return 0

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        return int(PollEvents.IN | PollEvents.RDNORM) if self._queue else 0, (self._changed,)

    def show_fdinfo(self) -> str:
        return "".join(
            f"inotify wd:{watch.wd:x} ino:{watch.path.inode.ino:x} sdev:{kernel_device(watch.path.inode.sb.dev):x} "
            f"mask:{watch.mask & _HAPPENS:x} ignored_mask:0 \n"
            for watch in self._watches.values()
        )
