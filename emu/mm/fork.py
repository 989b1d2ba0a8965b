"""dup_mm(): a child's address space, by copying tables, never data."""

from __future__ import annotations

import numpy as np

from emu.linux.errors import LinuxError
from emu.mm.address_space import AddressSpace
from emu.mm.hugefault import copy_huge_range
from emu.mm.hugetlb import Promises
from emu.mm.pagetable import ADDRESS, RW, SPECIAL
from emu.mm.vma import Vma, VmFlags
from mmu.memory import PAGE_SHIFT


def dup_mm(parent: AddressSpace, name: str) -> AddressSpace:
    """A copy of ``parent``: every VMA, and the tables of private ones with write access taken from both sides.

    Mappings without private pages are not copied entry by entry: the child faults them in from the page cache
    (vma_needs_copy() in Linux). LinuxError(ENOMEM) leaves the parent as it was, apart from pages that it must now
    fault on to write.
    """
    child = AddressSpace(parent.context, name)
    for attribute in (
        "mmap_base", "start_brk", "brk_end", "start_stack", "arg_start", "arg_end", "env_start", "env_end", "auxv",
    ):  # fmt: skip
        setattr(child, attribute, getattr(parent, attribute))
    flush = parent.obligation(0, parent.task_size, "fork")
    try:
        for vma in parent.vmas:
            if not vma.flags & VmFlags.DONTCOPY:
                _dup_vma(parent, child, vma)
    except LinuxError:
        child.put()
        raise
    finally:
        flush.flush()
    child.code_id = parent.code_id
    return child


def _dup_vma(parent: AddressSpace, child: AddressSpace, vma: Vma) -> None:
    copy = vma.copy(vma.start, vma.end)
    copy.pgoff = vma.pgoff
    if vma.huge:
        copy.private_data = Promises(owner=False)
    copy.flags &= ~(VmFlags.LOCKED | VmFlags.LOCKONFAULT)
    copied = vma.anon and not vma.flags & VmFlags.WIPEONFORK
    copy.inherited, copy.anon = object() if copied else None, copied
    if copy.flags & VmFlags.ACCOUNT:
        parent.context.commit.charge(copy.length >> PAGE_SHIFT, parent)
    child.vmas.add(copy)
    child.total_bytes += copy.length
    if copy.page_cache is not None:
        copy.page_cache.mappings[copy] = child
    if copy.file is not None:
        copy.file.get()
    if copy.ops is not None:
        copy.ops.open(child, copy)
    if not copied or (vma.ops is not None and vma.ops.owns_tables):
        return
    if vma.huge:
        copy_huge_range(parent, child, vma, copy)
        return
    frames, words = parent.frames, parent.tables.words
    for vaddr, slot, number in parent.tables.pte_tables(vma.start, vma.end):
        entries = words[slot : slot + number]
        present = entries != 0
        if not present.any():
            continue
        target = child.tables.entry_slot_alloc(vaddr, 1)
        entries[present] &= np.uint64(~RW & (1 << 64) - 1)
        words[target : target + number] = entries
        counted = entries[present & ((entries & np.uint64(SPECIAL)) == 0)]
        numbers = ((counted & np.uint64(ADDRESS)) >> np.uint64(PAGE_SHIFT)).astype(np.int64)
        frames.get_many(numbers)
        anon = int(np.count_nonzero(frames.kinds[numbers] == 3))
        child.rss_anon += anon
        child.rss_cache += len(numbers) - anon
