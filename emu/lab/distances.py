"""Stack distances in one pass over accesses, exactly: Mattson's LRU stack (IBM Systems Journal 9(2), 1970).

The stack is a row of marks: each access puts its page at the end of the row, and its mark from before goes.  A page's
distance is the number of marks behind its own.  Where the row is full, the marks move together; so memory depends on
the number of pages and not on that of accesses.

What is invalidated leaves a free place, a *hole*.  A fully associative TLB that misses uses a free entry before it
evicts, so a page that comes from depth k takes the topmost hole above k, whose place in the row moves to k: that is
right for every size of the TLB at once.  (A smaller TLB has no part in the hole, a larger one hits and keeps it.)
"""

from __future__ import annotations

import ctypes

from emu.lab.batch import EVERY_PCID, Op, Register
from emu.lab.pagetags import (
    ENTRY,
    FIRST,
    SECOND,
    SPACE,
    PageTable,
    find,
    has_room,
    hash_of,
    move_entries,
    page_tag,
    take,
)
from emu.lab.row import (
    Stack,
    add_to,
    compact,
    fill_hole,
    marks_behind,
    open_hole,
    set_mark,
    take_mark,
    topmost_hole,
)
from mmu.native import entry, inlined, load8, load32, load64, lowest_bit, native, prefetch, store64
from mmu.registers import CR4, PCID_MASK
from mmu.state import fields

#: In place of a distance: the page was never seen before; it was invalidated since.
COLD = 0xFFFF_FFFF_FFFF_FFFF
INVALIDATED = 0xFFFF_FFFF_FFFF_FFFE
#: In place of a distance: the access was left out, by its kind or vCPU, or because it faulted.
LEFT_OUT = 0xFFFF_FFFF_FFFF_FFFD
#: For the vCPU: any.
ANY_VCPU = 0x100
#: Of a PCID: any.
ANY_PCID = 0x1000

_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
#: How many accesses before its turn a page is looked for.
_AHEAD = 12
#: Bytes of a control, and where its fields are (emu.lab.batch.CONTROL).
CONTROL_BYTES = 24
_B, _AT, _OP, _VCPU = 8, 16, 20, 21
_PCIDE = CR4.PCIDE
#: The sizes of pages that an address may lie in.
_K4, _M2, _G1 = 12, 21, 30


class Accesses(ctypes.Structure):
    """The columns of a batch, from an access on, as host addresses, and what is left of its controls."""

    vaddr: int  # uint64
    kind: int  # uint8
    space: int  # uint32
    pcid: int  # uint16
    vcpu: int  # uint8
    shift: int  # uint8
    controls: int
    number: int  # of controls
    before: int  # accesses of the batch that have been taken before

    _fields_ = fields(__annotations__)


@native
def push(stack: Stack, table: PageTable, page: int, pcid: int) -> None:
    """Put the page of an entry at the top of the stack."""
    place = stack.head
    set_mark(stack, place)
    store64(stack.owners + place * 8, (page - table.entries) // ENTRY + 1)
    store64(page + FIRST, place + 1)
    store64(page + SECOND, pcid)
    stack.head = place + 1
    stack.marked += 1


@native
def drop(stack: Stack, page: int) -> None:
    """Take the page of an entry out of the stack, if it is there."""
    place = load64(page + FIRST)
    if place != 0:
        store64(page + FIRST, 0)
        open_hole(stack, place - 1)
        if load64(page) == stack.last_tag and load64(page + SPACE) == stack.last_space:
            stack.last_tag = 0


@native
def distance_of(stack: Stack, table: PageTable, tag: int, space: int, pcid: int) -> int:
    """An access to a page that is not at the top: its distance, COLD or INVALIDATED."""
    page = find(table, tag, space)
    distance = COLD
    if load64(page) == 0:
        take(table, page, tag, space)
        stack.cold += 1
    else:
        if load64(page + SECOND) != pcid and stack.controls != 0:
            drop(stack, page)  # held for another PCID, by which nobody looks for it any more
        place = load64(page + FIRST)
        if place == 0:
            distance = INVALIDATED
            stack.invalidated += 1
        else:
            distance = marks_behind(stack, place - 1)
            add_to(stack.histogram + distance * 8, 1)
    hole = topmost_hole(stack)
    if distance >= INVALIDATED:
        if hole != 0:
            fill_hole(stack, hole)
    elif hole > load64(page + FIRST):
        fill_hole(stack, hole)
        open_hole(stack, load64(page + FIRST) - 1)
    else:
        take_mark(stack, load64(page + FIRST) - 1)
        stack.marked -= 1
    push(stack, table, page, pcid)
    return distance


@inlined
def look_ahead(stack: Stack, table: PageTable, columns: Accesses, index: int) -> None:
    """Have the host's CPU fetch the entry of the page of a later access."""
    tag = page_tag(load64(columns.vaddr + index * 8), max(load8(columns.shift + index), stack.least_shift))
    prefetch(table.entries + (hash_of(tag, load32(columns.space + index * 4)) & table.mask) * ENTRY)


@inlined
def counts(stack: Stack, columns: Accesses, index: int) -> bool:
    """Whether an access counts."""
    if (stack.kinds >> load8(columns.kind + index)) & 1 == 0 or load8(columns.shift + index) + stack.faults == 0:
        return False
    return stack.vcpu == ANY_VCPU or stack.vcpu == load8(columns.vcpu + index)


@entry("u64", Stack, Accesses, "u64", "u64")
def stack_distances(stack: Stack, columns: Accesses, count: int, distances: int) -> int:
    """Take ``count`` accesses, and write the distance of each to the host address ``distances`` unless that is 0.

    Returns how many were taken: less than ``count`` where the table or the row must grow first.  ``stack.taken`` says
    how many controls were done.
    """
    table = PageTable.from_address(stack.table)
    index, stack.taken = 0, 0
    ahead = due(stack, columns)
    while index < count:
        if index >= ahead:
            ahead = do_controls(stack, table, columns, index)
        distance = LEFT_OUT
        if counts(stack, columns, index):
            tag = page_tag(load64(columns.vaddr + index * 8), max(load8(columns.shift + index), stack.least_shift))
            space = load32(columns.space + index * 4)
            if tag == stack.last_tag and space == stack.last_space:
                distance = 0
                add_to(stack.histogram, 1)
            else:
                if stack.head == stack.places:
                    if stack.marked * 2 > stack.places:
                        return index
                    compact(stack)
                if not has_room(table):
                    return index
                if index + _AHEAD < count:
                    look_ahead(stack, table, columns, index + _AHEAD)
                pcid = load8(columns.pcid + index * 2) | load8(columns.pcid + index * 2 + 1) << 8
                distance = distance_of(stack, table, tag, space, pcid)
                store64(stack.spaces + (pcid & PCID_MASK) * 8, space + 1)
                stack.last_tag = tag
                stack.last_space = space
            stack.accesses += 1
        if distances != 0:
            store64(distances + index * 8, distance)
        index += 1
    if index >= ahead:
        do_controls(stack, table, columns, index)
    return count


# -- what invalidates --------------------------------------------------------------------------------------------------


@inlined
def due(stack: Stack, columns: Accesses) -> int:
    """Before which access of these the next control happened; none of them if there is none."""
    if stack.taken == columns.number:
        return _ALL_ONES
    return load32(columns.controls + stack.taken * CONTROL_BYTES + _AT) - columns.before


@native
def do_controls(stack: Stack, table: PageTable, columns: Accesses, index: int) -> int:
    """Do the controls that happened before an access; returns when the next one is due."""
    while due(stack, columns) <= index:
        control = columns.controls + stack.taken * CONTROL_BYTES
        if stack.vcpu == ANY_VCPU or stack.vcpu == load8(control + _VCPU) or load8(control + _OP) == Op.REGISTER:
            do_control(stack, table, load8(control + _OP), load64(control), load64(control + _B))
        stack.taken += 1
    return due(stack, columns)


@native
def do_control(stack: Stack, table: PageTable, op: int, a: int, b: int) -> None:
    """Do one of an emu.lab.batch.Op, with its operands."""
    if op == Op.CR3:
        stack.cr3 = a
        stack.last_tag = 0
    elif op == Op.REGISTER:
        if a == Register.CR4:
            stack.pcide = 1 if b & _PCIDE else 0
    elif stack.controls != 0:
        if op == Op.INVLPG:
            drop_page(stack, table, a, stack.cr3 & PCID_MASK if stack.pcide else 0)
        elif op == Op.INVPCID or op == Op.PAGE_FAULT:
            drop_page(stack, table, a, b & PCID_MASK)
        elif op == Op.INVALIDATE:
            if b & EVERY_PCID:
                drop_everything(stack, table)
            else:
                drop_pcid(stack, table, a & PCID_MASK)


@native
def drop_page(stack: Stack, table: PageTable, vaddr: int, pcid: int) -> None:
    """The page that an address is in, whatever its size, is invalidated for a PCID."""
    space = load64(stack.spaces + pcid * 8)
    if space != 0:
        drop_page_of(stack, table, page_tag(vaddr, max(_K4, stack.least_shift)), space - 1, pcid)
        if stack.least_shift < _M2:
            drop_page_of(stack, table, page_tag(vaddr, _M2), space - 1, pcid)
        if stack.least_shift < _G1:
            drop_page_of(stack, table, page_tag(vaddr, _G1), space - 1, pcid)


@native
def drop_page_of(stack: Stack, table: PageTable, tag: int, space: int, pcid: int) -> None:
    """A page is invalidated for a PCID."""
    page = find(table, tag, space)
    if load64(page) != 0 and load64(page + SECOND) == pcid:
        drop(stack, page)


@inlined
def marks_of_pages(stack: Stack, word: int) -> int:
    """A word of the marks, without those of holes."""
    return load64(stack.marks + word * 8) & (_ALL_ONES ^ load64(stack.holes + word * 8))


@inlined
def page_of_mark(stack: Stack, table: PageTable, word: int, marks: int) -> int:
    """The entry of the page that has the lowest of these marks of a word."""
    owner = load64(stack.owners + (word * 64 + lowest_bit(marks)) * 8)
    return table.entries + (owner - 1) * ENTRY


@native
def drop_pcid(stack: Stack, table: PageTable, pcid: int) -> None:
    """Everything of a PCID is invalidated."""
    word, words = 0, (stack.head + 63) >> 6
    while word < words:
        marks = marks_of_pages(stack, word)
        while marks != 0:
            page = page_of_mark(stack, table, word, marks)
            marks &= marks - 1
            if load64(page + SECOND) == pcid:
                drop(stack, page)
        word += 1


@native
def drop_everything(stack: Stack, table: PageTable) -> None:
    """Everything is invalidated: the stack is empty."""
    word, words = 0, (stack.head + 63) >> 6
    while word < words:
        marks = marks_of_pages(stack, word)
        while marks != 0:
            store64(page_of_mark(stack, table, word, marks) + FIRST, 0)
            marks &= marks - 1
        store64(stack.marks + word * 8, 0)
        store64(stack.holes + word * 8, 0)
        word += 1
    at = 0
    while at < (stack.head + 4095) >> 12:
        store64(stack.groups + at * 8, 0)
        at += 1
    at = 0
    while at < (stack.head + 262143) >> 18:
        store64(stack.blocks + at * 8, 0)
        at += 1
    stack.head, stack.marked, stack.open, stack.above, stack.last_tag = 0, 0, 0, 0, 0


@entry("void", Stack, PageTable)
def move_table(stack: Stack, new: PageTable) -> None:
    """Move to a larger table of pages: their places in the row stay, and what owns each place is told."""
    move_entries(PageTable.from_address(stack.table), new)
    page, number = new.entries, 1
    while number <= new.mask + 1:
        place = load64(page + FIRST)
        if place != 0:
            store64(stack.owners + (place - 1) * 8, number)
        page += ENTRY
        number += 1
