"""The event record, and how native code writes one."""

from __future__ import annotations

import ctypes
from enum import IntEnum
from typing import NamedTuple

from mmu.access_log import log_is_full
from mmu.entries import ADDRESS
from mmu.native import cold, inlined, load8, load32, load64, native
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
    NOTE = 8  # of whoever runs the MMU; and so is any number that is larger


class EventRecord(ctypes.Structure):
    """One event, 160 bytes."""

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
    rip: int  # of the instruction that runs; 0 where there is no engine
    time: int  # what whoever runs the MMU adds to the clock, and the clock
    tid: int
    first_pid: int  # WALK through a shared table: the process that had the page put into it, 0 where nobody said
    shared_level: int  # WALK: the level of the highest shared table that was read, 0 for none
    resolved: int  # FAULT: how, as whoever resolved it says; 0 for unknown
    cycles: int  # WALK, and ACCESS that hit in level 2: what it cost, where that is counted
    size: int  # ACCESS: bytes

    _fields_ = fields(
        __annotations__,
        **dict.fromkeys(("kind", "access", "level", "cpl", "shared_level", "resolved"), ctypes.c_uint8),
        **dict.fromkeys(("error_code", "asid", "cpu", "tid", "first_pid", "size"), ctypes.c_uint32),
        cycles=ctypes.c_uint16,
        entries=ctypes.c_uint64 * 5,
    )


class PlainFill(NamedTuple):
    """A fill of a page of 4K, and the entries of its walk."""

    access: int
    vaddr: int
    paddr: int
    rights: int
    pte: int
    pde: int
    pdpte: int
    pml4e: int


_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
RECORD_BYTES = ctypes.sizeof(EventRecord)
#: The most events that one fill may write; the ring is drained when less room is left.
HEADROOM = 16

assert RECORD_BYTES == 160


@native
def next_record(state: MmuState) -> EventRecord:
    """The record to be written next."""
    return EventRecord.from_address(state.ring + (state.ring_head & (state.ring_capacity - 1)) * RECORD_BYTES)


class EventFilter(ctypes.Structure):
    """Which events are recorded, of those whose kind is enabled.  Every field is a uint64."""

    low: int  # those that concern an address in [low, high]
    high: int
    begin: int  # those at these values of the clock, and without the last
    end: int
    levels: int  # walks and faults that end at these levels, as bits
    interval: int  # one event in so many, 1 for each
    random: int  # the state of the numbers by which these are chosen; not 0

    _fields_ = fields(__annotations__)


@cold
def passes(state: MmuState, kind: int, level: int, vaddr: int, length: int) -> bool:
    """Whether the filter lets an event pass; its numbers are those of a xorshift (Marsaglia, 2003)."""
    chosen = EventFilter.from_address(state.event_filter)
    clock = clock_of(state)
    if clock < chosen.begin or clock >= chosen.end:
        return False
    if kind != EventKind.CR3_LOAD and (kind != EventKind.FLUSH or length != 0):
        last = vaddr + length - 1 if length != 0 and kind == EventKind.FLUSH else vaddr
        if last < chosen.low or vaddr > chosen.high:
            return False
    if (kind == EventKind.WALK or kind == EventKind.FAULT) and (chosen.levels >> level) & 1 == 0:
        return False
    if chosen.interval == 1:
        return True
    random = chosen.random
    random ^= (random << 13) & _ALL_ONES
    random ^= random >> 7
    random ^= (random << 17) & _ALL_ONES
    chosen.random = random
    return (random >> 11) % chosen.interval == 0


@native
def _note_sharing(state: MmuState, record: EventRecord, paddr: int, mapped: bool) -> None:
    """Which of the tables that a walk has read are shared, and who had the page put there."""
    level = 5
    while level > 1 and record.shared_level == 0:
        frame = (record.entries[level - 1] & ADDRESS) >> 12
        if frame != 0 and frame << 12 < state.ram_bytes and load8(state.shared_tables + frame) != 0:
            record.shared_level = level - 1
        level -= 1
    if record.shared_level != 0 and mapped and paddr < state.ram_bytes:
        record.first_pid = load32(state.first_pids + (paddr >> 12) * 4)


@inlined
def _write_common(state: MmuState, record: EventRecord) -> None:
    """Where and when, and what only some events have; the clock of the record is set."""
    record.rip = load64(state.engine_rip) if state.engine_rip != 0 else 0
    record.time = record.clock + state.kernel_ns
    record.tid = state.tid
    record.first_pid = 0
    record.shared_level = 0
    record.resolved = 0
    record.cycles = 0
    record.size = 0


@native
def commit(state: MmuState, kind: int, access: int, level: int, error_code: int, vaddr: int, paddr: int) -> None:
    """Fill in what every event has, and make the next record one, if its kind is enabled.

    A walk has left its entries there, a change of A or D what it changed, and a flush how far it reaches.
    """
    if kind == EventKind.FAULT:
        state.last_fault = 0
    if (state.event_mask >> kind) & 1 == 0:
        return
    record = next_record(state)
    if state.event_filter != 0:
        if not passes(state, kind, level, vaddr, record.length if kind == EventKind.FLUSH else 0):
            return
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
        if kind != EventKind.FLUSH:
            record.length = 0
    _write_common(state, record)
    if kind == EventKind.ACCESS:
        record.size = state.access_bytes
    elif kind == EventKind.WALK and state.shared_tables != 0:
        _note_sharing(state, record, paddr, state.walked.rights != 0)
    elif kind == EventKind.FAULT:
        state.last_fault = state.ring_head + 1
    state.ring_head += 1


@native
def _write_fill(state: MmuState, record: EventRecord, fill: PlainFill) -> None:
    """Write what a walk and a fill have in common, and make the record the last."""
    record.seq = state.ring_head
    record.clock = clock_of(state)
    record.access = fill.access
    record.level = 1
    record.cpl = state.cpl
    record.error_code = 0
    record.asid = state.asid
    record.cpu = state.cpu
    record.cr3 = state.cr3
    record.vaddr = fill.vaddr
    record.paddr = fill.paddr
    record.rights = fill.rights
    record.old = 0
    record.new = 0
    record.length = 0
    _write_common(state, record)
    state.ring_head += 1


@native
def commit_fill(state: MmuState, fill: PlainFill) -> None:
    """What :func:`commit` makes of a walk of four levels that succeeds and sets nothing, and of the fill behind it,
    where no filter chooses."""
    if (state.event_mask >> EventKind.WALK) & 1 != 0:
        record = next_record(state)
        record.kind = EventKind.WALK
        record.entries[0] = fill.pte
        record.entries[1] = fill.pde
        record.entries[2] = fill.pdpte
        record.entries[3] = fill.pml4e
        record.entries[4] = 0
        _write_fill(state, record, fill)
        if state.shared_tables != 0:
            _note_sharing(state, record, fill.paddr, True)
    if (state.event_mask >> EventKind.FILL) & 1 != 0:
        record = next_record(state)
        record.kind = EventKind.FILL
        for word in range(5):
            record.entries[word] = 0
        _write_fill(state, record, fill)


@native
def say_resolved(state: MmuState, how: int) -> None:
    """The last FAULT has been resolved, as it is said in its record."""
    if state.last_fault != 0:
        at = state.ring + ((state.last_fault - 1) & (state.ring_capacity - 1)) * RECORD_BYTES
        EventRecord.from_address(at).resolved = how
        state.last_fault = 0


@native
def ring_is_full(state: MmuState) -> bool:
    """Whether the next fill might not find room for its events, or for its accesses in the log."""
    if state.event_mask == 0:
        return False
    return state.ring_head - state.ring_tail + HEADROOM > state.ring_capacity or log_is_full(state)
