"""Many entries of page tables at once, natively (:mod:`emu.mm.entrywork`), where no more is to be done with their pages
than to count.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable
from typing import Any, Protocol

from emu.mm.entrystate import ALL, MARKERS, MOST, MOST_RANGES, RECENT, SHARED, TOO_MANY, EntryWork
from emu.mm.flags import VmFlags
from emu.mm.frames import FrameAllocator
from emu.mm.pageflags import FrameKind
from emu.mm.pagetable import PageTables
from mmu.host_array import HostArray
from mmu.native import reference_mode
from mmu.objectcode import load

#: So often it is done otherwise before native code is loaded.
_FEW = 16
#: In reference mode arrays are quicker than native code in Python.
_NEVER = 1 << 62
#: More addresses than these are not one piece of work.
_LARGE = 1 << 29
_UFFD_WP = int(VmFlags.UFFD_WP)
#: What is used there says nothing of what will be (vma_has_recency).
NO_RECENCY = int(VmFlags.SEQ_READ | VmFlags.RAND_READ)


class Mapping(Protocol):
    """A VMA."""

    bits: int
    shared: bool
    page_cache: Any
    uffd: Any


class Owner(Protocol):
    """An address space."""

    tables: PageTables
    shared_tables: bool
    rss_anon: int
    rss_cache: int
    rss_swap: int


class FastEntries:
    """The native work of one machine."""

    def __init__(self, frames: FrameAllocator, levels: int, nobody_told: Callable[[], bool]) -> None:
        """``nobody_told()``: whether nobody else is told of pages that are unmapped."""
        self._frames, self._levels, self._nobody_told = frames, levels, nobody_told
        self._left = _NEVER if reference_mode() else _FEW
        #: The host address of the record, once there is one.
        self._work = 0
        #: Pages of a page cache that have been cleared last, which the caller marks as used, and then drops.
        self.used: list[int] = []
        #: From where to where there were pages among what has been cleared last, if there were any.
        self.mapped = 0, 0

    def _pays(self) -> bool:
        """Whether it is done so often that loading the native code pays."""
        if not self._work:
            self._left -= 1
            if self._left > 0:
                return False
            self._load()
        return True

    def _load(self) -> None:
        counts, kinds, flags = self._frames.addresses
        self._freed, self._marked = HostArray(MOST, "Q"), HostArray(MOST, "Q")
        self._kinds = HostArray(len(FrameKind), "Q")
        self._ranges, self._cleared = HostArray(4 * MOST_RANGES, "Q"), HostArray(5 * MOST_RANGES, "Q")
        self._record = EntryWork(
            ram=self._frames.ram.host, counts=counts, kinds=kinds, flags=flags, levels=self._levels,
            kinds_freed=self._kinds.address, freed_frames=self._freed.address, left_frames=self._marked.address,
            ranges=self._ranges.address, cleared=self._cleared.address,
        )  # fmt: skip
        first, last = (field.offset // 8 for field in (EntryWork.freed, EntryWork.puds))  # type: ignore[attr-defined]
        self._done = memoryview(self._record).cast("B").cast("Q")[first : last + 1]
        code = load("emu.mm.entrywork")
        self._clear, self._copy = code["clear_entries"].call, code["copy_ranges"].call
        self._clear_ranges = code["clear_ranges"].call
        self._free_tables = code["free_tables"].call
        self._work = ctypes.addressof(self._record)

    # -- unmapping -------------------------------------------------------------------------------------------------

    def can_clear(self, mm: Owner, vma: Mapping, start: int, end: int) -> bool:
        """Whether :meth:`clear` may unmap [start, end) of a VMA, or of several like it."""
        if not self._pays() or mm.rss_swap or vma.bits & _UFFD_WP or end - start > _LARGE or mm.shared_tables:
            return False
        return self._frames.only_counted and self._nobody_told()

    def clear(self, mm: Owner, vma: Mapping, start: int, end: int, *, markers: bool) -> int | None:
        """Clear the entries of [start, end) that map pages, with ``markers`` all, and drop the pages, but for those in
        :attr:`used`; how many there were.  The caller owes a flush for them.  None, and nothing is done, if they are
        many.
        """
        options = MARKERS if markers else 0
        if vma.shared:
            options |= SHARED
        if vma.page_cache is not None and not vma.bits & NO_RECENCY:
            options |= RECENT
        found: int = self._clear(self._work, mm.tables.pgd_frame, start, end, options)
        return self._dropped(mm, found, sorted) if found else 0

    def work_for(self, mm: Owner) -> int:
        """The host address of the record, for who clears entries natively and then says so (:meth:`cleared`),
        in what :meth:`can_clear` allows; 0 if it does not."""
        if not self._pays() or mm.rss_swap or mm.shared_tables or mm.tables.transparent:
            return 0
        return self._work if self._frames.only_counted and self._nobody_told() else 0

    def cleared(self, mm: Owner, pages: int) -> list[int]:
        """So many entries have been cleared, as :meth:`clear` does it; the frames that are free now, lowest first."""
        if not pages:
            return []
        freed, anon, cached, _, _, _ = self._done[:6]
        mm.rss_anon -= anon
        mm.rss_cache -= cached
        frames: list[int] = sorted(self._freed.view[:freed].tolist())
        if freed:
            self._frames.have_gone(frames[::-1], self._kinds.view)
        return frames

    def can_clear_all(self, mm: Owner) -> bool:
        """Whether :meth:`clear_ranges` may be tried, of VMAs without UFFD_WP."""
        if not self._pays() or mm.rss_swap or mm.shared_tables or mm.tables.transparent:
            return False
        return self._frames.only_counted and self._nobody_told()

    def clear_ranges(self, mm: Owner, ranges: list[int]) -> list[int] | None:
        """Clear all entries of several ranges, one after the other, and drop the pages; a list has of each the start,
        the end and what is told of it.  Returns five words of each: how many there were, how many frames
        were free after it, how many were in :attr:`used`, and where all its pages lay; the caller owes the flushes.
        None, and nothing is done, if they are many.
        """
        number = len(ranges) // 3
        self._ranges.view[: len(ranges)] = memoryview(array("Q", ranges))
        found: int = self._clear_ranges(self._work, mm.tables.pgd_frame, number)
        cleared: list[int] = self._cleared.view[: 5 * number].tolist()

        def in_order(frames: list[int], *, reverse: bool) -> list[int]:
            """Those of one range after the other."""
            ordered, done = [], 0
            for freed in cleared[1::5]:
                if freed > done:
                    ordered += sorted(frames[done:freed], reverse=reverse)
                    done = freed
            return ordered

        return None if found and self._dropped(mm, found, in_order) is None else cleared

    def _dropped(self, mm: Owner, found: int, order: Callable[..., list[int]]) -> int | None:
        """Pages have been dropped; the frames that are free now are brought in order."""
        if found > MOST:
            if found == TOO_MANY:
                return None
            raise AssertionError("FastEntries: a frame has no reference to drop")
        freed, anon, cached, left, low, high = self._done[:6]
        self.mapped = low, high
        mm.rss_anon -= anon
        mm.rss_cache -= cached
        if freed:
            self._frames.have_gone(order(self._freed.view[:freed].tolist(), reverse=True), self._kinds.view)
        if left or self.used:
            self.used = self._marked.view[:left].tolist()
        return found

    def free_tables(self, tables: PageTables, start: int, end: int, floor: int, ceiling: int) -> bool:
        """Free the empty tables that cover a part of [start, end) and nothing below ``floor`` or from ``ceiling`` on;
        False if it is to be done otherwise.
        """
        if not self._pays() or tables.links or tables.share_counts or tables.levels != 4:
            return False
        if not self._frames.only_counted:
            return False
        freed = MOST
        while freed == MOST:
            self._free_tables(self._work, tables.pgd_frame, start, end, floor, ceiling)
            freed, _, _, _, _, _, ptes, pmds, puds = self._done
            if freed:
                owned = tables.tables
                owned[1] -= ptes
                owned[2] -= pmds
                owned[3] -= puds
                self._frames.have_gone(self._freed.view[:freed].tolist(), self._kinds.view)
        return True

    # -- fork ------------------------------------------------------------------------------------------------------

    def can_copy(self, parent: Owner) -> bool:
        """Whether :meth:`copy` may copy entries of VMAs that no userfaultfd watches."""
        return self._pays() and not parent.rss_swap and not parent.tables.transparent

    def copy(self, parent: Owner, child: Owner, ranges: list[int], check: Callable[[], None]) -> int:
        """Copy the entries of several ranges, of which a list has the start, the end, and of what maps a page the bits
        that the parent keeps, and those that the child has of these; returns how many pages there were.

        ``check()`` is called before each table is made.  LinuxError(ENOMEM), and what that raises.
        """
        pages, most = 0, 4 * MOST_RANGES
        for first in range(0, len(ranges), most):
            pages += self._copy_some(parent, child, ranges[first : first + most], check)
        return pages

    def _copy_some(self, parent: Owner, child: Owner, ranges: list[int], check: Callable[[], None]) -> int:
        self._ranges.view[: len(ranges)] = memoryview(array("Q", ranges))
        work, source, target = self._record, parent.tables.pgd_frame, child.tables.pgd_frame
        work.anon = work.cached = work.pages = work.copied = 0
        try:
            while (missing := self._copy(self._work, source, target, len(ranges) >> 2)) != ALL:
                check()
                child.tables.entry_slot_alloc(missing, 1)
        finally:
            child.rss_anon += work.anon
            child.rss_cache += work.cached
        return work.pages
