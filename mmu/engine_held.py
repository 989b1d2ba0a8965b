"""What the engine holds of translations, in its own words; they are looked at, and those of a page taken out.

It has a table for each kind of code that runs, of which each page has one place, and eight victims that have left it.
"""

from __future__ import annotations

from mmu.native import inlined, load64, native, store64
from mmu.state import MmuState
from mmu.unicorn_abi import (
    ENTRY_CODE,
    ENTRY_READ,
    ENTRY_WRITE,
    ENV_REGS,
    MMU_INDICES,
    TLB_ENTRY_BYTES,
    TLB_LARGE,
    TLB_MASK,
    TLB_TABLE,
    TLB_USED,
    TLB_VICTIMS,
    TLB_VICTIMS_END,
    TLB_VICTIMS_MADE,
    TLB_WINDOW_STRIDE,
)

_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
#: The page of this number seems to be held where nothing is.
_LAST_PAGE = (1 << 52) - 1


@inlined
def place_in_engine(env: int, index: int, vaddr: int) -> int:
    """The host address of the engine's translation of this page, or of another one that takes its place."""
    at = env + index * 16
    return load64((at + TLB_TABLE) & _ALL_ONES) + ((vaddr >> 6) & load64((at + TLB_MASK) & _ALL_ONES))


@inlined
def _is_of_page(held: int, page: int) -> bool:
    """Whether a translation is one of this page; True too if it is none, for the page that has the highest number."""
    every = load64(held + ENTRY_READ) & load64(held + ENTRY_WRITE) & load64(held + ENTRY_CODE)
    return every >> 12 == page  # each is of this page, or all ones


@native
def is_victim(state: MmuState, index: int, page: int) -> bool:
    """Whether a page may be among the victims of an index."""
    window = state.engine_windows + index * TLB_WINDOW_STRIDE
    at, end = window + TLB_VICTIMS, window + TLB_VICTIMS_END
    while at < end:
        if _is_of_page(at, page):
            return True
        at += TLB_ENTRY_BYTES
    return False


@native
def _drop(window: int, held: int) -> None:
    """Take a translation out, as tlb_flush_page does."""
    at, end = held, held + TLB_ENTRY_BYTES
    while at < end:
        store64(at, _ALL_ONES)
        at += 8
    store64(window + TLB_USED, (load64(window + TLB_USED) + _ALL_ONES) & _ALL_ONES)


@native
def drop_in_engine(state: MmuState, page: int) -> bool:
    """Have the engine forget a page of 4K of which it has no code, as tlb_flush_page does, which empties the table of
    where code of the page is, too; False if that is to do it."""
    if state.engine_windows == 0 or page == _LAST_PAGE:
        return False
    env, index = state.engine_cpu + ENV_REGS, 0
    while index < MMU_INDICES:
        window = state.engine_windows + index * TLB_WINDOW_STRIDE
        if load64(window + TLB_USED) | load64(window + TLB_VICTIMS_MADE) != 0:
            if load64((window + TLB_LARGE) & _ALL_ONES) != _ALL_ONES:
                return False
            at, end = place_in_engine(env, index, page << 12), window + TLB_VICTIMS_END
            if _is_of_page(at, page):
                _drop(window, at)
            at = window + TLB_VICTIMS
            while at < end:
                if _is_of_page(at, page):
                    _drop(window, at)
                at += TLB_ENTRY_BYTES
        index += 1
    return True


@native
def engine_may_hold(state: MmuState, page: int) -> bool:
    """Whether the engine may hold a translation of the page of this number."""
    if state.engine_windows == 0:
        return True
    env, index = state.engine_cpu + ENV_REGS, 0
    while index < MMU_INDICES:
        window = state.engine_windows + index * TLB_WINDOW_STRIDE
        if load64(window + TLB_USED) | load64(window + TLB_VICTIMS_MADE) != 0:
            if load64((window + TLB_LARGE) & _ALL_ONES) != _ALL_ONES:
                return True
            if _is_of_page(place_in_engine(env, index, page << 12), page) or is_victim(state, index, page):
                return True
        index += 1
    return False
