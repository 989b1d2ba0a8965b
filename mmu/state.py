"""The MMU's state as one record that native hooks, reference hooks and Python all see at the same address."""

from __future__ import annotations

import ctypes
from enum import IntEnum


class Status(IntEnum):
    """How a walk or a fill ended.  Zero is success; the rest says what somebody has to do about it."""

    OK = 0
    PAGE_FAULT = 1
    GENERAL_PROTECTION = 2  # not canonical
    BUS = 3  # a table or page lies outside physical memory
    RING_FULL = 4  # events must be drained before the next one
    CODE_WRITTEN = 5  # a frame that holds translated code is about to become writable
    WRITTEN_CODE = 6  # a frame that may be written through the TLB is about to be executed


class MmuState(ctypes.Structure):
    """Registers, counters, the last walk's result, and where the event ring and the frame marks are (host addresses).

    Every field is a uint64.
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
    #: Address of uint64[12]: the reserved bits of an entry of level l, at 2*l for a table and 2*l+1 for a leaf.  At 0:
    #: the bits that make an entry of level 4, 3 or 2 anything but a plain one that refers to a table; at 1: as at 3.
    reserved: int
    asid: int  # who runs, for the events: the machine puts the pid here
    cpu: int
    clock: int  # instructions retired
    # the last walk
    status: int
    error_code: int
    paddr: int
    level: int
    rights: int
    every: int  # AND of all entries
    any: int  # OR of all entries
    leaf: int  # the leaf entry, before the walk touched it
    slots: int  # address of uint64[6]: the physical address of the entry read at each level
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
    # code coherence: per frame
    has_code: int  # address of uint8[frames]
    written_epoch: int  # address of uint32[frames]: the epoch (low half) of the last grant of W without X
    epoch: int  # counts TLB flushes
    large_epoch: int  # the epoch of the last fill from a 2M or 1G page
    physmap_open: int
    on_code: int  # address of fetched(vaddr, frame): called for each fill of a fetch, before its code is translated

    # the TLB model (exact mode): see mmu.tlb
    pcid: int
    tlb_number: int  # of arrays
    tlb_arrays: int  # address of their records
    #: Address of uint64[3][2][MAX_ARRAYS + 1]: the records of the arrays of an access and a level, then 0.
    tlb_lists: int
    tlb_shared: int  # address of uint64[3][4]: by access and page level, who else finds what such an access installs
    tlb_outcome: int  # of the last access: level that hit | walked << 8 | level of the structure-cache entry << 16
    tlb_time: int  # counts touches
    tlb_random: int  # state of xorshift64*
    inclusive: int
    smash_1g: int
    found_array: int  # what a lookup found: the array's record, and the index among its ways
    found_way: int
    psc: int  # address of uint64[6]: the structure cache of each level
    psc_entries: int  # address of uint64[6]: how many entries it has
    psc_lookups: int  # address of uint64[6]
    psc_hits: int  # address of uint64[6]
    walk_level: int  # where the next walk begins
    walk_table: int
    walk_every: int
    walk_any: int
    tlb_stats: int  # address of uint64[3][8], by access: see mmu.exact
    page_of: int  # address of uint64[windows][frames]: the page number that stands in a window for a frame, plus 1
    frames: int
    windows: int
    engine_cpu: int  # CPUState of the engine, 0 where there is none
    busy_page: int  # the page number that a store hook is about, plus 1; 0 where there is none
    late_page: int  # such a page, which Unicorn has to forget once the store is over
    second_page: int  # the second page of an access that crosses pages, plus 1, while it waits for a fault handler
    unsure: int  # a fill has walked: the model may hold a translation that the access cannot use
    pieces: int  # address of uint64[]: the 4K pieces of large pages that Unicorn may hold
    pieces_number: int
    engine_flush_page: int  # address of tlb_flush_page
    engine_flush: int  # address of tlb_flush
    engine_windows: int  # address of its TLB windows: see mmu.unicorn_abi.steady_tlb
    make_room: int  # address of a function that empties the event ring
    read_only: int  # a walk that must not set A and D
    check: int  # compare each hit with a fresh walk
    on_stale: int  # address of stale(vaddr, access): called for a hit that differs from the tables

    _fields_ = tuple((name, ctypes.c_uint64) for name in __annotations__)
