"""The memory of the kernel's own objects, charged against the machine's (as memcg's kmem and the slab counters do).

An object of this kernel is an object of Python, outside the machine's memory.  What guests can have made in any number
is charged here with what it takes on the host, and beyond :data:`RESERVE` frames of the machine pay for it: they go out
of use, so that the host never gives more than the machine's memory, the reserve, and what every machine takes.

The frames do not come back when objects are freed, since the host's memory does not either: it stays with Python, for
later objects.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.linux.errors import LinuxError
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

#: What all objects together may take before the machine's memory pays for them.
RESERVE = 64 << 20
#: Frames that go out of use at a time, if there are many.
_BATCH = 64

# Bytes of the host that an object takes (CPython 3.11, seen with tracemalloc and in the resident size), with a fifth
# more for the gaps that the host's allocator leaves.  The kernel's names where it has any.
VM_AREA_STRUCT = 640  # with its places in the tree and in the list of its object's mappings
MM_STRUCT = 4608  # with the descriptor table's fixed part
TASK_STRUCT = 11264  # with the saved registers, which the engine keeps
FD = 80  # the place of a file in a descriptor table
FILP = 512
DENTRY = 512  # a name of a file, with its places in both directories; a long name is extra
INODE = 1280  # with an empty page cache
NEW_NAME = 16384  # the most that a new name may take, with its inode, a target of 4 KiB and an open file
DIRENT = 192  # in the list that an open directory keeps
PIPE = 2048  # with its inode; the pages are extra
PIPE_PAGE = PAGE_SIZE + 256
XA_NODE = 2304  # of a page cache: 512 pages
ANON_FILE = 1024  # an event counter, a set of watched files
EPITEM = 1024
FSNOTIFY_MARK = 1024  # a watch of inotify
FSNOTIFY_EVENT = 320  # without the name
SOCK = 4096  # with its file and its inode
SK_BUFF = 512  # without its bytes
FILE_LOCK = 256
IPC_OBJECT = 2048  # of System V
SIMPLE_XATTR = 256  # without its name and its value
AIO_CONTEXT, AIO_EVENT = 2048, 320
KEY_STRUCT, KEY_LINK = 1536, 256  # without its payload; a key's place in a keyring
MSG_MSG = 256  # without its text
SEM_UNDO_ENTRY = 128  # of a semaphore and a process
SEMBUF = 192  # an operation that waits
SIGQUEUE = 192
K_ITIMER = 1280  # a POSIX timer
MOUNT = 4096  # with the file system's instance
REGION = 8192  # what belongs to a host mm
LINK = 320  # of a table that is shared
URING_REQUEST = 2048  # a request of an io_uring, with the call that it waits in
URING_OVERFLOW = 192  # an event without room
URING_BUFFER = 160
LANDLOCK_RULE = 512
PERF_COUNTER = 512  # an event of a task
POLL_ENTRY = 320


#: Lines of memory.stat: what could be made free, what could not, sockets' memory, and pages that are neither.
SLAB_RECLAIMABLE, SLAB_UNRECLAIMABLE, SOCKETS, OTHER = "slab_reclaimable", "slab_unreclaimable", "sock", "other"


class Kmem:
    """The charges of one machine.

    >>> from emu.mm.frames import FrameAllocator
    >>> from mmu import PhysicalMemory
    >>> frames = FrameAllocator(PhysicalMemory(1 << 20), lambda frame: None, lambda frames: None)
    >>> before, kmem = frames.free, frames.kmem
    >>> kmem.charge(RESERVE); kmem.charge(PAGE_SIZE * 10)
    >>> before - frames.free == kmem.pages >= 10
    True
    >>> kmem.charge(1 << 20)
    Traceback (most recent call last):
    emu.linux.errors.LinuxError: ENOMEM: no frame is left
    >>> kmem.charged == RESERVE + PAGE_SIZE * 10
    True
    """

    def __init__(self, take: Callable[[int, int], int]) -> None:
        """``take(least, most)`` puts frames out of use and returns how many; LinuxError(ENOMEM) if there are fewer than
        ``least``.
        """
        self._take = take
        #: The bytes that are charged now.
        self.charged = 0
        #: The frames that pay for them: Slab of /proc/meminfo.
        self.pages = 0
        #: The part of ``charged`` that calls which sleep will give back.
        self.sleeping = 0
        self._room = RESERVE
        #: Opens an account of the group of the task whose turn it is, once there are groups.
        self.accounts: Callable[[str], Kmem] | None = None

    def account(self, kind: str) -> Kmem:
        """Where an object that is about to be made is charged, with all that will belong to it: here, or to the control
        group of whoever has it made (:mod:`emu.mm.kmemaccount`).  ``kind``: the line of memory.stat.
        """
        return self if self.accounts is None else self.accounts(kind)

    def add_stack(self) -> None:
        """A task needs a stack in the kernel, which a group pays for.  LinuxError(ENOMEM)."""

    def drop_stack(self) -> None:
        """It has ended."""

    def charge(self, size: int) -> None:
        """Account for an object that is about to be made.  LinuxError(ENOMEM) changes nothing."""
        self.charged += size
        if self.charged > self._room:
            try:
                self._grow(self.charged)
            except LinuxError:
                self.charged -= size
                raise

    def uncharge(self, size: int) -> None:
        """The object is gone."""
        self.charged -= size

    def reserve(self, size: int) -> None:
        """Make sure that there is room for objects which :meth:`charge_reserved` will account for.  LinuxError(ENOMEM):
        for the beginning of an operation that cannot fail half-way.
        """
        if self.charged + size > self._room:
            self._grow(self.charged + size)

    def has_room(self, size: int) -> bool:
        """Whether so much can be charged without more frames."""
        return self.charged + size <= self._room

    def charge_reserved(self, size: int) -> None:
        """Account for an object for which there is room."""
        self.charged += size

    def held(self, size: int) -> Held:
        """Account for what a call that sleeps keeps, for as long as the context lasts.  LinuxError(ENOMEM)."""
        self.charge(size)
        self.sleeping += size
        return Held(self, size)

    def _grow(self, wanted: int) -> None:
        least = -(-(wanted - self._room) // PAGE_SIZE)
        taken = self._take(least, max(least, _BATCH))
        self.pages += taken
        self._room += taken << PAGE_SHIFT


class Held:
    """A charge that ends with a context."""

    __slots__ = ("_kmem", "_size")

    def __init__(self, kmem: Kmem, size: int) -> None:
        self._kmem, self._size = kmem, size

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._kmem.uncharge(self._size)
        self._kmem.sleeping -= self._size


def name_size(name: str) -> int:
    """What a name takes: up to 41 characters are within the size of a dentry, more are stored twice, of 2 bytes each at
    worst.
    """
    return DENTRY if len(name) < 42 else DENTRY + 4 * len(name)
