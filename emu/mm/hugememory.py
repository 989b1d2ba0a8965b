"""Transparent huge pages: entries of 2 MiB in ordinary memory, faults on them, and how they are split and changed
(mm/huge_memory.c).

A huge page is 512 ordinary frames, contiguous and aligned, each with a count of its own; an entry of a PMD table that
maps it holds one reference of every frame.  So an entry becomes a table of small ones, which map the same frames,
without a change of any count, and cannot fail to, since a table has been put aside for it
(:attr:`PageTables.transparent`).  Frames are freed one by one; those that form a block again can be one.

An address space has such entries only where :attr:`AddressSpace.may_have_huge` says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from emu.linux.cost import Cost
from emu.linux.mman import Prot
from emu.mm import rss
from emu.mm.flags import VmFlags
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
from emu.mm.pagetable import ADDRESS, PROTNONE, PS, RW, SPECIAL, TABLE_FLAGS, UFFD_WP_BIT, XD, A, D, P, span
from emu.mm.swapops import here
from emu.mm.thp import PMD_ORDER, is_disabled
from mmu.late import np
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.mm.address_space import AddressSpace
    from emu.mm.rss import Entries
    from emu.mm.vma import Vma

PMD = 2
PMD_SIZE = span(PMD)
_RIGHTS = P | PROTNONE | RW | XD
_U64 = (1 << 64) - 1
#: The bits of an entry that those of its parts have too.
_BITS = ~(ADDRESS | PS) & _U64


def head_of(entry: int) -> int:
    """The first frame that an entry maps."""
    return (entry & ADDRESS & -PMD_SIZE) >> PAGE_SHIFT


def block(head: int) -> slice:
    """The frames of a huge page."""
    return slice(head, head + BLOCK_FRAMES)


# -- finding entries ---------------------------------------------------------------------------------------------------


def huge_entries(mm: AddressSpace, start: int, end: int) -> Iterator[tuple[int, int]]:
    """(address, slot) of each entry that maps a part of [start, end); the caller may change it."""
    transparent = mm.tables.transparent
    if transparent:
        for address, slot in mm.tables.huge_slots(start & -PMD_SIZE, end):
            if slot in transparent:
                yield address, slot


def huge_slot(mm: AddressSpace, address: int) -> int | None:
    """The slot of the entry that maps an address, if it is one of these."""
    slot = mm.tables.entry_slot(address, PMD) if mm.tables.transparent else None
    return slot if slot in mm.tables.transparent else None


def as_ptes(mm: AddressSpace, slot: int) -> Entries:
    """The 512 entries that the entry of a slot would be split into."""
    entry = mm.frames.ram.qwords[slot]
    if entry & SPECIAL:
        return np.full(BLOCK_FRAMES, mm.frames.zero_frame << PAGE_SHIFT | entry & _BITS, dtype=np.uint64)
    start = np.uint64(entry & _BITS | head_of(entry) << PAGE_SHIFT)
    ptes: Entries = start + (np.arange(BLOCK_FRAMES, dtype=np.uint64) << np.uint64(PAGE_SHIFT))
    return ptes


def leaves(mm: AddressSpace, start: int, end: int) -> Iterator[tuple[int, Entries]]:
    """What the entries of [start, end) map, as small ones, which are only to be looked at: address, entries."""
    for address, slot in huge_entries(mm, start, end):
        low, high = max(address, start), min(address + PMD_SIZE, end)
        yield low, as_ptes(mm, slot)[(low - address) >> PAGE_SHIFT : (high - address) >> PAGE_SHIFT]


def suitable(vma: Vma, address: int) -> bool:
    """Whether the 2 MiB around an address lie within a VMA (thp_vma_suitable_order), and in its object as they do in
    memory.
    """
    start = address & -PMD_SIZE
    if not vma.start <= start <= vma.end - PMD_SIZE:
        return False
    return vma.page_cache is None or not vma.index_of(start) % BLOCK_FRAMES


def is_exclusive(mm: AddressSpace, entry: int) -> bool:
    """Whether an entry maps private memory that is known to be this process's alone."""
    if entry & SPECIAL:
        return False
    flags = mm.frames.flags[block(head_of(entry))]
    return mm.frames.is_anon(head_of(entry)) and not (flags & PG_MAYBE_SHARED).any()


def is_mapped_by_others(mm: AddressSpace, entry: int) -> bool:
    """Whether anything but this entry maps a part of its page (folio_maybe_mapped_shared)."""
    part = block(head_of(entry))
    return bool((mm.frames.counts[part] > 1 + (not mm.frames.is_anon(part.start))).any())


# -- splitting ---------------------------------------------------------------------------------------------------------


def split(mm: AddressSpace, start: int, slot: int) -> None:
    """Replace an entry by a table of small ones (__split_huge_pmd); that of a page of the page cache goes."""
    q, table = mm.frames.ram.qwords, mm.tables.transparent[slot]
    mm.context.thp.count("thp_split_pmd")
    if not table:
        zap_entry(mm, start, slot)
        return
    flush = mm.obligation(start, start + PMD_SIZE, "split")
    mm.tables.words[table << 9 : (table + 1) << 9] = as_ptes(mm, slot)
    q[slot] = table << PAGE_SHIFT | TABLE_FLAGS
    del mm.tables.transparent[slot]
    flush.flush()


def split_at(mm: AddressSpace, address: int) -> None:
    """An entry that maps both sides of an address is split (vma_adjust_trans_huge)."""
    if address % PMD_SIZE:
        slot = huge_slot(mm, address)
        if slot is not None:
            split(mm, address & -PMD_SIZE, slot)


def split_range(mm: AddressSpace, start: int, end: int) -> None:
    """Every entry that maps a part of [start, end) is split."""
    for address, slot in list(huge_entries(mm, start, end)):
        split(mm, address, slot)


def split_page(mm: AddressSpace, start: int, slot: int) -> None:
    """Not only the entry is split but the page: its frames have nothing to do with each other (split_folio)."""
    head = head_of(mm.frames.ram.qwords[slot])
    split(mm, start, slot)
    _split_folio(mm, start, head)


def _split_folio(mm: AddressSpace, start: int, head: int) -> None:
    """A page that the PTE table of an address maps, or a part of it, becomes small ones, and those that are full of
    zeros give way to the zero page, unless they are locked (try_to_map_unused_to_zeropage).
    """
    belong = mm.frames.flags[block(head)] & PG_LARGE != 0  # others have been freed, and may have another use
    mm.frames.flags[block(head)] &= ~PG_LARGE & 0xFF
    mm.context.thp.count("thp_split_page")
    mm.context.thp.stats[PMD_ORDER]["split"] += 1
    first = start & -PMD_SIZE
    for table in (first - PMD_SIZE, first, first + PMD_SIZE):  # it may have been moved over a border
        _forget_zeros(mm, table, head, belong)


def _forget_zeros(mm: AddressSpace, start: int, head: int, belong: npt.NDArray[np.bool_]) -> None:
    """Pages of zeros that one PTE table maps, of those of a block that belong to a page."""
    slot, words = mm.tables.entry_slot(start, 1), mm.tables.words
    if slot is None:
        return
    view = words[slot : slot + BLOCK_FRAMES]
    frames = ((view & np.uint64(ADDRESS)) >> np.uint64(PAGE_SHIFT)).astype(np.int64)
    at = np.flatnonzero(here(view) & (frames >= head) & (frames < head + BLOCK_FRAMES))
    at = at[belong[frames[at] - head]]
    at = at[~words.reshape(-1, BLOCK_FRAMES)[frames[at]].any(axis=1)]
    for vma in mm.vmas.overlapping(start, start + PMD_SIZE):
        if vma.flags & VmFlags.LOCKED:
            at = at[(start + at * PAGE_SIZE < vma.start) | (start + at * PAGE_SIZE >= vma.end)]
    if not len(at):
        return
    zero = np.uint64(mm.frames.zero_frame << PAGE_SHIFT | SPECIAL)
    view[at] = view[at] & np.uint64(~(ADDRESS | RW | D) & _U64) | zero
    mm.obligation(start, start + PMD_SIZE, "split").flush()
    mm.note_peak()
    mm.rss_anon -= len(at)
    mm.frames.put_many(np.sort(frames[at]))


def split_partly_meant(mm: AddressSpace, start: int, end: int) -> list[int]:
    """Pages that small entries map, of which [start, end) has only a part, are split before they are given up or called
    cold; returns the heads of those that others map too, which are left alone.
    """
    frames, left = mm.frames, list[int]()
    for vaddr, slot, number in mm.tables.pte_tables(start, end) if mm.context.thp.used else ():
        pages = rss.pages_of(mm.tables.words[slot : slot + number])
        large = pages[(frames.flags[pages] & PG_LARGE != 0) & (frames.kinds[pages] == FrameKind.ANON)] & -BLOCK_FRAMES
        for head in sorted(set(large.tolist())):
            shared = (frames.counts[block(head)] > 1) & (frames.flags[block(head)] & PG_LARGE != 0)
            if np.count_nonzero(large == head) < BLOCK_FRAMES:
                if shared.any():
                    left.append(head)
                else:
                    _split_folio(mm, vaddr, head)
    return left


def whole_or_split(mm: AddressSpace, start: int, end: int) -> list[tuple[int, int]]:
    """(address, slot) of the entries of [start, end), after those were split that map more than that."""
    if not mm.tables.transparent:
        return []
    split_at(mm, start)
    split_at(mm, end)
    return list(huge_entries(mm, start, end))


# -- changing entries --------------------------------------------------------------------------------------------------


def zap(mm: AddressSpace, start: int, end: int) -> None:
    """Take the pages of [start, end) out; an entry that maps others too is split first (zap_huge_pmd)."""
    for address, slot in whole_or_split(mm, start, end):
        zap_entry(mm, address, slot)


def zap_entry(mm: AddressSpace, address: int, slot: int) -> None:
    """Take one entry out, with its table."""
    q = mm.frames.ram.qwords
    entry, q[slot] = q[slot], 0
    mm.note_peak()
    mm.obligation(address, address + PMD_SIZE, "unmap").flush()
    mm.tables.drop_deposit(slot)
    mm.context.clock.charge(Cost.MAPPED)
    if entry & SPECIAL:
        return
    head = head_of(entry)
    if mm.frames.is_anon(head):
        mm.rss_anon -= BLOCK_FRAMES
    else:
        mm.rss_cache -= BLOCK_FRAMES
        if entry & D:
            mm.frames.flags[block(head)] |= PG_DIRTY
    mm.frames.put_block(head)


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
        entry = q[slot] & ~_RIGHTS & _U64 | bits
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


def split_to_swap(mm: AddressSpace, start: int, end: int, *, spares: bool = False) -> list[int]:
    """Entries of private pages that nobody else maps, and of shared memory, are split, so that the pages can go to
    swap; with ``spares`` only those that have not been used since the last time.  Returns where pages of shared memory
    were, whose entries are gone.
    """
    q, frames, shared = mm.frames.ram.qwords, mm.frames, []
    for address, slot in list(huge_entries(mm, start, end)):
        part = block(head_of(q[slot]))
        anon = frames.is_anon(part.start)
        if q[slot] & SPECIAL or (anon and (frames.counts[part] > 1).any()):
            continue
        if spares and q[slot] & A:
            q[slot] &= ~A
            mm.obligation(address, address + PMD_SIZE, "reclaim").flush()
            continue
        split(mm, address, slot)
        if anon:
            mm.context.thp.count("thp_swpout")
        else:
            shared.append(address)
    return shared


def split_given_up(mm: AddressSpace, start: int, end: int) -> None:
    """Pages that were given up and not written since are split where they are to be dropped."""
    q = mm.frames.ram.qwords
    for address, slot in list(huge_entries(mm, start, end)):
        entry = q[slot]
        if entry & (SPECIAL | D) or (mm.frames.flags[block(head_of(entry))] & PG_DIRTY).any():
            continue
        if mm.frames.has_flag(head_of(entry), PG_LAZYFREE):
            split_page(mm, address, slot)


def clear_young(mm: AddressSpace, start: int, end: int) -> None:
    """/proc/PID/clear_refs; the caller owes the flush."""
    q, flags = mm.frames.ram.qwords, mm.frames.flags
    for _, slot in huge_entries(mm, start, end):
        q[slot] &= ~A
        flags[block(head_of(q[slot]))] &= ~PG_REFERENCED & 0xFF


# -- looking -----------------------------------------------------------------------------------------------------------


def anon_bytes(mm: AddressSpace, vma: Vma) -> int:
    """AnonHugePages: bytes of private memory that entries of 2 MiB map."""
    q = mm.frames.ram.qwords
    slots = (slot for _, slot in huge_entries(mm, vma.start, vma.end))
    return PMD_SIZE * sum(not q[slot] & SPECIAL and mm.frames.is_anon(head_of(q[slot])) for slot in slots)


def cached_bytes(mm: AddressSpace, vma: Vma) -> int:
    """ShmemPmdMapped: bytes of an object that entries of 2 MiB map."""
    q = mm.frames.ram.qwords
    slots = (slot for _, slot in huge_entries(mm, vma.start, vma.end))
    return PMD_SIZE * sum(not q[slot] & SPECIAL and not mm.frames.is_anon(head_of(q[slot])) for slot in slots)


def mapped_heads(spaces: list[AddressSpace], kind: FrameKind) -> set[int]:
    """The huge pages of a kind that an entry of 2 MiB maps."""
    heads = set()
    for mm in spaces:
        for slot in mm.tables.transparent:
            entry = mm.frames.ram.qwords[slot]
            if not entry & SPECIAL and mm.frames.kind(head_of(entry)) == kind:
                heads.add(head_of(entry))
    return heads


def is_eligible(mm: AddressSpace, vma: Vma) -> bool:
    """THPeligible: whether the VMA may get a folio of several pages (thp_vma_allowable_orders with TVA_SMAPS)."""
    if vma.ops.special or vma.ops.leaf_level != 1 or is_disabled(vma.flags, mm.thp_disable):
        return False
    thp, cache = mm.context.thp, vma.page_cache
    if cache is not None:
        if cache.huge_policy is None or not suitable(vma, vma.end - PMD_SIZE):
            return False
        return cache.huge_policy.allows_huge(cache, vma.pgoff, 0, vma.flags)
    if not vma.anonymous:
        return False
    for order in thp.anon_of_size:
        size = PAGE_SIZE << order
        start = (vma.end - size) & -size
        if start >= vma.start and thp.allows_anon(vma.flags, order):
            return True
    return False
