"""Exact mode: every data access and every fetch goes through the TLB model, and the model decides what the guest gets.

Unicorn keeps translations of its own in front of the fill hook.  They are held within the model's
(:mod:`mmu.engine_sync`): a fill answers with what the model holds, stale or not, and for the kinds of access that
will find it there; what the model forgets, Unicorn is told to forget.  The fill itself counts nothing; the memory or
block hook that follows it does.

Unicorn hands memory hooks a physical address.  Memory is therefore mapped at several windows (window k at k << 40), a
fill picks the lowest one in which the frame is free or already stands for that page, and ``page_of`` gives the page
back.
"""

from __future__ import annotations

from mmu.access import access_once, quiet_walk, rights_of_found
from mmu.engine_sync import catch_up, forget_page, remember_piece
from mmu.events import ring_is_full
from mmu.hooks import answer_physmap, grant
from mmu.invalidation import invalidate_context, invalidate_individual, invalidate_linear, page_fault
from mmu.native import U, call1, call3, entry, inlined, load8, load64, native, store64
from mmu.registers import Access
from mmu.state import MmuState, Status
from mmu.tlb import found_level, found_paddr, kind_bit, peek
from mmu.walk import CAN_EXECUTE, CAN_WRITE, canonical

WINDOW_SHIFT = 40
WINDOWS = 8

_WINDOW_SHIFT = U(WINDOW_SHIFT)
_IN_WINDOW = U((1 << WINDOW_SHIFT) - 1)
_ZERO, _ONE, _FOUR, _EIGHT, _TWELVE = U(0), U(1), U(4), U(8), U(12)
_OFFSET, _PAGE = U(0xFFF), U(0x1000)
_PAGE_MASK = U(0xFFFF_FFFF_FFFF_F000)
_WRITE_EXECUTE = CAN_WRITE | CAN_EXECUTE
_UC_MEM_READ = U(16)
_READ, _WRITE, _FETCH = U(Access.READ), U(Access.WRITE), U(Access.FETCH)
_OK, _PAGE_FAULT, _GP, _RING_FULL = (
    U(s) for s in (Status.OK, Status.PAGE_FAULT, Status.GENERAL_PROTECTION, Status.RING_FULL)
)
_WALKED = U(1 << 8)
_LAST_PAGE = U((1 << 52) - 1)


@native
def _room(state: MmuState) -> None:
    if ring_is_full(state):
        call1(state.make_room, _ZERO)


# -- windows -----------------------------------------------------------------------------------------------------------


@native
def _window(state: MmuState, vaddr: int, frame: int) -> int:
    """The window in which ``frame`` stands for the page of ``vaddr``; another page has to go if all are taken."""
    page = (vaddr >> _TWELVE) + _ONE
    k = _ZERO
    while k < state.windows:
        slot = state.page_of + (k * state.frames + frame) * _EIGHT
        holder = load64(slot)
        if holder == page or holder == _ZERO:  # noqa: SIM109 (compiled)
            store64(slot, page)
            return k
        k += _ONE
    k = page % state.windows
    slot = state.page_of + (k * state.frames + frame) * _EIGHT
    call3(state.engine_flush_page, state.engine_cpu, (load64(slot) - _ONE) << _TWELVE, _ZERO)
    store64(slot, page)
    return k


@native
def _alone(state: MmuState, vaddr: int, frame: int) -> bool:
    """Whether no other page stands for the frame in any window."""
    page = (vaddr >> _TWELVE) + _ONE
    k = _ZERO
    while k < state.windows:
        holder = load64(state.page_of + (k * state.frames + frame) * _EIGHT)
        if holder != _ZERO and holder != page:
            return False
        k += _ONE
    return True


# -- fills -------------------------------------------------------------------------------------------------------------


@native
def _rights_to_grant(state: MmuState, vaddr: int, access: int, walked: bool) -> int:
    """Of ``state.rights``, those of the kinds of access that find this very translation (after this access)."""
    rights, paddr, level = state.rights, state.paddr, state.level
    shared = load64(state.tlb_shared + (access * _FOUR + level) * _EIGHT) if walked else _ZERO
    granted = kind_bit(access)
    other = _READ
    while other <= _FETCH:
        bit = kind_bit(other)
        if other != access and rights & bit != _ZERO:
            if peek(state, other, vaddr):
                if found_paddr(state, vaddr) == paddr and rights_of_found(state) & bit != _ZERO:
                    granted |= bit
            elif shared & bit != _ZERO:
                granted |= bit
        other += _ONE
    return rights & granted


@native
def _translate(state: MmuState, vaddr: int, access: int) -> int:
    """What the access will find: held by the model, or walked for."""
    if peek(state, access, vaddr):
        rights = rights_of_found(state)
        if rights & kind_bit(access) != _ZERO:
            state.level = found_level(state)
            state.paddr = found_paddr(state, vaddr)
            state.rights = rights
            state.rights = _rights_to_grant(state, vaddr, access, False)
            return rights
    state.unsure = _ONE
    if quiet_walk(state, vaddr, access) != _OK:
        return _ZERO
    rights = state.rights
    state.rights = _rights_to_grant(state, vaddr, access, True)
    return rights


@entry("bool", "u64", "u64", "i32", "u64", MmuState)
def fill_exact(uc: int, vaddr: int, access_type: int, result: int, state: MmuState) -> bool:
    """UC_HOOK_TLB_FILL: what the model holds, or a walk that counts nothing; a fault is the access's end, and
    counts."""
    if state.physmap_open != _ZERO:
        return answer_physmap(state, vaddr, result)
    if ring_is_full(state):
        state.status = _RING_FULL
        return False
    access = access_type - _UC_MEM_READ
    if not canonical(state, vaddr):
        state.status = _GP
        return False
    rights = _translate(state, vaddr, access)
    if rights == _ZERO:
        if state.status == _PAGE_FAULT:
            access_once(state, vaddr, access, False)
            page_fault(state, vaddr, state.pcid)
        return False
    frame = state.paddr >> _TWELVE
    if frame < state.frames:
        window, alone = _window(state, vaddr, frame), _alone(state, vaddr, frame)
        if access == _WRITE and alone and rights & _WRITE_EXECUTE == _WRITE_EXECUTE:
            if load8(state.has_code + frame) != _ZERO:
                state.rights |= CAN_EXECUTE  # Unicorn sees writes to code through such an entry only
    else:
        window, alone = _ZERO, True
    if state.level != _ONE:
        remember_piece(state, vaddr)
    if not grant(state, vaddr, access, result, alone):
        return False
    store64(result, load64(result) | (window << _WINDOW_SHIFT))
    if state.second_page == (vaddr >> _TWELVE) + _ONE and access != _FETCH:
        state.second_page = _ZERO
        access_once(state, vaddr, access, False)
    return True


# -- accesses ----------------------------------------------------------------------------------------------------------


@inlined
def _access(state: MmuState, vaddr: int, access: int, sure: bool) -> None:
    """One access that the engine has a translation for."""
    access_once(state, vaddr, access, sure)
    if state.tlb_outcome & _WALKED != _ZERO and not peek(state, access, vaddr):
        forget_page(state, vaddr >> _TWELVE)  # no array holds such a page


@native
def _second(state: MmuState, page: int, access: int) -> None:
    """An access crosses into this page.  If that faults, the fill that follows counts it, and one more when it is
    resolved."""
    vaddr = page << _TWELVE
    if peek(state, access, vaddr) and rights_of_found(state) & kind_bit(access) != _ZERO:
        _access(state, vaddr, access, True)
    elif canonical(state, vaddr) and quiet_walk(state, vaddr, access) == _OK:
        _access(state, vaddr, access, False)
    else:
        state.second_page = page + _ONE


@entry("void", "u64", "i32", "u64", "i32", "i64", MmuState)
def on_memory(uc: int, access_type: int, paddr: int, size: int, value: int, state: MmuState) -> None:
    """UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE: one data access, with the virtual address that the window tells.

    After the hook Unicorn looks a load's page up again, but not a store's: that page is busy.  Unless a fill has just
    walked, what Unicorn let through is what the model holds, with the rights that it has.
    """
    offset = paddr & _OFFSET
    frame = (paddr & _IN_WINDOW) >> _TWELVE
    page = load64(state.page_of + ((paddr >> _WINDOW_SHIFT) * state.frames + frame) * _EIGHT) - _ONE
    access = access_type - _UC_MEM_READ
    if state.event_mask != _ZERO:
        _room(state)
    if state.late_page != _ZERO and (access == _READ or state.late_page != page + _ONE):
        catch_up(state)
    if access == _WRITE:
        state.busy_page = page + _ONE
    _access(state, (page << _TWELVE) | offset, access, state.unsure == _ZERO)
    state.unsure = _ZERO
    if offset + size > _PAGE:
        _second(state, (page + _ONE) & _LAST_PAGE, access)  # behind the last page comes the first
    state.busy_page = _ZERO


@entry("void", "u64", "u64", "u32", MmuState)
def on_fetch(uc: int, address: int, size: int, state: MmuState) -> None:
    """UC_HOOK_BLOCK: one fetch a block and page."""
    if state.physmap_open != _ZERO:
        return
    if state.event_mask != _ZERO:
        _room(state)
    state.second_page = _ZERO
    if state.late_page != _ZERO:
        catch_up(state)
    _access(state, address, _FETCH, False)
    last = address + size - _ONE
    if last >> _TWELVE != address >> _TWELVE and size != _ZERO:
        _access(state, last & _PAGE_MASK, _FETCH, False)


# -- for Python --------------------------------------------------------------------------------------------------------


@native
def _modelled(state: MmuState, vaddr: int, access: int) -> int:
    if not canonical(state, vaddr):
        state.status = _GP
        return _GP
    return access_once(state, vaddr, access, False)


@entry("u64", MmuState, "u64", "u64")
def model_access(state: MmuState, vaddr: int, access: int) -> int:
    """One access without Unicorn: the result is in ``state``."""
    return _modelled(state, vaddr, access)


@entry("void", MmuState, "u64", "u64", "u64")
def model_accesses(state: MmuState, vaddrs: int, kinds: int, number: int) -> None:
    """``number`` accesses: uint64 addresses, and uint64 kinds of access."""
    i = _ZERO
    while i < number:
        _modelled(state, load64(vaddrs + i * _EIGHT), load64(kinds + i * _EIGHT))
        i += _ONE


@entry("u64", MmuState, "u64")
def found_address(state: MmuState, vaddr: int) -> int:
    """Where the translation that the last access found puts an address; before anything else is done."""
    return found_paddr(state, vaddr)


@entry("void", MmuState, "u64")
def model_invlpg(state: MmuState, vaddr: int) -> None:
    """INVLPG."""
    invalidate_linear(state, vaddr)


@entry("void", MmuState, "u64", "u64")
def model_invpcid_address(state: MmuState, vaddr: int, pcid: int) -> None:
    """INVPCID type 0."""
    invalidate_individual(state, vaddr, pcid)


@entry("void", MmuState, "u64", "u64")
def model_page_fault(state: MmuState, vaddr: int, pcid: int) -> None:
    """The delivery of a page fault."""
    page_fault(state, vaddr, pcid)


@entry("void", MmuState, "u64", "u64", "u64")
def invalidate_all(state: MmuState, pcid: int, every_pcid: int, globals_too: int) -> None:
    """All of one PCID, or of every one."""
    invalidate_context(state, pcid, every_pcid != _ZERO, globals_too != _ZERO)
