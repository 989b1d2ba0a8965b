"""An array of translations as native code sees it: its record, its tags, and how a page is found.

An array keeps its tags apart from what they stand for, so that looking through the ways of a set stays within a cache
line or two:

    tag    = page number << 16 | (0x1000 if global, else PCID) << 3 | level << 1 | 1      (0: free)
    facts  = frame address (bit 0: a piece of a 1G page), AND of the entries, OR of the entries, leaf entry,
             time of last use or of installation
"""

from __future__ import annotations

from mmu.native import U, inlined, load32, load64, native, store32, store64
from mmu.registers import PCID_MASK

MAX_ARRAYS = 16
#: Words of an array's record, and where each is: addresses first (HINTS of uint32 way numbers, by page number).
ARRAY_WORDS = 24
TAGS, FACTS, META, HINTS, HINT_MASK, SET_MASK, WAYS, HASH_SHIFT = (U(8 * n) for n in range(8))
KINDS, SIZES, POLICY, LEVEL = (U(8 * n) for n in range(8, 12))
#: The page sizes of which something is held, how many of each, and whether a page was ever held both global and not.
PRESENT, COUNTS, TWICE = U(8 * 12), U(8 * 13), U(8 * 16)
HITS, MISSES, EVICTIONS, INVALIDATIONS, DROPS = (U(8 * n) for n in range(17, 22))
#: Words of what a tag stands for.
FACT_WORDS = 5
FRAME, EVERY, ANY, LEAF, TIME = (U(8 * n) for n in range(FACT_WORDS))
#: In FRAME: this 2M translation is a piece of a 1G page.
SMASHED = U(1)

RECORD_BYTES = U(ARRAY_WORDS * 8)
LIST_BYTES = U((MAX_ARRAYS + 1) * 8)
GLOBAL_TAG = U(0x1000)
_FACT = U(FACT_WORDS * 8)
_PCID_FIELD = U(0x1FFF)
_EVERYBODY = U(0x1000 << 3)
_NOT_CONTEXT = U(0xFFFF_FFFF_FFFF_FFFF ^ (0x1FFF << 3))
_NOT_SMASHED = U(0xFFFF_FFFF_FFFF_F000)
_ADDRESS_57 = U(0x1FF_FFFF_FFFF_FFFF)
_SIGN = U(0xFE00_0000_0000_0000)
_ZERO, _ONE, _TWO, _THREE, _FOUR, _EIGHT = U(0), U(1), U(2), U(3), U(4), U(8)
_NINE, _TWELVE, _SIXTEEN = U(9), U(12), U(16)
assert PCID_MASK == 0xFFF


@inlined
def page_of(vaddr: int, level: int) -> int:
    """The number of the page of this level that holds ``vaddr``."""
    return (vaddr & _ADDRESS_57) >> (_TWELVE + _NINE * (level - _ONE))


@inlined
def tag_of(vaddr: int, level: int, context: int) -> int:
    """The tag of that page; ``context`` is a PCID or the mark of a global page."""
    return (page_of(vaddr, level) << _SIXTEEN) | (context << _THREE) | (level << _ONE) | _ONE


@native
def level_of(tag: int) -> int:
    """The level of the leaf entry of a translation: 1 for 4K, 2 for 2M, 3 for 1G."""
    return (tag >> _ONE) & _THREE


@native
def context_of(tag: int) -> int:
    """Its PCID, or the mark of a global page."""
    return (tag >> _THREE) & _PCID_FIELD


@native
def vaddr_of(tag: int) -> int:
    """Its first address; canonical for 57 bits where the sign bit is set."""
    vaddr = (tag >> _SIXTEEN) << (_TWELVE + _NINE * (level_of(tag) - _ONE))
    if (vaddr >> U(56)) & _ONE != _ZERO:
        vaddr |= _SIGN
    return vaddr


@native
def entries_of(array: int) -> int:
    """How many places an array has."""
    return (load64(array + SET_MASK) + _ONE) * load64(array + WAYS)


@inlined
def tag_at(array: int, index: int) -> int:
    """The tag of a place."""
    return load64(load64(array + TAGS) + index * _EIGHT)


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
    if shift != _ZERO:
        page ^= page >> shift
    return page & load64(array + SET_MASK)


@inlined
def hint_of(array: int, vaddr: int, level: int) -> int:
    """Where it is noted at which place the page was found last."""
    return load64(array + HINTS) + (page_of(vaddr, level) & load64(array + HINT_MASK)) * _FOUR


@inlined
def find(array: int, vaddr: int, level: int, pcid: int) -> int:
    """The first place that holds the page for ``pcid``, plus 1; 0 if none does."""
    own = tag_of(vaddr, level, pcid)
    index = load32(hint_of(array, vaddr, level))
    if load64(array + TWICE) == _ZERO:
        tag = tag_at(array, index)
        if tag == own:
            return index + _ONE
        if tag == (own & _NOT_CONTEXT) | _EVERYBODY:
            return index + _ONE
    return _search(array, vaddr, level, own)


@native
def _search(array: int, vaddr: int, level: int, own: int) -> int:
    """As :func:`find`, by looking at all ways."""
    everybody = (own & _NOT_CONTEXT) | _EVERYBODY
    index = set_of(array, vaddr, level) * load64(array + WAYS)
    at = load64(array + TAGS) + index * _EIGHT
    end = at + load64(array + WAYS) * _EIGHT
    while at < end:
        tag = load64(at)
        index += _ONE
        if tag == own or tag == everybody:  # noqa: SIM109 (compiled)
            store32(hint_of(array, vaddr, level), index - _ONE)
            return index
        at += _EIGHT
    return _ZERO


@native
def find_tag(array: int, tag: int) -> int:
    """The place of exactly this tag, plus 1; 0 if there is none."""
    index = set_of(array, vaddr_of(tag), level_of(tag)) * load64(array + WAYS)
    end = index + load64(array + WAYS)
    while index < end:
        index += _ONE
        if tag_at(array, index - _ONE) == tag:
            return index
    return _ZERO


@native
def holds_page_as_another(array: int, tag: int) -> bool:
    """Whether the set of this global tag has the same page as one that is not global."""
    index = set_of(array, vaddr_of(tag), level_of(tag)) * load64(array + WAYS)
    end = index + load64(array + WAYS)
    while index < end:
        other = tag_at(array, index)
        if other != tag and other & _NOT_CONTEXT == tag & _NOT_CONTEXT:
            return True
        index += _ONE
    return False


@native
def occupy(array: int, index: int, tag: int) -> None:
    """Give a free place to a tag."""
    store64(load64(array + TAGS) + index * _EIGHT, tag)
    level = level_of(tag)
    count = array + COUNTS + (level - _ONE) * _EIGHT
    store64(count, load64(count) + _ONE)
    store64(array + PRESENT, load64(array + PRESENT) | (_ONE << (level - _ONE)))
    store32(hint_of(array, vaddr_of(tag), level), index)


@native
def forget(array: int, index: int) -> None:
    """Free a place."""
    level = level_of(tag_at(array, index))
    store64(load64(array + TAGS) + index * _EIGHT, _ZERO)
    count = array + COUNTS + (level - _ONE) * _EIGHT
    store64(count, load64(count) - _ONE)
    if load64(count) == _ZERO:
        store64(array + PRESENT, load64(array + PRESENT) ^ (_ONE << (level - _ONE)))


@inlined
def bump(array: int, counter: int) -> None:
    """Count."""
    store64(array + counter, load64(array + counter) + _ONE)
