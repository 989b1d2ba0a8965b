"""An array of translations as native code sees it: its record, its tags, and how a page is found.

An array keeps its tags apart from what they stand for, so that looking through the ways of a set stays within a cache
line or two:

    tag    = page number << 16 | (0x1000 if global, else PCID) << 3 | level << 1 | 1      (0: free)
    facts  = frame address (bit 0: a piece of a 1G page), AND of the entries, OR of the entries, leaf entry,
             time of last use or of installation
"""

from __future__ import annotations

from mmu.native import inlined, load32, load64, native, store32, store64
from mmu.registers import PCID_MASK

MAX_ARRAYS = 16
#: Words of an array's record, and where each is: addresses first (HINTS of uint32 way numbers, by page number).
ARRAY_WORDS = 24
TAGS, FACTS, META, HINTS, HINT_MASK, SET_MASK, WAYS, HASH_SHIFT = (8 * n for n in range(8))
KINDS, SIZES, POLICY, LEVEL = (8 * n for n in range(8, 12))
#: The page sizes of which something is held, how many of each, and whether a page was ever held both global and not.
PRESENT, COUNTS, TWICE = 8 * 12, 8 * 13, 8 * 16
HITS, MISSES, EVICTIONS, INVALIDATIONS, DROPS = (8 * n for n in range(17, 22))
#: Words of what a tag stands for.
FACT_WORDS = 5
FRAME, EVERY, ANY, LEAF, TIME = (8 * n for n in range(FACT_WORDS))
#: In FRAME: this 2M translation is a piece of a 1G page.
SMASHED = 1

RECORD_BYTES = ARRAY_WORDS * 8
LIST_BYTES = (MAX_ARRAYS + 1) * 8
GLOBAL_TAG = 0x1000
_FACT = FACT_WORDS * 8
_PCID_FIELD = 0x1FFF
_EVERYBODY = GLOBAL_TAG << 3
_NOT_CONTEXT = 0xFFFF_FFFF_FFFF_FFFF ^ (_PCID_FIELD << 3)
_NOT_SMASHED = 0xFFFF_FFFF_FFFF_F000
_ADDRESS_57 = 0x1FF_FFFF_FFFF_FFFF
_SIGN = 0xFE00_0000_0000_0000
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
    vaddr = (tag >> 16) << (12 + 9 * (level_of(tag) - 1))
    if (vaddr >> 56) & 1 != 0:
        vaddr |= _SIGN
    return vaddr


@native
def entries_of(array: int) -> int:
    """How many places an array has."""
    return (load64(array + SET_MASK) + 1) * load64(array + WAYS)


@inlined
def tag_at(array: int, index: int) -> int:
    """The tag of a place."""
    return load64(load64(array + TAGS) + index * 8)


@inlined
def fact_of(array: int, index: int) -> int:
    """Where the facts of a place are."""
    return load64(array + FACTS) + index * _FACT


@native
def frame_at(array: int, index: int) -> int:
    """The frame address of a place."""
    return load64(fact_of(array, index) + FRAME) & _NOT_SMASHED


@inlined
def set_of(array: int, vaddr: int, level: int) -> int:
    """The set in which a page is looked up."""
    page = page_of(vaddr, level)
    shift = load64(array + HASH_SHIFT)
    if shift != 0:
        page ^= page >> shift
    return page & load64(array + SET_MASK)


@inlined
def hint_of(array: int, vaddr: int, level: int) -> int:
    """Where it is noted at which place the page was found last."""
    return load64(array + HINTS) + (page_of(vaddr, level) & load64(array + HINT_MASK)) * 4


@inlined
def find(array: int, vaddr: int, level: int, pcid: int) -> int:
    """The first place that holds the page for ``pcid``, plus 1; 0 if none does."""
    own = tag_of(vaddr, level, pcid)
    index = load32(hint_of(array, vaddr, level))
    if load64(array + TWICE) == 0:
        tag = tag_at(array, index)
        if tag == own:
            return index + 1
        if tag == (own & _NOT_CONTEXT) | _EVERYBODY:
            return index + 1
    return _search(array, vaddr, level, own)


@native
def _search(array: int, vaddr: int, level: int, own: int) -> int:
    """As :func:`find`, by looking at all ways."""
    everybody = (own & _NOT_CONTEXT) | _EVERYBODY
    index = set_of(array, vaddr, level) * load64(array + WAYS)
    at = load64(array + TAGS) + index * 8
    end = at + load64(array + WAYS) * 8
    while at < end:
        tag = load64(at)
        index += 1
        if tag == own or tag == everybody:  # noqa: SIM109 (compiled)
            store32(hint_of(array, vaddr, level), index - 1)
            return index
        at += 8
    return 0


@native
def find_tag(array: int, tag: int) -> int:
    """The place of exactly this tag, plus 1; 0 if there is none."""
    index = set_of(array, vaddr_of(tag), level_of(tag)) * load64(array + WAYS)
    end = index + load64(array + WAYS)
    while index < end:
        index += 1
        if tag_at(array, index - 1) == tag:
            return index
    return 0


@native
def holds_page_as_another(array: int, tag: int) -> bool:
    """Whether the set of this global tag has the same page as one that is not global."""
    index = set_of(array, vaddr_of(tag), level_of(tag)) * load64(array + WAYS)
    end = index + load64(array + WAYS)
    while index < end:
        other = tag_at(array, index)
        if other != tag and other & _NOT_CONTEXT == tag & _NOT_CONTEXT:
            return True
        index += 1
    return False


@native
def occupy(array: int, index: int, tag: int) -> None:
    """Give a free place to a tag."""
    store64(load64(array + TAGS) + index * 8, tag)
    level = level_of(tag)
    count = array + COUNTS + (level - 1) * 8
    store64(count, load64(count) + 1)
    store64(array + PRESENT, load64(array + PRESENT) | (1 << (level - 1)))
    store32(hint_of(array, vaddr_of(tag), level), index)


@native
def forget(array: int, index: int) -> None:
    """Free a place."""
    level = level_of(tag_at(array, index))
    store64(load64(array + TAGS) + index * 8, 0)
    count = array + COUNTS + (level - 1) * 8
    store64(count, load64(count) - 1)
    if load64(count) == 0:
        store64(array + PRESENT, load64(array + PRESENT) ^ (1 << (level - 1)))


@inlined
def bump(array: int, counter: int) -> None:
    """Count."""
    store64(array + counter, load64(array + counter) + 1)
