"""Dentries: the names under which inodes are reached, and Path, a dentry seen through a mount."""

from __future__ import annotations

import errno
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakValueDictionary

from emu.fs.notify import EXCL_UNLINK, ISDIR
from emu.linux.errors import LinuxError
from emu.linux.fileflags import NAME_MAX, MountFlags

if TYPE_CHECKING:
    from emu.fs.inode import Inode
    from emu.fs.mount import VfsMount


def decode_name(raw: bytes) -> str:
    """A guest's bytes as the ``str`` used for names; every byte string comes back from :func:`encode_name`."""
    return raw.decode("utf-8", "surrogateescape")


def encode_name(name: str) -> bytes:
    """A name as the guest's bytes."""
    return name.encode("utf-8", "surrogateescape")


def check_name(name: str) -> None:
    """ENAMETOOLONG if one component is longer than NAME_MAX bytes."""
    if len(name) * 4 > NAME_MAX and len(encode_name(name)) > NAME_MAX:
        raise LinuxError(errno.ENAMETOOLONG)


class Dentry:
    """One name of an inode: ``name`` in ``parent``; a root is its own parent.

    File systems never see dentries: they work with names and inodes, and are asked for the inode at every step. A
    parent keeps its children; where inodes come and go without the VFS (procfs, files of the host), only as long as
    something else holds them.
    """

    __slots__ = ("__weakref__", "_children", "deleted", "inode", "label", "name", "parent")

    def __init__(self, name: str, inode: Inode, parent: Dentry | None = None, label: str | None = None) -> None:
        self.name = name
        self.inode = inode
        self.parent: Dentry = parent if parent is not None else self
        #: What /proc/<pid>/fd shows for an object without a name in any tree (``pipe:[7]``).
        self.label = label
        #: The name is gone (unlinked); the inode lives on while something holds it.
        self.deleted = False
        self._children: MutableMapping[str, Dentry] | None = None

    def child(self, name: str, inode: Inode) -> Dentry:
        """The dentry of ``name``, for which the file system has just given ``inode``."""
        children = self._children
        if children is None:
            children = self._children = self._new_map()
        dentry = children.get(name)
        if dentry is None or dentry.inode is not inode:
            dentry = Dentry(name, inode, self)
            children[name] = dentry
            recent = inode.sb.recent
            if recent is not None:
                recent.append(dentry)
        return dentry

    def cached(self, name: str) -> Dentry | None:
        """The dentry of ``name``, if it is still held."""
        return self._children.get(name) if self._children is not None else None

    def drop(self, name: str) -> None:
        """``name`` was removed from this directory."""
        dentry = self._children.pop(name, None) if self._children is not None else None
        if dentry is not None:
            dentry.deleted = True

    def move(self, parent: Dentry, name: str) -> None:
        """This entry was renamed; an entry that had the new name is gone."""
        siblings = self.parent._children
        if siblings is not None and siblings.get(self.name) is self:
            del siblings[self.name]
        parent.drop(name)
        self._adopt(parent, name)

    def exchange(self, other: Dentry) -> None:
        """RENAME_EXCHANGE: the two entries take each other's place."""
        mine, theirs = (self.parent, self.name), (other.parent, other.name)
        self._adopt(*theirs)
        other._adopt(*mine)

    def is_inside(self, ancestor: Dentry) -> bool:
        """Whether ``ancestor`` is this dentry or above it."""
        dentry = self
        while dentry is not ancestor:
            if dentry.parent is dentry:
                return False
            dentry = dentry.parent
        return True

    def _adopt(self, parent: Dentry, name: str) -> None:
        self.parent, self.name = parent, name
        if parent._children is None:
            parent._children = parent._new_map()
        parent._children[name] = self

    def _new_map(self) -> MutableMapping[str, Dentry]:
        return {} if self.inode.sb.keeps_dentries else WeakValueDictionary()

    def __repr__(self) -> str:
        return f"Dentry({self.name!r}, inode {self.inode.ino})"


class Path(NamedTuple):
    """A place in the tree of mounts: the kernel's ``struct path``."""

    mount: VfsMount
    dentry: Dentry

    @property
    def inode(self) -> Inode:
        """The inode at this place."""
        return self.dentry.inode

    @property
    def noexec(self) -> bool:
        """Nothing there may be executed (path_noexec)."""
        return bool(self.mount.flags & MountFlags.NOEXEC)

    def notify(self, notice: int, more: int = 0) -> None:
        """Something has happened to what is here: those who watch its directory hear of it, and its own watchers;
        ``more``: what only fanotify knows.
        """
        dentry = self.dentry
        inode = dentry.inode
        resources = inode.sb.resources
        if not resources.file_watches:
            return
        for listener in list(resources.fanotify):
            listener.happened(self, notice | more)
        directory, watching = inode.is_directory, dentry.parent.inode.watches
        if watching and dentry.label is None and dentry is not self.mount.root:
            for watch in list(watching.values()):
                if watch.mask & notice and not (dentry.deleted and watch.mask & EXCL_UNLINK):
                    watch.tell(notice | (ISDIR if directory else 0), dentry.name, 0)
        inode.tell(notice, directory=directory)


def d_path(path: Path, root: Path | None = None) -> str:
    """The name of a place as seen from ``root``."""
    dentry = path.dentry
    if dentry.label is not None:
        return dentry.label
    deleted = " (deleted)" if dentry.deleted else ""
    parts: list[str] = []
    place = path
    while place != root:
        mount, dentry = place
        if dentry is not mount.root:
            parts.append(dentry.name)
            place = Path(mount, dentry.parent)
        elif mount.at is not None and not mount.detached:
            place = mount.at
        else:
            break
    return "/" + "/".join(reversed(parts)) + deleted


def is_reachable(path: Path, root: Path) -> bool:
    """Whether ``path`` is inside ``root`` (getcwd says "(unreachable)" otherwise)."""
    while path != root:
        mount, dentry = path
        if dentry is not mount.root:
            path = Path(mount, dentry.parent)
        elif mount.at is not None and not mount.detached:
            path = mount.at
        else:
            return False
    return True


def unnamed_path(mount: VfsMount, inode: Inode, label: str) -> Path:
    """A place for an inode that has no name; ``label`` is what /proc/<pid>/fd shows."""
    return Path(mount, Dentry(label, inode, None, label))
