"""Advisory locks (fs/locks.c): record locks of fcntl(2), owned by a descriptor table or an open file, and flock(2)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple, Protocol

from emu.linux.errors import LinuxError, NoPage
from emu.linux.fileflags import MAX_FILE_SIZE
from emu.linux.wait import WaitQueue
from emu.mm.kmem import FILE_LOCK, Kmem

if TYPE_CHECKING:
    from emu.fs.fasync import FileOwner

#: The end of a lock that reaches to the end of the file, even if the file grows.
TO_EOF = MAX_FILE_SIZE + 1
#: The most record locks of one file, since they take host memory.
MAX_RECORDS = 10_000


class Lock(NamedTuple):
    """A lock on bytes [start, end). ``owner`` is an FdTable (POSIX) or a File (open file description, flock)."""

    owner: object
    exclusive: bool
    start: int
    end: int
    pid: int

    def conflicts(self, other: Lock) -> bool:
        """Whether the two locks exclude each other."""
        return (
            self.owner is not other.owner
            and (self.exclusive or other.exclusive)
            and self.start < other.end
            and other.start < self.end
        )


class Leased(Protocol):
    """An open file that can have a lease."""

    owner: FileOwner | None


class Lease:
    """A lease on an open file (``owner``), read or write (``kind``), and when it ends by itself, once it is being
    broken.
    """

    def __init__(self, owner: Leased, fd: int, kind: int, pid: int) -> None:
        self.owner = owner
        self.fd = fd
        self.kind = kind
        self.pid = pid
        #: What it is being broken to (F_RDLCK or F_UNLCK); None while nobody minds.
        self.target: int | None = None
        self.ends: int | None = None


class FileLocks:
    """The locks on one inode, charged to ``kmem``; ``changed`` is woken when one is released."""

    def __init__(self, kmem: Kmem) -> None:
        self._kmem = kmem
        self.changed = WaitQueue()
        self.records: list[Lock] = []
        self.whole: list[Lock] = []
        self.leases: list[Lease] = []

    def conflict(self, wanted: Lock) -> Lock | None:
        """The first record lock that conflicts."""
        return next((lock for lock in self.records if lock.conflicts(wanted)), None)

    def unlock(self, owner: object, start: int, end: int) -> None:
        """Take ``owner``'s locks off [start, end), splitting what reaches beyond.  LinuxError(ENOLCK)."""
        kept: list[Lock] = []
        for lock in self.records:
            if lock.owner is not owner or lock.end <= start or end <= lock.start:
                kept.append(lock)
                continue
            if lock.start < start:
                kept.append(lock._replace(end=start))
            if end < lock.end:
                kept.append(lock._replace(start=end))
        if len(kept) > max(len(self.records), MAX_RECORDS):
            raise LinuxError(errno.ENOLCK)
        self._count(len(kept) - len(self.records))
        self.records = kept
        self.changed.wake_all()

    @property
    def charged(self) -> int:
        """What the locks take on the host."""
        return FILE_LOCK * (len(self.records) + len(self.whole) + len(self.leases))

    def _count(self, more: int) -> None:
        """There will be more locks, or fewer.  LinuxError(ENOLCK) without memory for them."""
        if more <= 0:
            self._kmem.uncharge(-more * FILE_LOCK)
            return
        try:
            self._kmem.charge(more * FILE_LOCK)
        except NoPage:
            raise
        except LinuxError:
            raise LinuxError(errno.ENOLCK) from None

    def lock(self, wanted: Lock) -> None:
        """Set a lock that conflicts with none, in place of the owner's locks there; equal neighbours are joined.

        LinuxError(ENOLCK) if there are too many.
        """
        if len(self.records) >= MAX_RECORDS:
            raise LinuxError(errno.ENOLCK)
        self._count(1)
        try:
            self.unlock(wanted.owner, wanted.start, wanted.end)
        except LinuxError:
            self._count(-1)
            raise
        for lock in list(self.records):
            alike = lock.owner is wanted.owner and lock.exclusive == wanted.exclusive
            if alike and (lock.end == wanted.start or wanted.end == lock.start):
                self.records.remove(lock)
                self._count(-1)
                wanted = wanted._replace(start=min(lock.start, wanted.start), end=max(lock.end, wanted.end))
        self.records.append(wanted)
        self.records.sort(key=lambda lock: lock.start)

    def flock(self, file: object, exclusive: bool | None, pid: int = 0) -> WaitQueue | None:
        """Take (or with None give up) the lock on the whole file; returns the queue to sleep on if another lock
        conflicts.  LinuxError(ENOLCK).
        """
        wanted = Lock(file, bool(exclusive), 0, TO_EOF, pid)
        had = [lock for lock in self.whole if lock.owner is file]
        if exclusive is not None and had and had[0].exclusive == exclusive:
            return None
        # Changing the kind of a lock gives up the old one first, as on Linux.
        self.whole = [lock for lock in self.whole if lock.owner is not file]
        self._count(-len(had))
        if had:
            self.changed.wake_all()
        if exclusive is None:
            return None
        if any(lock.conflicts(wanted) for lock in self.whole):
            return self.changed
        self._count(1)
        self.whole.append(wanted)
        return None

    def add_lease(self, lease: Lease) -> None:
        """An open file gets a lease.  LinuxError(ENOLCK)."""
        self._count(1)
        self.leases.append(lease)

    def remove_lease(self, lease: Lease) -> None:
        """It gives the lease up."""
        self.leases.remove(lease)
        self._count(-1)

    def release(self, owner: object) -> None:
        """Release all locks of ``owner``: a descriptor, or the open file, was closed."""
        count = len(self.records) + len(self.whole) + len(self.leases)
        self.records = [lock for lock in self.records if lock.owner is not owner]
        self.whole = [lock for lock in self.whole if lock.owner is not owner]
        self.leases = [lease for lease in self.leases if lease.owner is not owner]
        released = count - len(self.records) - len(self.whole) - len(self.leases)
        if released:
            self._count(-released)
            self.changed.wake_all()
