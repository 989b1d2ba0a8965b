"""Filling pages through a userfaultfd: UFFDIO_COPY, ZEROPAGE, CONTINUE, POISON (mfill_atomic of mm/userfaultfd.c)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError
from emu.linux.mman import Prot
from emu.mm import rss
from emu.mm.flags import VmFlags
from emu.mm.hugepmd import huge_slot
from emu.mm.memory import set_new_entry
from emu.mm.pageflags import PG_DIRTY, PG_UNREAD
from emu.mm.pagetable import RW, SPECIAL, UFFD_WP_BIT, D
from emu.mm.swapops import POISONED_ENTRY, is_here
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.pagecache import PageCache
    from emu.mm.vma import Vma

#: Fills the page at an address of a VMA, in the entry of a slot.  LinuxError.
Fill = Callable[["AddressSpace", "Vma", int, int], None]


def is_shmem(vma: Vma) -> bool:
    """Whether a VMA maps shared memory or a file of tmpfs (vma_is_shmem)."""
    return vma.page_cache is not None and vma.page_cache.is_shmem and not vma.ops.secret and not vma.ops.special


def fill(mm: AddressSpace, start: int, length: int, one: Fill, *, protected: bool = False, cached: bool = False) -> int:
    """Fill pages one after the other; returns how many bytes until one failed.  ``protected``: they are write-protected
    then; ``cached``: only pages of the page cache are meant.  LinuxError: ENOENT for a range that does not lie in one
    registered mapping, EINVAL, and what the first page met.
    """
    vma = mm.vmas.find(start)
    if vma is None or vma.uffd is None or start + length > vma.end:
        raise LinuxError(errno.ENOENT)
    if protected and not vma.flags & VmFlags.UFFD_WP:
        raise LinuxError(errno.EINVAL)
    if not (vma.anonymous or is_shmem(vma)) or (cached and not is_shmem(vma)):
        raise LinuxError(errno.EINVAL)
    done = 0
    while done < length:
        mm.stop.check()
        address = start + done
        try:
            if huge_slot(mm, address) is not None:
                raise LinuxError(errno.EEXIST)
            slot = mm.tables.entry_slot_alloc(address, 1)
            one(mm, vma, address, slot)
        except LinuxError:
            mm.tables.free_tables(address, address + PAGE_SIZE)
            if not done:
                raise
            break
        if protected:
            q = mm.frames.ram.qwords
            q[slot] = q[slot] & ~RW | UFFD_WP_BIT
        done += PAGE_SIZE
    return done


def _check_size(vma: Vma, address: int) -> None:
    """LinuxError(EFAULT) behind the end of the object."""
    if vma.page_cache is not None and not vma.page_cache.check_index(vma.index_of(address)):
        raise LinuxError(errno.EFAULT)


def _check_free(mm: AddressSpace, slot: int) -> None:
    """LinuxError(EEXIST) where a page is mapped; a marker gives way."""
    if is_here(mm.frames.ram.qwords[slot]):
        raise LinuxError(errno.EEXIST)


def fill_with(data: Callable[[int], bytes | None], start: int) -> Fill:
    """UFFDIO_COPY: a page with what ``data`` gives for its distance from ``start``; None is a page of zeros."""

    def one(mm: AddressSpace, vma: Vma, address: int, slot: int) -> None:
        content = data(address - start)
        if vma.shared:
            assert vma.page_cache is not None
            _into_cache(mm, vma, vma.page_cache, address, slot, content)
            return
        _check_free(mm, slot)
        _check_size(vma, address)
        frame = rss.new_page(mm)
        if content is not None:
            mm.frames.write(frame, 0, content)
        mm.vmas.anon_vma_prepare(vma)
        writable = RW if vma.prot & Prot.WRITE else 0
        set_new_entry(mm, address, slot, frame << PAGE_SHIFT | vma.page_bits | writable | D)

    return one


def _into_cache(mm: AddressSpace, vma: Vma, cache: PageCache, address: int, slot: int, content: bytes | None) -> None:
    """A new page of shared memory (shmem_mfill_atomic_pte)."""
    index = vma.index_of(address)
    _check_size(vma, address)
    if cache.holds(index):
        raise LinuxError(errno.EEXIST)
    _check_free(mm, slot)
    frame = cache.get_page(index)
    if content is not None:
        mm.frames.write(frame, 0, content)
    mm.frames.set_page_flags(frame, PG_DIRTY)
    _map_cached(mm, vma, address, slot, frame)


def _map_cached(mm: AddressSpace, vma: Vma, address: int, slot: int, frame: int) -> None:
    rss.get_cached(mm, (frame,))
    set_new_entry(mm, address, slot, frame << PAGE_SHIFT | vma.cached_bits | D)


def fill_zero(mm: AddressSpace, vma: Vma, address: int, slot: int) -> None:
    """UFFDIO_ZEROPAGE: the zero page, or in shared memory a page of zeros."""
    if vma.shared:
        fill_with(lambda _: None, address)(mm, vma, address, slot)
        return
    if mm.frames.ram.qwords[slot]:
        raise LinuxError(errno.EEXIST)
    _check_size(vma, address)
    set_new_entry(mm, address, slot, mm.frames.zero_frame << PAGE_SHIFT | vma.page_bits | SPECIAL)


def fill_from_cache(mm: AddressSpace, vma: Vma, address: int, slot: int) -> None:
    """UFFDIO_CONTINUE: map the page of the page cache that is there."""
    cache = vma.page_cache
    assert cache is not None
    index = vma.index_of(address)
    if not cache.check_index(index):
        raise LinuxError(errno.EINVAL)
    if not cache.holds(index):
        raise LinuxError(errno.EFAULT)
    frame = cache.get_page(index)
    _check_free(mm, slot)
    mm.frames.clear_page_flags(frame, PG_UNREAD)
    _map_cached(mm, vma, address, slot, frame)


def fill_poison(mm: AddressSpace, vma: Vma, address: int, slot: int) -> None:
    """UFFDIO_POISON: an access is a SIGBUS as if the page's memory had failed."""
    _check_size(vma, address)
    if mm.frames.ram.qwords[slot]:
        raise LinuxError(errno.EEXIST)
    set_new_entry(mm, address, slot, POISONED_ENTRY)
