"""Pages of shared memory and of tmpfs, which can lie in swap areas (mm/shmem.c)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError
from emu.mm.flags import VmFlags
from emu.mm.frames import FrameAllocator
from emu.mm.freeframes import Frames
from emu.mm.kmem import XA_NODE
from emu.mm.pagecache import Charge, PageCache
from emu.mm.pageflags import BLOCK_FRAMES, PG_DIRTY, PG_LARGE, PG_SWAPCACHE, FrameKind
from emu.mm.swapcache import Swap
from mmu.late import np
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    import numpy.typing as npt


class ShmemPages(PageCache):
    """A page cache whose pages may go to swap: ``swapped`` says in which slots, by index.  They stay charged."""

    def __init__(self, frames: FrameAllocator, swap: Swap, size: int = 0, charge: Charge | None = None) -> None:
        super().__init__(frames, size, charge)
        self.swap = swap
        swap.objects += 1
        #: The number of the object, by which all are ordered.
        self.serial = swap.objects
        self.swapped: dict[int, int] = {}
        #: So many pages were promised when it was made (Committed_AS); None: each is when it is made.
        self.promised_at_once: int | None = None
        #: While this is not 0, no page goes.
        self._held = 0

    @property
    def total_pages(self) -> int:
        return self.nr_pages + len(self.swapped)

    @property
    def promised_pages(self) -> int:
        """The part of Committed_AS for this object."""
        return self.total_pages if self.promised_at_once is None else self.promised_at_once

    # -- looking ---------------------------------------------------------------------------------------------------

    def holds(self, index: int) -> bool:
        return index in self.swapped or super().holds(index)

    def must_be_read(self, index: int) -> bool:
        slot = self.swapped.get(index) if self.swapped else None
        return slot is not None and not self.swap.find(slot)

    def peek(self, index: int) -> int | None:
        return None if index in self.swapped else super().peek(index)

    def in_memory(self, first: int, number: int) -> npt.NDArray[np.bool_]:
        found = super().in_memory(first, number)
        for index, slot in self.swapped.items():
            if first <= index < first + number:
                found[index - first] = self.swap.find(slot) != 0
        return found

    def next_page(self, index: int) -> int | None:
        there = super().next_page(index)
        away = min((at for at in self.swapped if at >= index), default=None)
        return min((at for at in (there, away) if at is not None), default=None)

    # -- bringing pages back ---------------------------------------------------------------------------------------

    def get_page(self, index: int) -> int:
        slot = self.swapped.get(index) if self.swapped else None
        if slot is None:
            return super().get_page(index)
        self.kmem.reserve(XA_NODE)
        frame = self._bring(slot)
        del self.swapped[index]
        self._put_in(index, frame)
        return frame

    def _bring(self, slot: int) -> int:
        """The frame for a slot, which is given up (shmem_swapin_folio).  LinuxError(ENOMEM)."""
        swap, frames = self.swap, self._frames
        frame = swap.find(slot)
        if not frame and swap.area(slot).synchronous:
            frame = swap.read_in(slot, FrameKind.CACHE)
        else:
            if frame:
                swap.asked_for(frame)
            else:
                from emu.mm.swapahead import read_cluster  # most runs have no swap

                read_cluster(swap, slot)
                frame = swap.read_cached(slot, FrameKind.CACHE)[0]
            frames.get(frame)
        swap.free_one(slot)
        swap.try_to_free(frame)
        if frames.kind(frame) != FrameKind.CACHE:
            frames.change_kind(frame, FrameKind.CACHE)
        frames.set_page_flags(frame, PG_DIRTY)
        return frame

    def bring_all(self, first: int, last: int) -> None:
        """Bring every page of [first, last) back.  LinuxError(ENOMEM)."""
        for index in sorted(at for at in self.swapped if first <= at < last):
            if index in self.swapped:
                self.get_page(index)

    def make_huge(self, index: int, write_end: int, flags: VmFlags | None = None) -> bool:
        return not self.swapped_of(index) and super().make_huge(index, write_end, flags)

    def swapped_of(self, index: int) -> int:
        """How many of the 512 pages around an index lie in swap."""
        first = index & -BLOCK_FRAMES
        return sum(at in self.swapped for at in range(first, first + BLOCK_FRAMES)) if self.swapped else 0

    def read_ahead(self, first: int, last: int) -> None:
        """Read what lies in swap of [first, last) into the swap cache (shmem_swapin_range)."""
        for slot in [slot for index, slot in self.swapped.items() if first <= index < last]:
            try:
                self.swap.read_cached(slot, FrameKind.CACHE)
            except LinuxError:
                return

    def get_many(self, first: int, number: int) -> tuple[Frames, npt.NDArray[np.bool_]]:
        self._held += 1
        try:
            if self.swapped:
                self.bring_all(first, first + number)
            return super().get_many(first, number)
        finally:
            self._held -= 1

    def read(self, position: int, length: int) -> bytes:
        if not self.swapped:
            return super().read(position, length)
        parts, end = [], position + length
        while position < end:
            step = min(PAGE_SIZE - (position & (PAGE_SIZE - 1)), end - position)
            if position >> PAGE_SHIFT in self.swapped:
                self.get_page(position >> PAGE_SHIFT)
            parts.append(super().read(position, step))
            position += step
        return b"".join(parts)

    def truncate(self, size: int) -> None:
        if size < self.size and size & (PAGE_SIZE - 1) and size >> PAGE_SHIFT in self.swapped:
            self.get_page(size >> PAGE_SHIFT)
        super().truncate(size)

    def stay(self) -> None:
        self.bring_all(0, self.end_index)
        super().stay()

    # -- away with them --------------------------------------------------------------------------------------------

    def _drop(self, first: int, last: int) -> None:
        gone = [index for index in self.swapped if first <= index < last]
        if gone:
            self.swap.free(np.array([self.swapped.pop(index) for index in gone], dtype=np.int64))
            if self._charge is not None:
                self._charge(-len(gone))
        super()._drop(first, last)

    def reclaim_many(self, indexes: Sequence[int]) -> int:
        """Pages that nobody maps go: those that were never written for good, the others to swap as far as there is
        room.
        """
        before, free = self.nr_pages, self._frames
        if self._held or self.stays:
            return 0
        for index in indexes:
            self.reclaim(index)
        there = [index for index in indexes if super(ShmemPages, self).holds(index)] if self.swap.areas.free else []
        frames = np.array([self.find(index) for index in there], dtype=np.int64)
        alone = (free.counts[frames] == 1) & (free.flags[frames] & PG_SWAPCACHE == 0)
        self._swap_out(np.array(there, dtype=np.int64)[alone], frames[alone])
        return before - self.nr_pages

    def _swap_out(self, indexes: Frames, frames: Frames) -> None:
        if self.may_have_huge:
            self._split_folios(indexes)
        slots = self.swap.out(frames)
        self.swap.dup(slots)
        for index, slot in zip(indexes.tolist(), slots.tolist(), strict=False):
            self._take_out(index)
            self.swapped[index] = slot
        frames = frames[: len(slots)]
        self._frames.put_many(np.sort(frames))
        self.swap.drop_arrived(frames)

    def _split_folios(self, indexes: Frames) -> None:
        """Huge pages of which a part goes are small ones from now on (split_folio_to_list)."""
        for first in sorted({index & -BLOCK_FRAMES for index in indexes.tolist()}):
            head = self.huge_head(first)
            if head is not None:
                self._frames.flags[head : head + BLOCK_FRAMES] &= ~PG_LARGE & 0xFF


def all_objects(frames: FrameAllocator) -> list[ShmemPages]:
    """Every object whose pages may go to swap, the first made first."""
    return sorted((cache for cache in frames.page_caches if isinstance(cache, ShmemPages)), key=lambda it: it.serial)
