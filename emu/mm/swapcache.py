"""Swapping of pages: slots for frames, frames for slots, and the pages that have both (mm/swap_state.c, mm/page_io.c).

A page of the swap cache holds one reference of its frame here, and its frame has PG_SWAPCACHE.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol

from emu.mm.frames import FrameAllocator
from emu.mm.freeframes import Frames, ascending
from emu.mm.pageflags import PG_DIRTY, PG_SWAPCACHE, FrameKind
from emu.mm.swapfile import HAS_CACHE, OFFSET_MASK, TYPE_SHIFT, SwapArea, SwapAreas
from mmu.host_array import HostArray
from mmu.late import np

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.mm.frameusers import Payer


class Charges(Protocol):
    """What slots are charged to control groups (:mod:`emu.mm.swapcgroup`)."""

    def room(self, frames: Frames, /) -> int:
        """How many of these pages, from the first on, may go."""

    def charge(self, area: SwapArea, offsets: Frames, frames: Frames, /) -> None:
        """They have got slots."""

    def happened(self, event: str, frames: Frames, /) -> None:
        """Count something that is told of in memory.stat."""

    def payer(self, area: SwapArea, offset: int, mm: Payer | None, /) -> Payer | None:
        """For whom a page comes back."""

    def may_go(self) -> npt.NDArray[np.bool_]:
        """Which frames are charged to groups that may have more in swap."""


class Cluster:
    """Where slots were read last, how many, and how many of those read ahead were asked for."""

    address = window = 0
    hits = 4


class Swap:
    """The swap of one machine.

    >>> from mmu import PhysicalMemory
    >>> from emu.mm.swapstore import HostStore, plain_area
    >>> frames = FrameAllocator(PhysicalMemory(1 << 20), lambda frame: None, lambda frames: None)
    >>> swap = Swap(frames)
    >>> swap.areas.add(plain_area(HostStore(frames.ram, 16), 16, "swap"))
    >>> frame = frames.alloc(FrameKind.ANON)
    >>> frames.write(frame, 0, b"page")
    >>> (slot,) = swap.out(np.array([frame])).tolist()
    >>> swap.dup(np.array([slot])); swap.forget(np.array([frame])); swap.areas.free
    14
    >>> frames.put(frame)
    >>> again = swap.read_in(slot, FrameKind.ANON)
    >>> frames.read(again, 0, 4)
    b'page'
    """

    def __init__(self, frames: FrameAllocator) -> None:
        self._frames = frames
        self.areas = SwapAreas()
        #: Which control groups the slots are charged to, once there are groups.
        self.charges: Charges | None = None
        #: By frame of the swap cache: its slot.
        self._slots = HostArray(frames.total, "q")
        #: How many objects of shared memory there have been.
        self.objects = 0
        #: How many pages are in the swap cache.
        self.cached = 0
        #: Those of them that were read before anybody asked for them.
        self.ahead: set[int] = set()
        #: vm.swappiness: of 200 pages so many are taken from private and shared memory, the others from files.
        self.swappiness = 60
        #: vm.page-cluster: 2 to this power is the most pages that are read at a time.
        self.page_cluster = 3
        #: How far reading slots ahead has paid.
        self.cluster = Cluster()
        #: What has happened, by the names of /proc/vmstat.
        self.events: Counter[str] = Counter()

    # -- slots -----------------------------------------------------------------------------------------------------

    def area(self, slot: int) -> SwapArea:
        """The area of a slot."""
        area = self.areas.by_type[slot >> TYPE_SHIFT]
        assert area is not None, f"Swap.area: there is no area of slot {slot:#x}"
        return area

    def uses(self, slot: int) -> int:
        """How many entries have a slot (swp_swapcount)."""
        return self.area(slot).count[slot & OFFSET_MASK] & ~HAS_CACHE

    def free_one(self, slot: int) -> None:
        """One entry less has a slot (swap_free); the page that it has in memory goes with the last."""
        area, offset = self.area(slot), slot & OFFSET_MASK
        if area.drop_one(offset) == HAS_CACHE and self._frames.count(area.frame[offset]) == 1:
            self.forget(np.array([area.frame[offset]], dtype=np.int64))

    def _by_area(self, slots: Frames) -> list[tuple[SwapArea, Frames, Frames | slice]]:
        """(area, offsets, where they are among the slots)."""
        kinds = slots >> TYPE_SHIFT
        if len(slots) and (kinds == kinds[0]).all():
            area = self.areas.by_type[int(kinds[0])]
            assert area is not None, "Swap: a slot is of no area"
            return [(area, slots & OFFSET_MASK, slice(None))]
        found: list[tuple[SwapArea, Frames, Frames | slice]] = []
        for area in self.areas.active:
            at = np.flatnonzero(kinds == area.kind)
            if len(at):
                found.append((area, slots[at] & OFFSET_MASK, at))
        assert sum(len(offsets) for _, offsets, _ in found) == len(slots), "Swap: a slot is of no area"
        return found

    def dup(self, slots: Frames) -> None:
        """One more entry has each of these slots, as often as it occurs."""
        for area, offsets, _ in self._by_area(slots):
            if ascending(offsets):
                area.counts[offsets] += 1
            else:
                np.add.at(area.counts, offsets, np.int32(1))

    def free(self, slots: Frames) -> None:
        """One entry less has each of these slots, as often as it occurs; a page that is in memory for nobody any more
        goes too (free_swap_and_cache).
        """
        for area, offsets, _ in self._by_area(slots):
            uses: Frames | int = 1
            if not ascending(offsets):
                offsets, uses = _counted(offsets)
            area.drop(offsets, uses)
            alone = offsets[area.counts[offsets] == HAS_CACHE]
            if len(alone):
                frames = area.frames[alone].astype(np.int64)
                unmapped = frames[self._frames.counts[frames] == 1]
                if len(unmapped):
                    self.forget(unmapped)

    # -- the swap cache --------------------------------------------------------------------------------------------

    def slot_of(self, frame: int) -> int:
        """The slot of a page of the swap cache."""
        slot: int = self._slots.view[frame]
        return slot

    def slots_of(self, frames: Frames) -> Frames:
        """The slots of many."""
        slots: Frames = self._slots.array[frames]
        return slots

    def synchronous(self, frames: Frames) -> npt.NDArray[np.bool_]:
        """Which pages of the swap cache have arrived in their slots at once."""
        kinds = self.slots_of(frames) >> TYPE_SHIFT
        found = np.zeros(len(frames), dtype=np.bool_)
        for area in self.areas.active:
            if area.synchronous:
                found |= kinds == area.kind
        return found

    def find(self, slot: int) -> int:
        """The frame of a slot in the swap cache; 0 if there is none (swap_cache_get_folio)."""
        return self.area(slot).frame[slot & OFFSET_MASK]

    def find_many(self, slots: Frames) -> Frames:
        """The same of many."""
        found = np.zeros(len(slots), dtype=np.int64)
        for area, offsets, at in self._by_area(slots):
            found[at] = area.frames[offsets]
        return found

    def _add(self, area: SwapArea, offsets: Frames, frames: Frames) -> None:
        """These frames, whose reference is handed over, are in the swap cache; the slots count so already."""
        area.frames[offsets] = frames
        self._slots.array[frames] = offsets | area.kind << TYPE_SHIFT
        self._frames.flags[frames] |= PG_SWAPCACHE
        self.cached += len(frames)

    def forget(self, frames: Frames, *, soon: bool = False) -> None:
        """Take different pages out of the swap cache, and drop its references (delete_from_swap_cache).  ``soon``: that
        is since frames are short.
        """
        slots = self._slots.array[frames]
        self._frames.flags[frames] &= ~PG_SWAPCACHE & 0xFF
        for area, offsets, _ in self._by_area(slots):
            area.frames[offsets] = 0
            area.drop(offsets, HAS_CACHE)
        if self.ahead:
            self.ahead.difference_update(frames.tolist())
        self.cached -= len(frames)
        self._frames.put_many(frames, soon=soon)

    def moved(self, source: Frames, target: Frames) -> None:
        """Pages of the swap cache are in other frames now (folio_migrate_mapping)."""
        slots = self._slots.array[source]
        self._slots.array[target], self._slots.array[source] = slots, 0
        for area, offsets, at in self._by_area(slots):
            area.frames[offsets] = target[at]
        for old, new in zip(source.tolist(), target.tolist(), strict=True):
            if old in self.ahead:
                self.ahead.remove(old)
                self.ahead.add(new)

    def try_to_free(self, frame: int) -> bool:
        """A page that is used gives its slot up, unless others have that; whether it did (folio_free_swap)."""
        if not self._frames.has_flag(frame, PG_SWAPCACHE) or self.uses(self.slot_of(frame)):
            return False
        self._frames.set_page_flags(frame, PG_DIRTY)
        self.forget(np.array([frame], dtype=np.int64))
        return True

    def asked_for(self, frame: int) -> bool:
        """A page of the swap cache is used; whether it was read ahead (swap_update_readahead)."""
        if frame not in self.ahead:
            return False
        self.ahead.discard(frame)
        self.events["swap_ra_hit"] += 1
        return True

    def drop_arrived(self, frames: Frames) -> None:
        """Free those pages of the swap cache that nobody maps, and that have arrived in their slots."""
        held = self._frames
        unmapped = frames[(held.counts[frames] == 1) & (held.flags[frames] & PG_SWAPCACHE != 0)]
        done = unmapped[self.synchronous(unmapped)]
        if len(done):
            self.forget(done, soon=True)

    def unmapped(self, frames: Frames) -> None:
        """These pages were mapped: those that nobody maps any more leave the swap cache with the last use of their slot
        (free_swap_cache).
        """
        held, flags = self._frames, self._frames.flags
        frames = frames[(flags[frames] & PG_SWAPCACHE != 0) & (held.counts[frames] == 1)]
        if len(frames):
            alone = np.concatenate([
                frames[at][area.counts[offsets] == HAS_CACHE]
                for area, offsets, at in self._by_area(self.slots_of(frames))
            ])  # fmt: skip
            if len(alone):
                self.forget(_different(alone))

    @property
    def full(self) -> bool:
        """Whether more than half of it is in use, so that pages that are read in leave it (vm_swap_full)."""
        return self.areas.free * 2 < self.areas.total

    # -- in and out ------------------------------------------------------------------------------------------------

    def out(self, frames: Frames) -> Frames:
        """Write pages, which are not in the swap cache, to free slots, and put them into it; the slots of the first so
        many as there was room for (folio_alloc_swap, swap_writeout).
        """
        found: list[Frames] = []
        done = 0
        if self.charges is not None:
            frames = frames[: self.charges.room(frames)]
        for area in self.areas.by_priority:
            offsets = area.take(len(frames) - done)
            part = frames[done : done + len(offsets)]
            if len(part):
                self._frames.counts[part] += 1  # each is there once
                self._add(area, offsets, part)
                if self.charges is not None:
                    self.charges.charge(area, offsets, part)
                self._write(area, offsets, part)
                found.append(offsets | area.kind << TYPE_SHIFT)
                done += len(part)
            if done == len(frames):
                break
        return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)

    def write_again(self, frames: Frames) -> None:
        """Write pages of the swap cache that have changed since."""
        for area, offsets, at in self._by_area(self._slots.array[frames]):
            self._write(area, offsets, frames[at])

    def _write(self, area: SwapArea, offsets: Frames, frames: Frames) -> None:
        """Store what is not full of zeros."""
        zero = area.store.write(offsets, frames)
        area.zeros[offsets] = zero
        self._count("swpout_zero", frames[zero])
        self._count("pswpout", frames[~zero])
        self._frames.flags[frames] &= ~PG_DIRTY & 0xFF

    def _read(self, area: SwapArea, offset: int, frame: int) -> None:
        if area.zero[offset]:
            self._count("swpin_zero", np.array([frame]))
            return
        area.store.read_one(offset, frame)
        self._frames.stored(frame)
        self._count("pswpin", np.array([frame]))

    def _count(self, event: str, frames: Frames) -> None:
        self.events[event] += len(frames)
        if self.charges is not None:
            self.charges.happened(event, frames)

    def read_in(self, slot: int, kind: FrameKind, mm: Payer | None = None) -> int:
        """A new frame with what a slot has, which stays as it is, for an address space or for the current task.
        LinuxError(ENOMEM).
        """
        area, offset = self.area(slot), slot & OFFSET_MASK
        if self.charges is not None:
            mm = self.charges.payer(area, offset, mm)
        frame = self._frames.alloc(kind, mm)
        self._read(area, offset, frame)
        return frame

    def read_cached(self, slot: int, kind: FrameKind, mm: Payer | None = None) -> tuple[int, bool]:
        """The frame of a slot in the swap cache, read if it was not there; and whether it was not
        (read_swap_cache_async).  LinuxError(ENOMEM).
        """
        frame = self.find(slot)
        if frame:
            return frame, False
        frame = self.read_in(slot, kind, mm)
        if other := self.find(slot):  # what making room has done meanwhile
            self._frames.put(frame)
            return other, False
        area, offset = self.area(slot), slot & OFFSET_MASK
        area.count[offset] |= HAS_CACHE
        self._add(area, np.array([offset]), np.array([frame]))
        return frame, True


def _different(frames: Frames) -> Frames:
    """Each only once."""
    return frames if ascending(frames) else _counted(frames)[0]


def _counted(offsets: Frames) -> tuple[Frames, Frames]:
    """Different ones, ascending, and how often each occurs."""
    offsets = np.sort(offsets)
    at = np.flatnonzero(np.concatenate(([True], offsets[1:] != offsets[:-1])))
    uses = np.diff(np.concatenate((at, [len(offsets)])))
    return offsets[at], uses.astype(np.int64)
