"""Free frames as blocks of powers of two (mm/page_alloc.c)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from emu.mm.pageflags import FrameKind
from mmu.late import np

if TYPE_CHECKING:
    from emu.linux.stop import Stop
    from emu.mm.frames import FrameAllocator

#: MAX_PAGE_ORDER.
MAX_ORDER = 10


def free_by_order(frames: FrameAllocator, stop: Stop) -> list[int]:
    """How many naturally aligned blocks of each order the free frames form, the largest first taken.  NoIntr."""
    free = np.flatnonzero(frames.kinds == FrameKind.FREE)
    breaks = np.flatnonzero(np.diff(free) != 1) + 1
    counts: Counter[int] = Counter()
    for run in np.split(free, breaks) if len(free) else ():
        stop.check()
        start, end = int(run[0]), int(run[-1]) + 1
        while start < end:
            aligned = (start & -start).bit_length() - 1 if start else MAX_ORDER
            order = min(aligned, (end - start).bit_length() - 1, MAX_ORDER)
            counts[order] += 1
            start += 1 << order
    return [counts[order] for order in range(MAX_ORDER + 1)]
