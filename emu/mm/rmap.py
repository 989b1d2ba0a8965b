"""Anonymous pages and the VMAs that may hold them (mm/rmap.c): which VMAs share an anon_vma decides which may become
one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    from emu.mm.vma import Vma, VmaTree


class AnonVma:
    """What finds the private pages of a VMA, and of those that were split from it (struct anon_vma)."""

    __slots__ = ("forked",)

    def __init__(self, *, forked: bool = False) -> None:
        #: Whether fork made it, so that pages of the parent's VMAs may be found through it too: its anon_vma_chain is
        #: not singular.
        self.forked = forked


def anon_vma_prepare(vmas: VmaTree, vma: Vma) -> None:
    """Give a VMA of the tree an anon_vma, before it gets its first private page: that of a neighbour with which it
    could be one but for its rights, or a new one.
    """
    if vma.anon_vma is not None:
        return
    above, below = vmas.find(vma.end), vmas.find(vma.start - 1)
    for low, high, other in ((vma, above, above), (below, vma, below)):
        if low is None or high is None or other is None or other.anon_vma is None or other.anon_vma.forked:
            continue
        if _compatible(low, high):
            vma.anon_vma = other.anon_vma
            return
    vma.anon_vma = AnonVma()


def _compatible(low: Vma, high: Vma) -> bool:
    """Whether two adjoining VMAs map the same object in order, with the same flags (anon_vma_compatible)."""
    return (
        low.file is high.file
        and low.page_cache is high.page_cache
        and low.flags == high.flags
        and low.pgoff + (low.length >> PAGE_SHIFT) == high.pgoff
    )


def is_mergeable_anon_vma(low: Vma, high: Vma) -> bool:
    """Whether the anon_vmas of two VMAs let them become one."""
    if low.anon_vma is None or high.anon_vma is None:
        one = low.anon_vma or high.anon_vma
        return one is None or not one.forked
    return low.anon_vma is high.anon_vma
