"""The row of marks that an LRU stack is kept as: :mod:`emu.lab.distances` says what it is for.

The marks behind a place are counted by words of 64 places, groups of 64 words and blocks of 64 groups.
"""

from __future__ import annotations

import ctypes

from emu.lab.pagetags import ENTRY, FIRST, PageTable
from mmu.native import inlined, load64, native, store64
from mmu.state import fields

_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
_PAIRS, _FOURS, _BYTES, _ONES = (
    0x5555_5555_5555_5555,
    0x3333_3333_3333_3333,
    0x0F0F_0F0F_0F0F_0F0F,
    0x0101_0101_0101_0101,
)


class Stack(ctypes.Structure):
    """The LRU stack of one TLB, and what has been counted."""

    table: int  # the PageTable: FIRST is the place in the row, from 1 (0: not in the stack), SECOND the PCID
    marks: int  # bits: pages and holes
    holes: int  # bits: holes, which are marks too
    groups: int  # marks in each 64 words
    blocks: int  # marks in each 64 groups
    owners: int  # the entry of the page at each place, as its number from 1; 0 for a hole
    histogram: int  # how many accesses had each distance
    spaces: int  # by PCID, the address space that had it last, from 1
    places: int  # of the row
    head: int  # the next place
    marked: int  # pages and holes in the row
    open: int  # holes in the row
    above: int  # no hole is at this place or behind
    last_tag: int  # the page at the top
    last_space: int
    least_shift: int  # smaller pages count as of this size
    kinds: int  # bits: which kinds of access count
    vcpu: int  # whose accesses count, or ANY_VCPU
    faults: int  # 1: accesses to pages of no known size count, as of the least size
    controls: int  # 1: what invalidates is done
    cr3: int  # of the vCPU
    pcide: int  # CR4.PCIDE
    cold: int  # accesses that were COLD, INVALIDATED, or counted at all
    invalidated: int
    accesses: int
    taken: int  # of the batch, controls that have been done

    _fields_ = fields(__annotations__)


@inlined
def ones_in(word: int) -> int:
    """How many bits of a word are set."""
    word = word - ((word >> 1) & _PAIRS)
    word = (word & _FOURS) + ((word >> 2) & _FOURS)
    word = (word + (word >> 4)) & _BYTES
    return (word * _ONES & _ALL_ONES) >> 56


@native
def marks_behind(stack: Stack, place: int) -> int:
    """How many marks are behind this place."""
    word = place >> 6
    found = ones_in(load64(stack.marks + word * 8) >> (place & 63) >> 1)
    word += 1
    end = (stack.head + 63) >> 6
    stop = min((word + 63) >> 6 << 6, end)
    while word < stop:
        found += ones_in(load64(stack.marks + word * 8))
        word += 1
    if word < end:
        group, end = word >> 6, (stack.head + 4095) >> 12
        stop = min((group + 63) >> 6 << 6, end)
        while group < stop:
            found += load64(stack.groups + group * 8)
            group += 1
        if group < end:
            block, end = group >> 6, (stack.head + 262143) >> 18
            while block < end:
                found += load64(stack.blocks + block * 8)
                block += 1
    return found


@inlined
def add_to(address: int, number: int) -> None:
    """Add to a word."""
    store64(address, load64(address) + number)


@inlined
def set_mark(stack: Stack, place: int) -> None:
    """Put a mark where there is none."""
    word = stack.marks + (place >> 6) * 8
    store64(word, load64(word) | 1 << (place & 63))
    add_to(stack.groups + (place >> 12) * 8, 1)
    add_to(stack.blocks + (place >> 18) * 8, 1)


@inlined
def take_mark(stack: Stack, place: int) -> None:
    """Take a mark away."""
    word = stack.marks + (place >> 6) * 8
    store64(word, load64(word) ^ 1 << (place & 63))
    group, block = stack.groups + (place >> 12) * 8, stack.blocks + (place >> 18) * 8
    store64(group, load64(group) - 1)
    store64(block, load64(block) - 1)


@native
def open_hole(stack: Stack, place: int) -> None:
    """Make a hole of the mark at a place."""
    word = stack.holes + (place >> 6) * 8
    store64(word, load64(word) | 1 << (place & 63))
    store64(stack.owners + place * 8, 0)
    stack.open += 1
    stack.above = max(stack.above, place + 1)


@native
def topmost_hole(stack: Stack) -> int:
    """The place, from 1, of the last hole of the row; 0 where there is none."""
    if stack.open == 0:
        return 0
    word = (stack.above + 63) >> 6
    while word > 0:
        word -= 1
        bits = load64(stack.holes + word * 8)
        if bits != 0:
            bits |= bits >> 1
            bits |= bits >> 2
            bits |= bits >> 4
            bits |= bits >> 8
            bits |= bits >> 16
            bits |= bits >> 32
            stack.above = word * 64 + ones_in(bits)
            return stack.above
    return 0


@native
def fill_hole(stack: Stack, hole: int) -> None:
    """Take the hole at this place, from 1, and its mark away."""
    word = stack.holes + ((hole - 1) >> 6) * 8
    store64(word, load64(word) ^ 1 << ((hole - 1) & 63))
    stack.open -= 1
    stack.marked -= 1
    take_mark(stack, hole - 1)


@native
def compact(stack: Stack) -> None:
    """Move the marks together, in their order, so that the row has room again."""
    table = PageTable.from_address(stack.table)
    words, at, place = (stack.head + 63) >> 6, 0, 0
    while at < (stack.head + 4095) >> 12:
        store64(stack.groups + at * 8, 0)
        at += 1
    at = 0
    while at < (stack.head + 262143) >> 18:
        store64(stack.blocks + at * 8, 0)
        at += 1
    word, stack.open, stack.above = 0, 0, 0
    while word < words:
        marks, holes = load64(stack.marks + word * 8), load64(stack.holes + word * 8)
        store64(stack.marks + word * 8, 0)
        store64(stack.holes + word * 8, 0)
        while marks != 0:
            lowest = marks ^ (marks & (marks - 1))
            owner = load64(stack.owners + (word * 64 + ones_in(lowest - 1)) * 8)
            set_mark(stack, place)
            store64(stack.owners + place * 8, owner)
            if holes & lowest:
                open_hole(stack, place)
            else:
                store64(table.entries + (owner - 1) * ENTRY + FIRST, place + 1)
            place += 1
            marks ^= lowest
        word += 1
    stack.head = place
