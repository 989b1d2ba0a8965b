"""What invalidates translations (SDM vol. 3, 4.10.4.1): each demand of the manual and no more, as native code."""

from __future__ import annotations

from mmu.array_record import (
    DROPS,
    GLOBAL_TAG,
    INVALIDATIONS,
    RECORD_BYTES,
    bump,
    context_of,
    entries_of,
    forget,
    tag_at,
)
from mmu.native import native
from mmu.state import MmuState
from mmu.structure_cache import invalidate_structures, invalidate_structures_of
from mmu.tlb import remove_page
from mmu.walk import canonical


@native
def drop_page(state: MmuState, vaddr: int) -> None:
    """A hit could not be used: all that is cached for the address goes before the walk."""
    remove_page(state, vaddr, state.pcid, True, DROPS)


@native
def page_fault(state: MmuState, vaddr: int, pcid: int) -> None:
    """The delivery of a #PF: the page, global or not, and the structure-cache entries that the address would use."""
    remove_page(state, vaddr, pcid, True, INVALIDATIONS)
    invalidate_structures_of(state, vaddr, pcid)


@native
def invalidate_linear(state: MmuState, vaddr: int) -> None:
    """INVLPG: the page in the current PCID, even a global one, and every structure-cache entry of the PCID.

    Of an address that is not canonical it does nothing.
    """
    if not canonical(state, vaddr):
        return
    remove_page(state, vaddr, state.pcid, True, INVALIDATIONS)
    invalidate_structures(state, state.pcid, False)


@native
def invalidate_individual(state: MmuState, vaddr: int, pcid: int) -> None:
    """INVPCID type 0: the page in this PCID, not a global one, and the structure-cache entries that it would use."""
    remove_page(state, vaddr, pcid, False, INVALIDATIONS)
    invalidate_structures_of(state, vaddr, pcid)


@native
def invalidate_context(state: MmuState, pcid: int, every_pcid: bool, globals_too: bool) -> None:
    """Every translation of a PCID, or of all; global ones only if asked for.

    Unicorn is not told: the caller flushes it.
    """
    i = 0
    while i < state.tlb_number:
        array = state.tlb_arrays + i * RECORD_BYTES
        index, end = 0, entries_of(array)
        while index < end:
            tag = tag_at(array, index)
            if tag != 0:
                context = context_of(tag)
                if globals_too if context == GLOBAL_TAG else (every_pcid or context == pcid):
                    forget(array, index)
                    bump(array, INVALIDATIONS)
            index += 1
        i += 1
    invalidate_structures(state, pcid, every_pcid)
