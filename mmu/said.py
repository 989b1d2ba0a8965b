"""Events that Python tells of, written to the ring natively."""

from __future__ import annotations

import ctypes

from mmu.events import HEADROOM, EventRecord, next_record, passes
from mmu.native import entry, load64, native
from mmu.state import MmuState, WordArray, clock_of, fields

#: Of a note's words those that are entries.
ENTRIES = 5


class Said(ctypes.Structure):
    """What is said of an event.  Every field is a uint64.

    An event of the MMU has ``kind``, ``vaddr``, ``paddr``, ``old``, ``new`` and ``length``; a note has all others.
    """

    vaddr: int
    paddr: int
    old: int
    length: int
    kind: int
    new: int
    asid: int
    tid: int
    code: int
    size: int
    words: WordArray  # entry_1 to entry_5, and old
    state: int  # address of the MmuState

    _fields_ = fields(__annotations__, words=ctypes.c_uint64 * (ENTRIES + 1))


@native
def _is_room(state: MmuState) -> bool:
    """Whether there is room for an event, and for all that a fill may write behind it."""
    return state.ring_head - state.ring_tail + HEADROOM <= state.ring_capacity


@native
def _begin(state: MmuState, record: EventRecord, said: Said) -> None:
    """What every event has, and nothing else."""
    record.seq = state.ring_head
    record.clock = clock_of(state)
    record.kind = said.kind
    record.access = 0
    record.level = 0
    record.cpu = state.cpu
    record.new = said.new
    record.rights = 0
    record.rip = load64(state.engine_rip) if state.engine_rip != 0 else 0
    record.time = (record.clock + state.kernel_ns) & 0xFFFF_FFFF_FFFF_FFFF
    record.first_pid = 0
    record.shared_level = 0
    record.resolved = 0
    record.cycles = 0


@entry("bool", Said)
def emit(said: Said) -> bool:
    """Record an event of the MMU, if the filter lets it pass; False where there is no room."""
    state = MmuState.from_address(said.state)
    if state.event_filter != 0 and not passes(state, said.kind, 0, said.vaddr, said.length):
        return True
    if not _is_room(state):
        return False
    record = next_record(state)
    _begin(state, record, said)
    record.cpl = state.cpl
    record.error_code = 0
    record.asid = state.asid
    record.cr3 = state.cr3
    record.vaddr = said.vaddr
    record.paddr = said.paddr
    for word in range(ENTRIES):
        record.entries[word] = 0
    record.old = said.old
    record.length = said.length
    record.tid = state.tid
    record.size = 0
    state.ring_head += 1
    return True


@entry("bool", Said)
def note(said: Said) -> bool:
    """Record an event of whoever runs the MMU; False where there is no room."""
    state = MmuState.from_address(said.state)
    if not _is_room(state):
        return False
    record = next_record(state)
    _begin(state, record, said)
    record.cpl = 0
    record.error_code = said.code
    record.asid = said.asid
    record.cr3 = 0
    record.vaddr = 0
    record.paddr = 0
    for word in range(ENTRIES):
        record.entries[word] = said.words[word]
    record.old = said.words[ENTRIES]
    record.length = 0
    record.tid = said.tid
    record.size = said.size
    state.ring_head += 1
    return True
