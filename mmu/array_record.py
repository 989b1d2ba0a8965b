"""An array of translations as native code sees it: its record, its tags, and finding a page.

An array keeps its tags and its times apart from the translations, so that a search of the ways of a set, for a page or
for a victim, stays within a cache line or two.  :mod:`mmu.array_tags` has the tags.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

from mmu.array_tags import COALESCED, GLOBAL_TAG, PAGE_SHIFT, level_of, page_of, single_tag, tag_of, vaddr_of
from mmu.native import inlined, load32, load64, native, store32, store64
from mmu.state import WordArray, fields
from mmu.ways import first_equal

#: In the frame of a held translation: this page is a piece of a larger one, whose level stands above that bit.
SMASHED, WHOLE_SHIFT = 1, 1
_PCID_FIELD = 0x1FFF
_EVERYBODY = GLOBAL_TAG << 3
#: Of a tag, all but whose page it is.
NOT_CONTEXT = 0xFFFF_FFFF_FFFF_FFFF ^ (_PCID_FIELD << 3)
_NOT_SMASHED = 0xFFFF_FFFF_FFFF_F000
_NOT_COALESCED = 0xFFFF_FFFF_FFFF_FFFF ^ COALESCED
_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF


class TlbArray(ctypes.Structure):
    """One array of a TLB.  Every field is a uint64, or an array of uint64."""

    tags: int  # address of uint64[]
    held: int  # address of Held[]: what each tag stands for
    times: int  # address of uint64[]: mmu.replacement's, of each one's last use or its installation; 0 if it is free
    used: int  # address of uint64[], by set: the bits of the PLRU policies
    hints: int  # address of uint32[], by page number: the index where that page was found last
    hint_mask: int
    near: int  # address of uint32[], by a hash of number_of(): how many translations are held there; 0: nobody counts
    near_mask: int
    groups: int  # where these are counted: how many of coalesced pages are held
    set_mask: int
    ways: int
    hash_shift: int  # 0: the set number is the page's low bits; else these are XORed with the next bits
    skewed: int  # these are others for each way
    group_shift: int  # log2 of how many pages of 4K may be coalesced
    group_bits: int  # of the tag of a page of 4K, those that say which of these it is
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


class Way(NamedTuple):
    """A way, and the index in the array of its place for a page."""

    way: int
    place: int


ARRAY_BYTES = ctypes.sizeof(TlbArray)
HELD_BYTES = ctypes.sizeof(Held)


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
    """The set in which a page is looked up; of a skewed array, that of its first way."""
    return set_of_number(array, page_of(vaddr, level))


@inlined
def set_of_number(array: TlbArray, number: int) -> int:
    """The set for a page of this number."""
    if array.hash_shift != 0:
        number ^= number >> array.hash_shift
    return number & array.set_mask


@inlined
def number_of(array: TlbArray, tag: int) -> int:
    """The number under which the page of a tag is looked up; of coalesced pages, that of all of them."""
    number = (tag & _NOT_COALESCED) >> PAGE_SHIFT
    return number >> array.group_shift if tag & COALESCED != 0 else number


@inlined
def first_skew(array: TlbArray, number: int) -> int:
    """What the low bits of a number are XORed with in the first way."""
    return (number >> array.hash_shift) & array.set_mask if array.hash_shift != 0 else 0


@inlined
def next_skew(array: TlbArray, skew: int) -> int:
    """What they are XORed with in the way behind: H(skew), as :class:`mmu.geometry.IndexHash` has it."""
    bits = array.hash_shift
    if array.skewed == 0 or bits < 2:
        return skew
    return (skew >> 1) | ((((skew >> (bits - 1)) ^ skew) & 1) << (bits - 1))


@inlined
def place_at(array: TlbArray, number: int, skew: int, way: int) -> int:
    """The place in a way for a page of this number."""
    return ((number ^ skew) & array.set_mask) * array.ways + way


@native
def group_tag(array: TlbArray, tag: int) -> int:
    """The tag of the pages with which that of a page of 4K is coalesced."""
    return (tag & (_ALL_ONES ^ array.group_bits)) | COALESCED


@inlined
def pages_of(array: TlbArray, tag: int) -> int:
    """Of how many pages a tag is."""
    return 1 << array.group_shift if tag & COALESCED != 0 else 1


@native
def _is_one_of(array: TlbArray, tag: int, own: int) -> bool:
    """Whether coalesced pages have one among them."""
    both = group_tag(array, own)
    return tag == both or tag == (both & NOT_CONTEXT) | _EVERYBODY


@inlined
def is_of(array: TlbArray, tag: int, own: int) -> bool:
    """Whether a place's tag is of the page with this tag of its PCID: of that PCID, or global; alone, or coalesced."""
    if tag == own or tag == (own & NOT_CONTEXT) | _EVERYBODY:
        return True
    return tag & COALESCED != 0 and _is_one_of(array, tag, own)


@inlined
def hint_of(array: TlbArray, vaddr: int, level: int) -> int:
    """The address of the hint for the place where the page was found last."""
    return array.hints + (page_of(vaddr, level) & array.hint_mask) * 4


@inlined
def _near_of(array: TlbArray, tag: int) -> int:
    """The address of the number of translations near a tag: of its pages, and of others with the same hash."""
    number = number_of(array, tag)
    return array.near + ((number ^ (number >> 13)) & array.near_mask) * 4


@inlined
def is_near_none(array: TlbArray, tag: int) -> bool:
    """Whether nothing is held of a tag's page, whosever it is, as a number says that is kept where a search of all ways
    takes long."""
    return array.near != 0 and load32(_near_of(array, tag)) == 0


@inlined
def may_be_coalesced(array: TlbArray, own: int) -> bool:
    """Whether the page of a tag may be held coalesced with others."""
    return array.groups != 0 and level_of(own) == 1 and not is_near_none(array, group_tag(array, own))


@inlined
def count_in(array: TlbArray, tag: int) -> None:
    """A tag has come, where somebody counts what is near."""
    if array.near != 0:
        at = _near_of(array, tag)
        store32(at, load32(at) + 1)
        if tag & COALESCED != 0:
            array.groups += 1


@inlined
def count_out(array: TlbArray, tag: int) -> None:
    """The same of one that goes."""
    if array.near != 0:
        at = _near_of(array, tag)
        store32(at, load32(at) - 1)
        if tag & COALESCED != 0:
            array.groups -= 1


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
        if tag & COALESCED != 0 and _is_one_of(array, tag, own):
            return index + 1
    return search(array, vaddr, level, own)


@native
def search(array: TlbArray, vaddr: int, level: int, own: int) -> int:
    """As :func:`find`, by a search of all ways."""
    if array.near != 0:
        return search_counted(array, vaddr, level, own)
    return search_set(array, vaddr, level, own)


@inlined
def search_set(array: TlbArray, vaddr: int, level: int, own: int) -> int:
    """The same where nobody counts what is near."""
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
def search_counted(array: TlbArray, vaddr: int, level: int, own: int) -> int:
    """The same where somebody does, since pages may be coalesced or ways are skewed: first for the page alone."""
    index = 0 if is_near_none(array, own) else _search_ways(array, own)
    if index == 0 and may_be_coalesced(array, own):
        index = _search_ways(array, group_tag(array, own))
    if index != 0:
        store32(hint_of(array, vaddr, level), index - 1)
    return index


@native
def _search_ways(array: TlbArray, own: int) -> int:
    """The first place, in its ways, of this tag or the one of global pages, plus 1; 0 if there is none."""
    found, everybody = next_way(array, own, 0), (own & NOT_CONTEXT) | _EVERYBODY
    while found.way != array.ways:
        tag = tag_at(array, found.place)
        if tag == own or tag == everybody:  # noqa: SIM109 (compiled)
            return found.place + 1
        found = next_way(array, own, found.way + 1)
    return 0


@native
def next_way(array: TlbArray, tag: int, way: int) -> Way:
    """The first way, from this one on, that has the page of a tag, whosever it is; the number of ways if none has."""
    if array.skewed != 0:
        return _next_skewed(array, tag, way)
    first = set_of_number(array, number_of(array, tag)) * array.ways
    way += first_equal(array.tags + (first + way) * 8, array.ways - way, tag, NOT_CONTEXT)
    return Way(way, first + way)


@native
def _next_skewed(array: TlbArray, tag: int, begin: int) -> Way:
    number, way = number_of(array, tag), 0
    skew = first_skew(array, number)
    while way < array.ways:
        index = place_at(array, number, skew, way)
        if way >= begin and (tag_at(array, index) ^ tag) & NOT_CONTEXT == 0:
            return Way(way, index)
        skew = next_skew(array, skew)
        way += 1
    return Way(way, 0)


@native
def find_tag(array: TlbArray, tag: int) -> int:
    """The place of exactly this tag, plus 1; 0 if there is none."""
    if array.skewed != 0:
        return _find_skewed(array, tag)
    first = set_of_number(array, number_of(array, tag)) * array.ways
    way = first_equal(array.tags + first * 8, array.ways, tag, _ALL_ONES)
    return 0 if way == array.ways else first + way + 1


@native
def _find_skewed(array: TlbArray, tag: int) -> int:
    """As :func:`find_tag`, in a skewed array."""
    number, way = number_of(array, tag), 0
    skew = first_skew(array, number)
    while way < array.ways:
        index = place_at(array, number, skew, way)
        if tag_at(array, index) == tag:
            return index + 1
        skew = next_skew(array, skew)
        way += 1
    return 0


@native
def _has_other(array: TlbArray, tag: int) -> bool:
    """Whether the ways of a tag have it as another one's: as a global one, or as one that is not."""
    found = next_way(array, tag, 0)
    while found.way != array.ways:
        if (tag_at(array, found.place) ^ tag) & _EVERYBODY != 0:
            return True
        found = next_way(array, tag, found.way + 1)
    return False


@native
def holds_page_as_another(array: TlbArray, tag: int) -> bool:
    """Whether the array has a page of this tag as a global one and as one that is not."""
    if _has_other(array, tag):
        return True
    if array.group_shift == 0 or level_of(tag) != 1:
        return False
    if tag & COALESCED == 0:
        return _has_other(array, group_tag(array, tag))
    i = 0
    while i < pages_of(array, tag):
        if _has_other(array, single_tag(tag, i)):
            return True
        i += 1
    return False


@native
def occupy(array: TlbArray, index: int, tag: int) -> None:
    """Give a free place to a tag."""
    store64(array.tags + index * 8, tag)
    count_in(array, tag)
    level = level_of(tag)
    array.counts[level - 1] += 1
    array.present |= 1 << (level - 1)
    store32(hint_of(array, vaddr_of(tag), level), index)


@native
def give_to(array: TlbArray, index: int, tag: int) -> None:
    """Give a place to another tag of the same level."""
    count_out(array, tag_at(array, index))
    store64(array.tags + index * 8, tag)
    count_in(array, tag)
    store32(hint_of(array, vaddr_of(tag), level_of(tag)), index)


@native
def forget(array: TlbArray, index: int) -> None:
    """Free a place."""
    count_out(array, tag_at(array, index))
    level = level_of(tag_at(array, index))
    store64(array.tags + index * 8, 0)
    store64(array.times + index * 8, 0)
    array.counts[level - 1] -= 1
    if array.counts[level - 1] == 0:
        array.present ^= 1 << (level - 1)
