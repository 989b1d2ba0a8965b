"""The operations of huge pages: entries of 2 MiB, faults on them, and how unmapping, fork, mprotect and mremap change
them (mm/hugetlb.c).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.linux.cost import Cost
from emu.linux.errors import LinuxError
from emu.mm.flags import FaultResult
from emu.mm.hugetlb import (
    HPAGE_SIZE,
    HugePagePool,
    Promises,
    cache_of,
    hpage_align,
    number_of,
    outstanding,
    promises_of,
)  # fmt: skip
from emu.mm.memory import fault_with_more_rights, reads_instead, rights_of
from emu.mm.pagetable import ADDRESS, PROTNONE, PS, RW, XD, A, D, P, span
from emu.mm.vmops import HugePageUse, VmOperations
from mmu.memory import PAGE_SHIFT
from mmu.registers import Access

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma

#: The level of the entries.
PMD = 2
_HUGE_PAGE = Cost.HUGE_PAGE


class HugetlbOperations(VmOperations):
    """hugetlb_vm_ops."""

    page_size = HPAGE_SIZE
    leaf_level = PMD
    accountable = False  # the pool promises them
    on_lru = False
    flag_names = ("ht",)

    # -- the life of a VMA -----------------------------------------------------------------------------------------

    def open(self, mm: AddressSpace, vma: Vma) -> None:
        mm.huge_vmas += 1

    def close(self, mm: AddressSpace, vma: Vma) -> None:
        mm.huge_vmas -= 1
        cache_of(vma).pool.unreserve(outstanding(vma))

    def may_split(self, vma: Vma, address: int) -> None:
        if address % HPAGE_SIZE:
            raise LinuxError(errno.EINVAL)

    def split(self, mm: AddressSpace, vma: Vma, address: int) -> None:
        """No table that covers both parts may be shared (hugetlb_split)."""
        if address % span(PMD + 1):
            self.unshare(mm, vma, address, address + HPAGE_SIZE)

    def drop_promises(self, vma: Vma) -> None:
        if not vma.shared:
            vma.private_data = Promises(owner=False)

    def outstanding(self, vma: Vma) -> int:
        return outstanding(vma)

    def mremap_lengths(self, old: int, old_length: int, new_length: int, new: int) -> tuple[int, int]:
        """Whole huge pages; a mapping cannot grow, since its reservation cannot."""
        old_length, new_length = hpage_align(old_length), hpage_align(new_length)
        if old % HPAGE_SIZE or new % HPAGE_SIZE or new_length > old_length:
            raise LinuxError(errno.EINVAL)
        return old_length, new_length

    # -- faults ----------------------------------------------------------------------------------------------------

    def fault(self, mm: AddressSpace, vma: Vma, address: int, access: Access) -> FaultResult:
        if not vma.allows(access):
            if not reads_instead(mm, vma, address, access):
                return FaultResult.ACCERR
            access = Access.READ
        return _hugetlb_fault(mm, vma, address & -HPAGE_SIZE, access)

    def gup_forced(self, mm: AddressSpace, vma: Vma, address: int, access: Access) -> int:
        if access == Access.WRITE:  # hugetlb does not support FOLL_FORCE|FOLL_WRITE (check_vma_flags)
            raise LinuxError(errno.EFAULT)
        return fault_with_more_rights(mm, vma, address, access)

    # -- changing entries ------------------------------------------------------------------------------------------

    def zap(self, mm: AddressSpace, vma: Vma, start: int, end: int, *, even_cows: bool = True) -> None:
        """unmap_hugepage_range()."""
        self.unshare(mm, vma, start, end)
        q, cache = mm.frames.ram.qwords, cache_of(vma)
        flush = mm.obligation(start, end, "unmap")
        doomed = []
        for address, slot in mm.tables.huge_slots(start, end):
            number, head = number_of(vma, address), head_of(q[slot])
            if even_cows or vma.shared or cache.heads.get(number) == head:
                q[slot] = 0
                doomed.append((number, head))
        if not doomed:
            flush.nothing_present()
            return
        flush.flush()
        mm.huge_pages -= len(doomed)
        for number, head in doomed:
            if cache.pool.put(head) and not vma.shared:
                _promise_again(cache.pool, promises_of(vma), number)

    def copy(self, parent: AddressSpace, child: AddressSpace, vma: Vma, copy: Vma) -> None:
        """copy_hugetlb_page_range(): of a private mapping."""
        if copy.anon_vma is None:
            return
        q, pool = parent.frames.ram.qwords, cache_of(vma).pool
        for address, slot in parent.tables.huge_slots(vma.start, vma.end):
            target = child.tables.entry_slot_alloc(address, PMD)
            q[slot] &= ~RW
            q[target] = q[slot]
            pool.get(head_of(q[slot]))
            child.huge_pages += 1

    def make_tables(self, mm: AddressSpace, vma: Vma, old: int, length: int, new: int) -> None:
        self.unshare(mm, vma, old, old + length)
        try:
            for address, _ in mm.tables.huge_slots(old, old + length):
                mm.tables.entry_slot_alloc(address - old + new, PMD)
        except LinuxError:
            mm.tables.free_tables(new, new + length)
            raise

    def move(self, mm: AddressSpace, vma: Vma, old: int, length: int, new: int) -> None:
        """move_hugetlb_page_tables()."""
        q = mm.frames.ram.qwords
        for address, slot in mm.tables.huge_slots(old, old + length):
            target = mm.tables.entry_slot(address - old + new, PMD)
            assert target is not None
            q[target], q[slot] = q[slot], 0

    def change_protection(self, mm: AddressSpace, vma: Vma) -> int:
        """hugetlb_change_protection()."""
        self.unshare(mm, vma, vma.start, vma.end)
        q, bits, changed = mm.frames.ram.qwords, rights_of(vma), 0
        for _, slot in mm.tables.huge_slots(vma.start, vma.end):
            q[slot] = q[slot] & ~(RW | XD | P | PROTNONE) | bits
            changed += 1
        return changed

    def unshare(self, mm: AddressSpace, vma: Vma, start: int, end: int) -> None:
        for sharer in mm.context.table_sharers:
            sharer.unshare(mm, vma, start, end)

    # -- looking ---------------------------------------------------------------------------------------------------

    def frame_to_read(self, vma: Vma, address: int) -> int | None:
        cache, index = cache_of(vma), vma.index_of(address)
        return (cache.find(index) or 0) if cache.check_index(index) else None

    def huge_page_use(self, vma: Vma, address: int, frame: int) -> HugePageUse:
        cache = cache_of(vma)
        of_file = cache.find(vma.index_of(address)) == frame
        return HugePageUse(of_file, cache.pool.counts[head_of(frame << PAGE_SHIFT)] - of_file)


HUGETLB = HugetlbOperations()


# -- faults ------------------------------------------------------------------------------------------------------------


def _hugetlb_fault(mm: AddressSpace, vma: Vma, page: int, access: Access) -> FaultResult:
    """The part of a fault after the check of the VMA's rights."""
    linked = _share_tables(mm, vma, page)
    slot = mm.tables.entry_slot_alloc(page, PMD)
    entry = mm.frames.ram.qwords[slot]
    try:
        if entry == 0:
            return _no_page(mm, vma, page, access, slot)
        if not entry & PS:
            assert mm.tables.damaged, f"hugetlb_fault: {page:#x} has a table of small pages"
            return FaultResult.ADRERR
        if access == Access.WRITE and not entry & RW:
            return _write_protected(mm, vma, page, slot, entry)
    except LinuxError:  # the pool has no page left
        mm.tables.free_tables(page, page + HPAGE_SIZE)
        return FaultResult.ADRERR
    if linked:
        return FaultResult.LINKED
    mm.obligation(page, page + HPAGE_SIZE).nothing_changed()
    return FaultResult.RACED


def _share_tables(mm: AddressSpace, vma: Vma, address: int) -> bool:
    """Let the table sharers link a table if there is none yet (huge_pmd_share); returns whether one did."""
    slot = mm.tables.entry_slot(address, PMD + 1)
    if slot is not None and mm.frames.ram.qwords[slot]:
        return False
    return any(sharer.share(mm, vma, address) for sharer in mm.context.table_sharers)


def head_of(entry: int) -> int:
    """The page that an entry maps."""
    return (entry & ADDRESS & -HPAGE_SIZE) >> PAGE_SHIFT


def _set(mm: AddressSpace, page: int, slot: int, head: int, bits: int) -> None:
    """Install an entry where there was none."""
    mm.frames.ram.qwords[slot] = head << PAGE_SHIFT | bits | PS
    mm.huge_pages += 1
    mm.obligation(page, page + HPAGE_SIZE).was_not_present()


def _no_page(mm: AddressSpace, vma: Vma, page: int, access: Access, slot: int) -> FaultResult:
    """hugetlb_no_page(): map the file's page, or for a private mapping a new page."""
    cache, number = cache_of(vma), number_of(vma, page)
    if number >= cache.size // HPAGE_SIZE:
        return FaultResult.ADRERR
    if vma.shared:
        if number not in cache.heads:
            mm.context.clock.charge(_HUGE_PAGE)
        head = cache.get_huge(number)
        cache.pool.get(head)
        _set(mm, page, slot, head, vma.page_bits | (RW | D if vma.allows(Access.WRITE) else 0))
        return FaultResult.MINOR
    mm.vmas.anon_vma_prepare(vma)
    found = cache.heads.get(number)
    if found is not None and access != Access.WRITE:
        cache.pool.get(found)
        _set(mm, page, slot, found, vma.page_bits)
        return FaultResult.MINOR
    head = _private_page(vma, number)
    mm.context.clock.charge(_HUGE_PAGE)
    if found is not None:
        mm.frames.copy_block(head, found)
    _set(mm, page, slot, head, vma.page_bits | (RW | D if access == Access.WRITE else 0))
    return FaultResult.MINOR


def _private_page(vma: Vma, number: int) -> int:
    """A page for a private mapping.  LinuxError(ENOSPC) if none is left for it."""
    promises, pool = promises_of(vma), cache_of(vma).pool
    if promises.robbed:
        raise LinuxError(errno.ENOSPC, "the owner of the mapping needed the page itself")
    head = pool.alloc(promised=promises.owner and number not in promises.used)
    promises.used.add(number)
    return head


def _write_protected(mm: AddressSpace, vma: Vma, page: int, slot: int, entry: int) -> FaultResult:
    """hugetlb_wp(): copy a private page that others see too."""
    cache, number, head = cache_of(vma), number_of(vma, page), head_of(entry)
    pool = cache.pool
    if not vma.shared and pool.counts[head] > 1:
        try:
            copy = _private_page(vma, number)
        except LinuxError:
            if not promises_of(vma).owner or cache.heads.get(number) == head:
                raise
            _rob_copies(mm, vma, page, head)
        else:
            mm.frames.copy_block(copy, head)
            mm.context.clock.charge(_HUGE_PAGE)
            flush = mm.obligation(page, page + HPAGE_SIZE, "copy on write")
            mm.frames.ram.qwords[slot] = copy << PAGE_SHIFT | vma.page_bits | PS | RW | D
            flush.flush()
            pool.put(head)
            return FaultResult.MINOR
    flush = mm.obligation(page, page + HPAGE_SIZE, "copy on write")
    mm.frames.ram.qwords[slot] = entry | RW | D | A
    flush.rights_added()
    return FaultResult.MINOR


def _rob_copies(mm: AddressSpace, vma: Vma, page: int, head: int) -> None:
    """unmap_ref_private(): the process that was promised the page takes it from the children that still share it."""
    cache, number = cache_of(vma), number_of(vma, page)
    for other, other_mm in list(cache.mappings.items()):
        if other is vma or other.shared or promises_of(other).owner:
            continue
        address = other.start + ((number << 9) - other.pgoff << PAGE_SHIFT)
        if other.start <= address < other.end:
            slot = other_mm.tables.entry_slot(address, PMD)
            if slot is not None and head_of(mm.frames.ram.qwords[slot]) == head:
                promises_of(other).robbed = True
                other.ops.zap(other_mm, other, address, address + HPAGE_SIZE)
    assert cache.pool.counts[head] == 1, "hugetlb: a page that is promised to one mapping is used by others"


def _promise_again(pool: HugePagePool, promises: Promises, number: int) -> None:
    """A private page is gone: its mapping gets the promise again (MADV_DONTNEED); if the mapping goes too, close()
    takes the promise back.
    """
    if promises.owner and number in promises.used and pool.free > pool.reserved:
        promises.used.discard(number)
        pool.reserve(1)


def huge_bytes(mm: AddressSpace) -> int:
    """HugetlbPages in /proc/PID/status: bytes mapped by entries of huge VMAs."""
    if not mm.huge_vmas:
        return 0
    slots = (mm.tables.huge_slots(vma.start, vma.end) for vma in mm.vmas if vma.ops.leaf_level == PMD)
    return sum(HPAGE_SIZE for found in slots for _ in found)
