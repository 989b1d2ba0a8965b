"""Invalidation of translations (SDM vol. 3, 4.10.4.1), as native code: what the manual demands, and no more."""

from __future__ import annotations

from mmu.access_log import EVERY_PCID, GLOBALS, Op, note_control
from mmu.array_record import entries_of, forget, tag_at
from mmu.array_tags import GLOBAL_TAG, context_of
from mmu.eviction import array_number
from mmu.native import native
from mmu.removal import remove_page
from mmu.state import MmuState
from mmu.structure_cache import invalidate_structures, invalidate_structures_of
from mmu.walk import canonical


@native
def drop_page(state: MmuState, vaddr: int) -> None:
    """A hit could not be used: drop everything cached for the address before the walk."""
    remove_page(state, vaddr, state.pcid, globals_too=True, dropped=True)


@native
def page_fault(state: MmuState, vaddr: int, pcid: int) -> None:
    """The delivery of a #PF: the page, global or not, and the structure-cache entries that the address would use."""
    if state.access_log != 0:
        note_control(state, Op.PAGE_FAULT, vaddr, pcid)
    remove_page(state, vaddr, pcid, globals_too=True, dropped=False)
    invalidate_structures_of(state, vaddr, pcid)


@native
def invalidate_linear(state: MmuState, vaddr: int) -> None:
    """INVLPG: the page in the current PCID, even a global one, and every structure-cache entry of the PCID.

    For an address that is not canonical it does nothing.
    """
    if not canonical(state, vaddr):
        return
    if state.access_log != 0:
        note_control(state, Op.INVLPG, vaddr, 0)
    remove_page(state, vaddr, state.pcid, globals_too=True, dropped=False)
    invalidate_structures(state, state.pcid, False)


@native
def invalidate_individual(state: MmuState, vaddr: int, pcid: int) -> None:
    """INVPCID type 0: the page in this PCID, not a global one, and the structure-cache entries that it would use."""
    if state.access_log != 0:
        note_control(state, Op.INVPCID, vaddr, pcid)
    remove_page(state, vaddr, pcid, globals_too=False, dropped=False)
    invalidate_structures_of(state, vaddr, pcid)


@native
def invalidate_context(state: MmuState, pcid: int, every_pcid: bool, globals_too: bool) -> None:
    """Every translation of a PCID, or of all; global ones only if asked for.

    The caller flushes Unicorn's translations.
    """
    if state.access_log != 0:
        which = (EVERY_PCID if every_pcid else 0) | (GLOBALS if globals_too else 0)
        note_control(state, Op.INVALIDATE, pcid, which)
    i = 0
    while i < state.tlb_number:
        array = array_number(state, i)
        index, end = 0, entries_of(array)
        while index < end:
            tag = tag_at(array, index)
            if tag != 0:
                context = context_of(tag)
                if globals_too if context == GLOBAL_TAG else (every_pcid or context == pcid):
                    forget(array, index)
                    array.invalidations += 1
            index += 1
        i += 1
    invalidate_structures(state, pcid, every_pcid)
