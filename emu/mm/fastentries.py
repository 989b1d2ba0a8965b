"""Many entries of page tables at once, natively (:mod:`emu.mm.entrywork`), where no more is to be done with their pages
than to count.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Protocol

from emu.mm.entrystate import MARKERS, MOST, RECENT, SHARED, TOO_MANY, EntryWork
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
_UFFD_WP, _NO_RECENCY = int(VmFlags.UFFD_WP), int(VmFlags.SEQ_READ | VmFlags.RAND_READ)


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
        self._record = EntryWork(
            ram=self._frames.ram.host, counts=counts, kinds=kinds, flags=flags, levels=self._levels,
            kinds_freed=self._kinds.address, freed_frames=self._freed.address, left_frames=self._marked.address,
        )  # fmt: skip
        first, last = (field.offset // 8 for field in (EntryWork.freed, EntryWork.puds))  # type: ignore[attr-defined]
        self._done = memoryview(self._record).cast("B").cast("Q")[first : last + 1]
        code = load("emu.mm.entrywork")
        self._clear, self._copy = code["clear_entries"].call, code["copy_entries"].call
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
        if vma.page_cache is not None and not vma.bits & _NO_RECENCY:
            options |= RECENT
        found: int = self._clear(self._work, mm.tables.pgd_frame, start, end, options)
        if found:
            if found > MOST:
                if found == TOO_MANY:
                    return None
                raise AssertionError("FastEntries.clear: a frame has no reference to drop")
            freed, anon, cached, left, low, high = self._done[:6]
            self.mapped = low, high
            mm.rss_anon -= anon
            mm.rss_cache -= cached
            if freed:
                self._frames.have_gone(sorted(self._freed.view[:freed], reverse=True), self._kinds.view)
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

    def can_copy(self, parent: Owner, vma: Mapping) -> bool:
        """Whether :meth:`copy` may copy entries of a VMA."""
        return self._pays() and not parent.rss_swap and vma.uffd is None

    def copy(self, child: Owner, source: int, target: int, number: int, parents: int, childs: int) -> int:
        """Copy so many entries from one slot on to others: of what maps a page the parent keeps the bits of a mask, and
        of these the child those of another one; returns how many there were.
        """
        found: int = self._copy(self._work, source, target, number, parents, childs)
        if found:
            _, anon, cached = self._done[:3]
            child.rss_anon += anon
            child.rss_cache += cached
        return found
