"""Ordinary memory: private anonymous memory, and pages of a page cache (files, shared anonymous memory)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.linux.cost import Cost
from emu.linux.errors import LinuxError, NoPage
from emu.mm import rss, thpfault
from emu.mm.flags import FaultResult, VmFlags
from emu.mm.memory import PageMemory, set_new_entry
from emu.mm.pageflags import BLOCK_FRAMES, PG_DIRTY, PG_LAZYFREE, PG_REFERENCED, PG_UNREAD
from emu.mm.pagetable import HERE, RW, SPECIAL, D, span
from mmu.late import np
from mmu.memory import PAGE_SHIFT, PAGE_SIZE
from mmu.registers import Access

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.mm.address_space import AddressSpace
    from emu.mm.pagecache import PageCache
    from emu.mm.vma import Vma

FAULT_AROUND_BYTES = 64 << 10
_PTE_TABLE_SPAN = span(2)
#: Faults map no neighbours there (uffd_disable_fault_around).
_ONE_BY_ONE = int(VmFlags.UFFD_WP | VmFlags.UFFD_MINOR)
_WRITE = Access.WRITE
#: The least number of pages for which populating a table as a whole pays.
_WORTHWHILE = 16
_PAGE = Cost.PAGE


class OrdinaryMemory(PageMemory):
    """The operations of ordinary memory."""

    mergeable = gathered = True

    def missing(self, mm: AddressSpace, vma: Vma, address: int, access: Access, slot: int) -> FaultResult:
        if vma.page_cache is not None:
            return _file_page(mm, vma, vma.page_cache, address, access, slot)
        if vma.uffd is not None and vma.flags & VmFlags.UFFD_MISSING:
            return mm.handle_userfault(vma, address, access, VmFlags.UFFD_MISSING)
        # do_anonymous_page(): a page of zeros; for a read, the zero page
        if access == Access.WRITE:
            if mm.may_have_huge and mm.context.thp.small_orders and thpfault.map_folio(mm, vma, address, slot):
                return FaultResult.MINOR
            frame = rss.new_page(mm)
            mm.context.clock.system_ns += _PAGE  # who has taken the fault looks
            if vma.anon_vma is None:
                mm.vmas.anon_vma_prepare(vma)
            if vma.flags & VmFlags.DROPPABLE:
                mm.frames.set_page_flags(frame, PG_LAZYFREE)
            set_new_entry(mm, address, slot, frame << PAGE_SHIFT | vma.page_bits | RW | D)
        else:
            set_new_entry(mm, address, slot, mm.frames.zero_frame << PAGE_SHIFT | vma.page_bits | SPECIAL)
        return FaultResult.MINOR

    def populate(self, mm: AddressSpace, vma: Vma, start: int, end: int, access: Access) -> FaultResult | None:
        """Fill an empty PTE table at once, with the frames, entries and counts that single faults would give; fault any
        other page in by itself.
        """
        address = start
        while address < end:
            stop = min((address & -_PTE_TABLE_SPAN) + _PTE_TABLE_SPAN, end)
            mm.stop.check()
            if thpfault.may_be(mm, vma) and thpfault.populate(mm, vma, address, access):
                address = stop
                continue
            faults = _fill_table(mm, vma, address, stop, access)
            if faults is not None:
                mm.count_kernel_fault(FaultResult.MINOR, faults)
            elif (failed := super().populate(mm, vma, address, stop, access)) is not None:
                return failed
            address = stop
        return None

    def mincore(self, mm: AddressSpace, vma: Vma, start: int, end: int) -> npt.NDArray[np.bool_]:
        """Mapped, or in the page cache with content."""
        present = super().mincore(mm, vma, start, end)
        if vma.page_cache is not None and vma.page_cache.total_pages:
            present |= vma.page_cache.in_memory(vma.index_of(start), (end - start) >> PAGE_SHIFT)
        return present

    def frame_to_read(self, vma: Vma, address: int) -> int | None:
        if vma.page_cache is None:
            return 0
        index = vma.index_of(address)
        return vma.page_cache.peek(index) if vma.page_cache.check_index(index) else None


class _Unspecial(OrdinaryMemory):
    """What every VMA has that no module and no special kind of memory has given others."""

    ordinary = True


ORDINARY = _Unspecial()


# -- one page ----------------------------------------------------------------------------------------------------------


def _file_page(mm: AddressSpace, vma: Vma, cache: PageCache, address: int, access: Access, slot: int) -> FaultResult:
    """do_fault(): a page of the page cache, or a private copy of it."""
    index = vma.pgoff + ((address - vma.start) >> PAGE_SHIFT)
    if vma.uffd is not None and cache.is_shmem and cache.check_index(index):
        reason = VmFlags.UFFD_MINOR if cache.holds(index) else VmFlags.UFFD_MISSING
        if vma.flags & reason:
            return mm.handle_userfault(vma, address, access, reason)
    done = FaultResult.MAJOR if cache.must_be_read(index) else FaultResult.MINOR
    if access is not _WRITE and not vma.bits & _ONE_BY_ONE:
        if cache.find(index) is None and cache.peek(index) is None and cache.check_index(index):
            cache.get_page(index)  # with its neighbours, as if all had been read some time before
        _fault_around(mm, vma, cache, address, slot)
        if mm.frames.ram.qwords[slot] & HERE:
            return done
    if access == Access.WRITE and not vma.shared and vma.anon_vma is None:
        mm.vmas.anon_vma_prepare(vma)  # do_cow_fault(): even if the page lies beyond the end
    if not cache.check_index(index):
        return FaultResult.ADRERR
    frame = cache.get_page(index)
    mm.frames.clear_page_flags(frame, PG_UNREAD)
    if access == Access.WRITE and not vma.shared:
        copy = rss.new_copy(mm, frame)
        mm.context.clock.charge(_PAGE)
        set_new_entry(mm, address, slot, copy << PAGE_SHIFT | vma.page_bits | RW | D)
        return done
    if access == Access.WRITE and thpfault.whole_folio(vma, cache, address) and _set_folio(mm, vma, cache, address):
        return done
    if access == Access.WRITE:
        mm.frames.set_page_flags(frame, PG_DIRTY)
    rss.get_cached(mm, (frame,))
    if access == Access.WRITE and vma.file is not None:
        vma.file.update_time()
    set_new_entry(mm, address, slot, frame << PAGE_SHIFT | vma.cached_bits | (D if access == Access.WRITE else 0))
    return done


def _set_folio(mm: AddressSpace, vma: Vma, cache: PageCache, address: int) -> bool:
    """Map all pages of a huge one by small entries that can be written, if none of these is set (finish_fault)."""
    start, slot = address & -_PTE_TABLE_SPAN, mm.tables.entry_slot(address & -_PTE_TABLE_SPAN, 1)
    head = cache.huge_head(vma.index_of(address))
    assert slot is not None and head is not None
    view = mm.tables.words[slot : slot + BLOCK_FRAMES]
    if view.any():
        return False
    frames = np.arange(head, head + BLOCK_FRAMES)
    mm.frames.flags[frames] = mm.frames.flags[frames] & ~PG_UNREAD | PG_DIRTY
    rss.get_frames(mm, frames)
    view[:] = (frames.astype(np.uint64) << np.uint64(PAGE_SHIFT)) | np.uint64(vma.cached_bits | D)
    if vma.file is not None:
        vma.file.update_time()
    mm.obligation(start, start + _PTE_TABLE_SPAN).was_not_present()
    return True


def _window(vma: Vma, address: int) -> tuple[int, int]:
    """The pages that a fault at ``address`` maps (do_fault_around): 16 from the aligned one on, or from the start of
    the VMA if that is nearer, as far as the VMA and the PTE table go.
    """
    start = max(address & -FAULT_AROUND_BYTES, vma.start)
    return start, min(start + FAULT_AROUND_BYTES, vma.end, (address & -_PTE_TABLE_SPAN) + _PTE_TABLE_SPAN)


def _fault_around(mm: AddressSpace, vma: Vma, cache: PageCache, address: int, slot: int) -> None:
    """filemap_map_pages(): map the pages around an address, and its own, as far as the page cache holds them."""
    low, high = _window(vma, address)
    if cache.may_have_huge and thpfault.whole_folio(vma, cache, address):
        low = address & -_PTE_TABLE_SPAN
        high = low + _PTE_TABLE_SPAN
    first = vma.pgoff + ((low - vma.start) >> PAGE_SHIFT)
    number = min((high - low) >> PAGE_SHIFT, cache.end_index - first)
    if number > 0:
        rss.map_cached(mm, cache.near(first, number), slot - ((address - low) >> PAGE_SHIFT), vma.cached_bits)
    if mm.context.flusher.detector is not None:
        mm.note_new(low, high)


# -- a table of pages --------------------------------------------------------------------------------------------------


def _fill_table(mm: AddressSpace, vma: Vma, start: int, end: int, access: Access) -> int | None:
    """Map every page of a part of one PTE table; returns how many faults that stands for, or None if it cannot be done
    this way.
    """
    number, tables, cache = (end - start) >> PAGE_SHIFT, mm.tables, vma.page_cache
    if mm.may_have_huge and mm.context.thp.small_orders and cache is None:
        return None  # faults map more than one page
    if number < _WORTHWHILE or not vma.allows(access) or vma.uffd is not None:
        return None
    if cache is not None and not _can_map(vma, cache, start, end, access):
        return None
    slot = tables.entry_slot(start, 1)
    if slot is not None and tables.words[slot : slot + number].any():
        return None
    if mm.frames.free < number + 3:  # with three tables: let single faults find out how far memory lasts
        return None
    try:
        slot = tables.entry_slot_alloc(start, 1)
        if cache is None:
            entries, faults = _anonymous(mm, vma, number, access), number
        else:
            entries, faults = _cached(mm, vma, cache, start, number)
    except LinuxError:  # no room in the file system or the control group: the tables serve the single faults
        return None
    tables.words[slot : slot + number] = entries
    mm.obligation(start, end).was_not_present()
    return faults


def _can_map(vma: Vma, cache: PageCache, start: int, end: int, access: Access) -> bool:
    """Whether all faults of [start, end) map pages of the object itself, and bring none outside of the range."""
    if access != Access.READ or vma.index_of(end - PAGE_SIZE) >= cache.end_index:
        return False
    return _window(vma, start)[0] == start and _window(vma, end - PAGE_SIZE)[1] == end


def _anonymous(mm: AddressSpace, vma: Vma, number: int, access: Access) -> npt.NDArray[np.uint64]:
    """The entries of fresh pages of zeros; for reads, of the zero page.  LinuxError(ENOMEM)."""
    if access != Access.WRITE:
        entry = mm.frames.zero_frame << PAGE_SHIFT | vma.page_bits | SPECIAL
        return np.full(number, entry, dtype=np.uint64)
    frames = rss.new_pages(mm, number)
    if len(frames) < number:  # the control group has no room for more
        mm.rss_anon -= len(frames)
        mm.frames.put_many(frames)
        raise NoPage
    mm.frames.flags[frames] |= PG_REFERENCED | (PG_LAZYFREE if vma.flags & VmFlags.DROPPABLE else 0)
    mm.context.clock.charge(number * _PAGE)
    mm.vmas.anon_vma_prepare(vma)
    return (frames.astype(np.uint64) << np.uint64(PAGE_SHIFT)) | np.uint64(vma.page_bits | RW | D)


def _cached(
    mm: AddressSpace, vma: Vma, cache: PageCache, start: int, number: int
) -> tuple[npt.NDArray[np.uint64], int]:
    """The entries of pages of the page cache, and the faults."""
    frames, fresh = cache.get_many(vma.index_of(start), number)
    fresh |= (mm.frames.flags[frames] & PG_UNREAD) != 0
    mm.frames.flags[frames] &= ~PG_UNREAD & 0xFF
    mm.frames.mark_many_accessed(frames, frames.tolist if vma.flags & VmFlags.LOCKED else cache.locked_frames)
    rss.get_frames(mm, frames)
    entries = (frames.astype(np.uint64) << np.uint64(PAGE_SHIFT)) | np.uint64(vma.cached_bits)
    return entries, number if fresh.all() else _faults(vma, start, fresh)


def _faults(vma: Vma, start: int, fresh: npt.NDArray[np.bool_]) -> int:
    """How many faults map the pages from ``start`` on, of which some were made by their own: each maps those around it
    that there are.
    """
    faults, made, mapped = 0, np.flatnonzero(fresh).tolist(), 0
    made.reverse()
    while made or mapped < len(fresh):
        page = min(made[-1], mapped) if made and mapped < len(fresh) else made[-1] if made else mapped
        if made and made[-1] == page:
            made.pop()
        faults += 1
        end = (_window(vma, start + (page << PAGE_SHIFT))[1] - start) >> PAGE_SHIFT
        mapped = max(mapped, page + 1, end)
    return faults
