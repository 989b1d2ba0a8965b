"""mremap: resize or move a mapping by moving table entries, never data (mm/mremap.c)."""

from __future__ import annotations

import errno
from collections.abc import Generator
from typing import Any

from emu.linux.errors import LinuxError
from emu.linux.mman import MapFlags
from emu.mm import rss
from emu.mm.address_space import AddressSpace, page_align
from emu.mm.flags import LOCK_FLAGS, UFFD_FLAGS, VmFlags
from emu.mm.gup import populate
from emu.mm.hugememory import forget_protection as forget_huge
from emu.mm.memory import forget_protection
from emu.mm.mmap import (
    check_may_lock,
    do_munmap,
    may_expand,
    unmap_range,
    wants_populating,
)  # fmt: skip
from emu.mm.pagetable import span
from emu.mm.uffdevents import note_unmapped
from emu.mm.unmapped_area import get_unmapped_area
from emu.mm.userfault import Features
from emu.mm.vma import Vma
from emu.mm.vmamodify import carve
from emu.mm.vmatree import merge_neighbours
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

MREMAP_MAYMOVE, MREMAP_FIXED, MREMAP_DONTUNMAP = 1, 2, 4
_U64 = (1 << 64) - 1


def do_mremap(
    mm: AddressSpace, old: int, old_length: int, new_length: int, flags: int, new: int
) -> int | Generator[Any, None, int]:
    """mremap(2); returns the address of the mapping, or moves much in pieces and waits where the run ends."""
    old_length, new_length = _check_arguments(mm, old, old_length, new_length, flags, new)
    vma = mm.vmas.find(old)
    if vma is None:
        raise LinuxError(errno.EFAULT)
    if vma.flags & VmFlags.SEALED:
        raise LinuxError(errno.EPERM)
    wanted = new if flags & MREMAP_FIXED else 0
    old_length, new_length = vma.ops.mremap_lengths(old, old_length, new_length, wanted)
    if not flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) and old_length == new_length:
        return old
    if flags & MREMAP_FIXED and old_length == new_length and old + old_length > vma.end:
        return _move_several(mm, old, old_length, flags, new)
    shrinks = old_length - new_length if new_length < old_length else 0
    if not shrinks or flags & MREMAP_FIXED:
        _check_resize(mm, vma, old, old_length - shrinks, new_length, flags)
    if flags & (MREMAP_FIXED | MREMAP_DONTUNMAP):
        return _move_to(mm, vma, old, old_length, new_length, flags, new)
    if shrinks:
        do_munmap(mm, old + new_length, shrinks)
        return old
    if _grow_in_place(mm, vma, old, old_length, new_length):
        return old
    if not flags & MREMAP_MAYMOVE:
        raise LinuxError(errno.ENOMEM)
    vma.ops.mremap(vma, 0)
    return _move_all(mm, old, old_length, _new_address(mm, vma, old, new_length, MapFlags(0), 0), new_length)


def _move_to(
    mm: AddressSpace, vma: Vma, old: int, old_length: int, new_length: int, flags: int, new: int
) -> int | Generator[Any, None, int]:
    """Move a mapping to a given place, or away from where it stays (mremap_to)."""
    vma.ops.mremap(vma, new)
    fixed = MapFlags.FIXED if flags & MREMAP_FIXED else MapFlags(0)
    if fixed:
        do_munmap(mm, new, new_length)
    if new_length < old_length:
        do_munmap(mm, old + new_length, old_length - new_length)
        old_length = new_length
    found = mm.vmas.find(old)
    if found is None:  # with an old length of 0 the ranges may overlap
        raise LinuxError(errno.EFAULT)
    if flags & MREMAP_DONTUNMAP and not may_expand(mm, found.prot, found.flags, old_length):
        raise LinuxError(errno.ENOMEM)
    new = _new_address(mm, found, old, new_length, fixed, new)
    return _move_all(mm, old, old_length, new, new_length, keep=bool(flags & MREMAP_DONTUNMAP))


def _new_address(mm: AddressSpace, vma: Vma, old: int, length: int, flags: MapFlags, hint: int) -> int:
    """Where a mapping goes, if it may (vrm_set_new_addr).  LinuxError: ENOMEM, EINVAL, EPERM."""
    shared = MapFlags.SHARED if vma.shared else MapFlags(0)
    return get_unmapped_area(mm, hint, length, flags | shared, vma.file, vma.index_of(old))


def _move_several(mm: AddressSpace, old: int, length: int, flags: int, new: int) -> Generator[Any, None, int]:
    """Move every mapping of a range, the holes between them staying (remap_move, since Linux 6.17)."""
    at, end = old, old + length
    while at < end and (vmas := mm.vmas.overlapping(at, end)):
        low, at = max(vmas[0].start, at), min(vmas[0].end, end)
        moved = do_mremap(mm, low, at - low, at - low, flags, new + low - old)
        if not isinstance(moved, int):
            yield from moved
    return new


def _check_arguments(
    mm: AddressSpace, old: int, old_length: int, new_length: int, flags: int, new: int
) -> tuple[int, int]:
    """The checks that do not depend on the mapping; returns the lengths in whole pages."""
    moves = flags & MREMAP_MAYMOVE
    if flags & ~7 or (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) and not moves):
        raise LinuxError(errno.EINVAL)
    old_length, new_length = page_align(old_length) & _U64, page_align(new_length) & _U64
    if old & (PAGE_SIZE - 1) or not new_length or new_length > mm.task_size:
        raise LinuxError(errno.EINVAL)
    if flags & MREMAP_DONTUNMAP and old_length != new_length:
        raise LinuxError(errno.EINVAL)
    if flags & (MREMAP_FIXED | MREMAP_DONTUNMAP):  # the latter takes it as a hint
        overlap = new < old + old_length and old < new + new_length
        if new & (PAGE_SIZE - 1) or new + new_length > mm.task_size or overlap:
            raise LinuxError(errno.EINVAL)
        if len(mm.vmas) + 2 >= mm.context.max_map_count - 3:  # with the most splits, a move has room for what it needs
            raise LinuxError(errno.ENOMEM)
    return old_length, new_length


def _check_resize(mm: AddressSpace, vma: Vma, old: int, old_length: int, new_length: int, flags: int) -> None:
    """Check that the mapping may get that length (vma_to_resize): EFAULT, EINVAL, EAGAIN, ENOMEM."""
    if not old_length and not vma.shared:  # a second mapping of the same pages is for shared memory only
        raise LinuxError(errno.EINVAL)
    if flags & MREMAP_DONTUNMAP and vma.flags & VmFlags.DONTEXPAND:
        raise LinuxError(errno.EINVAL)
    if old + old_length > vma.end:
        raise LinuxError(errno.EFAULT)
    more = new_length - old_length
    if more > 0:
        if vma.flags & VmFlags.DONTEXPAND:
            raise LinuxError(errno.EFAULT)
        check_may_lock(mm, vma.flags, more)
    if more > 0 and not may_expand(mm, vma.prot, vma.flags, more):
        raise LinuxError(errno.ENOMEM)


def _grow_in_place(mm: AddressSpace, vma: Vma, old: int, old_length: int, new_length: int) -> bool:
    end = old + new_length
    if not old_length or old + old_length != vma.end or end > mm.task_size or mm.vmas.overlapping(vma.end, end):
        return False
    more = end - vma.end
    if vma.flags & VmFlags.ACCOUNT:
        mm.context.commit.charge(more >> PAGE_SHIFT, mm)
    mm.total_bytes += more
    vma.end = end
    vma = merge_neighbours(mm.vmas, vma)
    if wants_populating(mm, vma):
        populate(mm, vma, end - more, end)
    return True


def _move_all(
    mm: AddressSpace, old: int, old_length: int, new: int, new_length: int, *, keep: bool = False
) -> int | Generator[Any, None, int]:
    """Move a mapping, in pieces if it has many tables.  LinuxError(ENOMEM) with too many VMAs (prep_move_vma)."""
    if len(mm.vmas) >= mm.context.max_map_count - 3:
        raise LinuxError(errno.ENOMEM)
    if new_length < old_length:
        mm.empty(old + new_length, old + old_length)
    pieces = list(mm.pieces(old, old + min(old_length, new_length)))
    if len(pieces) == 1:
        return _move(mm, old, old_length, new, new_length, keep=keep)
    return _move_in_pieces(mm, old, old_length, new, new_length, pieces, keep)


def _move_in_pieces(
    mm: AddressSpace, old: int, old_length: int, new: int, new_length: int, pieces: list[tuple[int, int]], keep: bool
) -> Generator[Any, None, int]:
    """Move pieces, each as a mapping of its own.  Where the run ends, the rest waits for the next one; if other threads
    change the mapping meanwhile, LinuxError(EFAULT).
    """
    ends = old + old_length, new + new_length
    for low, high in pieces:
        while mm.stop.look():
            try:
                yield None, 0
            except LinuxError:  # a signal: it waits too
                continue
        last = high == pieces[-1][1]
        target, length = low - old + new, (ends[0] if last else high) - low
        new_end = ends[1] if last else target + length
        vma = mm.vmas.find(low)
        if vma is None or vma.end < high or mm.vmas.overlapping(target, new_end):
            raise LinuxError(errno.EFAULT)
        _move(mm, low, length, target, new_end - target, keep=keep)
    return new


def _move(mm: AddressSpace, old: int, old_length: int, new: int, new_length: int, *, keep: bool = False) -> int:
    """Move [old, old + old_length) to ``new``; ``keep`` leaves the VMA there, without pages (MREMAP_DONTUNMAP).

    With an old length of 0, ``new`` becomes a second mapping of the object.
    """
    kept = min(old_length, new_length)
    vma = mm.vmas.find(old)
    assert vma is not None
    promised = new_length - (0 if keep or not old_length else old_length) if vma.flags & VmFlags.ACCOUNT else 0
    mm.reserve_vmas()
    if new_length < old_length:  # first, since it frees empty tables
        unmap_range(mm, old + new_length, old + old_length)
    try:
        vma.ops.make_tables(mm, vma, old, kept, new)
        if promised > 0:
            mm.context.commit.charge(promised >> PAGE_SHIFT, mm)
    except LinuxError:  # free tables where nothing is mapped: a later window there has its own
        if kept:
            flush = mm.obligation(new, new + kept, "mremap")
            mm.tables.free_tables(new, new + kept)
            flush.flush()
        raise
    source = carve(mm, vma, old, old + kept) if kept and not keep else vma
    target = source.copy(old, source.end)
    target.start, target.end = new, new + new_length
    if target.uffd is not None:  # mremap_userfaultfd_prep()
        if target.uffd.has(Features.EVENT_REMAP):
            mm.moved.append((target.uffd, old, new, old_length))
        else:
            target.flags &= ~UFFD_FLAGS
            target.uffd = None
    if target.anonymous and target.anon_vma is None:
        target.pgoff = new >> PAGE_SHIFT
    mm.insert(target, merge=False)  # not with the source, which is removed
    if kept:
        flush = mm.obligation(old, old + kept, "mremap")
        source.ops.move(mm, source, old, kept, new)
        if source.uffd is not target.uffd:
            forget_huge(mm, new, new + kept)
            for _, slot, number in mm.tables.pte_tables(new, new + kept):
                forget_protection(mm.tables.words[slot : slot + number])
        source.ops.drop_promises(source)
        if keep and source.ops.leaf_level == 1 and not (new - old) % span(2):  # whole tables move (move_normal_pmd)
            mm.tables.free_pte_tables(old, old + kept)
        flush.flush()
        if not keep:
            source.flags &= ~VmFlags.ACCOUNT  # the target has taken the promise over
            note_unmapped(mm, old, old + kept)
            mm.remove(source)
    target = merge_neighbours(mm.vmas, target)
    if kept and keep:
        source = mm.vmas.find(old) or source  # which may have become one with the target
        if source.flags & VmFlags.LOCKED:
            mm.locked_still += source.length
            for _, slot, number in mm.tables.pte_tables(source.start, source.end):
                mm.frames.left_locked.update(rss.pages_of(mm.tables.words[slot : slot + number]).tolist())
        source.flags &= ~LOCK_FLAGS
        if (source.start, source.end) == (old, old + kept):
            source.anon_vma = None
    if new_length > old_length and wants_populating(mm, target):
        populate(mm, target, new + old_length, new + new_length)
    return new
