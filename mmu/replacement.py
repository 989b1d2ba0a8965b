"""Replacement: which way of a full set goes, and what each use of a way changes about that."""

from __future__ import annotations

from mmu.array_record import FACTS, META, POLICY, TIME, WAYS, fact_of, set_of
from mmu.geometry import Replacement
from mmu.native import U, inlined, load64, native, store64
from mmu.state import MmuState

_ZERO, _ONE, _TWO, _EIGHT, _TWELVE = U(0), U(1), U(2), U(8), U(12)
_ALL_ONES = U(0xFFFF_FFFF_FFFF_FFFF)
_LRU, _TREE, _BIT, _FIFO, _RANDOM = (U(policy) for policy in Replacement)
_MOST_BITS = U(64)
_LOW_32 = U(0xFFFF_FFFF)
_MULTIPLIER_LOW, _MULTIPLIER_HIGH = U(2685821657736338717 & 0xFFFF_FFFF), U(2685821657736338717 >> 32)


@inlined
def touch(state: MmuState, array: int, index: int, vaddr: int, level: int, installed: bool) -> None:
    """The way at ``index``, in the set of that page, was used."""
    policy = load64(array + POLICY)
    if policy == _LRU or (policy == _FIFO and installed):
        state.tlb_time += _ONE
        store64(fact_of(array, index) + TIME, state.tlb_time)
    elif policy != _FIFO and policy != _RANDOM:
        _note_use(array, index, vaddr, level)


@native
def _note_use(array: int, index: int, vaddr: int, level: int) -> None:
    """The bits of the two PLRU policies."""
    set_number = set_of(array, vaddr, level)
    ways = load64(array + WAYS)
    way = index - set_number * ways
    meta = load64(array + META) + set_number * _EIGHT
    if load64(array + POLICY) == _TREE:
        store64(meta, _point_away(load64(meta), way, ways))
        return
    bits = load64(meta) | (_ONE << way)
    full = _ALL_ONES if ways == _MOST_BITS else (_ONE << ways) - _ONE
    store64(meta, _ONE << way if bits == full else bits)


@native
def _point_away(bits: int, way: int, ways: int) -> int:
    """The tree's bits after a use of ``way``: node n, with children 2n and 2n + 1, is bit n; 1 is to the right."""
    node, span = _ONE, ways >> _ONE
    while span != _ZERO:
        if way & span != _ZERO:
            bits &= _ALL_ONES ^ (_ONE << node)
            node = node * _TWO + _ONE
        else:
            bits |= _ONE << node
            node = node * _TWO
        span >>= _ONE
    return bits


@native
def next_random(state: MmuState) -> int:
    """xorshift64* (Vigna 2016); the upper half of the product."""
    x = state.tlb_random
    x ^= x >> _TWELVE
    x ^= (x << U(25)) & _ALL_ONES
    x ^= x >> U(27)
    state.tlb_random = x
    # bits 63:32 of x * 2685821657736338717, without relying on wrap-around
    low, high = x & _LOW_32, x >> U(32)
    product = low * _MULTIPLIER_LOW
    return ((product >> U(32)) + (low * _MULTIPLIER_HIGH & _LOW_32) + (high * _MULTIPLIER_LOW & _LOW_32)) & _LOW_32


@native
def victim(state: MmuState, array: int, set_number: int) -> int:
    """The way of a full set that is to go."""
    ways = load64(array + WAYS)
    policy = load64(array + POLICY)
    if policy == _LRU or policy == _FIFO:  # noqa: SIM109 (compiled)
        return _oldest(fact_of(array, set_number * ways), fact_of(array, _ONE) - load64(array + FACTS), ways)
    bits = load64(load64(array + META) + set_number * _EIGHT)
    if policy == _TREE:
        node, way, span = _ONE, _ZERO, ways >> _ONE
        while span != _ZERO:
            right = (bits >> node) & _ONE
            way += span * right
            node = node * _TWO + right
            span >>= _ONE
        return way
    if policy == _BIT:
        way = _ZERO
        while (bits >> way) & _ONE != _ZERO and way < ways - _ONE:
            way += _ONE
        return way
    return next_random(state) % ways


@native
def _oldest(fact: int, step: int, ways: int) -> int:
    best, oldest = _ZERO, load64(fact + TIME)
    way = _ONE
    while way < ways:
        time = load64(fact + way * step + TIME)
        if time < oldest:
            best, oldest = way, time
        way += _ONE
    return best
