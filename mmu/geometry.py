"""The shape of a processor's TLBs and paging-structure caches: data only, no behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

from mmu.latency import Latency, wrong_in_latency
from mmu.nested import Nested, wrong_in_nested

#: The most arrays of a geometry, and the most entries of one of its arrays.
MAX_ARRAYS = 16
MAX_ENTRIES = 1 << 20
#: The highest limit on PCIDs; there are 4096.
MAX_PCIDS = 64
#: How many pages of 4K may be one translation: a line of 64 bytes has 8 PTEs.
COALESCED = (1, 2, 4, 8)
#: Whose events are counted besides those of Intel's names, by the names of Linux's tables of them (tools/perf).
COUNTERS = ("intel", "amdzen1", "amdzen2", "amdzen3", "amdzen4", "amdzen5")


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
    LFU = 5  # the way used least often since it was installed, of several the least recently used one


class IndexHash(IntEnum):
    """How a virtual page number becomes a set number."""

    LINEAR = 0  # the low bits
    XOR = 1  # the low bits XOR the next ones, as many as index the set (Skylake's STLB: 7 and 7)
    #: Another one for each way: the low bits XOR H(H(...(the next ones))), as often as the number of the way, with
    #: H(y_n, ..., y_1) = (y_n ^ y_1, y_n, ..., y_2) (Seznec, A case for two-way skewed-associative caches, ISCA 1993).
    SKEWED = 2


@dataclass(frozen=True)
class Array:
    """One TLB array.

    ``sets`` times ``ways`` entries; ``sets`` is a power of two, and 1 for a fully associative array.  A page of size s
    is looked up under its page number of that size.  ``level`` 1 is looked up first, then 2.  ``pcids``: of so many
    PCIDs it can hold translations at once (None: of all); another one takes the place of the one that installed
    something longest ago, and with 0 those of a PCID go when it ceases to be the current one.  ``coalesce``: as many
    pages of 4K, side by side from a multiple of their size on, are one entry, if a walk finds their PTEs equal but for
    the address, and their frames side by side as well (:mod:`mmu.coalescing`).  That is looked up under the number of
    the group, behind the page alone.
    """

    name: str
    level: int
    kinds: Kinds
    page_sizes: PageSizes
    sets: int
    ways: int
    replacement: Replacement = Replacement.LRU
    index_hash: IndexHash = IndexHash.LINEAR
    pcids: int | None = None
    coalesce: int = 1

    @property
    def entries(self) -> int:
        """How many translations it holds."""
        return self.sets * self.ways


@dataclass(frozen=True)
class StructureShape:
    """A paging-structure cache that is not fully associative, or does not replace by LRU.

    ``sets`` is a power of two; an entry's set is the low bits of the address bits that select it.  ``replacement`` is
    none of the two PLRU policies.
    """

    sets: int
    ways: int
    replacement: Replacement = Replacement.LRU

    @property
    def entries(self) -> int:
        """How many entries it holds."""
        return self.sets * self.ways


@dataclass(frozen=True)
class Geometry:
    """All translation caches of one logical processor.

    ``structure_caches`` maps the level of a paging-structure entry (5 PML5E, 4 PML4E, 3 PDPTE, 2 PDE) to how many
    entries its fully associative LRU cache has, or to a :class:`StructureShape`; 0 or absent: none.  ``inclusive``: a
    translation that leaves the second level leaves the first too.  ``smash_1g``: a 1G page enters the second level as
    the 2M piece that was touched.  ``prefetch_next``: after a walk for data to a 4K page the next one enters the second
    level too, if its PTE is in the same line of 64 bytes, is present, and has A set.  ``latency``: what translations
    cost, if that is counted.  ``nested``: the second dimension of paging, if there is one.  ``counters``: one of
    :data:`COUNTERS`.  ``provenance`` gives the source of each number.

    No source describes a processor completely; the presets (:func:`mmu.load_preset`) give the source of each number.

    >>> l1 = Array("L1", 1, Kinds.ALL, PageSizes.ALL, sets=1, ways=4)
    >>> tiny = Geometry("tiny", (l1,), structure_caches={2: 4})
    >>> sum(array.sets * array.ways for array in tiny.arrays), tiny.inclusive
    (4, False)
    """

    name: str
    arrays: tuple[Array, ...]
    structure_caches: Mapping[int, int | StructureShape] = field(default_factory=dict)
    inclusive: bool = False
    smash_1g: bool = False
    prefetch_next: bool = False
    latency: Latency | None = None
    nested: Nested | None = None
    counters: str = COUNTERS[0]
    provenance: str = ""

    @property
    def coalesce(self) -> int:
        """How many pages of 4K are one translation in those arrays that coalesce them; 1 if none does."""
        return max((array.coalesce for array in self.arrays), default=1)

    def structure(self, level: int) -> StructureShape:
        """The shape of the structure cache of that level; of one that is not there, no ways."""
        shape = self.structure_caches.get(level, 0)
        return shape if isinstance(shape, StructureShape) else StructureShape(1, shape)


class BadGeometry(ValueError):
    """A geometry that cannot be modelled; ``field`` is what is wrong in it."""

    def __init__(self, name: str, message: str, field: str) -> None:
        super().__init__(f"{name}: {message}")
        self.message, self.field = message, field


def check_array(array: Array) -> None:
    """:class:`BadGeometry` for an array that cannot be modelled."""
    wrong = _wrong_in(array)
    if wrong is not None:
        raise BadGeometry(array.name, *wrong)


def _wrong_in(array: Array) -> tuple[str, str] | None:
    """What is wrong in an array, and in which field."""
    ways, policy = array.ways, array.replacement
    if ways < 1:
        return f"{array.sets} sets of {ways} ways; there must be at least one way", "ways"
    if array.sets & (array.sets - 1) or not array.sets:
        return f"{array.sets} sets of {ways} ways; the sets must be a power of two", "sets"
    if array.entries > MAX_ENTRIES:
        return f"{array.entries} entries; at most {MAX_ENTRIES} are modelled", "ways"
    if not array.kinds or not array.page_sizes:
        field = "page_sizes" if array.kinds else "kinds"
        return "it holds nothing without a kind of access and a page size", field
    if array.level not in (1, 2):
        return f"level {array.level}; there are levels 1 and 2", "level"
    if array.pcids is not None and not 0 <= array.pcids <= MAX_PCIDS:
        return f"a limit of {array.pcids} PCIDs; from 0 to {MAX_PCIDS} are modelled", "pcids"
    if array.coalesce not in COALESCED:
        return f"{array.coalesce} pages as one; 1, 2, 4 or 8 are modelled", "coalesce"
    if array.coalesce > 1 and not array.page_sizes & PageSizes.K4:
        return "it coalesces pages of 4K, and holds none", "coalesce"
    if array.index_hash == IndexHash.SKEWED and policy in (Replacement.TREE_PLRU, Replacement.BIT_PLRU):
        return "a skewed array has no sets for PLRU; it replaces by lru, fifo, lfu or random", "replacement"
    if policy == Replacement.TREE_PLRU and (ways & (ways - 1) or ways > 64):
        return f"tree-PLRU needs a power of two ways, at most 64, not {ways}", "ways"
    if policy == Replacement.BIT_PLRU and ways > 64:
        return f"bit-PLRU is modelled for at most 64 ways, not {ways}", "ways"
    return None


def check_geometry(geometry: Geometry) -> None:
    """:class:`BadGeometry` for a geometry that cannot be modelled."""
    if len(geometry.arrays) > MAX_ARRAYS:
        number = len(geometry.arrays)
        raise BadGeometry(geometry.name, f"{number} arrays; at most {MAX_ARRAYS} are modelled", "arrays")
    for array in geometry.arrays:
        check_array(array)
    if geometry.counters not in COUNTERS:
        known = ", ".join(COUNTERS)
        raise BadGeometry(geometry.name, f"{geometry.counters!r} is none of {known}", "counters")
    coalesced = sorted({array.coalesce for array in geometry.arrays} - {1})
    if len(coalesced) > 1:
        numbers = " and ".join(map(str, coalesced))
        raise BadGeometry(
            geometry.name, f"arrays coalesce {numbers} pages; those that do are all to do as many", "arrays"
        )
    for level in geometry.structure_caches:
        wrong = _wrong_in_structure(level, geometry.structure(level))
        if wrong is not None:
            raise BadGeometry(geometry.name, wrong, "structure_caches")
    if geometry.latency is not None:
        wrong = wrong_in_latency(geometry.latency)
        if wrong is not None:
            raise BadGeometry(geometry.name, wrong, "latency")
    if geometry.nested is not None and geometry.prefetch_next:
        raise BadGeometry(geometry.name, "the next page is not prefetched over a second dimension", "prefetch_next")
    if geometry.nested is not None:
        wrong = wrong_in_nested(geometry.nested)
        if wrong is not None:
            raise BadGeometry(geometry.name, wrong, "nested")


def _wrong_in_structure(level: int, shape: StructureShape) -> str | None:
    if not 2 <= level <= 5:
        return f"there is no structure cache of level {level}"
    if shape.sets < 1 or shape.sets & (shape.sets - 1) or shape.ways < 0:
        return f"a structure cache of {shape.sets} sets of {shape.ways} ways; the sets must be a power of two"
    if shape.entries > MAX_ENTRIES:
        return f"a structure cache of {shape.entries} entries; at most {MAX_ENTRIES} are modelled"
    if shape.replacement in (Replacement.TREE_PLRU, Replacement.BIT_PLRU):
        return "a structure cache does not replace by PLRU; by lru, lfu, fifo or random"
    return None
