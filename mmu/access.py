"""One access, as the processor makes it: level 1, level 2, structure caches, walk."""

from __future__ import annotations

import ctypes

from mmu.access_log import note_access
from mmu.array_record import Found, TlbArray, tag_at
from mmu.array_tags import COALESCED, level_of
from mmu.entries import ADDRESS, D
from mmu.events import EventKind, commit
from mmu.instruction import look_up
from mmu.invalidation import drop_page
from mmu.native import call3, cold, inlined, load64, native
from mmu.registers import Access
from mmu.state import MmuState, Status, WordArray, fields
from mmu.structure_cache import begin_walk, cache_structure_entry
from mmu.tlb import count_misses, install_walked, leaf_of, level_of_found, lookup, paddr_of, prefetch_next, promote
from mmu.walk import CAN_EXECUTE, CAN_READ, PlainWalk, WalkStart, key_denies, page_rights, root, walk_from
from mmu.walk_cost import count_plain_walk, count_stlb_hit, count_walk

_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
_AD_EVENTS = 1 << EventKind.ACCESSED_DIRTY


class AccessCounts(ctypes.Structure):
    """Counts of the accesses of one kind, by outcome.  Every field is a uint64, or an array of uint64."""

    l1_hits: int
    l1_large: WordArray  # of these, on pages of 2M and of 1G
    stlb_hits: int
    stlb_large: WordArray  # of these, on pages of 2M and of 1G
    stlb_coalesced: int  # of these, on coalesced pages
    walk_completed: WordArray  # by page size: 4K, 2M, 1G
    walk_coalesced: int  # of those of 4K, that came to coalesced pages
    walk_faults: int

    _fields_ = fields(
        __annotations__,
        l1_large=ctypes.c_uint64 * 2,
        stlb_large=ctypes.c_uint64 * 2,
        walk_completed=ctypes.c_uint64 * 3,
    )


COUNTS_BYTES = ctypes.sizeof(AccessCounts)


@inlined
def _counts(state: MmuState, access: int) -> AccessCounts:
    return AccessCounts.from_address(state.access_counts + access * COUNTS_BYTES)


@inlined
def count_first_level(state: MmuState, access: int) -> None:
    """Count a hit in the first level."""
    _counts(state, access).l1_hits += 1


@inlined
def count_first_level_hits(state: MmuState, access: int, number: int) -> None:
    """Count several."""
    _counts(state, access).l1_hits += number


@inlined
def count_large_hits(state: MmuState, access: int, level: int, number: int) -> None:
    """Count how many hits in the first level were on a page of this level, if that is not 4K."""
    if level != 1:
        _counts(state, access).l1_large[level - 2] += number


@inlined
def count_level_2_hit(state: MmuState, access: int, found: Found) -> None:
    """Count a hit in the second level."""
    counts = _counts(state, access)
    counts.stlb_hits += 1
    tag = tag_at(TlbArray.from_address(found.array), found.place)
    if tag & COALESCED != 0:
        counts.stlb_coalesced += 1
    elif level_of(tag) != 1:
        counts.stlb_large[level_of(tag) - 2] += 1


@inlined
def count_small_page(state: MmuState, access: int, coalesced: int) -> None:
    """Count a walk that has found a page of 4K, and whether that is coalesced."""
    counts = _counts(state, access)
    counts.walk_completed[0] += 1
    counts.walk_coalesced += coalesced


@inlined
def count_small_pages(state: MmuState, access: int, walked: int, found: int) -> None:
    """Count walks that have found a page of 4K, and hits in the second level on such pages."""
    counts = _counts(state, access)
    counts.walk_completed[0] += walked
    counts.stlb_hits += found


@inlined
def count_coalesced(state: MmuState, access: int, walked: int, found: int) -> None:
    """Of these, how many came to coalesced pages."""
    counts = _counts(state, access)
    counts.walk_coalesced += walked
    counts.stlb_coalesced += found


@native
def rights_of(state: MmuState, found: Found) -> int:
    """The rights that the translation found by a lookup gives now; no write before D is set."""
    leaf = leaf_of(found, 0)
    rights = page_rights(state, leaf.every, leaf.any_xd) & (_ALL_ONES ^ key_denies(state, leaf.every, leaf.entry))
    if leaf.entry & D == 0:
        rights &= CAN_READ | CAN_EXECUTE
    return rights


@native
def quiet_walk(state: MmuState, vaddr: int, access: int) -> int:
    """A walk that is not an event of the processor: no statistics.

    It sets A and D as the counted walk would.
    """
    mask, walks, loads, faults = state.event_mask, state.walks, state.walk_loads, state.page_faults
    state.event_mask = mask & _AD_EVENTS
    status = walk_from(state, vaddr, access, begin_walk(state, vaddr, root(state), True))
    state.event_mask, state.walks, state.walk_loads, state.page_faults = mask, walks, loads, faults
    return status


@cold
def _watch_found(state: MmuState, found: Found, vaddr: int, access: int, level: int) -> None:
    """If enabled, let the stale-translation detector check a hit against the tables, and record the hit as an event and
    in the log."""
    if state.access_log != 0:
        note_access(state, vaddr, access)
    paddr = paddr_of(found, vaddr)
    if state.check != 0:
        status = look_up(state, vaddr, Access.READ if access == Access.WRITE else access)
        if status != Status.OK or state.walked.paddr != paddr or state.walked.rights & (1 << access) == 0:
            call3(state.on_stale, vaddr, access, paddr)
    if state.event_mask != 0:
        commit(state, EventKind.ACCESS, access, level, 0, vaddr, paddr)


@native
def _cache_structures(state: MmuState, vaddr: int, start: WalkStart, leaf_level: int) -> None:
    """Install each entry that the walk has read and that refers to a table in its structure cache."""
    level, every, any_xd = start.level, start.every, start.any_xd
    while level > leaf_level:
        value = load64(state.ram + state.slots[level])
        every &= value
        any_xd |= value
        cache_structure_entry(state, vaddr, level, value & ADDRESS, every, any_xd)
        level -= 1


@cold
def _walk_and_install(state: MmuState, vaddr: int, access: int) -> int:
    """A miss: walk from the deepest structure-cache hit, and fill the caches."""
    if state.event_mask != 0:
        if state.access_log != 0:
            note_access(state, vaddr, access)
        commit(state, EventKind.ACCESS, access, 0, 0, vaddr, 0)
    start = begin_walk(state, vaddr, root(state), False)
    state.last_access.walked = 1
    state.last_access.start = start.cached
    event, loads = state.ring_head, state.walk_loads
    status = walk_from(state, vaddr, access, start)
    if state.walk_cost != 0:
        count_walk(state, access, start, state.walk_loads - loads, event, status == Status.OK)
    counts = _counts(state, access)
    if status != Status.OK:
        counts.walk_faults += 1
        return status
    counts.walk_completed[state.walked.level - 1] += 1
    _cache_structures(state, vaddr, start, state.walked.level)
    counts.walk_coalesced += install_walked(state, access, vaddr)
    if state.prefetch_next != 0 and access != Access.FETCH and state.walked.level == 1:
        _prefetch_behind(state, vaddr, access, start)
    return Status.OK


@cold
def walk_missed(state: MmuState, vaddr: int, access: int) -> None:
    """:func:`access_once` where no array holds the page, and has counted that."""
    state.last_access.level = 0
    _walk_and_install(state, vaddr, access)


@cold
def _prefetch_behind(state: MmuState, vaddr: int, access: int, start: WalkStart) -> None:
    """The walk from ``start`` that has just been made is followed by the next page."""
    level, every, any_xd = start.level, start.every, start.any_xd
    while level > 1:
        value = load64(state.ram + state.slots[level])
        every &= value
        any_xd |= value
        level -= 1
    prefetch_next(state, access, vaddr, state.slots[1], every, any_xd)


@native
def access_missed(state: MmuState, vaddr: int, access: int, found: PlainWalk) -> None:
    """:func:`access_once` where no array holds the page, no event is recorded, and the walk begins with the PTE, is
    this plain one, and allowed, with nothing to set."""
    count_misses(state, access)
    last, walked = state.last_access, state.walked
    start = begin_walk(state, vaddr, root(state), False)
    last.level, last.walked, last.start = 0, 1, start.cached
    state.walks += 1
    state.walk_loads += 1
    state.status = Status.OK
    rights = page_rights(state, found.every, found.any_xd) & (_ALL_ONES ^ key_denies(state, found.every, found.pte))
    if found.pte & D == 0:
        rights &= CAN_READ | CAN_EXECUTE
    walked.error_code, walked.rights, walked.level = 0, rights, 1
    walked.paddr = (found.pte & ADDRESS) | (vaddr & 0xFFF)
    walked.every, walked.any_xd, walked.leaf = found.every, found.any_xd, found.pte
    state.slots[1] = slot = (start.table & ADDRESS) | (((vaddr >> 12) & 511) << 3)
    if state.walk_cost != 0:
        count_plain_walk(state, access, start)
    count_small_page(state, access, install_walked(state, access, vaddr))
    if state.prefetch_next != 0 and access != Access.FETCH:
        prefetch_next(state, access, vaddr, slot, start.every, start.any_xd)


@inlined
def _use_found(state: MmuState, found: Found, vaddr: int, access: int, level: int, sure: bool) -> bool:
    """Handle a hit at this level; False if it cannot be used."""
    last = state.last_access
    last.level = level
    last.walked = 0
    last.array = found.array
    last.place = found.place
    if not sure and rights_of(state, found) & (1 << access) == 0:
        return False
    if state.check | state.event_mask != 0:
        _watch_found(state, found, vaddr, access, level)
    return True


@native
def access_once(state: MmuState, vaddr: int, access: int, sure: bool) -> int:
    """One access to a canonical address.  Returns a Status; all statistics are kept.

    ``sure``: a translation that the model holds for this access, if any, is known to allow it.
    """
    found = lookup(state, 1, access, vaddr)
    if found.array != 0:
        if _use_found(state, found, vaddr, access, 1, sure):
            count_first_level(state, access)
            count_large_hits(state, access, level_of_found(found), 1)
            return Status.OK
        drop_page(state, vaddr)
    else:
        found = lookup(state, 2, access, vaddr)
        if found.array != 0:
            if _use_found(state, found, vaddr, access, 2, sure):
                count_level_2_hit(state, access, found)
                if state.walk_cost != 0:
                    count_stlb_hit(state, access)
                promote(state, access, vaddr, found)
                return Status.OK
            drop_page(state, vaddr)
        else:
            state.last_access.level = 0
    return _walk_and_install(state, vaddr, access)
