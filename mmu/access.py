"""One access, as the processor makes it: level 1, level 2, structure caches, walk."""

from __future__ import annotations

from mmu.array_record import ANY, EVERY, LEAF
from mmu.entries import ADDRESS, A, D
from mmu.events import EventKind, commit
from mmu.invalidation import drop_page
from mmu.native import call3, inlined, load64, native, store64
from mmu.registers import Access
from mmu.state import MmuState, Status
from mmu.structure_cache import begin_walk, cache_structure_entry
from mmu.tlb import found, found_paddr, install_walked, lookup, promote
from mmu.walk import CAN_EXECUTE, CAN_READ, EVERY_START, key_denies, levels, page_rights, walk_from

#: What became of the accesses of one kind: hits at level 1, at level 2, walks completed by page size, walks that
#: faulted.
STATS = ("l1_hits", "stlb_hits", "walk_completed_4k", "walk_completed_2m", "walk_completed_1g", "walk_faults")
STATS_WORDS = 8
_STATS_BYTES = STATS_WORDS * 8
_L1_HITS, _STLB_HITS, _WALK_COMPLETED, _WALK_FAULTS = 0, 8, 16, 40

_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
_AD_EVENTS = 1 << EventKind.ACCESSED_DIRTY
_WALKED = 1 << 8


@inlined
def _count(state: MmuState, access: int, word: int) -> None:
    at = state.tlb_stats + access * _STATS_BYTES + word
    store64(at, load64(at) + 1)


@native
def rights_of_found(state: MmuState) -> int:
    """What the translation that a lookup found allows now; no write before D is set."""
    every, leaf = found(state, EVERY), found(state, LEAF)
    rights = page_rights(state, every, found(state, ANY)) & (_ALL_ONES ^ key_denies(state, every, leaf))
    if leaf & D == 0:
        rights &= CAN_READ | CAN_EXECUTE
    return rights


@native
def quiet_walk(state: MmuState, vaddr: int, access: int) -> int:
    """A walk that is not an event of the processor: no statistics.

    It sets A and D as the one that will count would.
    """
    mask, walks, loads, faults = state.event_mask, state.walks, state.walk_loads, state.page_faults
    state.event_mask = mask & _AD_EVENTS
    begin_walk(state, vaddr, levels(state), state.cr3 & ADDRESS, EVERY_START, True)
    first, table, every, any_xd = state.walk_level, state.walk_table, state.walk_every, state.walk_any
    status = walk_from(state, vaddr, access, first, table, every, any_xd)
    state.event_mask, state.walks, state.walk_loads, state.page_faults = mask, walks, loads, faults
    return status


@native
def _fresh_walk(state: MmuState, vaddr: int, access: int) -> int:
    """What the tables say now: a walk from CR3 that changes nothing and counts nothing."""
    mask, walks, loads, faults = state.event_mask, state.walks, state.walk_loads, state.page_faults
    state.event_mask, state.read_only = 0, 1
    status = walk_from(state, vaddr, access, levels(state), state.cr3 & ADDRESS, EVERY_START, 0)
    state.read_only = 0
    state.event_mask, state.walks, state.walk_loads, state.page_faults = mask, walks, loads, faults
    return status


@native
def _check_found(state: MmuState, vaddr: int, access: int) -> None:
    """The stale-translation detector: hold a hit against the tables."""
    cached = found_paddr(state, vaddr)
    array, way = state.found_array, state.found_way
    status = _fresh_walk(state, vaddr, Access.READ if access == Access.WRITE else access)
    if status != Status.OK or state.paddr != cached or state.rights & (1 << access) == 0:
        call3(state.on_stale, vaddr, access, cached)
    state.found_array, state.found_way = array, way


@native
def _cache_structures(state: MmuState, vaddr: int, first: int, leaf_level: int, every: int, any_xd: int) -> None:
    """Each entry that refers to a table, and that the walk has read, enters its structure cache."""
    level = first
    while level > leaf_level:
        value = load64(state.ram + load64(state.slots + level * 8))
        every &= value
        any_xd |= value
        cache_structure_entry(state, vaddr, level, value & ADDRESS, every, any_xd)
        level -= 1


@native
def _walk_and_install(state: MmuState, vaddr: int, access: int) -> int:
    """A miss: walk from the deepest structure-cache hit, and fill the caches."""
    start = begin_walk(state, vaddr, levels(state), state.cr3 & ADDRESS, EVERY_START, False)
    state.tlb_outcome |= _WALKED | (start << 16)
    first, table, every, any_xd = state.walk_level, state.walk_table, state.walk_every, state.walk_any
    status = walk_from(state, vaddr, access, first, table, every, any_xd)
    if status != Status.OK:
        _count(state, access, _WALK_FAULTS)
        return status
    level, paddr = state.level, state.paddr
    _count(state, access, _WALK_COMPLETED + (level - 1) * 8)
    _cache_structures(state, vaddr, first, level, every, any_xd)
    leaf = state.leaf | A
    if access == Access.WRITE:
        leaf |= D
    install_walked(state, access, vaddr, level, paddr, state.every | A, state.any, leaf)
    return Status.OK


@inlined
def _use_found(state: MmuState, vaddr: int, access: int, level: int, sure: bool) -> bool:
    """A hit at this level; False if it cannot be used."""
    state.tlb_outcome = level
    if not sure and rights_of_found(state) & (1 << access) == 0:
        return False
    if state.check != 0:
        _check_found(state, vaddr, access)
    if state.event_mask != 0:
        commit(state, EventKind.ACCESS, access, level, 0, vaddr, found_paddr(state, vaddr))
    return True


@native
def access_once(state: MmuState, vaddr: int, access: int, sure: bool) -> int:
    """One access to a canonical address.  Returns a Status; all statistics are kept.

    ``sure``: what the model holds for this access, if anything, is known to allow it.
    """
    if lookup(state, 1, access, vaddr):
        if _use_found(state, vaddr, access, 1, sure):
            _count(state, access, _L1_HITS)
            return Status.OK
        drop_page(state, vaddr)
    elif lookup(state, 2, access, vaddr):
        if _use_found(state, vaddr, access, 2, sure):
            _count(state, access, _STLB_HITS)
            promote(state, access, vaddr)
            return Status.OK
        drop_page(state, vaddr)
    else:
        state.tlb_outcome = 0
    if state.event_mask != 0:
        commit(state, EventKind.ACCESS, access, 0, 0, vaddr, 0)
    return _walk_and_install(state, vaddr, access)
