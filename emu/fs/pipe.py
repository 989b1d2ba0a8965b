"""Pipes and FIFOs (fs/pipe.c): 64 KiB between two ends; writes of up to PIPE_BUF bytes are atomic."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING
from weakref import WeakSet

from emu.fs.fasync import POLL_OUT, Fasync
from emu.fs.file import BrokenPipe, WouldBlock
from emu.linux.errors import LinuxError
from emu.linux.fileflags import PAGE_SIZE, PollEvents
from emu.linux.wait import WaitQueue
from emu.mm.kmem import OTHER, PIPE, PIPE_PAGE, Kmem

if TYPE_CHECKING:
    pass

#: Bytes that a pipe holds unless F_SETPIPE_SZ says otherwise.
DEFAULT_CAPACITY = 65536
#: /proc/sys/fs/pipe-max-size.
MAX_CAPACITY = 1 << 20
#: Pipes with a buffer of 64 KiB: 16384 pages in all.
MAX_FULL_PIPES = 1024

#: The masks of poll(2) for the ends' states.
READABLE = int(PollEvents.IN | PollEvents.RDNORM)
WRITABLE = int(PollEvents.OUT | PollEvents.WRNORM)
HANGUP = int(PollEvents.HUP)
ERROR = int(PollEvents.ERR)


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
                self.not_full.wake_all(WRITABLE)
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
            self.not_full.wake_all(WRITABLE)
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
        self.not_empty.wake_all(READABLE)
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
            self.not_empty.wake_all(READABLE)  # as Linux tells epoll of each write
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
        self.not_empty.wake_all(READABLE)

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
        self.not_full.wake_all(WRITABLE)
        return self.capacity

    def wake_everyone(self) -> None:
        """An end was opened or closed."""
        self.not_empty.wake_all(READABLE | ERROR | HANGUP)
        self.not_full.wake_all(WRITABLE | ERROR | HANGUP)


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
