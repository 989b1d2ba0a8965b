"""What is known of each page besides how many references it has: PG_*, and in which list it is and since when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING

from emu.mm.lruorder import LruOrder
from mmu.host_array import HostArray
from mmu.late import np

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.mm.freeframes import Frames

#: Frames of a huge page.
BLOCK_FRAMES = 512
#: Pages are put on other lists in batches of so many (PAGEVEC_SIZE).
_BATCH = 31

#: PG_* of pages of page caches: the page differs from what a read of a hole gives; it has been used lately, and before;
#: it was made by fallocate(2), and nobody has read or written it (not PG_uptodate).
PG_DIRTY, PG_REFERENCED, PG_ACTIVE, PG_UNREAD = 1, 2, 4, 8
#: PG_* of private memory: its content may be dropped if nobody writes it again (no PG_swapbacked, after MADV_FREE);
#: fork has mapped it into two processes, and no write has found since that it is one's alone (no PG_anon_exclusive).
PG_LAZYFREE, PG_MAYBE_SHARED = 0x10, 0x20
#: PG_head and what follows it: the frame is one of a large folio, which has not been split since it was made.
PG_LARGE = 0x40
#: The page has a slot of a swap area besides its frame.
PG_SWAPCACHE = 0x80

#: Tells which frames are locked, of those that are asked about.
Locked = Callable[[], Collection[int]]


def _none() -> Collection[int]:
    return ()


class FrameKind(IntEnum):
    """The use of a frame."""

    FREE = 0
    RESERVED = 1  # frame 0, the zero page, the kernel's own
    PAGETABLE = 2
    ANON = 3  # private anonymous memory and private copies of file pages
    CACHE = 4  # a page of a file or of shared anonymous memory


class PageFlags:
    """The use of each frame and its PG_*; what takes pages from one list to another."""

    def __init__(self, total: int) -> None:
        self._kinds, self._flags = HostArray(total, "B"), HostArray(total, "B")
        self._kind: memoryview[int] = self._kinds.view
        self._flag: memoryview[int] = self._flags.view
        #: Pages given up by MADV_FREE that do not count as such yet; 0 for one that is no more.
        self._lazyfree: list[int] = []
        #: Pages that stay locked, though no VMA that maps them is: MREMAP_DONTUNMAP has left them (PG_mlocked).
        self.left_locked: set[int] = set()
        #: Since when each page has been in its list.
        self.order = LruOrder(total)
        #: What has happened to pages, by the names of /proc/vmstat.
        self.events: Counter[str] = Counter()

    @cached_property
    def kinds(self) -> npt.NDArray[np.uint8]:
        """The use of each frame, a :class:`FrameKind`."""
        return self._kinds.array

    @cached_property
    def flags(self) -> npt.NDArray[np.uint8]:
        """PG_* of each frame."""
        return self._flags.array

    def page_flags(self, frame: int) -> int:
        """PG_* of a page of a page cache."""
        return self._flag[frame]

    def set_page_flags(self, frame: int, flags: int) -> None:
        """Add some."""
        self._flag[frame] |= flags

    def clear_page_flags(self, frame: int, flags: int = 0xFF) -> None:
        """Take some away, or all."""
        self._flag[frame] &= ~flags & 0xFF

    def mark_accessed(self, frame: int, locked: Locked = _none) -> None:
        """The page has been used: it is referenced, the next time active (folio_mark_accessed), but not if it is among
        those that are locked, since it is on no list then that this would concern.
        """
        flags = self._flag[frame]
        if flags & PG_LARGE:
            self.mark_many_accessed(np.array([frame], dtype=np.int64), locked)
        elif not flags & PG_REFERENCED:
            self._flag[frame] = flags | PG_REFERENCED
        elif not flags & PG_ACTIVE and frame not in locked():
            self._flag[frame] = flags & ~PG_REFERENCED | PG_ACTIVE
            self.order.add(frame)
            self.happened("pgactivate", [frame])

    def is_active(self, frame: int) -> bool:
        """Whether a page, that is no huge one, has been used so often that to use it again is nothing new."""
        return self._flag[frame] & (PG_LARGE | PG_REFERENCED | PG_ACTIVE) == PG_REFERENCED | PG_ACTIVE

    def mark_many_accessed(self, frames: Frames, locked: Locked = _none) -> None:
        """The same for an array of different pages; a huge page has been used as a whole."""
        flags = self.flags[frames]
        if (flags & PG_LARGE).any():
            frames = self._with_their_folios(frames)
            flags = self.flags[frames]
        again = (flags & (PG_REFERENCED | PG_ACTIVE)) == PG_REFERENCED
        new = flags | PG_REFERENCED
        if again.any():
            again &= ~np.isin(frames, np.fromiter(locked(), dtype=np.int64))
            new[again] = flags[again] ^ (PG_REFERENCED | PG_ACTIVE)
            self.order.add_many(frames[again])
            self.happened("pgactivate", frames[again])
        self.flags[frames] = new

    def mark_dirty(self, frame: int) -> None:
        """A page has been written, or the huge page that it belongs to (folio_mark_dirty)."""
        if self._flag[frame] & PG_LARGE:
            self.flags[self._with_their_folios(np.array([frame], dtype=np.int64))] |= PG_DIRTY
        else:
            self._flag[frame] |= PG_DIRTY

    def _with_their_folios(self, frames: Frames) -> Frames:
        """These pages, and the others of the huge pages that they belong to."""
        heads = np.unique(frames[self.flags[frames] & PG_LARGE != 0] & -BLOCK_FRAMES)
        blocks = (heads[:, np.newaxis] + np.arange(BLOCK_FRAMES)).reshape(-1)
        found: Frames = np.union1d(frames, blocks[self.flags[blocks] & PG_LARGE != 0])
        return found

    def deactivate(self, frames: Frames) -> None:
        """Pages count as not used lately: those that are active come to the inactive list (folio_deactivate)."""
        active = frames[self.flags[frames] & PG_ACTIVE != 0]
        self.flags[frames] &= ~(PG_REFERENCED | PG_ACTIVE) & 0xFF
        self.order.add_many(active)
        self.happened("pgdeactivate", active)

    def happened(self, event: str, frames: Frames | list[int]) -> None:
        """Something has happened to these pages, by its name in /proc/vmstat: count it."""
        self.events[event] += len(frames)

    def has_flag(self, frame: int, flag: int) -> bool:
        """Whether a frame has a flag of PG_*."""
        return self._flag[frame] & flag != 0

    def clear_flag(self, frame: int, flag: int) -> None:
        """Take a flag from a frame."""
        self._flag[frame] &= ~flag

    def mark_lazyfree(self, frames: Frames) -> None:
        """The content of private pages may be dropped; it counts in batches (folio_mark_lazyfree).  Locked pages stay
        (lru_lazyfree).
        """
        frames = frames[self.can_move(frames)]
        self._lazyfree += frames[self.flags[frames] & PG_LAZYFREE == 0].tolist()
        self._move_lazyfree(len(self._lazyfree) // _BATCH * _BATCH)

    def can_move(self, frames: Frames) -> npt.NDArray[np.bool_]:
        """Which pages can leave their list: those that have not been left locked (not PG_unevictable)."""
        if not self.left_locked:
            return np.ones(len(frames), dtype=np.bool_)
        return np.isin(frames, list(self.left_locked), invert=True)

    def forget_written(self, frames: Frames | slice) -> None:
        """Private pages that were written by force are clean, if no swap area has them (folio_clear_dirty)."""
        flags = self.flags[frames]
        self.flags[frames] = np.where(flags & PG_SWAPCACHE, flags, flags & (~PG_DIRTY & 0xFF))

    def lru_add_drain(self) -> None:
        """Empty the batches (mm/swap.c)."""
        if self._lazyfree:
            self._move_lazyfree(len(self._lazyfree))

    def _forget_lazyfree(self) -> None:
        """Frames have become free that may be in the batch, where their places stay taken."""
        self._lazyfree = [frame if self._kind[frame] == FrameKind.ANON else 0 for frame in self._lazyfree]

    def _move_lazyfree(self, number: int) -> None:
        """The first pages of those given up count as such from now on, and as not used lately (lru_lazyfree)."""
        batch = np.array([frame for frame in self._lazyfree[:number] if frame], dtype=np.int64)
        self.flags[batch] = self.flags[batch] & (~(PG_REFERENCED | PG_ACTIVE) & 0xFF) | PG_LAZYFREE
        self.order.add_many(batch)
        self.happened("pglazyfree", batch)
        del self._lazyfree[:number]
