"""Physical windows: where a frame is for each page that it stands for, so that a physical address tells the page.

Memory is mapped at several windows (window k at k << 40).  A fill picks the lowest one in which the frame is free or
already stands for that page, and ``page_of`` gives the page back.
"""

from __future__ import annotations

from mmu.native import call3, inlined, load64, native, store64
from mmu.state import MmuState

WINDOW_SHIFT = 40
WINDOWS = 8
_PAGE_MASK = 0xFFFF_FFFF_FFFF_F000


@inlined
def slots_of(state: MmuState, frame: int) -> int:
    """The host address of what stands in the windows for a frame, one behind the other."""
    return state.page_of + frame * state.windows * 8


@native
def window_of(state: MmuState, vaddr: int, frame: int) -> int:
    """The window in which ``frame`` stands for the page of ``vaddr``; if all windows are taken, another page is
    dropped.
    """
    page = (vaddr >> 12) + 1
    k, slots = 0, slots_of(state, frame)
    while k < state.windows:
        slot = slots + k * 8
        holder = load64(slot)
        if holder == page or holder == 0:
            store64(slot, page)
            return k
        k += 1
    k = page % state.windows
    slot = slots + k * 8
    call3(state.engine_flush_page, state.engine_cpu, (load64(slot) - 1) << 12, 0)
    store64(slot, page)
    return k


@native
def is_alone(state: MmuState, vaddr: int, frame: int) -> bool:
    """Whether no other page uses the frame in any window."""
    page = (vaddr >> 12) + 1
    k, slots = 0, slots_of(state, frame)
    while k < state.windows:
        holder = load64(slots + k * 8)
        if holder != 0 and holder != page:
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
    first = slots_of(state, frame)
    slot = first
    while load64(slot) != page:
        slot += 8
    other = load64(first)
    if other != page:
        store64(slot, other)
        store64(first, page)
        call3(state.engine_flush_page, state.engine_cpu, (other - 1) << 12, 0)
        call3(state.engine_flush_page, state.engine_cpu, vaddr & _PAGE_MASK, 0)
