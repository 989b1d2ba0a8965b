"""How a page fault was resolved, as the trace says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.mm.flags import FaultResult, Resolution
from emu.mm.pagetable import ADDRESS, P
from emu.mm.swapops import is_swapped
from mmu import Access
from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace

#: By number, as the record of the event has it.
RESOLUTIONS = tuple(each.name.lower() for each in Resolution)
_BY_RESULT = {
    FaultResult.LINKED: Resolution.LINK, FaultResult.RACED: Resolution.SPURIOUS,
    FaultResult.RETRY: Resolution.USERFAULTFD, FaultResult.OOM: Resolution.OOM,
}  # fmt: skip


def resolution(mm: AddressSpace, vaddr: int, before: int, access: Access, result: FaultResult) -> Resolution:
    """How a fault was resolved; ``before`` is the PTE that it found, 0 for none."""
    by_result = _BY_RESULT.get(result)
    if by_result is not None:
        return by_result
    if not result.resolved:
        return Resolution.SIGNAL
    after = mm.tables.pte(vaddr)
    if before & P:
        return Resolution.COW if (before ^ after) & ADDRESS else Resolution.REUSE
    if is_swapped(before):
        return Resolution.SWAP
    if before:
        return Resolution.REUSE
    vma = mm.vmas.find(vaddr)
    if vma is not None and not vma.anonymous and vma.page_cache is not None:
        return Resolution.COW if access == Access.WRITE and not vma.shared else Resolution.FILE
    is_zero_page = after & P and (after & ADDRESS) >> PAGE_SHIFT == mm.frames.zero_frame
    return Resolution.ZERO_PAGE if is_zero_page else Resolution.DEMAND_ZERO
