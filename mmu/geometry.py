"""The shape of a processor's TLBs and paging-structure caches: data only, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag


class Kinds(IntFlag):
    """The accesses whose translations an array holds."""

    LOAD = 1
    STORE = 2
    FETCH = 4
    DATA = 3
    ALL = 7


class PageSizes(IntFlag):
    """The page sizes that an array holds: bit (level - 1) of the leaf entry."""

    K4 = 1
    M2 = 2
    G1 = 4
    ALL = 7


class Replacement(IntEnum):
    """Which way of a full set is evicted."""

    LRU = 0  # the least recently used way
    TREE_PLRU = 1  # a binary tree of bits, each pointing away from the last use; ways are a power of two
    BIT_PLRU = 2  # a used bit for each way; when all are set, all others are cleared; the lowest clear one is evicted
    FIFO = 3  # the way installed first
    RANDOM = 4  # a xorshift64* generator with the model's seed


class IndexHash(IntEnum):
    """How a virtual page number becomes a set number."""

    LINEAR = 0  # the low bits
    XOR = 1  # the low bits XOR the next ones, as many as index the set (Skylake's STLB: 7 and 7)


@dataclass(frozen=True)
class Array:
    """One TLB array.

    ``sets`` times ``ways`` entries; ``sets`` is a power of two, and 1 for a fully associative array.  A page of size s
    is looked up under its page number of that size.  ``level`` 1 is looked up first, then 2.
    """

    name: str
    level: int
    kinds: Kinds
    page_sizes: PageSizes
    sets: int
    ways: int
    replacement: Replacement = Replacement.LRU
    index_hash: IndexHash = IndexHash.LINEAR

    @property
    def entries(self) -> int:
        """How many translations it holds."""
        return self.sets * self.ways


@dataclass(frozen=True)
class Geometry:
    """All translation caches of one logical processor.

    ``structure_caches`` maps the level of a paging-structure entry (5 PML5E, 4 PML4E, 3 PDPTE, 2 PDE) to how many
    entries its fully associative LRU cache has; 0 or absent: none.  ``inclusive``: a translation that leaves the second
    level leaves the first too. ``smash_1g``: a 1G page enters the second level as the 2M piece that was touched.
    ``provenance`` gives the source of each number.

    No source describes a processor completely; the presets (:func:`mmu.load_preset`) give the source of each number.

    >>> l1 = Array("L1", 1, Kinds.ALL, PageSizes.ALL, sets=1, ways=4)
    >>> tiny = Geometry("tiny", (l1,), structure_caches={2: 4})
    >>> sum(array.sets * array.ways for array in tiny.arrays), tiny.inclusive
    (4, False)
    """

    name: str
    arrays: tuple[Array, ...]
    structure_caches: dict[int, int] = field(default_factory=dict)
    inclusive: bool = False
    smash_1g: bool = False
    provenance: str = ""
