"""Page faults: demand zero, file pages, copy-on-write (mm/memory.c)."""

from __future__ import annotations

from emu.linux.errors import LinuxError
from emu.linux.limits import Rlimit
from emu.mm.address_space import AddressSpace
from emu.mm.frames import FrameKind
from emu.mm.hugefault import hugetlb_fault
from emu.mm.pagetable import ADDRESS, RW, SPECIAL, A, D
from emu.mm.vma import FaultResult, Vma, VmFlags
from mmu.memory import PAGE_SHIFT, PAGE_SIZE
from mmu.registers import Access

FAULT_AROUND_BYTES = 64 << 10
_MAX_STACK = 1 << 30


def handle_mm_fault(mm: AddressSpace, address: int, access: Access) -> FaultResult:
    """Resolve one page fault at a user address, or say which signal it is.  Never raises for what the guest did."""
    vma = mm.vmas.find(address)
    if vma is None:
        vma = expand_stack(mm, address)
        if vma is None:
            return FaultResult.MAPERR
    try:
        if vma.ops is not None and vma.ops.owns_tables:
            return vma.ops.fault(mm, vma, address, access)
        return fault_in_vma(mm, vma, address, access)
    except LinuxError:  # no frame for a table or a page
        return FaultResult.OOM


def expand_stack(mm: AddressSpace, address: int) -> Vma | None:
    """Grow a MAP_GROWSDOWN mapping down to ``address`` if it lies just above and its limit allows (stack_guard_gap is
    1 MiB).
    """
    vma = mm.vmas.next_above(address)
    if vma is None or not vma.flags & VmFlags.GROWSDOWN:
        return None
    start = address & -PAGE_SIZE
    below = mm.vmas.find(max(start - (1 << 20), 0)) or mm.vmas.next_above(max(start - (1 << 20), 0))
    if not _stack_may_grow(mm, vma, start) or (below is not None and below is not vma and below.prot):
        return None
    if vma.flags & VmFlags.ACCOUNT:
        try:
            mm.context.commit.charge((vma.start - start) >> PAGE_SHIFT, mm)
        except LinuxError:
            return None
    mm.vmas.remove(vma)
    mm.total_bytes += vma.start - start
    vma.pgoff -= (vma.start - start) >> PAGE_SHIFT
    vma.start = start
    mm.vmas.add(vma)
    return vma


def _stack_may_grow(mm: AddressSpace, vma: Vma, start: int) -> bool:
    """RLIMIT_STACK (at most 1 GiB), and RLIMIT_AS."""
    limit, space = mm.context.limit(Rlimit.STACK), mm.context.limit(Rlimit.AS)
    if vma.end - start > min(_MAX_STACK if limit is None else limit, _MAX_STACK):
        return False
    return space is None or mm.total_bytes + vma.start - start <= space


def fault_in_vma(mm: AddressSpace, vma: Vma, address: int, access: Access) -> FaultResult:
    """The part of the fault that knows the VMA (__handle_mm_fault): rights, then the kind of page.

    LinuxError(ENOMEM) if memory ran out; the tables are consistent then.
    """
    if not vma.allows(access):
        # access_error(): to fetch from a page that is not there yet is a read, and the fault after that is refused
        if access != Access.FETCH or not vma.allows(Access.READ) or mm.tables.pte(address):
            return FaultResult.ACCERR
        access = Access.READ
    if vma.huge:
        return hugetlb_fault(mm, vma, address, access)
    slot = mm.tables.entry_slot_alloc(address, 1)
    pte = mm.frames.ram.qwords[slot]
    try:
        if pte == 0:
            if vma.page_cache is None:
                return _anonymous_page(mm, vma, address, access, slot)
            return _file_page(mm, vma, address, access, slot)
        if access == Access.WRITE and not pte & RW:
            return _write_protected_page(mm, vma, address, slot, pte)
    except LinuxError:
        mm.tables.free_tables(address & -PAGE_SIZE, (address & -PAGE_SIZE) + PAGE_SIZE)
        raise
    page = address & -PAGE_SIZE
    mm.obligation(page, page + PAGE_SIZE).flush_here("nothing was changed: only this vCPU had an old entry")
    return FaultResult.RACED


def _set_new_pte(mm: AddressSpace, address: int, slot: int, pte: int) -> None:
    """Install an entry where none was."""
    mm.frames.ram.qwords[slot] = pte
    mm.obligation(address & -PAGE_SIZE, (address & -PAGE_SIZE) + PAGE_SIZE).none_needed(
        "no TLB holds a translation of a not-present entry (SDM vol. 3, 4.10.2.3)"
    )


def _anonymous_page(mm: AddressSpace, vma: Vma, address: int, access: Access, slot: int) -> FaultResult:
    """do_anonymous_page(): a page of zeros; for a read, the one that everybody shares."""
    if access == Access.WRITE:
        frame = mm.frames.alloc(FrameKind.ANON)
        vma.anon = True
        mm.rss_anon += 1
        _set_new_pte(mm, address, slot, frame << PAGE_SHIFT | vma.page_bits | RW | D)
    else:
        _set_new_pte(mm, address, slot, mm.frames.zero_frame << PAGE_SHIFT | vma.page_bits | SPECIAL)
    return FaultResult.MINOR


def _file_page(mm: AddressSpace, vma: Vma, address: int, access: Access, slot: int) -> FaultResult:
    """do_fault(): a page of the page cache, or a private copy of it."""
    cache = vma.page_cache
    assert cache is not None
    index = vma.index_of(address)
    if not cache.check_index(index):
        return FaultResult.ADRERR
    frame = cache.get_page(index)
    if access == Access.WRITE and not vma.shared:
        copy = mm.frames.copy(frame, FrameKind.ANON)
        vma.anon = True
        mm.rss_anon += 1
        _set_new_pte(mm, address, slot, copy << PAGE_SHIFT | vma.page_bits | RW | D)
        return FaultResult.MINOR
    bits = vma.page_bits | (RW if vma.shared and vma.allows(Access.WRITE) else 0)
    mm.frames.get(frame)
    mm.rss_cache += 1
    _set_new_pte(mm, address, slot, frame << PAGE_SHIFT | bits | (D if access == Access.WRITE else 0))
    if access != Access.WRITE:
        _fault_around(mm, vma, address, slot, bits)
    return FaultResult.MINOR


def _fault_around(mm: AddressSpace, vma: Vma, address: int, slot: int, bits: int) -> None:
    """do_fault_around(): map the neighbours that the page cache holds already, within the aligned 64 KiB."""
    cache = vma.page_cache
    assert cache is not None
    low = max(address & -FAULT_AROUND_BYTES, vma.start)
    high = min((address & -FAULT_AROUND_BYTES) + FAULT_AROUND_BYTES, vma.end)
    q, frames, find = mm.frames.ram.qwords, mm.frames, cache.find
    bits &= ~A
    at = slot - ((address - low) >> PAGE_SHIFT)
    first = vma.index_of(low)
    mapped = 0
    for index in range(first, min(first + ((high - low) >> PAGE_SHIFT), cache.end_index)):
        if not q[at] and (frame := find(index)) is not None:
            frames.get(frame)
            q[at] = frame << PAGE_SHIFT | bits
            mapped += 1
        at += 1
    mm.rss_cache += mapped
    mm.obligation(low, high).none_needed("no TLB holds a translation of a not-present entry (SDM vol. 3, 4.10.2.3)")


def _write_protected_page(mm: AddressSpace, vma: Vma, address: int, slot: int, pte: int) -> FaultResult:
    """do_wp_page(): make the page writable, copying it if anybody else can see it."""
    frames = mm.frames
    page = address & -PAGE_SIZE
    flush = mm.obligation(page, page + PAGE_SIZE, "copy on write")
    frame = (pte & ADDRESS) >> PAGE_SHIFT
    if vma.shared or (frames.kind(frame) == FrameKind.ANON and frames.count(frame) == 1):
        frames.ram.qwords[slot] = pte | RW | D | A
        flush.flush_here("rights were only added: another vCPU walks again before it faults")
        return FaultResult.MINOR
    try:
        copy = frames.copy(frame, FrameKind.ANON)
    except LinuxError:
        flush.none_needed("the entry was not changed")
        raise
    frames.ram.qwords[slot] = copy << PAGE_SHIFT | vma.page_bits | RW | D
    flush.flush()
    vma.anon = True
    mm.rss_anon += 1
    if not pte & SPECIAL:
        if frames.kind(frame) == FrameKind.ANON:
            mm.rss_anon -= 1
        else:
            mm.rss_cache -= 1
        frames.put(frame)
    return FaultResult.MINOR
