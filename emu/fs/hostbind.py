"""A directory tree of the host in which guests work on the host's files themselves (``--bind HOST:GUEST:rw``).

Names and attributes are asked for each time, reads and writes go through to the host.  Mappings are private, or shared
and read-only (as with 9p without a cache): what they show is read by pages, and follows the writes of this machine.
"""

from __future__ import annotations

import errno
import os
import resource
import stat
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from emu.fs.dentry import encode_name
from emu.fs.file import DirectoryFile, File
from emu.fs.hostfs import HOSTFS_MAGIC, REMEMBERED, HostInode, HostSuperBlock
from emu.fs.hosttree import Descriptor, HostObject
from emu.fs.hostwrite import MODE_BITS, WritableTree, host_call
from emu.fs.inode import Attributes, Inode, NewOwner, Stat
from emu.fs.superblock import FileSystemType, StatFs, SuperBlock
from emu.linux.errors import LinuxError
from emu.linux.fileflags import PAGE_SIZE, OpenFlags, RenameFlags
from emu.mm.filepages import FilePages, Reclaim
from emu.mm.flags import VmFlags

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.resources import Resources
    from emu.linux.caller import Caller
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma


#: Descriptors of the host that are left for everything else.
_SPARE_FDS = 128
#: The latest time that any file system keeps, in nanoseconds.
_LAST_NS = (1 << 34) * 1_000_000_000


class BindFile(File):
    """An open regular file, with a descriptor of the host of its own."""

    inode: BindInode

    def __init__(self, path: Path, flags: int, held: Descriptor) -> None:
        super().__init__(path, flags)
        self._held = held
        self.fd = held.fd
        self.inode.files.append(self)

    def pread(self, count: int, pos: int) -> bytes:
        try:
            return os.pread(self.fd, count, pos)
        except OSError as error:
            raise LinuxError(error.errno or errno.EIO) from None

    def pwrite(self, data: bytes, pos: int) -> int:
        written = host_call(lambda: os.pwrite(self.fd, data, pos))
        self.inode.written(data[:written], pos, os.fstat(self.fd))
        return written

    def write(self, data: bytes) -> int:
        if self.flags & OpenFlags.APPEND:  # somebody on the host may have appended too
            self.inode.update(os.fstat(self.fd))
        return super().write(data)

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        if mode:
            raise LinuxError(errno.EOPNOTSUPP)
        host_call(lambda: os.posix_fallocate(self.fd, offset, length))
        self.inode.update(os.fstat(self.fd))

    def fsync(self, data_only: bool) -> None:
        host_call(lambda: (os.fdatasync if data_only else os.fsync)(self.fd))

    def mmap(self, mm: AddressSpace, vma: Vma) -> None:
        if vma.shared and not vma.flags & VmFlags.NEVERWRITE:
            raise LinuxError(errno.ENODEV)
        self.inode.update(os.fstat(self.fd))
        vma.page_cache = self.inode.pages

    def release(self) -> None:
        self.inode.files.remove(self)
        self._held.close()


class BindInode(HostInode):
    """Anything on the host, which may be changed."""

    sb: BindSuperBlock

    def __init__(self, sb: BindSuperBlock, found: HostObject, parent: HostInode | None, name: bytes) -> None:
        super().__init__(sb, found, parent, name)
        self.pages = FilePages(sb.resources.frames, sb.reclaim, self, self.size, _no_charge, self)
        self.files: list[BindFile] = []

    def update(self, status: os.stat_result) -> None:
        """The attributes as they are now; pages that are of another time are forgotten where nobody maps them."""
        changed = (self.size, self.mtime) != (status.st_size, status.st_mtime_ns)
        self.take(status)
        if changed and self.is_regular and not self.pages.mappings:
            self.pages.renew(self.size)

    def getattr(self) -> Stat:
        if self.files or self.nlink:
            self.update(self._status())
        return super().getattr()

    def _status(self) -> os.stat_result:
        return os.fstat(self.files[-1].fd) if self.files else self.sb.tree.look(self.names).status

    # Contents

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        if self.is_directory:
            return DirectoryFile(path, flags)
        if not self.is_regular:
            return self.sb.open_special(path, flags)
        held = Descriptor(self._open_host(flags & os.O_ACCMODE))
        if held.fd >= self.sb.max_fd:
            raise LinuxError(errno.ENFILE)
        status = os.fstat(held.fd)
        if self.sb.ino_of(status) != self.ino:
            raise LinuxError(errno.ESTALE)
        self.update(status)
        return BindFile(path, flags, held)

    def _open_host(self, access: int) -> int:
        """A descriptor of the host's file; where its name is gone, by one that is open."""
        try:
            return self.sb.tree.open_regular(self.names, access)
        except LinuxError as error:
            if error.errno != errno.ENOENT or not self.files:
                raise
        return host_call(lambda: os.open(f"/proc/self/fd/{self.files[-1].fd}", access | os.O_CLOEXEC))

    def read_pages(self, position: int, buffers: Sequence[memoryview]) -> None:
        fd = next((file.fd for file in self.files if file.readable), None)
        if fd is None:
            raise LinuxError(errno.EIO)
        if host_call(lambda: os.preadv(fd, buffers, position)) < sum(map(len, buffers)):
            raise LinuxError(errno.EIO)

    def written(self, data: bytes, position: int, status: os.stat_result) -> None:
        """The machine has written to the host's file, which has these attributes then: pages that are in memory show
        what was written.
        """
        done = 0
        while done < len(data):
            offset = (position + done) % PAGE_SIZE
            step = min(PAGE_SIZE - offset, len(data) - done)
            frame = self.pages.find((position + done) // PAGE_SIZE)
            if frame is not None:
                self.sb.resources.frames.write(frame, offset, data[done : done + step])
            done += step
        self.take(status)
        self.pages.follow(self.size)

    def truncate(self, size: int) -> None:
        fd = next((os.dup(file.fd) for file in self.files if file.writable), None)
        if fd is None:
            fd = self.sb.tree.open_regular(self.names, os.O_WRONLY)
        try:
            host_call(lambda: os.ftruncate(fd, size))
            self.pages.truncate(size)
            self.take(os.fstat(fd))
            self.pages.follow(self.size)
        finally:
            os.close(fd)

    def setattr(self, change: Attributes) -> None:
        if change.size is not None:
            self.truncate(change.size)
        if self.files:
            self._change(self.files[-1].fd, change)
        else:
            with self.sb.tree.object_at(self.names) as link:
                self._change(link, change)
        self.take(self._status())

    def _change(self, place: int | str, change: Attributes) -> None:
        """Change the object of the host that an open descriptor, or a link to one, leads to."""
        if change.uid is not None or change.gid is not None:
            uid, gid = (-1 if wanted is None else wanted for wanted in (change.uid, change.gid))
            host_call(lambda: os.chown(place, uid, gid))
        if change.mode is not None:
            mode = change.mode & MODE_BITS
            host_call(lambda: os.chmod(place, mode))
        if change.atime is not None or change.mtime is not None:
            atime = self.atime if change.atime is None else change.atime
            mtime = self.mtime if change.mtime is None else change.mtime
            times = (_kept(atime), _kept(mtime))
            host_call(lambda: os.utime(place, ns=times))

    def evict(self) -> None:
        self.pages.release()

    # Names

    def _made(self, name: str, make: Callable[[tuple[bytes, ...]], None]) -> BindInode:
        make((*self.names, encode_name(name)))
        self.take(self.sb.tree.look(self.names).status)
        return self.lookup(name)

    def lookup(self, name: str) -> BindInode:
        found = super().lookup(name)
        assert isinstance(found, BindInode)
        return found

    def create(self, name: str, owner: NewOwner) -> Inode:
        return self._made(name, lambda names: self.sb.tree.create(names, owner.mode))

    def mkdir(self, name: str, owner: NewOwner) -> Inode:
        return self._made(name, lambda names: self.sb.tree.mkdir(names, owner.mode))

    def mknod(self, name: str, owner: NewOwner, kind: int, rdev: int) -> Inode:
        if kind != stat.S_IFIFO:
            raise LinuxError(errno.EPERM)
        return self._made(name, lambda names: self.sb.tree.mkfifo(names, owner.mode))

    def symlink(self, name: str, owner: NewOwner, target: str) -> Inode:
        return self._made(name, lambda names: self.sb.tree.symlink(names, encode_name(target)))

    def link(self, name: str, inode: Inode) -> None:
        assert isinstance(inode, BindInode)
        self._made(name, lambda names: self.sb.tree.link(inode.names, names))

    def unlink(self, name: str, inode: Inode) -> None:
        self.sb.tree.unlink((*self.names, encode_name(name)))
        inode.nlink -= 1

    def rmdir(self, name: str, inode: Inode) -> None:
        self.sb.tree.rmdir((*self.names, encode_name(name)))
        inode.nlink = 0

    def rename(self, name: str, new_directory: Inode, new_name: str, flags: RenameFlags) -> None:
        assert isinstance(new_directory, BindInode)
        inode, target = self.lookup(name), None
        try:
            target = new_directory.lookup(new_name)
        except LinuxError as error:
            if error.errno != errno.ENOENT:
                raise
        old, new = (*self.names, encode_name(name)), (*new_directory.names, encode_name(new_name))
        self.sb.tree.rename(old, new, int(flags))
        if target is not None and flags & RenameFlags.EXCHANGE:
            target.parent, target.name = self, old[-1]
        elif target is not None:
            target.nlink = 0 if target.is_directory else target.nlink - 1
        inode.parent, inode.name = new_directory, new[-1]


class BindSuperBlock(HostSuperBlock):
    """A tree of the host that guests may change."""

    tree: WritableTree

    def __init__(
        self, resources: Resources, fstype: FileSystemType, tree: WritableTree, log: Callable[[str], None],
        reclaim: Reclaim,
    ) -> None:  # fmt: skip
        self.reclaim = reclaim
        #: Open files of guests get descriptors below this one, so that some are left.
        self.max_fd = max(resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE_FDS, 0)
        self._known: WeakValueDictionary[int, BindInode] = WeakValueDictionary()
        super().__init__(resources, fstype, tree, log)
        self.recent = deque(maxlen=REMEMBERED)
        self.read_only = self.never_written = False

    def inode_of(self, found: HostObject, parent: HostInode | None, name: bytes) -> BindInode:
        ino = self.ino_of(found.status)
        inode = self._known.get(ino)
        if inode is None or inode.kind != stat.S_IFMT(found.status.st_mode) or not inode.nlink:
            inode = self._known[ino] = BindInode(self, found, parent, name)
        else:
            inode.parent, inode.name, inode.target = parent, name, found.target
            inode.update(found.status)
        return inode

    def open_special(self, path: Path, flags: int) -> File:
        """A FIFO or a device: one of the machine."""
        return self.resources.open_special(path, flags)

    def statfs(self) -> StatFs:
        found = self.tree.statvfs()
        return StatFs(
            HOSTFS_MAGIC, found.f_bsize, found.f_blocks, found.f_bfree, found.f_bavail, found.f_files, found.f_ffree
        )

    def put_super(self) -> None:
        for inode in list(self._known.values()):
            inode.pages.release()
        super().put_super()


class HostBind(FileSystemType):
    """The file system type ``hostfs``, of one tree of the host."""

    name = "hostfs"
    has_btime = multigrain = True

    def __init__(self, tree: WritableTree, log: Callable[[str], None], reclaim: Reclaim) -> None:
        self._parts = tree, log, reclaim

    def mount(self, resources: Resources, options: str) -> SuperBlock:
        tree, log, reclaim = self._parts
        return BindSuperBlock(resources, self, tree, log, reclaim)


def _no_charge(pages: int) -> None:
    """Pages that are not the host's are never made here."""


def _kept(time: int) -> int:
    """A time as a file system of the host may keep it."""
    return min(max(time, -_LAST_NS), _LAST_NS)
