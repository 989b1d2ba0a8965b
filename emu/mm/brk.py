"""brk: the end of the heap."""

from __future__ import annotations

import errno

from emu.linux.errors import LinuxError
from emu.mm.address_space import AddressSpace, page_align
from emu.mm.mmap import check_may_lock, may_expand, unmap_range, wants_populating
from emu.mm.populate import populate
from emu.mm.vma import Prot, Vma, VmFlags, merge_neighbours
from mmu.memory import PAGE_SHIFT


def do_brk(mm: AddressSpace, address: int) -> int:
    """brk(2): the new end of the heap, or the old one if it cannot be moved."""
    if address < mm.start_brk:
        return mm.brk_end
    old, new = page_align(mm.brk_end), page_align(address)
    try:
        if new < old:
            unmap_range(mm, new, old)
        elif new > old:
            if mm.vmas.overlapping(old, new) or new > mm.task_size:
                return mm.brk_end
            _grow(mm, old, new)
    except LinuxError:
        return mm.brk_end
    mm.brk_end = address
    return address


def _grow(mm: AddressSpace, old: int, new: int) -> None:
    prot, flags = Prot.READ | Prot.WRITE, mm.default_lock | VmFlags.ACCOUNT
    check_may_lock(mm, flags, new - old)
    if not may_expand(mm, prot, flags, new - old):
        raise LinuxError(errno.ENOMEM)
    mm.context.commit.charge((new - old) >> PAGE_SHIFT, mm)
    heap = mm.insert(Vma(old, new, prot, flags, pgoff=old >> PAGE_SHIFT), merge=False)
    if wants_populating(mm, heap):
        populate(mm, heap)
    merge_neighbours(mm.vmas, heap)
