"""The TLB model: arrays of translations, asked in order, filled and evicted as :class:`mmu.geometry.Geometry` says.

What the manual leaves open is decided so:

* Arrays are asked in the order of the geometry, those of level 1 first; inside an array page sizes from 4K up.  The
  first match ends the search.
* A hit that cannot be used (a store to a page whose D the entry does not know to be set; rights that do not allow the
  access) counts as a hit; then all that is cached for the address is dropped, and a walk follows.
* Nothing is prefetched, and no entry leaves but by replacement, an invalidation, a hit that could not be used, or
  inclusion.
"""

from __future__ import annotations

from mmu.array_record import (
    ANY,
    DROPS,
    EVERY,
    EVICTIONS,
    FRAME,
    GLOBAL_TAG,
    HITS,
    KINDS,
    LEAF,
    LEVEL,
    LIST_BYTES,
    MISSES,
    PRESENT,
    RECORD_BYTES,
    SIZES,
    SMASHED,
    TWICE,
    WAYS,
    bump,
    context_of,
    entries_of,
    fact_of,
    find,
    find_tag,
    forget,
    frame_at,
    holds_page_as_another,
    level_of,
    occupy,
    page_of,
    set_of,
    tag_at,
    tag_of,
    vaddr_of,
)
from mmu.engine_sync import tell_engine
from mmu.entries import G
from mmu.native import inlined, load64, native, store64
from mmu.registers import CR4
from mmu.replacement import touch, victim
from mmu.state import MmuState

_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
_PIECE = 0xFFFF_FFFF_FFE0_0000


@inlined
def kind_bit(access: int) -> int:
    """Access READ, WRITE, FETCH as a bit of :class:`mmu.geometry.Kinds`."""
    return 1 << access


@inlined
def arrays_for(state: MmuState, access: int, level: int) -> int:
    """The address of the list of the arrays of this TLB level that hold translations for this access."""
    return state.tlb_lists + (access * 2 + level - 1) * LIST_BYTES


# -- looking up --------------------------------------------------------------------------------------------------------


@inlined
def lookup(state: MmuState, level: int, access: int, vaddr: int) -> bool:
    """Ask the arrays of one level for a translation; the first that has it is in found_array and found_way."""
    entry = arrays_for(state, access, level)
    array = load64(entry)
    while array != 0:
        sizes = load64(array + PRESENT)
        size = 1
        while sizes != 0:
            if sizes & 1 != 0:
                index = find(array, vaddr, size, state.pcid)
                if index != 0:
                    index -= 1
                    bump(array, HITS)
                    touch(state, array, index, vaddr, size, False)
                    state.found_array = array
                    state.found_way = index
                    return True
            sizes >>= 1
            size += 1
        bump(array, MISSES)
        entry += 8
        array = load64(entry)
    return False


@native
def peek(state: MmuState, access: int, vaddr: int) -> bool:
    """As :func:`lookup` over both levels, without statistics and without touching anything."""
    level = 1
    while level <= 2:
        entry = arrays_for(state, access, level)
        array = load64(entry)
        while array != 0:
            size = 1
            while size <= 3:
                if load64(array + PRESENT) & (1 << (size - 1)) != 0:
                    index = find(array, vaddr, size, state.pcid)
                    if index != 0:
                        state.found_array = array
                        state.found_way = index - 1
                        return True
                size += 1
            entry += 8
            array = load64(entry)
        level += 1
    return False


@inlined
def found(state: MmuState, word: int) -> int:
    """A fact of the translation that a lookup found."""
    return load64(fact_of(state.found_array, state.found_way) + word)


@inlined
def found_level(state: MmuState) -> int:
    """The level of its leaf entry."""
    return level_of(tag_at(state.found_array, state.found_way))


@native
def found_paddr(state: MmuState, vaddr: int) -> int:
    """Where it puts ``vaddr``."""
    mask = (1 << (12 + 9 * (found_level(state) - 1))) - 1
    return (frame_at(state.found_array, state.found_way) & (_ALL_ONES ^ mask)) | (vaddr & mask)


# -- installing --------------------------------------------------------------------------------------------------------


@native
def install(
    state: MmuState, array: int, vaddr: int, level: int, frame: int, every: int, any_xd: int, leaf: int
) -> None:
    """Put a translation into an array, evicting another if its set is full."""
    is_global = leaf & G != 0 and state.cr4 & CR4.PGE != 0
    tag = tag_of(vaddr, level, GLOBAL_TAG if is_global else state.pcid)
    ways = load64(array + WAYS)
    set_number = set_of(array, vaddr, level)
    index = set_number * ways
    end = index + ways
    while index < end and tag_at(array, index) != 0:
        index += 1
    old, old_frame = 0, 0
    if index == end:
        index = set_number * ways + victim(state, array, set_number)
        old, old_frame = tag_at(array, index), frame_at(array, index)
        bump(array, EVICTIONS)
        forget(array, index)
    if is_global and holds_page_as_another(array, tag):
        store64(array + TWICE, 1)
    occupy(array, index, tag)
    facts = fact_of(array, index)
    store64(facts + FRAME, frame)
    store64(facts + EVERY, every)
    store64(facts + ANY, any_xd)
    store64(facts + LEAF, leaf)
    touch(state, array, index, vaddr, level, True)
    if old != 0:
        _evicted(state, array, old, old_frame)


@native
def _install_level(
    state: MmuState, which: int, access: int, vaddr: int, level: int, frame: int, every: int, any_xd: int, leaf: int
) -> None:
    """Install into every array of TLB level ``which`` that takes this access and page size."""
    entry = arrays_for(state, access, which)
    array = load64(entry)
    while array != 0:
        if load64(array + SIZES) & (1 << (level - 1)) != 0:
            install(state, array, vaddr, level, frame, every, any_xd, leaf)
        entry += 8
        array = load64(entry)


@native
def _takes_1g(state: MmuState, access: int) -> bool:
    """Whether the first level holds 1G pages for this access."""
    entry = arrays_for(state, access, 1)
    array = load64(entry)
    while array != 0:
        if load64(array + SIZES) & (1 << 2) != 0:
            return True
        entry += 8
        array = load64(entry)
    return False


@native
def promote(state: MmuState, access: int, vaddr: int) -> None:
    """A second-level hit: the translation enters the first level."""
    level = found_level(state)
    frame, every, any_xd, leaf = found(state, FRAME), found(state, EVERY), found(state, ANY), found(state, LEAF)
    _install_level(state, 1, access, vaddr, level, frame, every, any_xd, leaf)


@native
def install_walked(
    state: MmuState, access: int, vaddr: int, level: int, paddr: int, every: int, any_xd: int, leaf: int
) -> None:
    """The result of a walk enters the second level, then the first; a 1G page as its 2M piece where the processor
    does so."""
    mask = (1 << (12 + 9 * (level - 1))) - 1
    frame = paddr & (_ALL_ONES ^ mask)
    piece = (paddr & _PIECE) | SMASHED
    smash = level == 3 and state.smash_1g != 0
    if smash:
        _install_level(state, 2, access, vaddr, 2, piece, every, any_xd, leaf)
    else:
        _install_level(state, 2, access, vaddr, level, frame, every, any_xd, leaf)
    if smash and not _takes_1g(state, access):
        _install_level(state, 1, access, vaddr, 2, piece, every, any_xd, leaf)
    else:
        _install_level(state, 1, access, vaddr, level, frame, every, any_xd, leaf)


# -- leaving -----------------------------------------------------------------------------------------------------------


@native
def _kinds_with(state: MmuState, tag: int, frame: int) -> int:
    """The kinds of access that still find this very translation in some array."""
    kinds = 0
    i = 0
    while i < state.tlb_number:
        array = state.tlb_arrays + i * RECORD_BYTES
        index = find_tag(array, tag)
        if index != 0 and frame_at(array, index - 1) == frame:
            kinds |= load64(array + KINDS)
        i += 1
    return kinds


@native
def _in_level_2(state: MmuState, tag: int) -> bool:
    i = 0
    while i < state.tlb_number:
        array = state.tlb_arrays + i * RECORD_BYTES
        if load64(array + LEVEL) == 2 and find_tag(array, tag) != 0:
            return True
        i += 1
    return False


@native
def _evicted(state: MmuState, array: int, tag: int, frame: int) -> None:
    """A translation fell out of an array: if the geometry is inclusive, what no second level holds leaves the first
    too.

    A 1G page in the first level stays, whatever becomes of the 2M pieces that it was smashed into.
    """
    kinds = load64(array + KINDS)
    if state.inclusive != 0 and load64(array + LEVEL) == 2 and not _in_level_2(state, tag):
        i = 0
        while i < state.tlb_number:
            other = state.tlb_arrays + i * RECORD_BYTES
            if load64(other + LEVEL) == 1:
                index = find_tag(other, tag)
                if index != 0:
                    forget(other, index - 1)
                    bump(other, DROPS)
                    kinds |= load64(other + KINDS)
            i += 1
    if state.engine_cpu != 0:
        context = context_of(tag)
        if context == state.pcid or context == GLOBAL_TAG:
            if kinds & (_ALL_ONES ^ _kinds_with(state, tag, frame)) != 0:
                tell_engine(state, vaddr_of(tag), level_of(tag))


@native
def _remove_found(state: MmuState, array: int, index: int, counter: int) -> None:
    """One entry goes, and is counted."""
    tag = tag_at(array, index)
    forget(array, index)
    bump(array, counter)
    context = context_of(tag)
    if context == state.pcid or context == GLOBAL_TAG:
        tell_engine(state, vaddr_of(tag), level_of(tag))


@native
def _remove_in_set(
    state: MmuState, array: int, vaddr: int, level: int, pcid: int, globals_too: bool, counter: int
) -> None:
    own, everybody = tag_of(vaddr, level, pcid), tag_of(vaddr, level, GLOBAL_TAG)
    index = set_of(array, vaddr, level) * load64(array + WAYS)
    end = index + load64(array + WAYS)
    while index < end:
        tag = tag_at(array, index)
        if tag == own or (globals_too and tag == everybody):
            _remove_found(state, array, index, counter)
        index += 1


@native
def _remove_pieces(state: MmuState, array: int, vaddr: int, pcid: int, globals_too: bool, counter: int) -> None:
    """The pieces of the 1G page that ``vaddr`` is in, for they were one translation."""
    giga = page_of(vaddr, 3)
    index, end = 0, entries_of(array)
    while index < end:
        tag = tag_at(array, index)
        if tag != 0 and level_of(tag) == 2 and page_of(vaddr_of(tag), 3) == giga:
            context = context_of(tag)
            if context == pcid or (globals_too and context == GLOBAL_TAG):
                if load64(fact_of(array, index) + FRAME) & SMASHED != 0:
                    _remove_found(state, array, index, counter)
        index += 1


@native
def remove_page(state: MmuState, vaddr: int, pcid: int, globals_too: bool, counter: int) -> None:
    """Take every translation of the address, whatever its page size, with this PCID (and global ones) out of every
    array."""
    i = 0
    while i < state.tlb_number:
        array = state.tlb_arrays + i * RECORD_BYTES
        level = 1
        while level <= 3:
            if load64(array + PRESENT) & (1 << (level - 1)) != 0:
                _remove_in_set(state, array, vaddr, level, pcid, globals_too, counter)
            level += 1
        if state.smash_1g != 0 and load64(array + PRESENT) & 2 != 0:
            _remove_pieces(state, array, vaddr, pcid, globals_too, counter)
        i += 1
