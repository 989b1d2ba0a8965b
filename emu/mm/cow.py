"""Writes to pages that others may see: copy on write (do_wp_page in mm/memory.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.linux.cost import Cost
from emu.linux.errors import LinuxError
from emu.mm import rss
from emu.mm.flags import FaultResult, VmFlags
from emu.mm.pageflags import PG_DIRTY, PG_LAZYFREE, PG_MAYBE_SHARED
from emu.mm.pagetable import ADDRESS, RW, SPECIAL, UFFD_WP_BIT, A, D
from mmu.memory import PAGE_SHIFT, PAGE_SIZE
from mmu.registers import Access

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma


_PAGE = Cost.PAGE


def can_follow_write(mm: AddressSpace, entry: int) -> bool:
    """Whether a page may be written by force as it is (can_follow_write_common)."""
    return not entry & UFFD_WP_BIT and rss.is_exclusive(mm, entry)


def write_protected(mm: AddressSpace, vma: Vma, address: int, slot: int, pte: int) -> FaultResult:
    """do_wp_page(): make the page writable, copying it if another mapping can see it."""
    frames = mm.frames
    if pte & UFFD_WP_BIT:
        if vma.uffd is not None and vma.flags & VmFlags.UFFD_WP and not vma.uffd.wp_async:
            return mm.handle_userfault(vma, address, access=Access.WRITE, reason=VmFlags.UFFD_WP)
        pte &= ~UFFD_WP_BIT
    page = address & -PAGE_SIZE
    frame = (pte & ADDRESS) >> PAGE_SHIFT
    if vma.shared or (frames.is_anon(frame) and frames.mapcount(frame) == 1 and mm.gives_slot_up(frame)):
        if vma.shared:
            frames.set_page_flags(frame, PG_DIRTY)
        frames.ram.qwords[slot] = pte | RW | D | A
        if not vma.shared:
            frames.clear_flag(frame, PG_MAYBE_SHARED)
        elif vma.file is not None:
            vma.file.update_time()
        mm.obligation(page, page + PAGE_SIZE, "copy on write").rights_added()
        return FaultResult.MINOR
    copy_page(mm, vma, page, slot, pte, vma.page_bits | RW | D)
    return FaultResult.MINOR


def copy_page(mm: AddressSpace, vma: Vma, address: int, slot: int, pte: int, bits: int) -> None:
    """Put a copy of a page in its place, with these bits (wp_page_copy).  LinuxError(ENOMEM)."""
    page = address & -PAGE_SIZE
    flush = mm.obligation(page, page + PAGE_SIZE, "copy on write")
    frame = (pte & ADDRESS) >> PAGE_SHIFT
    try:
        copy = rss.new_copy(mm, frame)
        if vma.flags & VmFlags.DROPPABLE:
            mm.frames.set_page_flags(copy, PG_LAZYFREE)
    except LinuxError:
        flush.none_needed("the entry was not changed")
        raise
    mm.context.clock.charge(_PAGE)
    mm.frames.ram.qwords[slot] = copy << PAGE_SHIFT | bits
    flush.flush()
    if vma.anon_vma is None:
        mm.vmas.anon_vma_prepare(vma)
    if not pte & SPECIAL:
        rss.put_page(mm, frame)
