"""Mounts: the places of file system instances in the tree."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import TYPE_CHECKING

from emu.fs.dentry import Dentry, Path
from emu.linux.errors import LinuxError
from emu.linux.fileflags import MountFlags
from emu.mm.kmem import MOUNT

if TYPE_CHECKING:
    from emu.fs.superblock import SuperBlock

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


class Propagation(Enum):
    """What becomes elsewhere of what is mounted inside a mount.  It is kept and shown; there is one namespace."""

    PRIVATE = "private"
    SHARED = "shared"
    SLAVE = "slave"
    UNBINDABLE = "unbindable"


class VfsMount:
    """A superblock at a place: ``parent``/``mountpoint`` (both None for the root and for internal mounts)."""

    def __init__(self, sb: SuperBlock, source: str, flags: int, at: Path | None, root: Dentry | None = None) -> None:
        """``root``: the directory or file that a bind mount shows, instead of all."""
        self.sb = sb
        self.source = source
        self.flags = MountFlags(flags & KEPT)
        self.root = Dentry("", sb.root) if root is None else root
        self.propagation = Propagation.PRIVATE
        #: The number of its peer group, or that of its master's.
        self.group = 0
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
        parts = []
        dentry = self.root
        while dentry.parent is not dentry:
            parts.append(dentry.name)
            dentry = dentry.parent
        return "/" + "/".join(reversed(parts)) + ("//deleted" if self.root.deleted else "")

    @property
    def propagation_words(self) -> str:
        """The optional fields of mountinfo."""
        words = {Propagation.SHARED: f"shared:{self.group} ", Propagation.SLAVE: f"master:{self.group} "}
        return words.get(self.propagation, "unbindable " if self.propagation is Propagation.UNBINDABLE else "")

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
        self.sb.active -= 1
        self.sb.drop(MOUNT)
        if not self.sb.active:  # and nothing is open
            for watch in list(self.sb.watches):
                watch.unmounted()
            self.sb.put_super()
            self.sb.resources.names -= self.sb.names
            self.sb.names = 0
            self.sb.drop(self.sb.charged)


class MountTable:
    """All mounts of the tree, in order of creation."""

    def __init__(self) -> None:
        self._at: dict[tuple[VfsMount, Dentry], VfsMount] = {}
        self._all: list[VfsMount] = []
        self._last_id = self._last_group = 0

    def __iter__(self) -> Iterator[VfsMount]:
        return iter(self._all)

    def every(self) -> Iterable[VfsMount]:
        """Those of all namespaces."""
        return self._all

    def new_group(self) -> int:
        """A number for a group of peers."""
        self._last_group += 1
        return self._last_group

    def add(self, mount: VfsMount) -> None:
        """Hang ``mount`` at its place (``mount.at``)."""
        self.count(mount)
        if mount.at is not None:
            self._at[mount.at] = mount
        self._all.append(mount)

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
        self._all.remove(mount)

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

    def children(self, mount: VfsMount) -> list[VfsMount]:
        """Mounts directly inside ``mount``."""
        return [other for other in self._all if other.at is not None and other.at.mount is mount]
