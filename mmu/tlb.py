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
from mmu.native import U, inlined, load64, native, store64
from mmu.registers import CR4
from mmu.replacement import touch, victim
from mmu.state import MmuState

_ZERO, _ONE, _TWO, _THREE, _EIGHT, _NINE, _TWELVE = U(0), U(1), U(2), U(3), U(8), U(9), U(12)
_ALL_ONES = U(0xFFFF_FFFF_FFFF_FFFF)
_PGE = U(CR4.PGE)
_PIECE = U(0xFFFF_FFFF_FFE0_0000)


@inlined
def kind_bit(access: int) -> int:
    """Access READ, WRITE, FETCH as a bit of :class:`mmu.geometry.Kinds`."""
    return _ONE << access


@inlined
def arrays_for(state: MmuState, access: int, level: int) -> int:
    """The address of the list of the arrays of this TLB level that hold translations for this access."""
    return state.tlb_lists + (access * _TWO + level - _ONE) * LIST_BYTES


# -- looking up --------------------------------------------------------------------------------------------------------


@inlined
def lookup(state: MmuState, level: int, access: int, vaddr: int) -> bool:
    """Ask the arrays of one level for a translation; the first that has it is in found_array and found_way."""
    entry = arrays_for(state, access, level)
    array = load64(entry)
    while array != _ZERO:
        sizes = load64(array + PRESENT)
        size = _ONE
        while sizes != _ZERO:
            if sizes & _ONE != _ZERO:
                index = find(array, vaddr, size, state.pcid)
                if index != _ZERO:
                    index -= _ONE
                    bump(array, HITS)
                    touch(state, array, index, vaddr, size, False)
                    state.found_array = array
                    state.found_way = index
                    return True
            sizes >>= _ONE
            size += _ONE
        bump(array, MISSES)
        entry += _EIGHT
        array = load64(entry)
    return False


@native
def peek(state: MmuState, access: int, vaddr: int) -> bool:
    """As :func:`lookup` over both levels, without statistics and without touching anything."""
    level = _ONE
    while level <= _TWO:
        entry = arrays_for(state, access, level)
        array = load64(entry)
        while array != _ZERO:
            size = _ONE
            while size <= _THREE:
                if load64(array + PRESENT) & (_ONE << (size - _ONE)) != _ZERO:
                    index = find(array, vaddr, size, state.pcid)
                    if index != _ZERO:
                        state.found_array = array
                        state.found_way = index - _ONE
                        return True
                size += _ONE
            entry += _EIGHT
            array = load64(entry)
        level += _ONE
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
    mask = (_ONE << (_TWELVE + _NINE * (found_level(state) - _ONE))) - _ONE
    return (frame_at(state.found_array, state.found_way) & (_ALL_ONES ^ mask)) | (vaddr & mask)


# -- installing --------------------------------------------------------------------------------------------------------


@native
def install(
    state: MmuState, array: int, vaddr: int, level: int, frame: int, every: int, any_xd: int, leaf: int
) -> None:
    """Put a translation into an array, evicting another if its set is full."""
    is_global = leaf & G != _ZERO and state.cr4 & _PGE != _ZERO
    tag = tag_of(vaddr, level, GLOBAL_TAG if is_global else state.pcid)
    ways = load64(array + WAYS)
    set_number = set_of(array, vaddr, level)
    index = set_number * ways
    end = index + ways
    while index < end and tag_at(array, index) != _ZERO:
        index += _ONE
    old, old_frame = _ZERO, _ZERO
    if index == end:
        index = set_number * ways + victim(state, array, set_number)
        old, old_frame = tag_at(array, index), frame_at(array, index)
        bump(array, EVICTIONS)
        forget(array, index)
    if is_global and holds_page_as_another(array, tag):
        store64(array + TWICE, _ONE)
    occupy(array, index, tag)
    facts = fact_of(array, index)
    store64(facts + FRAME, frame)
    store64(facts + EVERY, every)
    store64(facts + ANY, any_xd)
    store64(facts + LEAF, leaf)
    touch(state, array, index, vaddr, level, True)
    if old != _ZERO:
        _evicted(state, array, old, old_frame)


@native
def _install_level(
    state: MmuState, which: int, access: int, vaddr: int, level: int, frame: int, every: int, any_xd: int, leaf: int
) -> None:
    """Install into every array of TLB level ``which`` that takes this access and page size."""
    entry = arrays_for(state, access, which)
    array = load64(entry)
    while array != _ZERO:
        if load64(array + SIZES) & (_ONE << (level - _ONE)) != _ZERO:
            install(state, array, vaddr, level, frame, every, any_xd, leaf)
        entry += _EIGHT
        array = load64(entry)


@native
def _takes_1g(state: MmuState, access: int) -> bool:
    """Whether the first level holds 1G pages for this access."""
    entry = arrays_for(state, access, _ONE)
    array = load64(entry)
    while array != _ZERO:
        if load64(array + SIZES) & (_ONE << _TWO) != _ZERO:
            return True
        entry += _EIGHT
        array = load64(entry)
    return False


@native
def promote(state: MmuState, access: int, vaddr: int) -> None:
    """A second-level hit: the translation enters the first level."""
    level = found_level(state)
    frame, every, any_xd, leaf = found(state, FRAME), found(state, EVERY), found(state, ANY), found(state, LEAF)
    _install_level(state, _ONE, access, vaddr, level, frame, every, any_xd, leaf)


@native
def install_walked(
    state: MmuState, access: int, vaddr: int, level: int, paddr: int, every: int, any_xd: int, leaf: int
) -> None:
    """The result of a walk enters the second level, then the first; a 1G page as its 2M piece where the processor
    does so."""
    mask = (_ONE << (_TWELVE + _NINE * (level - _ONE))) - _ONE
    frame = paddr & (_ALL_ONES ^ mask)
    piece = (paddr & _PIECE) | SMASHED
    smash = level == _THREE and state.smash_1g != _ZERO
    if smash:
        _install_level(state, _TWO, access, vaddr, _TWO, piece, every, any_xd, leaf)
    else:
        _install_level(state, _TWO, access, vaddr, level, frame, every, any_xd, leaf)
    if smash and not _takes_1g(state, access):
        _install_level(state, _ONE, access, vaddr, _TWO, piece, every, any_xd, leaf)
    else:
        _install_level(state, _ONE, access, vaddr, level, frame, every, any_xd, leaf)


# -- leaving -----------------------------------------------------------------------------------------------------------


@native
def _kinds_with(state: MmuState, tag: int, frame: int) -> int:
    """The kinds of access that still find this very translation in some array."""
    kinds = _ZERO
    i = _ZERO
    while i < state.tlb_number:
        array = state.tlb_arrays + i * RECORD_BYTES
        index = find_tag(array, tag)
        if index != _ZERO and frame_at(array, index - _ONE) == frame:
            kinds |= load64(array + KINDS)
        i += _ONE
    return kinds


@native
def _in_level_2(state: MmuState, tag: int) -> bool:
    i = _ZERO
    while i < state.tlb_number:
        array = state.tlb_arrays + i * RECORD_BYTES
        if load64(array + LEVEL) == _TWO and find_tag(array, tag) != _ZERO:
            return True
        i += _ONE
    return False


@native
def _evicted(state: MmuState, array: int, tag: int, frame: int) -> None:
    """A translation fell out of an array: if the geometry is inclusive, what no second level holds leaves the first
    too.

    A 1G page in the first level stays, whatever becomes of the 2M pieces that it was smashed into.
    """
    kinds = load64(array + KINDS)
    if state.inclusive != _ZERO and load64(array + LEVEL) == _TWO and not _in_level_2(state, tag):
        i = _ZERO
        while i < state.tlb_number:
            other = state.tlb_arrays + i * RECORD_BYTES
            if load64(other + LEVEL) == _ONE:
                index = find_tag(other, tag)
                if index != _ZERO:
                    forget(other, index - _ONE)
                    bump(other, DROPS)
                    kinds |= load64(other + KINDS)
            i += _ONE
    if state.engine_cpu != _ZERO:
        context = context_of(tag)
        if context == state.pcid or context == GLOBAL_TAG:
            if kinds & (_ALL_ONES ^ _kinds_with(state, tag, frame)) != _ZERO:
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
        index += _ONE


@native
def _remove_pieces(state: MmuState, array: int, vaddr: int, pcid: int, globals_too: bool, counter: int) -> None:
    """The pieces of the 1G page that ``vaddr`` is in, for they were one translation."""
    giga = page_of(vaddr, _THREE)
    index, end = _ZERO, entries_of(array)
    while index < end:
        tag = tag_at(array, index)
        if tag != _ZERO and level_of(tag) == _TWO and page_of(vaddr_of(tag), _THREE) == giga:
            context = context_of(tag)
            if context == pcid or (globals_too and context == GLOBAL_TAG):
                if load64(fact_of(array, index) + FRAME) & SMASHED != _ZERO:
                    _remove_found(state, array, index, counter)
        index += _ONE


@native
def remove_page(state: MmuState, vaddr: int, pcid: int, globals_too: bool, counter: int) -> None:
    """Take every translation of the address, whatever its page size, with this PCID (and global ones) out of every
    array."""
    i = _ZERO
    while i < state.tlb_number:
        array = state.tlb_arrays + i * RECORD_BYTES
        level = _ONE
        while level <= _THREE:
            if load64(array + PRESENT) & (_ONE << (level - _ONE)) != _ZERO:
                _remove_in_set(state, array, vaddr, level, pcid, globals_too, counter)
            level += _ONE
        if state.smash_1g != _ZERO and load64(array + PRESENT) & _TWO != _ZERO:
            _remove_pieces(state, array, vaddr, pcid, globals_too, counter)
        i += _ONE
