"""Transparent huge pages as ordinary memory's operations see them: unmapped, copied, moved, and with other rights
(mm/huge_memory.c).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.linux.cost import Cost
from emu.linux.mman import Prot
from emu.mm.flags import VmFlags
from emu.mm.hugepmd import (
    PMD,
    PMD_SIZE,
    U64,
    block,
    head_of,
    huge_entries,
    is_exclusive,
    is_mapped_by_others,
    zap_entry,
)
from emu.mm.hugesplit import split, split_page, split_range, whole_or_split
from emu.mm.pageflags import (
    BLOCK_FRAMES,
    PG_ACTIVE,
    PG_DIRTY,
    PG_LARGE,
    PG_LAZYFREE,
    PG_MAYBE_SHARED,
    PG_REFERENCED,
    FrameKind,
)  # fmt: skip
from emu.mm.pagetable import ADDRESS, PROTNONE, RW, SPECIAL, UFFD_WP_BIT, XD, A, D, P
from emu.mm.swapops import here
from mmu.late import np
from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma

_RIGHTS = P | PROTNONE | RW | XD


def zap(mm: AddressSpace, start: int, end: int) -> None:
    """Take the pages of [start, end) out; an entry that maps others too is split first (zap_huge_pmd)."""
    for address, slot in whole_or_split(mm, start, end):
        zap_entry(mm, address, slot)


def copy(parent: AddressSpace, child: AddressSpace, vma: Vma, *, protected: bool) -> None:
    """Map private huge pages in both, without write access (copy_huge_pmd); ``protected``: the child's userfaultfd goes
    on to hear of writes.  LinuxError(ENOMEM).
    """
    q, frames = parent.frames.ram.qwords, parent.frames
    for address, slot in huge_entries(parent, vma.start, vma.end):
        if not parent.tables.transparent[slot]:
            continue  # it comes again from the page cache
        target = child.tables.entry_slot_alloc(address, PMD)
        table = frames.alloc(FrameKind.PAGETABLE, child.tables.payer)
        entry = q[slot] = q[slot] & ~RW
        q[target] = entry & ~A if protected else entry & ~(A | UFFD_WP_BIT)
        child.tables.deposit(target, table)
        if not entry & SPECIAL:
            part = block(head_of(entry))
            frames.counts[part] += 1
            frames.flags[part] |= PG_MAYBE_SHARED
            child.rss_anon += BLOCK_FRAMES
        parent.context.clock.charge(Cost.MAPPED)


def change_protection(mm: AddressSpace, vma: Vma, bits: int, *, alone: bool) -> int:
    """Give every entry of a VMA these rights, and with ``alone`` RW to pages that are this process's alone; returns how
    many small entries that stands for (change_huge_pmd).
    """
    q, changed = mm.frames.ram.qwords, 0
    for _, slot in huge_entries(mm, vma.start, vma.end):
        entry = q[slot] & ~_RIGHTS & U64 | bits
        if alone and is_exclusive(mm, entry):
            entry |= RW
        q[slot] = entry & ~RW if entry & (UFFD_WP_BIT | SPECIAL) else entry
        changed += BLOCK_FRAMES
    return changed


def gather_use(mm: AddressSpace, slot: int, number: int) -> None:
    """Entries of one table that map neighbours of a large page, with the same RW, have A and D from now on if one of
    them has, since mprotect changes them together (modify_prot_start_ptes, Linux 6.17).
    """
    view = mm.tables.words[slot : slot + number]
    frames = ((view & np.uint64(ADDRESS)) >> np.uint64(PAGE_SHIFT)).astype(np.int64)
    large = here(view) & ((view & np.uint64(SPECIAL)) == 0)
    large[large] = mm.frames.flags[frames[large]] & PG_LARGE != 0
    if not large.any():
        return
    joined = large[1:] & large[:-1] & (frames[1:] == frames[:-1] + 1) & (frames[1:] % BLOCK_FRAMES != 0)
    joined &= ((view[1:] ^ view[:-1]) & np.uint64(RW)) == 0
    starts = np.flatnonzero(np.concatenate(([True], ~joined)))
    together = np.bitwise_or.reduceat(view & np.uint64(A | D), starts)
    view |= np.repeat(together, np.diff(np.append(starts, number)))


def make_tables(mm: AddressSpace, old: int, length: int, new: int) -> None:
    """Make what the entries of [old, old + length) need at ``new``; those that cannot move as they are get split.
    LinuxError(ENOMEM).
    """
    if (new - old) % PMD_SIZE:
        split_range(mm, old, old + length)
        return
    for address, slot in whole_or_split(mm, old, old + length):
        target = mm.tables.entry_slot_alloc(address - old + new, PMD)
        if mm.frames.ram.qwords[target]:
            split(mm, address, slot)


def move(mm: AddressSpace, old: int, length: int, new: int) -> None:
    """Move the entries of [old, old + length) with their tables (move_huge_pmd); the caller owes the flush."""
    q, tables = mm.frames.ram.qwords, mm.tables
    for address, slot in list(huge_entries(mm, old, old + length)):
        target = tables.entry_slot(address - old + new, PMD)
        assert target is not None and not q[target], "hugememory.move: a table is in the way"
        q[target], q[slot] = q[slot], 0
        tables.transparent[target] = tables.transparent.pop(slot)


def protect_writes(mm: AddressSpace, vma: Vma, start: int, end: int, *, on: bool) -> bool:
    """Let a userfaultfd hear of writes to [start, end), or no longer; returns whether there was an entry."""
    q, found = mm.frames.ram.qwords, False
    for _, slot in whole_or_split(mm, start, end):
        entry, found = q[slot], True
        if on:
            q[slot] = (entry | UFFD_WP_BIT) & ~RW
            continue
        again = entry & UFFD_WP_BIT and vma.prot & Prot.WRITE and (vma.shared or is_exclusive(mm, entry))
        q[slot] = entry & ~UFFD_WP_BIT | (RW if again else 0)
    return found


def forget_protection(mm: AddressSpace, start: int, end: int) -> None:
    """No userfaultfd hears of writes through the entries of [start, end) any more."""
    for _, slot in huge_entries(mm, start, end):
        mm.frames.ram.qwords[slot] &= ~UFFD_WP_BIT


def make_old(mm: AddressSpace, address: int, slot: int, start: int, end: int, *, lazyfree: bool) -> bool:
    """MADV_COLD, and with ``lazyfree`` MADV_FREE, of [start, end), in which an entry maps a huge page that perhaps
    nobody else maps: a page of which only a part is meant is split, and False returned (madvise_free_huge_pmd,
    madvise_cold_or_pageout_pte_range).
    """
    q, frames = mm.frames.ram.qwords, mm.frames
    entry = q[slot]
    part = block(head_of(entry))
    if entry & SPECIAL or is_mapped_by_others(mm, entry):
        return True
    if not (start <= address and address + PMD_SIZE <= end):
        if frames.is_anon(part.start):
            split_page(mm, address, slot)
        else:
            split(mm, address, slot)
            frames.flags[part] &= ~PG_LARGE & 0xFF
        return False
    flush = mm.obligation(address, address + PMD_SIZE, "MADV_FREE" if lazyfree else "MADV_COLD")
    q[slot] = entry & ~(A | D) if lazyfree else entry & ~A
    if lazyfree:
        frames.lru_add_drain()  # at once: a large folio does not wait for others
        frames.forget_written(part)
        frames.flags[part] = frames.flags[part] & (~(PG_REFERENCED | PG_ACTIVE) & 0xFF) | PG_LAZYFREE
        frames.order.add_many(np.arange(part.start, part.stop))
        frames.happened("pglazyfree", np.arange(part.start, part.stop))
    else:
        frames.deactivate(np.arange(part.start, part.stop))
    flush.flush()
    return True


def page_out(mm: AddressSpace, vma: Vma, address: int, slot: int, start: int, end: int) -> None:
    """MADV_PAGEOUT of [start, end), in which an entry maps a huge page: if nobody else maps it, it is split where there
    is no swap, as where only a part is meant; the entry of what was given up is split, and that of shared memory goes
    (shrink_folio_list).
    """
    q, frames = mm.frames.ram.qwords, mm.frames
    entry = q[slot]
    part = block(head_of(entry))
    whole = start <= address and address + PMD_SIZE <= end
    if entry & SPECIAL or is_mapped_by_others(mm, entry):
        return
    if not frames.is_anon(part.start):
        if not whole or not mm.context.swap.areas.free:
            split(mm, address, slot)
            frames.flags[part] &= (0xFF if whole else ~PG_LARGE) & 0xFF
    elif whole and (mm.frames.has_flag(part.start, PG_LAZYFREE) or vma.flags & VmFlags.DROPPABLE):
        written = entry & D or (frames.flags[part] & PG_DIRTY).any()
        if written and not vma.flags & VmFlags.DROPPABLE:  # again
            frames.flags[part] &= ~PG_LAZYFREE & 0xFF
        split(mm, address, slot)
    elif not whole or not mm.context.swap.areas.free:
        frames.flags[part] &= ~PG_REFERENCED & 0xFF
        split_page(mm, address, slot)


def clear_young(mm: AddressSpace, start: int, end: int) -> None:
    """/proc/PID/clear_refs; the caller owes the flush."""
    q, flags = mm.frames.ram.qwords, mm.frames.flags
    for _, slot in huge_entries(mm, start, end):
        q[slot] &= ~A
        flags[block(head_of(q[slot]))] &= ~PG_REFERENCED & 0xFF
