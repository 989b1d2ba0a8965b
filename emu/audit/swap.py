"""Slots of swap areas: their counts against the entries and pages that have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from emu.audit.books import Books
from emu.mm.pageflags import PG_SWAPCACHE
from emu.mm.shmempages import ShmemPages
from emu.mm.swapfile import BAD, HAS_CACHE, OFFSET_MASK, TYPE_SHIFT, SwapArea
from emu.mm.swapops import is_swapped, slot_of

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.mm.address_space import AddressSpace
    from emu.mm.frameusers import FrameHolder


def count_entry(books: Books, mm: AddressSpace, where: str, vaddr: int, entry: int) -> bool:
    """Count an entry that maps nothing, if it is a swap entry of an area that exists."""
    if not is_swapped(entry):
        return False
    slot, areas = slot_of(entry), mm.context.swap.areas.by_type
    kind, offset = slot >> TYPE_SHIFT, slot & OFFSET_MASK
    area = areas[kind] if kind < len(areas) else None
    if area is None or not 0 < offset < area.max:
        return False
    books.slots[slot] += 1
    if mm.vmas.find(vaddr) is None:
        books.say(f"{where} lies in swap, but no VMA covers it")
    return True


def check_swap(books: Books, kernel: Kernel, caches: list[FrameHolder]) -> None:
    """Check the count of every slot, and the swap cache."""
    swap = kernel.mm_context.swap
    for cache in caches:
        if isinstance(cache, ShmemPages):
            for slot in cache.swapped.values():
                books.slots[slot] += 1
    cached = 0
    for area in swap.areas.active:
        _check_counts(books, area)
        cached += _check_cached(books, kernel, area)
    if cached != swap.cached:
        books.say(f"{swap.cached} pages are accounted for as in the swap cache, and {cached} are")
    flagged = int(np.count_nonzero(kernel.frames.flags[: max(books.limit, kernel.frames.high_water)] & PG_SWAPCACHE))
    if flagged != cached:
        books.say(f"{flagged} frames say that they are in the swap cache, and {cached} are")


def _check_counts(books: Books, area: SwapArea) -> None:
    counts = np.where(area.counts == BAD, 0, area.counts & ~HAS_CACHE)
    found = np.zeros(area.max, dtype=np.int64)
    for slot, number in books.slots.items():
        if slot >> TYPE_SHIFT == area.kind:
            found[slot & OFFSET_MASK] = number
    for offset in np.flatnonzero(counts != found).tolist():
        books.say(f"slot {offset} of {area.name()} has {counts[offset]} uses, and {found[offset]} were found")
    in_use = int(np.count_nonzero((area.counts != 0) & (area.counts != BAD)))
    if in_use != area.in_use:
        books.say(f"{area.in_use} slots of {area.name()} are accounted for as used, and {in_use} are")


def _check_cached(books: Books, kernel: Kernel, area: SwapArea) -> int:
    """Check the pages of the swap cache that have slots of this area; returns how many there are."""
    swap, frames = kernel.mm_context.swap, kernel.frames
    has = (area.counts != BAD) & (area.counts & HAS_CACHE != 0)
    for offset in np.flatnonzero(has != (area.frames != 0)).tolist():
        books.say(f"slot {offset} of {area.name()} says otherwise than the swap cache whether a page has it")
    offsets = np.flatnonzero(area.frames)
    held = area.frames[offsets].astype(np.int64)
    books.hold(held)
    wrong = (swap.slots_of(held) != (offsets | area.kind << TYPE_SHIFT)) | (frames.flags[held] & PG_SWAPCACHE == 0)
    for frame in held[wrong].tolist():
        books.say(f"frame {frame:#x} does not know the slot of {area.name()} that it is the page of")
    return len(offsets)
