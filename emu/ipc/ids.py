"""The identifiers of System V objects, their keys, and who may use them (ipc/util.c)."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from emu.linux.caller import Caller, Credentials
from emu.linux.capability import IPC_OWNER, SYS_ADMIN
from emu.linux.errors import LinuxError
from emu.linux.layout import Layout
from emu.linux.namespace import UserNamespace
from emu.mm.kmem import FILP, INODE, IPC_OBJECT, Kmem

IPC_PRIVATE = 0
IPC_CREAT, IPC_EXCL, IPC_NOWAIT = 0o1000, 0o2000, 0o4000
IPC_RMID, IPC_SET, IPC_STAT, IPC_INFO = 0, 1, 2, 3
#: An identifier is a sequence number and, in its low 15 bits, an index (ipcmni_seq_shift).
_INDEX_BITS = 15
_INDEX_MASK = (1 << _INDEX_BITS) - 1
#: Indices are not used again before so many others were (ipc_min_cycle).
_LEAST_CYCLE = 64
_PERMISSIONS = 0o777
#: struct ipc64_perm: key, uid, gid, cuid, cgid, mode, seq, and unused words.
PERM = "iIIIIIHH4xQQ"

AnyCaller = Caller[Any]


def ipc_layout(name: str, rest: str) -> Layout:
    """A structure that begins with a struct ipc64_perm."""
    return Layout(name, PERM + rest)


class IpcObject:
    """A System V object: its key, its owner and creator, its permissions (struct kern_ipc_perm)."""

    #: In which user namespace capabilities count for it.
    user: UserNamespace | None = None

    def __init__(self, key: int, mode: int, caller: AnyCaller) -> None:
        who = caller.credentials
        #: What it takes on the host.
        self.charged = IPC_OBJECT
        self.key = key
        self.uid = self.cuid = who.euid
        self.gid = self.cgid = who.egid
        self.mode = mode & _PERMISSIONS
        #: Set by :class:`Ids`.
        self.id = self.seq = -1
        #: IPC_RMID: who holds it still is told EIDRM.
        self.deleted = False

    def perm(self) -> tuple[int, ...]:
        """Its struct ipc64_perm."""
        return (self.key, self.uid, self.gid, self.cuid, self.cgid, self.mode, self.seq, 0, 0, 0)

    def allows(self, caller: AnyCaller, wanted: int) -> bool:
        """Whether the caller has the permissions of ``wanted``, whose three groups of bits all count (ipcperms)."""
        who = caller.credentials
        wanted |= wanted >> 3 | wanted >> 6
        granted = self.mode
        if who.euid in (self.uid, self.cuid):
            granted >>= 6
        elif {self.gid, self.cgid} & {who.egid, *who.groups}:
            granted >>= 3
        return not wanted & ~granted & 7 or who.capable_in(IPC_OWNER, self.user)

    def check(self, caller: AnyCaller, wanted: int) -> None:
        """LinuxError(EACCES) without these permissions."""
        if not self.allows(caller, wanted):
            raise LinuxError(errno.EACCES)

    def check_owner(self, caller: AnyCaller) -> None:
        """LinuxError(EPERM) for whoever is neither its owner nor its creator (ipcctl_obtain_check)."""
        who = caller.credentials
        if who.euid not in (self.uid, self.cuid) and not who.capable_in(SYS_ADMIN, self.user):
            raise LinuxError(errno.EPERM)

    def set_perm(self, who: Credentials, uid: int, gid: int, mode: int) -> None:
        """IPC_SET.  LinuxError(EINVAL) for a user or group that cannot be."""
        if 0xFFFF_FFFF in (uid, gid):
            raise LinuxError(errno.EINVAL)
        self.uid, self.gid = who.down("uid", uid), who.down("gid", gid)
        self.mode = self.mode & ~_PERMISSIONS | mode & _PERMISSIONS


T = TypeVar("T", bound=IpcObject)


class Ids(Generic[T]):
    """All objects of one kind, at most ``most``, charged to ``kmem``."""

    user: UserNamespace | None = None

    def __init__(self, most: int, kmem: Kmem) -> None:
        self.most = most
        self.kmem = kmem
        self._objects: dict[int, T] = {}
        self._keys: dict[int, T] = {}
        self._seq = 0
        self._last = -1
        self._next = 0

    def __iter__(self) -> Iterator[T]:
        return iter([self._objects[index] for index in sorted(self._objects)])

    def __len__(self) -> int:
        return len(self._objects)

    @property
    def highest(self) -> int:
        """The highest index in use, -1 without any (ipc_get_maxidx)."""
        return max(self._objects, default=-1)

    def get(self, key: int, flags: int, caller: AnyCaller, make: Callable[[], T], suits: Callable[[T], object]) -> int:
        """The identifier of the object with a key, which ``make`` makes if need be (ipcget).

        ``suits`` raises LinuxError if the object that is there is not what the caller wants.  LinuxError(ENOMEM).
        """
        found = self._keys.get(key) if key != IPC_PRIVATE else None
        if found is None:
            if key != IPC_PRIVATE and not flags & IPC_CREAT:
                raise LinuxError(errno.ENOENT)
            if len(self._objects) >= self.most:
                raise LinuxError(errno.ENOSPC)
            self.kmem.reserve(IPC_OBJECT + INODE + FILP)
            return self._add(make())
        if flags & IPC_CREAT and flags & IPC_EXCL:
            raise LinuxError(errno.EEXIST)
        suits(found)
        found.check(caller, flags)
        return found.id

    def _add(self, new: T) -> int:
        """ipc_idr_alloc(): indices go round, so that an identifier does not soon mean another object."""
        self.kmem.charge_reserved(new.charged)
        new.user = self.user
        limit = min(max(len(self._objects) * 3 // 2, _LEAST_CYCLE), self.most)
        index = next((i for i in range(self._next, limit) if i not in self._objects), None)
        if index is None:
            index = next(i for i in range(limit + 1) if i not in self._objects)
        if index <= self._last:
            self._seq += 1
        self._last, self._next = index, index + 1
        new.seq = self._seq & 0xFFFF
        new.id = new.seq << _INDEX_BITS & 0x7FFF_FFFF | index
        self._objects[index] = new
        if new.key != IPC_PRIVATE:
            self._keys[new.key] = new
        return new.id

    def find(self, ident: int) -> T:
        """The object of an identifier.  LinuxError(EINVAL), of an older object at the same index too."""
        found = self.at_index(ident)
        if found.id != ident:
            raise LinuxError(errno.EINVAL)
        return found

    def at_index(self, ident: int) -> T:
        """The object of an index (SHM_STAT and its like).  LinuxError(EINVAL)."""
        found = self._objects.get(ident & _INDEX_MASK) if ident >= 0 else None
        if found is None:
            raise LinuxError(errno.EINVAL)
        return found

    def charge(self, which: T, more: int) -> None:
        """An object takes more, or less (a negative number).  LinuxError(ENOMEM)."""
        self.kmem.charge(more)
        which.charged += more

    def hide(self, which: T) -> None:
        """Nobody finds the object by its key any more."""
        if which.key != IPC_PRIVATE:
            del self._keys[which.key]
            which.key = IPC_PRIVATE

    def remove(self, which: T) -> None:
        """The object is gone."""
        self.hide(which)
        self.kmem.uncharge(which.charged)
        del self._objects[which.id & _INDEX_MASK]
        which.deleted = True
