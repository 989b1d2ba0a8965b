"""What the TLB model's hits and walks cost (:mod:`mmu.latency`), counted natively where the entries that a walk has
read are known.

The loads of walks go through data caches of their own; those of the guest do not, so that a walk's entries stay there
longer than on a processor.  No cycle is on the machine's clock.
"""

from __future__ import annotations

import ctypes

from mmu.events import RECORD_BYTES, EventKind, EventRecord
from mmu.native import cold, load64, native, store64
from mmu.nested_walk import NestedTables, entry_paddr, find_page, first_level, keep_entry, read_entry
from mmu.registers import Access
from mmu.state import MmuState, WordArray, fields
from mmu.walk import WalkStart

_LINE_SHIFT = 6
#: Loads are counted apart of walks for data and for fetches, and then of the second dimension for these.
_FETCH_SIDE, _NESTED_SIDES = 1, 2


class WalkCacheRecord(ctypes.Structure):
    """A data cache that walks read through.  Every field is a uint64, or an array of uint64."""

    lines: int  # address of uint64[sets][ways]: the number of the line plus 1; 0 is free
    times: int  # address of uint64[sets][ways]: of the last use
    set_mask: int
    ways: int
    cycles: int
    hits: WordArray  # loads that hit here, by side

    _fields_ = fields(__annotations__, hits=ctypes.c_uint64 * 4)


class WalkCost(ctypes.Structure):
    """What is counted of a vCPU's translations.  Every field is a uint64, or an array of uint64."""

    stlb_hit: int
    walk: int
    structure_hit: int
    load: int
    caches: int  # address of WalkCacheRecord[]
    caches_end: int
    time: int  # counts loads
    memory_loads: WordArray  # loads that hit in no cache, by side
    stlb_cycles: WordArray  # by access
    walk_cycles: WordArray  # by access
    nested: int  # address of a NestedTables; 0: there is one dimension

    _fields_ = fields(
        __annotations__,
        memory_loads=ctypes.c_uint64 * 4,
        stlb_cycles=ctypes.c_uint64 * 3,
        walk_cycles=ctypes.c_uint64 * 3,
    )


CACHE_BYTES = ctypes.sizeof(WalkCacheRecord)


@native
def _has_line(cost: WalkCost, cache: WalkCacheRecord, line: int) -> bool:
    """Whether the cache has a line; if not, it has it now."""
    first = (line & cache.set_mask) * cache.ways * 8
    lines, times = cache.lines + first, cache.times + first
    oldest, chosen = load64(times), 0
    at, end = 0, cache.ways * 8
    while at < end:
        if load64(lines + at) == line + 1:
            store64(times + at, cost.time)
            return True
        time = load64(times + at)
        if time < oldest:
            oldest, chosen = time, at
        at += 8
    store64(lines + chosen, line + 1)
    store64(times + chosen, cost.time)
    return False


@native
def load_cycles(cost: WalkCost, paddr: int, side: int) -> int:
    """What it costs a walk to read the entry at a physical address."""
    cost.time += 1
    at = cost.caches
    while at < cost.caches_end:
        cache = WalkCacheRecord.from_address(at)
        if _has_line(cost, cache, paddr >> _LINE_SHIFT):
            cache.hits[side] += 1
            return cache.cycles
        at += CACHE_BYTES
    cost.memory_loads[side] += 1
    return cost.load


@native
def nested_cycles(state: MmuState, cost: WalkCost, gpaddr: int, side: int) -> int:
    """What it costs to translate a guest-physical address through the second dimension; 0 if there is none, and for an
    address beyond the guest's memory, which EPT does not map."""
    if cost.nested == 0 or gpaddr >= state.ram_bytes:
        return 0
    nested = NestedTables.from_address(cost.nested)
    if find_page(state, nested, gpaddr):
        return 0
    nested.walks += 1
    cycles, level = 0, first_level(state, nested, gpaddr)
    while level >= nested.page_level:
        cycles += load_cycles(cost, entry_paddr(nested, gpaddr, level), side + _NESTED_SIDES)
        nested.loads += 1
        keep_entry(state, nested, gpaddr, level, read_entry(nested, gpaddr, level))
        level -= 1
    nested.cycles += cycles
    return cycles


@native
def _record(state: MmuState, number: int) -> EventRecord:
    """An event that is in the ring."""
    return EventRecord.from_address(state.ring + (number & (state.ring_capacity - 1)) * RECORD_BYTES)


@cold
def count_stlb_hit(state: MmuState, access: int) -> None:
    """A translation was found in the second level."""
    cost = WalkCost.from_address(state.walk_cost)
    cost.stlb_cycles[access] += cost.stlb_hit
    if (state.event_mask >> EventKind.ACCESS) & 1 != 0 and state.ring_head != 0:
        last = _record(state, state.ring_head - 1)
        if last.kind == EventKind.ACCESS and last.level == 2:  # this hit, or one that cost as much
            last.cycles = cost.stlb_hit


@cold
def count_walk(state: MmuState, access: int, start: WalkStart, loads: int, event: int, found: bool) -> None:
    """A walk from ``start`` has read so many entries, of which ``state.slots`` says where they are; ``event`` is the
    number that its event has, if one was recorded.  Where it has ``found`` a page, that is in ``state.walked``.
    """
    cost = WalkCost.from_address(state.walk_cost)
    side = _FETCH_SIDE if access == Access.FETCH else 0
    cycles = cost.walk + (cost.structure_hit if start.cached != 0 else 0)
    level = start.level
    while loads != 0:
        cycles += nested_cycles(state, cost, state.slots[level], side)
        cycles += load_cycles(cost, state.slots[level], side)
        level -= 1
        loads -= 1
    if found:
        cycles += nested_cycles(state, cost, state.walked.paddr, side)
    cost.walk_cycles[access] += cycles
    if event < state.ring_head:
        record = _record(state, event)
        if record.kind == EventKind.WALK:
            record.cycles = cycles


@cold
def count_plain_walk(state: MmuState, access: int, start: WalkStart) -> None:
    """The same of a walk that has read one entry, the PTE, and of which no event was recorded."""
    count_walk(state, access, start, 1, state.ring_head, True)
