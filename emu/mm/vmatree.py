"""The mappings of an address space, by address (struct maple_tree mm_mt), and which of them become one."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError
from emu.mm.flags import VmFlags
from emu.mm.kmem import SLAB_UNRECLAIMABLE, VM_AREA_STRUCT
from emu.mm.vma import AnonVma, Vma, can_merge, in_order, same_flags, vm_start_gap
from emu.mm.vmalist import VmaList

if TYPE_CHECKING:
    from emu.mm.kmem import Kmem

_GROWSDOWN = int(VmFlags.GROWSDOWN)


class VmaTree:
    """The VMAs of an address space, by address; they never overlap.  Each is charged, and whoever adds one has made
    sure that there is room (:meth:`Kmem.reserve`).
    """

    def __init__(self, kmem: Kmem) -> None:
        self.kmem = kmem
        #: How often VMAs have been added or taken out.
        self.changes = 0
        self._vmas: VmaList[Vma] = VmaList()
        self._last: Vma | None = None
        #: How far down gaps have been looked for, and none found: by how much was needed, the floor and the ceiling.
        #: Where a VMA goes, from above it; anew where one comes that keeps a gap below it.
        self.searched: dict[tuple[int, int, int], int] = {}
        self._growing: set[Vma] = set()

    def find(self, address: int) -> Vma | None:
        """The VMA that holds the address."""
        last = self._last
        if last is not None and last.start <= address < last.end:
            return last
        vma = self._vmas.at_or_below(address)
        if vma is None:
            return None
        if address < vma.end:
            self._last = vma
            return vma
        return None

    def next_above(self, address: int) -> Vma | None:
        """The lowest VMA that starts above the address."""
        return self._vmas.above(address)

    def last_below(self, address: int) -> Vma | None:
        """The highest VMA that starts below the address."""
        return self._vmas.at_or_below(address - 1)

    def downwards(self, address: int | None) -> Iterator[Vma]:
        """The VMAs that start below the address (None: all), highest first."""
        return self._vmas.downwards(address)

    def find_above(self, address: int) -> Vma | None:
        """The lowest VMA that ends above the address (find_vma)."""
        return self.find(address) or self.next_above(address)

    def overlapping(self, start: int, end: int) -> list[Vma]:
        """Every VMA that shares an address with [start, end), lowest first."""
        first = self.find(start)
        following = self._vmas.between(start if first is None else start + 1, end)
        return following if first is None else [first, *following]

    def pieces(self, start: int, end: int) -> Iterator[tuple[Vma, int, int]]:
        """Each VMA of the range with the part of it that lies within.  LinuxError(ENOMEM) at the end if there was a
        hole.  The caller may change the yielded VMA.
        """
        at, hole = start, False
        while at < end:
            vma = self.find(at)
            if vma is None:
                hole = True
                vma = self.next_above(at)
                if vma is None or vma.start >= end:
                    break
                at = vma.start
            stop = min(vma.end, end)
            yield vma, at, stop
            at = stop
        if hole:
            raise LinuxError(errno.ENOMEM)

    def pieces_to_the_hole(self, start: int, end: int) -> Iterator[tuple[Vma, int, int]]:
        """The same, but the first hole ends it."""
        at = start
        while at < end:
            vma = self.find(at)
            if vma is None:
                raise LinuxError(errno.ENOMEM)
            stop = min(vma.end, end)
            yield vma, at, stop
            at = stop

    def add(self, vma: Vma) -> tuple[Vma | None, Vma | None]:
        """Insert, and return the VMAs below and above.  It must not overlap any other: that would be a mistake of ours,
        which ends here.
        """
        self.changes += 1
        below, above = self._vmas.add(vma)
        if (below is not None and below.end > vma.start) or (above is not None and above.start < vma.end):
            self._vmas.remove(vma)
            raise AssertionError(f"a mapping of {vma.start:#x}-{vma.end:#x} would overlap another")
        vma.kmem = kmem = self.kmem.account(SLAB_UNRECLAIMABLE)
        kmem.charge_reserved(VM_AREA_STRUCT)
        self._last = None
        if vma.bits & _GROWSDOWN:
            self._growing.add(vma)
            self.searched.clear()
        return below, above

    def extend(self, vmas: list[Vma]) -> None:
        """Insert several above all others, lowest first."""
        kmem = self.kmem.account(SLAB_UNRECLAIMABLE)
        kmem.charge_reserved(VM_AREA_STRUCT * len(vmas))
        self.changes += 1
        self._vmas.extend(vmas)
        for vma in vmas:
            vma.kmem = kmem
            if vma.bits & _GROWSDOWN:
                self._growing.add(vma)

    def add_run(self, run: list[Vma]) -> None:
        """Insert several between which there are no others, lowest first, as :meth:`add` has it."""
        self.changes += 1
        below, above = self._vmas.add_run(run)
        if (below is not None and below.end > run[0].start) or (above is not None and above.start < run[-1].end):
            self._vmas.remove_run(run)
            raise AssertionError(f"mappings of {run[0].start:#x}-{run[-1].end:#x} would overlap another")
        kmem = self.kmem.account(SLAB_UNRECLAIMABLE)
        kmem.charge_reserved(VM_AREA_STRUCT * len(run))
        self._last = None
        for vma in run:
            vma.kmem = kmem
            if vma.bits & _GROWSDOWN:
                self._growing.add(vma)
                self.searched.clear()

    def remove_run(self, run: list[Vma]) -> None:
        """Take several out, between which there are no others; lowest first."""
        self.changes += 1
        self._vmas.remove_run(run)
        kmem, number = run[0].kmem, 0
        for vma in run:
            if vma.kmem is not kmem:
                kmem.uncharge(VM_AREA_STRUCT * number)
                kmem, number = vma.kmem, 0
            number += 1
        kmem.uncharge(VM_AREA_STRUCT * number)
        self._last = None
        self._growing.difference_update(run)
        self.searched.clear()

    def remove(self, vma: Vma, *, absorbed: bool = False) -> None:
        """Take out; ``absorbed``: what it covers becomes another's."""
        self.changes += 1
        self._vmas.remove(vma)
        vma.kmem.uncharge(VM_AREA_STRUCT)
        self._last = None
        self._growing.discard(vma)
        if not absorbed and self.searched:
            self._search_from(self.next_above(vma.start))

    def _search_from(self, above: Vma | None) -> None:
        """There is room below a VMA (None: below all): a gap is to be looked for from there at least."""
        end = 0 if above is None else above.end
        if above is None:
            self.searched.clear()
            return
        for vma in self._growing:
            if vm_start_gap(vma) < end <= vma.start:
                self.searched.clear()
                return
        for wanted, high in list(self.searched.items()):
            if end > wanted[2]:
                del self.searched[wanted]
            elif high < end:
                self.searched[wanted] = end

    def remove_together(self, run: list[Vma]) -> tuple[Vma | None, Vma | None]:
        """Take several out that do not grow, between which there are no others, lowest first, and return the VMAs below
        and above; there is room now.
        """
        self.changes += 1
        self._vmas.remove_run(run)
        kmem = run[0].kmem
        if len(run) == 1 or all(vma.kmem is kmem for vma in run):
            kmem.uncharge(VM_AREA_STRUCT * len(run))
        else:
            for vma in run:
                vma.kmem.uncharge(VM_AREA_STRUCT)
        self._last, start = None, run[0].start
        below, above = self._vmas.at_or_below(start), self._vmas.above(start)
        if self.searched:
            self._search_from(above)
        return below, above

    def beside(self, vma: Vma) -> tuple[Vma | None, Vma | None]:
        """The VMAs below and above one of the tree."""
        return self._vmas.beside(vma)

    def anon_vma_prepare(self, vma: Vma) -> None:
        """Give a VMA of the tree an anon_vma, before it gets its first private page: that of a neighbour with which it
        could be one but for its rights, the upper one first, or a new one.
        """
        if vma.anon_vma is not None:
            return
        below, above = self._vmas.beside(vma)
        for other in (above, below):
            if other is None or other.anon_vma is None or other.anon_vma.forked or not same_flags(vma, other):
                continue
            if in_order(vma, other) or in_order(other, vma):
                vma.anon_vma = other.anon_vma
                return
        vma.anon_vma = AnonVma()

    def listed(self) -> list[Vma]:
        """All of them, in a list of their own."""
        return self._vmas.listed()

    def __iter__(self) -> Iterator[Vma]:
        return iter(self._vmas)

    def __len__(self) -> int:
        return self._vmas.number


def merge_neighbours(vmas: VmaTree, vma: Vma) -> Vma:
    """Merge a VMA of the tree with the one below and the one above where possible; returns the merged VMA."""
    below, above = vmas.beside(vma)
    return merge_between(vmas, below, vma, above)


def merge_between(vmas: VmaTree, below: Vma | None, vma: Vma, above: Vma | None) -> Vma:
    """The same, where it is known which these are."""
    if below is not None and below.end == vma.start and can_merge(below, vma):
        vma = _absorb(vmas, below, vma)
    if above is not None and vma.end == above.start and can_merge(vma, above):
        vma = _absorb(vmas, vma, above)
    return vma


def _absorb(vmas: VmaTree, low: Vma, high: Vma) -> Vma:
    vmas.remove(high, absorbed=True)
    low.end = high.end
    if high.flags != low.flags:
        low.flags |= high.flags
    low.anon_vma = low.anon_vma or high.anon_vma
    if high.page_cache is not None:
        del high.page_cache.mappings[high]
    if high.file is not None:
        high.file.put()
    return low
