"""File system types, which can be mounted, and superblocks, their mounted instances."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from emu.fs.dentry import Dentry
from emu.linux.errors import LinuxError
from emu.linux.fileflags import NAME_MAX, PAGE_SIZE

if TYPE_CHECKING:
    from collections import deque

    from emu.fs.inode import Inode
    from emu.fs.notify import Watch
    from emu.fs.resources import Resources
    from emu.linux.caller import Credentials
    from emu.linux.namespace import UserNamespace
    from emu.mm.kmem import Kmem


class StatFs(NamedTuple):
    """The fields of statfs(2); sizes in blocks of ``bsize`` bytes."""

    type: int
    bsize: int = PAGE_SIZE
    blocks: int = 0
    bfree: int = 0
    bavail: int = 0
    files: int = 0
    ffree: int = 0
    namelen: int = NAME_MAX


class SuperBlock:
    """One mounted instance of a file system; the subclass sets ``root``."""

    magic = 0
    #: st_blksize of its files, which is the size of a program's buffers (s_blocksize).
    blksize = PAGE_SIZE
    root: Inode
    #: To look up a name that is not there fails, even for a call that would make it: no guest makes names here.
    names_are_given = False
    #: Names are removed only by unlink, rmdir and rename, so that lookups may be cached.
    keeps_dentries = True
    #: Nothing can ever be written: it stays read-only however it is mounted again.
    never_written = False
    #: Its files can be mounted elsewhere though it is mounted nowhere (nsfs).
    bindable = False
    #: It stands for a file system on a disk: files of it can be swapped to (a_ops->bmap).
    keeps_swap = False
    #: Its inodes have flags (chattr).
    keeps_flags = False
    #: Its files can be opened by handle (s_export_op).
    exported = False
    #: Its inodes have extended attributes and access control lists, which it keeps in memory.
    keeps_xattrs = False
    #: Where they are not, those made last may be kept here nevertheless.
    recent: deque[Dentry] | None = None

    def __init__(self, resources: Resources, fstype: FileSystemType) -> None:
        self.resources = resources
        self.fstype = fstype
        self.read_only = False
        #: In which user namespace it was made.
        self.user: UserNamespace | None = None
        self.dev = resources.new_device_number()
        #: Mounts of this instance; put_super() when the last is removed.
        self.active = 0
        #: Those who watch its inodes (inotify).
        self.watches: dict[Watch, None] = {}
        #: How many names guests have made and may remove, and what these and their inodes take.
        self.names = 0
        self.charged = 0
        #: The part of that which is charged to accounts of groups.
        self.paid: Counter[Kmem] = Counter()
        self._last_ino = 0

    def hold(self, size: int, payer: Kmem | None = None) -> None:
        """Charge a name or an inode that a guest makes, perhaps to an account of his group.  LinuxError(ENOMEM)."""
        kmem = self.resources.kmem if payer is None else payer
        kmem.charge(size)
        self.charged += size
        if kmem is not self.resources.kmem:
            self.paid[kmem] += size

    def drop(self, size: int, payer: Kmem | None = None) -> None:
        """It is gone."""
        kmem = self.resources.kmem if payer is None else payer
        kmem.uncharge(size)
        self.charged -= size
        if kmem is not self.resources.kmem:
            self.paid[kmem] -= size

    def drop_all(self) -> None:
        """Nothing is left of it."""
        for kmem, size in list(self.paid.items()):
            self.drop(size, kmem)
        self.paid.clear()
        self.drop(self.charged)

    def count_xattr(self, size: int) -> None:
        """``user.`` attributes take more space, or less (a negative number), where that is limited.
        LinuxError(ENOSPC).
        """

    @property
    def tops(self) -> Iterable[Inode]:
        """The inodes from which names lead to all others that are charged here."""
        return (self.root,)

    def new_root(self) -> Dentry:
        """The directory that a mount shows."""
        return Dentry("", self.root)

    def next_ino(self) -> int:
        """A fresh inode number; the first is 1."""
        self._last_ino += 1
        return self._last_ino

    def now(self) -> int:
        """The time for an inode's timestamps, in nanoseconds since the epoch."""
        return self.resources.clock.realtime_ns()

    def statfs(self) -> StatFs:
        """Sizes for statfs(2)."""
        return StatFs(self.magic)

    def show_options(self) -> str:
        """This file system's own options as /proc/mounts shows them, each with a leading comma."""
        return ""

    def option(self, name: str) -> str | None:
        """What the mount option of this name is, whether or not it was given; None if there is no such option."""
        return None

    def remount(self, options: str) -> None:
        """Change the options that can change; EINVAL for others."""
        if options:
            raise LinuxError(errno.EINVAL, f"{self.fstype.name}: no option can change: {options}")

    def made_by(self, who: Credentials, options: str) -> None:
        """Somebody has made it by mount(2): a user namespace may own it."""
        self.user = who.user_ns

    def put_super(self) -> None:
        """The last mount is gone: free everything."""


class FileSystemType:
    """A kind of file system, registered under ``name``; every one here is ``nodev``."""

    name = ""
    #: Whether who is root only in a user namespace may mount it (FS_USERNS_MOUNT).
    for_users = False
    #: Whether inodes tell when they were made, to who asks for it (STATX_BTIME).
    has_btime = False
    #: Whether the times of change and modification are told only to who asks for one (FS_MGTIME, since Linux 6.13).
    multigrain = False

    #: The options that a superblock can have; None: that is known only when it is made.
    options: frozenset[str] | None = None

    def check_options(self, options: str) -> None:
        """LinuxError(EINVAL) for values that no instance could have."""

    def mount(self, resources: Resources, options: str) -> SuperBlock:
        """Make an instance; EINVAL for an option that it does not know."""
        raise NotImplementedError(f"file system {self.name} has no mount()")


def parse_options(options: str, known: frozenset[str]) -> dict[str, str]:
    """``a=1,b`` as a dict (a flag has the value ""); LinuxError(EINVAL) for a name outside ``known``.

    >>> parse_options("level=pmd,strict", frozenset({"level", "strict"}))
    {'level': 'pmd', 'strict': ''}
    """
    result: dict[str, str] = {}
    for word in filter(None, options.split(",")):
        name, _, value = word.partition("=")
        if name not in known:
            raise LinuxError(errno.EINVAL, f"unknown parameter '{name}'")
        result[name] = value
    return result


def parse_size(text: str) -> int:
    """``4k``, ``1G``, ``0x1000`` in bytes, as the kernel's memparse(); LinuxError(EINVAL) for anything else.

    >>> parse_size("4k"), parse_size("0x1000")
    (4096, 4096)
    """
    units = {"k": 10, "m": 20, "g": 30, "t": 40, "p": 50, "e": 60}
    shift = units.get(text[-1:].lower(), 0)
    digits = text[:-1] if shift else text
    base = 16 if digits[:2].lower() == "0x" else 8 if digits[:1] == "0" else 10
    try:
        if not (digits.isascii() and (digits.isalnum() if base == 16 else digits.isdigit())):
            raise ValueError
        return int(digits, base) << shift & (1 << 64) - 1
    except ValueError:
        raise LinuxError(errno.EINVAL, f"bad size '{text}'") from None


def parse_id(text: str) -> int:
    """The number of a user or a group.  LinuxError(EINVAL)."""
    number = parse_size(text.removeprefix("+"))
    if number >= 0xFFFF_FFFF:
        raise LinuxError(errno.EINVAL, f"bad id '{text}'")
    return number
