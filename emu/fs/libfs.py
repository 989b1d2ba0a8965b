"""Building blocks for file systems whose tree is in memory (fs/libfs.c): directories, symbolic links, nodes."""

from __future__ import annotations

import errno
import stat
import sys
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

from emu.fs.file import DirectoryEntry, File
from emu.fs.inode import Inode
from emu.fs.superblock import FileSystemType, SuperBlock
from emu.linux.errors import LinuxError
from emu.linux.fileflags import RenameFlags
from emu.mm.kmem import INODE, NEW_NAME, SLAB_RECLAIMABLE, Kmem, name_size

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.resources import Resources
    from emu.linux.caller import Caller


class FixedDirectory(Inode):
    """A directory that only the kernel changes: guests can look up and list names (sysfs, /proc/sys)."""

    def __init__(self, sb: SuperBlock, mode: int = 0o555, uid: int = 0, gid: int = 0) -> None:
        super().__init__(sb, stat.S_IFDIR | mode & 0o7777, uid, gid)
        self.nlink = 2
        self.entries: dict[str, Inode] = {}

    def lookup(self, name: str) -> Inode:
        inode = self.entries.get(name)
        if inode is None:
            raise LinuxError(errno.ENOENT)
        return inode

    def iterate(self) -> Iterable[DirectoryEntry]:
        return [DirectoryEntry(name, inode.ino, inode.kind) for name, inode in self.entries.items()]

    def add(self, name: str, inode: Inode) -> None:
        """Enter ``inode`` as ``name``; EEXIST."""
        if name in self.entries:
            raise LinuxError(errno.EEXIST)
        self._put(name, inode)

    def remove(self, name: str) -> Inode:
        """Take ``name`` out and return its inode; link counts are up to the caller, except this directory's."""
        inode = self.entries.pop(name)
        if inode.is_directory:
            self.nlink -= 1
        self.changed()
        return inode

    def changed(self) -> None:
        """The entries changed."""
        self.touch()

    def _put(self, name: str, inode: Inode) -> None:
        self.entries[name] = inode
        if inode.is_directory:
            self.nlink += 1
        self.changed()


class SimpleDirectory(FixedDirectory):
    """A directory that guests may change. The subclass makes new entries (create, mkdir, ...)."""

    @cached_property
    def _payers(self) -> dict[str, Kmem]:
        """The accounts of groups that pay for names, by name."""
        return {}

    def remove(self, name: str) -> Inode:
        inode = super().remove(name)
        self._count(-1)
        self.sb.drop(self.charge_of(name, inode), self._payers.pop(name, None))
        return inode

    def _put(self, name: str, inode: Inode) -> None:
        payer = self.sb.resources.kmem.account(SLAB_RECLAIMABLE)
        self.sb.hold(self.charge_of(name, inode), payer)
        if payer is not self.sb.resources.kmem:
            self._payers[name] = payer
        super()._put(name, inode)
        self._count(1)

    def _count(self, names: int) -> None:
        self.sb.names += names
        self.sb.resources.names += names

    @staticmethod
    def charge_of(name: str, inode: Inode) -> int:
        """What an entry is charged with; a directory has only one, and is charged with it."""
        return name_size(name) + (INODE if inode.is_directory else 0)

    @property
    def names_charged(self) -> int:
        """What its entries are charged with."""
        return sum(self.charge_of(name, inode) for name, inode in self.entries.items())

    def link(self, name: str, inode: Inode) -> None:
        self.add(name, inode)
        inode.nlink += 1

    def unlink(self, name: str, inode: Inode) -> None:
        self.remove(name)
        inode.nlink -= 1
        inode.ctime = self.ctime

    def rmdir(self, name: str, inode: Inode) -> None:
        if not isinstance(inode, FixedDirectory) or inode.entries:
            raise LinuxError(errno.ENOTEMPTY)
        self.remove(name)
        inode.nlink = 0

    def rename(self, name: str, new_directory: Inode, new_name: str, flags: RenameFlags) -> None:
        if flags & RenameFlags.WHITEOUT or not isinstance(new_directory, SimpleDirectory):
            raise LinuxError(errno.EINVAL)
        target = new_directory.entries.get(new_name)
        self.sb.resources.kmem.account(SLAB_RECLAIMABLE).reserve(NEW_NAME)
        self._move(name, new_directory, new_name, target, flags)

    def _move(
        self, name: str, new_directory: SimpleDirectory, new_name: str, target: Inode | None, flags: RenameFlags
    ) -> None:
        """Do it, where it may be done; ``target`` has the new name."""
        if flags & RenameFlags.EXCHANGE:
            self._exchange(name, new_directory, new_name)
            return
        if target is not None:
            if target.is_directory:
                new_directory.rmdir(new_name, target)
            else:
                new_directory.unlink(new_name, target)
        inode = self.remove(name)
        new_directory._put(new_name, inode)
        inode.ctime = self.ctime

    def _exchange(self, name: str, other: SimpleDirectory, other_name: str) -> None:
        mine, theirs = self.remove(name), other.remove(other_name)
        self._put(name, theirs)
        other._put(other_name, mine)
        mine.ctime = theirs.ctime = self.ctime


def drop_tree(root: Inode) -> None:
    """Remove every name below a directory; files that are not open are freed (kill_litter_super)."""
    pending = [root]
    while pending:
        inode = pending.pop()
        if isinstance(inode, SimpleDirectory):
            pending += inode.entries.values()
            inode.entries.clear()
        elif inode.nlink:
            inode.nlink = 0
            inode.drop_if_unused()


class Symlink(Inode):
    """A symbolic link with a fixed target."""

    def __init__(self, sb: SuperBlock, target: str, uid: int = 0, gid: int = 0) -> None:
        super().__init__(sb, stat.S_IFLNK | 0o777, uid, gid)
        self.target = target
        self.size = len(target.encode("utf-8", "surrogateescape"))

    def get_link(self, caller: Caller[Path] | None) -> str:
        return self.target


def symlink_size(target: str) -> int:
    """What a symbolic link is charged with."""
    return INODE + sys.getsizeof(target)


class Node(Inode):
    """A FIFO, device or socket: opening it leads to the object behind its kind and number."""

    def __init__(self, sb: SuperBlock, mode: int, rdev: int = 0, uid: int = 0, gid: int = 0) -> None:
        super().__init__(sb, mode, uid, gid)
        self.rdev = rdev

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        return self.sb.resources.open_special(path, flags)


class PseudoSuperBlock(SuperBlock):
    """The one instance of a type that is nowhere in the tree: no file of it has a name (init_pseudo)."""

    def __init__(self, resources: Resources, fstype: FileSystemType, magic: int) -> None:
        super().__init__(resources, fstype)
        self.magic = magic
        self.root = FixedDirectory(self)


class PseudoFsType(FileSystemType):
    """Such a type."""

    def __init__(self, name: str, magic: int) -> None:
        self.name = name
        self._magic = magic

    def mount(self, resources: Resources, options: str) -> SuperBlock:
        return PseudoSuperBlock(resources, self, self._magic)
