"""Exact mode: every data access and every fetch goes through the TLB model, and the model decides which translation the
guest gets.

Unicorn keeps translations of its own in front of the fill hook.  They are kept a subset of the model's
(:mod:`mmu.engine_sync`): a fill answers with the translation that the model holds, stale or not, for the kinds of
access that will find it there; when the model drops a translation, Unicorn is told to drop it.  The fill itself counts
nothing; the memory or block hook that follows it counts.

Unicorn hands memory hooks a physical address, of which the window (:mod:`mmu.windows`) tells the page.
"""

from __future__ import annotations

from unicorn.unicorn_const import UC_MEM_READ

from mmu.access import access_once, count_first_level, quiet_walk, rights_of
from mmu.array_record import Found, TlbArray, held_at
from mmu.engine_sync import catch_up, forget_page, remember_piece
from mmu.entries import US, XD
from mmu.events import ring_is_full
from mmu.eviction import leave_pcid
from mmu.hooks import answer_physmap, cr3_written, grant
from mmu.instruction import LONGEST, Kind, access_of, fetches_ahead, instruction_at, operand_bytes
from mmu.invalidation import invalidate_context, invalidate_individual, invalidate_linear, page_fault
from mmu.native import call1, cold, entry, inlined, load8, load64, native, prefetch, store64
from mmu.plain_access import held_first
from mmu.registers import Access
from mmu.replacement import touch
from mmu.state import MmuState, Status
from mmu.tlb import held_level, kind_bit, level_of_found, paddr_of, peek, same_arrays
from mmu.unicorn_abi import TlbEntry
from mmu.walk import CAN_EXECUTE, CAN_READ, CAN_WRITE, canonical, walk
from mmu.windows import WINDOW_SHIFT, is_alone, slot_of, take_first_window, window_of

_IN_WINDOW = (1 << WINDOW_SHIFT) - 1
_OFFSET, _PAGE = 0xFFF, 0x1000
_PAGE_MASK = 0xFFFF_FFFF_FFFF_F000
_WRITE_EXECUTE = CAN_WRITE | CAN_EXECUTE
_LAST_PAGE = (1 << 52) - 1


@native
def drain_if_full(state: MmuState) -> None:
    if ring_is_full(state):
        call1(state.make_room, 0)


# -- accesses ----------------------------------------------------------------------------------------------------------


@inlined
def access_translated(state: MmuState, vaddr: int, access: int, sure: bool) -> None:
    """One access that the engine has a translation for."""
    access_once(state, vaddr, access, sure)
    if state.last_access.walked != 0 and peek(state, access, vaddr).array == 0:
        forget_page(state, vaddr >> 12)  # no array holds this page


@native
def _holds(state: MmuState, vaddr: int, access: int) -> bool:
    """Whether the model holds a translation that allows the access."""
    found = peek(state, access, vaddr)
    return found.array != 0 and rights_of(state, found) & kind_bit(access) != 0


# -- fills -------------------------------------------------------------------------------------------------------------


@native
def rights_to_grant(state: MmuState, vaddr: int, access: int, mine: Found, walked: bool) -> int:
    """The translation's rights for those kinds of access that find this very translation (after this access).

    ``mine`` is what this one finds before it.
    """
    rights, paddr, level = state.walked.rights, state.walked.paddr, state.walked.level
    shared = load64(state.tlb_shared + (access * 4 + level) * 8) if walked else 0
    granted = kind_bit(access)
    other: int = Access.READ
    while other <= Access.FETCH:
        bit = kind_bit(other)
        if other != access and rights & bit != 0:
            found = mine
            if not same_arrays(state, access, other):
                found = peek(state, other, vaddr)
            if found.array != 0:
                if paddr_of(found, vaddr) == paddr and rights_of(state, found) & bit != 0:
                    granted |= bit
            elif shared & bit != 0:
                granted |= bit
        other += 1
    return rights & granted


@native
def _translate(state: MmuState, vaddr: int, access: int) -> int:
    """Put the translation that the access will find, held or walked for, in ``state.walked``, with the rights to grant.

    Returns all its rights, 0 where there is no translation.
    """
    found = peek(state, access, vaddr)
    walked = state.walked
    if found.array != 0:
        rights = rights_of(state, found)
        if rights & kind_bit(access) != 0:
            walked.level = level_of_found(found)
            walked.paddr = paddr_of(found, vaddr)
            walked.rights = rights
            walked.rights = rights_to_grant(state, vaddr, access, found, False)
            return rights
    state.unsure = 1
    if quiet_walk(state, vaddr, access) != Status.OK:
        return 0
    rights = walked.rights
    walked.level = held_level(state, walked.level)
    walked.rights = rights_to_grant(state, vaddr, access, found, True)
    return rights


@inlined
def _writes_code(state: MmuState, access: int, rights: int, frame: int) -> bool:
    """Whether this is a store to code by a page that may be executed, perhaps by the instruction before."""
    return access == Access.WRITE and rights & _WRITE_EXECUTE == _WRITE_EXECUTE and load8(state.has_code + frame) != 0


@entry("bool", "u64", "u64", "i32", "u64", MmuState)
def fill_exact(uc: int, vaddr: int, access_type: int, result: int, state: MmuState) -> bool:
    """UC_HOOK_TLB_FILL: what the model holds, or a walk that counts nothing; a fault ends the access, and counts."""
    if state.physmap_open != 0:
        return answer_physmap(state, vaddr, result)
    if ring_is_full(state):
        state.status = Status.RING_FULL
        return False
    if cr3_written(state, access_type):
        return False
    access = access_of(state, access_type - UC_MEM_READ)
    state.access = access
    if access == Access.FETCH and state.holds_back != 0 and not _holds(state, vaddr, access):
        if fetches_ahead(state, vaddr):
            return False
    if not canonical(state, vaddr):
        state.status = Status.GENERAL_PROTECTION
        return False
    rights = _translate(state, vaddr, access)
    if rights == 0:
        if state.status == Status.PAGE_FAULT:
            access_once(state, vaddr, access, False)
            page_fault(state, vaddr, state.pcid)
        return False
    if access_type == UC_MEM_READ and state.walked.rights & CAN_READ == 0:  # of what is going to be written
        state.walked.rights |= CAN_READ
        state.update_page = (vaddr >> 12) + 1
        state.unsure = 1
    prefetch(state.ram + state.walked.paddr + state.offset)
    frame = state.walked.paddr >> 12
    window, alone = 0, True
    if frame < state.frames:
        if _writes_code(state, access, rights, frame):
            state.walked.rights |= CAN_EXECUTE  # Unicorn sees writes to code through such an entry only
            window_of(state, vaddr, frame)
            take_first_window(state, vaddr, frame)
        else:
            window, alone = window_of(state, vaddr, frame), is_alone(state, vaddr, frame)
    if state.walked.level != 1:
        remember_piece(state, vaddr)
    if not grant(state, vaddr, access, result, alone):
        return False
    TlbEntry.from_address(result).paddr |= window << WINDOW_SHIFT
    if state.second_page == (vaddr >> 12) + 1 and access != Access.FETCH:
        access_translated(state, state.first_part, access, False)
        access_once(state, vaddr, access, False)
        state.second_page = 0
    return True


@entry("bool", "u64", "u64", "i32", "u64", MmuState)
def fill_in_windows(uc: int, vaddr: int, access_type: int, result: int, state: MmuState) -> bool:
    """UC_HOOK_TLB_FILL in filtered mode, where hooks want to know for which page an access is made."""
    if state.physmap_open != 0:
        return answer_physmap(state, vaddr, result)
    if ring_is_full(state):
        state.status = Status.RING_FULL
        return False
    if cr3_written(state, access_type):
        return False
    access = access_of(state, access_type - UC_MEM_READ)
    state.access = access
    if access == Access.FETCH and state.holds_back != 0 and fetches_ahead(state, vaddr):
        return False
    if walk(state, vaddr, access) != Status.OK:
        return False
    frame = state.walked.paddr >> 12
    window, alone = 0, True
    if frame < state.frames:
        if _writes_code(state, access, state.walked.rights, frame):
            window_of(state, vaddr, frame)
            take_first_window(state, vaddr, frame)
        else:
            window, alone = window_of(state, vaddr, frame), is_alone(state, vaddr, frame)
    if not grant(state, vaddr, access, result, alone):
        return False
    TlbEntry.from_address(result).paddr |= window << WINDOW_SHIFT
    return True


@native
def _is_reachable(state: MmuState, vaddr: int, access: int) -> bool:
    """Whether an access to this page needs no fault handler."""
    if _holds(state, vaddr, access):
        return True
    return canonical(state, vaddr) and quiet_walk(state, vaddr, access) == Status.OK


@cold
def _access_at_end(state: MmuState, vaddr: int, size: int, access: int, host: int) -> None:
    """An access that begins near the end of a page: of two pages if it goes on in the next one, whose part may be a
    piece that the engine accesses later.

    If the second part faults, the access is none yet: the fill that follows counts the fault, and both parts when that
    is resolved.  Else a piece that was stored before is to be what it was.
    """
    kind = instruction_at(state, load64(state.engine_rip))
    offset = vaddr & _OFFSET
    if offset + operand_bytes(kind, size) <= _PAGE:
        access_translated(state, vaddr, access, state.unsure == 0)
        return
    page = ((vaddr >> 12) + 1) & _LAST_PAGE  # the last page is followed by the first
    if not _is_reachable(state, page << 12, access):
        state.second_page, state.first_part, state.undo_at = page + 1, vaddr, 0
        if access == Access.WRITE and offset + size <= _PAGE:
            state.undo_at, state.undo_value = host, load64(host)
        return
    access_translated(state, vaddr, access, state.unsure == 0)
    access_translated(state, page << 12, access, False)


@cold
def note_size(state: MmuState, rip: int, size: int) -> None:
    """How many bytes the operand has, of which the engine accesses ``size`` now; for the events."""
    state.access_bytes = operand_bytes(instruction_at(state, rip), size)


@cold
def filled_access_is_over(state: MmuState) -> None:
    """The access for which a fill has walked has been made."""
    state.unsure = 0
    if state.update_page != 0:
        state.late_page, state.update_page = state.update_page, 0


@cold
def _is_rest(state: MmuState, rip: int) -> bool:
    """Whether this is the second piece of an operand, whose access has been counted."""
    return rip == state.piece_rip and instruction_at(state, rip) & (Kind.WIDE | Kind.TEN) != 0


@entry("void", "u64", "i32", "u64", "i32", "i64", MmuState)
def on_memory(uc: int, access_type: int, paddr: int, size: int, value: int, state: MmuState) -> None:
    """UC_HOOK_MEM_READ and UC_HOOK_MEM_WRITE: the TLB handles the access.

    A load of what the instruction is going to write is no access of its own, and the second piece of an operand of 16
    bytes is none.
    """
    access = access_type - UC_MEM_READ
    rip = load64(state.engine_rip)
    if access == Access.READ and instruction_at(state, rip) & Kind.UPDATES != 0:
        if state.late_page != 0:
            catch_up(state)
        return
    offset = paddr & _OFFSET
    frame = (paddr & _IN_WINDOW) >> 12
    page = load64(slot_of(state, frame, paddr >> WINDOW_SHIFT)) - 1
    vaddr = (page << 12) | offset
    if vaddr == state.next_piece and _is_rest(state, rip):
        state.next_piece = 0
        return
    state.next_piece, state.piece_rip = vaddr + 8, rip
    if state.event_mask != 0:
        note_size(state, rip, size)
        drain_if_full(state)
    if state.late_page != 0 and (access == Access.READ or state.late_page != page + 1):
        catch_up(state)
    if access == Access.WRITE:
        state.busy_page = page + 1
        if load8(state.has_code + frame) != 0:
            state.code_fetches += 1
    if offset > _PAGE - 16:
        _access_at_end(state, vaddr, size, access, state.ram + (paddr & _IN_WINDOW))
    else:
        access_translated(state, vaddr, access, state.unsure == 0)
    state.busy_page = 0
    if state.unsure != 0:
        filled_access_is_over(state)


@cold
def _repeats(state: MmuState, address: int) -> bool:
    """Whether there is a string instruction with REP."""
    return instruction_at(state, address) & Kind.REPEATS != 0


@inlined
def _hits_code(state: MmuState, vaddr: int) -> bool:
    """The most frequent fetch, counted: the first array of the first level holds the page, of 4K, which user mode may
    execute, and no event is to be recorded.

    False, with nothing changed, for any other fetch.
    """
    if state.event_mask | state.check != 0 or state.cpl != 3:
        return False
    found = held_first(state, vaddr, Access.FETCH)
    if found.array == 0:
        return False
    array = TlbArray.from_address(found.array)
    held = held_at(array, found.place)
    if held.any_xd & XD != 0 or held.every & US == 0:
        return False
    array.hits += 1
    touch(state, array, found.place, vaddr, 1, False)
    count_first_level(state, Access.FETCH)
    last = state.last_access
    last.level, last.walked, last.array, last.place = 1, 0, found.array, found.place
    return True


@inlined
def _fetch(state: MmuState, vaddr: int) -> None:
    if not _hits_code(state, vaddr):
        access_translated(state, vaddr, Access.FETCH, False)


@inlined
def fetch_block(state: MmuState, address: int, size: int) -> None:
    """One fetch a block and page; a block may come in pieces.  The iterations of a repeated instruction, each of which
    the engine runs as a block, are one.
    """
    if state.physmap_open != 0:
        return
    if state.event_mask != 0:
        store64(state.engine_rip, address)
        state.access_bytes = 0
        drain_if_full(state)
    state.second_page = 0
    if state.late_page != 0:
        catch_up(state)
    end, fetched = address + size, state.fetched
    state.fetched = 0
    if end == state.last_end and size <= LONGEST and _repeats(state, address):
        return
    state.last_end = end
    if fetched != address + 1:
        _fetch(state, address)
    last = end - 1
    if last >> 12 != address >> 12 and size != 0:
        _fetch(state, last & _PAGE_MASK)


@entry("void", "u64", "u64", "u32", MmuState)
def on_fetch(uc: int, address: int, size: int, state: MmuState) -> None:
    """UC_HOOK_BLOCK: the TLB handles the fetches of the block."""
    fetch_block(state, address, size)


# -- for Python --------------------------------------------------------------------------------------------------------


@native
def _modelled(state: MmuState, vaddr: int, access: int) -> int:
    if not canonical(state, vaddr):
        state.status = Status.GENERAL_PROTECTION
        return Status.GENERAL_PROTECTION
    return access_once(state, vaddr, access, False)


@entry("u64", MmuState, "u64", "u64")
def model_access(state: MmuState, vaddr: int, access: int) -> int:
    """One access without Unicorn: the result is in ``state``."""
    return _modelled(state, vaddr, access)


@entry("void", MmuState, "u64", "u64", "u64")
def model_accesses(state: MmuState, vaddrs: int, kinds: int, number: int) -> None:
    """``number`` accesses: uint64 addresses, and uint64 kinds of access."""
    i = 0
    while i < number:
        _modelled(state, load64(vaddrs + i * 8), load64(kinds + i * 8))
        i += 1


@entry("u64", MmuState, "u64")
def found_address(state: MmuState, vaddr: int) -> int:
    """The physical address by the translation that the last access found; to be called before anything else is done."""
    return paddr_of(Found(state.last_access.array, state.last_access.place), vaddr)


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
    """Invalidate what the delivery of a page fault invalidates."""
    page_fault(state, vaddr, pcid)


@entry("void", MmuState, "u64")
def leave_context(state: MmuState, pcid: int) -> None:
    """Another PCID has become the current one."""
    leave_pcid(state, pcid)


@entry("void", MmuState, "u64", "u64", "u64")
def invalidate_all(state: MmuState, pcid: int, every_pcid: int, globals_too: int) -> None:
    """Invalidate all translations of one PCID, or of all PCIDs."""
    invalidate_context(state, pcid, every_pcid != 0, globals_too != 0)
