"""Keeping Unicorn's own translations within the model's.

Unicorn has a translation cache in front of the fill hook.  What the model forgets, Unicorn is told to forget, 4K page
by 4K page: the pieces of large pages that it may hold are listed.  One thing must wait: the page of a store that is
under way, since Unicorn uses that entry after the hook.
"""

from __future__ import annotations

from mmu.native import U, call3, cold, load64, native, store64
from mmu.state import MmuState
from mmu.unicorn_abi import MMU_INDICES, NEVER_NS, TLB_WINDOW_STRIDE

#: How many pieces of large pages Unicorn may hold before a fill empties its whole cache.
MAX_PIECES = 1024
_MAX_PIECES = U(MAX_PIECES)
_ZERO, _ONE, _EIGHT, _NINE, _TWELVE = U(0), U(1), U(8), U(9), U(12)
_WINDOWS_BYTES, _WINDOW_STRIDE, _NEVER = U(MMU_INDICES * TLB_WINDOW_STRIDE), U(TLB_WINDOW_STRIDE), U(NEVER_NS)


@native
def forget_page(state: MmuState, page: int) -> None:
    """Unicorn forgets the 4K page of this number, now or, if it is busy, later."""
    if page + _ONE == state.busy_page:
        state.late_page = page + _ONE
    else:
        call3(state.engine_flush_page, state.engine_cpu, page << _TWELVE, _ZERO)


@native
def catch_up(state: MmuState) -> None:
    """Forget the page that was busy.  Not inside a store to it."""
    page = state.late_page
    if page != _ZERO:
        state.late_page = _ZERO
        call3(state.engine_flush_page, state.engine_cpu, (page - _ONE) << _TWELVE, _ZERO)


@native
def tell_engine(state: MmuState, vaddr: int, level: int) -> None:
    """The model has forgotten the page of this level that holds ``vaddr``."""
    if state.engine_cpu == _ZERO:
        return
    if level == _ONE:
        forget_page(state, vaddr >> _TWELVE)
        return
    shift = _NINE * (level - _ONE)
    wanted = vaddr >> (_TWELVE + shift)
    i, kept = _ZERO, _ZERO
    while i < state.pieces_number:
        page = load64(state.pieces + i * _EIGHT)
        if page >> shift == wanted:
            forget_page(state, page)
        else:
            store64(state.pieces + kept * _EIGHT, page)
            kept += _ONE
        i += _ONE
    state.pieces_number = kept


@cold
def _forget_all(state: MmuState) -> None:
    """Unicorn forgets everything; as :func:`mmu.unicorn_abi.flush_tlb` does it, whatever the host's clock says.  Safe
    inside a fill."""
    offset = _ZERO
    while offset < _WINDOWS_BYTES and state.engine_windows != _ZERO:
        store64(state.engine_windows + offset, _NEVER)
        offset += _WINDOW_STRIDE
    call3(state.engine_flush, state.engine_cpu, _ZERO, _ZERO)
    state.epoch += _ONE


@native
def remember_piece(state: MmuState, vaddr: int) -> None:
    """A fill is about to give Unicorn a piece of a large page."""
    page = vaddr >> _TWELVE
    number = state.pieces_number
    if number != _ZERO and load64(state.pieces + (number - _ONE) * _EIGHT) == page:
        return
    if number == _MAX_PIECES:
        _forget_all(state)
        number = _ZERO
    store64(state.pieces + number * _EIGHT, page)
    state.pieces_number = number + _ONE
