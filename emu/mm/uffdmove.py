"""UFFDIO_MOVE: pages change their place, without being copied (move_pages of mm/userfaultfd.c, Linux 6.8)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError
from emu.linux.mman import Prot
from emu.mm import hugememory, hugepmd, hugesplit
from emu.mm.flags import VmFlags
from emu.mm.memory import set_new_entry
from emu.mm.pagetable import ADDRESS, RW, SPECIAL, D
from emu.mm.rss import is_exclusive
from emu.mm.swapops import SWP_EXCLUSIVE, SWP_UFFD_WP, is_here, is_swapped
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.userfault import UserfaultContext
    from emu.mm.vma import Vma

_SPECIAL_VMA = VmFlags.PFNMAP | VmFlags.IO | VmFlags.DONTEXPAND


def move_pages(mm: AddressSpace, context: UserfaultContext, dst: int, src: int, length: int, *, holes: bool) -> int:
    """Move pages of private anonymous memory to where none is; returns how many bytes until one could not be moved.
    ``holes``: a place without a page is passed over.  LinuxError: ENOENT, EINVAL, EEXIST, EBUSY, ENOMEM.
    """
    source, target = mm.vmas.find(src), mm.vmas.find(dst)
    if source is None or target is None:
        raise LinuxError(errno.ENOENT)
    _check_areas(source, target, context, dst, src, length)
    mm.vmas.anon_vma_prepare(target)
    done = 0
    while done < length:
        mm.stop.check()
        try:
            if _move_huge_page(mm, dst + done, src + done, length - done):
                done += hugepmd.PMD_SIZE
                continue
            _move_page(mm, target, dst + done, src + done, holes=holes)
        except LinuxError:
            if not done:
                raise
            break
        done += PAGE_SIZE
    return done


def _check_areas(source: Vma, target: Vma, context: UserfaultContext, dst: int, src: int, length: int) -> None:
    """validate_move_areas()."""
    wrong = (
        source.shared or target.shared or src + length > source.end or dst + length > target.end
        or source.prot != target.prot
        or (source.flags ^ target.flags) & VmFlags.LOCKED
        or not source.prot & Prot.WRITE
        or (source.flags | target.flags) & _SPECIAL_VMA
        or target.uffd is not context
        or not source.anonymous or not target.anonymous
    )  # fmt: skip
    if wrong:
        raise LinuxError(errno.EINVAL)


def _move_huge_page(mm: AddressSpace, dst: int, src: int, length: int) -> bool:
    """Move 2 MiB as a whole if they are one page, and nothing is at the target; else split it (move_pages_huge_pmd).
    LinuxError: EEXIST, EBUSY for a page that is not known to be the process's alone, ENOMEM.
    """
    size, q = hugepmd.PMD_SIZE, mm.frames.ram.qwords
    if hugepmd.huge_slot(mm, dst) is not None:
        raise LinuxError(errno.EEXIST)
    slot = hugepmd.huge_slot(mm, src)
    if slot is None:
        return False
    if dst % size or src % size or length < size:
        part = hugesplit.split if q[slot] & SPECIAL else hugesplit.split_page
        part(mm, src & -size, slot)
        return False
    entry = q[slot]
    if not entry & SPECIAL and not hugepmd.is_exclusive(mm, entry):
        raise LinuxError(errno.EBUSY)
    target = mm.tables.entry_slot_alloc(dst, hugepmd.PMD)
    if q[target]:
        hugesplit.split(mm, src, slot)
        return False
    hugememory.move(mm, src, size, dst)
    mm.obligation(src, src + size, "UFFDIO_MOVE").flush()
    return True


def _move_page(mm: AddressSpace, target: Vma, dst: int, src: int, *, holes: bool) -> None:
    q = mm.frames.ram.qwords
    from_slot = mm.tables.leaf_slot(src)
    entry = 0 if from_slot is None else q[from_slot]
    to_slot = mm.tables.entry_slot_alloc(dst, 1)
    try:
        if q[to_slot]:
            raise LinuxError(errno.EEXIST)
        if not entry:
            if holes:
                return
            raise LinuxError(errno.ENOENT)
        if is_swapped(entry):
            if not entry & SWP_EXCLUSIVE:
                raise LinuxError(errno.EBUSY)
            _move_entry(mm, dst, src, entry)
            return
        if not is_here(entry):
            raise LinuxError(errno.EFAULT)
        if not entry & SPECIAL and not is_exclusive(mm, entry):
            raise LinuxError(errno.EBUSY)
    finally:
        if not q[to_slot]:
            mm.tables.free_tables(dst, dst + PAGE_SIZE)
    assert from_slot is not None
    to_slot = mm.tables.entry_slot_alloc(dst, 1)
    q[from_slot] = 0
    mm.obligation(src, src + PAGE_SIZE, "UFFDIO_MOVE").flush()
    bits = target.page_bits | (SPECIAL if entry & SPECIAL else D | (RW if target.prot & Prot.WRITE else 0))
    set_new_entry(mm, dst, to_slot, entry & ADDRESS | bits)


def _move_entry(mm: AddressSpace, dst: int, src: int, entry: int) -> None:
    """What lies in a swap area stays there (move_swap_pte)."""
    q = mm.frames.ram.qwords
    from_slot, to_slot = mm.tables.leaf_slot(src), mm.tables.entry_slot_alloc(dst, 1)
    assert from_slot is not None
    q[from_slot] = 0
    mm.obligation(src, src + PAGE_SIZE).nothing_present()
    set_new_entry(mm, dst, to_slot, entry & ~SWP_UFFD_WP)
