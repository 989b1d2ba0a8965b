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
    maxphyaddr: int
    asid: int  # who runs, for the events: the machine puts the pid here
    cpu: int
    clock: int  # instructions retired
    # the last walk
    status: int
    error_code: int
    paddr: int
    level: int
    rights: int
    slots: int  # address of uint64[6]: the physical address of the entry read at each level
    # counters
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

    _fields_ = tuple((name, ctypes.c_uint64) for name in __annotations__)
