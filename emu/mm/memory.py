"""Memory in pages of 4 KiB that the address space's own tables map: faults with copy-on-write, and how unmapping, fork
and mprotect change the entries (mm/memory.c).  Derived classes decide where the pages come from.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING

from emu.linux.cost import Cost
from emu.linux.errors import LinuxError
from emu.linux.mman import Prot
from emu.mm import hugememory, hugepmd, rss, thpfault
from emu.mm.cow import can_follow_write, copy_page, write_protected
from emu.mm.flags import FaultResult, VmFlags
from emu.mm.pageflags import PG_DIRTY, PG_MAYBE_SHARED
from emu.mm.pagetable import ADDRESS, FEW, HERE, PROTNONE, RW, SPECIAL, UFFD_WP_BIT, XD, A, D, P, span
from emu.mm.swapops import (
    GUARD,
    POISONED,
    SWP_UFFD_WP,
    UFFD_WP_ENTRY,
    here,
    is_here,
    is_swapped,
    marked,
    swapped,
)
from emu.mm.vmops import VmOperations
from emu.mm.zap import locked_pages, zap_cached, zap_range
from mmu.late import np
from mmu.memory import PAGE_SHIFT, PAGE_SIZE
from mmu.registers import Access

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma

_RIGHTS = P | PROTNONE | RW | XD
#: The bits that an entry keeps when its rights change, and when fork takes write access away.
_CONTENT, _READ_ONLY = ~_RIGHTS & (1 << 64) - 1, ~RW & (1 << 64) - 1
_OLD, _OLD_AND_CLEAN = ~A & (1 << 64) - 1, ~(A | D) & (1 << 64) - 1
_ALL = (1 << 64) - 1
_PTE_TABLE_SPAN = span(2)
_PFNMAP, _WIPEONFORK, _MAYBE_GUARD = int(VmFlags.PFNMAP), int(VmFlags.WIPEONFORK), int(VmFlags.MAYBE_GUARD)
_MINOR = FaultResult.MINOR
_MAPPED = Cost.MAPPED


class PageMemory(VmOperations):
    """The operations of memory in pages of 4 KiB: a derived class provides missing pages in :meth:`missing`.

    Here a module's mapping has pages that are full of one byte:

    >>> from emu.mm.vmops import MapHook
    >>> from emu.testing import GuestMachine
    >>> class Sevens(PageMemory):
    ...     def missing(self, mm, vma, address, access, slot):
    ...         frame = rss.new_page(mm)
    ...         mm.frames.ram.write(frame << PAGE_SHIFT, bytes([7]) * PAGE_SIZE)
    ...         mm.vmas.anon_vma_prepare(vma)
    ...         set_new_entry(mm, address, slot, frame << PAGE_SHIFT | vma.page_bits | RW | D)
    ...         return FaultResult.MINOR
    >>> class Hook(MapHook):
    ...     def mapped(self, mm, vma, flags):
    ...         if vma.start == 0x10000000:
    ...             vma.ops = Sevens()
    >>> machine = GuestMachine(modules={"sevens": lambda kernel: kernel.mm_context.map_hooks.append(Hook())})
    >>> script = "@p = mmap 0x10000000 4K RW PRIVATE|MAP_FIXED -1 0; load p; store p 1; load p"
    >>> print(machine.run_guest("calls", script).stdout, end="")
    load = 0x707070707070707
    store = 0
    load = 1
    >>> machine.close()
    []
    """

    # -- faults ----------------------------------------------------------------------------------------------------

    @abstractmethod
    def missing(self, mm: AddressSpace, vma: Vma, address: int, access: Access, slot: int) -> FaultResult:
        """A fault where no page is mapped (do_pte_missing): map one in the entry of ``slot``, with
        :func:`set_new_entry` and a frame counted by :mod:`emu.mm.rss`, or return the signal that the fault causes.
        LinuxError(ENOMEM).
        """

    def fault(self, mm: AddressSpace, vma: Vma, address: int, access: Access) -> FaultResult:
        if not vma.allowed[access]:
            if not reads_instead(mm, vma, address, access):
                return FaultResult.ACCERR
            access = Access.READ
        if mm.may_have_huge or (vma.page_cache is not None and vma.page_cache.may_have_huge):
            huge = thpfault.fault(mm, vma, address, access)
            if huge is not None:
                return huge
        tables = mm.tables.tables[1]
        slot = mm.tables.entry_slot_alloc(address, 1)
        pte = mm.frames.ram.qwords[slot]
        try:
            if pte == 0:
                result = self.missing(mm, vma, address, access, slot)
                if (
                    result is not _MINOR and not result.resolved and mm.tables.tables[1] > tables
                ):  # a table is made for an entry only
                    table = address & -_PTE_TABLE_SPAN
                    mm.tables.free_pte_tables(table, table + _PTE_TABLE_SPAN)
                return result
            if not pte & HERE:
                if is_swapped(pte):
                    return _swapped_out(mm, vma, address, access, slot)
                return self._marked(mm, vma, address, access, slot)
            if access == Access.WRITE and not pte & RW:
                return write_protected(mm, vma, address, slot, pte)
        except LinuxError:
            mm.tables.free_tables(address & -PAGE_SIZE, (address & -PAGE_SIZE) + PAGE_SIZE)
            raise
        page = address & -PAGE_SIZE
        mm.obligation(page, page + PAGE_SIZE).nothing_changed()
        return FaultResult.RACED

    def _marked(self, mm: AddressSpace, vma: Vma, address: int, access: Access, slot: int) -> FaultResult:
        """A fault where a marker is (handle_pte_marker)."""
        what = marked(mm.frames.ram.qwords[slot])
        page = address & -PAGE_SIZE
        if what & (POISONED | GUARD):
            mm.obligation(page, page + PAGE_SIZE).none_needed("the marker stays")
            return FaultResult.HWPOISON if what & POISONED else FaultResult.MAPERR
        q = mm.frames.ram.qwords
        if not vma.flags & VmFlags.UFFD_WP:
            q[slot] = 0
            return self.missing(mm, vma, address, access, slot)
        result = self.missing(mm, vma, address, access, slot)
        if is_here(q[slot]):  # as protected as the page would be
            q[slot] = q[slot] & ~RW | UFFD_WP_BIT
        return result

    def touch(self, mm: AddressSpace, vma: Vma, address: int, access: Access) -> None:
        if mm.tables.transparent and (large := hugepmd.huge_slot(mm, address)) is not None:
            if access == Access.WRITE:  # a read leaves no trace (pmdp_set_access_flags of x86)
                mm.frames.ram.qwords[large] |= A | D
            return
        pte = mm.tables.pte(address)
        if pte & HERE and not pte & SPECIAL:
            frame = (pte & ADDRESS) >> PAGE_SHIFT
            if access == Access.WRITE and not pte & D:
                mm.frames.set_page_flags(frame, PG_DIRTY)
            mm.frames.mark_accessed(frame, functools.partial(locked_pages, vma, [pte]))

    def gup_forced(self, mm: AddressSpace, vma: Vma, address: int, access: Access) -> int:
        return fault_with_more_rights(mm, vma, address, access)

    def gup_unshare(self, mm: AddressSpace, vma: Vma, address: int) -> None:
        if (large := hugepmd.huge_slot(mm, address)) is not None and not thpfault.unshare(mm, address, large):
            return
        slot = mm.tables.entry_slot(address, 1)
        assert slot is not None, "gup_unshare: the page is present"
        pte = mm.frames.ram.qwords[slot]
        frame = (pte & ADDRESS) >> PAGE_SHIFT
        if pte & SPECIAL or not mm.frames.is_anon(frame) or not mm.frames.has_flag(frame, PG_MAYBE_SHARED):
            return
        if mm.frames.count(frame) == 1:
            mm.frames.clear_flag(frame, PG_MAYBE_SHARED)
        else:
            copy_page(mm, vma, address, slot, pte, vma.page_bits | pte & UFFD_WP_BIT)
        mm.count_kernel_fault(FaultResult.MINOR)

    # -- changing entries ------------------------------------------------------------------------------------------

    def zap(self, mm: AddressSpace, vma: Vma, start: int, end: int, *, even_cows: bool = True) -> None:
        if mm.tables.transparent:
            hugememory.zap(mm, start, end)
        if not even_cows and not vma.shared:
            zap_cached(mm, vma, start, end)
        else:
            zap_range(mm, vma, start, end, markers=False)

    def unmap(self, mm: AddressSpace, vma: Vma) -> None:
        self.unmap_range(mm, vma, vma.start, vma.end)
        mm.free_tables(vma)

    def unmap_range(self, mm: AddressSpace, vma: Vma, start: int, end: int) -> None:
        """Clear all entries of a range, of this VMA or of several like it."""
        if mm.tables.transparent:
            hugememory.zap(mm, start, end)
        zap_range(mm, vma, start, end, markers=True)

    def copy(self, parent: AddressSpace, child: AddressSpace, vma: Vma, copy: Vma) -> None:
        """Map private pages in both, without write access, and the kernel's own; the child faults pages of the page
        cache in (vma_needs_copy).
        """
        if not must_copy(vma, copy):
            return
        if parent.tables.transparent:
            hugememory.copy(parent, child, vma, protected=bool(copy.flags & VmFlags.UFFD_WP))
        words = parent.tables.words
        kept = np.uint64(_OLD_AND_CLEAN if vma.writes_through else _OLD)
        for vaddr, slot, number in parent.tables.pte_tables(vma.start, vma.end):
            parent.stop.check()
            entries = words[slot : slot + number]
            target = child.tables.entry_slot_alloc(vaddr, 1)
            present = here(entries)
            if not vma.shared:
                entries[present] &= np.uint64(_READ_ONLY)
            if parent.rss_swap:
                rss.share_swapped(child, entries)
            # what the child has not used is old; what only the parent has written, it has not (__copy_present_ptes)
            words[target : target + number] = np.where(present, entries & kept, entries)
            if vma.uffd is not None and not copy.flags & VmFlags.UFFD_WP:
                forget_protection(words[target : target + number])
            rss.share_pages(child, entries[present])
            parent.context.clock.charge(int(np.count_nonzero(present)) * _MAPPED)

    def make_tables(self, mm: AddressSpace, vma: Vma, old: int, length: int, new: int) -> None:
        if mm.tables.transparent:
            hugememory.make_tables(mm, old, length, new)
        super().make_tables(mm, vma, old, length, new)

    def move(self, mm: AddressSpace, vma: Vma, old: int, length: int, new: int) -> None:
        if mm.tables.transparent:
            hugememory.move(mm, old, length, new)
        super().move(mm, vma, old, length, new)

    def change_protection(self, mm: AddressSpace, vma: Vma) -> int:
        # P goes and comes with PROT_NONE; RW comes where no copy can be due, elsewhere the fault knows
        bits, changed = rights_of(vma), 0
        alone = bool(vma.prot & Prot.WRITE) and not vma.shared
        if mm.tables.transparent:
            changed = hugememory.change_protection(mm, vma, bits, alone=alone)
        for _, slot, number in mm.tables.pte_tables(vma.start, vma.end):
            if mm.context.thp.used and number > 1:
                hugememory.gather_use(mm, slot, number)
            change = _change_few if number <= FEW else _change_many
            present = change(mm, slot, number, bits, alone=alone)
            changed += present
            mm.context.clock.charge(present * _MAPPED)
        return changed


def must_copy(vma: Vma, copy: Vma) -> bool:
    """Whether fork copies the entries of a VMA of pages: there are private pages or the kernel's own."""
    if copy.anon_vma is not None:
        return True
    return bool(vma.bits & (_PFNMAP if vma.bits & _WIPEONFORK else _PFNMAP | _MAYBE_GUARD))


def copy_entries(parent: AddressSpace, child: AddressSpace, copies: Iterable[tuple[Vma, Vma]]) -> None:
    """Copy the entries of VMAs to their copies, which are in the child: those of gathered memory together and natively,
    where only pages are mapped.
    """
    entries, clock = parent.context.entries, parent.context.clock
    natively = entries.can_copy(parent)
    ranges: list[int] = []
    for vma, copy in copies:
        if natively and vma.ops.gathered and vma.uffd is None:
            if must_copy(vma, copy):
                kept = _OLD_AND_CLEAN if vma.shared and vma.writes_through else _OLD
                ranges += (vma.start, vma.end, _ALL if vma.shared else _READ_ONLY, kept)
            continue
        if ranges:
            clock.charge(entries.copy(parent, child, ranges, parent.stop.check) * _MAPPED)
            ranges.clear()
        vma.ops.copy(parent, child, vma, copy)
    if ranges:
        clock.charge(entries.copy(parent, child, ranges, parent.stop.check) * _MAPPED)


def _change_few(mm: AddressSpace, slot: int, number: int, bits: int, *, alone: bool) -> int:
    """Give the entries that are set these rights, and with ``alone`` RW to pages that are this process's alone; returns
    how many there are.
    """
    q = mm.frames.ram.qwords
    slots = [at for at in mm.tables.set_slots(slot, number) if q[at] & HERE]
    for at in slots:
        entry = q[at] & _CONTENT | bits
        if alone and rss.is_exclusive(mm, entry):
            entry |= RW
        q[at] = entry & ~RW if entry & UFFD_WP_BIT else entry
    return len(slots)


def _change_many(mm: AddressSpace, slot: int, number: int, bits: int, *, alone: bool) -> int:
    """As :func:`_change_few`."""
    view = mm.tables.words[slot : slot + number]
    present = np.flatnonzero(here(view))
    entries: rss.Entries = view[present] & np.uint64(_CONTENT) | np.uint64(bits)
    if alone:
        entries[rss.exclusive(mm, entries)] |= RW
    entries[(entries & UFFD_WP_BIT) != 0] &= np.uint64(_READ_ONLY)
    view[present] = entries
    return len(present)


def reads_instead(mm: AddressSpace, vma: Vma, address: int, access: Access) -> bool:
    """Whether an access that the VMA does not allow is resolved nevertheless (access_error): a fetch from a page that
    is not present counts as a read, and the next fault is refused.
    """
    return access == Access.FETCH and vma.allows(Access.READ) and not mm.tables.pte(address) & P


def rights_of(vma: Vma) -> int:
    """P or PROTNONE, RW and XD of an entry that gets the VMA's rights: write access only where nothing is copied."""
    prot = vma.prot
    return (P if prot else PROTNONE) | (0 if prot & Prot.EXEC else XD) | (RW if prot & Prot.WRITE and vma.shared else 0)


def forget_protection(entries: rss.Entries) -> None:
    """No userfaultfd hears of writes through these entries any more (clear_uffd_wp_pte)."""
    mapping = here(entries)
    entries[mapping] &= np.uint64(~UFFD_WP_BIT & (1 << 64) - 1)
    if not mapping.all():
        entries[swapped(entries)] &= np.uint64(~SWP_UFFD_WP & (1 << 64) - 1)
    entries[entries == np.uint64(UFFD_WP_ENTRY)] = 0


def set_new_entry(mm: AddressSpace, address: int, slot: int, entry: int) -> None:
    """Install an entry where there was none."""
    mm.frames.ram.qwords[slot] = entry
    page = address & -PAGE_SIZE
    mm.note_new(page, page + PAGE_SIZE)


def fault_with_more_rights(mm: AddressSpace, vma: Vma, address: int, access: Access) -> int:
    """The frame behind an address that the process itself may not access: fault as if it were allowed, then take the
    rights away from the entry again.
    """
    allowed, page_size, q = vma.prot, vma.ops.page_size, mm.frames.ram.qwords
    slot = mm.tables.leaf_slot(address)
    if slot is None or not is_here(q[slot]) or (access == Access.WRITE and not can_follow_write(mm, q[slot])):
        page = address & -page_size
        vma.prot = allowed | Prot.READ | (Prot.WRITE if access == Access.WRITE else Prot.NONE)
        flush = mm.obligation(page, page + page_size)
        try:
            while (result := vma.ops.fault(mm, vma, address, access)) is FaultResult.RETRY:
                mm.wait_userfault()
        finally:
            vma.prot = allowed
            slot = mm.tables.leaf_slot(address)
            if slot is not None:
                _take_rights_again(mm, vma, address, slot)
            flush.flush()
        mm.take_fault(result)
        assert slot is not None
    return mm.tables.paddr_at(slot, address) >> PAGE_SHIFT


def _take_rights_again(mm: AddressSpace, vma: Vma, address: int, slot: int) -> None:
    """The VMA's own rights for what a fault with more has mapped, which may be more pages than the one at ``address``,
    all by the same table.
    """
    words, number = mm.tables.words, 1
    if mm.tables.entry_slot(address, 1) == slot:
        start = max(address & -_PTE_TABLE_SPAN, vma.start)
        slot -= (address - start) >> PAGE_SHIFT
        number = (min((address & -_PTE_TABLE_SPAN) + _PTE_TABLE_SPAN, vma.end) - start) >> PAGE_SHIFT
    entries = words[slot : slot + number]
    mapped = here(entries)
    writable = entries[mapped] & np.uint64(RW if vma.prot & Prot.WRITE else 0)
    entries[mapped] = entries[mapped] & np.uint64(_CONTENT) | np.uint64(rights_of(vma) & ~RW) | writable


def _swapped_out(mm: AddressSpace, vma: Vma, address: int, access: Access, slot: int) -> FaultResult:
    """A fault on a page that lies in a swap area."""
    from emu.mm.swapin import do_swap_page  # few machines have any

    q = mm.frames.ram.qwords
    result, major = do_swap_page(mm, vma, address, access, slot, q[slot])
    if result is None:
        result = write_protected(mm, vma, address, slot, q[slot])
    return FaultResult.MAJOR if major and result.resolved else result
