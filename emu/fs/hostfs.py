"""hostfs: a directory tree of the host as a read-only file system, the lower layer of an overlay.

Names, attributes and contents are the host's, as they are when they are asked for; FIFOs, devices and sockets are
nodes that only have attributes.  Nothing is ever changed on the host.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from emu.fs.dentry import decode_name, encode_name
from emu.fs.file import DirectoryEntry
from emu.fs.hosttree import Descriptor, HostObject, HostTree
from emu.fs.inode import Inode, Stat
from emu.fs.superblock import FileSystemType, StatFs, SuperBlock
from emu.linux.errors import LinuxError
from emu.linux.fileflags import makedev
from emu.mm.filepages import read_exactly

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.resources import Resources
    from emu.linux.caller import Caller

#: Of User-mode Linux's hostfs.
HOSTFS_MAGIC = 0x00C0FFEE
#: So many names that were looked up last stay in memory, with what they lead to.
REMEMBERED = 4096
#: Files of the host that are kept open at most.
_OPEN_FILES = 64
#: The bits of an inode number that are the host's; above them stands which of its file systems it is from (xino).
_INO_BITS = 48
#: Set in the numbers that stand for larger ones.
_LARGE = 1 << 62


class HostInode(Inode):
    """Anything on the host: ``name`` in ``parent``, or (None) the top of the tree."""

    sb: HostSuperBlock

    def __init__(self, sb: HostSuperBlock, found: HostObject, parent: HostInode | None, name: bytes) -> None:
        status = found.status
        super().__init__(sb, status.st_mode, status.st_uid, status.st_gid, sb.ino_of(status))
        self.parent = parent
        self.name = name
        self.target = found.target
        self.closed = found.closed
        self.take(status)

    def take(self, status: os.stat_result) -> None:
        """Show these attributes."""
        self.mode, self.uid, self.gid, self.nlink = status.st_mode, status.st_uid, status.st_gid, status.st_nlink
        self.size, self._blocks, self.blksize = status.st_size, status.st_blocks, status.st_blksize
        self.atime, self.mtime, self.ctime = status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns
        self.btime = self.mtime  # statx's is not asked for
        if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            self.rdev = makedev(os.major(status.st_rdev), os.minor(status.st_rdev))

    @property
    def names(self) -> tuple[bytes, ...]:
        """The names that lead to it from the top of the tree."""
        found, at = [], self
        while at.parent is not None:
            found.append(at.name)
            at = at.parent
        return tuple(reversed(found))

    @property
    def blocks(self) -> int:
        return self._blocks

    def getattr(self) -> Stat:
        return super().getattr()._replace(blksize=self.blksize)

    # A directory

    def lookup(self, name: str) -> HostInode:
        if self.closed:
            raise LinuxError(errno.ENOENT)
        raw = encode_name(name)
        return self.sb.inode_of(self.sb.tree.look((*self.names, raw)), self, raw)

    def iterate(self) -> Iterable[DirectoryEntry]:
        for name, ino, kind in self.sb.tree.entries(self.names):
            text = decode_name(name)
            number = self.ino & -1 << _INO_BITS | ino & (1 << _INO_BITS) - 1
            yield DirectoryEntry(text, number, kind or self._kind_of(text))

    def _kind_of(self, name: str) -> int:
        try:
            return self.lookup(name).kind
        except LinuxError:  # it is gone
            return 0

    # A symbolic link

    def get_link(self, caller: Caller[Path] | None) -> str:
        if not self.is_symlink:
            raise LinuxError(errno.EINVAL)
        return decode_name(self.target)

    # A regular file

    def refresh(self) -> bool:
        """Look at the file again: whether it has changed, or is another one.  LinuxError(ESTALE) if it is no file any
        more, or (EACCES) if it cannot be read.
        """
        status = self.sb.tree.look(self.names).status
        if not stat.S_ISREG(status.st_mode):
            raise LinuxError(errno.ESTALE)
        ino = self.sb.ino_of(status)
        changed = (ino, status.st_size, status.st_mtime_ns) != (self.ino, self.size, self.mtime)
        if changed:
            self.sb.close(self)
            self.ino = ino
            self.take(status)
        self.sb.descriptor_of(self)
        return changed

    def read_pages(self, position: int, buffers: Sequence[memoryview]) -> None:
        """Fill the buffers; LinuxError(ESTALE) if it is not the file any more that it was, (EIO) if it cannot be
        read.
        """
        fd = self.sb.descriptor_of(self)
        status = os.fstat(fd)
        if (status.st_size, status.st_mtime_ns) != (self.size, self.mtime):
            self.sb.log(f"{self.host_path}: was changed on the host while it was read here")
            raise LinuxError(errno.ESTALE)
        try:
            complete = read_exactly(fd, position, buffers)
        except OSError as error:
            self.sb.log(f"{self.host_path}: cannot be read on the host: {error.strerror}")
            raise LinuxError(errno.EIO) from None
        if not complete:
            raise LinuxError(errno.EIO)

    @property
    def host_path(self) -> str:
        """Its name on the host, for messages."""
        return "/".join([self.sb.tree.directory.rstrip("/"), *map(os.fsdecode, self.names)])


class HostSuperBlock(SuperBlock):
    """The tree below one directory of the host; ``log`` is told what happens there that should not."""

    magic = HOSTFS_MAGIC
    keeps_dentries = False

    def __init__(
        self, resources: Resources, fstype: FileSystemType, tree: HostTree, log: Callable[[str], None]
    ) -> None:
        super().__init__(resources, fstype)
        self.tree = tree
        self.log = log
        self.read_only = self.never_written = True
        self._devices: dict[int, int] = {}
        self._large: dict[tuple[int, int], int] = {}
        self._open: OrderedDict[tuple[bytes, ...], Descriptor] = OrderedDict()
        self.root: HostInode = self.inode_of(tree.look(()), None, b"")

    def inode_of(self, found: HostObject, parent: HostInode | None, name: bytes) -> HostInode:
        """The inode for what was found under a name."""
        return HostInode(self, found, parent, name)

    def statfs(self) -> StatFs:
        return StatFs(self.magic)

    def ino_of(self, status: os.stat_result) -> int:
        """The inode number: the host's, in the tree's first file system; made unique in others."""
        if status.st_ino >> _INO_BITS:  # some file systems use all 64 bits
            return _LARGE | self._large.setdefault((status.st_dev, status.st_ino), len(self._large))
        known = self._devices.setdefault(status.st_dev, len(self._devices))
        # 1 is for files that are made here
        return (known + 1 if known else 0) << _INO_BITS | status.st_ino

    def descriptor_of(self, inode: HostInode) -> int:
        """A descriptor of the host for a regular file, kept among those last used."""
        names = inode.names
        held = self._open.get(names)
        if held is not None:
            self._open.move_to_end(names)
            return held.fd
        held = Descriptor(self.tree.open_regular(names))
        if self.ino_of(os.fstat(held.fd)) != inode.ino:
            raise LinuxError(errno.ESTALE)
        self._open[names] = held
        if len(self._open) > _OPEN_FILES:
            self._open.popitem(last=False)[1].close()
        return held.fd

    def close(self, inode: HostInode) -> None:
        """Do not keep this file open on the host."""
        held = self._open.pop(inode.names, None)
        if held is not None:
            held.close()

    def put_super(self) -> None:
        while self._open:
            self._open.popitem()[1].close()
        self.tree.close()


class Hostfs(FileSystemType):
    """The file system type ``hostfs``, which is not mounted by itself."""

    name = "hostfs"
