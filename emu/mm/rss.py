"""What entries hold: references to the frames that they map, and the address space's resident memory.

An entry that maps a page holds one reference of its frame, and counts as anonymous memory or as a page of the page
cache, by the kind of the frame.  The zero page (SPECIAL) is neither counted nor referenced, and a marker holds nothing.
Huge pages are counted by their pool.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, overload

from emu.mm.frames import Coming, FrameAllocator
from emu.mm.freeframes import Frames
from emu.mm.pageflags import PG_DIRTY, PG_MAYBE_SHARED, PG_SWAPCACHE, FrameKind, Locked
from emu.mm.pagetable import ADDRESS, HERE, SPECIAL, A, D
from emu.mm.swapops import SWP_EXCLUSIVE, slots_of, swapped
from mmu.late import np
from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.mm.swapcache import Swap

# plain integers: kinds are compared with these often
_ANON = int(FrameKind.ANON)

#: A few entries are a list.
Entries: TypeAlias = "npt.NDArray[np.uint64]"


class HasSwap(Protocol):
    """What the address spaces of a machine share."""

    swap: Swap


class Resident(Protocol):
    """The owner of counted memory: an address space."""

    @property
    def context(self) -> HasSwap:
        """What it shares with others."""

    frames: FrameAllocator
    rss_anon: int
    rss_cache: int
    rss_swap: int
    payer: Callable[[], Any] | None


@overload
def pages_of(entries: list[int]) -> list[int]: ...
@overload
def pages_of(entries: Entries) -> Frames: ...
def pages_of(entries: Entries | list[int]) -> Frames | list[int]:
    """The frames that set entries map, each as often as it occurs."""
    if isinstance(entries, list):
        return [(entry & ADDRESS) >> PAGE_SHIFT for entry in entries if entry & HERE and not entry & SPECIAL]
    counted = entries[((entries & HERE) != 0) & ((entries & SPECIAL) == 0)]
    frames: Frames = ((counted & ADDRESS) >> PAGE_SHIFT).astype(np.int64)
    return frames


def _count(mm: Resident, frames: Frames | list[int], sign: int) -> None:
    if isinstance(frames, list):
        anon = sum(map(mm.frames.is_anon, frames))
    else:
        anon = int(np.count_nonzero(mm.frames.kinds[frames] == _ANON))
    mm.rss_anon += sign * anon
    mm.rss_cache += sign * (len(frames) - anon)


# -- frames that an entry of ``mm`` is about to map --------------------------------------------------------------------


def new_page(mm: Resident) -> int:
    """A zeroed frame of private memory.  LinuxError(ENOMEM)."""
    frame = mm.frames.alloc(FrameKind.ANON, mm)
    mm.rss_anon += 1
    return frame


def new_pages(mm: Resident, number: int) -> Frames:
    """Several frames, or fewer if no more are left."""
    frames = mm.frames.alloc_many(FrameKind.ANON, number, mm)
    mm.rss_anon += len(frames)
    return frames


def came(mm: Resident, coming: Coming, number: int, *, copies: int, cached: int) -> None:
    """So many frames of private memory were taken natively; some of them in the place of others of that kind, or of
    pages of the page cache."""
    mm.frames.came(coming, number, FrameKind.ANON)
    mm.rss_anon += number - copies
    mm.rss_cache -= cached


def new_copy(mm: Resident, source: int) -> int:
    """A frame of private memory with the contents of another.  LinuxError(ENOMEM)."""
    frame = mm.frames.copy(source, FrameKind.ANON, mm)
    mm.rss_anon += 1
    return frame


def map_cached(mm: Resident, frames: Sequence[int], slot: int, bits: int) -> None:
    """Map pages of the page cache (0: there is none) by the entries from a slot on, where that needs no more than to be
    counted (:meth:`FrameAllocator.get_readable`).
    """
    mm.rss_cache += mm.frames.get_readable(frames, slot, bits)


def get_cached(mm: Resident, frames: Collection[int]) -> None:
    """Count pages of the page cache."""
    for frame in frames:
        mm.frames.get(frame)
    mm.rss_cache += len(frames)


def get_frames(mm: Resident, frames: Frames) -> None:
    """Count and reference an array of frames that others map or hold already."""
    mm.frames.get_many(frames)
    _count(mm, frames, 1)


def get_pages(mm: Resident, entries: Entries) -> None:
    """Count and reference the frames that another's entries map."""
    get_frames(mm, pages_of(entries))


def share_pages(mm: Resident, entries: Entries) -> None:
    """Count and reference the frames that another's entries map, which are then nobody's alone (fork)."""
    frames = pages_of(entries)
    get_frames(mm, frames)
    mm.frames.flags[frames] |= PG_MAYBE_SHARED


def share_swapped(child: Resident, entries: Entries) -> None:
    """Count another's swap entries, which are then nobody's alone (fork, copy_nonpresent_pte)."""
    away = swapped(entries)
    number = int(np.count_nonzero(away))
    if number:
        entries[away] &= np.uint64(~SWP_EXCLUSIVE & (1 << 64) - 1)
        child.context.swap.dup(slots_of(entries[away]))
        child.rss_swap += number


def exclusive(mm: Resident, entries: Entries) -> npt.NDArray[np.bool_]:
    """Which entries map private memory that is known to be this process's alone (PageAnonExclusive)."""
    frames = ((entries & ADDRESS) >> PAGE_SHIFT).astype(np.int64)
    alone = (mm.frames.kinds[frames] == _ANON) & (mm.frames.flags[frames] & PG_MAYBE_SHARED == 0)
    found: npt.NDArray[np.bool_] = np.logical_and(alone, (entries & SPECIAL) == 0)
    return found


def is_exclusive(mm: Resident, entry: int) -> bool:
    """The same of one entry."""
    frame = (entry & ADDRESS) >> PAGE_SHIFT
    return not entry & SPECIAL and mm.frames.is_anon(frame) and not mm.frames.has_flag(frame, PG_MAYBE_SHARED)


# -- frames that an entry of ``mm`` mapped, and does no longer ---------------------------------------------------------


def note_dirty(mm: Resident, entries: Entries | list[int]) -> None:
    """Pages of the page cache were written through these entries, which are about to go (folio_mark_dirty)."""
    if isinstance(entries, list):
        for frame in pages_of([entry for entry in entries if entry & D]):
            mm.frames.set_page_flags(frame, PG_DIRTY)
        return
    written = entries[(entries & D) != 0]
    if len(written):
        mm.frames.flags[pages_of(written)] |= PG_DIRTY


def note_used(mm: Resident, entries: Entries | list[int], locked: Locked) -> None:
    """Pages of the page cache were used through these entries, which are about to go (folio_mark_accessed)."""
    if isinstance(entries, list):
        for frame in pages_of([entry for entry in entries if entry & A]):
            if not mm.frames.is_anon(frame):
                mm.frames.mark_accessed(frame, locked)
        return
    frames = pages_of(entries[(entries & A) != 0])
    mm.frames.mark_many_accessed(frames[mm.frames.kinds[frames] != _ANON], locked)


def put_page(mm: Resident, frame: int) -> None:
    """Drop one frame; its entry has been flushed."""
    if mm.frames.is_anon(frame):
        mm.rss_anon -= 1
    else:
        mm.rss_cache -= 1
    mm.frames.put(frame)
    if mm.frames.has_flag(frame, PG_SWAPCACHE):
        mm.context.swap.unmapped(np.array([frame], dtype=np.int64))


def put_pages(mm: Resident, entries: Entries | list[int]) -> None:
    """Drop the frames of these entries, which have been flushed."""
    frames = pages_of(entries)
    _count(mm, frames, -1)
    mm.frames.put_many(frames)
    swap = mm.context.swap
    if swap.cached:
        swap.unmapped(np.array(frames, dtype=np.int64))


def hand_pages(source: Resident, target: Resident, entries: Entries) -> None:
    """Move the counts of these entries, which have moved to another address space with their references."""
    frames = pages_of(entries)
    _count(source, frames, -1)
    _count(target, frames, 1)
    if source.rss_swap:
        number = int(np.count_nonzero(swapped(entries)))
        source.rss_swap -= number
        target.rss_swap += number
