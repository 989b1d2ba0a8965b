"""Mounts: the places of file system instances in the tree."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping
from itertools import count
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from emu.fs.dentry import Dentry, Path
from emu.linux.errors import LinuxError
from emu.linux.fileflags import MountFlags
from emu.linux.namespace import Namespace, UserNamespace
from emu.mm.kmem import MOUNT

if TYPE_CHECKING:
    from emu.fs.superblock import SuperBlock
    from emu.linux.caller import FsContext

#: fs.mount-max, which is 100,000 on Linux.
MAX_MOUNTS = 10_000
#: Flags that a mount keeps.
KEPT = (
    MountFlags.RDONLY
    | MountFlags.NOSUID
    | MountFlags.NODEV
    | MountFlags.NOEXEC
    | MountFlags.NOATIME
    | MountFlags.NODIRATIME
    | MountFlags.STRICTATIME
    | MountFlags.NOSYMFOLLOW
)


class MountNamespace(Namespace):
    """A tree of mounts; ``end`` takes it down."""

    #: The mount at its top.
    root: VfsMount

    def __init__(self, end: Callable[[MountNamespace], None], user: UserNamespace | None = None) -> None:
        super().__init__("mnt", user)
        self._end = end
        #: The mounts of which those of a new tree are copies, until the places of its first task are among these.
        self.copies: dict[VfsMount, VfsMount] = {}

    def adopt(self, fs: FsContext[Path]) -> None:
        """A task comes into a new tree: its places are those in the copies."""
        copies, self.copies = self.copies, {}
        fs.root = Path(copies.get(fs.root.mount, fs.root.mount), fs.root.dentry)
        fs.cwd = Path(copies.get(fs.cwd.mount, fs.cwd.mount), fs.cwd.dentry)

    def release(self) -> None:
        self._end(self)


class VfsMount:
    """A superblock at a place: ``parent``/``mountpoint`` (both None for the root and for internal mounts)."""

    def __init__(self, sb: SuperBlock, source: str, flags: int, at: Path | None, root: Dentry | None = None) -> None:
        """``root``: the directory or file that a bind mount shows, instead of all."""
        self.sb = sb
        self.source = source
        self.flags = MountFlags(flags & KEPT)
        self.root = sb.new_root() if root is None else root
        #: The numbers of its group of peers and of its master's, 0 without: what is mounted inside appears in the peers
        #: of both, and in slaves of the first.
        self.group = self.master = 0
        #: Nothing of it can be mounted elsewhere.
        self.unbindable = False
        #: In whose tree it is; None: in none.
        self.ns: MountNamespace | None = None
        #: It cannot be taken away alone, and flags of it that cannot be cleared, as another user namespace has set it.
        self.locked = False
        self.locked_flags = MountFlags(0)
        #: Of the kernel itself (pipes, sockets).
        self.internal = False
        #: Open files that can write here.
        self.writers = 0
        #: MNT_EXPIRE has been asked for, and nobody has used it since.
        self.expiring = False
        self.at = at
        self.id = 0
        #: The number that no other mount ever has (mnt_id_unique).
        self.unique_id = 0
        #: Open files on this mount.
        self.pins = 0
        #: Of a tree that is in no place yet: the other mounts of it, each at its place in this one.
        self.pending: list[VfsMount] | None = None
        #: Unmounted with MNT_DETACH, or not mounted yet; the superblock is freed with the last open file.
        self.detached = False

    @property
    def root_name(self) -> str:
        """What part of its file system it shows, as a path there."""
        if self.root.label is not None:
            return self.root.label
        parts = []
        dentry = self.root
        while dentry.parent is not dentry:
            parts.append(dentry.name)
            dentry = dentry.parent
        return "/" + "/".join(reversed(parts)) + ("//deleted" if self.root.deleted else "")

    @property
    def propagation_words(self) -> str:
        """The optional fields of mountinfo, but for who dominates."""
        shared = f"shared:{self.group} " if self.group else ""
        return shared + (f"master:{self.master} " if self.master else "") + ("unbindable " if self.unbindable else "")

    @property
    def read_only(self) -> bool:
        """Whether writes fail with EROFS."""
        return bool(self.flags & MountFlags.RDONLY) or self.sb.read_only

    @property
    def root_path(self) -> Path:
        """The root directory of this mount."""
        return Path(self, self.root)

    def want_write(self) -> None:
        """EROFS on a read-only mount."""
        if self.read_only:
            raise LinuxError(errno.EROFS)

    def options(self) -> str:
        """The fourth column of /proc/mounts."""
        return self.flag_words() + self.sb.show_options()

    def flag_words(self) -> str:
        """The options of the mount itself."""
        words = ["ro" if self.read_only else "rw"]
        names = (
            (MountFlags.NOSUID, "nosuid"),
            (MountFlags.NODEV, "nodev"),
            (MountFlags.NOEXEC, "noexec"),
            (MountFlags.NOATIME, "noatime"),
            (MountFlags.NODIRATIME, "nodiratime"),
        )
        words += [word for flag, word in names if self.flags & flag]
        if not self.flags & (MountFlags.NOATIME | MountFlags.STRICTATIME):
            words.append("relatime")
        if self.flags & MountFlags.NOSYMFOLLOW:
            words.append("nosymfollow")
        return ",".join(words)

    def unpin(self) -> None:
        """An open file has been closed."""
        self.pins -= 1
        self.expiring = False
        if self.detached and not self.pins:
            self.release()

    def release(self) -> None:
        """The mount has been removed."""
        pending, self.pending = self.pending, None
        for mount in pending or ():
            mount.release()
        self.group = self.master = 0
        self.sb.active -= 1
        self.sb.drop(MOUNT)
        if not self.sb.active:  # and nothing is open
            for watch in list(self.sb.watches):
                watch.unmounted()
            self.sb.put_super()
            self.sb.resources.names -= self.sb.names
            self.sb.names = 0
            self.sb.drop_all()


class MountNumber:
    """How many mounts namespaces will have with those that are about to be made (count_mounts)."""

    def __init__(self, table: MountTable) -> None:
        self._table = table
        self._numbers: dict[MountNamespace, int] = {}

    def add(self, more: int, ns: MountNamespace) -> None:
        """LinuxError(ENOSPC) if there would be too many in a namespace."""
        number = self._numbers.get(ns)
        number = (len(self._table.of(ns)) if number is None else number) + more
        if number > MAX_MOUNTS:
            raise LinuxError(errno.ENOSPC)
        self._numbers[ns] = number


class MountTable:
    """All mounts that are in trees, in order of creation."""

    def __init__(self) -> None:
        self._at: dict[tuple[VfsMount, Dentry], VfsMount] = {}
        self._all: dict[VfsMount, None] = {}
        #: Those that exist and are in no tree (open_tree, fsmount).
        self.loose: MutableMapping[VfsMount, None] = WeakKeyDictionary()
        #: Those of the kernel itself, by the names of their types.
        self.internal: dict[str, VfsMount] = {}
        self._last_id = 0
        #: Numbers of groups that nobody has, while mounts of new groups are yet to come.
        self._free: Iterator[int] | None = None

    def __iter__(self) -> Iterator[VfsMount]:
        return iter(self._all)

    def of(self, ns: MountNamespace) -> list[VfsMount]:
        """Those of a namespace."""
        return [mount for mount in self._all if mount.ns is ns]

    def everything(self) -> list[VfsMount]:
        """Those that are in no tree too."""
        return [*self._all, *self.loose]

    def tree(self, top: VfsMount) -> list[VfsMount]:
        """A mount and those inside it, each after the one that it is in."""
        inside: dict[VfsMount, list[VfsMount]] = {}
        for mount in self._all:
            if mount.at is not None:
                inside.setdefault(mount.at.mount, []).append(mount)
        found, pending = [], [top]
        while pending:
            mount = pending.pop()
            found.append(mount)
            pending += reversed(inside.get(mount, ()))
        return found

    def mounted_on(self, path: Path) -> VfsMount | None:
        """What is mounted right there."""
        return self._at.get(path)

    def check_number(self, more: int, ns: MountNamespace) -> None:
        """LinuxError(ENOSPC) if there would be too many mounts in a namespace."""
        self.number().add(more, ns)

    def number(self) -> MountNumber:
        """How many mounts there are, for some that are about to be made."""
        return MountNumber(self)

    def new_group(self) -> int:
        """A number for a group of peers, the lowest that none has."""
        if self._free is None:
            used = {mount.group for mount in self.everything()}
            self._free = (number for number in count(1) if number not in used)
        return next(self._free)

    def settle(self) -> None:
        """All mounts that have a number of a group are there."""
        self._free = None

    def add(self, mount: VfsMount) -> None:
        """Hang ``mount`` at its place (``mount.at``)."""
        self.count(mount)
        if mount.at is not None:
            self._at[mount.at] = mount
        self.loose.pop(mount, None)
        self._all[mount] = None

    def count(self, mount: VfsMount) -> None:
        """A mount exists from now on, in the tree or not; once."""
        if mount.id:
            return
        mount.sb.hold(MOUNT)
        self._last_id += 1
        mount.id = self._last_id
        mount.unique_id = (1 << 31) + self._last_id
        mount.sb.active += 1

    def rehang(self, mount: VfsMount, at: Path | None) -> None:
        """Move a mount to another place; None: it is the top."""
        if mount.at is not None and self._at.get(mount.at) is mount:
            del self._at[mount.at]
        mount.at = at
        if at is not None:
            self._at[at] = mount

    def remove(self, mount: VfsMount) -> None:
        """Take ``mount`` out of the tree; its superblock stays."""
        if mount.at is not None:
            del self._at[mount.at]
        del self._all[mount]
        mount.ns = None

    def cross(self, path: Path) -> Path:
        """Go down to the root of the mount on ``path``, if there is one."""
        at = self._at
        while (mount := at.get(path)) is not None:
            path = mount.root_path
        return path

    def up(self, path: Path) -> Path:
        """Go up from the root of a mount to the place that it covers, as often as possible."""
        while path.dentry is path.mount.root and path.mount.at is not None:
            path = path.mount.at
        return path

    def is_mountpoint(self, dentry: Dentry) -> bool:
        """Whether something is mounted on ``dentry`` in any mount."""
        return any(mount.at is not None and mount.at.dentry is dentry for mount in self._all)

    def numbers_of_children(self) -> Counter[VfsMount]:
        """How many mounts are directly inside each, and not at its root."""
        places = [mount.at for mount in self._all if mount.at is not None]
        return Counter(place.mount for place in places if place.dentry is not place.mount.root)

    def children(self, mount: VfsMount) -> list[VfsMount]:
        """Mounts directly inside ``mount``."""
        return [other for other in self._all if other.at is not None and other.at.mount is mount]
