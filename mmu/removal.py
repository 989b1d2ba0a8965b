"""Taking translations out of the arrays of a TLB: one, or all of an address."""

from __future__ import annotations

from mmu.array_record import (
    TlbArray,
    entries_of,
    forget,
    group_tag,
    is_near_none,
    may_be_coalesced,
    next_way,
    tag_at,
    whole_of,
)
from mmu.array_tags import COALESCED, GLOBAL_TAG, context_of, level_of, page_of, tag_of, vaddr_of
from mmu.engine_sync import tell_engine
from mmu.eviction import array_number, tell_of_pages
from mmu.native import native
from mmu.state import MmuState


@native
def remove_found(state: MmuState, array: TlbArray, index: int, dropped: bool) -> None:
    """Remove one entry, and count it."""
    tag = tag_at(array, index)
    forget(array, index)
    if dropped:
        array.drops += 1
    else:
        array.invalidations += 1
    context = context_of(tag)
    if context != state.pcid and context != GLOBAL_TAG:
        return
    if tag & COALESCED != 0:
        tell_of_pages(state, array, tag)
    else:
        tell_engine(state, vaddr_of(tag), level_of(tag))


@native
def _remove_in_set(
    state: MmuState, array: TlbArray, vaddr: int, level: int, pcid: int, globals_too: bool, dropped: bool
) -> None:
    own = tag_of(vaddr, level, pcid)
    if not is_near_none(array, own):
        _remove_tag(state, array, own, globals_too, dropped)
    if may_be_coalesced(array, own):
        _remove_tag(state, array, group_tag(array, own), globals_too, dropped)


@native
def _remove_tag(state: MmuState, array: TlbArray, own: int, globals_too: bool, dropped: bool) -> None:
    """Remove what is held of the page of a tag: as that one's, and as a global one if asked for."""
    found = next_way(array, own, 0)
    while found.way != array.ways:
        tag = tag_at(array, found.place)
        if tag == own or (globals_too and context_of(tag) == GLOBAL_TAG):
            remove_found(state, array, found.place, dropped)
        found = next_way(array, own, found.way + 1)


@native
def _remove_pieces(state: MmuState, array: TlbArray, vaddr: int, pcid: int, globals_too: bool, dropped: bool) -> None:
    """Remove the pieces of the larger page that holds ``vaddr``, since they were one translation."""
    index, end = 0, entries_of(array)
    while index < end:
        tag = tag_at(array, index)
        whole = whole_of(array, index) if tag != 0 else 0
        if whole != 0 and page_of(vaddr_of(tag), whole) == page_of(vaddr, whole):
            context = context_of(tag)
            if context == pcid or (globals_too and context == GLOBAL_TAG):
                remove_found(state, array, index, dropped)
        index += 1


@native
def remove_page(state: MmuState, vaddr: int, pcid: int, globals_too: bool, dropped: bool) -> None:
    """Take every translation of the address, whatever its page size, with this PCID (and global ones) out of every
    array.  It is counted as ``dropped``, or else as invalidated.
    """
    i = 0
    while i < state.tlb_number:
        array = array_number(state, i)
        level = 1
        while level <= 3:
            if array.present & (1 << (level - 1)) != 0:
                _remove_in_set(state, array, vaddr, level, pcid, globals_too, dropped)
            level += 1
        if state.smashed != 0:
            _remove_pieces(state, array, vaddr, pcid, globals_too, dropped)
        i += 1
