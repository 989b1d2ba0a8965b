"""Which entries map a page: looked up in all tables at once, when pages are to be reclaimed (mm/rmap.c).

Nothing is kept per page: who needs the entries of many pages goes through the tables, whose entries numpy handles by
the thousand.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from emu.mm.flags import VmFlags
from emu.mm.freeframes import ascending
from emu.mm.pagetable import ADDRESS, HERE, SPECIAL, A
from mmu.late import np
from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.mm.address_space import AddressSpace
    from emu.mm.context import MmContext
    from emu.mm.freeframes import Frames
    from emu.mm.vma import Vma

Mask: TypeAlias = "npt.NDArray[np.bool_]"

#: Memory that is never reclaimed, and what is no memory, or is dropped instead of being kept in swap.
_LOCKED, _NO_MEMORY = VmFlags.LOCKED, VmFlags.PFNMAP | VmFlags.IO | VmFlags.DROPPABLE


class Mapped(NamedTuple):
    """Entries of one address space that map pages, by the slot of each in a table, and these pages."""

    mm: AddressSpace
    slots: Frames
    #: What they map, or have mapped when this was made.
    frames: Frames
    #: The range of addresses that they lie in.
    start: int
    end: int

    @classmethod
    def at(cls, mm: AddressSpace, slots: Frames, start: int, end: int) -> Mapped:
        """What these entries, which lie in [start, end), map now."""
        frames = ((mm.tables.words[slots] & ADDRESS) >> PAGE_SHIFT).view(np.int64)
        return cls(mm, slots, frames, start, end)

    def part(self, which: Mask) -> Mapped:
        """Some of them."""
        return self if which.all() else self._replace(slots=self.slots[which], frames=self.frames[which])

    def clear(self, bits: int) -> None:
        """Take bits from the entries; flushed."""
        if len(self.slots):
            self.mm.tables.words[self.slots] &= np.uint64(~bits & (1 << 64) - 1)
            self.mm.obligation(self.start, self.end, "reclaim").flush()


class PageMap:
    """The entries of small pages of all address spaces, and what they say of each frame."""

    def __init__(self, context: MmContext, spaces: Iterable[AddressSpace]) -> None:
        frames = context.frames
        self.mapped: list[Mapped] = []
        #: By frame: how many of these entries there are, whether one has been used, and whether one is locked.
        self.counts = np.zeros(frames.total, dtype=np.int32)
        self.young = np.zeros(frames.total, dtype=np.bool_)
        self.locked = np.zeros(frames.total, dtype=np.bool_)
        self.locked[list(frames.left_locked)] = True
        for mm in spaces:
            for vma in mm.vmas:
                if can_be_reclaimed(vma):
                    self._add(mm, vma)

    def _add(self, mm: AddressSpace, vma: Vma) -> None:
        words, found = mm.tables.words, []
        for _, slot, number in mm.tables.pte_tables(vma.start, vma.end):
            view = words[slot : slot + number]
            at = np.flatnonzero(((view & HERE) != 0) & ((view & SPECIAL) == 0))
            if len(at):
                found.append(at + slot)
        if not found:
            return
        mapped = Mapped.at(mm, np.concatenate(found), vma.start, vma.end)
        frames = mapped.frames
        if ascending(frames):
            self.counts[frames] += 1
        else:
            np.add.at(self.counts, frames, np.int32(1))
        self.young[frames[(words[mapped.slots] & A) != 0]] = True
        if vma.flags & _LOCKED:
            self.locked[frames] = True
        self.mapped.append(mapped)

    def make_old(self, frames: Frames) -> None:
        """Forget that these pages have been used."""
        which = np.zeros(len(self.young), dtype=np.bool_)
        which[frames] = True
        for part in self.of(which):
            part.clear(A)
        self.young[frames] = False

    def of(self, which: Mask) -> list[Mapped]:
        """The entries of the frames for which a mask is set."""
        parts = [part.part(which[part.frames]) for part in self.mapped]
        return [part for part in parts if len(part.slots)]


def can_be_reclaimed(vma: Vma) -> bool:
    """Whether the pages of a mapping are small, and on the lists of pages that may go."""
    ops = vma.ops
    return ops.leaf_level == 1 and ops.on_lru and not ops.special and not ops.secret and not vma.flags & _NO_MEMORY
