"""How far pages are read ahead from swap areas (mm/swap_state.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError
from emu.mm.pageflags import FrameKind
from emu.mm.swapfile import OFFSET_MASK, TYPE_SHIFT

if TYPE_CHECKING:
    from emu.mm.swapcache import Swap

#: The most pages that are read at a time, as a power of 2 (SWAP_RA_ORDER_CEILING).
CEILING = 5


class ReadAhead:
    """How far reading ahead has paid in a mapping (swap_readahead_info): where the last fault was, how many pages were
    read then, and how many of those that were read ahead have been asked for.
    """

    __slots__ = ("address", "hits", "window")

    def __init__(self, address: int = 0, window: int = 0, hits: int = 4) -> None:
        self.address, self.window, self.hits = address, window, hits


def pages_to_read(here: int, before: int, hits: int, most: int, last: int) -> int:
    """How many pages to read at a time (__swapin_nr_pages).

    >>> pages_to_read(100, 0, 4, 8, 0), pages_to_read(9, 5, 0, 8, 4), pages_to_read(10, 9, 0, 8, 2)
    (8, 2, 2)
    """
    if hits:
        pages = 4
        while pages < hits + 2:
            pages <<= 1
    else:
        pages = 2 if here in (before + 1, before - 1) else 1
    return max(min(pages, most), last // 2)


def read_cluster(swap: Swap, slot: int) -> None:
    """Read the slots around one that is about to be read, as many as have lately been of use
    (swap_cluster_readahead).
    """
    offset, area = slot & OFFSET_MASK, swap.area(slot)
    most = 1 << min(swap.page_cluster, CEILING)
    if most == 1:
        return
    hits, swap.cluster.hits = swap.cluster.hits, 0
    number = pages_to_read(offset, swap.cluster.address, hits, most, swap.cluster.window)
    if not hits:
        swap.cluster.address = offset
    swap.cluster.window = number
    first = offset & -number
    for at in range(max(first, 1), min(first + number, area.max)):
        if at == offset or area.count[at] <= 0 or area.frame[at]:
            continue
        try:
            frame, fresh = swap.read_cached(at | area.kind << TYPE_SHIFT, FrameKind.CACHE)
        except LinuxError:
            return
        if fresh:
            swap.ahead.add(frame)
            swap.events["swap_ra"] += 1
