"""The mapping that would come next, if private memory were mapped once more as it was the last time: where it would be,
and what it and a change of the rights of a part of it do, which is then known not to fail (:mod:`emu.mm.private`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.linux.mman import MapFlags, Prot
from emu.mm.commit import Overcommit
from emu.mm.flags import VmFlags
from emu.mm.pagetable import span
from emu.mm.unmapped_area import place_on_top
from emu.mm.vma import Vma
from emu.mm.vmamodify import carve
from emu.mm.vmatree import merge_neighbours
from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace

# plain integers, which are looked at quicker
_WRITE, _EXEC = int(Prot.WRITE), int(Prot.EXEC)
_TABLE_SPAN = span(2)
_STACK, _UNPROMISED = int(MapFlags.STACK), int(MapFlags.NORESERVE)


class Foreseen:
    """A mapping that has not been made, [start, end)."""

    __slots__ = ("_alone", "_flags", "_prot", "_rights", "end", "start", "table_stays")

    def __init__(self, start: int, end: int, prot: Prot, flags: VmFlags, rights: Prot) -> None:
        """``prot`` and ``flags`` are those of the mapping, ``rights`` what a part may be given (:attr:`protects`)."""
        self.start, self.end = start, end
        self._prot, self._flags, self._rights = prot, flags, rights
        #: It cannot become one with its neighbours; and one table has all its entries, and those of a neighbour too, so
        #: that it stays when this is unmapped.
        self._alone, self.table_stays = True, False

    def is_between(self, below: Vma | None, above: Vma | None) -> None:
        """It has these neighbours."""
        table = self.start & -_TABLE_SPAN
        one = self.end <= table + _TABLE_SPAN
        if below is not None:
            self._alone = below.end != self.start or not below.anonymous
            self.table_stays = one and below.end > table
        if above is not None:
            self._alone = self._alone and (above.start != self.end or not above.anonymous)
            self.table_stays = one and (self.table_stays or above.start < table + _TABLE_SPAN)

    @property
    def protects(self) -> bool:
        """Whether a part of it may be given these rights: they are others, and nothing promised is taken back."""
        return self._rights != self._prot and not self._prot & _WRITE and not self._rights & _EXEC

    def make(self, mm: AddressSpace, low: int, high: int) -> tuple[Vma, Vma] | None:
        """Map it, and give [low, high) the rights, if that is anything.  If that makes two VMAs of it and nothing else,
        these."""
        commit, flags = mm.context.commit, self._flags
        if flags & VmFlags.ACCOUNT:
            commit.charge((self.end - self.start) >> PAGE_SHIFT, mm)
        vma = Vma(self.start, self.end, self._prot, flags, pgoff=self.start >> PAGE_SHIFT)
        if low >= high:
            mm.insert(vma)
            return None
        if self._rights & _WRITE and not flags & VmFlags.NORESERVE:
            commit.charge((high - low) >> PAGE_SHIFT, mm)
            flags |= VmFlags.ACCOUNT
        if not self._alone:
            mm.insert(vma)
            found = mm.vmas.find(low)
            assert found is not None
            part = carve(mm, found, low, high)
            part.change(self._rights, flags)
            merge_neighbours(mm.vmas, part)
            return None
        part = vma.copy(low, high)
        part.change(self._rights, flags)
        run = [part]
        if high < self.end:
            run.append(vma.copy(high, self.end))
        if self.start < low:
            vma.end = low
            run.insert(0, vma)
        mm.adopt_run(run)
        return (vma, part) if run == [vma, part] else None


def foresee(mm: AddressSpace, length: int, prot: Prot, flags: int, rights: Prot) -> Foreseen | None:
    """What mmap(2) of so much would map, with these flags, as :func:`emu.mm.private.map_private` does; None if that is
    not known.  It holds as long as nothing else is mapped or unmapped.
    """
    context, vmas = mm.context, mm.vmas
    if mm.tables.transparent or context.thp.used or context.flusher.detector is not None:
        return None
    for hook in context.map_hooks:
        if hook.of_private_memory:
            return None
    start = place_on_top(mm, length)
    if start is None or prot & _EXEC:
        return None
    end, vm_flags = start + length, VmFlags.NOHUGEPAGE if flags & _STACK else VmFlags.NONE
    if flags & _UNPROMISED and context.commit.mode != Overcommit.NEVER:
        vm_flags |= VmFlags.NORESERVE
    elif prot & _WRITE:
        vm_flags |= VmFlags.ACCOUNT
    coming = Foreseen(start, end, prot, vm_flags, rights)
    coming.is_between(vmas.last_below(start), vmas.next_above(start))
    return coming
