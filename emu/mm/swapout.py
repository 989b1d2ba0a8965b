"""Pages that go to swap areas: their entries say in which slot they lie (try_to_unmap of mm/rmap.c, pageout() of
mm/vmscan.c).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from emu.mm import rss
from emu.mm.frames import PG_DIRTY, PG_LAZYFREE, PG_MAYBE_SHARED, PG_SWAPCACHE
from emu.mm.pagetable import ADDRESS, UFFD_WP_BIT, D
from emu.mm.swapops import SWP_EXCLUSIVE, SWP_UFFD_WP, entries_of
from mmu.late import np
from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.mm.address_space import AddressSpace, MmContext
    from emu.mm.freeframes import Frames
    from emu.mm.swapcache import Swap


class Mapped(NamedTuple):
    """Entries of one address space that map pages, by the slot of each in a table."""

    mm: AddressSpace
    slots: Frames
    #: The range of addresses that they lie in.
    start: int
    end: int

    def frames(self) -> Frames:
        """The pages."""
        words = self.mm.tables.words[self.slots]
        found: Frames = ((words & ADDRESS) >> PAGE_SHIFT).astype(np.int64)
        return found


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
        for part in mapped:
            _replace(swap, part, gone)
        swap.drop_arrived(gone)
    return gone


def _written(context: MmContext, frames: Frames, mapped: list[Mapped]) -> Frames:
    """Which pages of the swap cache differ from what their slots have."""
    dirty = context.frames.flags[frames] & PG_DIRTY != 0
    for part in mapped:
        words = part.mm.tables.words[part.slots]
        dirty |= np.isin(frames, part.frames()[(words & D) != 0])
    written: Frames = frames[dirty]
    return written


def _replace(swap: Swap, part: Mapped, gone: Frames) -> None:
    """Put swap entries in place of those that map pages which are in the swap cache now."""
    mm = part.mm
    frames = part.frames()
    which = np.isin(frames, gone)
    at, frames = part.slots[which], frames[which]
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
    lazy = context.frames.flags[frames] & PG_LAZYFREE != 0
    again = frames[lazy & ((words & D) != 0)]
    context.frames.flags[again] &= ~PG_LAZYFREE & 0xFF
    rest: Frames = frames[~lazy]
    return rest
