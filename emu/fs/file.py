"""Open file descriptions: what a file descriptor refers to, shared by dup() and fork()."""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING, NamedTuple, Protocol

from emu.fs.fasync import Fasync
from emu.fs.notify import Notice
from emu.linux.errors import LinuxError
from emu.linux.fileflags import MAX_FILE_SIZE, PAGE_SIZE, SETFL_MASK, OpenFlags, PollEvents, Whence
from emu.mm.kmem import DIRENT, FILP, SLAB_UNRECLAIMABLE

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.fasync import FileOwner
    from emu.fs.inode import Inode
    from emu.linux.argument import Ioctl
    from emu.linux.caller import Caller, Credentials
    from emu.linux.wait import WaitQueue
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma

#: Flags that matter only while opening and are not kept (F_GETFL does not show them).
_OPEN_ONLY = int(OpenFlags.CREAT | OpenFlags.EXCL | OpenFlags.NOCTTY | OpenFlags.TRUNC | OpenFlags.CLOEXEC)
_ACCMODE = int(OpenFlags.ACCMODE)
_PATH = int(OpenFlags.PATH)
_NONBLOCK = int(OpenFlags.NONBLOCK)
_ASYNC = int(OpenFlags.ASYNC)
_APPEND = int(OpenFlags.APPEND)
_SETFL_MASK = int(SETFL_MASK)
_CLOSE_WRITE, _CLOSE_NOWRITE = int(Notice.CLOSE_WRITE), int(Notice.CLOSE_NOWRITE)
#: The poll() events of a file that never blocks.
ALWAYS_READY = int(PollEvents.IN | PollEvents.OUT | PollEvents.RDNORM | PollEvents.WRNORM)


class WouldBlock(Exception):
    """Nothing can be read or written now; ``queue`` is woken when that changes.

    No errno: the system call either returns EAGAIN (O_NONBLOCK) or sleeps on the queue and tries again.
    """

    def __init__(self, queue: WaitQueue, deadline: int | None = None) -> None:
        """``deadline``: when to try again at the latest, in ns of the machine's clock."""
        super().__init__()
        self.queue, self.deadline = queue, deadline


class BrokenPipe(LinuxError):
    """No reader is left: EPIPE, and SIGPIPE for the writer."""

    def __init__(self) -> None:
        super().__init__(errno.EPIPE)


class Watch(Protocol):
    """Who watches an open file without keeping it open (epoll)."""

    def file_closed(self) -> None:
        """The last reference to the file is gone."""


class File:
    """An open file: inode, flags and position. The methods' defaults are Linux's answers for a missing operation.

    Made with one reference; :meth:`get` adds one, :meth:`put` drops one, and the last calls :meth:`release`.
    """

    #: Whether there is a position; without one lseek, pread and pwrite raise ESPIPE (pipes, the console).
    seekable = True
    #: Whether its places go up to 2^64 (FMODE_UNSIGNED_OFFSET).
    unsigned_offset = False
    #: What it takes on the host, and what it keeps for its reader besides.
    struct_size = FILP
    _kept = 0
    #: A write call takes one message, and what is left of its buffer is not looked at (eventfd).
    one_message = False
    #: How long a read and a write wait at most, in nanoseconds; 0: for ever (SO_RCVTIMEO, SO_SNDTIMEO).
    receive_timeout = send_timeout = 0
    #: What is written is taken without being looked at (/dev/null).
    takes_unseen = False
    #: Its place in the order of compared files, once it has been compared (kcmp).
    order: int | None = None
    #: It counts among those who have opened its inode to write.
    has_write_access = False
    #: Those who watch it, once there is one.
    watches: dict[Watch, None] | None = None
    #: Who gets its signals, once somebody has asked for that (F_SETOWN), and O_ASYNC.
    owner: FileOwner | None = None
    fasync: Fasync | None = None
    #: Whether O_ASYNC has an effect.
    has_fasync = False
    #: Whether RWF_NOWAIT is allowed (FMODE_NOWAIT).
    nowait = False
    #: The open that made it has made the file as well (FMODE_CREATED).
    created = False
    #: Whoever asks waits in a way of his own, whether or not O_NONBLOCK is set (io_uring).
    patient = False
    #: Rights to files that whoever opened it did not have, and that count later (emu.fs.landlock).
    landlock_denied = 0

    #: The line of memory.stat where what it keeps counts.
    kept_kind = SLAB_UNRECLAIMABLE

    def __init__(self, path: Path, flags: int) -> None:
        """LinuxError(ENFILE) if the machine has as many open files as it can, (ENOMEM)."""
        self.path = path
        self.inode: Inode = path.dentry.inode
        resources = self.inode.sb.resources
        if resources.open_files >= resources.max_files:
            raise LinuxError(errno.ENFILE)
        #: Where it is charged, and what it keeps.
        self.kmem = resources.kmem.account(SLAB_UNRECLAIMABLE)
        self.kept_kmem = resources.kmem.account(self.kept_kind)
        self.kmem.charge(self.struct_size)
        resources.open_files += 1
        self.flags = int(flags) & ~_OPEN_ONLY
        self.pos = 0
        mode = self.flags & _ACCMODE
        opened = not self.flags & _PATH
        self.readable = opened and mode in (0, 2)  # O_RDONLY, O_RDWR
        self.writable = opened and mode in (1, 2)  # O_WRONLY, O_RDWR
        self._references = 1
        path.mount.pins += 1
        self.inode.open_count += 1
        if self.writable:
            self.inode.writers += 1
            path.mount.writers += 1
        elif self.readable:
            self.inode.readers += 1

    @property
    def noexec(self) -> bool:
        """Nothing where it was opened may be executed (path_noexec)."""
        return self.path.noexec

    @property
    def nonblocking(self) -> bool:
        """O_NONBLOCK is set."""
        return bool(self.flags & _NONBLOCK) and not self.patient

    @property
    def is_path(self) -> bool:
        """Opened with O_PATH: only names a place."""
        return bool(self.flags & _PATH)

    # Life

    def get(self) -> File:
        """Take one more reference; returns the file itself."""
        self._references += 1
        return self

    def put(self) -> None:
        """Drop a reference; the last one closes the file."""
        self._references -= 1
        if self._references:
            if self._references < 0:
                raise RuntimeError(f"File.put: more references dropped than taken on {self!r}")
            return
        for watch in list(self.watches or ()):
            watch.file_closed()
        if self.fasync is not None:
            self.fasync.end()
        if self.inode.watches and self in self.inode.watches:
            self.inode.watches[self].inode_gone()
        if self.inode.sb.resources.file_watches and not self.is_path:
            self.path.notify(_CLOSE_WRITE if self.writable else _CLOSE_NOWRITE)
        if not self.is_path:
            self.release()
        if self.inode.locks is not None:
            self.inode.locks.release(self)
        resources = self.inode.sb.resources
        resources.open_files -= 1
        self.kmem.uncharge(self.struct_size)
        self.kept_kmem.uncharge(self._kept)
        self.inode.open_count -= 1
        if self.has_write_access:
            self.inode.write_count -= 1
        if self.writable:
            self.inode.writers -= 1
            self.path.mount.writers -= 1
        elif self.readable:
            self.inode.readers -= 1
        self.inode.drop_if_unused()
        self.path.mount.unpin()

    @property
    def references(self) -> int:
        """How many hold it open."""
        return self._references

    @property
    def charged(self) -> int:
        """What it takes on the host."""
        return self.struct_size + self._kept

    def keep(self, size: int) -> None:
        """Account for what it keeps for its reader from now on (a text, a list of names).  LinuxError(ENOMEM)."""
        self.kept_kmem.charge(size - self._kept)
        self._kept = size

    def wait_open(self) -> None:
        """Raise WouldBlock while open(2) has to wait (a FIFO without its other end)."""

    def flush(self, owner: object) -> None:
        """One file descriptor, of the table ``owner``, was closed; others may remain."""
        watches = self.inode.watches
        if watches is not None and self in watches:
            watches[self].descriptor_closed(owner)

    def set_async(self, fd: int, on: bool) -> None:
        """O_ASYNC is set, by this descriptor, or cleared."""
        if self.has_fasync and on != (self.fasync is not None):
            if self.fasync is not None:
                self.fasync.end()
            self.fasync = Fasync(self, fd) if on else None
            self.flags ^= _ASYNC

    def release(self) -> None:
        """The last reference is gone."""

    # Data

    def read(self, count: int) -> bytes:
        """At most ``count`` bytes from the position, which moves on; ``b""`` at the end."""
        data = self.pread(count, self.pos)
        self.pos += len(data)
        return data

    def write_nothing(self) -> int:
        """A write of no bytes, which a file without positions may refuse."""
        return self.write(b"") if self.one_message else 0

    def write(self, data: bytes) -> int:
        """Write at the position (or at the end with O_APPEND), which moves on; returns how many bytes were written."""
        pos = self.inode.size if self.flags & _APPEND else self.pos
        written = self.pwrite(data, pos)
        self.pos = pos + written
        return written

    def prepare_write(self, count: int) -> int:
        """Called for streams before ``count`` bytes are read from user memory: raise the error that the write would
        meet anyway.

        Returns the size of the first piece; after it come pages. A fault in the buffer loses the whole piece it is in.
        """
        return PAGE_SIZE

    def unread(self, data: bytes, stored: int) -> int:
        """The guest's buffer could hold only ``stored`` bytes of what the last read() gave: take back the rest.

        Returns how many bytes then count as read.
        """
        self.pos -= len(data) - stored
        return stored

    def pread(self, count: int, pos: int) -> bytes:
        """At most ``count`` bytes from ``pos``."""
        raise LinuxError(errno.EINVAL)

    def pwrite(self, data: bytes, pos: int) -> int:
        """Write at ``pos``; returns how many bytes were written."""
        raise LinuxError(errno.EINVAL)

    def lseek(self, offset: int, whence: int) -> int:
        """Move the position; returns the new one. For SEEK_DATA and SEEK_HOLE a file is all data, with a hole at its
        end.
        """
        if not self.seekable:
            raise LinuxError(errno.ESPIPE)
        size = self.inode.size
        if whence == Whence.SET:
            pos = offset
        elif whence == Whence.CUR:
            pos = self.pos + offset
        elif whence == Whence.END:
            pos = size + offset
        elif whence in (Whence.DATA, Whence.HOLE):
            if not 0 <= offset < size:
                raise LinuxError(errno.ENXIO)
            pos = offset if whence == Whence.DATA else size
        else:
            raise LinuxError(errno.EINVAL)
        if not 0 <= pos <= MAX_FILE_SIZE:
            raise LinuxError(errno.EINVAL)
        self.pos = pos
        return pos

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        """Reserve or punch space (fallocate(2)); the caller has checked sign and sum of the arguments."""
        raise LinuxError(errno.EOPNOTSUPP)

    def fsync(self, data_only: bool) -> None:
        """Write changes to the device; nothing to do for memory."""
        if not (self.inode.is_regular or self.inode.is_directory):
            raise LinuxError(errno.EINVAL)

    def may_write(self, who: Credentials) -> bool:
        """Whether somebody owns the file or may write to it, however it was opened."""
        if who.owns(self.inode.uid):
            return True
        try:
            self.inode.permission(2, who)
        except LinuxError:
            return False
        return True

    def update_time(self) -> None:
        """A page of it is about to be written through a shared mapping (file_update_time)."""
        self.inode.touch()

    def set_flags(self, flags: int) -> None:
        """F_SETFL: of the flags, those that can be changed."""
        self.flags = self.flags & ~_SETFL_MASK | flags & _SETFL_MASK

    def ioctl(self, caller: Caller[Path], command: int, argument: int) -> int:
        """A device control call; ENOTTY for a command that the file does not know."""
        raise LinuxError(errno.ENOTTY)

    def ioctl_row(self, command: int) -> Ioctl | None:
        """The declaration of a command of :meth:`ioctl`; None for one that has none."""
        return None

    @property
    def pollable(self) -> bool:
        """Whether there is something to wait for (file_can_poll)."""
        return not (self.inode.is_regular or self.inode.is_directory)

    def show_fdinfo(self) -> str:
        """Its own lines of /proc/PID/fdinfo/FD."""
        return ""

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        """Event bits that hold now (PollEvents), and the queues that are woken when they change."""
        return ALWAYS_READY, ()

    # Mapping

    def mmap(self, mm: AddressSpace, vma: Vma) -> None:
        """Give ``vma`` its page cache or operations; called before the VMA is inserted."""
        raise LinuxError(errno.ENODEV)

    def get_unmapped_area(self, mm: AddressSpace, address: int, length: int, pgoff: int, flags: int) -> int | None:
        """Choose the address of a mapping of this file, in bytes; None leaves it to the default search."""
        return None

    # Directories

    def readdir(self) -> list[DirectoryEntry]:
        """The entries from the position on; ``pos`` counts entries and is moved by the caller."""
        raise LinuxError(errno.ENOTDIR)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.inode!r}, flags {self.flags:o})"


def file_of(vma: Vma) -> File | None:
    """The open file behind a mapping."""
    file = vma.file
    assert file is None or isinstance(file, File), f"{file!r} is mapped and no file of the VFS"
    return file


class DirectoryEntry(NamedTuple):
    """One line of a directory listing; ``kind`` is the S_IFMT part of the mode."""

    name: str
    ino: int
    kind: int


class DirectoryFile(File):
    """An open directory. The listing is taken when it is read from the start, so that offsets stay stable."""

    def __init__(self, path: Path, flags: int) -> None:
        super().__init__(path, flags)
        self._entries: list[DirectoryEntry] | None = None

    def pread(self, count: int, pos: int) -> bytes:
        raise LinuxError(errno.EISDIR)

    def readdir(self) -> list[DirectoryEntry]:
        if self.inode.nlink == 0:
            raise LinuxError(errno.ENOENT)
        if self._entries is None or self.pos == 0:
            entries = self._list()
            self.keep(len(entries) * DIRENT)
            self._entries = entries
        return self._entries[self.pos :]

    def lseek(self, offset: int, whence: int) -> int:
        if whence not in (Whence.SET, Whence.CUR):
            raise LinuxError(errno.EINVAL)
        pos = offset + (self.pos if whence == Whence.CUR else 0)
        if pos < 0:
            raise LinuxError(errno.EINVAL)
        self.pos = pos
        return pos

    def _list(self) -> list[DirectoryEntry]:
        parent = self.path.dentry.parent.inode
        dots = [DirectoryEntry(".", self.inode.ino, stat.S_IFDIR), DirectoryEntry("..", parent.ino, stat.S_IFDIR)]
        return dots + list(self.inode.iterate())
