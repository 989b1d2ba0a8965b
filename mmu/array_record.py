"""An array of translations as native code sees it: its record, its tags, and finding a page.

An array keeps its tags and its times apart from the translations, so that a search of the ways of a set, for a page or
for a victim, stays within a cache line or two:

    tag = page number << 16 | (0x1000 if global, else PCID) << 3 | level << 1 | 1      (0: free)
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

from mmu.native import inlined, load32, load64, native, store32, store64
from mmu.registers import PCID_MASK
from mmu.state import WordArray, fields
from mmu.ways import first_equal

#: In the frame of a held translation: this page is a piece of a larger one, whose level stands above that bit.
SMASHED, WHOLE_SHIFT = 1, 1
GLOBAL_TAG = 0x1000
_PCID_FIELD = 0x1FFF
_EVERYBODY = GLOBAL_TAG << 3
#: Of a tag, all but whose page it is.
NOT_CONTEXT = 0xFFFF_FFFF_FFFF_FFFF ^ (_PCID_FIELD << 3)
_NOT_SMASHED = 0xFFFF_FFFF_FFFF_F000
_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
_ADDRESS_57 = 0x1FF_FFFF_FFFF_FFFF
_SIGN = 0xFE00_0000_0000_0000
assert PCID_MASK == 0xFFF


class TlbArray(ctypes.Structure):
    """One array of a TLB.  Every field is a uint64, or an array of uint64."""

    tags: int  # address of uint64[]
    held: int  # address of Held[]: what each tag stands for
    times: int  # address of uint64[]: of each one's last use, or of its installation; 0 if it is free
    used: int  # address of uint64[], by set: the bits of the PLRU policies
    hints: int  # address of uint32[], by page number: the index where that page was found last
    hint_mask: int
    set_mask: int
    ways: int
    hash_shift: int  # 0: the set number is the page's low bits; else these are XORed with the next bits
    kinds: int  # as mmu.geometry.Kinds
    page_sizes: int  # as mmu.geometry.PageSizes
    replacement: int  # as mmu.geometry.Replacement
    level: int
    pcids: int  # of how many PCIDs it may hold translations, plus 1; 0: of all
    contexts: int  # address of uint64[pcids - 1][2]: which PCIDs these are, plus 1, and when each installed last
    context_time: int
    last_context: int  # which of them installed last, plus 1
    present: int  # the page sizes of which something is held
    counts: WordArray  # how many of each
    twice: int  # a page was once held both global and not
    hits: int
    misses: int
    evictions: int
    invalidations: int
    drops: int

    _fields_ = fields(__annotations__, counts=ctypes.c_uint64 * 3)


class Held(ctypes.Structure):
    """The translation that a tag stands for."""

    frame: int  # its address; bit 0: SMASHED, bits 1 and 2: the level of the whole page then
    every: int  # AND of the entries
    any_xd: int  # OR of the entries, of which XD counts
    leaf: int  # the leaf entry

    _fields_ = fields(__annotations__)


class Found(NamedTuple):
    """The place of a translation: the address of the array's record (0: nowhere), and the index in the array."""

    array: int
    place: int


ARRAY_BYTES = ctypes.sizeof(TlbArray)
HELD_BYTES = ctypes.sizeof(Held)


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
    vaddr = (tag >> 16) << (12 + 9 * (level_of(tag) - 1))
    if (vaddr >> 56) & 1 != 0:
        vaddr |= _SIGN
    return vaddr


@native
def entries_of(array: TlbArray) -> int:
    """How many places an array has."""
    return (array.set_mask + 1) * array.ways


@inlined
def tag_at(array: TlbArray, index: int) -> int:
    """The tag of a place."""
    return load64(array.tags + index * 8)


@inlined
def held_at(array: TlbArray, index: int) -> Held:
    """The translation at a place."""
    return Held.from_address(array.held + index * HELD_BYTES)


@native
def frame_at(array: TlbArray, index: int) -> int:
    """The frame address of a place."""
    return held_at(array, index).frame & _NOT_SMASHED


@inlined
def as_piece(frame: int, whole: int) -> int:
    """The frame of a piece of a page of level ``whole``."""
    return frame | (whole << WHOLE_SHIFT) | SMASHED


@native
def whole_of(array: TlbArray, index: int) -> int:
    """The level of the page of which a piece is held there; 0 for a whole page."""
    frame = held_at(array, index).frame
    return (frame >> WHOLE_SHIFT) & 3 if frame & SMASHED != 0 else 0


@inlined
def set_of(array: TlbArray, vaddr: int, level: int) -> int:
    """The set in which a page is looked up."""
    page = page_of(vaddr, level)
    if array.hash_shift != 0:
        page ^= page >> array.hash_shift
    return page & array.set_mask


@inlined
def hint_of(array: TlbArray, vaddr: int, level: int) -> int:
    """The address of the hint for the place where the page was found last."""
    return array.hints + (page_of(vaddr, level) & array.hint_mask) * 4


@inlined
def find(array: TlbArray, vaddr: int, level: int, pcid: int) -> int:
    """The first place that holds the page for ``pcid``, plus 1; 0 if none does."""
    own = tag_of(vaddr, level, pcid)
    index = load32(hint_of(array, vaddr, level))
    if array.twice == 0:
        tag = tag_at(array, index)
        if tag == own:
            return index + 1
        if tag == (own & NOT_CONTEXT) | _EVERYBODY:
            return index + 1
    return search(array, vaddr, level, own)


@native
def search(array: TlbArray, vaddr: int, level: int, own: int) -> int:
    """As :func:`find`, by a search of all ways."""
    first = set_of(array, vaddr, level) * array.ways
    at, way = array.tags + first * 8, 0
    while True:  # the page may be there, but somebody else's
        way += first_equal(at + way * 8, array.ways - way, own, NOT_CONTEXT)
        if way == array.ways:
            return 0
        tag = load64(at + way * 8)
        if tag == own or tag == (own & NOT_CONTEXT) | _EVERYBODY:
            store32(hint_of(array, vaddr, level), first + way)
            return first + way + 1
        way += 1


@native
def find_tag(array: TlbArray, tag: int) -> int:
    """The place of exactly this tag, plus 1; 0 if there is none."""
    first = set_of(array, vaddr_of(tag), level_of(tag)) * array.ways
    way = first_equal(array.tags + first * 8, array.ways, tag, _ALL_ONES)
    return 0 if way == array.ways else first + way + 1


@native
def holds_page_as_another(array: TlbArray, tag: int) -> bool:
    """Whether the set of this global tag has the same page as one that is not global."""
    index = set_of(array, vaddr_of(tag), level_of(tag)) * array.ways
    end = index + array.ways
    while index < end:
        other = tag_at(array, index)
        if other != tag and other & NOT_CONTEXT == tag & NOT_CONTEXT:
            return True
        index += 1
    return False


@native
def occupy(array: TlbArray, index: int, tag: int) -> None:
    """Give a free place to a tag."""
    store64(array.tags + index * 8, tag)
    level = level_of(tag)
    array.counts[level - 1] += 1
    array.present |= 1 << (level - 1)
    store32(hint_of(array, vaddr_of(tag), level), index)


@native
def give_to(array: TlbArray, index: int, tag: int) -> None:
    """Give a place to another tag of the same level."""
    store64(array.tags + index * 8, tag)
    store32(hint_of(array, vaddr_of(tag), level_of(tag)), index)


@native
def forget(array: TlbArray, index: int) -> None:
    """Free a place."""
    level = level_of(tag_at(array, index))
    store64(array.tags + index * 8, 0)
    store64(array.times + index * 8, 0)
    array.counts[level - 1] -= 1
    if array.counts[level - 1] == 0:
        array.present ^= 1 << (level - 1)
