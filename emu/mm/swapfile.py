"""Swap areas: which of their slots are in use, and by how many (mm/swapfile.c).

A slot is known by its *identifier*, the type of its area << 50 | its offset; that in an entry of a page table is
:mod:`emu.mm.swapops`.  Each entry that has a slot is one use of it, and so is a page of shared memory that lies there;
a page in memory that still has its slot (the swap cache) keeps it besides.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from emu.linux.errors import LinuxError
from emu.mm.freeframes import Frames
from mmu.host_array import HostArray
from mmu.late import np
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    import numpy.typing as npt

#: Types that entries may have: of 32, those of markers, of pages that have failed and of pages that migrate are not
#: (MAX_SWAPFILES, without CONFIG_DEVICE_PRIVATE).
MAX_SWAPFILES = 27
TYPE_SHIFT = 50
OFFSET_MASK = (1 << TYPE_SHIFT) - 1
#: The most pages of an area: slots are counted in arrays of the host.
MAX_PAGES = 1 << 28
#: In the count of a slot: a page in memory has it (SWAP_HAS_CACHE); it cannot be used (SWAP_MAP_BAD).
HAS_CACHE, BAD = 1 << 30, -1
#: Slots are looked for in so many at a time.
_CHUNK = 8192
#: Of a header: where the signature is, and the most pages that it can call bad.
_SIGNATURE_AT, _SIGNATURE, _MAX_BAD = PAGE_SIZE - 10, b"SWAPSPACE2", (PAGE_SIZE - 10 - 1536) // 4
_BAD_AT = 1536


class SwapStore(Protocol):
    """Where the contents of an area's slots lie."""

    def write(self, offsets: Frames, frames: Frames) -> npt.NDArray[np.bool_]:
        """Copy frames of memory, at least one, to slots, but for those full of zeros; which those are."""

    def read_one(self, offset: int, frame: int) -> None:
        """Copy a slot to a frame of memory."""


class Header(NamedTuple):
    """What the first page of an area says."""

    pages: int
    bad: tuple[int, ...]


def read_header(page: bytes, length: int, *, regular: bool) -> Header:
    """The header that mkswap(8) wrote, of a file of ``length`` pages (read_swap_header).  LinuxError(EINVAL)."""
    version, last, number = (int.from_bytes(page[at : at + 4], "little") for at in (1024, 1028, 1032))
    if page[_SIGNATURE_AT:] != _SIGNATURE or version != 1 or not last:
        raise LinuxError(errno.EINVAL)
    pages = min(last + 1, MAX_PAGES)
    if pages > length or (number and regular) or number > _MAX_BAD:
        raise LinuxError(errno.EINVAL)
    bad = tuple(int.from_bytes(page[at : at + 4], "little") for at in range(_BAD_AT, _BAD_AT + 4 * number, 4))
    if any(not offset > 0 for offset in bad) or pages - 1 - sum(offset < pages for offset in bad) <= 0:
        raise LinuxError(errno.EINVAL)
    return Header(pages, bad)


class SwapArea:
    """One area (struct swap_info_struct)."""

    def __init__(
        self,
        store: SwapStore,
        header: Header,
        name: Callable[[], str],
        *,
        inode: object = None,
        file: Any = None,
        partition: bool = False,
        synchronous: bool = False,
    ) -> None:
        """``name`` is what /proc/swaps shows; ``synchronous``: what is written has arrived at once, so that no page
        need stay in memory meanwhile (SWP_SYNCHRONOUS_IO).
        """
        self.store, self.name, self.inode = store, name, inode
        #: The open file, if it is in one.
        self.file = file
        self.partition, self.synchronous = partition, synchronous
        self.kind = 0
        self.priority = 0
        #: Slots, the header included, and those that can be used.
        self.max = header.pages
        self.pages = header.pages - 1 - sum(offset < header.pages for offset in header.bad)
        self.in_use = 0
        #: No slot is given out any more: swapoff(2) empties it.
        self.closing = False
        self._counts, self._frames, self._zeros = (HostArray(self.max, code) for code in "iiB")
        #: By offset: the uses of each slot, the frame that has it in memory, and whether it is full of zeros, which are
        #: not stored.
        self.count: memoryview[int] = self._counts.view
        self.frame: memoryview[int] = self._frames.view
        self.zero: memoryview[int] = self._zeros.view
        self.count[0] = BAD
        for offset in header.bad:
            if offset < self.max:
                self.count[offset] = BAD
        self._next = 1
        #: Told of slots that nobody uses any more, once they are charged to groups.
        self.freed: Callable[[SwapArea, Frames], None] | None = None

    @property
    def counts(self) -> npt.NDArray[np.int32]:
        """``count``, for many."""
        return self._counts.array

    @property
    def frames(self) -> npt.NDArray[np.int32]:
        """``frame``, for many."""
        return self._frames.array

    @property
    def zeros(self) -> npt.NDArray[np.uint8]:
        """Which slots are full of zeros (the zeromap)."""
        return self._zeros.array

    def take(self, number: int) -> Frames:
        """Offsets of so many free slots, or of as many as there are, which the swap cache alone uses now."""
        number = min(number, 0 if self.closing else self.pages - self.in_use)
        found: list[Frames] = []
        wanted, at = number, self._next
        while wanted > 0:
            at = 1 if at >= self.max else at
            free = np.flatnonzero(self.counts[at : at + _CHUNK] == 0)[:wanted] + at
            wanted -= len(free)
            found.append(free)
            at = int(free[-1]) + 1 if len(free) and not wanted else at + _CHUNK
        offsets: Frames = np.concatenate(found) if found else np.zeros(0, dtype=np.int64)
        self._next = at
        self.counts[offsets] = HAS_CACHE
        self.in_use += number
        return offsets

    def _freed(self, offsets: Frames) -> None:
        """Nothing uses these slots any more."""
        self.in_use -= len(offsets)
        self.zeros[offsets] = 0
        if self.freed is not None:
            self.freed(self, offsets)

    def drop_one(self, offset: int) -> int:
        """Take one use of a slot away; returns what is left."""
        left = self.count[offset] - 1
        if left < 0:
            raise AssertionError("SwapArea.drop_one: the slot has no use")
        self.count[offset] = left
        if not left:
            self.in_use -= 1
            self.zero[offset] = 0
            if self.freed is not None:
                self.freed(self, np.array([offset]))
        return left

    def drop(self, offsets: Frames, uses: Frames | int) -> None:
        """Take uses of different slots away; those that have none left are free."""
        left = self.counts[offsets] - uses
        if (left < 0).any():
            raise AssertionError("SwapArea.drop: a slot has no such use")
        self.counts[offsets] = left
        if len(dead := offsets[left == 0]):
            self._freed(dead)


class SwapAreas:
    """All of them, by type (swap_info)."""

    def __init__(self) -> None:
        self.by_type: list[SwapArea | None] = []
        #: Told when the number of slots changes.
        self.changed: Callable[[], None] = lambda: None

    @property
    def active(self) -> list[SwapArea]:
        """Those that exist, in the order of their types."""
        return [area for area in self.by_type if area is not None]

    @property
    def by_priority(self) -> list[SwapArea]:
        """Those that slots can be taken from, the first to be used first."""
        return sorted((area for area in self.active if not area.closing), key=lambda area: -area.priority)

    @property
    def total(self) -> int:
        """Slots that can be used (total_swap_pages)."""
        return sum(area.pages for area in self.active if not area.closing)

    @property
    def free(self) -> int:
        """Slots that nobody uses (nr_swap_pages)."""
        return sum(area.pages - area.in_use for area in self.active if not area.closing)

    def free_type(self) -> int:
        """The type of the next area (alloc_swap_info).  LinuxError(EPERM) if there are as many as can be."""
        if None in self.by_type:
            return self.by_type.index(None)
        if len(self.by_type) == MAX_SWAPFILES:
            raise LinuxError(errno.EPERM)
        return len(self.by_type)

    def add(self, area: SwapArea, priority: int | None = None) -> None:
        """Switch one on (enable_swap_info); None: it is used after all others.  LinuxError(EPERM)."""
        area.kind = self.free_type()
        lowest = min((other.priority for other in self.active if other.priority < 0), default=-1)
        area.priority = lowest - 1 if priority is None else priority
        if area.kind == len(self.by_type):
            self.by_type.append(area)
        else:
            self.by_type[area.kind] = area
        self.changed()

    def remove(self, area: SwapArea) -> None:
        """It is switched off, and nothing is in it; those that came after it move up (swapoff)."""
        self.by_type[area.kind] = None
        if area.priority < 0:
            for other in self.active:
                if other.priority < area.priority:
                    other.priority += 1
        self.changed()
