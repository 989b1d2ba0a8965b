"""overlayfs: a directory tree of the host, with changes that stay in the machine (filesystems/overlayfs.rst).

The lower layer is a :mod:`hostfs <emu.fs.hostfs>`, which is only read; what is made or changed is in the upper layer, a
tmpfs.  An object of the lower layer is copied up when its attributes or contents change first; a whiteout hides a lower
name; a directory made where one was removed is opaque.  A directory that has a lower one cannot be renamed (EXDEV, as
with ``redirect_dir=off``).

Unlike Linux's, a file that is copied up stays the same file: what is open or mapped sees the changes, hard links stay
linked, and its pages are copied one by one, when they are written.  As there, what changes on the host meanwhile shows
up when the file is opened next, or not at all.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from emu.fs.dentry import encode_name
from emu.fs.file import DirectoryEntry, File
from emu.fs.hostfs import REMEMBERED, HostInode, HostSuperBlock
from emu.fs.inode import Attributes, Inode, NewOwner, Stat
from emu.fs.libfs import Node, Symlink
from emu.fs.shmemfile import TmpfsFile, TmpfsInode
from emu.fs.superblock import FileSystemType, SuperBlock
from emu.fs.tmpfs import TmpfsDirectory, TmpfsSuperBlock
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags, RenameFlags
from emu.mm.filepages import FilePages, Reclaim
from emu.mm.flags import VmFlags
from emu.mm.kmem import DENTRY, INODE, Kmem

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.resources import Resources
    from emu.linux.caller import Caller
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma

OVERLAYFS_MAGIC = 0x794C7630
#: Inode numbers of the upper layer begin here; those below are the host's.
_UPPER_INO = 1 << 48


class Lower:
    """What an object has that comes from the lower layer.  It exists as long as somebody holds it, until it is copied
    up; then it stays.
    """

    sb: SuperBlock
    ino: int
    origin: HostInode
    copied = False
    charged = 0
    #: Where it is charged, once it is copied.
    _upper_payer: Kmem | None = None

    def take_lower(self, lower: HostInode) -> None:
        """Show the attributes of the lower object."""
        self.origin = lower
        for name in ("mode", "uid", "gid", "nlink", "size", "rdev", "atime", "mtime", "ctime", "btime"):
            setattr(self, name, getattr(lower, name))

    def copy_up(self) -> None:
        """The object is about to change: from now on it is in the upper layer.  LinuxError(ENOSPC)."""
        if not self.copied:
            assert isinstance(self.sb, OverlaySuperBlock)
            self.sb.new_inode()
            self._upper_payer = self.sb.payer()
            self.sb.upper[self.ino] = self
            self.copied, self.charged = True, self.charged + INODE

    def forget_upper(self) -> None:
        """Its last name is gone."""
        if self.copied:
            assert isinstance(self.sb, OverlaySuperBlock)
            self.sb.free_inode(payer=self._upper_payer)
            self.sb.upper.pop(self.ino, None)


class OverlayFile(TmpfsFile):
    """An open regular file that comes from the lower layer."""

    inode: OverlayInode

    def pwrite(self, data: bytes, pos: int) -> int:
        self.inode.copy_up()
        return super().pwrite(data, pos)

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        self.inode.copy_up()
        self.inode.pages.detach()
        super().fallocate(mode, offset, length)

    def mmap(self, mm: AddressSpace, vma: Vma) -> None:
        if vma.shared and not vma.flags & VmFlags.NEVERWRITE:
            self.inode.copy_up()
            self.inode.pages.may_be_written()
        super().mmap(mm, vma)


class OverlayInode(Lower, TmpfsInode):
    """A regular file that comes from the lower layer: pages that are not in its cache are the lower file's."""

    def __init__(self, sb: OverlaySuperBlock, lower: HostInode) -> None:
        self.pages = FilePages(sb.resources.frames, sb.reclaim, lower, lower.size, sb.count_blocks, self)
        super().__init__(sb, lower.mode, pages=self.pages)
        self.ino = lower.ino
        self.take_lower(lower)
        self.seals = None

    @property
    def blocks(self) -> int:
        return self.origin.blocks if self.pages.has_source else super().blocks

    def getattr(self) -> Stat:
        return super().getattr()._replace(blksize=self.origin.blksize)

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        if self.pages.has_source and not flags & OpenFlags.TRUNC:
            self._open_lower()
        if flags & OpenFlags.ACCMODE:
            self.copy_up()
        return OverlayFile(path, flags)

    def _open_lower(self) -> None:
        """The lower file must be readable; as it is now, where nobody uses or has changed it."""
        if self.copied or self.open_count:
            self.origin.sb.descriptor_of(self.origin)
        elif self.origin.refresh():
            self.pages.renew(self.origin.size)
            self.take_lower(self.origin)

    def seek(self, offset: int, data: bool) -> int:
        if self.pages.has_source:  # where the lower file has holes is not asked
            return offset if data else self.size
        return super().seek(offset, data)

    def setattr(self, change: Attributes) -> None:
        self.copy_up()
        super().setattr(change)

    def accessed(self) -> None:
        if self.copied:
            super().accessed()

    def evict(self) -> None:
        self.page_cache.release()
        self.forget_upper()


class OverlaySymlink(Lower, Symlink):
    """A symbolic link that comes from the lower layer."""

    def __init__(self, sb: OverlaySuperBlock, lower: HostInode) -> None:
        super().__init__(sb, lower.get_link(None))
        self.ino = lower.ino
        self.take_lower(lower)

    @property
    def blocks(self) -> int:
        return 0 if self.copied else self.origin.blocks

    def setattr(self, change: Attributes) -> None:
        self.copy_up()
        super().setattr(change)

    def evict(self) -> None:
        self.forget_upper()


class OverlayNode(Lower, Node):
    """A FIFO, device or socket that comes from the lower layer.  Opened, it is one of this machine: the host's is
    never.
    """

    def __init__(self, sb: OverlaySuperBlock, lower: HostInode) -> None:
        super().__init__(sb, lower.mode)
        self.ino = lower.ino
        self.take_lower(lower)

    def setattr(self, change: Attributes) -> None:
        self.copy_up()
        super().setattr(change)

    def evict(self) -> None:
        self.forget_upper()


class OverlayDirectory(TmpfsDirectory):
    """A directory: what is in the upper layer (``entries``), and the names of the lower one, if there is one, that no
    whiteout hides.
    """

    _sb: OverlaySuperBlock

    def __init__(self, sb: OverlaySuperBlock, mode: int, uid: int = 0, gid: int = 0) -> None:
        self.lower: HostInode | None = None
        super().__init__(sb, mode, uid, gid)
        self.whiteouts: set[str] = set()
        self._seen: WeakValueDictionary[str, Inode] = WeakValueDictionary()

    @property
    def blocks(self) -> int:
        return self.lower.blocks if self.lower is not None else 0

    def changed(self) -> None:
        if self.lower is None:
            super().changed()
        else:
            self.nlink = 1  # as that of every directory that has two layers
            self.touch()

    def setattr(self, change: Attributes) -> None:
        self.copy_up()
        super().setattr(change)

    def copy_up(self) -> None:
        """Nothing to do in the upper layer."""

    # Names

    def lookup(self, name: str) -> Inode:
        inode = self.entries.get(name)
        if inode is not None:
            return inode
        if self.lower is None or name in self.whiteouts:
            raise LinuxError(errno.ENOENT)
        inode = self._seen.get(name)
        if inode is None:
            inode = self._seen[name] = self._sb.from_lower(self.lower.lookup(name))
        return inode

    def iterate(self) -> Iterable[DirectoryEntry]:
        entries = {entry.name: entry for entry in super().iterate()}
        if self.lower is not None:
            for entry in self.lower.iterate():
                if entry.name not in self.whiteouts:
                    entries.setdefault(entry.name, entry)
        return sorted(entries.values(), key=lambda entry: encode_name(entry.name))

    def _put(self, name: str, inode: Inode) -> None:
        self.copy_up()
        super()._put(name, inode)
        if self.lower is not None:
            self._hide(name)

    def _hide(self, name: str) -> None:
        """Put a whiteout over a lower name."""
        if name not in self.whiteouts:
            self.sb.hold(DENTRY)
            self.whiteouts.add(name)
            self._count(1)

    def remove(self, name: str) -> Inode:
        if name in self.entries:
            return super().remove(name)
        inode = self.lookup(name)
        self.copy_up()
        self._hide(name)
        self._seen.pop(name, None)
        self.changed()
        return inode

    # New objects

    def create(self, name: str, owner: NewOwner) -> Inode:
        inode = super().create(name, owner)
        inode.seals = None
        return inode

    def mkdir(self, name: str, owner: NewOwner) -> Inode:
        self._sb.new_inode(0)  # its name has the charge
        inode = OverlayDirectory(self._sb, *owner)
        self.add(name, inode)
        return inode

    # Changes of names

    def link(self, name: str, inode: Inode) -> None:
        if isinstance(inode, Lower):
            inode.copy_up()
        super().link(name, inode)

    def unlink(self, name: str, inode: Inode) -> None:
        if isinstance(inode, Lower) and inode.nlink > 1:
            inode.copy_up()
        super().unlink(name, inode)

    def rmdir(self, name: str, inode: Inode) -> None:
        if not isinstance(inode, OverlayDirectory) or any(True for _ in inode.iterate()):
            raise LinuxError(errno.ENOTEMPTY)
        self.remove(name)
        inode.nlink = 0
        if inode.xattrs is not None:
            inode.xattrs.clear()
        inode.gone()

    def gone(self) -> None:
        """The directory has been removed."""
        self._drop_whiteouts()
        self._sb.free_inode(0)

    @property
    def names_charged(self) -> int:
        return super().names_charged + DENTRY * len(self.whiteouts)

    def _drop_whiteouts(self) -> None:
        self._count(-len(self.whiteouts))
        self.sb.drop(DENTRY * len(self.whiteouts))

    def rename(self, name: str, new_directory: Inode, new_name: str, flags: RenameFlags) -> None:
        if flags & RenameFlags.WHITEOUT or not isinstance(new_directory, OverlayDirectory):
            raise LinuxError(errno.EINVAL)
        inode, target = self.lookup(name), new_directory._lookup_or_none(new_name)
        for moved in (inode, target if flags & RenameFlags.EXCHANGE else None):
            if isinstance(moved, MergedDirectory):
                raise LinuxError(errno.EXDEV)
            if isinstance(moved, Lower):
                moved.copy_up()
        self._move(name, new_directory, new_name, target, flags)

    def _lookup_or_none(self, name: str) -> Inode | None:
        try:
            return self.lookup(name)
        except LinuxError as error:
            if error.errno != errno.ENOENT:
                raise
            return None


class MergedDirectory(Lower, OverlayDirectory):
    """A directory that comes from the lower layer; with what was made in it, once it is copied up."""

    def __init__(self, sb: OverlaySuperBlock, lower: HostInode) -> None:
        OverlayDirectory.__init__(self, sb, lower.mode)
        self.ino = lower.ino
        self.take_lower(lower)
        self.lower = lower

    def gone(self) -> None:
        self._drop_whiteouts()
        self.forget_upper()


class OverlaySuperBlock(TmpfsSuperBlock):
    """The upper layer, and the lower one that it lies over."""

    magic = OVERLAYFS_MAGIC
    exported = False
    keeps_swap = True
    keeps_dentries = False
    promises = False  # it stands for a disk

    def __init__(self, resources: Resources, fstype: FileSystemType, lower: HostSuperBlock, reclaim: Reclaim) -> None:
        super().__init__(resources, fstype)
        self._last_ino = _UPPER_INO
        self.lower = lower
        self.reclaim = reclaim
        #: What is in the upper layer and was not made there, by the lower inode number.
        self.upper: dict[int, Lower] = {}
        self._known: WeakValueDictionary[int, Inode] = WeakValueDictionary()
        self.recent = deque(maxlen=REMEMBERED)
        self.root = self.from_lower(lower.root)

    def from_lower(self, lower: HostInode) -> Inode:
        """The object that shows a lower one: all names of a file lead to the same."""
        inode = self._known.get(lower.ino)
        if inode is None or inode.kind != lower.kind:
            inode = self._known[lower.ino] = _new(self, lower)
        return inode

    @property
    def tops(self) -> Iterable[Inode]:
        return {self.root, *(inode for inode in self.upper.values() if isinstance(inode, Inode))}

    def show_options(self) -> str:
        lower = "".join(f"\\{ord(c):03o}" if c in ",\\ \t\n" else c for c in self.lower.tree.directory)
        return f",lowerdir={lower},upperdir=tmpfs,workdir=tmpfs"

    def put_super(self) -> None:
        super().put_super()
        for inode in list(self._known.values()):
            if isinstance(inode, OverlayInode):
                inode.page_cache.release()
        self.lower.put_super()


def _new(sb: OverlaySuperBlock, lower: HostInode) -> Inode:
    if lower.is_directory:
        return MergedDirectory(sb, lower)
    if lower.is_regular:
        return OverlayInode(sb, lower)
    return OverlaySymlink(sb, lower) if lower.is_symlink else OverlayNode(sb, lower)


class Overlay(FileSystemType):
    """The file system type ``overlay``, over one directory of the host.  Guests cannot mount another."""

    name = "overlay"
    has_btime = multigrain = True

    def __init__(self, lower: HostSuperBlock, reclaim: Reclaim) -> None:
        self._lower = lower
        self._reclaim = reclaim

    def mount(self, resources: Resources, options: str) -> SuperBlock:
        return OverlaySuperBlock(resources, self, self._lower, self._reclaim)
