"""epoll: a set of watched files, and the list of those that are ready (fs/eventpoll.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from emu.fs.anon import AnonFile
from emu.fs.file import File
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags, PollEvents, kernel_device
from emu.linux.wait import WaitQueue
from emu.linux.words import Flags
from emu.mm.kmem import EPITEM

if TYPE_CHECKING:
    from emu.fs.dentry import Path


class EpollEvents(Flags, prefix="EPOLL"):
    """EPOLL*: what to watch for, and how."""

    IN = 0x001
    PRI = 0x002
    OUT = 0x004
    ERR = 0x008
    HUP = 0x010
    RDNORM = 0x040
    RDBAND = 0x080
    WRNORM = 0x100
    WRBAND = 0x200
    MSG = 0x400
    RDHUP = 0x2000
    EXCLUSIVE = 1 << 28
    WAKEUP = 1 << 29
    ONESHOT = 1 << 30
    ET = 1 << 31


_IN, _READABLE = int(PollEvents.IN), int(PollEvents.IN | PollEvents.RDNORM)
_IN_OUT = int(PollEvents.IN | PollEvents.OUT)
#: Reported whether or not they were asked for.
_ALWAYS = int(EpollEvents.ERR | EpollEvents.HUP)
#: How to watch (EP_PRIVATE_BITS).
_PRIVATE = int(EpollEvents.WAKEUP | EpollEvents.ONESHOT | EpollEvents.ET | EpollEvents.EXCLUSIVE)
_EXCLUSIVE, _ONESHOT, _ET = int(EpollEvents.EXCLUSIVE), int(EpollEvents.ONESHOT), int(EpollEvents.ET)
_WITH_EXCLUSIVE = _IN_OUT | _ALWAYS | int(EpollEvents.WAKEUP | EpollEvents.ET | EpollEvents.EXCLUSIVE)
#: How deep sets may watch sets (EP_MAX_NESTS).
_MAX_NESTS = 4
#: How many paths of each length may lead from a file up; those of length 0 are not limited.
_PATH_LIMITS = (1000, 500, 100, 50, 10)


class Ready(NamedTuple):
    """What epoll_wait reports of a file."""

    events: int
    data: int


class Item:
    """A watched file (epitem): told of every wake of the file's queues, it goes to the list of ready ones."""

    def __init__(self, owner: EventPoll, file: File, fd: int, events: int, data: int) -> None:
        self.owner = owner
        self.file = file
        self.fd = fd
        self.events = events
        self.data = data
        self._queues: tuple[WaitQueue, ...] = ()

    def begin(self) -> int:
        """Watch from now on; the wanted events that hold already."""
        mask, self._queues = self.file.poll()
        for queue in self._queues:
            queue.watch(self, self._woken, exclusive=bool(self.events & _EXCLUSIVE))
        if self.file.watches is None:
            self.file.watches = {}
        self.file.watches[self] = None
        return mask & self.events

    def end(self) -> None:
        """Watch no more."""
        for queue in self._queues:
            queue.unwatch(self)
        if self.file.watches is not None:
            self.file.watches.pop(self, None)

    def revents(self) -> int:
        """The wanted events that hold."""
        return self.file.poll()[0] & self.events

    def file_closed(self) -> None:
        self.owner.forget(self)

    def _woken(self, events: int) -> bool:
        """A wake of one of the queues (ep_poll_callback)."""
        if not self.events & ~_PRIVATE or (events and not events & self.events):
            return False
        reached = self.owner.add_ready(self)
        if not self.events & _EXCLUSIVE:
            return True
        wanted = events & _IN_OUT
        return reached and (not wanted or (wanted != _IN_OUT and bool(wanted & self.events)))


class EventPoll(AnonFile):
    """An epoll instance."""

    def __init__(self, path: Path, flags: int) -> None:
        super().__init__(path, flags | OpenFlags.RDWR)
        self._items: dict[tuple[File, int], Item] = {}
        #: The items that may be ready, in the order in which they were found to be; as a set that keeps its order.
        self._ready: dict[Item, None] = {}
        #: Those who wait in epoll_wait, and those who poll this set itself.
        self.waiters = WaitQueue()
        self._polled = WaitQueue()

    # -- the set ---------------------------------------------------------------------------------------------------

    def add(self, file: File, fd: int, events: int, data: int) -> None:
        """EPOLL_CTL_ADD.  LinuxError(EEXIST), (ELOOP), (ENOSPC), (ENOMEM), (EINVAL)."""
        nested = isinstance(file, EventPoll)
        if events & _EXCLUSIVE and (nested or events & ~_WITH_EXCLUSIVE):
            raise LinuxError(errno.EINVAL)
        if isinstance(file, EventPoll) and _too_deep(self, file):
            raise LinuxError(errno.ELOOP)
        if (file, fd) in self._items:
            raise LinuxError(errno.EEXIST)
        resources = self.inode.sb.resources
        if resources.epoll_watches >= resources.max_epoll_watches:
            raise LinuxError(errno.ENOSPC)
        self.keep(self._kept + EPITEM)
        resources.epoll_watches += 1
        item = self._items[file, fd] = Item(self, file, fd, events | _ALWAYS, data)
        ready = item.begin()
        if (nested or self.watches) and any(map(_too_many_paths, _leaves(file))):
            self.forget(item)
            raise LinuxError(errno.EINVAL)
        if ready:
            self.add_ready(item)

    def target(self, fd: int, nth: int) -> File:
        """The ``nth`` file that was added as this descriptor (get_epoll_tfile_raw_ptr).  LinuxError(ENOENT)."""
        found = [file for file, number in self._items if number == fd]
        if nth >= len(found):
            raise LinuxError(errno.ENOENT)
        return found[nth]

    def modify(self, file: File, fd: int, events: int, data: int) -> None:
        """EPOLL_CTL_MOD.  LinuxError(ENOENT), (EINVAL)."""
        if events & _EXCLUSIVE:
            raise LinuxError(errno.EINVAL)
        item = self._items.get((file, fd))
        if item is None:
            raise LinuxError(errno.ENOENT)
        if item.events & _EXCLUSIVE:
            raise LinuxError(errno.EINVAL)
        item.events, item.data = events | _ALWAYS, data
        if item.revents():
            self.add_ready(item)

    def remove(self, file: File, fd: int) -> None:
        """EPOLL_CTL_DEL.  LinuxError(ENOENT)."""
        item = self._items.get((file, fd))
        if item is None:
            raise LinuxError(errno.ENOENT)
        self.forget(item)

    def forget(self, item: Item) -> None:
        """An item leaves the set."""
        item.end()
        del self._items[item.file, item.fd]
        self._ready.pop(item, None)
        self.inode.sb.resources.epoll_watches -= 1
        self.keep(self._kept - EPITEM)

    def release(self) -> None:
        for item in list(self._items.values()):
            self.forget(item)

    @property
    def files(self) -> list[File]:
        """What it watches."""
        return [item.file for item in self._items.values()]

    # -- what is ready ---------------------------------------------------------------------------------------------

    def add_ready(self, item: Item) -> bool:
        """An item may be ready; whether somebody waited for that."""
        self._ready[item] = None
        reached = len(self.waiters) > 0
        self.waiters.wake_one()
        self._polled.wake_all(_IN)
        return reached

    def take_ready(self, most: int) -> list[tuple[Item, Ready]]:
        """At most ``most`` items that are ready; they leave the list, and so do those that are not ready any more."""
        taken: list[tuple[Item, Ready]] = []
        for item in list(self._ready):
            if len(taken) == most:
                break
            del self._ready[item]
            revents = item.revents()
            if revents:
                taken.append((item, Ready(revents, item.data)))
        return taken

    def sent(self, taken: list[tuple[Item, Ready]], stored: int) -> None:
        """The first ``stored`` of those have been reported (ep_send_events): what is level-triggered goes to the end of
        the list again, what is one-shot sleeps, and the others go back to the front.
        """
        back = [item for item, _ in taken[stored:]]
        self._ready = dict.fromkeys([*back, *self._ready])
        for item, _ in taken[:stored]:
            if item.events & _ONESHOT:
                item.events &= _PRIVATE
            elif not item.events & _ET:
                self._ready[item] = None
        if self._ready:
            self.waiters.wake_one()

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        for item in list(self._ready):
            if item.revents():
                return _READABLE, (self._polled,)
            del self._ready[item]
        return 0, (self._polled,)

    def ioctl(self, caller: object, command: int, argument: int) -> int:
        raise LinuxError(errno.EINVAL)

    def show_fdinfo(self) -> str:
        return "".join(
            f"tfd: {item.fd:8d} events: {item.events:8x} data: {item.data:16x}  pos:{item.file.pos} "
            f"ino:{item.file.inode.ino:x} sdev:{kernel_device(item.file.inode.sb.dev):x}\n"
            for item in self._items.values()
        )


# Sets that watch sets: bounded in depth and, so that one wake does not run along too many paths, in number


def _owners(file: File) -> list[EventPoll]:
    """The sets that watch a file."""
    return [watch.owner for watch in file.watches or () if isinstance(watch, Item)]


def _too_deep(outer: EventPoll, inner: EventPoll) -> bool:
    """Whether ``inner`` watches ``outer``, or sets would watch sets too deep (ep_loop_check)."""
    below = _depth_below(inner, outer, 0, {})
    return outer is inner or below + 1 + _depth_above(outer, 0, {}) > _MAX_NESTS


def _depth_below(poll: EventPoll, outer: EventPoll, depth: int, known: dict[EventPoll, int]) -> int:
    if poll in known:
        return known[poll]
    known[poll] = result = 0
    for inner in poll.files:
        if isinstance(inner, EventPoll):
            if inner is outer or depth > _MAX_NESTS:
                result = _MAX_NESTS + 1
                break
            result = max(result, _depth_below(inner, outer, depth + 1, known) + 1)
    known[poll] = result
    return result


def _depth_above(poll: EventPoll, depth: int, known: dict[EventPoll, int]) -> int:
    if depth > _MAX_NESTS:
        return 0
    if poll not in known:
        known[poll] = 0
        known[poll] = max((_depth_above(outer, depth + 1, known) + 1 for outer in _owners(poll)), default=0)
    return known[poll]


def _leaves(file: File) -> dict[File, None]:
    """The files at the ends of what a file watches: itself, if it is no set."""
    found: dict[File, None] = {}
    seen: set[File] = set()
    pending = [file]
    while pending:
        file = pending.pop()
        if not isinstance(file, EventPoll):
            found[file] = None
        elif file not in seen:
            seen.add(file)
            pending += file.files
    return found


def _too_many_paths(file: File) -> bool:
    """Whether too many paths lead from a file up to sets that nobody watches (reverse_path_check)."""
    counts = [0] * (_MAX_NESTS + 1)

    def climb(file: File, depth: int) -> bool:
        if depth > _MAX_NESTS:
            return True
        for owner in _owners(file):
            if owner.watches:
                if climb(owner, depth + 1):
                    return True
            else:
                counts[depth] += 1
                if depth and counts[depth] > _PATH_LIMITS[depth]:
                    return True
        return False

    return climb(file, 0)
