"""Caller: the maker of a system call, as far as files and rights are concerned.  The kernel's tasks are callers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from emu.linux.stop import Stop

#: The type of a place in the tree of files, which the VFS decides.
Place = TypeVar("Place")


#: Every capability that there is: cap_last_cap is 40.
ALL_CAPABILITIES = (1 << 41) - 1


@dataclass
class Credentials:
    """Real, effective and saved ids; the effective ones decide, for files too.

    User 0 may do everything; the sets of capabilities are what capset(2) made of them, and decide nothing.
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
    """Whether a task may look into another's memory (__ptrace_may_access): it is the same task, or root, or all ids of
    the user agree.
    """
    who, whose = caller.credentials, target.credentials
    if caller.tgid == target.tgid or who.euid == 0:
        return True
    users = {who.euid, whose.uid, whose.euid, whose.suid}
    groups = {who.egid, whose.gid, whose.egid, whose.sgid}
    return len(users) == len(groups) == 1
