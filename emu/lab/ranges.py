"""What large pages would save, in one pass: of each large page that there could be, the small ones that are used."""

from __future__ import annotations

import ctypes

from emu.lab.distances import LEFT_OUT, Accesses
from emu.lab.pagetags import hash_of
from mmu.native import entry, inlined, load8, load32, load64, native, store64
from mmu.state import fields

#: Words of an entry: the first address with the shift below, the address space, and what is counted of it.
TAG, SPACE, ACCESSES, SMALL, LARGE, PIECES, MAP = 0, 1, 2, 3, 4, 5, 8
ENTRY_WORDS = 16


class Ranges(ctypes.Structure):
    """A hash table of ranges: 512 small pages each, which one large page would be."""

    entries: int  # a power of two of them, less one
    mask: int
    used: int
    shift: int  # of a small page
    size: int  # entries of the TLB: an access misses if its distance is no less

    _fields_ = fields(__annotations__)


@native
def find_range(ranges: Ranges, tag: int, space: int) -> int:
    """The host address of the entry of a range, or of the free one where it belongs."""
    index = hash_of(tag, space) & ranges.mask
    at = ranges.entries + index * (ENTRY_WORDS * 8)
    while load64(at) != 0 and (load64(at) != tag or load64(at + SPACE * 8) != space):
        index = (index + 1) & ranges.mask
        at = ranges.entries + index * (ENTRY_WORDS * 8)
    return at


@inlined
def count_one(word: int, number: int) -> None:
    """Add to a word."""
    store64(word, load64(word) + number)


@entry("u64", Ranges, Accesses, "u64", "u64", "u64")
def count_ranges(ranges: Ranges, columns: Accesses, count: int, small: int, large: int) -> int:
    """Take ``count`` accesses, whose distances with small and with large pages are in two arrays of uint64.

    Returns how many were taken: less than ``count`` where the table must grow first.
    """
    index, last_tag, last_space, at = 0, 0, 0, 0
    while index < count:
        distance = load64(small + index * 8)
        if distance != LEFT_OUT and load8(columns.shift + index) <= ranges.shift:
            vaddr, space = load64(columns.vaddr + index * 8), load32(columns.space + index * 4)
            tag = (vaddr >> (ranges.shift + 9) << (ranges.shift + 9)) | (ranges.shift + 9)
            if tag != last_tag or space != last_space:
                if ranges.used * 2 > ranges.mask:
                    return index
                at = find_range(ranges, tag, space)
                if load64(at) == 0:
                    store64(at, tag)
                    store64(at + SPACE * 8, space)
                    ranges.used += 1
                last_tag, last_space = tag, space
            count_one(at + ACCESSES * 8, 1)
            if distance >= ranges.size:
                count_one(at + SMALL * 8, 1)
            if load64(large + index * 8) >= ranges.size:
                count_one(at + LARGE * 8, 1)
            piece = (vaddr >> ranges.shift) & 511
            word, bit = at + (MAP + (piece >> 6)) * 8, 1 << (piece & 63)
            if load64(word) & bit == 0:
                store64(word, load64(word) | bit)
                count_one(at + PIECES * 8, 1)
        index += 1
    return count


@entry("void", Ranges, Ranges)
def move_ranges(old: Ranges, new: Ranges) -> None:
    """Copy the entries of a table to a larger one that is empty."""
    at, end = old.entries, old.entries + (old.mask + 1) * (ENTRY_WORDS * 8)
    while at < end:
        if load64(at) != 0:
            to, word = find_range(new, load64(at), load64(at + SPACE * 8)), 0
            while word < ENTRY_WORDS:
                store64(to + word * 8, load64(at + word * 8))
                word += 1
            new.used += 1
        at += ENTRY_WORDS * 8
