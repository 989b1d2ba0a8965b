"""Searching the ways of a set, natively and as Python, with every number of ways."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from mmu.objectcode import Library, _reference, load
from mmu.ways import SPARE

MODULE = "tests.mmu.searched_ways"
ALL_ONES = (1 << 64) - 1
MOST = 150


@pytest.fixture(params=["as the suite runs", "reference"])
def ways(request: pytest.FixtureRequest) -> Library:
    return load(MODULE) if request.param != "reference" else _reference(importlib.import_module(MODULE))


def test_the_first_way_with_a_value_is_found(ways: Library) -> None:
    chance = np.random.default_rng(1)
    for number in range(1, MOST):
        words = chance.integers(0, max(2, number), number + SPARE, np.uint64) | np.uint64(1 << 63)
        for word in (1 << 63, 1 << 63 | 1, 1 << 63 | number, 1):
            for mask in (ALL_ONES, 1 << 63 | 2, 1):
                expected = [i for i in range(number) if (int(words[i]) ^ word) & mask == 0]
                found = ways["equal"](words.ctypes.data, number, word, mask)
                assert found == (expected[0] if expected else number), (number, word, mask)


def test_the_first_of_the_least_is_found(ways: Library) -> None:
    chance = np.random.default_rng(2)
    for number in range(1, MOST):
        for above in (0, (1 << 64) - 300):  # no signed numbers
            words = chance.integers(1, max(3, 2 * number), number + SPARE, np.uint64) + np.uint64(above)
            words[number:] = 0  # what lies behind the set is no part of it
            assert ways["least"](words.ctypes.data, number) == int(np.argmin(words[:number])), number
        words[:] = ALL_ONES
        assert ways["least"](words.ctypes.data, number) == 0
