"""The native loops of a replay: accesses are gathered into runs, and runs go through a TLB model.

A run is an access and those of its kind and page that follow it and find what it has found: no other access that could
change that stands between them.  (One that faults is followed by a control, the delivery of the fault.)  It has two
words, the page's address, and how many accesses << 8 | the kind.  A control is as in :data:`emu.lab.batch.CONTROL`.
"""

from __future__ import annotations

import ctypes

from mmu.access import access_once, count_first_level_hits, count_large_hits
from mmu.access_log import EVERY_PCID, GLOBALS, Op
from mmu.array_record import TlbArray, find
from mmu.eviction import leave_pcid
from mmu.invalidation import invalidate_context, invalidate_individual, invalidate_linear, page_fault
from mmu.native import cold, entry, inlined, load8, load32, load64, native, store32, store64
from mmu.plain_access import hit_first, is_plain, missed_first, touch_often
from mmu.registers import CR3_NO_FLUSH, CR4, PCID_MASK, Access
from mmu.small_pages import is_small, missed_small, tell_all
from mmu.state import MmuState, fields
from mmu.tlb import arrays_for

RUN_BYTES, CONTROL_BYTES = 16, 24
_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
_PAGE_MASK = 0xFFFF_FFFF_FFFF_F000
#: No page begins there.
_NO_PAGE = 1
_KIND, _KIND_OF_ACCESS, _LOW_32 = 0xFF, 3, 0xFFFF_FFFF
_STORES = 1 << Access.WRITE


class Replay(ctypes.Structure):
    """A model that a stream is replayed through.  Every field is a uint64."""

    states: int  # address of uint64[]: the addresses of the MmuStates of the vCPUs
    turn: int  # the vCPU whose accesses come

    _fields_ = fields(__annotations__)


# -- gathering ---------------------------------------------------------------------------------------------------------


@inlined
def _begin_run(runs: int, number: int, page: int, kind: int) -> None:
    store64(runs + number * RUN_BYTES, page)
    store64(runs + number * RUN_BYTES + 8, 1 << 8 | kind)


@inlined
def _goes_on(runs: int, number: int) -> None:
    at = runs + number * RUN_BYTES + 8
    store64(at, load64(at) + (1 << 8))


@inlined
def _page_of(pages: int, at: int, i: int) -> int:
    """The page of an access: by its uint16 index, or, where there is no table of pages, by its uint64 address."""
    if pages == 0:
        return load64(at + i * 8) & _PAGE_MASK
    place = at + i * 2
    return load64(pages + (load8(place) | load8(place + 1) << 8) * 8)


@entry("u64", "u64", "u64", "u64", "u64", "u64", "u64", "u64", "u64", "u64")
def gather(
    pages: int, at: int, kinds: int, number: int, controls: int, control_number: int, runs: int, apart: int, near: int
) -> int:
    """Gather ``number`` accesses into runs, and say how many these are.  ``pages``: the uint64 addresses of pages, by
    the uint16 numbers ``at``, or 0, and the addresses are there; ``kinds``: bytes, whose bits 1:0 count.

    The controls, whose ``at`` was the number of an access, get that of a run.  ``apart``: fetches look into other
    arrays than loads and stores, so that neither changes what the others find, but where both are within 1 << ``near``
    bytes, which one translation may cover: an access that may not use it drops it everywhere.  So do a load and a store
    of one page: the first store may have to walk, for D.
    """
    data_page: int = _NO_PAGE
    fetch_page: int = _NO_PAGE
    seen, load_run, store_run, fetch_run, made, i, control = 0, 0, 0, 0, 0, 0, 0
    until = load32(controls + 16) if control_number != 0 else _ALL_ONES
    while i < number:
        if i >= until:
            while control < control_number and load32(controls + control * CONTROL_BYTES + 16) <= i:
                store32(controls + control * CONTROL_BYTES + 16, made)
                control += 1
            until = load32(controls + control * CONTROL_BYTES + 16) if control < control_number else _ALL_ONES
            data_page, fetch_page = _NO_PAGE, _NO_PAGE
        page, kind = _page_of(pages, at, i), load8(kinds + i) & _KIND_OF_ACCESS
        i += 1
        if kind == Access.FETCH:
            if page == fetch_page:
                _goes_on(runs, fetch_run)
                continue
            if (page ^ data_page) >> near == 0 or apart == 0:
                data_page = _NO_PAGE
            fetch_page, fetch_run = page, made
        else:
            if page == data_page:
                if (seen >> kind) & 1 != 0:
                    _goes_on(runs, store_run if kind == Access.WRITE else load_run)
                    continue
                seen = _STORES if kind == Access.WRITE else seen | 1
            else:
                data_page, seen = page, 1 << kind
            if (page ^ fetch_page) >> near == 0 or apart == 0:
                fetch_page = _NO_PAGE
            if kind == Access.WRITE:
                store_run = made
            else:
                load_run = made
        _begin_run(runs, made, page, kind)
        made += 1
    while control < control_number:
        store32(controls + control * CONTROL_BYTES + 16, made)
        control += 1
    return made


@entry("void", "u64", "u64", "u64", "u64", "u64")
def single_runs(pages: int, at: int, kinds: int, number: int, runs: int) -> None:
    """A run for each access: for models in which a page that was found is not in level 1 then."""
    i = 0
    while i < number:
        _begin_run(runs, i, _page_of(pages, at, i), load8(kinds + i) & _KIND_OF_ACCESS)
        i += 1


# -- replaying ---------------------------------------------------------------------------------------------------------


@native
def _again(state: MmuState, vaddr: int, access: int, count: int) -> bool:
    """``count`` more accesses that level 1 is known to hold a usable translation for, if any.

    False, with nothing changed, if it holds none.
    """
    first = arrays_for(state, access, 1)
    place, level, index = first, 1, 0
    address = load64(place)
    while address != 0:
        array = TlbArray.from_address(address)
        level = 1
        while level <= 3:
            if (array.present >> (level - 1)) & 1 != 0:
                index = find(array, vaddr, level, state.pcid)
                if index != 0:
                    break
            level += 1
        if index != 0:
            break
        place += 8
        address = load64(place)
    if address == 0:
        return False
    while first < place:
        TlbArray.from_address(load64(first)).misses += count
        first += 8
    found = TlbArray.from_address(address)
    found.hits += count
    touch_often(state, found, index - 1, vaddr, level, count)
    count_first_level_hits(state, access, count)
    count_large_hits(state, access, level, count)
    return True


@cold
def _any_access(state: MmuState, vaddr: int, access: int) -> None:
    access_once(state, vaddr, access, False)


@cold
def _others(state: MmuState, vaddr: int, access: int, count: int) -> None:
    """The accesses of a run behind the first one."""
    if not _again(state, vaddr, access, count):
        while count != 0:
            access_once(state, vaddr, access, False)
            count -= 1


@native
def _replay_some(state: MmuState, runs: int, end: int) -> None:
    """The runs from one address to another, all of this vCPU."""
    plain, small = is_plain(state), is_small(state)
    while runs < end:
        vaddr, word = load64(runs), load64(runs + 8)
        access, count = word & _KIND, word >> 8
        runs += RUN_BYTES
        if plain and hit_first(state, vaddr, access, count):
            continue
        if small and missed_small(state, vaddr, access, count):
            continue
        if not plain or not missed_first(state, vaddr, access):
            _any_access(state, vaddr, access)
        if count != 1:
            _others(state, vaddr, access, count - 1)
        small = small and is_small(state)


@inlined
def state_of(replay: Replay, vcpu: int) -> MmuState:
    return MmuState.from_address(load64(replay.states + vcpu * 8))


@native
def _load_cr3(state: MmuState, cr3: int) -> None:
    old = state.pcid
    state.cr3 = cr3 & (_ALL_ONES ^ CR3_NO_FLUSH)
    state.pcid = cr3 & PCID_MASK if state.cr4 & CR4.PCIDE != 0 else 0
    if state.pcid != old:
        leave_pcid(state, old)


@native
def do_control(replay: Replay, state: MmuState, op: int, vcpu: int, a: int, b: int) -> None:
    """Do what a control says; ``state`` is that of its vCPU."""
    if op == Op.ENTRY:
        if a < state.ram_bytes:
            store64(state.ram + a, b)
    elif op == Op.TURN:
        tell_all(state_of(replay, replay.turn))
        replay.turn = vcpu
    elif op == Op.CR3:
        _load_cr3(state, a)
    elif op == Op.INVLPG:
        invalidate_linear(state, a)
    elif op == Op.INVPCID:
        invalidate_individual(state, a, b)
    elif op == Op.INVALIDATE:
        invalidate_context(state, a, b & EVERY_PCID != 0, b & GLOBALS != 0)
    elif op == Op.PAGE_FAULT:
        page_fault(state, a, b)


@entry("void", Replay, "u64", "u64", "u64", "u64", "u64")
def replay(replay: Replay, runs: int, begin: int, end: int, controls: int, last: int) -> None:
    """The runs from number ``begin`` to ``end``, and the controls between the host addresses ``controls`` and ``last``,
    which come before the runs that they name; none of them loads another register than CR3."""
    while controls < last:
        word = load64(controls + 16)
        at = word & _LOW_32
        if at > begin:
            _replay_some(state_of(replay, replay.turn), runs + begin * RUN_BYTES, runs + at * RUN_BYTES)
            begin = at
        vcpu = (word >> 40) & 0xFF
        do_control(replay, state_of(replay, vcpu), (word >> 32) & 0xFF, vcpu, load64(controls), load64(controls + 8))
        controls += CONTROL_BYTES
    _replay_some(state_of(replay, replay.turn), runs + begin * RUN_BYTES, runs + end * RUN_BYTES)
    tell_all(state_of(replay, replay.turn))
