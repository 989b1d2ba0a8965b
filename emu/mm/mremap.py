"""mremap: resize or move a mapping by moving table entries, never data (mm/mremap.c)."""

from __future__ import annotations

import errno

from emu.kernel.errors import LinuxError
from emu.mm.address_space import AddressSpace, page_align
from emu.mm.hugefault import make_tables_for_huge, move_huge_range
from emu.mm.hugetlb import HPAGE_SIZE, hpage_align
from emu.mm.mmap import unmapped_area
from emu.mm.munmap import do_munmap
from emu.mm.vma import Vma, VmFlags
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

MREMAP_MAYMOVE, MREMAP_FIXED, MREMAP_DONTUNMAP = 1, 2, 4


def do_mremap(mm: AddressSpace, old: int, old_length: int, new_length: int, flags: int, new: int) -> int:
    """mremap(2); returns the address of the mapping."""
    if flags & MREMAP_DONTUNMAP or flags & ~7:
        raise LinuxError(errno.EINVAL)
    if flags & MREMAP_FIXED and not flags & MREMAP_MAYMOVE:
        raise LinuxError(errno.EINVAL)
    old_length, new_length = page_align(old_length), page_align(new_length)
    if old & (PAGE_SIZE - 1) or not new_length or max(old, old_length, new_length) > mm.task_size:
        raise LinuxError(errno.EINVAL)
    if flags & MREMAP_FIXED:
        overlap = new < old + old_length and old < new + new_length
        if new & (PAGE_SIZE - 1) or new + new_length > mm.task_size or overlap:
            raise LinuxError(errno.EINVAL)
    vma = mm.vmas.find(old)
    if vma is not None and vma.huge:
        old_length, new_length = _huge_lengths(old, old_length, new_length, new if flags & MREMAP_FIXED else 0)
    if vma is None or old + old_length > vma.end:
        raise LinuxError(errno.EFAULT)
    if not old_length:  # duplicating a shared mapping this way is not built
        raise LinuxError(errno.EFAULT if vma.flags & VmFlags.DONTEXPAND else errno.EINVAL)
    if flags & MREMAP_FIXED:
        _check_move(vma, new)
        do_munmap(mm, new, new_length)
        return _move(mm, old, old_length, new, new_length)
    if new_length <= old_length:
        if new_length < old_length:
            do_munmap(mm, old + new_length, old_length - new_length)
        return old
    if vma.flags & VmFlags.DONTEXPAND:
        raise LinuxError(errno.EFAULT)
    if (
        old + old_length == vma.end
        and not mm.vmas.overlapping(vma.end, old + new_length)
        and old + new_length <= mm.task_size
    ):
        mm.total_bytes += new_length - old_length
        vma.end = old + new_length
        return old
    if not flags & MREMAP_MAYMOVE:
        raise LinuxError(errno.ENOMEM)
    _check_move(vma, 0)
    return _move(mm, old, old_length, unmapped_area(mm, new_length), new_length)


def _huge_lengths(old: int, old_length: int, new_length: int, new: int) -> tuple[int, int]:
    """The lengths for a mapping of huge pages: it cannot grow, since its reservation cannot."""
    old_length, new_length = hpage_align(old_length), hpage_align(new_length)
    if old % HPAGE_SIZE or new % HPAGE_SIZE or new_length > old_length:
        raise LinuxError(errno.EINVAL)
    return old_length, new_length


def _check_move(vma: Vma, new: int) -> None:
    if vma.ops is not None:
        vma.ops.mremap(vma, new)


def _move(mm: AddressSpace, old: int, old_length: int, new: int, new_length: int) -> int:
    kept = min(old_length, new_length)
    source = mm.vmas.find(old)
    assert source is not None
    if source.huge:
        make_tables_for_huge(mm, source, old, kept, new)
    else:
        mm.tables.make_tables_for(mm.tables, old, old + kept, new)
    if new_length < old_length:
        do_munmap(mm, old + new_length, old_length - new_length)
    source = mm.vmas.find(old)
    assert source is not None
    if source.start < old:
        source = mm.split(source, old)
    if source.end > old + kept:
        mm.split(source, old + kept)
    target = source.copy(source.start, source.end)
    target.start, target.end = new, new + new_length
    if target.page_cache is None:
        target.pgoff = new >> PAGE_SHIFT
    mm.insert(target, merge=False)  # not with the source, which goes
    flush = mm.obligation(old, old + kept, "mremap")
    if source.huge:
        move_huge_range(mm, source, old, kept, new)
    q = mm.frames.ram.qwords
    for vaddr, slot, number in mm.tables.pte_tables(old, old + kept):
        for i in range(number):
            pte = q[slot + i]
            if pte:
                q[mm.tables.entry_slot_alloc(vaddr - old + new + i * PAGE_SIZE, 1)] = pte
                q[slot + i] = 0
    flush.flush()
    mm.remove(source)
    return new
