"""The resident pages of an address space, by kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from emu.mm.filepages import FilePages
from emu.mm.hugepmd import leaves
from emu.mm.pageflags import FrameKind
from emu.mm.pagetable import ADDRESS, SPECIAL
from emu.mm.rss import pages_of
from emu.mm.swapops import here
from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace


def resident(mm: AddressSpace) -> tuple[int, int, int]:
    """Resident pages: anonymous, of files (and secret ones, which cannot go to swap), of shared memory."""
    of_files = 0
    if mm.rss_cache:
        for vma in mm.vmas:
            if isinstance(vma.page_cache, FilePages) or vma.ops.secret:
                of_files += _cached_pages(mm, vma.start, vma.end)
    return mm.rss_anon, of_files, mm.rss_cache - of_files


def _cached_pages(mm: AddressSpace, start: int, end: int) -> int:
    found = 0
    for _, slot, number in mm.tables.pte_tables(start, end):
        view = mm.tables.words[slot : slot + number]
        set_ = view[here(view) & ((view & np.uint64(SPECIAL)) == 0)]
        frames = ((set_ & np.uint64(ADDRESS)) >> np.uint64(PAGE_SHIFT)).astype(np.int64)
        found += int(np.count_nonzero(mm.frames.kinds[frames] != FrameKind.ANON))
    for _, ptes in leaves(mm, start, end):
        found += int(np.count_nonzero(mm.frames.kinds[pages_of(ptes)] != FrameKind.ANON))
    return found
