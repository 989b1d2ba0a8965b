"""How much memory pages of each kind take, for the files of /proc and /sys that tell."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from emu.mm.lru import ListSizes, list_sizes
from emu.mm.mlock import locked_pages
from emu.mm.pagecache import PageCache
from emu.mm.pageflags import PG_LAZYFREE, PG_SWAPCACHE, FrameKind

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel


class PageLists(NamedTuple):
    """In pages; those of the swap cache that nobody maps are neither anonymous nor of shared memory."""

    anon: int
    file: int
    shmem: int
    #: Of files and of shared memory, those that something maps.
    mapped: int
    lists: ListSizes


def page_lists(kernel: Kernel) -> PageLists:
    """What there is now."""
    frames = kernel.frames
    clean = () if frames.reclaimer is None else list(frames.reclaimer.clean_frames())
    used = frames.high_water
    kinds, flags = frames.kinds[:used], frames.flags[:used]
    given_up = np.flatnonzero((kinds == FrameKind.ANON) & (flags & PG_LAZYFREE != 0))
    locked = locked_pages(kernel.mm_context.address_spaces.values()) | frames.left_locked
    lists = list_sizes(frames, chain(clean, given_up.tolist()), locked)
    anon, cached = frames.used[FrameKind.ANON], frames.used[FrameKind.CACHE]
    if kernel.mm_context.swap.cached:
        away = np.flatnonzero(flags & PG_SWAPCACHE)
        shared = kinds[away] == FrameKind.CACHE
        cached -= int(np.count_nonzero(shared))
        anon -= int(np.count_nonzero(~shared & (frames.counts[away] == 1)))
    mapped = int(np.count_nonzero((kinds == FrameKind.CACHE) & (frames.counts[:used] > 1)))
    of_files = len(clean) + sum(
        cache.nr_pages for cache in frames.page_caches if isinstance(cache, PageCache) and cache.secret
    )
    return PageLists(anon, of_files, cached - of_files, mapped, lists)
