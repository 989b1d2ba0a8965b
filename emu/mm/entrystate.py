"""What native code is told of entries of page tables that it works on, and what it says of them.

:mod:`emu.mm.fastentries` asks, :mod:`emu.mm.entrywork` works.
"""

from __future__ import annotations

import ctypes

from mmu.state import fields

#: What clearing is told of the VMA: it is shared, what has been used there will be, and the other entries go too.
SHARED, RECENT, MARKERS = 1, 2, 4
#: Results of clearing: nothing was done, as it is more than is done at once; or a frame has no reference to drop.  And
#: of copying: all has been done.
TOO_MANY, NO_REFERENCE, ALL = (1 << 64) - 1, (1 << 64) - 2, (1 << 64) - 1
#: So many pages are cleared at once, at most, and so many ranges.
MOST, MOST_RANGES = 1024, 512


class EntryWork(ctypes.Structure):
    """What the entry points work on.  Every field is a uint64."""

    ram: int  # host address of physical memory
    counts: int  # of int32[]: the references of each frame
    kinds: int  # of uint8[]: its use
    flags: int  # of uint8[]: PG_*
    levels: int
    # what has been done
    freed: int  # how many frames are free now
    anon: int  # how many entries had private memory
    cached: int  # and how many had pages of a page cache
    left: int  # how many pages the kernel is to mark as used, and then to drop
    low: int  # the address of the first page that was mapped
    high: int  # and that behind the last one
    ptes: int  # how many tables are free now, by the level
    pmds: int
    puds: int
    pages: int  # how many entries that map a page have been copied
    copied: int  # and how many ranges
    # where it is said
    kinds_freed: int  # host address of uint64[]: by the use that it had, how many frames are free now
    freed_frames: int  # of uint64[MOST]
    left_frames: int  # of uint64[MOST]
    # several ranges that are cleared or copied one after the other
    ranges: int  # of uint64[4 * MOST_RANGES]: of each three words for clearing, and four for copying
    cleared: int  # of uint64[5 * MOST_RANGES]: how many entries mapped a page; freed, left, low and high after it

    _fields_ = fields(__annotations__)
