"""The resources that a machine's file systems share, and the counts across all of them."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from emu.linux.clock import Clock
from emu.linux.errors import LinuxError
from emu.linux.fileflags import makedev
from emu.linux.limits import NR_OPEN
from emu.mm.commit import Commit
from emu.mm.frames import FrameAllocator
from emu.mm.hugetlb import HugePagePool
from emu.mm.swapcache import Swap
from emu.mm.thp import TransparentHugePages

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.file import File
    from emu.fs.notify import Listener

#: Opens a device node or a FIFO.
SpecialOpen = Callable[["Path", int], "File"]


class Resources:
    """The resources of one machine, known to every superblock."""

    def __init__(
        self,
        frames: FrameAllocator,
        huge_pages: HugePagePool,
        clock: Clock,
        random: Random,
        thp: TransparentHugePages | None = None,
        swap: Swap | None = None,
        commit: Commit | None = None,
    ) -> None:
        self.frames = frames
        #: Where pages of tmpfs go when memory is short.
        self.swap = Swap(frames) if swap is None else swap
        #: What is promised of memory.
        self.commit = commit or Commit(frames.total)
        self.kmem = frames.kmem
        self.huge_pages = huge_pages
        self.thp = thp or TransparentHugePages()
        #: Bytes for /dev/random.
        self.random = random
        self.clock = clock
        #: How long the holder of a lease has to give way, in seconds, and whether there are leases.
        self.lease_break_time, self.leases_enabled = 45, 1
        #: Open file descriptions in the whole machine, and their limit (fs.file-max: a tenth of memory at a KiB each,
        #: as on Linux).
        self.open_files = 0
        self.max_files = max(1024, frames.total * 4 // 10)
        #: No RLIMIT_NOFILE is higher (fs.nr_open).
        self.nr_open = NR_OPEN
        #: Names in all file systems that guests can change; limited, since they take host memory.
        self.names = 0
        self.max_names = max(1 << 16, frames.total)
        #: Files that epoll sets watch, and their limit (fs.epoll.max_user_watches: a twenty-fifth of memory at 192
        #: bytes each, as on Linux).
        self.epoll_watches = 0
        self.max_epoll_watches = (frames.total << 12) // 25 // 192
        #: Inotify instances, what they watch, and the limit (fs.inotify.max_user_watches: a hundredth of memory at
        #: 1,240 bytes each, as on Linux); the cookie that joins both ends of the last rename.
        self.inotify_instances = 0
        #: Groups of fanotify.
        self.fanotify: dict[Listener, None] = {}
        self.file_watches = 0
        self.max_file_watches = max(8192, (frames.total << 12) // 100 // 1240)
        self.rename_cookie = 0
        self._last_eventfd = -1
        self._last_device = 0
        self._special: dict[tuple[int, int], SpecialOpen] = {}

    def now(self) -> int:
        """The time of day in nanoseconds, for timestamps."""
        return self.clock.realtime_ns()

    def new_device_number(self) -> int:
        """A device number for a superblock without a device (get_anon_bdev)."""
        self._last_device += 1
        return makedev(0, self._last_device)

    def new_eventfd_number(self) -> int:
        """The number by which /proc tells eventfds apart."""
        self._last_eventfd += 1
        return self._last_eventfd

    def register_device(self, rdev: int, opener: SpecialOpen) -> None:
        """Set the function that opens a character device node with this number."""
        self._special[stat.S_IFCHR, rdev] = opener

    def register_fifo(self, opener: SpecialOpen) -> None:
        """Set the function that opens a FIFO."""
        self._special[stat.S_IFIFO, 0] = opener

    def open_special(self, path: Path, flags: int) -> File:
        """Open a FIFO, a device or a socket node; ENXIO if it has no device."""
        inode = path.dentry.inode
        opener = self._special.get((inode.kind, inode.rdev))
        if opener is None:
            raise LinuxError(errno.ENXIO)
        return opener(path, flags)
