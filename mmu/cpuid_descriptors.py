"""The TLB descriptors of CPUID leaf 2 (Intel SDM vol. 2, CPUID, table 3-12; as in Linux, cpuid_0x2_table.c)."""

from __future__ import annotations

from typing import NamedTuple

from mmu.geometry import Kinds, PageSizes

_4K, _2M, _1G = PageSizes.K4, PageSizes.M2, PageSizes.G1
_I, _D, _ALL = Kinds.FETCH, Kinds.DATA, Kinds.ALL

#: ``ways`` of an array that is fully associative, and of one whose associativity the manual does not give.
FULL, NOT_GIVEN = 0, -1

NULL, NO_TLBS_HERE, NO_CACHES_HERE = 0x00, 0xFE, 0xFF  # 0xFE: see leaf 18h; 0xFF: caches (not TLBs) are in leaf 4


class Descriptor(NamedTuple):
    """The array described by a descriptor byte.

    ``page_sizes`` is 0 if it holds 4M pages only, which 64-bit mode does not have.  ``behind``: descriptors of smaller
    arrays; where one of them is present, this array is the second level.
    """

    kinds: Kinds
    page_sizes: PageSizes
    entries: int
    ways: int
    level: int = 1
    behind: frozenset[int] = frozenset()


_NONE = PageSizes(0)
_DTLB0_4K, _DTLB0_4M, _MICRO = frozenset({0x57, 0x59}), frozenset({0x56}), frozenset({0x6A})

DESCRIPTORS: dict[int, tuple[Descriptor, ...]] = {
    0x01: (Descriptor(_I, _4K, 32, 4),),
    0x02: (Descriptor(_I, _NONE, 2, FULL),),
    0x03: (Descriptor(_D, _4K, 64, 4),),
    0x04: (Descriptor(_D, _NONE, 8, 4),),
    0x05: (Descriptor(_D, _NONE, 32, 4, 1, _DTLB0_4M),),
    0x0B: (Descriptor(_I, _NONE, 4, 4),),
    0x4F: (Descriptor(_I, _4K, 32, NOT_GIVEN),),
    0x50: (Descriptor(_I, _4K | _2M, 64, NOT_GIVEN),),
    0x51: (Descriptor(_I, _4K | _2M, 128, NOT_GIVEN),),
    0x52: (Descriptor(_I, _4K | _2M, 256, NOT_GIVEN),),
    0x55: (Descriptor(_I, _2M, 7, FULL),),
    0x56: (Descriptor(_D, _NONE, 16, 4),),
    0x57: (Descriptor(_D, _4K, 16, 4),),
    0x59: (Descriptor(_D, _4K, 16, FULL),),
    0x5A: (Descriptor(_D, _2M, 32, 4),),
    0x5B: (Descriptor(_D, _4K, 64, NOT_GIVEN),),
    0x5C: (Descriptor(_D, _4K, 128, NOT_GIVEN),),
    0x5D: (Descriptor(_D, _4K, 256, NOT_GIVEN),),
    0x61: (Descriptor(_I, _4K, 48, FULL),),
    0x63: (Descriptor(_D, _2M, 32, 4), Descriptor(_D, _1G, 4, 4)),
    0x64: (Descriptor(_D, _4K, 512, 4),),
    0x6A: (Descriptor(_D, _4K, 64, 8),),
    0x6B: (Descriptor(_D, _4K, 256, 8, 1, _MICRO),),
    0x6C: (Descriptor(_D, _2M, 128, 8, 1, _MICRO),),
    0x6D: (Descriptor(_D, _1G, 16, FULL, 1, _MICRO),),
    0x76: (Descriptor(_I, _2M, 8, FULL),),
    0xA0: (Descriptor(_D, _4K, 32, FULL),),
    0xB0: (Descriptor(_I, _4K, 128, 4),),
    0xB1: (Descriptor(_I, _2M, 8, 4),),
    0xB2: (Descriptor(_I, _4K, 64, 4),),
    0xB3: (Descriptor(_D, _4K, 128, 4),),
    0xB4: (Descriptor(_D, _4K, 256, 4, 1, _DTLB0_4K),),
    0xB5: (Descriptor(_I, _4K, 64, 8),),
    0xB6: (Descriptor(_I, _4K, 128, 8),),
    0xBA: (Descriptor(_D, _4K, 64, 4, 1, _DTLB0_4K),),
    0xC0: (Descriptor(_D, _4K, 8, 4),),
    0xC1: (Descriptor(_ALL, _4K | _2M, 1024, 8, 2),),
    0xC2: (Descriptor(_D, _4K | _2M, 16, 4),),
    0xC3: (Descriptor(_ALL, _4K | _2M, 1536, 6, 2), Descriptor(_ALL, _1G, 16, 4, 2)),
    0xC4: (Descriptor(_D, _2M, 32, 4),),
    0xCA: (Descriptor(_ALL, _4K, 512, 4, 2),),
}
