"""Small pages that become a huge one: MADV_COLLAPSE, and khugepaged, which looks for them by itself (mm/khugepaged.c).

khugepaged is no task here.  It wakes every ``scan_sleep_millisecs`` of guest time, but looks only while every task
sleeps, for all the times that it would have woken until the next timer (:meth:`Khugepaged.idle`): what it finds cannot
change meanwhile, and a run is the same each time.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from enum import Enum, auto
from typing import TYPE_CHECKING

from emu.linux.cost import Cost
from emu.linux.errors import LinuxError
from emu.linux.mman import Prot
from emu.mm import rss
from emu.mm.flags import UFFD_FLAGS, VmFlags
from emu.mm.hugepmd import PMD, PMD_SIZE, huge_slot, suitable
from emu.mm.pageflags import BLOCK_FRAMES, PG_LARGE, PG_REFERENCED, FrameKind
from emu.mm.pagetable import ADDRESS, SPECIAL, TABLE_FLAGS, UFFD_WP_BIT, A
from emu.mm.swapops import here, swapped
from emu.mm.thp import PMD_ORDER, TransparentHugePages, is_disabled
from emu.mm.thpfault import set_cached, set_new_huge
from mmu.late import np
from mmu.memory import PAGE_SHIFT
from mmu.registers import Access

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.context import MmContext
    from emu.mm.pagecache import PageCache
    from emu.mm.rss import Entries
    from emu.mm.vma import Vma

#: VM_NO_KHUGEPAGED, but for VM_HUGETLB, which are other operations.
_NEVER = VmFlags.IO | VmFlags.DONTEXPAND | VmFlags.PFNMAP
_NS = 1_000_000


class Scan(Enum):
    """How an attempt ended (enum scan_result)."""

    SUCCEED = auto()
    PMD_MAPPED = auto()
    FAIL = auto()
    PMD_NULL = auto()
    PTE_NON_PRESENT = auto()
    PTE_UFFD_WP = auto()
    EXCEED_NONE_PTE = auto()
    EXCEED_SWAP_PTE = auto()
    EXCEED_SHARED_PTE = auto()
    LACK_REFERENCED_PAGE = auto()
    PAGE_NULL = auto()
    PAGE_ANON = auto()
    ALLOC_HUGE_PAGE_FAIL = auto()


_GOOD = (Scan.SUCCEED, Scan.PMD_MAPPED)
#: After these, MADV_COLLAPSE goes on with the next 2 MiB.
_GOES_ON = (Scan.PMD_NULL, Scan.PTE_NON_PRESENT, Scan.PTE_UFFD_WP, Scan.LACK_REFERENCED_PAGE, Scan.PAGE_NULL)
_ERRNOS = {Scan.ALLOC_HUGE_PAGE_FAIL: errno.ENOMEM, Scan.EXCEED_NONE_PTE: errno.EBUSY}


def madvise_collapse(mm: AddressSpace, vma: Vma, start: int, end: int) -> None:
    """MADV_COLLAPSE of a part of a VMA.  LinuxError: EINVAL, ENOMEM, EBUSY."""
    if not _may_collapse(mm, vma):
        raise LinuxError(errno.EINVAL)
    low, high = start + PMD_SIZE - 1 & -PMD_SIZE, end & -PMD_SIZE
    done, last = 0, Scan.FAIL
    for address in range(low, high, PMD_SIZE):
        mm.stop.check()
        result = collapse(mm, vma, address, None)
        if result in _GOOD:
            done += 1
            continue
        last = result
        if result not in _GOES_ON:
            break
    if done * PMD_SIZE != high - low:
        raise LinuxError(_ERRNOS.get(last, errno.EINVAL))


def _may_collapse(mm: AddressSpace, vma: Vma) -> bool:
    """thp_vma_allowable_order() with TVA_FORCED_COLLAPSE."""
    if is_disabled(vma.flags, mm.thp_disable, forced=True) or vma.flags & _NEVER or vma.ops.special:
        return False
    if not suitable(vma, vma.end - PMD_SIZE):
        return False
    if vma.page_cache is not None:
        thp = mm.context.thp
        return vma.ops.leaf_level == 1 and vma.page_cache.huge_policy is not None and thp.shmem_enabled != "deny"
    return vma.anonymous and vma.anon_vma is not None


def collapse(mm: AddressSpace, vma: Vma, address: int, limits: Khugepaged | None) -> Scan:
    """Make one page of 2 MiB of an aligned range; khugepaged has ``limits`` (hpage_collapse_scan_pmd)."""
    if huge_slot(mm, address) is not None:
        return Scan.PMD_MAPPED
    if vma.page_cache is not None:
        return _collapse_file(mm, vma, vma.page_cache, address, limits)
    slot = mm.tables.entry_slot(address, 1)
    if slot is None:
        return Scan.PMD_NULL
    entries = mm.tables.words[slot : slot + BLOCK_FRAMES]
    result = _look(mm, vma, entries, limits)
    if result is Scan.SUCCEED and mm.rss_swap and not _bring(mm, vma, address, slot):
        return Scan.FAIL
    return _collapse_huge_page(mm, vma, address, limits) if result is Scan.SUCCEED else result


def _look(mm: AddressSpace, vma: Vma, entries: Entries, limits: Khugepaged | None) -> Scan:
    """Whether small pages may become one."""
    present = here(entries)
    mapping = present & ((entries & np.uint64(SPECIAL)) == 0)
    none = BLOCK_FRAMES - int(np.count_nonzero(mapping)) - int(np.count_nonzero(~present & (entries != 0)))
    events = mm.context.thp
    if none and (vma.flags & UFFD_FLAGS or (limits is not None and none > limits.max_ptes_none)):
        events.count("thp_scan_exceed_none_pte")
        return Scan.EXCEED_NONE_PTE
    if (entries[mapping] & np.uint64(UFFD_WP_BIT)).any():
        return Scan.PTE_UFFD_WP
    away = int(np.count_nonzero(swapped(entries))) if mm.rss_swap else 0
    if limits is not None and away > limits.max_ptes_swap:
        events.count("thp_scan_exceed_swap_pte")
        return Scan.EXCEED_SWAP_PTE
    frames = rss.pages_of(entries[mapping])
    if (mm.frames.kinds[frames] != FrameKind.ANON).any():
        return Scan.PAGE_ANON
    if limits is not None:
        if int(np.count_nonzero(mm.frames.mapcounts(frames) > 1)) > limits.max_ptes_shared:
            events.count("thp_scan_exceed_share_pte")
            return Scan.EXCEED_SHARED_PTE
        young = (entries[mapping] & np.uint64(A)).any() or (mm.frames.flags[frames] & PG_REFERENCED).any()
        if not young:
            return Scan.LACK_REFERENCED_PAGE
    if int(np.count_nonzero(~present & (entries != 0))) > away:  # guards
        return Scan.FAIL
    return Scan.SUCCEED


def _collapse_huge_page(mm: AddressSpace, vma: Vma, address: int, limits: Khugepaged | None) -> Scan:
    """Copy the pages into a huge one, and let one entry map it; their table is kept for when it is split."""
    frames, thp, q = mm.frames, mm.context.thp, mm.frames.ram.qwords
    if vma.anon_vma is None:
        return Scan.PAGE_ANON
    try:
        head = frames.alloc_block(FrameKind.ANON, mm, PG_LARGE, compact=limits is None or bool(limits.defrag))
    except LinuxError:
        thp.count("thp_collapse_alloc_failed")
        return Scan.ALLOC_HUGE_PAGE_FAIL
    thp.count("thp_collapse_alloc")
    at = mm.tables.entry_slot(address, 1)  # the table may have been moved
    assert at is not None
    entries = mm.tables.words[at : at + BLOCK_FRAMES]
    slot = mm.tables.entry_slot(address, PMD)
    assert slot is not None and q[slot] & TABLE_FLAGS
    table = (q[slot] & ADDRESS) >> PAGE_SHIFT
    old = entries.copy()
    there = np.flatnonzero(here(old) & ((old & np.uint64(SPECIAL)) == 0))
    pages = ((old[there] & np.uint64(ADDRESS)) >> np.uint64(PAGE_SHIFT)).astype(np.int64)
    q[slot] = 0
    mm.obligation(address, address + PMD_SIZE, "collapse").flush()
    by_page = mm.tables.words.reshape(-1, BLOCK_FRAMES)
    by_page[head + there] = by_page[pages]
    entries[:] = 0
    mm.tables.tables[1] -= 1  # it is counted as the one that is kept
    set_new_huge(mm, vma, address, slot, table, head, zero=False)
    mm.note_peak()
    mm.rss_anon += BLOCK_FRAMES
    rss.put_pages(mm, old[there])
    mm.may_have_huge = True
    mm.context.clock.charge(Cost.HUGE_PAGE)
    return Scan.SUCCEED


def _collapse_file(mm: AddressSpace, vma: Vma, cache: PageCache, address: int, limits: Khugepaged | None) -> Scan:
    """The same of an object's pages (hpage_collapse_scan_file), which MADV_COLLAPSE maps then."""
    first, thp = vma.index_of(address), mm.context.thp
    if cache.huge_head(first) is None:
        if (result := _bring_file(cache, first, limits, thp)) is not None:
            return result
        pages = cache.find_many(first, BLOCK_FRAMES)
        there = np.flatnonzero(pages)
        if not len(there):
            return Scan.FAIL
        if limits is not None and BLOCK_FRAMES - len(there) > limits.max_ptes_none:
            thp.count("thp_scan_exceed_none_pte")
            return Scan.EXCEED_NONE_PTE
        try:
            head = mm.frames.alloc_block(FrameKind.CACHE, mm, compact=limits is None or bool(limits.defrag))
        except LinuxError:
            thp.count("thp_collapse_alloc_failed")
            return Scan.ALLOC_HUGE_PAGE_FAIL
        thp.count("thp_collapse_alloc")
        pages = cache.find_many(first, BLOCK_FRAMES)  # some may have been moved
        cache.unmap(first, first + BLOCK_FRAMES, even_cows=False)
        by_page = mm.tables.words.reshape(-1, BLOCK_FRAMES)
        by_page[head + there] = by_page[pages[there]]
        if not cache.replace_by_huge(first, head):
            mm.frames.put_block(head)
            return Scan.FAIL
        _retract_page_tables(cache, first)
        mm.context.clock.charge(Cost.HUGE_PAGE)
    return Scan.SUCCEED if limits is not None else _map_collapsed(mm, vma, cache, address)


def _bring_file(
    cache: PageCache, first: int, limits: Khugepaged | None, thp: TransparentHugePages
) -> Scan | None:  # fmt: skip
    """Pages that lie in swap come back, if these are not too many; returns how it ends if it does."""
    away = cache.swapped_of(first)
    if limits is not None and away > limits.max_ptes_swap:
        thp.count("thp_scan_exceed_swap_pte")
        return Scan.EXCEED_SWAP_PTE
    try:
        cache.bring_all(first, first + BLOCK_FRAMES)
    except LinuxError:
        return Scan.FAIL
    return None


def _bring(mm: AddressSpace, vma: Vma, address: int, slot: int) -> bool:
    """Private pages that lie in swap come back (__collapse_huge_page_swapin); False if one cannot."""
    view = mm.tables.words[slot : slot + BLOCK_FRAMES]
    for index in np.flatnonzero(swapped(view)).tolist():
        try:
            if not vma.ops.fault(mm, vma, address + (index << PAGE_SHIFT), Access.READ).resolved:
                return False
        except LinuxError:
            return False
    return True


def _retract_page_tables(cache: PageCache, first: int) -> None:
    """The tables that mapped the small pages are empty now: give them back."""
    for vma, mm in cache.mappings.items():
        start = vma.start + (first - vma.pgoff << PAGE_SHIFT)
        if vma.start <= start and start + PMD_SIZE <= vma.end and mm.tables.free_pte_tables(start, start + PMD_SIZE):
            mm.obligation(start, start + PMD_SIZE, "collapse").flush()


def _map_collapsed(mm: AddressSpace, vma: Vma, cache: PageCache, address: int) -> Scan:
    """Let one entry map a huge page that small ones map, or none (collapse_pte_mapped_thp)."""
    slot, end = mm.tables.entry_slot(address, 1), address + PMD_SIZE
    if slot is not None:
        entries = mm.tables.words[slot : slot + BLOCK_FRAMES]
        frames = ((entries & np.uint64(ADDRESS)) >> np.uint64(PAGE_SHIFT)).astype(np.int64)
        if ((entries != 0) & (frames != cache.find_many(vma.index_of(address), BLOCK_FRAMES))).any():
            return Scan.FAIL  # a private copy, or a marker
        vma.ops.zap(mm, vma, address, end)
        mm.tables.free_pte_tables(address, end)
        mm.obligation(address, end, "collapse").flush()
    try:
        return Scan.SUCCEED if set_cached(mm, vma, cache, address, Access.READ) else Scan.FAIL
    except LinuxError:
        return Scan.FAIL


class Khugepaged:
    """The settings of /sys/kernel/mm/transparent_hugepage/khugepaged, and what it has done."""

    def __init__(self) -> None:
        self.defrag = 1
        self.max_ptes_none, self.max_ptes_swap, self.max_ptes_shared = 511, 64, 256
        self.pages_to_scan = 4096
        self.scan_sleep_millisecs, self.alloc_sleep_millisecs = 10_000, 60_000
        self.pages_collapsed = self.full_scans = 0
        self._wakes_ns: int | None = None
        #: What is still to be looked at in this pass.
        self._left: Iterator[tuple[AddressSpace, Vma, int]] | None = None

    def idle(self, context: MmContext, now_ns: int, until_ns: int) -> None:
        """Every task sleeps from now on until then: look each time that it wakes."""
        period = max(self.scan_sleep_millisecs, 1) * _NS
        if self._wakes_ns is None:
            self._wakes_ns = now_ns + period
        while self._wakes_ns <= until_ns:
            before, passes = self.pages_collapsed, self.full_scans
            self._scan(context)
            self._wakes_ns += period
            if self._left is None and self.pages_collapsed == before and self.full_scans == passes + 1:
                again = max(0, (until_ns - self._wakes_ns) // period + 1)  # and so each time
                self.full_scans += again
                self._wakes_ns += again * period

    def _scan(self, context: MmContext) -> None:
        """Look at so many pages (khugepaged_scan_mm_slot)."""
        left = self.pages_to_scan
        if self._left is None:
            self._left = _ranges(context)
        while left > 0:
            found = next(self._left, None)
            if found is None:
                self._left = None
                self.full_scans += 1
                return
            mm, vma, address = found
            left -= BLOCK_FRAMES
            if mm.users and mm.vmas.find(address) is vma and address + PMD_SIZE <= vma.end:
                self.pages_collapsed += collapse(mm, vma, address, self) is Scan.SUCCEED


def _ranges(context: MmContext) -> Iterator[tuple[AddressSpace, Vma, int]]:
    """Where huge pages are wanted: each aligned 2 MiB."""
    for mm in list(context.address_spaces.values()):
        if not mm.may_have_huge:
            continue
        for vma in list(mm.vmas):
            if not _may_collapse(mm, vma) or is_disabled(vma.flags, mm.thp_disable):
                continue
            if not _is_wanted(context, vma) or not vma.prot & Prot.READ:
                continue
            for address in range(vma.start + PMD_SIZE - 1 & -PMD_SIZE, vma.end - PMD_SIZE + 1, PMD_SIZE):
                yield mm, vma, address


def _is_wanted(context: MmContext, vma: Vma) -> bool:
    """Whether khugepaged may do so by itself."""
    if vma.page_cache is not None:
        return vma.page_cache.huge_policy is not None and vma.page_cache.huge_policy.allows_huge(
            vma.page_cache, 0, 0, vma.flags
        )
    return context.thp.allows_anon(vma.flags, PMD_ORDER)
