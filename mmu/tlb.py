"""The TLB model: arrays of translations, looked up in order, filled and evicted as :class:`mmu.geometry.Geometry` says.

Where the manual leaves a choice, the model does this:

* Arrays are looked up in the order of the geometry, those of level 1 first; inside an array page sizes from 4K up.  The
first match ends the search.
* A hit that cannot be used (a store to a page whose D the entry does not know to be set; rights that do not allow the
  access) counts as a hit; then all that is cached for the address is dropped, and a walk follows.
* Nothing is prefetched, and no entry leaves but by replacement, an invalidation, a hit that could not be used,
  inclusion, or because its page is coalesced now.
"""

from __future__ import annotations

from typing import NamedTuple

from mmu.array_record import (
    Found,
    TlbArray,
    as_piece,
    find,
    find_tag,
    forget,
    frame_at,
    give_to,
    group_tag,
    held_at,
    hint_of,
    holds_page_as_another,
    is_near_none,
    number_of,
    occupy,
    pages_of,
    search_counted,
    search_set,
    set_of_number,
    tag_at,
)
from mmu.array_tags import COALESCED, GLOBAL_TAG, level_of, single_tag, tag_of
from mmu.coalescing import is_coalesced
from mmu.entries import ADDRESS, A, D, G, P
from mmu.eviction import admit, evicted, tell_of_others
from mmu.geometry import MAX_ARRAYS
from mmu.native import cold, inlined, load64, native, store32
from mmu.registers import CR4, Access
from mmu.removal import remove_found
from mmu.replacement import place_for, skewed_place_for, touch
from mmu.state import MmuState

_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
_PAGE, _PAGE_MASK = 0x1000, 0xFFFF_FFFF_FFFF_F000
#: Of the address of an entry: where it is in a line of 64 bytes.
_LINE, _LAST_OF_LINE = 63, 56
_USED = P | A
_PIECE = 0xFFFF_FFFF_FFE0_0000
_LIST_BYTES = (MAX_ARRAYS + 1) * 8


class Leaf(NamedTuple):
    """What a walk installs: the level of the leaf entry, the frame's address (as Held has it), AND and OR of all
    entries, the leaf entry itself, and whether it is coalesced with those beside it, where an array does that.
    """

    level: int
    frame: int
    every: int
    any_xd: int
    entry: int
    coalesced: int


@inlined
def kind_bit(access: int) -> int:
    """Access READ, WRITE, FETCH as a bit of :class:`mmu.geometry.Kinds`."""
    return 1 << access


@inlined
def arrays_for(state: MmuState, access: int, level: int) -> int:
    """The address of the list of the arrays of this TLB level that hold translations for this access."""
    return state.tlb_lists + (access * 2 + level - 1) * _LIST_BYTES


# -- looking up --------------------------------------------------------------------------------------------------------


@inlined
def lookup(state: MmuState, level: int, access: int, vaddr: int) -> Found:
    """Look a translation up in the arrays of one level; the first array that holds it gives the result."""
    place = arrays_for(state, access, level)
    address = load64(place)
    while address != 0:
        array = TlbArray.from_address(address)
        sizes = array.present
        size = 1
        while sizes != 0:
            if sizes & 1 != 0:
                index = find(array, vaddr, size, state.pcid)
                if index != 0:
                    array.hits += 1
                    touch(state, array, index - 1, vaddr, size, False)
                    return Found(address, index - 1)
            sizes >>= 1
            size += 1
        array.misses += 1
        place += 8
        address = load64(place)
    return Found(0, 0)


@inlined
def found_in(state: MmuState, place: int, vaddr: int) -> Found:
    """Where the first array holds the page of those that a list at ``place`` has, without statistics and without
    changing anything."""
    address = load64(place)
    while address != 0:
        array = TlbArray.from_address(address)
        sizes = array.present
        size = 1
        while sizes != 0:
            if sizes & 1 != 0:
                index = find(array, vaddr, size, state.pcid)
                if index != 0:
                    return Found(address, index - 1)
            sizes >>= 1
            size += 1
        place += 8
        address = load64(place)
    return Found(0, 0)


@inlined
def missed_in(state: MmuState, place: int, vaddr: int) -> Found:
    """As :func:`found_in`, by a search of all ways; each array that is passed has missed, and counts that."""
    address = load64(place)
    while address != 0:
        array = TlbArray.from_address(address)
        sizes = array.present
        size = 1
        while sizes != 0:
            if sizes & 1 != 0:
                own = tag_of(vaddr, size, state.pcid)
                if array.near != 0:
                    index = search_counted(array, vaddr, size, own)
                else:
                    index = search_set(array, vaddr, size, own)
                if index != 0:
                    return Found(address, index - 1)
            sizes >>= 1
            size += 1
        array.misses += 1
        place += 8
        address = load64(place)
    return Found(0, 0)


@native
def peek(state: MmuState, access: int, vaddr: int) -> Found:
    """As :func:`lookup` over both levels, without statistics and without changing anything."""
    found = found_in(state, arrays_for(state, access, 1), vaddr)
    if found.array != 0:
        return found
    return found_in(state, arrays_for(state, access, 2), vaddr)


@inlined
def same_arrays(state: MmuState, access: int, other: int) -> bool:
    """Whether the same arrays are looked up for both kinds of access."""
    return load64(state.tlb_shared + access * 32) & kind_bit(other) != 0


@inlined
def count_missed(place: int, end: int) -> None:
    """A lookup has missed the arrays of a list, up to the one at ``end``, or all (0)."""
    address = load64(place)
    while address != end and address != 0:
        TlbArray.from_address(address).misses += 1
        place += 8
        address = load64(place)


@cold
def uncount_missed(place: int, end: int) -> None:
    """Take back what :func:`missed_in` has counted."""
    address = load64(place)
    while address != end and address != 0:
        TlbArray.from_address(address).misses -= 1
        place += 8
        address = load64(place)


@native
def count_misses(state: MmuState, access: int) -> None:
    """What :func:`lookup` counts at both levels where no array holds the page."""
    count_missed(arrays_for(state, access, 1), 0)
    count_missed(arrays_for(state, access, 2), 0)


@inlined
def leaf_of(found: Found, vaddr: int) -> Leaf:
    """The translation that a lookup of ``vaddr`` found."""
    array = TlbArray.from_address(found.array)
    held, tag = held_at(array, found.place), tag_at(array, found.place)
    frame, coalesced = held.frame, tag & COALESCED
    if coalesced != 0:
        frame |= vaddr & (array.group_bits >> 4)
    return Leaf(level_of(tag), frame, held.every, held.any_xd, held.leaf, coalesced)


@inlined
def level_of_found(found: Found) -> int:
    """The level of its leaf entry."""
    return level_of(tag_at(TlbArray.from_address(found.array), found.place))


@native
def paddr_of(found: Found, vaddr: int) -> int:
    """The physical address of ``vaddr``."""
    array = TlbArray.from_address(found.array)
    tag = tag_at(array, found.place)
    mask = (1 << (12 + 9 * (level_of(tag) - 1))) - 1
    if tag & COALESCED != 0:
        mask |= array.group_bits >> 4
    return (frame_at(array, found.place) & (_ALL_ONES ^ mask)) | (vaddr & mask)


# -- installing --------------------------------------------------------------------------------------------------------


@inlined
def install(state: MmuState, array: TlbArray, vaddr: int, leaf: Leaf) -> None:
    """Put a translation into an array, evicting another if its set is full."""
    is_global = leaf.entry & G != 0 and state.cr4 & CR4.PGE != 0
    tag, frame = tag_of(vaddr, leaf.level, GLOBAL_TAG if is_global else state.pcid), leaf.frame
    if array.pcids != 0 and array.last_context != state.pcid + 1 and not is_global:
        admit(state, array)
    coalesced = leaf.coalesced != 0 and array.group_shift != 0
    if coalesced:
        tag, frame = group_tag(array, tag), frame & (_ALL_ONES ^ (array.group_bits >> 4))
        _remove_single(state, array, tag)
    if array.skewed != 0:
        index = skewed_place_for(state, array, number_of(array, tag))
    else:
        index = place_for(state, array, set_of_number(array, number_of(array, tag)))
    old, old_frame = tag_at(array, index), 0
    if old != 0:
        array.evictions += 1
        if state.inclusive | state.engine_cpu != 0:
            old_frame = frame_at(array, index)
    if old != 0 and level_of(old) == leaf.level and not is_global and not coalesced:
        give_to(array, index, tag)
    else:
        if old != 0:
            forget(array, index)
        if (is_global or coalesced) and holds_page_as_another(array, tag):
            array.twice = 1
        occupy(array, index, tag)
        store32(hint_of(array, vaddr, leaf.level), index)
    held = held_at(array, index)
    held.frame = frame
    held.every = leaf.every
    held.any_xd = leaf.any_xd
    held.leaf = leaf.entry
    touch(state, array, index, vaddr, leaf.level, True)
    if old != 0 and state.inclusive | state.engine_cpu != 0:
        evicted(state, array, old, old_frame)
    if coalesced and array.twice | state.coalesced_before != 0:
        tell_of_others(state, array, tag, vaddr)


@cold
def _remove_single(state: MmuState, array: TlbArray, tag: int) -> None:
    """Coalesced pages are about to be installed: those of them that are there alone, of that PCID or global as they
    are, leave."""
    i = 0
    while i < pages_of(array, tag):
        index = 0 if is_near_none(array, single_tag(tag, i)) else find_tag(array, single_tag(tag, i))
        if index != 0:
            remove_found(state, array, index - 1, True)
        i += 1


@inlined
def install_small(state: MmuState, place: int, vaddr: int, leaf: Leaf) -> None:
    """Install a page of 4K into those arrays of a list that take such pages."""
    address = load64(place)
    while address != 0:
        array = TlbArray.from_address(address)
        if array.page_sizes & 1 != 0:
            install(state, array, vaddr, Leaf(1, leaf.frame, leaf.every, leaf.any_xd, leaf.entry, leaf.coalesced))
        place += 8
        address = load64(place)


@native
def _install_level(state: MmuState, which: int, access: int, vaddr: int, leaf: Leaf) -> None:
    """Install into every array of TLB level ``which`` that takes this access and page size."""
    place = arrays_for(state, access, which)
    address = load64(place)
    while address != 0:
        array = TlbArray.from_address(address)
        if array.page_sizes & (1 << (leaf.level - 1)) != 0:
            install(state, array, vaddr, leaf)
        place += 8
        address = load64(place)


@native
def _takes_1g(state: MmuState, access: int) -> bool:
    """Whether the first level holds 1G pages for this access."""
    place = arrays_for(state, access, 1)
    address = load64(place)
    while address != 0:
        if TlbArray.from_address(address).page_sizes & (1 << 2) != 0:
            return True
        place += 8
        address = load64(place)
    return False


@native
def promote(state: MmuState, access: int, vaddr: int, found: Found) -> None:
    """A second-level hit: the translation enters the first level."""
    _install_level(state, 1, access, vaddr, leaf_of(found, vaddr))


@inlined
def held_level(state: MmuState, level: int) -> int:
    """The level as which a page of this level is held: no higher than the second dimension's pages (SDM vol. 3, 29.4.1,
    combined mappings)."""
    return state.nested_level if state.nested_level != 0 and level > state.nested_level else level


@native
def install_walked(state: MmuState, access: int, vaddr: int) -> int:
    """The result of a walk enters the second level, then the first; a 1G page as its 2M piece, if the processor smashes
    1G pages, and any page as a piece of the size that the second dimension's pages have, if that is less.  Returns 1 if
    it was coalesced.
    """
    walked = state.walked
    entry = walked.leaf | (A | D if access == Access.WRITE else A)
    level = held_level(state, walked.level)
    mask = (1 << (12 + 9 * (level - 1))) - 1
    frame = walked.paddr & (_ALL_ONES ^ mask)
    smash = level == 3 and state.smash_1g != 0
    if level != walked.level:
        frame = as_piece(frame, walked.level)
    if smash or level != walked.level:
        state.smashed = 1
    coalesced = 1 if state.coalesce > 1 and walked.level == 1 and is_coalesced(state) else 0
    whole = Leaf(level, frame, walked.every | A, walked.any_xd, entry, coalesced)
    piece = Leaf(2, as_piece(walked.paddr & _PIECE, 3), whole.every, whole.any_xd, entry, 0)
    _install_level(state, 2, access, vaddr, piece if smash else whole)
    _install_level(state, 1, access, vaddr, piece if smash and not _takes_1g(state, access) else whole)
    return coalesced


@cold
def prefetch_next(state: MmuState, access: int, vaddr: int, slot: int, every: int, any_xd: int) -> None:
    """The page behind the one of which ``slot`` has the PTE enters the second level, if its PTE is in the same line and
    was used before, and no array holds it; AND and OR are those of the entries above.
    """
    if slot & _LINE == _LAST_OF_LINE:
        return
    pte = load64(state.ram + slot + 8)
    if pte & _USED != _USED or pte & state.reserved[3] != 0 or pte & ADDRESS >= state.ram_bytes:
        return
    page = (vaddr & _PAGE_MASK) + _PAGE
    if peek(state, access, page).array == 0:
        _install_level(state, 2, access, page, Leaf(1, pte & ADDRESS, every & pte, any_xd | pte, pte, 0))
