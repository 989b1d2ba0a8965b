"""swapoff(2): everything that lies in an area comes back (try_to_unuse of mm/swapfile.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError
from emu.mm.flags import FaultResult
from emu.mm.pagetable import PROTNONE, P
from emu.mm.shmempages import all_objects
from emu.mm.swapfile import HAS_CACHE, TYPE_SHIFT
from emu.mm.swapops import slots_of, swapped
from mmu.late import np
from mmu.memory import PAGE_SHIFT
from mmu.registers import Access

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.context import MmContext
    from emu.mm.swapfile import SwapArea
    from emu.mm.vma import Vma


def try_to_unuse(context: MmContext, area: SwapArea) -> None:
    """Bring back every page of an area.  LinuxError(ENOMEM) and NoIntr leave some brought back."""
    for mm in list(context.address_spaces.values()):
        if mm.rss_swap:
            for vma in list(mm.vmas):
                context.stop.check()
                _unuse(mm, vma, area)
    for cache in all_objects(context.frames):
        for index in [at for at, slot in cache.swapped.items() if slot >> TYPE_SHIFT == area.kind]:
            context.stop.check()
            cache.get_page(index)
    offsets = np.flatnonzero(area.counts == HAS_CACHE)
    if len(offsets):  # pages that only the swap cache has a slot for
        for frame in area.frames[offsets].astype(np.int64).tolist():
            context.swap.try_to_free(frame)
    assert not area.in_use, "try_to_unuse: slots are left"


def _unuse(mm: AddressSpace, vma: Vma, area: SwapArea) -> None:
    """Map every page of a mapping that lies in the area (unuse_pte_range)."""
    for vaddr, slot, number in mm.tables.pte_tables(vma.start, vma.end):
        view = mm.tables.words[slot : slot + number]
        away = np.flatnonzero(swapped(view))
        for index in away[slots_of(view[away]) >> TYPE_SHIFT == area.kind].tolist():
            mm.stop.check()
            unuse_pte(mm, vma, vaddr + (index << PAGE_SHIFT), slot + index)


def unuse_pte(mm: AddressSpace, vma: Vma, address: int, at: int) -> None:
    """LinuxError(ENOMEM)."""
    from emu.mm.swapin import do_swap_page

    entry = mm.frames.ram.qwords[at]
    result, _ = do_swap_page(mm, vma, address, Access.READ, at, entry, ahead=False)
    if result is not FaultResult.MINOR:
        raise LinuxError(errno.ENOMEM)
    if not vma.prot:
        mm.frames.ram.qwords[at] = mm.frames.ram.qwords[at] & ~P | PROTNONE
