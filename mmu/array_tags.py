"""Tags: whose page of which number a place of an array has.

    tag = page number << 16 | (0x1000 if global, else PCID) << 3 | level << 1 | 1      (0: free)

The tag of coalesced pages is that of the first of them, with COALESCED.
"""

from __future__ import annotations

from mmu.native import inlined, native
from mmu.registers import PCID_MASK

GLOBAL_TAG = 0x1000
#: Where the number of a page of 4K begins in a tag.
PAGE_SHIFT = 16
#: In the tag of a translation of several pages of 4K; above every page number.
COALESCED = 1 << 62
_PCID_FIELD = 0x1FFF
_ADDRESS_57 = 0x1FF_FFFF_FFFF_FFFF
_SIGN = 0xFE00_0000_0000_0000
_NOT_COALESCED = 0xFFFF_FFFF_FFFF_FFFF ^ COALESCED
assert PCID_MASK == 0xFFF


@inlined
def page_of(vaddr: int, level: int) -> int:
    """The number of the page of this level that holds ``vaddr``."""
    return (vaddr & _ADDRESS_57) >> (12 + 9 * (level - 1))


@inlined
def tag_of(vaddr: int, level: int, context: int) -> int:
    """The tag of that page; ``context`` is a PCID or the mark of a global page."""
    return (page_of(vaddr, level) << 16) | (context << 3) | (level << 1) | 1


@native
def level_of(tag: int) -> int:
    """The level of the leaf entry of a translation: 1 for 4K, 2 for 2M, 3 for 1G."""
    return (tag >> 1) & 3


@native
def context_of(tag: int) -> int:
    """Its PCID, or the mark of a global page."""
    return (tag >> 3) & _PCID_FIELD


@native
def vaddr_of(tag: int) -> int:
    """Its first address; canonical for 57 bits where the sign bit is set."""
    vaddr = ((tag & _NOT_COALESCED) >> 16) << (12 + 9 * (level_of(tag) - 1))
    if (vaddr >> 56) & 1 != 0:
        vaddr |= _SIGN
    return vaddr


@inlined
def single_tag(tag: int, i: int) -> int:
    """The tag of one of coalesced pages alone."""
    return (tag & _NOT_COALESCED) + (i << PAGE_SHIFT)
