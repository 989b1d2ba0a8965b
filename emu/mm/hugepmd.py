"""Entries of 2 MiB that map transparent huge pages: where they are, and what they map (mm/huge_memory.c).

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
from emu.mm.pageflags import (
    BLOCK_FRAMES,
    PG_DIRTY,
    PG_MAYBE_SHARED,
    FrameKind,
)  # fmt: skip
from emu.mm.pagetable import ADDRESS, PS, SPECIAL, D, span
from emu.mm.thp import is_disabled
from mmu.late import np
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.rss import Entries
    from emu.mm.vma import Vma

PMD = 2
PMD_SIZE = span(PMD)
U64 = (1 << 64) - 1
#: The bits of an entry that those of its parts have too.
BITS = ~(ADDRESS | PS) & U64


def head_of(entry: int) -> int:
    """The first frame that an entry maps."""
    return (entry & ADDRESS & -PMD_SIZE) >> PAGE_SHIFT


def block(head: int) -> slice:
    """The frames of a huge page."""
    return slice(head, head + BLOCK_FRAMES)


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
        return np.full(BLOCK_FRAMES, mm.frames.zero_frame << PAGE_SHIFT | entry & BITS, dtype=np.uint64)
    start = np.uint64(entry & BITS | head_of(entry) << PAGE_SHIFT)
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
