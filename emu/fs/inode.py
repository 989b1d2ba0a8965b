"""Inodes: the data that a file system keeps about one file, and the operations that it may implement."""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from emu.fs import acl as posix_acl
from emu.fs.file import DirectoryEntry, DirectoryFile, File
from emu.fs.locks import FileLocks
from emu.fs.notify import ISDIR, OF_ITSELF, Notice
from emu.fs.seals import Seal, check_mode
from emu.linux.capability import DAC_OVERRIDE, DAC_READ_SEARCH
from emu.linux.errors import LinuxError
from emu.linux.fileflags import May, RenameFlags

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.notify import Watch
    from emu.fs.simple_xattr import Xattrs
    from emu.fs.superblock import SuperBlock
    from emu.linux.caller import Caller, Credentials


_EXEC, _WRITE = int(May.EXEC), int(May.WRITE)
#: FS_IMMUTABLE_FL.
_IMMUTABLE = 0x10
_DELETE_SELF = int(Notice.DELETE_SELF)

_OVERRIDES = 1 << DAC_OVERRIDE | 1 << DAC_READ_SEARCH


class Stat(NamedTuple):
    """The fields of stat(2); times in nanoseconds since the epoch, ``blocks`` in units of 512 bytes."""

    dev: int
    ino: int
    mode: int
    nlink: int
    uid: int
    gid: int
    rdev: int
    size: int
    blksize: int
    blocks: int
    atime: int
    mtime: int
    ctime: int
    btime: int


class Attributes(NamedTuple):
    """What to change in an inode; None leaves a field alone (the kernel's ``struct iattr``)."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime: int | None = None
    mtime: int | None = None


class NewOwner(NamedTuple):
    """Permission bits (umask already applied), uid and gid for an inode about to be made."""

    mode: int
    uid: int = 0
    gid: int = 0


class Inode:
    """One file of any kind. A file system overrides the operations that it supports; the others fail as they do on
    Linux.
    """

    #: What it is charged with from its making to :meth:`evict`: 0 for what guests cannot make, and for a directory, for
    #: which its name is charged.
    charged = 0
    #: Whether O_DIRECT opens succeed (FMODE_CAN_ODIRECT).
    can_direct = False
    #: Made with O_TMPFILE, without O_EXCL: linkat() may give it its first name.
    linkable = False
    #: Those who watch it, by who they are (inotify), once there is one.
    watches: dict[object, Watch] | None = None
    #: Data that its open files share: the pipe of a FIFO (i_private).
    private: object = None
    #: FS_*_FL, as chattr sets them.
    fs_flags = 0
    #: Open files that can write, and those that can only read.
    writers = readers = 0
    #: How many have opened it to write; negative: how many execute it, so that nobody may (i_writecount).
    write_count = 0
    #: How long what is written is expected to live (F_SET_RW_HINT).
    write_hint = 0
    #: Pages are swapped to it (S_SWAPFILE).
    swapfile = False
    #: Its extended attributes, once it has had one.
    xattrs: Xattrs | None = None
    #: Whether nothing of it can be changed, whoever asks (anon_inode_setattr).
    unchangeable = False
    #: Its access control list, where that says more than the mode, and the one that what is made in it gets.
    acl: posix_acl.Acl | None = None
    default_acl: posix_acl.Acl | None = None

    def __init__(self, sb: SuperBlock, mode: int, uid: int = 0, gid: int = 0, ino: int | None = None) -> None:
        self.sb = sb
        self.ino = sb.next_ino() if ino is None else ino
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.nlink = 1
        self.size = 0
        self.rdev = 0
        now = sb.now()
        self.atime = self.mtime = self.ctime = self.btime = now
        #: Open file descriptions; a file without names lives until this is 0.
        self.open_count = 0
        #: Its seals (fcntl F_ADD_SEALS); None for a file that can have no seals.
        self.seals: Seal | None = None
        #: Advisory locks, once a process has asked for one.
        self.locks: FileLocks | None = None

    def belongs_to(self, who: Credentials) -> None:
        """Whoever makes a file without a name owns it (current_fsuid)."""
        self.uid, self.gid = who.fsuid, who.fsgid

    # What kind of file this is

    @property
    def kind(self) -> int:
        """The S_IFMT part of the mode."""
        return stat.S_IFMT(self.mode)

    @property
    def is_directory(self) -> bool:
        """Whether this is a directory."""
        return self.mode & 0o170000 == stat.S_IFDIR

    @property
    def is_symlink(self) -> bool:
        """Whether this is a symbolic link."""
        return self.mode & 0o170000 == stat.S_IFLNK

    @property
    def is_regular(self) -> bool:
        """Whether this is a regular file."""
        return self.mode & 0o170000 == stat.S_IFREG

    # Operations on a directory

    def lookup(self, name: str) -> Inode:
        """The inode called ``name``; ENOENT if there is none."""
        raise LinuxError(errno.ENOTDIR)

    def iterate(self) -> Iterable[DirectoryEntry]:
        """The entries without ``.`` and ``..``."""
        raise LinuxError(errno.ENOTDIR)

    def create(self, name: str, owner: NewOwner) -> Inode:
        """Make a regular file."""
        raise LinuxError(errno.EACCES)

    def mkdir(self, name: str, owner: NewOwner) -> Inode:
        """Make a directory."""
        raise LinuxError(errno.EPERM)

    def mknod(self, name: str, owner: NewOwner, kind: int, rdev: int) -> Inode:
        """Make a FIFO, device or socket node; ``kind`` is its S_IFMT value. Regular files go to create() as well."""
        raise LinuxError(errno.EPERM)

    def symlink(self, name: str, owner: NewOwner, target: str) -> Inode:
        """Make a symbolic link to ``target``."""
        raise LinuxError(errno.EPERM)

    def tmpfile(self, owner: NewOwner) -> Inode:
        """Make a regular file without a name (O_TMPFILE)."""
        raise LinuxError(errno.EOPNOTSUPP)

    def link(self, name: str, inode: Inode) -> None:
        """Give ``inode`` one more name."""
        raise LinuxError(errno.EPERM)

    def unlink(self, name: str, inode: Inode) -> None:
        """Remove the name of something that is no directory."""
        raise LinuxError(errno.EPERM)

    def rmdir(self, name: str, inode: Inode) -> None:
        """Remove an empty directory; ENOTEMPTY."""
        raise LinuxError(errno.EPERM)

    def rename(self, name: str, new_directory: Inode, new_name: str, flags: RenameFlags) -> None:
        """Move an entry; the VFS has checked kinds, permissions and that both are on this file system."""
        raise LinuxError(errno.EPERM)

    # Operations on the inode itself

    def get_link(self, caller: Caller[Path] | None) -> str | Path:
        """Where a symbolic link leads ``caller`` (None: the kernel): a text, or at once a place (/proc/<pid>/fd)."""
        raise LinuxError(errno.EINVAL)

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        """An open file description; the default reads directories, fails every read and write of regular files, and
        gives ENXIO for FIFOs, devices and sockets.
        """
        if self.is_directory:
            return DirectoryFile(path, flags)
        if self.is_symlink:
            raise LinuxError(errno.ELOOP)
        if self.is_regular:
            return File(path, flags)
        raise LinuxError(errno.ENXIO)

    def truncate(self, size: int) -> None:
        """Set the size in bytes; reached through ftruncate, truncate and O_TRUNC."""
        raise LinuxError(errno.EINVAL)

    def setattr(self, change: Attributes) -> None:
        """Apply a change that the VFS has allowed; a new size goes to :meth:`truncate` first."""
        if change.size is not None:
            self.truncate(change.size)
        if change.mode is not None:
            check_mode(self, change.mode)
            self.mode = self.kind | change.mode & 0o7777
            if self.acl is not None:
                self.acl = posix_acl.with_mode(self.acl, change.mode)
        if change.uid is not None:
            self.uid = change.uid
        if change.gid is not None:
            self.gid = change.gid
        self.ctime = self.sb.now()
        if change.atime is not None:
            self.atime = change.atime
        if change.mtime is not None:
            self.mtime = change.mtime

    @property
    def blocks(self) -> int:
        """The space that the data takes, in units of 512 bytes."""
        return 0

    def getattr(self) -> Stat:
        """The fields of stat(2)."""
        return Stat(
            self.sb.dev,
            self.ino,
            self.mode,
            self.nlink,
            self.uid,
            self.gid,
            self.rdev,
            self.size,
            self.sb.blksize,
            self.blocks,
            self.atime,
            self.mtime,
            self.ctime,
            self.btime,
        )

    def permission(self, mask: int, who: Credentials) -> None:
        """EACCES unless ``who`` may do all of ``mask`` (May bits): generic_permission() of fs/namei.c."""
        mode = self.mode
        if self.fs_flags & _IMMUTABLE and mask & _WRITE:
            raise LinuxError(errno.EPERM)
        if who.effective & _OVERRIDES and self._overridden(mask, who):
            return
        if who.fsuid == self.uid:
            mode >>= 6
        elif self.acl is not None and mode & 0o070:
            if not posix_acl.permits(self.acl, mask & 7, who, self.uid, self.gid):
                raise LinuxError(errno.EACCES)
            return
        elif who.in_group(self.gid):
            mode >>= 3
        if mask & ~mode & 7:
            raise LinuxError(errno.EACCES)

    def _overridden(self, mask: int, who: Credentials) -> bool:
        """Whether capabilities decide: CAP_DAC_OVERRIDE allows everything but to execute what nobody may execute,
        CAP_DAC_READ_SEARCH to read files, and to read and search directories.
        """
        if who.capable_over(DAC_OVERRIDE, self.uid, self.gid) and (
            self.is_directory or not mask & _EXEC or self.mode & 0o111
        ):
            return True
        allowed = 5 if self.is_directory else 4
        return who.capable_over(DAC_READ_SEARCH, self.uid, self.gid) and not mask & 7 & ~allowed

    def file_locks(self) -> FileLocks:
        """The advisory locks, made at the first call."""
        if self.locks is None:
            self.locks = FileLocks(self.sb.resources.kmem)
        return self.locks

    def evict(self) -> None:
        """The last name and the last open file are gone: free what the file holds."""

    def drop_if_unused(self) -> None:
        """Evict if neither a name nor an open file is left."""
        if self.nlink == 0 and self.open_count == 0:
            self.tell_if_gone()
            if self.xattrs is not None:
                self.xattrs.clear()
            self.evict()

    # Those who watch it (fs/notify)

    def notify(self, notice: int, name: str = "", *, cookie: int = 0, directory: bool = False) -> None:
        """Something has happened to it, or to ``name`` in this directory; ``directory``: what it happened to is one."""
        for listener in list(self.sb.resources.fanotify):
            listener.happened_in(self, notice, name, is_directory=directory)
        self.tell(notice, name, cookie=cookie, directory=directory)

    def tell(self, notice: int, name: str = "", *, cookie: int = 0, directory: bool = False) -> None:
        """Those who watch it hear of that."""
        if self.watches:
            said = notice | ISDIR if directory and not notice & OF_ITSELF else notice
            for watch in list(self.watches.values()):
                if watch.mask & notice:
                    watch.tell(said, name, cookie)

    def tell_if_gone(self) -> None:
        """Those who watch it hear that neither a name nor an open file is left."""
        if self.nlink == 0 and self.open_count == 0:
            for listener in list(self.sb.resources.fanotify):
                listener.happened_in(self, _DELETE_SELF, "", is_directory=self.is_directory)
                listener.gone(self)
        if self.watches and self.nlink == 0 and self.open_count == 0:
            for watch in list(self.watches.values()):
                watch.inode_gone()

    def touch(self) -> None:
        """The content changed now."""
        self.mtime = self.ctime = self.sb.now()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.sb.fstype.name} ino {self.ino}, mode {self.mode:o})"
