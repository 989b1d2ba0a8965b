"""Keeping Unicorn's own translations within the model's.

Unicorn has a translation cache in front of the fill hook.  When the model drops a translation, Unicorn is told to drop
it too, 4K page by 4K page: the pieces of large pages that it may hold are listed.  Only the page of a store under way
must wait, since Unicorn uses that entry after the hook.
"""

from __future__ import annotations

from mmu.native import call3, cold, load64, native, store64
from mmu.state import MmuState
from mmu.unicorn_abi import MMU_INDICES, NEVER_NS, TLB_WINDOW_STRIDE

#: How many pieces of large pages Unicorn may hold before a fill empties its whole cache.
MAX_PIECES = 1024
_WINDOWS_BYTES = MMU_INDICES * TLB_WINDOW_STRIDE


@native
def begin_windows(first: int, begin: int) -> None:
    """Say when the engine's TLB windows, of which this is the address of the first, have begun."""
    offset = 0
    while offset < _WINDOWS_BYTES:
        store64(first + offset, begin)
        offset += TLB_WINDOW_STRIDE


@native
def forget_page(state: MmuState, page: int) -> None:
    """Make Unicorn forget the 4K page of this number, now or, if it is busy, later."""
    if page + 1 == state.busy_page:
        state.late_page = page + 1
    else:
        call3(state.engine_flush_page, state.engine_cpu, page << 12, 0)


@native
def catch_up(state: MmuState) -> None:
    """Forget the page that was busy.  Not inside a store to it."""
    page = state.late_page
    if page != 0:
        state.late_page = 0
        call3(state.engine_flush_page, state.engine_cpu, (page - 1) << 12, 0)


@native
def tell_engine(state: MmuState, vaddr: int, level: int) -> None:
    """Make Unicorn forget the page of this level that holds ``vaddr``, since the model has."""
    if state.engine_cpu == 0:
        return
    if level == 1:
        forget_page(state, vaddr >> 12)
        return
    shift = 9 * (level - 1)
    wanted = vaddr >> (12 + shift)
    i, kept = 0, 0
    while i < state.pieces_number:
        page = load64(state.pieces + i * 8)
        if page >> shift == wanted:
            forget_page(state, page)
        else:
            store64(state.pieces + kept * 8, page)
            kept += 1
        i += 1
    state.pieces_number = kept


@cold
def _forget_all(state: MmuState) -> None:
    """Make Unicorn forget everything; like :func:`mmu.unicorn_abi.flush_tlb`, independent of the host's clock.  Safe
    inside a fill.
    """
    if state.engine_windows != 0:
        begin_windows(state.engine_windows, NEVER_NS)
    call3(state.engine_flush, state.engine_cpu, 0, 0)
    state.epoch += 1


@native
def remember_piece(state: MmuState, vaddr: int) -> None:
    """Note that a fill is about to give Unicorn a piece of a large page."""
    page = vaddr >> 12
    number = state.pieces_number
    if number != 0 and load64(state.pieces + (number - 1) * 8) == page:
        return
    if number == MAX_PIECES:
        _forget_all(state)
        number = 0
    store64(state.pieces + number * 8, page)
    state.pieces_number = number + 1
