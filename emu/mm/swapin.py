"""Pages that come back from swap areas: faults, and pages that are read ahead (do_swap_page of mm/memory.c,
mm/swap_state.c).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.linux.cost import Cost
from emu.linux.errors import LinuxError
from emu.linux.mman import Prot
from emu.mm.flags import FaultResult, VmFlags
from emu.mm.pageflags import PG_MAYBE_SHARED, FrameKind
from emu.mm.pagetable import RW, UFFD_WP_BIT, D, span
from emu.mm.swapahead import CEILING, ReadAhead, pages_to_read
from emu.mm.swapops import SWP_EXCLUSIVE, SWP_UFFD_WP, is_swapped, slot_of
from mmu.memory import PAGE_SHIFT, PAGE_SIZE
from mmu.registers import Access

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.swapcache import Swap
    from emu.mm.vma import Vma

_MOST_HITS = 63
_PMD = span(2)


def do_swap_page(
    mm: AddressSpace, vma: Vma, address: int, access: Access, at: int, entry: int, *, ahead: bool = True
) -> tuple[FaultResult | None, bool]:
    """Map the page that a swap entry, in the slot ``at`` of a table, stands for; returns None if a write to it is still
    to be allowed (do_wp_page), and whether the page had to be read.  ``ahead``: others may be read with it.
    LinuxError(ENOMEM).
    """
    frames, page = mm.frames, address & -PAGE_SIZE
    swap, slot = mm.context.swap, slot_of(entry)
    frame, major = _bring(swap, mm, vma, page, slot, ahead)
    frames.ram.qwords[at] = 0
    mm.rss_swap -= 1
    mm.rss_anon += 1
    swap.free_one(slot)
    write = access == Access.WRITE
    # should_try_to_free_swap(): references of the swap cache and of this mapping, and of nobody else
    if swap.full or vma.flags & VmFlags.LOCKED or (write and frames.count(frame) == 2):
        swap.try_to_free(frame)
    alone = bool(entry & SWP_EXCLUSIVE) or frames.count(frame) == 1
    pte = frame << PAGE_SHIFT | vma.page_bits | (UFFD_WP_BIT if entry & SWP_UFFD_WP else 0)
    if alone:
        frames.clear_flag(frame, PG_MAYBE_SHARED)
        if vma.prot & Prot.WRITE and not (pte & UFFD_WP_BIT and vma.flags & VmFlags.UFFD_WP):
            pte |= RW | (D if write else 0)
    else:
        frames.set_page_flags(frame, PG_MAYBE_SHARED)
    frames.ram.qwords[at] = pte
    mm.obligation(page, page + PAGE_SIZE).was_not_present()
    if major:
        mm.context.clock.charge(Cost.PAGE)
    return (None if write and not pte & RW else FaultResult.MINOR), major


def _bring(swap: Swap, mm: AddressSpace, vma: Vma, page: int, slot: int, ahead: bool) -> tuple[int, bool]:
    """The frame for an entry, with a reference for it, and whether it had to be read (a major fault)."""
    frame = swap.find(slot)
    if frame:
        _asked_for(swap, vma, page, frame)
        mm.frames.get(frame)
    else:
        area = swap.area(slot)
        if area.synchronous and swap.uses(slot) == 1:  # straight to its place, past the swap cache
            return swap.read_in(slot, FrameKind.ANON, mm), True
        if ahead:
            _read_around(swap, mm, vma, page)
        frame = swap.read_cached(slot, FrameKind.ANON, mm)[0]
        mm.frames.get(frame)
        _become_anonymous(mm, frame)
        return frame, True
    _become_anonymous(mm, frame)
    return frame, False


def _become_anonymous(mm: AddressSpace, frame: int) -> None:
    """A page that was read ahead for nobody in particular is private memory."""
    if not mm.frames.is_anon(frame):
        mm.frames.change_kind(frame, FrameKind.ANON)


def _asked_for(swap: Swap, vma: Vma, page: int, frame: int) -> None:
    """A page of the swap cache is used (swap_update_readahead)."""
    ahead = swap.asked_for(frame)
    info = vma.swap_readahead or ReadAhead()
    vma.swap_readahead = ReadAhead(page, info.window, min(info.hits + ahead, _MOST_HITS))


def _window(vma: Vma, page: int, most: int) -> tuple[int, int]:
    """The pages around a fault that are to be read with it (swap_vma_ra_win)."""
    info = vma.swap_readahead or ReadAhead()
    before = info.address
    window = pages_to_read(page >> PAGE_SHIFT, before >> PAGE_SHIFT, info.hits, most, info.window)
    vma.swap_readahead = ReadAhead(page, window, 0)
    if page == before + PAGE_SIZE:
        left = page
    elif before == page + PAGE_SIZE:
        left = page - (window << PAGE_SHIFT) + PAGE_SIZE
    else:
        left = page - ((window - 1) // 2 << PAGE_SHIFT)
    low = page & -_PMD
    return max(left, vma.start, low), min(left + (window << PAGE_SHIFT), vma.end, low + _PMD)


def _read_around(swap: Swap, mm: AddressSpace, vma: Vma, page: int) -> None:
    """Read as many of the pages around as have lately been of use (swap_vma_readahead)."""
    most = 1 << min(swap.page_cluster, CEILING)
    if most > 1:
        start, end = _window(vma, page, most)
        for at in range(start, end, PAGE_SIZE):
            if at != page:
                read_ahead(swap, mm.tables.pte(at), counts=True)


def read_ahead(swap: Swap, entry: int, *, counts: bool = False) -> None:
    """Bring the page for an entry, if it is a swap entry, into the swap cache, if there is memory for it; ``counts``:
    it is remembered whether that paid.
    """
    if not is_swapped(entry):
        return
    try:
        frame, fresh = swap.read_cached(slot_of(entry), FrameKind.ANON)
    except LinuxError:
        return
    if fresh and counts:
        swap.ahead.add(frame)
        swap.events["swap_ra"] += 1
