"""Entry points that search the ways of a set, for tests."""

from __future__ import annotations

from mmu.native import entry
from mmu.ways import first_equal, first_least


@entry("u64", "u64", "u64", "u64", "u64")
def equal(at: int, ways: int, word: int, mask: int) -> int:
    """See :func:`mmu.ways.first_equal`."""
    return first_equal(at, ways, word, mask)


@entry("u64", "u64", "u64")
def least(at: int, ways: int) -> int:
    """See :func:`mmu.ways.first_least`."""
    return first_least(at, ways)
