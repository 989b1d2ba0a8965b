"""The ways of a set, of which the words stand side by side: many are searched at once.

A search reads more words than the set has; an array has ``SPARE`` behind its last one.
"""

from __future__ import annotations

from mmu.native import equal8, equal16, equal64, inlined, least8, least16, least64, lowest_bit, native

_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
_FEW, _SOME, _MANY = 8, 16, 64
SPARE = _MANY


@inlined
def _lanes(ways: int) -> int:
    """A bit for each of the first ways, up to 64."""
    return _ALL_ONES if ways >= _MANY else (1 << ways) - 1


@inlined
def first_equal(at: int, ways: int, word: int, mask: int) -> int:
    """The first of so many words at a host address that has a value where ``mask`` has bits; the number of words if
    none has."""
    if ways <= _FEW:
        found = equal8(at, word, mask) & _lanes(ways)
        return lowest_bit(found) if found != 0 else ways
    if ways <= _SOME:
        found = equal16(at, word, mask) & _lanes(ways)
        return lowest_bit(found) if found != 0 else ways
    return _first_of_many(at, ways, word, mask)


@native
def _first_of_many(at: int, ways: int, word: int, mask: int) -> int:
    way = 0
    while ways - way > _SOME:
        found = equal64(at + way * 8, word, mask) & _lanes(ways - way)
        if found != 0:
            return way + lowest_bit(found)
        if ways - way <= _MANY:
            return ways
        way += _MANY
    found = equal16(at + way * 8, word, mask) & _lanes(ways - way)
    return way + lowest_bit(found) if found != 0 else ways


@inlined
def least(at: int, ways: int) -> int:
    """The least of so many words at a host address."""
    if ways <= _FEW:
        return least8(at, _lanes(ways))
    if ways <= _SOME:
        return least16(at, _lanes(ways))
    return _least_of_many(at, ways)


@inlined
def first_least(at: int, ways: int) -> int:
    """The first of the least of so many words at a host address."""
    return first_equal(at, ways, least(at, ways), _ALL_ONES)


@native
def _least_of_many(at: int, ways: int) -> int:
    way = 0
    found: int = _ALL_ONES
    while ways - way > _SOME:
        here = least64(at + way * 8, _lanes(ways - way))
        found = here if here < found else found
        if ways - way <= _MANY:
            return found
        way += _MANY
    here = least16(at + way * 8, _lanes(ways - way))
    return here if here < found else found
