"""The native loop that finds the accesses of a stream in page tables that are given."""

from __future__ import annotations

import ctypes

from emu.lab.page_policy_loop import CONTROL_BYTES
from mmu.access_log import Op
from mmu.entries import PS, P
from mmu.faults import ErrorCode
from mmu.native import entry, load8, load64, native, store8, store32, store64
from mmu.state import MmuState, Status, fields
from mmu.walk import canonical, levels, root, walk_from

#: How many pages the loop remembers; and the words of each: address of the page, CR3, size and the kinds of access.
REMEMBERED, KNOWN_WORDS = 1 << 12, 3
#: For each frame of memory: which of its 64 lines have been told, and whether it is a table that is given.
FRAME_BYTES = 16
#: The most entries that one access needs: a line of each level.
MOST = 5 * 8
_LINE_BYTES = 64
_PAGE_MASK = 0xFFFF_FFFF_FFFF_F000
_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF

#: What becomes of an access: it is found, or left out since its page is not mapped, it is not allowed there, a table on
#: the way to it is not given, or its process has no tables; or it is of no address.
FOUND, NOT_MAPPED, NOT_ALLOWED, NO_TABLE, NO_SPACE, NOT_CANONICAL = range(6)


class TableReader(ctypes.Structure):
    """The tables, and what has been told of them.  Every field is a uint64."""

    state: int  # address of an MmuState, whose memory has the tables, and whose walks set nothing
    frames: int  # address of FRAME_BYTES for each frame of that memory
    known: int  # address of uint64[REMEMBERED][KNOWN_WORDS]
    controls: int  # address of the controls, and how many there may be, and are
    capacity: int
    made: int
    kept: int  # of the batch, the accesses that were found
    kinds: int  # addresses of the bytes of the batch: kinds of access; and, to be filled in, log2 of the pages' sizes,
    shifts: int  # 0 of what is left out,
    outcomes: int  # and what becomes of each

    _fields_ = fields(__annotations__)


@native
def _tell_line(reader: TableReader, state: MmuState, slot: int) -> None:
    """Say what is in the line of an entry, if that was not said before."""
    frame = reader.frames + (slot >> 12) * FRAME_BYTES
    told, bit = load64(frame), 1 << ((slot >> 6) & 63)
    if told & bit != 0:
        return
    store64(frame, told | bit)
    at = slot & (_ALL_ONES ^ (_LINE_BYTES - 1))
    end = at + _LINE_BYTES
    while at < end:
        value = load64(state.ram + at)
        if value != 0:
            control = reader.controls + reader.made * CONTROL_BYTES
            store64(control, at)
            store64(control + 8, value)
            store32(control + 16, reader.kept)
            store32(control + 20, Op.ENTRY)
            reader.made += 1
        at += 8


@native
def _missing(reader: TableReader, state: MmuState, vaddr: int) -> bool:
    """Whether the walk comes to a table that is not given."""
    level, table = levels(state), root(state).table
    while True:
        if table >= state.ram_bytes or load64(reader.frames + (table >> 12) * FRAME_BYTES + 8) == 0:
            return True
        value = load64(state.ram + (table | (((vaddr >> (12 + 9 * (level - 1))) & 511) << 3)))
        if value & P == 0 or level == 1 or (level < 4 and value & PS != 0):
            return False
        table = value & 0x000F_FFFF_FFFF_F000
        level -= 1


@native
def _look(reader: TableReader, state: MmuState, vaddr: int, access: int) -> int:
    """Walk to an address and tell the entries on the way; what becomes of the access."""
    if not canonical(state, vaddr):
        return NOT_CANONICAL
    top = levels(state)
    status = walk_from(state, vaddr, access, root(state))
    if status != Status.OK:
        if _missing(reader, state, vaddr):
            return NO_TABLE
        return NOT_MAPPED if state.walked.error_code & ErrorCode.P == 0 else NOT_ALLOWED
    level = state.walked.level
    while level <= top:
        _tell_line(reader, state, state.slots[level])
        level += 1
    return FOUND


@entry("u64", TableReader, "u64", "u64", "u64")
def look_up(reader: TableReader, vaddrs: int, begin: int, end: int) -> int:
    """Look up the accesses from number ``begin`` to ``end``, of uint64 addresses, in the tables of CR3.  Returns the
    number of the first that was left, since there was no room for the controls, or that is of no address."""
    state = MmuState.from_address(reader.state)
    i = begin
    while i < end:
        vaddr, access = load64(vaddrs + i * 8), load8(reader.kinds + i)
        page = vaddr & _PAGE_MASK
        known = reader.known + ((page >> 12) & (REMEMBERED - 1)) * (KNOWN_WORDS * 8)
        here = load64(known) == page and load64(known + 8) == state.cr3
        word = load64(known + 16) if here else 0
        if (word >> access) & 1 == 0:
            if reader.made + MOST > reader.capacity:
                return i
            outcome = _look(reader, state, vaddr, access)
            if outcome != FOUND:
                if outcome == NOT_CANONICAL:
                    return i
                store8(reader.outcomes + i, outcome)
                i += 1
                continue
            word |= (12 + 9 * (state.walked.level - 1)) << 8 | 1 << access
            store64(known, page)
            store64(known + 8, state.cr3)
            store64(known + 16, word)
        store8(reader.shifts + i, word >> 8)
        reader.kept += 1
        i += 1
    return i
