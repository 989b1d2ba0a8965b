"""PAGEMAP_SCAN: the ranges of pages of certain categories (pagemap_scan_* of fs/proc/task_mmu.c, Linux 6.7)."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from emu.linux.errors import LinuxError
from emu.linux.layout import Layout
from emu.mm.address_space import page_align
from emu.mm.flags import VmFlags
from emu.mm.hugefault import PMD, head_of
from emu.mm.hugepmd import PMD_SIZE, huge_entries
from emu.mm.pageflags import FrameKind
from emu.mm.pagetable import ADDRESS, SPECIAL, UFFD_WP_BIT
from emu.mm.swapops import GUARD, SWP_UFFD_WP, UFFD_WP, is_here, is_swapped, marked
from emu.mm.uffdwp import uffd_wp_range, uses_markers
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.linux.caller import UserMemory
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma

PAGEMAP_SCAN = 0xC0606610
#: struct pm_scan_arg, and struct page_region.
_ARG, _REGION = Layout("pm_scan_arg", "12Q"), Layout("page_region", "3Q")
_WALK_END_AT = 4 * 8
_CHECK_WPASYNC, _WP_MATCHING = 2, 1
#: PAGE_IS_*.
_WPALLOWED, _WRITTEN, _FILE, _PRESENT, _SWAPPED, _PFNZERO, _HUGE, _SOFT_DIRTY, _GUARD = (1 << bit for bit in range(9))
_CATEGORIES = (1 << 9) - 1
#: Categories of a whole VMA.
_OF_VMA = _WPALLOWED | _SOFT_DIRTY


class _Masks(NamedTuple):
    inverted: int
    all_of: int
    any_of: int
    returned: int

    def fits(self, categories: int) -> bool:
        """Whether such a page is looked for (pagemap_scan_is_interesting_page)."""
        seen = categories ^ self.inverted
        return seen & self.all_of == self.all_of and (not self.any_of or bool(seen & self.any_of))

    def fits_vma(self, categories: int) -> bool:
        """Whether the VMA may have such pages (pagemap_scan_is_interesting_vma)."""
        required = self.all_of & _OF_VMA
        return (categories ^ self.inverted) & required == required


class _Output:
    """What was found: ranges of neighbours with the same categories, until there is no room for more."""

    def __init__(self, masks: _Masks, most_ranges: int, most_pages: int, counts: bool) -> None:
        self._masks, self._most_ranges, self._left, self._counts = masks, most_ranges, most_pages, counts
        self.ranges: list[list[int]] = []

    def add(self, start: int, end: int, categories: int) -> int:
        """Returns where what was taken ends."""
        if not self._counts:
            return end
        categories &= self._masks.returned
        end = min(end, start + self._left * PAGE_SIZE)
        last = self.ranges[-1] if self.ranges else None
        if start < end:
            if last is not None and last[1] == start and last[2] == categories:
                last[1] = end
            elif len(self.ranges) == self._most_ranges:
                return start
            else:
                self.ranges.append([start, end, categories])
        self._left -= (end - start) >> PAGE_SHIFT
        return end


def pagemap_scan(mm: AddressSpace, caller: UserMemory, argument: int) -> int:
    """The ioctl (do_pagemap_scan): the number of ranges that were written.  LinuxError: EFAULT, EINVAL, EPERM."""
    fields = list(_ARG.read(caller, argument))
    size, flags, start, end, _, vec, vec_len, max_pages = fields[:8]
    masks = _Masks(*fields[8:])
    if size != _ARG.size or flags & ~(_CHECK_WPASYNC | _WP_MATCHING) or any(mask & ~_CATEGORIES for mask in masks):
        raise LinuxError(errno.EINVAL)
    if start & (PAGE_SIZE - 1):
        raise LinuxError(errno.EINVAL)
    if not start <= end <= mm.task_size:
        raise LinuxError(errno.EFAULT)
    if not vec and vec_len:
        raise LinuxError(errno.EINVAL)
    if vec and vec + vec_len * _REGION.size > mm.task_size:
        raise LinuxError(errno.EFAULT)
    end = page_align(end)
    output = _Output(masks, vec_len, max_pages or 1 << 64, bool(vec and vec_len))
    walk_end = end
    try:
        walk_end = _walk(mm, start, end, flags, masks, output)
        data = b"".join(_REGION.pack(*found) for found in output.ranges)
        if data:
            caller.write(vec, data)
    finally:  # where it fails, too
        caller.write(argument + _WALK_END_AT, walk_end.to_bytes(8, "little"))
    return len(output.ranges)


def _walk(mm: AddressSpace, start: int, end: int, flags: int, masks: _Masks, output: _Output) -> int:
    """Look at every page; returns where it ended."""
    for vma in mm.vmas.overlapping(start, end):
        of_vma = _vma_categories(vma, flags)
        if of_vma is None or not masks.fits_vma(of_vma):
            continue
        for low, high, categories in _pages(mm, vma, max(vma.start, start), min(vma.end, end)):
            mm.stop.check()
            if not masks.fits(of_vma | categories):
                continue
            reached = output.add(low, high, of_vma | categories)
            if flags & _WP_MATCHING and low < reached:
                uffd_wp_range(mm, vma, low, reached, on=True)
            if reached < high:
                return reached
    return end


def _vma_categories(vma: Vma, flags: int) -> int | None:
    """What all its pages are; None if it is passed over (pagemap_scan_test_walk).  LinuxError(EPERM)."""
    allowed = vma.uffd is not None and vma.uffd.wp_async and uses_markers(vma)
    if not allowed and flags & _CHECK_WPASYNC:
        raise LinuxError(errno.EPERM)
    if vma.flags & VmFlags.PFNMAP or (not allowed and flags & _WP_MATCHING):
        return None
    return _WPALLOWED if allowed else 0


def _pages(mm: AddressSpace, vma: Vma, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Pages, and ranges where there is none, with their categories."""
    q = mm.frames.ram.qwords
    if vma.ops.leaf_level == PMD:
        at = start
        for address, slot in mm.tables.huge_slots(start, end):
            if at < address:
                yield at, address, 0
            at = min(address + vma.ops.page_size, end)
            yield max(address, start), at, _HUGE | _PRESENT | (0 if q[slot] & UFFD_WP_BIT else _WRITTEN) | _FILE
        if at < end:
            yield at, end, 0
        return
    at = start
    for vaddr, slot, number in _tables(mm, start, end):
        if at < vaddr:
            yield at, vaddr, 0
        if not number:
            at = min(vaddr + PMD_SIZE & -PMD_SIZE, end)
            yield vaddr, at, _huge_categories(mm, q[slot])
            continue
        for index in range(number):
            page = vaddr + (index << PAGE_SHIFT)
            yield page, page + PAGE_SIZE, _page_categories(mm, q[slot + index])
        at = vaddr + (number << PAGE_SHIFT)
    if at < end:
        yield at, end, 0


def _tables(mm: AddressSpace, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The PTE tables of a range as :meth:`PageTables.pte_tables` gives them, and between them the entries of 2 MiB,
    with 0 for their number.
    """
    if not mm.tables.transparent:
        yield from mm.tables.pte_tables(start, end)
        return
    at = start
    for address, slot in [*huge_entries(mm, start, end), (end, 0)]:
        yield from mm.tables.pte_tables(at, max(address, at))
        if address < end:
            yield max(address, start), slot, 0
            at = address + PMD_SIZE


def _huge_categories(mm: AddressSpace, entry: int) -> int:
    """pagemap_thp_category()."""
    found = _HUGE | _PRESENT | (0 if entry & UFFD_WP_BIT else _WRITTEN)
    if entry & SPECIAL:
        return found | _PFNZERO
    return found | (0 if mm.frames.is_anon(head_of(entry)) else _FILE)


def _page_categories(mm: AddressSpace, pte: int) -> int:
    """pagemap_page_category()."""
    if not pte:
        return _WRITTEN
    if not is_here(pte):
        if is_swapped(pte):
            return _SWAPPED | (0 if pte & SWP_UFFD_WP else _WRITTEN)
        what = marked(pte)
        return _SWAPPED | (0 if what & UFFD_WP else _WRITTEN) | (_GUARD if what & GUARD else 0)
    found = _PRESENT | (0 if pte & UFFD_WP_BIT else _WRITTEN)
    frame = (pte & ADDRESS) >> PAGE_SHIFT
    if pte & SPECIAL:
        return found | (_PFNZERO if frame == mm.frames.zero_frame else 0)
    return found | (0 if mm.frames.kind(frame) == FrameKind.ANON else _FILE)
