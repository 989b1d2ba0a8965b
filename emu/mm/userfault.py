"""Faults that a program resolves itself: which mappings are registered with a userfaultfd, and who waits
(fs/userfaultfd.c).
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from enum import IntEnum, IntFlag
from typing import Any

from emu.linux.errors import LinuxError
from emu.linux.fileflags import PollEvents
from emu.linux.wait import WaitQueue
from emu.mm.flags import VmFlags
from mmu.memory import PAGE_SIZE
from mmu.record import field, record
from mmu.registers import Access


class Features(IntFlag):
    """UFFD_FEATURE_*."""

    PAGEFAULT_FLAG_WP = 1 << 0
    EVENT_FORK = 1 << 1
    EVENT_REMAP = 1 << 2
    EVENT_REMOVE = 1 << 3
    MISSING_HUGETLBFS = 1 << 4
    MISSING_SHMEM = 1 << 5
    EVENT_UNMAP = 1 << 6
    SIGBUS = 1 << 7
    THREAD_ID = 1 << 8
    MINOR_HUGETLBFS = 1 << 9
    MINOR_SHMEM = 1 << 10
    EXACT_ADDRESS = 1 << 11
    WP_HUGETLBFS_SHMEM = 1 << 12
    WP_UNPOPULATED = 1 << 13
    POISON = 1 << 14
    WP_ASYNC = 1 << 15
    MOVE = 1 << 16


class Event(IntEnum):
    """UFFD_EVENT_*."""

    PAGEFAULT = 0x12
    FORK = 0x13
    REMAP = 0x14
    REMOVE = 0x15
    UNMAP = 0x16


#: UFFD_PAGEFAULT_FLAG_*.
_FLAG_WRITE, _FLAG_WP, _FLAG_MINOR = 1, 2, 4
#: struct uffd_msg.
_MESSAGE = struct.Struct("<BxHIQQQ")
MESSAGE_SIZE = _MESSAGE.size
_IN = int(PollEvents.IN)
#: Set with the features once there are any (UFFD_FEATURE_INITIALIZED).
_INITIALIZED = 1 << 31


def message(event: Event, *words: int) -> bytes:
    """A struct uffd_msg."""
    return _MESSAGE.pack(event, 0, 0, *words, *[0] * (3 - len(words)))


@record(eq=False)
class Waiting:
    """A thread that waits, and the message about it."""

    start: int
    message: bytes
    queue: WaitQueue = field(default_factory=WaitQueue)
    done: bool = False
    #: Of a fork: the child's userfaultfd and address space, and whether somebody has it.
    made: tuple[UserfaultContext, Any] | None = None
    taken: bool = False


class UserfaultContext:
    """What an open userfaultfd knows (struct userfaultfd_ctx); ``mm`` is the address space that it is of."""

    def __init__(self, mm: object, *, user_mode_only: bool) -> None:
        self.mm = mm
        self.user_mode_only = user_mode_only
        self.features = 0
        self.released = False
        #: Changes of mappings that wait until their event has been read.
        self.changing = 0
        #: Faults whose messages have not been read, and those that have been.
        self.pending: list[Waiting] = []
        self.told: list[Waiting] = []
        #: Events that have not been read.
        self.events: list[Waiting] = []
        #: Where readers wait.
        self.readers = WaitQueue()

    @property
    def initialized(self) -> bool:
        """Whether UFFDIO_API has been called."""
        return bool(self.features & _INITIALIZED)

    def initialize(self, features: int) -> None:
        """LinuxError(EINVAL) the second time."""
        if self.initialized:
            raise LinuxError(errno.EINVAL)
        self.features = features | _INITIALIZED

    def has(self, feature: Features) -> bool:
        """Whether a feature was asked for."""
        return bool(self.features & feature)

    @property
    def wp_async(self) -> bool:
        """Whether a write takes the protection away by itself."""
        return bool(self.features & Features.WP_ASYNC)

    @property
    def wp_unpopulated(self) -> bool:
        """Whether pages of private memory that are not there can be protected."""
        return bool(self.features & Features.WP_UNPOPULATED)

    def add_fault(self, waiting: Waiting) -> None:
        """A thread is about to wait."""
        self.pending.append(waiting)
        self.readers.wake_all(_IN)

    def add_event(self, waiting: Waiting) -> None:
        """A change is to be told of."""
        self.changing += 1
        self.events.append(waiting)
        self.readers.wake_all(_IN)

    def forget(self, waiting: Waiting) -> None:
        """It waits no more."""
        for those in (self.pending, self.told, self.events):
            if waiting in those:
                those.remove(waiting)

    def next_message(self, install: Callable[[UserfaultContext, Any], int]) -> bytes | None:
        """The next message; None if there is none (userfaultfd_ctx_read).  ``install`` makes a descriptor for the
        reader of a userfaultfd that fork has made.
        """
        if self.pending:
            waiting = self.pending.pop(0)
            self.told.append(waiting)
            return waiting.message
        if not self.events:
            return None
        waiting = self.events[0]
        told = waiting.message
        if waiting.made is not None:
            told = message(Event.FORK, install(*waiting.made))
            waiting.taken = True
        self.events.pop(0)
        waiting.done = True
        waiting.queue.wake_all()
        return told

    def wake(self, start: int, length: int) -> None:
        """Let those go on that wait for a page of a range; a length of 0 means all (wake_userfault)."""
        for waiting in [*self.pending, *self.told]:
            if not length or start <= waiting.start < start + length:
                self.forget(waiting)
                waiting.done = True
                waiting.queue.wake_all()

    def release(self) -> None:
        """The last descriptor is closed: everybody goes on."""
        self.released = True
        self.wake(0, 0)
        for waiting in self.events:
            waiting.done = True
            waiting.queue.wake_all()
        self.events.clear()


class Userfault:
    """A fault that waits for a program (handle_userfault)."""

    def __init__(self, context: UserfaultContext, address: int, access: Access, reason: VmFlags) -> None:
        self.context = context
        self.address, self._access, self._reason = address, access, reason
        self.waiting: Waiting | None = None

    def begin(self, tid: int, *, user: bool) -> WaitQueue | None:
        """Tell of it; returns where to wait, None if the fault is to be a SIGBUS."""
        context = self.context
        if context.has(Features.SIGBUS) or (context.user_mode_only and not user):
            return None
        flags = _FLAG_WRITE if self._access == Access.WRITE else 0
        flags |= {VmFlags.UFFD_WP: _FLAG_WP, VmFlags.UFFD_MINOR: _FLAG_MINOR}.get(self._reason, 0)
        exact = context.has(Features.EXACT_ADDRESS)
        shown = self.address if exact else self.address & -PAGE_SIZE
        thread = tid if context.has(Features.THREAD_ID) else 0
        self.waiting = Waiting(self.address & -PAGE_SIZE, message(Event.PAGEFAULT, flags, shown, thread))
        context.add_fault(self.waiting)
        return self.waiting.queue

    @property
    def done(self) -> bool:
        """Whether somebody has said that it may be tried again."""
        return self.waiting is None or self.waiting.done

    def end(self) -> None:
        """The thread goes on, perhaps since it got a signal."""
        if self.waiting is not None:
            self.context.forget(self.waiting)
