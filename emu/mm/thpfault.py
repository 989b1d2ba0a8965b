"""Faults of transparent huge pages, in private memory and in objects, and of smaller folios (mm/huge_memory.c,
mm/memory.c).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.linux.cost import Cost
from emu.linux.errors import LinuxError
from emu.linux.mman import Prot
from emu.mm import rss
from emu.mm.flags import FaultResult, VmFlags
from emu.mm.hugepmd import PMD, PMD_SIZE, block, head_of, huge_slot, is_exclusive, suitable
from emu.mm.hugesplit import split
from emu.mm.pageflags import BLOCK_FRAMES, PG_DIRTY, PG_LARGE, PG_LAZYFREE, PG_MAYBE_SHARED, PG_UNREAD, FrameKind
from emu.mm.pagetable import PS, RW, SPECIAL, UFFD_WP_BIT, A, D
from emu.mm.thp import PMD_ORDER, is_disabled
from mmu.late import np
from mmu.memory import PAGE_SHIFT, PAGE_SIZE
from mmu.registers import Access

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.pagecache import PageCache
    from emu.mm.vma import Vma


def fault(mm: AddressSpace, vma: Vma, address: int, access: Access) -> FaultResult | None:
    """A fault that the VMA's rights allow, where an entry of 2 MiB is or can be; None leaves it to the small ones.

    LinuxError(ENOMEM) without a frame for a table.
    """
    slot = mm.tables.entry_slot(address, PMD)
    entry = 0 if slot is None else mm.frames.ram.qwords[slot]
    start = address & -PMD_SIZE
    if vma.page_cache is not None and not entry & PS:
        return _of_page_cache(mm, vma, vma.page_cache, address, access, empty=not entry)
    if not entry:
        thp = mm.context.thp
        if not vma.anonymous or not thp.allows_anon(vma.flags, PMD_ORDER) or is_disabled(vma.flags, mm.thp_disable):
            return None
        return _missing(mm, vma, address, access, slot) if suitable(vma, address) else None
    if slot not in mm.tables.transparent:
        return None
    if access == Access.WRITE and not entry & RW:
        return _write_protected(mm, vma, address, slot)
    mm.obligation(start, start + PMD_SIZE).nothing_changed()
    return FaultResult.RACED


def _missing(mm: AddressSpace, vma: Vma, address: int, access: Access, slot: int | None) -> FaultResult | None:
    """do_huge_pmd_anonymous_page(): the huge page of zeros for a read, else a new page."""
    start = address & -PMD_SIZE
    thp, frames = mm.context.thp, mm.frames
    if vma.anon_vma is None:
        mm.vmas.anon_vma_prepare(vma)
    if vma.uffd is not None and vma.flags & VmFlags.UFFD_MISSING:
        return mm.handle_userfault(vma, address, access, VmFlags.UFFD_MISSING)
    zero = access != Access.WRITE and thp.use_zero_page
    try:
        slot = mm.tables.entry_slot_alloc(start, PMD) if slot is None else slot
        table = frames.alloc(FrameKind.PAGETABLE, mm.tables.payer)
    except LinuxError:
        mm.tables.free_tables(start, start + PMD_SIZE)
        raise
    try:
        head = thp.zero_block(frames) if zero else new_huge_page(mm, vma)
    except LinuxError:
        frames.put(table)
        if zero:
            thp.count("thp_fault_fallback")
        return None
    set_new_huge(mm, vma, start, slot, table, head, zero=bool(zero))
    return FaultResult.MINOR


def _of_page_cache(
    mm: AddressSpace, vma: Vma, cache: PageCache, address: int, access: Access, *, empty: bool
) -> FaultResult | None:
    """Make a huge page of an object if that may be, and map it if nothing is there yet (shmem_fault, do_set_pmd)."""
    index, thp = vma.index_of(address), mm.context.thp
    if not cache.may_have_huge or not suitable(vma, address) or vma.uffd is not None or not cache.check_index(index):
        return None
    if cache.find(index) is None and not is_disabled(vma.flags, mm.thp_disable):
        if cache.make_huge(index, 0, vma.flags):
            thp.count("thp_file_alloc")
            thp.stats[PMD_ORDER]["shmem_alloc"] += 1
            mm.context.clock.charge(Cost.HUGE_PAGE)
    if not empty or (access == Access.WRITE and not vma.shared):
        return None
    if not set_cached(mm, vma, cache, address, access):
        return None
    if access == Access.WRITE and vma.file is not None:
        vma.file.update_time()
    return FaultResult.MINOR


def set_cached(mm: AddressSpace, vma: Vma, cache: PageCache, address: int, access: Access) -> bool:
    """Map a huge page of an object where no table is, if there is one and the VMA allows it (do_set_pmd)."""
    head, start = cache.huge_head(vma.index_of(address)), address & -PMD_SIZE
    if head is None or not suitable(vma, address) or is_disabled(vma.flags, mm.thp_disable, forced=True):
        return False
    slot = mm.tables.entry_slot_alloc(start, PMD)
    part = block(head)
    mm.frames.flags[part] &= ~PG_UNREAD & 0xFF
    if access == Access.WRITE:
        mm.frames.flags[part] |= PG_DIRTY
    mm.frames.counts[part] += 1
    mm.rss_cache += BLOCK_FRAMES
    mm.frames.ram.qwords[slot] = head << PAGE_SHIFT | vma.cached_bits | PS | (D if access == Access.WRITE else 0)
    mm.tables.deposit(slot, 0)
    mm.may_have_huge = True
    mm.context.thp.count("thp_file_mapped")
    mm.note_new(start, start + PMD_SIZE)
    return True


def whole_folio(vma: Vma, cache: PageCache, address: int) -> bool:
    """Whether small entries of one table can map all of a huge page: then a fault maps all of it."""
    return cache.may_have_huge and suitable(vma, address) and cache.huge_head(vma.index_of(address)) is not None


def new_huge_page(mm: AddressSpace, vma: Vma) -> int:
    """A huge page of zeros for a fault.  LinuxError(ENOMEM), counted as a fall back to small pages."""
    thp = mm.context.thp
    try:
        head = mm.frames.alloc_block(FrameKind.ANON, mm, PG_LARGE, compact=thp.compacts(vma.flags))
    except LinuxError:
        thp.count("thp_fault_fallback")
        thp.stats[PMD_ORDER]["anon_fault_fallback"] += 1
        raise
    thp.used = True
    thp.count("thp_fault_alloc")
    thp.stats[PMD_ORDER]["anon_fault_alloc"] += 1
    mm.rss_anon += BLOCK_FRAMES
    mm.context.clock.charge(Cost.HUGE_PAGE)
    return head


def set_new_huge(mm: AddressSpace, vma: Vma, start: int, slot: int, table: int, head: int, *, zero: bool) -> None:
    """Map a huge page where nothing was."""
    bits = SPECIAL if zero else D | (RW if vma.prot & Prot.WRITE else 0)
    mm.frames.ram.qwords[slot] = head << PAGE_SHIFT | vma.page_bits | PS | bits
    if vma.flags & VmFlags.DROPPABLE and not zero:
        mm.frames.flags[block(head)] |= PG_LAZYFREE
    mm.tables.deposit(slot, table)
    mm.note_new(start, start + PMD_SIZE)


def _write_protected(mm: AddressSpace, vma: Vma, address: int, slot: int) -> FaultResult | None:
    """do_huge_pmd_wp_page(): make the page writable if nobody else has it; a page that others have is split, and copied
    in small ones.
    """
    frames, q, start = mm.frames, mm.frames.ram.qwords, address & -PMD_SIZE
    entry = q[slot]
    if entry & UFFD_WP_BIT:
        if vma.uffd is not None and vma.flags & VmFlags.UFFD_WP:
            if not vma.uffd.wp_async:
                return mm.handle_userfault(vma, address, Access.WRITE, VmFlags.UFFD_WP)
            split(mm, start, slot)
            return None
        entry &= ~UFFD_WP_BIT
    if entry & SPECIAL:
        return _leave_zero_page(mm, vma, start, slot)
    head = head_of(entry)
    if vma.shared:
        flush = mm.obligation(start, start + PMD_SIZE)
        mm.frames.flags[block(head)] |= PG_DIRTY
        q[slot] = entry | RW | D | A
        if vma.file is not None:
            vma.file.update_time()
        flush.rights_added()
        return FaultResult.MINOR
    if not vma.anonymous or not (is_exclusive(mm, entry) or (frames.counts[block(head)] == 1).all()):
        split(mm, start, slot)
        return None
    flush = mm.obligation(start, start + PMD_SIZE, "copy on write")
    q[slot] = entry | RW | D | A
    frames.flags[block(head)] &= ~PG_MAYBE_SHARED & 0xFF
    flush.rights_added()
    return FaultResult.MINOR


def _leave_zero_page(mm: AddressSpace, vma: Vma, start: int, slot: int) -> FaultResult | None:
    """do_huge_zero_wp_pmd()."""
    try:
        head = new_huge_page(mm, vma)
    except LinuxError:
        split(mm, start, slot)
        return None
    flush = mm.obligation(start, start + PMD_SIZE, "copy on write")
    mm.frames.ram.qwords[slot] = head << PAGE_SHIFT | vma.page_bits | PS | RW | D
    flush.flush()
    return FaultResult.MINOR


def unshare(mm: AddressSpace, address: int, slot: int) -> bool:
    """A page is to be looked at for longer; whether it has been split since others have it too (FAULT_FLAG_UNSHARE)."""
    entry = mm.frames.ram.qwords[slot]
    part = block(head_of(entry))
    if entry & SPECIAL or not mm.frames.is_anon(part.start) or is_exclusive(mm, entry):
        return False
    if (mm.frames.counts[part] == 1).all():
        mm.frames.flags[part] &= ~PG_MAYBE_SHARED & 0xFF
        mm.count_kernel_fault(FaultResult.MINOR)
        return False
    split(mm, address & -PMD_SIZE, slot)
    return True


def map_folio(mm: AddressSpace, vma: Vma, address: int, slot: int) -> bool:
    """A write of private memory where nothing is, in a VMA that may get several pages at once: map as many by small
    entries as a setting of their size allows (alloc_anon_folio).  False if there is none.
    """
    thp, words = mm.context.thp, mm.tables.words
    if vma.uffd is not None or is_disabled(vma.flags, mm.thp_disable):
        return False
    for order in thp.small_orders:
        number, start = 1 << order, address & -(PAGE_SIZE << order)
        first = slot - ((address - start) >> PAGE_SHIFT)
        if not vma.start <= start <= vma.end - (PAGE_SIZE << order) or not thp.allows_anon(vma.flags, order):
            continue
        if words[first : first + number].any():
            continue
        frames = rss.new_pages(mm, number) if mm.frames.has_room(number) else np.zeros(0, dtype=np.int64)
        if len(frames) < number:
            mm.rss_anon -= len(frames)
            mm.frames.put_many(frames)
            thp.stats[order]["anon_fault_fallback"] += 1
            continue
        thp.stats[order]["anon_fault_alloc"] += 1
        mm.frames.flags[frames] |= PG_LAZYFREE if vma.flags & VmFlags.DROPPABLE else 0
        mm.vmas.anon_vma_prepare(vma)
        words[first : first + number] = (frames.astype(np.uint64) << np.uint64(PAGE_SHIFT)) | np.uint64(
            vma.page_bits | RW | D
        )
        mm.note_new(start, start + number * PAGE_SIZE)
        mm.context.clock.charge(number * Cost.PAGE)
        return True
    return False


def may_be(mm: AddressSpace, vma: Vma) -> bool:
    """Whether there may be huge pages in a VMA."""
    return mm.may_have_huge or (vma.page_cache is not None and vma.page_cache.may_have_huge)


def populate(mm: AddressSpace, vma: Vma, address: int, access: Access) -> bool:
    """Whether the entry of 2 MiB at an address serves the access, perhaps after a fault, which is counted as taken by
    the kernel; False leaves it to small pages.
    """
    slot = huge_slot(mm, address)
    if slot is None or (access == Access.WRITE and not mm.frames.ram.qwords[slot] & RW):
        result = fault(mm, vma, address, access) if vma.allows(access) and vma.uffd is None else None
        if result is None or not result.resolved:
            return False
        mm.count_kernel_fault(result)
    else:  # FOLL_TOUCH
        mm.frames.ram.qwords[slot] |= A | D if access == Access.WRITE else A
    return True
