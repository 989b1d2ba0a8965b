"""Pipes and FIFOs (fs/pipe.c): 64 KiB between two ends; writes of up to PIPE_BUF bytes are atomic."""

from __future__ import annotations

import errno
import stat
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakSet

from emu.fs.fasync import POLL_OUT, Fasync
from emu.fs.file import BrokenPipe, File, WouldBlock
from emu.fs.libfs import Node
from emu.linux.errors import LinuxError
from emu.linux.fileflags import PAGE_SIZE, OpenFlags, PollEvents
from emu.linux.wait import WaitQueue
from emu.mm.kmem import OTHER, PIPE, PIPE_PAGE, Kmem

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.inode import Inode
    from emu.fs.superblock import SuperBlock
    from emu.linux.caller import Caller

PIPEFS_MAGIC = 0x50495045
#: Bytes that a pipe holds unless F_SETPIPE_SZ says otherwise.
DEFAULT_CAPACITY = 65536
#: /proc/sys/fs/pipe-max-size.
MAX_CAPACITY = 1 << 20
#: Pipes with a buffer of 64 KiB: 16384 pages in all.
MAX_FULL_PIPES = 1024
FIONREAD = 0x541B

_DIRECT = int(OpenFlags.DIRECT)
_READABLE = int(PollEvents.IN | PollEvents.RDNORM)
_WRITABLE = int(PollEvents.OUT | PollEvents.WRNORM)
_HANGUP = int(PollEvents.HUP)
_ERROR = int(PollEvents.ERR)

AnyPipeFile = TypeVar("AnyPipeFile", bound="PipeFile")


class Slot:
    """One page of a pipe: the bytes not yet read, and how far into the page they reach; ``packet``: a read takes it as
    a whole, and nothing else (PIPE_BUF_FLAG_PACKET).
    """

    __slots__ = ("data", "end", "packet")

    def __init__(self, data: bytes, end: int, *, packet: bool = False) -> None:
        self.data = data
        self.end = end
        self.packet = packet


class Pipe:
    """The slots of a pipe, its readers and writers, and the queues on which they sleep.

    As on Linux the room is counted in slots of a page: a write that does not fit into the rest of the last page starts
    a new one, so that a full pipe may hold less than its capacity.
    """

    def __init__(self, capacity: int, pipes: Pipes) -> None:
        """``pipes``: all pipes of the machine, which together have a limit.  LinuxError(ENOMEM)."""
        self.kmem = pipes.kmem.account(OTHER)
        self.kmem.charge(PIPE)
        self._pipes = pipes
        self.slots = capacity // PAGE_SIZE
        self.length = 0
        self.readers = 0
        self.writers = 0
        #: How often each end was opened: a FIFO's open waits for one of these to move.
        self.readers_opened = 0
        self.writers_opened = 0
        self.not_empty = WaitQueue()
        self.not_full = WaitQueue()
        self._used: deque[Slot] = deque()
        #: Write ends with O_ASYNC: a read is told to them even if the pipe was not full.
        self.told: dict[Fasync, None] = {}

    @property
    def full(self) -> bool:
        """No slot is free."""
        return len(self._used) >= self.slots

    @property
    def free(self) -> int:
        """How many slots are free."""
        return max(0, self.slots - len(self._used))

    @property
    def capacity(self) -> int:
        """F_GETPIPE_SZ, in bytes."""
        return self.slots * PAGE_SIZE

    def read(self, count: int) -> bytes:
        """The data in the pipe, at most ``count`` bytes; ``b""`` at the end, when no writer is left."""
        if not count:
            return b""
        used = self._used
        if not used:
            if not self.writers:
                return b""
            raise WouldBlock(self.not_empty)
        was_full = len(used) >= self.slots
        slot = used[0]
        if len(used) == 1 and len(slot.data) <= count:
            data, slot.data = slot.data, b""
            used.popleft()
            self.kmem.uncharge(PIPE_PAGE)
            self.length = 0
            if was_full:
                self.not_full.wake_all(_WRITABLE)
            elif self.told:
                self._tell()
            self._pipes.taken = [(slot, data)]
            return data
        taken: list[tuple[Slot, bytes]] = []
        left = count
        while left and used:
            slot = used[0]
            if slot.packet and taken:
                break
            data = slot.data[:left]
            if slot.packet:
                self.length -= len(slot.data) - len(data)
                left = len(data)
                count = left
            slot.data = b"" if slot.packet else slot.data[left:]
            if not slot.data:
                used.popleft()
                self.kmem.uncharge(PIPE_PAGE)
            taken.append((slot, data))
            left -= len(data)
        self.length -= count - left
        if was_full and not self.full:
            self.not_full.wake_all(_WRITABLE)
        elif self.told:
            self._tell()
        self._pipes.taken = taken
        return taken[0][1] if len(taken) == 1 else b"".join(data for _, data in taken)

    def _tell(self) -> None:
        """Something was read, and no queue is told of it."""
        for each in list(self.told):
            each.tell(POLL_OUT)

    def peek(self, count: int) -> list[bytes]:
        """The data in the slots, at most ``count`` bytes, which stays where it is."""
        pieces: list[bytes] = []
        for slot in self._used:
            if count <= 0:
                break
            pieces.append(slot.data[:count])
            count -= len(pieces[-1])
        return pieces

    def write(self, data: bytes, *, packets: bool = False) -> int:
        """Write as much as fits (up to PIPE_BUF bytes: all or nothing), ``packets``: each page as one; BrokenPipe
        without a reader, ENOMEM without memory for the first page.
        """
        if not data:
            return 0
        done = self.prepare(len(data)) % PAGE_SIZE
        if done:
            last = self._used[-1]
            last.data += data[:done]
            last.end += done
        while done < len(data) and not self.full:
            piece = data[done : done + PAGE_SIZE]
            try:
                self._add(Slot(piece, PAGE_SIZE if packets else len(piece), packet=packets))
            except LinuxError:
                if not done:
                    raise
                break
            done += len(piece)
        self.length += done
        self.not_empty.wake_all(_READABLE)
        return done

    @property
    def in_one_piece(self) -> bytes | None:
        """All that it holds, if that is nothing, or one piece as it was written, behind which is room; else None."""
        if self.slots == 1 or len(self._used) > 1:
            return None
        if not self._used:
            return b""
        slot = self._used[0]
        return slot.data if slot.end == len(slot.data) and not slot.packet else None

    def hold(self, data: bytes) -> None:
        """From now on it holds this piece, of a page at most, and nobody is told.  There is memory for it."""
        if self._used:
            self._used.clear()
            self.kmem.uncharge(PIPE_PAGE)
        if data:
            self.kmem.charge_reserved(PIPE_PAGE)
            self._used.append(Slot(data, len(data)))
        self.length = len(data)

    def prepare(self, count: int) -> int:
        """The size of the first piece of a write: the part beyond whole pages, if the last page has room for it.

        BrokenPipe without a reader, WouldBlock if not even the first piece fits.
        """
        if not self.readers:
            raise BrokenPipe
        odd = count % PAGE_SIZE
        if odd and self._used and self._used[-1].end + odd <= PAGE_SIZE:
            return odd
        if self.full:
            self.not_empty.wake_all(_READABLE)  # as Linux tells epoll of each write
            raise WouldBlock(self.not_full)
        return PAGE_SIZE

    def unread(self, data: bytes, stored: int) -> int:
        """Put back the data of the last read() beyond ``stored``, with the whole piece in which ``stored`` ends."""
        kept = 0
        pieces = self._pipes.taken
        while pieces and kept + len(pieces[0][1]) <= stored:
            kept += len(pieces.pop(0)[1])
        for slot, piece in reversed(pieces):
            if not slot.data:
                self.kmem.charge_reserved(PIPE_PAGE)  # which read() has just given back
                self._used.appendleft(slot)
            slot.data = piece + slot.data
        self.length += len(data) - kept
        return kept

    def end_of_first(self, count: int) -> int:
        """How far the first slot reaches into its page, if so many bytes are all of it; else its page takes no more."""
        first = self._used[0]
        return first.end if len(first.data) == count else PAGE_SIZE

    def append(self, page: bytes, end: int = PAGE_SIZE) -> None:
        """Take a part of a file's page (sendfile): it gets a slot of its own, and nothing is merged into it, unless it
        is the page of a pipe, which reaches to ``end``.  LinuxError(ENOMEM).
        """
        self._add(Slot(page, end))
        self.length += len(page)
        self.not_empty.wake_all(_READABLE)

    def _add(self, slot: Slot) -> None:
        self.kmem.charge(PIPE_PAGE)
        self._used.append(slot)

    @property
    def charged(self) -> int:
        """What it takes on the host."""
        return PIPE + PIPE_PAGE * len(self._used)

    def discard(self) -> None:
        """Nobody has an end of it any more."""
        self.kmem.uncharge(self.charged)
        self._used.clear()

    def resize(self, size: int) -> int:
        """F_SETPIPE_SZ: round up to a power of two of pages; EPERM beyond the limit of one pipe or of all pipes, EBUSY
        if the data in the pipe would not fit.
        """
        if size > 1 << 31:
            raise LinuxError(errno.EINVAL)
        slots = 1 << (-(-max(size, PAGE_SIZE) // PAGE_SIZE) - 1).bit_length()
        room = min(self._pipes.max_size, self._pipes.room(self))
        if slots > self.slots and slots * PAGE_SIZE > room:
            raise LinuxError(errno.EPERM)
        if slots < len(self._used):
            raise LinuxError(errno.EBUSY)
        self.slots = slots
        self.not_full.wake_all(_WRITABLE)
        return self.capacity

    def wake_everyone(self) -> None:
        """An end was opened or closed."""
        self.not_empty.wake_all(_READABLE | _ERROR | _HANGUP)
        self.not_full.wake_all(_WRITABLE | _ERROR | _HANGUP)


class Pipes:
    """Every pipe of a machine with ``pages`` pages of memory; ``kmem`` is charged with what they hold."""

    def __init__(self, pages: int, kmem: Kmem) -> None:
        self._pages = pages
        #: /proc/sys/fs/pipe-max-size.
        self.max_size = MAX_CAPACITY
        self.kmem = kmem
        self._pipes: WeakSet[Pipe] = WeakSet()
        #: The data of the last read() of any pipe, by the slot that it came from.
        self.taken: list[tuple[Slot, bytes]] = []

    def __iter__(self) -> Iterator[Pipe]:
        """Those that an end is open of."""
        return iter([pipe for pipe in self._pipes if pipe.readers or pipe.writers])

    def set_max_size(self, size: int) -> None:
        """Change fs.pipe-max-size; it is rounded up as a pipe's own size is.  LinuxError(EINVAL)."""
        if size > 1 << 31:
            raise LinuxError(errno.EINVAL)
        self.max_size = PAGE_SIZE << (-(-max(size, PAGE_SIZE) // PAGE_SIZE) - 1).bit_length()

    def new(self) -> Pipe:
        """A pipe's buffer; beyond a number of pipes (pipe-user-pages-soft) it has only one page, as on Linux."""
        pipe = Pipe(DEFAULT_CAPACITY if len(self._pipes) < MAX_FULL_PIPES else PAGE_SIZE, self)
        self._pipes.add(pipe)
        return pipe

    @property
    def charged(self) -> int:
        """What all pipes are charged with."""
        return sum(pipe.charged for pipe in self)

    def room(self, pipe: Pipe) -> int:
        """The largest size in bytes that a pipe may get: all pipes together cannot exceed memory
        (pipe-user-pages-hard).
        """
        others = sum(other.slots for other in self._pipes if other is not pipe)
        return max(0, self._pages - others) * PAGE_SIZE

    def open_fifo(self, path: Path, flags: int) -> FifoFile:
        """Open a named pipe; the caller goes on to :meth:`File.wait_open`."""
        inode = path.dentry.inode
        if flags & OpenFlags.ACCMODE == OpenFlags.ACCMODE:
            raise LinuxError(errno.EINVAL)
        pipe = inode.private
        if not isinstance(pipe, Pipe):
            pipe = inode.private = self.new()
        return self.open(FifoFile, path, flags, pipe)

    @staticmethod
    def open(kind: type[AnyPipeFile], path: Path, flags: int, pipe: Pipe) -> AnyPipeFile:
        """Open an end of a pipe, which is given up if that fails and nobody else has it open."""
        try:
            return kind(path, flags, pipe)
        except LinuxError:
            if not pipe.readers and not pipe.writers:
                kind.forget(path.dentry.inode, pipe)
            raise


class PipeFile(File):
    """One end (or, for a FIFO opened O_RDWR, both ends) of a pipe."""

    has_fasync = nowait = True

    seekable = False

    def __init__(self, path: Path, flags: int, pipe: Pipe) -> None:
        super().__init__(path, flags)
        self.pipe = pipe
        if self.readable:
            pipe.readers += 1
            pipe.readers_opened += 1
        if self.writable:
            pipe.writers += 1
            pipe.writers_opened += 1
        self._seen = (pipe.readers_opened, pipe.writers_opened)
        #: A FIFO opened without O_NONBLOCK shows no POLLHUP before its first writer came.
        self._writers_before = -1 if pipe.writers or isinstance(self.inode, PipeInode) else pipe.writers_opened
        pipe.wake_everyone()

    def release(self) -> None:
        pipe = self.pipe
        if self.fasync is not None:
            pipe.told.pop(self.fasync, None)
        pipe.readers -= self.readable
        pipe.writers -= self.writable
        pipe.wake_everyone()
        if not pipe.readers and not pipe.writers:
            self.forget(self.inode, pipe)

    @staticmethod
    def forget(inode: Inode, pipe: Pipe) -> None:
        """The last end has been closed."""
        assert isinstance(inode, Node)
        inode.private = None
        pipe.discard()

    def read(self, count: int) -> bytes:
        return self.pipe.read(count)

    def prepare_write(self, count: int) -> int:
        return self.pipe.prepare(count)

    def unread(self, data: bytes, stored: int) -> int:
        return self.pipe.unread(data, stored)

    def write(self, data: bytes) -> int:
        return self.pipe.write(data, packets=bool(self.flags & _DIRECT))

    def set_async(self, fd: int, on: bool) -> None:
        before = self.fasync
        super().set_async(fd, on)
        if self.writable:
            if before is not None:
                self.pipe.told.pop(before, None)
            if self.fasync is not None:
                self.pipe.told[self.fasync] = None

    def fsync(self, data_only: bool) -> None:
        raise LinuxError(errno.EINVAL)

    def ioctl(self, caller: Caller[Path], command: int, argument: int) -> int:
        if command == FIONREAD:
            caller.mm.write(argument, self.pipe.length.to_bytes(4, "little"))
            return 0
        raise LinuxError(errno.ENOTTY)

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        pipe = self.pipe
        mask = 0
        queues: tuple[WaitQueue, ...] = ()
        if self.readable:
            queues = (pipe.not_empty,)
            if pipe.length:
                mask |= _READABLE
            if not pipe.writers and pipe.writers_opened != self._writers_before:
                mask |= _HANGUP
        if self.writable:
            queues += (pipe.not_full,)
            if not pipe.full:
                mask |= _WRITABLE
            if not pipe.readers:
                mask |= _ERROR
        return mask, queues


class FifoFile(PipeFile):
    """An end of a named pipe: open(2) waits for the other end.  That of a pipe(2), opened again, does not."""

    def wait_open(self) -> None:
        pipe = self.pipe
        readers_seen, writers_seen = self._seen
        if isinstance(self.inode, PipeInode) or (self.readable and self.writable):
            return
        if self.readable:
            if not self.nonblocking and not pipe.writers and pipe.writers_opened == writers_seen:
                raise WouldBlock(pipe.not_empty)
        elif self.writable and not pipe.readers and pipe.readers_opened == readers_seen:
            if self.nonblocking:
                raise LinuxError(errno.ENXIO)
            raise WouldBlock(pipe.not_full)


class PipeInode(Node):
    """The inode of a pipe; opened again through /proc/<pid>/fd, it acts as a FIFO."""

    def __init__(self, sb: SuperBlock, pipe: Pipe) -> None:
        super().__init__(sb, stat.S_IFIFO | 0o600)
        self.private = pipe
