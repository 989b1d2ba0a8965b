"""Memory in pages of 4 KiB that the address space's own tables map: faults with copy-on-write, and how unmapping, fork
and mprotect change the entries (mm/memory.c).  Derived classes decide where the pages come from.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from emu.linux.cost import Cost
from emu.linux.errors import LinuxError
from emu.linux.mman import Prot
from emu.mm import rss
from emu.mm.flags import FaultResult
from emu.mm.frames import PG_MAYBE_SHARED
from emu.mm.pagetable import ADDRESS, FEW, RW, SPECIAL, XD, A, D, P
from emu.mm.vmops import VmOperations
from mmu.late import np
from mmu.memory import PAGE_SHIFT, PAGE_SIZE
from mmu.registers import Access

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma

_RIGHTS = P | RW | XD
#: The bits that an entry keeps when its rights change, and when fork takes write access away.
_CONTENT, _READ_ONLY = ~_RIGHTS & (1 << 64) - 1, ~RW & (1 << 64) - 1
_MAPPED, _PAGE = Cost.MAPPED, Cost.PAGE


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
        if not vma.allows(access):
            if not reads_instead(mm, vma, address, access):
                return FaultResult.ACCERR
            access = Access.READ
        slot = mm.tables.entry_slot_alloc(address, 1)
        pte = mm.frames.ram.qwords[slot]
        try:
            if pte == 0:
                return self.missing(mm, vma, address, access, slot)
            if access == Access.WRITE and not pte & RW:
                return _write_protected(mm, vma, address, slot, pte)
        except LinuxError:
            mm.tables.free_tables(address & -PAGE_SIZE, (address & -PAGE_SIZE) + PAGE_SIZE)
            raise
        page = address & -PAGE_SIZE
        mm.obligation(page, page + PAGE_SIZE).nothing_changed()
        return FaultResult.RACED

    def gup_forced(self, mm: AddressSpace, vma: Vma, address: int, access: Access) -> int:
        return fault_with_more_rights(mm, vma, address, access)

    # -- changing entries ------------------------------------------------------------------------------------------

    def zap(self, mm: AddressSpace, vma: Vma, start: int, end: int, *, even_cows: bool = True) -> None:
        if not even_cows and not vma.shared:
            _zap_cached(mm, vma, start, end)
            return
        found = False
        mm.note_peak()
        for entries in mm.tables.clear_range(start, end):
            mm.obligation(start, end, "unmap").flush()
            rss.put_pages(mm, entries)
            mm.context.clock.charge(len(entries) * _MAPPED)
            found = True
        if not found:
            mm.obligation(start, end).nothing_present()

    def copy(self, parent: AddressSpace, child: AddressSpace, vma: Vma, copy: Vma) -> None:
        """Map private pages in both, without write access; the child faults pages of the page cache in
        (vma_needs_copy).
        """
        if copy.anon_vma is None:
            return
        words = parent.tables.words
        for vaddr, slot, number in parent.tables.pte_tables(vma.start, vma.end):
            parent.stop.check()
            entries = words[slot : slot + number]
            present = entries != 0
            if present.any():
                target = child.tables.entry_slot_alloc(vaddr, 1)
                entries[present] &= _READ_ONLY
                words[target : target + number] = entries
                rss.share_pages(child, entries[present])
                parent.context.clock.charge(int(np.count_nonzero(present)) * _MAPPED)

    def change_protection(self, mm: AddressSpace, vma: Vma) -> int:
        # P goes and comes with PROT_NONE; RW comes where no copy can be due, elsewhere the fault knows
        bits, changed = rights_of(vma), 0
        alone = bool(vma.prot & Prot.WRITE) and not vma.shared
        for _, slot, number in mm.tables.pte_tables(vma.start, vma.end):
            change = _change_few if number <= FEW else _change_many
            present = change(mm, slot, number, bits, alone=alone)
            changed += present
            mm.context.clock.charge(present * _MAPPED)
        return changed


def _change_few(mm: AddressSpace, slot: int, number: int, bits: int, *, alone: bool) -> int:
    """Give the entries that are set these rights, and with ``alone`` RW to pages that are this process's alone; returns
    how many there are.
    """
    q, slots = mm.frames.ram.qwords, mm.tables.set_slots(slot, number)
    for at in slots:
        entry = q[at] & _CONTENT | bits
        q[at] = entry | RW if alone and rss.is_exclusive(mm, entry) else entry
    return len(slots)


def _change_many(mm: AddressSpace, slot: int, number: int, bits: int, *, alone: bool) -> int:
    """As :func:`_change_few`."""
    view = mm.tables.words[slot : slot + number]
    present = np.flatnonzero(view)
    entries: rss.Entries = view[present] & np.uint64(_CONTENT) | np.uint64(bits)
    if alone:
        entries[rss.exclusive(mm, entries)] |= RW
    view[present] = entries
    return len(present)


def reads_instead(mm: AddressSpace, vma: Vma, address: int, access: Access) -> bool:
    """Whether an access that the VMA does not allow is resolved nevertheless (access_error): a fetch from a page that
    is not present counts as a read, and the next fault is refused.
    """
    return access == Access.FETCH and vma.allows(Access.READ) and not mm.tables.pte(address)


def rights_of(vma: Vma) -> int:
    """P, RW and XD of an entry that gets the VMA's rights: write access only where nothing is ever copied."""
    prot = vma.prot
    return (P if prot else 0) | (0 if prot & Prot.EXEC else XD) | (RW if prot & Prot.WRITE and vma.shared else 0)


def set_new_entry(mm: AddressSpace, address: int, slot: int, entry: int) -> None:
    """Install an entry where there was none."""
    mm.frames.ram.qwords[slot] = entry
    page = address & -PAGE_SIZE
    mm.obligation(page, page + PAGE_SIZE).was_not_present()


def fault_with_more_rights(mm: AddressSpace, vma: Vma, address: int, access: Access) -> int:
    """The frame behind an address that the process itself may not access: fault as if it were allowed, then take the
    rights away from the entry again.
    """
    allowed, page_size, q = vma.prot, vma.ops.page_size, mm.frames.ram.qwords
    slot = mm.tables.leaf_slot(address)
    if slot is None or not q[slot] or access != Access.READ:
        page = address & -page_size
        vma.prot = allowed | Prot.READ | (Prot.WRITE if access == Access.WRITE else Prot.NONE)
        flush = mm.obligation(page, page + page_size)
        try:
            result = vma.ops.fault(mm, vma, address, access)
        finally:
            vma.prot = allowed
            slot = mm.tables.leaf_slot(address)
            if slot is not None and q[slot]:
                writable = RW if allowed & Prot.WRITE and q[slot] & RW else 0
                q[slot] = q[slot] & ~_RIGHTS | rights_of(vma) & ~RW | writable
            flush.flush()
        mm.take_fault(result)
        assert slot is not None
    return mm.tables.paddr_at(slot, address) >> PAGE_SHIFT


def _write_protected(mm: AddressSpace, vma: Vma, address: int, slot: int, pte: int) -> FaultResult:
    """do_wp_page(): make the page writable, copying it if another mapping can see it."""
    frames = mm.frames
    page = address & -PAGE_SIZE
    flush = mm.obligation(page, page + PAGE_SIZE, "copy on write")
    frame = (pte & ADDRESS) >> PAGE_SHIFT
    if vma.shared or (frames.is_anon(frame) and frames.count(frame) == 1):
        frames.ram.qwords[slot] = pte | RW | D | A
        if not vma.shared:
            frames.clear_flag(frame, PG_MAYBE_SHARED)
        elif vma.file is not None:
            vma.file.update_time()
        flush.rights_added()
        return FaultResult.MINOR
    try:
        copy = rss.new_copy(mm, frame)
    except LinuxError:
        flush.none_needed("the entry was not changed")
        raise
    mm.context.clock.charge(_PAGE)
    frames.ram.qwords[slot] = copy << PAGE_SHIFT | vma.page_bits | RW | D
    flush.flush()
    if vma.anon_vma is None:
        mm.vmas.anon_vma_prepare(vma)
    if not pte & SPECIAL:
        rss.put_page(mm, frame)
    return FaultResult.MINOR


def _zap_cached(mm: AddressSpace, vma: Vma, start: int, end: int) -> None:
    """Zap those of a private mapping's pages that belong to the page cache."""
    assert vma.page_cache is not None
    for first, slot, number in mm.tables.pte_tables(start, end):
        entries = mm.tables.words[slot : slot + number]
        at = np.flatnonzero(entries)
        frames = ((entries[at] & ADDRESS) >> PAGE_SHIFT).astype(np.int64)
        at = at[frames == vma.page_cache.find_each(at + vma.index_of(first))]
        if len(at):
            cleared = entries[at]
            entries[at] = 0
            low, high = (first + (int(at[edge]) << PAGE_SHIFT) for edge in (0, -1))
            mm.obligation(low, high + PAGE_SIZE, "unmap").flush()
            rss.put_pages(mm, cleared)
