"""Pages of 4K that are one translation: AMD's coalesced pages, of which "a coalesced page is a 16k page created from
four adjacent 4k pages" (Linux, tools/perf/pmu-events/arch/x86/amdzen4/memory.json).

AMD's guide for family 19h (publication 56665) says which pages may be one, in both levels, for data and for fetches:
four side by side from a multiple of 16K on, whose frames are so as well, with the same attributes.  The processor need
not do so.  Here it always does: a walk has read the line of 64 bytes with the PTE, and looks at those beside it.  If
all are equal but for the address, A and D included, and the frames stand side by side from a multiple of their size on,
an array that coalesces takes the translation of all.  It is one entry: an invalidation of one page, or a hit that
cannot be used, takes it out as a whole.
"""

from __future__ import annotations

from mmu.entries import ADDRESS
from mmu.native import cold, load64
from mmu.state import MmuState

_PTE_BYTES, _PAGE_BYTES = 8, 4096
_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF


@cold
def is_coalesced(state: MmuState) -> bool:
    """Whether the page of the PTE that the last walk has read may be one translation with those beside it."""
    size = state.coalesce * _PTE_BYTES
    slot = state.slots[1] & (_ALL_ONES ^ (size - 1))
    first = load64(state.ram + slot)
    if first & ADDRESS & (state.coalesce * _PAGE_BYTES - 1) != 0:
        return False
    at, expected = _PTE_BYTES, first
    while at < size:
        expected += _PAGE_BYTES
        if load64(state.ram + slot + at) != expected:
            return False
        at += _PTE_BYTES
    return True
