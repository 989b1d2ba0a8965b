"""mmap: where a mapping may lie, whether there is memory for it, and making it (mm/mmap.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.kernel.errors import LinuxError
from emu.mm.address_space import MAX_MAP_COUNT, MMAP_MIN_ADDR, TASK_SIZE, AddressSpace, page_align
from emu.mm.munmap import check_unmap, unmap_range
from emu.mm.pagecache import PageCache
from emu.mm.populate import populate
from emu.mm.vma import MapFlags, Prot, Vma, VmFlags
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.fs.file import File


def do_mmap(
    mm: AddressSpace, address: int, length: int, prot: Prot, flags: MapFlags, file: File | None = None, offset: int = 0
) -> int:
    """mmap(2); the caller has checked the file's mode.  Returns the address."""
    length = _check_mmap(mm, address, length, flags, offset)
    address = _place(mm, address, length, flags, file, offset >> PAGE_SHIFT)
    vm_flags = VmFlags.NONE
    if flags & MapFlags.TYPE in (MapFlags.SHARED, MapFlags.SHARED_VALIDATE):
        vm_flags |= VmFlags.SHARED
    if flags & MapFlags.GROWSDOWN:
        if file is not None or VmFlags.SHARED in vm_flags:
            raise LinuxError(errno.EINVAL)
        vm_flags |= VmFlags.GROWSDOWN
    if flags & MapFlags.NORESERVE:
        vm_flags |= VmFlags.NORESERVE
    vma = Vma(address, address + length, prot, vm_flags, file=file, pgoff=offset >> PAGE_SHIFT)
    if flags & (MapFlags.FIXED | MapFlags.FIXED_NOREPLACE):
        check_unmap(mm, address, address + length)
    if file is not None:
        file.mmap(mm, vma)  # may refuse; nothing has changed yet
    elif vma.shared:
        check_overcommit(mm, length, vm_flags)
        vma.pgoff = 0
        vma.page_cache = PageCache(mm.frames, length)
    else:
        check_overcommit(mm, length, vm_flags)
        vma.pgoff = address >> PAGE_SHIFT
    if flags & (MapFlags.FIXED | MapFlags.FIXED_NOREPLACE):
        unmap_range(mm, address, address + length)
    for hook in mm.context.map_hooks:
        hook.mapped(mm, vma, flags)
    mm.insert(vma)
    if flags & (MapFlags.POPULATE | MapFlags.LOCKED) and not flags & MapFlags.NONBLOCK:
        populate(mm, vma)
    return address


def _check_mmap(mm: AddressSpace, address: int, length: int, flags: MapFlags, offset: int) -> int:
    if length == 0 or offset & (PAGE_SIZE - 1):
        raise LinuxError(errno.EINVAL)
    length = page_align(length)
    if length > mm.task_size:
        raise LinuxError(errno.ENOMEM)
    if (offset >> PAGE_SHIFT) + (length >> PAGE_SHIFT) >= 1 << 52:
        raise LinuxError(errno.EOVERFLOW)
    if len(mm.vmas) >= MAX_MAP_COUNT:
        raise LinuxError(errno.ENOMEM)
    if mm.limit_bytes is not None and mm.total_bytes + length > mm.limit_bytes:
        raise LinuxError(errno.ENOMEM)
    if flags & (MapFlags.FIXED | MapFlags.FIXED_NOREPLACE):
        if address & (PAGE_SIZE - 1):
            raise LinuxError(errno.EINVAL)
        if address + length > mm.task_size:
            raise LinuxError(errno.ENOMEM)
        if address < MMAP_MIN_ADDR:
            raise LinuxError(errno.EPERM)
        if flags & MapFlags.FIXED_NOREPLACE and mm.vmas.overlapping(address, address + length):
            raise LinuxError(errno.EEXIST)
    return length


def _place(mm: AddressSpace, address: int, length: int, flags: MapFlags, file: File | None, pgoff: int) -> int:
    if file is not None:
        chosen = file.get_unmapped_area(mm, address, length, pgoff, flags)
        if chosen is not None:
            return chosen
    if flags & (MapFlags.FIXED | MapFlags.FIXED_NOREPLACE):
        return address
    return unmapped_area(mm, length, address & -PAGE_SIZE)


def unmapped_area(mm: AddressSpace, length: int, hint: int = 0, align: int = PAGE_SIZE) -> int:
    """A free range of ``length`` bytes: at the hint if that is free, else as high as possible below mmap_base,
    else anywhere.  With 5-level paging, what lies beyond the 47 bits of 4-level paging is given only to who hints at
    an address there (Documentation/arch/x86/x86_64/5level-paging.rst).

    LinuxError(ENOMEM) if there is none.
    """
    if length > mm.task_size:
        raise LinuxError(errno.ENOMEM)
    if hint:
        at = (hint + align - 1) & -align
        fits = at + length <= mm.task_size and (at > TASK_SIZE) == (at + length > TASK_SIZE)
        if at >= MMAP_MIN_ADDR and fits and not mm.vmas.overlapping(at, at + length):
            return at
    beyond = mm.task_size - TASK_SIZE if hint > TASK_SIZE else 0
    for ceiling in (mm.mmap_base + beyond, TASK_SIZE + beyond):
        found = _topdown(mm, length, ceiling, align)
        if found is not None:
            return found
    raise LinuxError(errno.ENOMEM)


def _topdown(mm: AddressSpace, length: int, ceiling: int, align: int) -> int | None:
    high = ceiling
    for vma in reversed(mm.vmas):
        if vma.start >= ceiling:
            continue
        at = (high - length) & -align
        if at >= max(vma.end, MMAP_MIN_ADDR) and high >= length:
            return at
        high = min(high, vma.start)
    at = (high - length) & -align
    return at if high >= length and at >= MMAP_MIN_ADDR else None


def check_overcommit(mm: AddressSpace, length: int, vm_flags: VmFlags) -> None:
    """vm.overcommit_memory 0: refuse only what can obviously never fit (MAP_NORESERVE is always let through)."""
    if not vm_flags & VmFlags.NORESERVE and length >> PAGE_SHIFT > mm.frames.total:
        raise LinuxError(errno.ENOMEM)
