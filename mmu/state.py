"""The MMU's state as one record that native hooks, reference hooks and Python all see at the same address."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from enum import IntEnum
from typing import Any

from mmu.native import native

WordArray = ctypes.Array[ctypes.c_uint64]


class Status(IntEnum):
    """How a walk or a fill ended.  Zero is success; any other value says what has to be done."""

    OK = 0
    PAGE_FAULT = 1
    GENERAL_PROTECTION = 2  # not canonical
    BUS = 3  # a table or page lies outside physical memory
    RING_FULL = 4  # events must be drained before the next one
    CODE_WRITTEN = 5  # a frame that holds translated code is about to become writable
    WRITTEN_CODE = 6  # a frame that may be written through the TLB is about to be executed
    CR3_WRITTEN = 7  # a guest at CPL 0 has written CR3, unseen
    FETCHED_AHEAD = 8  # code of the next page cannot be fetched, and the code before it has not run


def fields(annotations: Iterable[str], **others: Any) -> list[tuple[str, Any]]:
    """The fields of a record that has these annotations: each a uint64, except ``others``, whose C types are given."""
    return [(name, others.get(name, ctypes.c_uint64)) for name in annotations]


class Walked(ctypes.Structure):
    """The result of a walk.  Before a fill answers: the translation of its answer, which the TLB model may hold."""

    error_code: int  # of a page fault
    paddr: int
    level: int  # of the leaf entry, or of the one that made the walk fault
    rights: int  # of the current mode; no write before D is set
    every: int  # AND of all entries
    any_xd: int  # OR of all entries, of which XD counts
    leaf: int  # the leaf entry, before the walk touched it

    _fields_ = fields(__annotations__)


class FailedWalk(ctypes.Structure):
    """The last walk that ended in a page fault: from which level to which, and at each one the physical address of the
    entry that was read, and its value."""

    top: int
    lowest: int
    slots: WordArray
    values: WordArray

    _fields_ = fields(__annotations__, slots=ctypes.c_uint64 * 6, values=ctypes.c_uint64 * 6)


class LastAccess(ctypes.Structure):
    """The TLB model's handling of the last access."""

    level: int  # the TLB level that hit, 0 for none
    walked: int
    start: int  # if so: the level of the structure-cache entry from which, 0 for CR3
    array: int  # the address of the record of the array that hit, and the place there
    place: int

    _fields_ = fields(__annotations__, level=ctypes.c_uint32, walked=ctypes.c_uint32)


class CodeView(ctypes.Structure):
    """Where an address space has the code of a page.  Every field is a uint64."""

    page: int  # its number plus 1
    space: int
    frame: int

    _fields_ = fields(__annotations__)


#: How many there are; direct-mapped by :func:`mmu.hooks.view_of`.
CODE_VIEWS = 1 << 12
CODE_VIEW_BYTES = ctypes.sizeof(CodeView)


#: Of those who count instructions ahead, and of words of which another module says what they are.
UNUSED, COUNTING_WORDS = 8, 6


class MmuState(ctypes.Structure):
    """Registers, counters, the result of the last walk, and host addresses of everything else.

    Every field is a uint64, except the records and arrays of uint64 inside.
    """

    # memory and registers
    ram: int
    ram_bytes: int
    cr0: int
    cr3: int
    cr4: int
    efer: int
    cpl: int
    ac: int
    pkru: int
    pkrs: int
    implicit: int  # data accesses are implicit supervisor accesses
    maxphyaddr: int
    reserved: WordArray  # the bits that must be 0 in an entry of level l: at 2*l for a table, at 2*l+1 for a leaf
    unusual: int  # the bits that make an entry of level 4, 3 or 2 anything but a plain one that refers to a table
    asid: int  # the process that runs, for the events: the machine stores the pid here
    cpu: int
    granted: int  # instructions retired, and those that code which counts itself may still run
    unused: WordArray  # the latter, by place
    lent: int  # whether there are any
    counting: WordArray  # words of whoever counts them
    # the last walk
    status: int
    walked: Walked
    slots: WordArray  # by level: the physical address of the entry that was read
    failed: FailedWalk
    # counters
    plain_fills: int  # each with a walk of four entries; counted in none of the others
    fills: int
    walks: int
    walk_loads: int
    page_faults: int
    ad_updates: int
    flushes: int
    cr3_loads: int
    # the event ring
    ring: int
    ring_capacity: int
    ring_head: int
    ring_tail: int
    event_mask: int
    event_filter: int  # address of an EventFilter; 0: every event of those kinds
    kernel_ns: int  # what is added to the clock for the time of an event
    tid: int  # the thread that runs, for the events
    last_fault: int  # the number of the last FAULT event plus 1
    shared_tables: int  # address of uint8[frames]: whether the table there is shared; 0: nobody says
    first_pids: int  # address of uint32[frames]: which process had the frame put into a shared table
    access_bytes: int  # of the access that is modelled
    # code coherence: per frame
    has_code: int  # address of uint8[frames]
    written_epoch: int  # address of uint32[frames]: the epoch (low half) of the last grant of W without X
    epoch: int  # counts TLB flushes
    large_epoch: int  # the epoch of the last fill from a 2M or 1G page
    code_epoch: int  # and of the last one whose translation may be executed
    physmap_open: int
    #: Address of fetched(vaddr, frame): called for each fill of a fetch at CPL 0, before its code is translated.
    on_code: int
    watch_code: int  # and at any CPL
    engine_cr3: int  # address of the engine's own CR3
    #: Who knows the code: address of CodeView[CODE_VIEWS] (0: nobody), of the number of the address space, and of
    #: seen(vaddr, frame, written): called before code of a page is translated that is not among them, and before a
    #: frame with code can be written unseen.
    code_views: int
    code_view: int
    on_code_view: int
    #: Address of resolve(record, vaddr, access), asked in filtered mode when a walk has made a page fault: not 0 if the
    #: tables have been changed so that another walk succeeds.  0: nobody, and Python is asked.
    on_fault: int
    fault_record: int
    fetched: int  # the address of a block of which the fetch has been counted already, plus 1; else 0

    # the TLB model (exact mode): see mmu.tlb
    pcid: int
    tlb_number: int  # of arrays
    tlb_arrays: int  # address of TlbArray[]
    #: Address of uint64[3][2][MAX_ARRAYS + 1]: the addresses of the arrays of an access and a level, then 0.
    tlb_lists: int
    #: Address of uint64[3][4]: by access and page level, who else finds what such an access installs; at level 0, who
    #: looks into the same arrays.
    tlb_shared: int
    small_pages: int  # address of SmallPages[3], by access
    tlb_time: int  # counts touches
    tlb_random: int  # state of xorshift64*
    inclusive: int
    smash_1g: int
    prefetch_next: int  # after a walk for data the next page of 4K enters the second level too
    coalesce: int  # of how many pages of 4K arrays hold one translation; 1: of none
    coalesced_before: int  # an array that does so is looked up before one that does not
    structure_caches: int  # address of StructureCache[6], by level
    access_counts: int  # address of AccessCounts[3], by access
    last_access: LastAccess
    walk_cost: int  # address of a mmu.walk_cost.WalkCost; 0: nobody asks what translations cost
    #: The level of the second dimension's leaf entries, above which no translation is held; 0: there is none.
    nested_level: int
    smashed: int  # pieces of a larger page have been installed
    page_of: int  # address of uint64[windows][frames]: the page number that stands in a window for a frame, plus 1
    frames: int
    windows: int
    engine_cpu: int  # CPUState of the engine, 0 where there is none
    busy_page: int  # the page number of a store hook under way, plus 1; 0 where there is none
    late_page: int  # the same, if Unicorn must forget the page once the store is over
    second_page: int  # the second page of an access that crosses pages, plus 1, while it waits for a fault handler
    unsure: int  # a fill has walked: the model may hold a translation that the access cannot use
    pieces: int  # address of uint64[]: the 4K pieces of large pages that Unicorn may hold
    pieces_number: int
    engine_flush_page: int  # address of tlb_flush_page
    engine_flush: int  # address of tlb_flush
    engine_windows: int  # address of its TLB windows: see mmu.unicorn_abi.steady_tlb
    make_room: int  # address of a function that empties the event ring
    access_log: int  # address of an AccessLog; 0: nobody keeps one
    read_only: int  # a walk that must not set A and D
    check: int  # compare each hit with a fresh walk
    on_stale: int  # address of stale(vaddr, access): called for a hit that differs from the tables

    # the instruction that runs: see mmu.instruction
    engine_rip: int  # address of the engine's own RIP; 0 where there is no engine
    opcodes: int  # address of uint32[4][4][256]: the opcode map
    decoded: int  # address of Decoded[]
    code_pages: int  # address of CodePage[]
    code_fetches: int  # counts changes of those
    access: int  # what the access of the last fill is on a processor
    holds_back: int  # code of the next page is to be fetched when all before it has run
    crossing: int  # an instruction that really has its end in the next page
    update_page: int  # as late_page, for a page that an instruction loads from only as it is going to write there
    first_part: int  # where the access begins that waits for ``second_page``
    undo_at: int  # host address of 8 bytes that a part of it overwrites; 0 where there is none
    undo_value: int  # and what they were
    next_piece: int  # where the engine would access the rest of an operand of 16 bytes
    piece_rip: int  # for which instruction
    last_end: int  # the end of the block that was fetched last
    offset: int  # in its page, of the access for which our own helper has the engine fill

    _fields_ = fields(
        __annotations__,
        walked=Walked,
        failed=FailedWalk,
        last_access=LastAccess,
        reserved=ctypes.c_uint64 * 12,
        slots=ctypes.c_uint64 * 6,
        unused=ctypes.c_uint64 * UNUSED,
        counting=ctypes.c_uint64 * COUNTING_WORDS,
    )

    @property
    def clock(self) -> int:
        """Instructions retired."""
        return self.granted - sum(self.unused) if self.lent else self.granted

    @clock.setter
    def clock(self, retired: int) -> None:
        self.granted = retired + sum(self.unused)


@native
def clock_of(state: MmuState) -> int:
    """Instructions retired."""
    unused = state.unused
    return state.granted - (
        unused[0] + unused[1] + unused[2] + unused[3] + unused[4] + unused[5] + unused[6] + unused[7]
    )
