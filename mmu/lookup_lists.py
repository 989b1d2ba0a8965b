"""Which arrays of a geometry an access looks into, and who finds what it installs: tables for native code."""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt

from mmu.array_record import TlbArray
from mmu.geometry import MAX_ARRAYS, Geometry, IndexHash, Kinds, PageSizes
from mmu.registers import Access
from mmu.replacement import TAKEN
from mmu.small_pages import SmallPages

Words = npt.NDArray[np.uint64]


def lookup_lists(geometry: Geometry, arrays: int) -> Words:
    """The addresses of the records of the arrays to look up, in order, by access and level; ``arrays`` is that of the
    first.
    """
    lists = np.zeros((3, 2, MAX_ARRAYS + 1), np.uint64)
    for access in Access:
        for level in (1, 2):
            asked = [
                arrays + number * ctypes.sizeof(TlbArray)
                for number, array in enumerate(geometry.arrays)
                if array.level == level and array.kinds & (1 << access)
            ]
            lists[access, level - 1, : len(asked)] = asked
    return lists


def small_pages(geometry: Geometry, arrays: int) -> ctypes.Array[SmallPages]:
    """What :mod:`mmu.small_pages` has, by access: arrays as that module wants them, or none."""
    small = (SmallPages * len(Access))()
    if geometry.inclusive or geometry.prefetch_next or geometry.nested is not None:
        return small
    for access in Access:
        asked = [each for each in enumerate(geometry.arrays) if each[1].kinds & (1 << access)]
        takers = [(number, array) for number, array in asked if array.page_sizes & PageSizes.K4]
        plain = all(array.replacement in TAKEN for _, array in takers)
        levels = [array.level for _, array in takers]
        if plain and sorted(levels) == [1, 2]:
            first, second = (takers[levels.index(level)][0] for level in (1, 2))
            if first == min(number for number, array in asked if array.level == 1):
                small[access].first, small[access].second = (
                    arrays + number * ctypes.sizeof(TlbArray) for number in (first, second)
                )
                small[access].counted = any(
                    array.coalesce > 1 or array.index_hash == IndexHash.SKEWED for _, array in takers
                )
    return small


def shared_kinds(geometry: Geometry) -> Words:
    """The kinds of access that find a translation installed by a walk, by the walk's access and page level; at level 0,
    those that look into the same arrays.
    """
    shared = np.zeros((3, 4), np.uint64)
    asked = {access: [array.kinds >> access & 1 for array in geometry.arrays] for access in Access}
    for access in Access:
        shared[access, 0] = sum(1 << other for other in Access if asked[other] == asked[access])
        mine = [array for array in geometry.arrays if array.kinds & (1 << access)]
        for level in (1, 2, 3):
            size = PageSizes(1 << (level - 1))
            takers = [array for array in mine if array.page_sizes & size]
            if geometry.smash_1g and size == PageSizes.G1:
                whole = [array for array in takers if array.level == 1]
                pieces = [array for array in mine if array.page_sizes & PageSizes.M2]
                takers = [*(whole or (a for a in pieces if a.level == 1)), *(a for a in pieces if a.level == 2)]
            shared[access, level] = sum(kind for kind in Kinds(7) if any(array.kinds & kind for array in takers))
    return shared


def coalesced_before(geometry: Geometry) -> bool:
    """Whether an access may find a page among coalesced ones, though an array that it looks into later, and that does
    not coalesce, holds the page alone."""
    for access in Access:
        mine = [array for array in geometry.arrays if array.kinds & (1 << access) and array.page_sizes & PageSizes.K4]
        in_order = [array.coalesce > 1 for array in sorted(mine, key=lambda array: array.level)]
        if any(first and not all(in_order[at:]) for at, first in enumerate(in_order)):
            return True
    return False
