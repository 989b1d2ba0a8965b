"""Pages that go to swap areas: their entries say in which slot they lie (try_to_unmap of mm/rmap.c, pageout() of
mm/vmscan.c).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.mm import rss
from emu.mm.pageflags import PG_DIRTY, PG_LAZYFREE, PG_MAYBE_SHARED, PG_SWAPCACHE
from emu.mm.pagetable import UFFD_WP_BIT, D
from emu.mm.swapops import SWP_EXCLUSIVE, SWP_UFFD_WP, entries_of
from mmu.late import np

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.mm.context import MmContext
    from emu.mm.freeframes import Frames
    from emu.mm.rmap import Mapped
    from emu.mm.swapcache import Swap


def to_swap(context: MmContext, frames: Frames, mapped: list[Mapped]) -> Frames:
    """Write private pages, of which ``mapped`` are all the entries, to swap, and let the entries say where they are;
    returns which pages have gone, as far as there was room.  Their frames are free, or, where writing takes time, free
    as soon as they are needed.
    """
    swap, flags = context.swap, context.frames.flags
    cached = flags[frames] & PG_SWAPCACHE != 0
    again, fresh = frames[cached], frames[~cached]
    if len(again):
        written = _written(context, again, mapped)
        if len(written):
            swap.write_again(written)
    if len(fresh):
        fresh = fresh[: len(swap.out(fresh))]
    gone = np.sort(np.concatenate((again, fresh)))
    if len(gone):
        which = np.zeros(context.frames.total, dtype=np.bool_)
        which[gone] = True
        for part in mapped:
            _replace(swap, part.part(which[part.frames]))
        swap.drop_arrived(gone)
    return gone


def _written(context: MmContext, frames: Frames, mapped: list[Mapped]) -> Frames:
    """Which pages of the swap cache differ from what their slots have."""
    written = np.zeros(context.frames.total, dtype=np.bool_)
    for part in mapped:
        written[part.frames[(part.mm.tables.words[part.slots] & D) != 0]] = True
    found: Frames = frames[written[frames] | (context.frames.flags[frames] & PG_DIRTY != 0)]
    return found


def _replace(swap: Swap, part: Mapped) -> None:
    """Put swap entries in place of those that map pages which are in the swap cache now."""
    mm, at, frames = part.mm, part.slots, part.frames
    if not len(at):
        return
    words = mm.tables.words
    before = words[at]
    slots = swap.slots_of(frames)
    entries = entries_of(slots)
    entries[mm.frames.flags[frames] & PG_MAYBE_SHARED == 0] |= np.uint64(SWP_EXCLUSIVE)
    entries[(before & UFFD_WP_BIT) != 0] |= np.uint64(SWP_UFFD_WP)
    words[at] = entries
    mm.obligation(part.start, part.end, "reclaim").flush()
    mm.note_peak()
    swap.dup(slots)
    mm.rss_swap += len(at)
    rss.put_pages(mm, before)


def not_lazy(context: MmContext, frames: Frames, words: npt.NDArray[np.uint64]) -> Frames:
    """Private pages that are not to be dropped; those that were given up and written since are ordinary ones again."""
    flags = context.frames.flags[frames]
    lazy = flags & PG_LAZYFREE != 0
    again = frames[lazy & (((words & D) != 0) | (flags & PG_DIRTY != 0))]
    context.frames.flags[again] &= ~PG_LAZYFREE & 0xFF
    rest: Frames = frames[~lazy]
    return rest
