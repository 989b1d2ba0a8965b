"""madvise: the effect of each advice on a range (mm/madvise.c)."""

from __future__ import annotations

import errno

from emu.linux.errors import LinuxError
from emu.linux.fileflags import FallocateFlags
from emu.linux.mman import Advice, Prot
from emu.mm.address_space import AddressSpace, page_align
from emu.mm.flags import VmFlags
from emu.mm.guards import NO_GUARDS, install_guards, remove_guards
from emu.mm.gup import allows_access, fault_in
from emu.mm.khugepaged import madvise_collapse
from emu.mm.lazyfree import madvise_cold, madvise_free
from emu.mm.shmempages import ShmemPages
from emu.mm.uffdevents import removed
from emu.mm.vma import Vma
from emu.mm.vmamodify import modify_flags
from mmu.memory import PAGE_SHIFT, PAGE_SIZE
from mmu.registers import Access

#: Advice that only changes flags of the VMA: flags to clear, flags to set.
_NOTES = {
    Advice.NORMAL: (VmFlags.RAND_READ | VmFlags.SEQ_READ, VmFlags.NONE),
    Advice.RANDOM: (VmFlags.SEQ_READ, VmFlags.RAND_READ),
    Advice.SEQUENTIAL: (VmFlags.RAND_READ, VmFlags.SEQ_READ),
    Advice.DONTFORK: (VmFlags.NONE, VmFlags.DONTCOPY),
    Advice.DOFORK: (VmFlags.DONTCOPY, VmFlags.NONE),
    Advice.WIPEONFORK: (VmFlags.NONE, VmFlags.WIPEONFORK),
    Advice.KEEPONFORK: (VmFlags.WIPEONFORK, VmFlags.NONE),
    Advice.DONTDUMP: (VmFlags.NONE, VmFlags.DONTDUMP),
    Advice.DODUMP: (VmFlags.DONTDUMP, VmFlags.NONE),
    Advice.HUGEPAGE: (VmFlags.NOHUGEPAGE, VmFlags.HUGEPAGE),
    Advice.NOHUGEPAGE: (VmFlags.HUGEPAGE, VmFlags.NOHUGEPAGE),
}
#: Advice that discards content: refused on sealed memory that the process cannot write itself.
_DISCARDS = frozenset(
    {
        Advice.DONTNEED, Advice.DONTNEED_LOCKED, Advice.FREE, Advice.REMOVE, Advice.DONTFORK, Advice.WIPEONFORK,
        Advice.GUARD_INSTALL,
    }
)  # fmt: skip


def do_madvise(mm: AddressSpace, address: int, length: int, number: int) -> None:
    """madvise(2): EINVAL for unknown advice, poisoning, and same-page merging, without which this kernel is built."""
    try:
        advice = Advice(number)
    except ValueError:
        raise LinuxError(errno.EINVAL) from None
    if advice in (Advice.MERGEABLE, Advice.UNMERGEABLE) or address & (PAGE_SIZE - 1) or length >= 1 << 63:
        raise LinuxError(errno.EINVAL)
    end = address + page_align(length)
    if length and end >= 1 << 64:
        raise LinuxError(errno.EINVAL)
    if advice in (Advice.POPULATE_READ, Advice.POPULATE_WRITE):
        _populate(mm, address, end, Access.WRITE if advice == Advice.POPULATE_WRITE else Access.READ)
        return
    for vma, low, high in mm.vmas.pieces(address, end):
        if advice in _DISCARDS and vma.flags & VmFlags.SEALED and vma.anonymous and not vma.prot & Prot.WRITE:
            raise LinuxError(errno.EPERM)
        _advise(mm, vma, low, high, advice)


def _advise(mm: AddressSpace, vma: Vma, start: int, end: int, advice: Advice) -> None:
    if advice in _NOTES:
        _note(mm, vma, start, end, advice)
    elif advice in (Advice.DONTNEED, Advice.DONTNEED_LOCKED, Advice.FREE):
        if advice == Advice.FREE and not vma.anonymous:
            raise LinuxError(errno.EINVAL)
        _refuse_locked(vma, unless=advice == Advice.DONTNEED_LOCKED)
        if vma.flags & VmFlags.PFNMAP:
            raise LinuxError(errno.EINVAL)
        if start % vma.ops.page_size:
            raise LinuxError(errno.EINVAL)
        end &= -vma.ops.page_size
        if start < end and removed(mm, vma, start, end):
            found = mm.vmas.find(start)  # it may be another one now
            if found is None:
                raise LinuxError(errno.ENOMEM)
            vma, end = found, min(end, found.end)
        if start < end and advice == Advice.FREE:
            madvise_free(mm, vma, start, end)
        elif start < end:
            _dontneed(mm, vma, start, end)
    elif advice == Advice.COLLAPSE:
        madvise_collapse(mm, vma, start, end)
    elif advice == Advice.REMOVE:
        remove_contents(mm, vma, start, end)
    elif advice in (Advice.GUARD_INSTALL, Advice.GUARD_REMOVE):
        _check_guard(vma, removed=advice == Advice.GUARD_REMOVE)
        for piece in mm.pieces(start, end):
            (remove_guards if advice == Advice.GUARD_REMOVE else install_guards)(mm, vma, *piece)
    elif advice == Advice.WILLNEED:
        _will_need(mm, vma, start, end)
    elif advice in (Advice.COLD, Advice.PAGEOUT):
        _refuse_locked(vma)
        if not vma.ops.on_lru or vma.flags & VmFlags.PFNMAP:
            raise LinuxError(errno.EINVAL)
        madvise_cold(mm, vma, start, end, pageout=advice == Advice.PAGEOUT)


def _dontneed(mm: AddressSpace, vma: Vma, start: int, end: int) -> None:
    """Take pages out, and give tables back that have become empty (since Linux 6.14)."""
    for low, high in mm.pieces(start, end):
        vma.ops.zap(mm, vma, low, high)
        if vma.ops.leaf_level == 1 and mm.tables.free_pte_tables(low, high):
            mm.obligation(low, high, "MADV_DONTNEED").flush()


def _will_need(mm: AddressSpace, vma: Vma, start: int, end: int) -> None:
    """Bring pages that lie in swap areas into memory (madvise_willneed)."""
    if vma.anonymous and mm.rss_swap:
        from emu.mm.swapin import read_ahead  # hardly any program asks for it

        for _, slot, number in mm.tables.pte_tables(start, end):
            for entry in mm.tables.words[slot : slot + number].tolist():
                mm.stop.check()
                read_ahead(mm.context.swap, entry)
    elif isinstance(vma.page_cache, ShmemPages) and vma.page_cache.swapped:
        first = vma.index_of(start)
        vma.page_cache.read_ahead(first, first + ((end - start) >> PAGE_SHIFT))


def _check_guard(vma: Vma, *, removed: bool) -> None:
    """Whether there may be guard pages in a VMA (is_valid_guard_vma).  LinuxError(EINVAL)."""
    if vma.flags & (NO_GUARDS | (VmFlags.NONE if removed else VmFlags.LOCKED)) or vma.ops.leaf_level != 1:
        raise LinuxError(errno.EINVAL)


def _refuse_locked(vma: Vma, *, unless: bool = False) -> None:
    if vma.flags & VmFlags.LOCKED and not unless:
        raise LinuxError(errno.EINVAL)


def _note(mm: AddressSpace, vma: Vma, start: int, end: int, advice: Advice) -> None:
    if advice == Advice.WIPEONFORK and (vma.file is not None or vma.shared):
        raise LinuxError(errno.EINVAL)
    if advice == Advice.DOFORK and vma.flags & VmFlags.IO:
        raise LinuxError(errno.EINVAL)
    if advice == Advice.DODUMP and vma.flags & (VmFlags.DONTEXPAND | VmFlags.DROPPABLE):
        raise LinuxError(errno.EINVAL)
    if advice == Advice.KEEPONFORK and vma.flags & VmFlags.DROPPABLE:
        raise LinuxError(errno.EINVAL)
    if advice == Advice.HUGEPAGE:
        mm.may_have_huge = mm.context.thp.used = True
    cleared, added = _NOTES[advice]
    modify_flags(mm, vma, start, end, vma.flags & ~cleared | added)


def remove_contents(mm: AddressSpace, vma: Vma, start: int, end: int) -> None:
    """MADV_REMOVE: punch a hole into the mapped file.  LinuxError: EINVAL, EACCES."""
    _refuse_locked(vma)
    if vma.ops.special or (vma.page_cache is None and vma.file is None):
        raise LinuxError(errno.EINVAL)
    if not vma.shared or vma.flags & VmFlags.NEVERWRITE:
        raise LinuxError(errno.EACCES)
    first = vma.index_of(start)
    removed(mm, vma, start, end)
    if vma.file is not None:
        mode = FallocateFlags.PUNCH_HOLE | FallocateFlags.KEEP_SIZE
        vma.file.fallocate(mode, first << PAGE_SHIFT, end - start)
    elif vma.page_cache is not None:
        vma.page_cache.punch(first, first + ((end - start) >> PAGE_SHIFT))


def _populate(mm: AddressSpace, start: int, end: int, access: Access) -> None:
    """MADV_POPULATE_READ and _WRITE: ENOMEM in a hole, EINVAL without the right, EFAULT where an access would cause a
    signal.
    """
    try:
        for vma, low, high in mm.vmas.pieces_to_the_hole(start, end):
            if not allows_access(vma, access, force=False):
                raise LinuxError(errno.EINVAL)
            fault_in(mm, vma, low, high, access)
    finally:
        mm.frames.lru_add_drain()
