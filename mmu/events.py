"""The event record, and how native code writes one."""

from __future__ import annotations

import ctypes
from enum import IntEnum

from mmu.native import native
from mmu.state import MmuState, WordArray, clock_of, fields


class EventKind(IntEnum):
    """What an event record says."""

    FILL = 1  # Unicorn asked for a translation and got one
    WALK = 2  # a page walk, with the entry read at every level
    FAULT = 3  # a page fault: error code and address (CR2)
    ACCESSED_DIRTY = 4  # an entry got A or D: where, before, after
    FLUSH = 5  # translations were invalidated: a range, or all
    CR3_LOAD = 6
    ACCESS = 7  # exact mode: a data access or a fetch; ``level``: TLB level 1 or 2 where it hit, 0: a walk follows


class EventRecord(ctypes.Structure):
    """One event, 128 bytes."""

    seq: int
    clock: int
    kind: int
    access: int
    level: int
    cpl: int
    error_code: int
    asid: int
    cpu: int
    cr3: int
    vaddr: int
    paddr: int
    rights: int
    entries: WordArray  # at k: the entry read at level k + 1, 0 where none was
    old: int
    new: int
    length: int

    _fields_ = fields(
        __annotations__,
        **dict.fromkeys(("kind", "access", "level", "cpl"), ctypes.c_uint8),
        **dict.fromkeys(("error_code", "asid", "cpu"), ctypes.c_uint32),
        entries=ctypes.c_uint64 * 5,
    )


RECORD_BYTES = ctypes.sizeof(EventRecord)
#: The most events that one fill may write; the ring is drained when less room is left.
HEADROOM = 16

assert RECORD_BYTES == 128


@native
def next_record(state: MmuState) -> EventRecord:
    """The record to be written next."""
    return EventRecord.from_address(state.ring + (state.ring_head & (state.ring_capacity - 1)) * RECORD_BYTES)


@native
def commit(state: MmuState, kind: int, access: int, level: int, error_code: int, vaddr: int, paddr: int) -> None:
    """Fill in what every event has, and make the next record one, if its kind is enabled.

    A walk has left its entries there, and a change of A or D what it changed.
    """
    if (state.event_mask >> kind) & 1 == 0:
        return
    record = next_record(state)
    record.seq = state.ring_head
    record.clock = clock_of(state)
    record.kind = kind
    record.access = access
    record.level = level
    record.cpl = state.cpl
    record.error_code = error_code
    record.asid = state.asid
    record.cpu = state.cpu
    record.cr3 = state.cr3
    record.vaddr = vaddr
    record.paddr = paddr
    record.rights = state.walked.rights
    if kind != EventKind.WALK:
        for word in range(5):
            record.entries[word] = 0
    if kind != EventKind.ACCESSED_DIRTY:
        record.old = 0
        record.new = 0
        record.length = 0
    state.ring_head += 1


@native
def ring_is_full(state: MmuState) -> bool:
    """Whether the next fill might not find room for its events."""
    return state.event_mask != 0 and state.ring_head - state.ring_tail + HEADROOM > state.ring_capacity
