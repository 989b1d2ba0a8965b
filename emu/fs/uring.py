"""The file of an io_uring: the memory that it shares with the program, and the queues in it (io_uring/io_uring.c).

The program writes submission entries and moves the tail of the submission queue; the kernel moves its head, writes
completion events and moves the tail of the completion queue.  What the program writes is never trusted.
"""

from __future__ import annotations

import errno
import struct
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from emu.fs.anon import AnonFile
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags, PollEvents
from emu.linux.wait import WaitQueue
from emu.mm.kmem import URING_OVERFLOW
from emu.mm.pagecache import PageCache
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.eventfd import EventFd
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma

#: Where each part is mapped (IORING_OFF_*).
OFF_SQ_RING, OFF_CQ_RING, OFF_SQES, _OFF_MASK = 0, 0x8000000, 0x10000000, 0xF8000000
#: struct io_rings.
SQ_HEAD, SQ_TAIL, CQ_HEAD, CQ_TAIL = 0, 4, 8, 12
SQ_MASK, CQ_MASK, SQ_ENTRIES, CQ_ENTRIES, SQ_DROPPED, SQ_FLAGS, CQ_FLAGS, CQ_OVERFLOW, CQES = (
    16, 20, 24, 28, 32, 36, 40, 44, 64,
)  # fmt: skip
_SQE, CQE = struct.Struct("<BBHiQQIIQHHIQQ"), struct.Struct("<QiI")
_CACHE_LINE = 64
#: IORING_SQ_*.
NEED_WAKEUP, SQ_CQ_OVERFLOW = 1, 2
#: IORING_CQ_EVENTFD_DISABLED.
_EVENTFD_DISABLED = 1
_IN, _OUT = int(PollEvents.IN | PollEvents.RDNORM), int(PollEvents.OUT | PollEvents.WRNORM)
_WORD = 0xFFFFFFFF


class Sqe(NamedTuple):
    """struct io_uring_sqe; a field that has several meanings has the name of its place."""

    opcode: int
    flags: int
    ioprio: int
    fd: int
    off: int
    addr: int
    len: int
    op_flags: int
    user_data: int
    buf_index: int
    personality: int
    file_index: int
    addr3: int
    pad: int


class UringFile(AnonFile):
    """The memory, and what the kernel knows of the queues in it."""

    def __init__(self, path: Path, sq_entries: int, cq_entries: int, *, large_sqe: bool, large_cqe: bool, array: bool):
        """It has no memory before :meth:`lay_out`.  LinuxError(ENFILE, ENOMEM)."""
        super().__init__(path, OpenFlags.RDWR)
        self.sq_entries, self.cq_entries = sq_entries, cq_entries
        self._sqe_size, self._cqe_size = _SQE.size << large_sqe, CQE.size << large_cqe
        end = CQES + cq_entries * CQE.size << large_cqe
        #: Where the submission queue has its indexes; 0: it has none, and entries are taken in their order.
        self.array_at = -(-end // _CACHE_LINE) * _CACHE_LINE if array else 0
        self._ring_size = self.array_at + 4 * sq_entries if array else end
        self._pages = PageCache(self.inode.sb.resources.frames, OFF_SQES + sq_entries * self._sqe_size)
        self._sq_head = self._cq_tail = 0
        self._overflow: deque[tuple[int, int, int]] = deque()
        #: Woken when there is an event.
        self.changed = WaitQueue()
        self.eventfd: EventFd | None = None
        #: Only of what is not done at once (IORING_REGISTER_EVENTFD_ASYNC).
        self.eventfd_async = False

    def lay_out(self) -> None:
        """Give it its memory.  LinuxError(ENOMEM)."""
        for start, size in ((0, self._ring_size), (OFF_SQES, self.sq_entries * self._sqe_size)):
            for page in range(start, start + size, PAGE_SIZE):
                self._pages.get_page(page >> PAGE_SHIFT)
        for at, value in (
            (SQ_MASK, self.sq_entries - 1), (CQ_MASK, self.cq_entries - 1),
            (SQ_ENTRIES, self.sq_entries), (CQ_ENTRIES, self.cq_entries),
        ):  # fmt: skip
            self._put(at, value)

    def _get(self, at: int) -> int:
        return int.from_bytes(self._pages.read(at, 4), "little")

    def _put(self, at: int, value: int) -> None:
        self._pages.write(at, value.to_bytes(4, "little"))

    # -- submission ------------------------------------------------------------------------------------------------

    @property
    def submitted(self) -> int:
        """How many entries the program has put into the submission queue, and nobody has taken."""
        return min(self._get(SQ_TAIL) - self._sq_head & _WORD, self.sq_entries)

    def take(self) -> Sqe | None:
        """The next entry; None if the program says that it is where none can be."""
        at = self._sq_head & self.sq_entries - 1
        self._sq_head = self._sq_head + 1 & _WORD
        self._put(SQ_HEAD, self._sq_head)
        if self.array_at:
            at = self._get(self.array_at + 4 * at)
            if at >= self.sq_entries:
                self._put(SQ_DROPPED, self._get(SQ_DROPPED) + 1 & _WORD)
                return None
        return Sqe(*_SQE.unpack(self._pages.read(OFF_SQES + at * self._sqe_size, _SQE.size)))

    def set_sq_flag(self, flag: int, on: bool) -> None:
        """IORING_SQ_*."""
        flags = self._get(SQ_FLAGS)
        self._put(SQ_FLAGS, flags | flag if on else flags & ~flag)

    # -- completion ------------------------------------------------------------------------------------------------

    @property
    def ready(self) -> int:
        """How many events the program can see and has not taken."""
        return self._cq_tail - self._get(CQ_HEAD) & _WORD

    @property
    def _has_room(self) -> bool:
        return min(self.ready, self.cq_entries) < self.cq_entries

    def post(self, user_data: int, result: int, flags: int, *, at_once: bool = False) -> None:
        """A completion event; while there is no room it is kept, if there is memory."""
        if self._overflow or not self._has_room:
            self._keep_event(user_data, result, flags)
        else:
            self._store(user_data, result, flags)
        self.changed.wake_all(_IN)
        silent = self._get(CQ_FLAGS) & _EVENTFD_DISABLED or (self.eventfd_async and at_once)
        if self.eventfd is not None and not silent:
            self.eventfd.signal()

    def _store(self, user_data: int, result: int, flags: int) -> None:
        at = CQES + (self._cq_tail & self.cq_entries - 1) * self._cqe_size
        self._pages.write(at, CQE.pack(user_data, result, flags).ljust(self._cqe_size, b"\0"))
        self._cq_tail = self._cq_tail + 1 & _WORD
        self._put(CQ_TAIL, self._cq_tail)

    def _keep_event(self, user_data: int, result: int, flags: int) -> None:
        try:
            self.keep(self._kept + URING_OVERFLOW)
        except LinuxError:
            self._put(CQ_OVERFLOW, self._get(CQ_OVERFLOW) + 1 & _WORD)
            return
        self._overflow.append((user_data, result, flags))
        self.set_sq_flag(SQ_CQ_OVERFLOW, True)

    def flush_overflow(self) -> None:
        """Put in what there is room for now."""
        while self._overflow and self._has_room:
            self._store(*self._overflow.popleft())
            self.keep(self._kept - URING_OVERFLOW)
        if not self._overflow:
            self.set_sq_flag(SQ_CQ_OVERFLOW, False)

    def keep_buffers(self, size: int) -> None:
        """Account for buffers that a program has provided, for as long as the file is open.  LinuxError(ENOMEM)."""
        self.keep(self._kept + size)

    # -- the file --------------------------------------------------------------------------------------------------

    def lseek(self, offset: int, whence: int) -> int:
        raise LinuxError(errno.ESPIPE)

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        mask = _OUT if self.submitted < self.sq_entries else 0
        return mask | (_IN if self.ready or self._overflow else 0), (self.changed,)

    def mmap(self, mm: AddressSpace, vma: Vma) -> None:
        part = vma.pgoff << PAGE_SHIFT & _OFF_MASK
        if part == OFF_CQ_RING or (part == OFF_SQ_RING and vma.pgoff):
            vma.pgoff = 0  # both are in one place
        elif part not in (OFF_SQ_RING, OFF_SQES):
            raise LinuxError(errno.ENOMEM)
        vma.page_cache = self._pages

    def get_unmapped_area(self, mm: AddressSpace, address: int, length: int, pgoff: int, flags: int) -> int | None:
        if address:
            raise LinuxError(errno.EINVAL)
        return None

    def release(self) -> None:
        if self.eventfd is not None:
            self.eventfd.put()
            self.eventfd = None
        self._pages.release()
