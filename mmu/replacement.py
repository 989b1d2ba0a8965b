"""Replacement: which way of a full set is evicted, and how each use of a way changes that."""

from __future__ import annotations

from mmu.array_record import TlbArray, first_skew, next_skew, number_of, place_at, set_of_number, tag_at
from mmu.geometry import MAX_ENTRIES, Replacement
from mmu.native import inlined, load64, native, store64
from mmu.state import MmuState
from mmu.ways import first_equal, first_least, least

_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
_LOW_32 = 0xFFFF_FFFF
#: Of LRU and FIFO, the time of an entry holds its index below when, so that the least time says which entry it is of.
_INDEX_BITS = 20
_INDEX = (1 << _INDEX_BITS) - 1
assert MAX_ENTRIES <= 1 << _INDEX_BITS
#: Of LFU, the time of an entry holds how often it was used above when: that many bits are the time's.
_USE = 1 << 44
_TIME = _USE - 1
_MOST_USES = _ALL_ONES ^ _TIME
#: The policies for which take_place() is.
TAKEN = (Replacement.LRU, Replacement.FIFO, Replacement.TREE_PLRU)
_MULTIPLIER_LOW, _MULTIPLIER_HIGH = 2685821657736338717 & _LOW_32, 2685821657736338717 >> 32


@inlined
def touch(state: MmuState, array: TlbArray, index: int, vaddr: int, level: int, installed: bool) -> None:
    """Note a use of the way at ``index``, in the set of that page."""
    policy = array.replacement
    if policy == Replacement.LRU or (policy == Replacement.FIFO and installed):
        state.tlb_time += 1
        store64(array.times + index * 8, state.tlb_time << _INDEX_BITS | index)
    elif policy == Replacement.LFU:
        state.tlb_time += 1
        used = 0 if installed else load64(array.times + index * 8)
        store64(array.times + index * 8, used_once_more(used, state.tlb_time))
    elif policy != Replacement.FIFO and policy != Replacement.RANDOM:
        _note_use(array, index)


@native
def used_once_more(used: int, time: int) -> int:
    """What LFU keeps of an entry: how often it was used, up to 1,048,575 times, and when last, after another use."""
    uses = used & _MOST_USES
    return (uses if uses == _MOST_USES else uses + _USE) | (time & _TIME)


@native
def _note_use(array: TlbArray, index: int) -> None:
    """The bits of the two PLRU policies."""
    set_number = set_of_number(array, number_of(array, tag_at(array, index)))
    ways = array.ways
    way = index - set_number * ways
    used = array.used + set_number * 8
    if array.replacement == Replacement.TREE_PLRU:
        store64(used, _point_away(load64(used), way, ways))
        return
    bits = load64(used) | (1 << way)
    full = _ALL_ONES if ways == 64 else (1 << ways) - 1
    store64(used, 1 << way if bits == full else bits)


@native
def _point_away(bits: int, way: int, ways: int) -> int:
    """The tree's bits after a use of ``way``: node n, with children 2n and 2n + 1, is bit n; 1 is to the right."""
    node, span = 1, ways >> 1
    while span != 0:
        if way & span != 0:
            bits &= _ALL_ONES ^ (1 << node)
            node = node * 2 + 1
        else:
            bits |= 1 << node
            node = node * 2
        span >>= 1
    return bits


@native
def next_random(state: MmuState) -> int:
    """xorshift64* (Vigna 2016); the upper half of the product."""
    x = state.tlb_random
    x ^= x >> 12
    x ^= (x << 25) & _ALL_ONES
    x ^= x >> 27
    state.tlb_random = x
    # bits 63:32 of x * 2685821657736338717, without relying on wrap-around
    low, high = x & _LOW_32, x >> 32
    product = low * _MULTIPLIER_LOW
    return ((product >> 32) + (low * _MULTIPLIER_HIGH & _LOW_32) + (high * _MULTIPLIER_LOW & _LOW_32)) & _LOW_32


@inlined
def _oldest_of(array: TlbArray, first: int) -> int:
    """Of LRU and FIFO, the index in the set that begins at ``first``."""
    oldest = least(array.times + first * 8, array.ways)
    return oldest & _INDEX if oldest != 0 else first + first_equal(array.times + first * 8, array.ways, 0, _ALL_ONES)


@native
def place_for(state: MmuState, array: TlbArray, set_number: int) -> int:
    """The index in a set for a translation that comes: the first one that is free, or else of that to evict."""
    ways, first = array.ways, set_number * array.ways
    policy = array.replacement
    if policy == Replacement.LRU or policy == Replacement.FIFO:
        return _oldest_of(array, first)
    if policy == Replacement.LFU:
        return first + first_least(array.times + first * 8, ways)  # a free one is of no time
    way = first_equal(array.tags + first * 8, ways, 0, _ALL_ONES)
    return first + (_victim(state, array, set_number) if way == ways else way)


@inlined
def take_place(state: MmuState, array: TlbArray, number: int, skewed: bool) -> int:
    """The place for a page of this number that comes, and :func:`touch` for it, of LRU, FIFO and tree-PLRU;
    ``skewed``: whether the array may be."""
    set_number, ways = set_of_number(array, number), array.ways
    first = set_number * ways
    if array.replacement == Replacement.TREE_PLRU:
        used, way = array.used + set_number * 8, first_equal(array.tags + first * 8, ways, 0, _ALL_ONES)
        if way == ways:
            return first + _take_victim(used, ways)
        store64(used, _point_away(load64(used), way, ways))
        return first + way
    if skewed and array.skewed != 0:
        index = skewed_place_for(state, array, number)
    else:
        index = _oldest_of(array, first)
    state.tlb_time += 1
    store64(array.times + index * 8, state.tlb_time << _INDEX_BITS | index)
    return index


@inlined
def _take_victim(used: int, ways: int) -> int:
    """The way to which the tree at a host address points; from now on it points away from there."""
    bits, node, way, span = load64(used), 1, 0, ways >> 1
    while span != 0:
        right = (bits >> node) & 1
        bits ^= 1 << node
        way += span * right
        node = node * 2 + right
        span >>= 1
    store64(used, bits)
    return way


@native
def skewed_place_for(state: MmuState, array: TlbArray, number: int) -> int:
    """The same in a skewed array, for a page of this number: the first of its places that is free, or else of those to
    evict."""
    way, skew = 0, first_skew(array, number)
    chosen: int = 0
    oldest: int = _ALL_ONES
    while way < array.ways:
        index = place_at(array, number, skew, way)
        if array.replacement == Replacement.RANDOM and tag_at(array, index) == 0:
            return index
        if load64(array.times + index * 8) < oldest:  # a free one is of no time
            chosen, oldest = index, load64(array.times + index * 8)
        skew = next_skew(array, skew)
        way += 1
    if array.replacement == Replacement.RANDOM:
        way, skew = next_random(state) % array.ways, first_skew(array, number)
        chosen = 0
        while chosen < way:
            skew = next_skew(array, skew)
            chosen += 1
        return place_at(array, number, skew, way)
    return chosen


@native
def _victim(state: MmuState, array: TlbArray, set_number: int) -> int:
    """The way of a full set to evict, by one of the other policies."""
    ways = array.ways
    policy = array.replacement
    bits = load64(array.used + set_number * 8)
    if policy == Replacement.TREE_PLRU:
        node, way, span = 1, 0, ways >> 1
        while span != 0:
            right = (bits >> node) & 1
            way += span * right
            node = node * 2 + right
            span >>= 1
        return way
    if policy == Replacement.BIT_PLRU:
        way = 0
        while (bits >> way) & 1 != 0 and way < ways - 1:
            way += 1
        return way
    return next_random(state) % ways
