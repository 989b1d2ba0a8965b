"""A hash table of pages in the host's memory, for native code: what is known of each page of each address space.

A page's tag is its first address and, in the bits below, the logarithm of its size: ``0xffff_8000_0020_0015`` is the
2 MiB page (1 << 21) there.  No tag is 0.  Entries are never taken out, so that a page which is seen again is known.
"""

from __future__ import annotations

import ctypes

from mmu.native import inlined, load64, native, store64
from mmu.state import fields

_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
_GOLDEN = 0x9E37_79B9_7F4A_7C15
_ANOTHER = 0xD6E8_FEB8_6659_FD93

#: Bytes of an entry: tag, address space, and two words of whoever keeps the table.
ENTRY = 32
SPACE, FIRST, SECOND = 8, 16, 24


class PageTable(ctypes.Structure):
    """The table: its entries, a power of two of them, less one, and how many are taken."""

    entries: int
    mask: int
    used: int

    _fields_ = fields(__annotations__)


@inlined
def page_tag(vaddr: int, shift: int) -> int:
    """The tag of the page of ``1 << shift`` bytes that an address is in."""
    return (vaddr >> shift << shift) | shift


@inlined
def hash_of(tag: int, space: int) -> int:
    """Where to begin looking for a page: 32 bits."""
    return (((tag ^ (space * _ANOTHER & _ALL_ONES)) * _GOLDEN) & _ALL_ONES) >> 32


@native
def find(table: PageTable, tag: int, space: int) -> int:
    """The host address of the entry of a page, or of the free one where it belongs, whose tag is 0."""
    index = hash_of(tag, space) & table.mask
    entry = table.entries + index * ENTRY
    held = load64(entry)
    while held != 0 and (held != tag or load64(entry + SPACE) != space):
        index = (index + 1) & table.mask
        entry = table.entries + index * ENTRY
        held = load64(entry)
    return entry


@inlined
def take(table: PageTable, entry: int, tag: int, space: int) -> None:
    """Give a free entry to a page."""
    store64(entry, tag)
    store64(entry + SPACE, space)
    table.used += 1


@inlined
def has_room(table: PageTable) -> bool:
    """Whether another page may come: half of the table stays free."""
    return table.used * 2 <= table.mask


@native
def move_entries(old: PageTable, new: PageTable) -> None:
    """Copy the entries of a table to a larger one that is empty."""
    entry, end = old.entries, old.entries + (old.mask + 1) * ENTRY
    while entry < end:
        tag = load64(entry)
        if tag != 0:
            space = load64(entry + SPACE)
            place = find(new, tag, space)
            take(new, place, tag, space)
            store64(place + FIRST, load64(entry + FIRST))
            store64(place + SECOND, load64(entry + SECOND))
        entry += ENTRY
