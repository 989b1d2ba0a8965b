"""Merging of VMAs that are alike and adjoin (mm/vma.c): what /proc/PID/maps shows as one line is one VMA."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.mm.vma import Vma, VmFlags
from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace

#: VM_SPECIAL: VMAs that are never merged.
_NEVER = VmFlags.DONTEXPAND


def can_merge(low: Vma, high: Vma) -> bool:
    """Whether two VMAs may become one: they adjoin, have the same rights and flags, and show the same object in order.

    Private pages that fork has brought must be of the same VMA of the parent's, so that the kernel finds them from both
    processes (is_mergeable_anon_vma).
    """
    if low.end != high.start or low.prot != high.prot or low.flags != high.flags or low.flags & _NEVER:
        return False
    if low.file is not high.file or low.page_cache is not high.page_cache or low.ops or high.ops:
        return False
    if low.pgoff + (low.length >> PAGE_SHIFT) != high.pgoff:
        return False
    return low.inherited is high.inherited and (low.anon == high.anon or low.inherited is None)


def merge_neighbours(mm: AddressSpace, vma: Vma) -> Vma:
    """Join a VMA of the tree with the one below and the one above where that is possible; returns what it became."""
    below = mm.vmas.find(vma.start - 1)
    if below is not None and can_merge(below, vma):
        vma = _absorb(mm, below, vma)
    above = mm.vmas.find(vma.end)
    if above is not None and can_merge(vma, above):
        vma = _absorb(mm, vma, above)
    return vma


def _absorb(mm: AddressSpace, low: Vma, high: Vma) -> Vma:
    mm.vmas.remove(high)
    low.end = high.end
    low.anon |= high.anon
    if high.page_cache is not None:
        del high.page_cache.mappings[high]
    if high.file is not None:
        high.file.put()
    return low
