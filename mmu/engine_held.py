"""What the engine holds of translations, in its own words: looked at, never changed.

It has a table for each kind of code that runs, of which each page has one place, and eight victims that have left it.
"""

from __future__ import annotations

from mmu.native import inlined, load64, native
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


@inlined
def place_in_engine(env: int, index: int, vaddr: int) -> int:
    """The host address of the engine's translation of this page, or of another one that takes its place."""
    at = env + index * 16
    return load64((at + TLB_TABLE) & _ALL_ONES) + ((vaddr >> 6) & load64((at + TLB_MASK) & _ALL_ONES))


@inlined
def _is_of_page(held: int, page: int) -> bool:
    """Whether a translation is one of this page; True too if it is none, for the page that has the highest number."""
    if load64(held + ENTRY_READ) >> 12 == page or load64(held + ENTRY_WRITE) >> 12 == page:
        return True
    return load64(held + ENTRY_CODE) >> 12 == page


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
