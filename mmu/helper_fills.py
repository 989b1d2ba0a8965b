"""A page of which neither the engine nor the model holds a translation: our own helpers walk once, and give the engine
what it would have asked for.

Asked by a helper of its own, the engine looks RIP up, and calls the fill hook.  What it gets here is what
:func:`mmu.exact.fill_exact` answers; the most frequent case only.
"""

from __future__ import annotations

from mmu.access import access_missed
from mmu.array_record import Found
from mmu.engine_held import is_victim
from mmu.engine_sync import forget_page
from mmu.entries import ADDRESS, D
from mmu.exact import filled_access_is_over, rights_to_grant
from mmu.helper_places import Helpers
from mmu.native import call6, load8, native, prefetch, store32
from mmu.registers import CR4, Access
from mmu.state import MmuState, Status
from mmu.structure_cache import begin_walk
from mmu.tlb import kind_bit, peek
from mmu.walk import CAN_READ, CAN_WRITE, canonical, key_denies, page_rights, plain_walk_from, root
from mmu.windows import WINDOW_SHIFT, slot_of, window_of

#: What it has done: nothing; or the engine has the translation; or the model has handled the access, too.
IS_TO_ASK, FILLED, ACCESSED = 0, 1, 2
_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
_PAGE, _PAGE_MASK = 0x1000, 0xFFFF_FFFF_FFFF_F000


@native
def fill_at_once(helpers: Helpers, state: MmuState, vaddr: int, access: int, index: int) -> int:
    """Give the engine the translation of a page of 4K, for a load or a store of an index.

    Nothing has changed if it is to ask: where a translation is held, something is to be set in the tables, or recorded,
    the access is not allowed, or there is code in the frame.
    """
    if state.event_mask | state.physmap_open | (state.cr4 & CR4.LA57) != 0 or not canonical(state, vaddr):
        return IS_TO_ASK
    start = begin_walk(state, vaddr, root(state), True)
    found = plain_walk_from(state, vaddr, start)
    if found.every == 0:
        return IS_TO_ASK
    paddr = found.pte & ADDRESS
    if paddr >= state.ram_bytes:
        return IS_TO_ASK
    frame = paddr >> 12
    prefetch(state.ram + paddr + (vaddr & 0xFFF))
    prefetch(slot_of(state, frame, 0))
    rights = page_rights(state, found.every, found.any_xd) & (_ALL_ONES ^ key_denies(state, found.every, found.pte))
    rights &= CAN_READ if found.pte & D == 0 else CAN_READ | CAN_WRITE  # a frame with code is not one of these
    if rights & kind_bit(access) == 0 or load8(state.has_code + frame) != 0:
        return IS_TO_ASK
    if peek(state, access, vaddr).array != 0 or is_victim(state, index, vaddr >> 12):
        return IS_TO_ASK
    walked = state.walked
    walked.paddr, walked.level, walked.rights = paddr, 1, rights
    rights = rights_to_grant(state, vaddr, access, Found(0, 0), True)
    if rights & CAN_WRITE != 0:
        store32(state.written_epoch + frame * 4, state.epoch)
    state.status, state.access, state.unsure = Status.OK, access, 1
    state.fills += 1
    paddr |= window_of(state, vaddr, frame) << WINDOW_SHIFT
    call6(helpers.set_page, state.engine_cpu, vaddr & _PAGE_MASK, paddr, rights, index, _PAGE)
    if start.level != 1 or state.late_page != 0:
        return FILLED
    if access == Access.WRITE:
        state.busy_page = (vaddr >> 12) + 1
    access_missed(state, vaddr, access, found)
    if peek(state, access, vaddr).array == 0:
        forget_page(state, vaddr >> 12)  # no array holds this page
    state.busy_page = 0
    filled_access_is_over(state)
    return ACCESSED
