"""Where a new mapping goes: at its hint, or in a gap (get_unmapped_area in mm/mmap.c, arch/x86/kernel/sys_x86_64.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError
from emu.linux.mman import MapFlags
from emu.mm.address_space import TASK_SIZE, AddressSpace, page_align
from emu.mm.pagetable import span
from emu.mm.vma import DAC_MMAP_MIN_ADDR, MMAP_MIN_ADDR, vm_start_gap
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.mm.vmops import MappedFile

#: Where MAP_32BIT looks for room, and where MAP_ABOVE4G begins to.
MAP_32BIT_START, MAP_32BIT_END = 0x4000_0000, 0x8000_0000
#: How far its start is moved by chance (find_start_end).
_RANGE_32BIT = 0x0200_0000
_4G = 1 << 32
IN_PLACE = MapFlags.FIXED | MapFlags.FIXED_NOREPLACE
#: Where mappings begin that are placed upwards (mmap_legacy_base).
_LEGACY_BASE = page_align(TASK_SIZE // 3)
#: Private anonymous memory of whole pages of this size begins at a multiple of it, if it has no hint (since Linux 6.7).
_PMD_SIZE = span(2)
#: So many searches are remembered.
_SEARCHES = 16


def get_unmapped_area(
    mm: AddressSpace, address: int, length: int, flags: MapFlags, file: MappedFile | None = None, pgoff: int = 0
) -> int:
    """The address of a new mapping, which is free unless the flags fix it.  LinuxError: ENOMEM without room, EINVAL and
    EPERM for an address that cannot be had.
    """
    if length > mm.task_size:
        raise LinuxError(errno.ENOMEM)
    if file is not None:
        chosen = file.get_unmapped_area(mm, address, length, pgoff, flags)
    else:
        chosen = _area_of_modules(mm, address, length, flags) if flags & MapFlags.TYPE == MapFlags.SHARED else None
    if chosen is None:
        chosen = _area(mm, address, length, flags, huge=file is None and not flags & MapFlags.SHARED)
    if chosen > mm.task_size - length:
        raise LinuxError(errno.ENOMEM)
    if chosen & (PAGE_SIZE - 1):
        raise LinuxError(errno.EINVAL)
    check_low(mm, chosen)
    return chosen


def _area_of_modules(mm: AddressSpace, address: int, length: int, flags: MapFlags) -> int | None:
    for hook in mm.context.map_hooks:
        chosen = hook.get_unmapped_area(mm, address, length, flags)
        if chosen is not None:
            return chosen
    return None


def check_low(mm: AddressSpace, address: int) -> None:
    """LinuxError(EPERM) for an address that only root may map (cap_mmap_addr)."""
    if address < DAC_MMAP_MIN_ADDR and not mm.context.may_map_low():
        raise LinuxError(errno.EPERM)


def _area(mm: AddressSpace, address: int, length: int, flags: MapFlags, *, huge: bool) -> int:
    if flags & IN_PLACE:
        return address
    if not address and huge and not length % _PMD_SIZE and (found := thp_area(mm, 0, length, flags)) is not None:
        return found
    return unmapped_area(mm, length, address & -PAGE_SIZE, flags=flags)


def thp_area(mm: AddressSpace, address: int, length: int, flags: MapFlags, offset: int = 0) -> int | None:
    """A place where what lies at multiples of 2 MiB in the object does in memory too, if a huge page fits in and there
    is room for it and its padding; or the hint (thp_get_unmapped_area).
    """
    if offset + length - (offset + _PMD_SIZE - 1 & -_PMD_SIZE) < _PMD_SIZE:
        return None
    try:
        found = unmapped_area(mm, length + _PMD_SIZE, address & -PAGE_SIZE, flags=flags)
    except LinuxError:
        return None
    if found == address:
        return found
    rest = (offset - found) % _PMD_SIZE
    return found + (rest if rest or mm.bottom_up else _PMD_SIZE)


def unmapped_area(mm: AddressSpace, length: int, hint: int = 0, align: int = PAGE_SIZE, flags: int = 0) -> int:
    """A free range of ``length`` bytes: at the hint if that is free, else as high as possible below mmap_base, else
    anywhere; or as low as possible above it (``bottom_up``).  With 5-level paging, addresses beyond the 47 bits of
    4-level paging are given only to a caller whose hint lies there
    (Documentation/arch/x86/x86_64/5level-paging.rst).

    LinuxError(ENOMEM) if there is none.
    """
    if length > mm.task_size:
        raise LinuxError(errno.ENOMEM)
    low = bool(flags & MapFlags.MAP_32BIT)
    at = (hint + align - 1) & -align
    if hint and _fits(mm, at, length, low):
        return at
    beyond = mm.task_size - TASK_SIZE if hint > TASK_SIZE else 0
    if not low and not mm.bottom_up:
        floor = _4G if flags & MapFlags.ABOVE4G else MMAP_MIN_ADDR
        found = _topdown(mm, length, floor, mm.mmap_base + beyond, align)
        if found is not None:
            return found
    if low:
        start, end = MAP_32BIT_START, MAP_32BIT_END
        if mm.random is not None:  # anew for each mapping
            start += mm.random.randrange(_RANGE_32BIT >> PAGE_SHIFT) << PAGE_SHIFT
    else:
        start, end = mm.mmap_base if mm.bottom_up else _LEGACY_BASE, TASK_SIZE + beyond
    found = _bottomup(mm, length, start, end, align)
    if found is None:
        raise LinuxError(errno.ENOMEM)
    return found


def place_on_top(mm: AddressSpace, length: int) -> int | None:
    """The highest free range below mmap_base, where mappings are placed downwards; None if there is none."""
    return _topdown(mm, length, MMAP_MIN_ADDR, mm.mmap_base, PAGE_SIZE)


def _fits(mm: AddressSpace, at: int, length: int, low: bool) -> bool:
    """Whether a hint can be taken: nothing is there, nor is it in the gap of the stack above."""
    if low and MAP_32BIT_END - length < at:
        return False
    if at + length > mm.task_size or (at > TASK_SIZE) != (at + length > TASK_SIZE):
        return False
    above = mm.vmas.find_above(at)
    return above is None or at + length <= vm_start_gap(above)


def aligned_area(mm: AddressSpace, address: int, length: int, align: int, flags: int) -> int:
    """get_unmapped_area() for a mapping that must begin at a multiple of ``align``: MAP_FIXED elsewhere is EINVAL, a
    hint is rounded up.  LinuxError(ENOMEM) if there is no free place.
    """
    if not flags & IN_PLACE:
        return unmapped_area(mm, length, address, align)
    if address % align:
        raise LinuxError(errno.EINVAL)
    return address


def _bottomup(mm: AddressSpace, length: int, floor: int, ceiling: int, align: int) -> int | None:
    """The lowest gap that has room wherever it begins (unmapped_area)."""
    at, needed = floor, length + align - PAGE_SIZE
    while at + needed <= ceiling:
        above = mm.vmas.find_above(at)
        if above is None or at + needed <= vm_start_gap(above):
            return (at + align - 1) & -align
        at = max(above.end, at)
    return None


def _topdown(mm: AddressSpace, length: int, floor: int, ceiling: int, align: int) -> int | None:
    """The highest gap that has room wherever it ends (unmapped_area_topdown).  It goes on where an earlier search for
    as much or less has ended, so that each of many mappings below each other does not look through all above it.
    """
    searched, needed = mm.vmas.searched, length + align - PAGE_SIZE
    high, found = ceiling, False
    for (most, low, top), end in searched.items():
        if most <= needed and low == floor and top == ceiling and (end < high or not found):
            high, found = end, True
    for vma in mm.vmas.downwards(high if found else None):
        if vma.start < ceiling and high - needed >= max(vma.end, floor):
            break
        high = min(high, vm_start_gap(vma))
    if len(searched) >= _SEARCHES:
        searched.clear()
    searched[needed, floor, ceiling] = high
    at = (high - length) & -align
    return at if high - needed >= floor else None
