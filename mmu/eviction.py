"""Translations that leave an array because others come: what follows from that, and PCIDs that an array cannot tell
apart.
"""

from __future__ import annotations

from mmu.array_record import ARRAY_BYTES, TlbArray, entries_of, find_tag, forget, frame_at, group_tag, pages_of, tag_at
from mmu.array_tags import COALESCED, GLOBAL_TAG, context_of, level_of, vaddr_of
from mmu.engine_held import drop_in_engine, engine_may_hold
from mmu.engine_sync import forget_page, tell_engine
from mmu.native import inlined, load8, load64, native, store64
from mmu.state import MmuState

_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF


@inlined
def array_number(state: MmuState, number: int) -> TlbArray:
    """An array by its place in the geometry."""
    return TlbArray.from_address(state.tlb_arrays + number * ARRAY_BYTES)


@native
def _finds_nowhere(state: MmuState, evicting: TlbArray, kinds: int, tag: int, frame: int) -> bool:
    """Whether one of these kinds of access finds this very translation, which has left an array, in none any more."""
    i, size = state.tlb_number, 1 << (level_of(tag) - 1)
    while i != 0 and kinds != 0:  # those of the second level, which hold most, are the last
        i -= 1
        array = array_number(state, i)
        if array.present & size != 0 and array.kinds & kinds != 0 and array.tags != evicting.tags:
            index = find_tag(array, tag)
            if index != 0 and frame_at(array, index - 1) == frame:
                kinds &= _ALL_ONES ^ array.kinds
    return kinds != 0


@native
def _in_level_2(state: MmuState, tag: int) -> bool:
    """Whether the second level has a translation, or one of pages that it is coalesced with."""
    i, size = 0, 1 << (level_of(tag) - 1)
    while i < state.tlb_number:
        array = array_number(state, i)
        if array.level == 2 and array.present & size != 0:
            if find_tag(array, tag) != 0:
                return True
            if array.group_shift != 0 and size == 1 and find_tag(array, group_tag(array, tag)) != 0:
                return True
        i += 1
    return False


@inlined
def _tell_of_eviction(state: MmuState, vaddr: int, level: int, frame: int) -> None:
    """Make the engine forget this translation, if it may hold that, or remember where the code of the page is."""
    if level != 1 or frame >= state.ram_bytes or load8(state.has_code + (frame >> 12)) != 0:
        tell_engine(state, vaddr, level)
        return
    page = vaddr >> 12
    if page + 1 == state.busy_page:
        if engine_may_hold(state, page):
            forget_page(state, page)
    elif not drop_in_engine(state, page):
        forget_page(state, page)


@native
def evicted(state: MmuState, array: TlbArray, tag: int, frame: int) -> None:
    """A translation was evicted from an array: if the geometry is inclusive, a translation that no second level holds
    leaves the first level too.

    A 1G page in the first level stays, whatever happens to the 2M pieces into which it was smashed.
    """
    kinds = array.kinds
    if state.inclusive != 0 and array.level == 2:
        kinds |= _keep_inclusion(state, array, tag)
    if state.engine_cpu != 0:
        context = context_of(tag)
        if context != state.pcid and context != GLOBAL_TAG:
            return
        if tag & COALESCED != 0:
            _tell_of_evicted(state, array, tag, frame)
        elif _finds_nowhere(state, array, kinds, tag, frame):
            _tell_of_eviction(state, vaddr_of(tag), level_of(tag), frame)


@native
def _keep_inclusion(state: MmuState, evicting: TlbArray, tag: int) -> int:
    """What has left the second level, and is there nowhere else, leaves the first.  Returns the kinds of access that
    may miss it."""
    kinds = 0 if _in_level_2(state, tag) else _leave_level_1(state, tag)
    if state.coalesce > 1 and level_of(tag) == 1:
        i, pages = 0, pages_of(evicting, tag)
        while pages > 1 and i < pages:
            one = (tag & (_ALL_ONES ^ COALESCED)) + (i << 16)
            if not _in_level_2(state, one):
                kinds |= _leave_level_1(state, one)
            i += 1
        if pages == 1:
            kinds |= _uncover_group(state, tag)
    return kinds


@native
def _uncover_group(state: MmuState, tag: int) -> int:
    """Coalesced pages of which one has left the second level leave the first, if they are not there together."""
    i = 0
    while i < state.tlb_number:
        array = array_number(state, i)
        if array.level == 1 and array.group_shift != 0:
            both = group_tag(array, tag)
            return 0 if _in_level_2(state, both) else _leave_level_1(state, both)
        i += 1
    return 0


@native
def _leave_level_1(state: MmuState, tag: int) -> int:
    """A translation leaves every array of the first level.  Returns the kinds of access of those that had it."""
    i, kinds = 0, 0
    while i < state.tlb_number:
        other = array_number(state, i)
        if other.level == 1:
            index = find_tag(other, tag)
            if index != 0:
                forget(other, index - 1)
                other.drops += 1
                kinds |= other.kinds
        i += 1
    return kinds


@native
def _tell_of_evicted(state: MmuState, array: TlbArray, tag: int, frame: int) -> None:
    """Coalesced pages have left an array: make the engine forget them."""
    i = 0
    while i < pages_of(array, tag):
        _tell_of_eviction(state, vaddr_of(tag) + (i << 12), 1, frame + (i << 12))
        i += 1


@native
def tell_of_pages(state: MmuState, array: TlbArray, tag: int) -> None:
    """Make the engine forget coalesced pages."""
    i = 0
    while i < pages_of(array, tag):
        tell_engine(state, vaddr_of(tag) + (i << 12), 1)
        i += 1


@native
def tell_of_others(state: MmuState, array: TlbArray, tag: int, vaddr: int) -> None:
    """The same, but for the page of ``vaddr``."""
    i = 0
    while i < pages_of(array, tag):
        page = vaddr_of(tag) + (i << 12)
        if page >> 12 != vaddr >> 12:
            tell_engine(state, page, 1)
        i += 1


@native
def _drop_context(state: MmuState, array: TlbArray, pcid: int) -> None:
    """Evict every translation of a PCID that is not the current one."""
    index, end = 0, entries_of(array)
    while index < end:
        tag = tag_at(array, index)
        if tag != 0 and context_of(tag) == pcid:
            frame = frame_at(array, index)
            forget(array, index)
            array.evictions += 1
            evicted(state, array, tag, frame)
        index += 1


@native
def admit(state: MmuState, array: TlbArray) -> None:
    """The current PCID, which is not the one that did so last, is about to install a translation in an array that can
    tell only some apart."""
    array.context_time += 1
    array.last_context = state.pcid + 1
    place, end = array.contexts, array.contexts + (array.pcids - 1) * 16
    chosen, oldest = 0, _ALL_ONES
    while place < end:
        if load64(place) == state.pcid + 1:
            store64(place + 8, array.context_time)
            return
        if load64(place + 8) < oldest:
            chosen, oldest = place, load64(place + 8)
        place += 16
    if chosen == 0:
        return  # no more than the current one's are held
    if load64(chosen) != 0:
        _drop_context(state, array, load64(chosen) - 1)
    store64(chosen, state.pcid + 1)
    store64(chosen + 8, array.context_time)


@native
def leave_pcid(state: MmuState, pcid: int) -> None:
    """This PCID is no longer the current one: arrays that can tell none apart evict what they hold of it."""
    i = 0
    while i < state.tlb_number:
        array = array_number(state, i)
        if array.pcids == 1:
            _drop_context(state, array, pcid)
        i += 1
