"""Caller: the maker of a system call, as far as files and rights are concerned.  The kernel's tasks are callers."""

from __future__ import annotations

import errno
from typing import Any, Generic, Protocol, TypeVar

from emu.linux.capability import ALL_CAPABILITIES, FOWNER, SYS_PTRACE
from emu.linux.errors import LinuxError
from emu.linux.namespace import NO_ID, OVERFLOW_ID, UserNamespace, rights_in
from emu.linux.stop import Stop
from mmu.record import record

#: The type of a place in the tree of files, which the VFS decides.
Place = TypeVar("Place")


#: Rights to an open file that a sandbox may not give (LANDLOCK_ACCESS_FS_*), and what it may have out of its reach
#: (LANDLOCK_SCOPE_*).
MAY_TRUNCATE, MAY_IOCTL_DEV = 1 << 14, 1 << 15
SCOPE_ABSTRACT_UNIX_SOCKET, SCOPE_SIGNAL = 1, 2


class Sandbox(Protocol):
    """What somebody has given up (emu.fs.landlock); places and inodes are those of the VFS."""

    def check_open(self, place: Any, flags: int, *, execute: bool = False, is_file: bool = False) -> int:
        """Whether a file may be opened so; the rights that it then does not have.  LinuxError(EACCES)."""

    def check_make(self, parent: Any, mode: int) -> None:
        """Whether something of this kind may be made in a directory.  LinuxError(EACCES)."""

    def check_remove(self, parent: Any, *, directory: bool) -> None:
        """Whether a file, or a directory, may be removed from a directory.  LinuxError(EACCES)."""

    def check_truncate(self, place: Any) -> None:
        """Whether a file may be truncated by its name.  LinuxError(EACCES)."""

    def check_refer(
        self, old: Any, source: Any, new: Any, target: Any, *, removes: bool, exchange: bool = False
    ) -> None:  # fmt: skip
        """Whether something may be linked, or moved, from one directory to another.  LinuxError(EACCES), (EXDEV)."""

    def check_topology(self) -> None:
        """Whether it may be changed what is mounted.  LinuxError(EPERM)."""

    def encloses(self, other: object) -> bool:
        """Whether another sandbox is this one, or has been made in it."""

    def is_scoped(self, other: object, scope: int) -> bool:
        """Whether something of another sandbox is out of its reach."""


@record(eq=False, repr=False)
class Credentials:
    """Real, effective and saved ids, those for files, and capabilities, of which the effective ones decide
    (struct cred).  Ids are the machine's; what the user namespace shows them as, its maps say.

    A user who is not 0 begins without capabilities.
    """

    uid: int = 0
    gid: int = 0
    euid: int = 0
    egid: int = 0
    groups: tuple[int, ...] = ()
    suid: int = 0
    sgid: int = 0
    effective: int = ALL_CAPABILITIES
    permitted: int = ALL_CAPABILITIES
    inheritable: int = 0
    bounding: int = ALL_CAPABILITIES
    ambient: int = 0
    securebits: int = 0
    #: execve(2) grants nothing any more (PR_SET_NO_NEW_PRIVS).
    no_new_privs: bool = False
    #: -1: the effective ones.
    fsuid: int = -1
    fsgid: int = -1
    #: In which the capabilities count; None: the initial one.
    user_ns: UserNamespace | None = None
    #: What its landlock domain forbids.
    landlock: Sandbox | None = None

    def __post_init__(self) -> None:
        if self.fsuid < 0:
            self.fsuid = self.euid
        if self.fsgid < 0:
            self.fsgid = self.egid
        if self.euid:
            self.effective = 0
            if self.uid and self.suid:
                self.permitted = 0

    def __copy__(self) -> Credentials:
        """Each fork and each execve makes a copy: a tenth of what copy.copy() would take."""
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        return copied

    def capable(self, capability: int) -> bool:
        """Whether a capability is among the effective ones, and counts for the whole machine."""
        return self.user_ns is None and bool(self.effective >> capability & 1)

    def capable_here(self, capability: int) -> bool:
        """Whether it is among the effective ones, wherever these count."""
        return bool(self.effective >> capability & 1)

    def capable_in(self, capability: int, ns: UserNamespace | None) -> bool:
        """Whether it counts in a user namespace (ns_capable)."""
        if ns is self.user_ns:
            return bool(self.effective >> capability & 1)
        return bool(rights_in(self.effective, self.user_ns, self.euid, ns) >> capability & 1)

    def capable_over(self, capability: int, uid: int, gid: int) -> bool:
        """Whether it counts for files of this owner and group (capable_wrt_inode_uidgid)."""
        if not self.effective >> capability & 1:
            return False
        return self.user_ns is None or (self.up("uid", uid) is not None and self.up("gid", gid) is not None)

    def owns(self, uid: int) -> bool:
        """Whether files of a user may be treated as one's own (inode_owner_or_capable)."""
        return self.fsuid == uid or (bool(self.effective >> FOWNER & 1) and self.up("uid", uid) is not None)

    @property
    def root(self) -> int | None:
        """The user who is 0 here."""
        return 0 if self.user_ns is None else self.user_ns.maps["uid"].down(0)

    def up(self, kind: str, number: int) -> int | None:
        """What an id ("uid", "gid") of the machine is here (from_kuid); None if there is none."""
        return number if self.user_ns is None else self.user_ns.maps[kind].up(number)

    def down(self, kind: str, number: int) -> int:
        """The machine's id for one that is given here (make_kuid), -1 being itself.  LinuxError(EINVAL): none."""
        if self.user_ns is None or number == NO_ID:
            return number
        found = self.user_ns.maps[kind].down(number)
        if found is None:
            raise LinuxError(errno.EINVAL)
        return found

    def shown(self, kind: str, number: int) -> int:
        """What an id of the machine is shown as here (from_kuid_munged)."""
        if self.user_ns is None:
            return number
        found = self.user_ns.maps[kind].up(number)
        return OVERFLOW_ID if found is None else found

    def in_group(self, gid: int) -> bool:
        """Whether it belongs to a group, as far as files are concerned."""
        return gid == self.fsgid or gid in self.groups


class FsContext(Generic[Place]):
    """Root, working directory and umask (fs_struct); shared with CLONE_FS, else copied."""

    def __init__(self, root: Place, cwd: Place, umask: int = 0o022) -> None:
        self.root = root
        self.cwd = cwd
        self.umask = umask

    def copy(self) -> FsContext[Place]:
        """fork: a context of its own."""
        return FsContext(self.root, self.cwd, self.umask)


class UserMemory(Protocol):
    """The memory of a process, as the kernel reaches it; LinuxError(EFAULT) where nothing is mapped."""

    #: Whether others of the same user may look into it (PR_SET_DUMPABLE): 1 if they may.
    dumpable: int

    @property
    def stop(self) -> Stop:
        """Looked at where much is read or written."""

    def read(self, address: int, length: int) -> bytes:
        """Read ``length`` bytes."""

    def write(self, address: int, data: bytes) -> None:
        """Store ``data``."""

    def read_cstring(self, address: int, limit: int) -> bytes:
        """Read a string, without its NUL; LinuxError(ENAMETOOLONG) if there is none within ``limit`` bytes."""


class Caller(Protocol[Place]):
    """A thread: its number, its process's number, its rights, its memory, and its root and working directory."""

    @property
    def pid(self) -> int:
        """Its own number (gettid)."""

    @property
    def tgid(self) -> int:
        """The number of its process (getpid)."""

    def sees(self, pid: int) -> int:
        """The number of what has the machine's ``pid`` in its PID namespace; 0: it is not there."""

    def means(self, pid: int) -> int:
        """The machine's number for one that it gives; of a group (a negative one) likewise."""

    @property
    def credentials(self) -> Credentials:
        """The ids that decide its rights."""

    @property
    def mm(self) -> UserMemory:
        """The memory that addresses among its arguments refer to."""

    @property
    def fs(self) -> FsContext[Place]:
        """Its root, working directory and umask."""


def may_access(caller: Caller[Place], target: Caller[Place]) -> bool:
    """Whether a task may look into another's memory (__ptrace_may_access): it is the same process, or may look into any
    (CAP_SYS_PTRACE), or all ids of the user agree, and the memory may be dumped.
    """
    who, whose = caller.credentials, target.credentials
    if caller.tgid == target.tgid:
        return True
    if who.landlock is not None and not who.landlock.encloses(whose.landlock):
        return False
    if who.capable_in(SYS_PTRACE, whose.user_ns):
        return True
    if who.user_ns is not whose.user_ns:
        return False
    users = {who.uid, whose.uid, whose.euid, whose.suid}
    groups = {who.gid, whose.gid, whose.egid, whose.sgid}
    return len(users) == len(groups) == 1 and target.mm.dumpable == 1 and not whose.permitted & ~who.permitted
