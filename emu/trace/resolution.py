"""How a page fault was resolved, as the trace says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.mm.flags import FaultResult
from emu.mm.pagetable import ADDRESS, P
from emu.mm.swapops import is_swapped
from mmu import Access

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace

#: By number, as the record of the event has it.
RESOLUTIONS = (
    "unknown", "demand_zero", "zero_page", "file", "cow", "reuse", "swap", "link", "spurious", "userfaultfd", "oom",
    "signal",
)  # fmt: skip
_BY_RESULT = {
    FaultResult.LINKED: "link", FaultResult.RACED: "spurious", FaultResult.RETRY: "userfaultfd", FaultResult.OOM: "oom",
}  # fmt: skip


def resolution(mm: AddressSpace, vaddr: int, before: int, access: Access, result: FaultResult) -> str:
    """One of :data:`RESOLUTIONS`; ``before`` is the PTE that the fault found, 0 for none.

    ``cow``: the page was copied; ``reuse``: the very page may be written now; ``file``: a page of a file or of shared
    memory was mapped.
    """
    by_result = _BY_RESULT.get(result)
    if by_result is not None:
        return by_result
    if not result.resolved:
        return "signal"
    after = mm.tables.pte(vaddr)
    if before & P:
        return "cow" if (before ^ after) & ADDRESS else "reuse"
    if is_swapped(before):
        return "swap"
    if before:
        return "reuse"
    vma = mm.vmas.find(vaddr)
    if vma is not None and not vma.anonymous and vma.page_cache is not None:
        return "cow" if access == Access.WRITE and not vma.shared else "file"
    return "zero_page" if after & P and (after & ADDRESS) >> 12 == mm.frames.zero_frame else "demand_zero"
