"""The lists of pages that can be reclaimed, and how pages move between them (mm/swap.c, mm/vmscan.c).

A page is on the list that its kind and its flags say (PG_active), and what has been there the longest time is looked at
first (:mod:`emu.mm.lruorder`): a page that has been used since then gets a second chance at the head of the list, and
one that had used it up already becomes active.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from emu.mm.frames import FrameAllocator
from emu.mm.freeframes import Frames
from emu.mm.pageflags import PG_ACTIVE, PG_REFERENCED, FrameKind
from mmu.late import np

if TYPE_CHECKING:
    from emu.mm.rmap import Mask, PageMap

_NOT_ACTIVE, _ALL = 0xFF - PG_ACTIVE, 0xFF


class ListSizes(NamedTuple):
    """How many pages are on each list."""

    inactive_anon: int
    active_anon: int
    inactive_file: int
    active_file: int
    unevictable: int


def list_sizes(
    frames: FrameAllocator, of_files: Iterable[int], locked: Iterable[int], among: Mask | None = None
) -> ListSizes:
    """The sizes of all lists, given the frames on those of files, and those with locked pages; ``among``: of the lists
    of a control group.
    """
    used = frames.high_water
    kinds, flags = frames.kinds[:used], frames.flags[:used]
    on_list = (kinds == FrameKind.ANON) | (kinds == FrameKind.CACHE)
    if among is not None:
        on_list &= among[:used]
    file, held = np.zeros(used, dtype=np.bool_), np.zeros(used, dtype=np.bool_)
    file[list(of_files)] = True
    held[list(locked)] = True
    active = flags & PG_ACTIVE != 0

    def count(mask: Mask) -> int:
        return int(np.count_nonzero(mask & on_list))

    return ListSizes(
        count(~file & ~active & ~held), count(~file & active & ~held), count(file & ~active & ~held),
        count(file & active & ~held), count(held),
    )  # fmt: skip


class Lru:
    """The lists of one machine."""

    def __init__(self, frames: FrameAllocator) -> None:
        self._frames = frames
        #: What has happened, by the names of /proc/vmstat.
        self.events: Counter[str] = Counter()

    def scan(self, pages: PageMap, may_go: Mask, wanted: int) -> Frames:
        """So many pages that are to go, of those of a mask, fewer if there are not so many; others that have been used
        lately are looked at on the way, and stay (shrink_inactive_list).
        """
        self._refill(pages, may_go, wanted)
        flags = self._frames.flags
        order = self._frames.order.oldest_first(may_go & (flags & PG_ACTIVE == 0))
        idle = ~pages.young[order]
        enough = np.flatnonzero(np.cumsum(idle) >= wanted)
        if len(enough):
            order = order[: int(enough[0]) + 1]
            idle = idle[: len(order)]
        self.events["pgscan_anon"] += len(order)
        self._spare(pages, order[~idle])
        gone: Frames = order[idle]
        return gone

    def _spare(self, pages: PageMap, used: Frames) -> None:
        """Pages have been used: they stay this time, and become active the second time (folio_check_references)."""
        if not len(used):
            return
        flags = self._frames.flags
        again = used[flags[used] & PG_REFERENCED != 0]
        flags[used] |= PG_REFERENCED
        flags[again] = flags[again] & (_ALL - PG_REFERENCED) | PG_ACTIVE
        self._frames.order.add_many(used)
        self._frames.happened("pgactivate", again)
        pages.make_old(used)

    def _refill(self, pages: PageMap, may_go: Mask, wanted: int) -> None:
        """Where few pages are inactive, active ones become so (shrink_active_list)."""
        flags = self._frames.flags
        are_active = may_go & (flags & PG_ACTIVE != 0)
        active = int(np.count_nonzero(are_active))
        inactive = int(np.count_nonzero(may_go)) - active
        if not active or (inactive >= active and inactive >= wanted):
            return
        chosen = self._frames.order.oldest_first(are_active)[: max(wanted, (active - inactive) // 2)]
        flags[chosen] &= _NOT_ACTIVE & (_ALL - PG_REFERENCED)
        self._frames.order.add_many(chosen)
        self._frames.happened("pgrefill", chosen)
        self._frames.happened("pgdeactivate", chosen)
        pages.make_old(chosen)
