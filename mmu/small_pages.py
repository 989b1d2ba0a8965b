"""Misses of a first level that has one array for pages of 4K, above a second level that has one, too.

This is the shortest way for the most frequent misses: of user mode, whose walk begins with the PTE, while nothing but
pages of 4K is held.  They change and count what :func:`mmu.access.access_once` does, but for what all misses of a kind
of access count alike: that is counted once, and told to all whom it concerns by :func:`tell_all`.
"""

from __future__ import annotations

import ctypes

from mmu.access import count_coalesced, count_first_level_hits, count_small_pages
from mmu.array_record import (
    NOT_CONTEXT,
    Found,
    TlbArray,
    count_in,
    count_out,
    held_at,
    hint_of,
    is_near_none,
    may_be_coalesced,
    search_counted,
    set_of_number,
    tag_at,
)
from mmu.array_tags import COALESCED, PAGE_SHIFT, tag_of
from mmu.coalescing import is_coalesced
from mmu.entries import ADDRESS, G
from mmu.eviction import array_number
from mmu.native import inlined, load64, native, store32, store64
from mmu.plain_access import Above, is_plain, keep_table_above, table_above, usable_pte, user_may
from mmu.registers import Access
from mmu.replacement import take_place, touch
from mmu.state import MmuState, fields
from mmu.structure_cache import find_table, note_use, structure_cache, table_at
from mmu.tlb import Leaf, arrays_for, install_small, leaf_of
from mmu.ways import first_equal


class SmallPages(ctypes.Structure):
    """Of one kind of access, the arrays for pages of 4K, and what they have not been told.  Every field is a uint64."""

    first: int  # the addresses of their records; 0: it is not as this module wants it
    second: int
    counted: int  # one of them coalesces pages or is skewed, so that it is counted what is near
    walked: int  # how often none had the page
    from_pdpte: int  # of these, how often no structure cache had the PDE
    found: int  # how often the second level had it

    _fields_ = fields(__annotations__)


SMALL_BYTES = ctypes.sizeof(SmallPages)


@inlined
def _small_pages(state: MmuState, access: int) -> SmallPages:
    return SmallPages.from_address(state.small_pages + access * SMALL_BYTES)


@native
def is_small(state: MmuState) -> bool:
    """Whether accesses are plain ones, and the arrays hold nothing but pages of 4K, as :func:`missed_small` has to
    know; that remains so as long as all accesses go there."""
    if not is_plain(state) or state.engine_cpu != 0 or not _has_any(state):
        return False
    i = 0
    while i < state.tlb_number:
        if array_number(state, i).present > 1:
            return False
        i += 1
    return True


@inlined
def _has_any(state: MmuState) -> bool:
    """Whether there is a kind of access that this module is for."""
    load, store = _small_pages(state, Access.READ).first, _small_pages(state, Access.WRITE).first
    return load | store | _small_pages(state, Access.FETCH).first != 0


@inlined
def missed_small(state: MmuState, vaddr: int, access: int, count: int) -> bool:
    """``count`` accesses to a page, of which the first one does not find it where the first level had it last.  False,
    with nothing changed, if they are none of those that this module is for."""
    if _small_pages(state, access).counted != 0:
        return _missed_counted(state, vaddr, access, count)
    return _missed(state, vaddr, access, count, False)


@native
def _missed_counted(state: MmuState, vaddr: int, access: int, count: int) -> bool:
    return _missed(state, vaddr, access, count, True)


@inlined
def _missed(state: MmuState, vaddr: int, access: int, count: int, counted: bool) -> bool:
    """As :func:`missed_small`.  ``counted``: arrays may coalesce pages or be skewed, so that it is counted what is
    near; it is a literal, so that the compiler makes code of its own for either."""
    small = _small_pages(state, access)
    if small.first == 0:
        return False
    first, second = TlbArray.from_address(small.first), TlbArray.from_address(small.second)
    if _must_admit(state, first) or _must_admit(state, second):
        return False
    own = tag_of(vaddr, 1, state.pcid)
    index = _index_in(first, vaddr, own, counted)
    if index != 0:
        if not _may_use(first, index - 1, own, access):
            return False
        touch(state, first, index - 1, vaddr, 1, False)
        store32(hint_of(first, vaddr, 1), index - 1)
        _count_first(state, first, access, count)
        return True
    index = _index_in(second, vaddr, own, counted)
    if index == 0:
        if not _walked(state, small, vaddr, access, own, counted):
            return False
    elif not _found(state, small, vaddr, access, own, index - 1, counted):
        return False
    if count != 1:
        _count_first(state, first, access, count - 1)
    return True


@inlined
def _count_first(state: MmuState, first: TlbArray, access: int, count: int) -> None:
    """So many accesses have found the page in the first level."""
    first.hits += count
    count_first_level_hits(state, access, count)


@inlined
def _must_admit(state: MmuState, array: TlbArray) -> bool:
    """Whether an array that can tell only some PCIDs apart has to make room for the current one."""
    return array.pcids != 0 and array.last_context != state.pcid + 1


@inlined
def _index_in(array: TlbArray, vaddr: int, own: int, counted: bool) -> int:
    """The first place that has the page of a tag, alone or coalesced, plus 1; 0 if none has.  It may be somebody
    else's."""
    if counted and array.near != 0:
        if is_near_none(array, own) and not may_be_coalesced(array, own):
            return 0
        return search_counted(array, vaddr, 1, own)
    first = set_of_number(array, own >> PAGE_SHIFT) * array.ways
    way = first_equal(array.tags + first * 8, array.ways, own, NOT_CONTEXT)
    return 0 if way == array.ways else first + way + 1


@inlined
def _may_use(array: TlbArray, index: int, own: int, access: int) -> bool:
    """Whether a place that was found has this tag, or coalesced pages, and may be used; none that is global."""
    held, tag = held_at(array, index), tag_at(array, index)
    if (tag != own and tag & COALESCED == 0) or held.leaf & G != 0:
        return False
    return user_may(access, held.every, held.any_xd, held.leaf)


@inlined
def _found(state: MmuState, small: SmallPages, vaddr: int, access: int, own: int, index: int, counted: bool) -> bool:
    """The second level has the page at a place."""
    second = TlbArray.from_address(small.second)
    if not _may_use(second, index, own, access):
        return False
    small.found += 1
    touch(state, second, index, vaddr, 1, False)
    if counted and tag_at(second, index) & COALESCED != 0:
        count_coalesced(state, access, 0, 1)
        _install_coalesced(state, access, 1, vaddr, leaf_of(Found(small.second, index), vaddr))
        return True
    held = held_at(second, index)
    _install(state, small.first, vaddr, own, Leaf(1, held.frame, held.every, held.any_xd, held.leaf, 0), counted)
    return True


@native
def _install_coalesced(state: MmuState, access: int, level: int, vaddr: int, leaf: Leaf) -> None:
    install_small(state, arrays_for(state, access, level), vaddr, leaf)


@inlined
def _walked(state: MmuState, small: SmallPages, vaddr: int, access: int, own: int, counted: bool) -> bool:
    """No level has the page, and the walk begins with the PTE, or with the PDE."""
    pdes = structure_cache(state, 2)
    cached = find_table(pdes, vaddr, 2, state.pcid)
    if cached == 0:
        return _walked_from_pdpte(state, small, vaddr, access, own, counted)
    above = table_at(pdes, cached - 1)
    pte = usable_pte(state, vaddr, access, above.table, above.every, above.any_xd)
    if pte == 0 or pte & G != 0:
        return False
    small.walked += 1
    note_use(state, pdes, cached - 1, False)
    _install_walked(state, small, vaddr, access, own, Above(above.table, above.every, above.any_xd), pte, counted)
    return True


@native
def _walked_from_pdpte(state: MmuState, small: SmallPages, vaddr: int, access: int, own: int, counted: bool) -> bool:
    above = table_above(state, vaddr)
    if above.table == 0:
        return False
    pte = usable_pte(state, vaddr, access, above.table, above.every, above.any_xd)
    if pte == 0 or pte & G != 0:
        return False
    small.walked += 1
    small.from_pdpte += 1
    keep_table_above(state, vaddr, above)
    _install_walked(state, small, vaddr, access, own, above, pte, counted)
    return True


@inlined
def _install_walked(
    state: MmuState, small: SmallPages, vaddr: int, access: int, own: int, above: Above, pte: int, counted: bool
) -> None:
    state.slots[1] = above.table | (((vaddr >> 12) & 511) << 3)
    coalesced = 1 if counted and state.coalesce > 1 and is_coalesced(state) else 0
    leaf = Leaf(1, pte & ADDRESS, above.every & pte, above.any_xd | pte, pte, coalesced)
    if coalesced != 0:
        count_coalesced(state, access, 1, 0)
        _install_coalesced(state, access, 2, vaddr, leaf)
        _install_coalesced(state, access, 1, vaddr, leaf)
    else:
        _install(state, small.second, vaddr, own, leaf, counted)
        _install(state, small.first, vaddr, own, leaf, counted)


@inlined
def _install(state: MmuState, address: int, vaddr: int, own: int, leaf: Leaf, counted: bool) -> None:
    """As :func:`mmu.tlb.install`, of a page alone that is not global."""
    array = TlbArray.from_address(address)
    index = take_place(state, array, own >> PAGE_SHIFT, counted)
    old = tag_at(array, index)
    if old != 0:
        array.evictions += 1
        if counted:
            count_out(array, old)
    else:
        array.counts[0] += 1
        array.present = 1
    if counted:
        count_in(array, own)
    store64(array.tags + index * 8, own)
    store32(hint_of(array, vaddr, 1), index)
    held = held_at(array, index)
    held.frame = leaf.frame
    held.every = leaf.every
    held.any_xd = leaf.any_xd
    held.leaf = leaf.entry


@native
def tell_all(state: MmuState) -> None:
    """Count what was counted here with all whom it concerns."""
    access = 0
    while access <= Access.FETCH:
        small = _small_pages(state, access)
        if small.walked + small.found != 0:
            _count(state, small, access)
            small.walked, small.found, small.from_pdpte = 0, 0, 0
        access += 1


@native
def _count(state: MmuState, small: SmallPages, access: int) -> None:
    walked, found, from_pdpte = small.walked, small.found, small.from_pdpte
    first, second = arrays_for(state, access, 1), arrays_for(state, access, 2)
    _count_misses(first, 0, walked + found)
    _count_misses(second, 0, walked)
    _count_misses(second, small.second, found)
    TlbArray.from_address(small.second).hits += found
    count_small_pages(state, access, walked, found)
    state.walks += walked
    state.walk_loads += walked + from_pdpte
    pdes, pdptes = structure_cache(state, 2), structure_cache(state, 3)
    if pdes.entries != 0:
        pdes.lookups += walked
        pdes.hits += walked - from_pdpte
    pdptes.lookups += from_pdpte
    pdptes.hits += from_pdpte


@inlined
def _count_misses(place: int, end: int, number: int) -> None:
    """So many lookups have missed the arrays of a list, up to the one at ``end``, or all (0)."""
    address = load64(place)
    while address != end and address != 0:
        TlbArray.from_address(address).misses += number
        place += 8
        address = load64(place)
