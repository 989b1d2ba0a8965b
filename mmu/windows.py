"""Physical windows: where a frame is for each page that it stands for, so that a physical address tells the page.

Memory is mapped at several windows (window k at k << 40).  A fill picks the lowest one in which the frame is free or
already stands for that page, and ``page_of`` gives the page back.
"""

from __future__ import annotations

from mmu.engine_held import drop_in_engine
from mmu.native import call3, inlined, load8, load64, native, store64
from mmu.state import MmuState

WINDOW_SHIFT = 40
WINDOWS = 8
_PAGE_MASK = 0xFFFF_FFFF_FFFF_F000


@inlined
def slot_of(state: MmuState, frame: int, window: int) -> int:
    """The host address of what stands in a window for a frame; of all frames, one behind the other, as most have one
    page."""
    return state.page_of + (window * state.frames + frame) * 8


@native
def window_of(state: MmuState, vaddr: int, frame: int) -> int:
    """The window in which ``frame`` stands for the page of ``vaddr``; if all windows are taken, another page is
    dropped.
    """
    page = (vaddr >> 12) + 1
    k = 0
    while k < state.windows:
        slot = slot_of(state, frame, k)
        holder = load64(slot)
        if holder == page:
            return k
        if holder == 0:
            store64(slot, page)
            return k
        k += 1
    k = page % state.windows
    slot = slot_of(state, frame, k)
    other = load64(slot) - 1
    if load8(state.has_code + frame) != 0 or not drop_in_engine(state, other):
        call3(state.engine_flush_page, state.engine_cpu, other << 12, 0)
    store64(slot, page)
    return k


@native
def is_alone(state: MmuState, vaddr: int, frame: int) -> bool:
    """Whether no other page uses the frame in any window."""
    page = (vaddr >> 12) + 1
    k = 0
    while k < state.windows:
        holder = load64(slot_of(state, frame, k))
        if holder == 0:  # and so are those behind it
            return True
        if holder != page:
            return False
        k += 1
    return True


@native
def take_first_window(state: MmuState, vaddr: int, frame: int) -> None:
    """Have the frame stand for the page of ``vaddr`` in window 0, and for the page that has that in the other's place.

    Unicorn finds the code of a frame by the host's address, so in window 0 whatever window it was fetched in, and
    notices stores to code there only.
    """
    page = (vaddr >> 12) + 1
    k = 0
    while load64(slot_of(state, frame, k)) != page:
        k += 1
    first = slot_of(state, frame, 0)
    other = load64(first)
    if other != page:
        store64(slot_of(state, frame, k), other)
        store64(first, page)
        call3(state.engine_flush_page, state.engine_cpu, (other - 1) << 12, 0)
        call3(state.engine_flush_page, state.engine_cpu, vaddr & _PAGE_MASK, 0)
