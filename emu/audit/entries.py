"""Checks of one mapping entry against the VMA that covers it and the page that it maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from emu.audit.books import Books
from emu.audit.swap import count_entry
from emu.linux.mman import Prot
from emu.mm.flags import VmFlags
from emu.mm.guards import NO_GUARDS
from emu.mm.hugefault import PMD, head_of
from emu.mm.hugetlb import HPAGE_SIZE, cache_of, number_of
from emu.mm.pageflags import BLOCK_FRAMES, FrameKind
from emu.mm.pagetable import PROTNONE, RW, SPECIAL, UFFD_WP_BIT, US, XD, P
from emu.mm.swapops import GUARD, POISONED, UFFD_WP, marked
from emu.mm.vma import Vma

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace


def check_entry(books: Books, mm: AddressSpace, vaddr: int, pte: int, frame: int) -> None:
    """Report everything that is wrong with one entry."""
    vma = mm.vmas.find(vaddr)
    where = f"{mm.name}: the PTE of {vaddr:#x}"
    if vma is None:
        books.say(f"{where} is set, but no VMA covers it")
    else:
        _check_rights(books, where, vma, pte)
        _check_content(books, where, mm, vma, vaddr, pte, frame)
    if pte & SPECIAL:
        if vma is not None and vma.flags & VmFlags.PFNMAP and vma.page_cache is not None:
            if vma.page_cache.find(vma.index_of(vaddr)) != frame:
                books.say(f"{where} maps frame {frame:#x}, which is not the kernel's page there")
        elif frame != mm.frames.zero_frame:
            books.say(f"{where} is special, but does not map the zero page")
        elif pte & RW:
            books.say(f"{where} maps the zero page writable")
    elif mm.frames.kind(frame) not in (FrameKind.ANON, FrameKind.CACHE):
        books.say(f"{where} maps frame {frame:#x}, which is {mm.frames.kind(frame).name}")


def check_marker(books: Books, mm: AddressSpace, vaddr: int, entry: int) -> int:
    """Report everything that is wrong with an entry that maps nothing and is not 0; returns 1 for a swap entry."""
    vma = mm.vmas.find(vaddr)
    where = f"{mm.name}: the PTE of {vaddr:#x}"
    if count_entry(books, mm, where, vaddr, entry):
        return 1
    what = marked(entry)
    if not what or what & ~(UFFD_WP | POISONED | GUARD):
        books.say(f"{where} maps nothing and is no marker: {entry:#x}")
    elif vma is None:
        books.say(f"{where} is a marker, but no VMA covers it")
    elif what & UFFD_WP and not vma.flags & VmFlags.UFFD_WP:
        books.say(f"{where} is write-protected by a userfaultfd, with which its VMA is not registered")
    elif what & GUARD and vma.flags & NO_GUARDS:
        books.say(f"{where} is a guard, which its VMA cannot have")
    elif what & GUARD and not vma.flags & VmFlags.MAYBE_GUARD:
        books.say(f"{where} is a guard, but fork would not copy it")
    return 0


def check_huge_entry(books: Books, mm: AddressSpace, vaddr: int, entry: int) -> None:
    """An entry of 2 MiB in a table that the address space owns."""
    vma, head = mm.vmas.find(vaddr), head_of(entry)
    where = f"{mm.name}: the PMD entry of {vaddr:#x}"
    books.huge_pages[head] += 1
    if vma is None or vma.ops.leaf_level != PMD:
        books.say(f"{where} maps a huge page, but no VMA of huge pages covers it")
        return
    _check_rights(books, where, vma, entry)
    cache, number = cache_of(vma), number_of(vma, vaddr)
    if vma.shared and cache.heads.get(number) != head:
        books.say(f"{where} maps huge page {head:#x}, but the file has another page there")
    if not vma.shared and entry & RW and cache.pool.counts.get(head) != 1:
        books.say(f"{where} lets a private mapping write to huge page {head:#x}, which others can see")


def check_transparent_entry(books: Books, mm: AddressSpace, vaddr: int, entry: int) -> None:
    """An entry of 2 MiB of ordinary memory, which holds a reference of each frame."""
    vma, head, frames = mm.vmas.find(vaddr), head_of(entry), mm.frames
    where = f"{mm.name}: the PMD entry of {vaddr:#x}"
    if vma is None or vma.end < vaddr + HPAGE_SIZE or vma.ops.leaf_level != 1:
        books.say(f"{where} maps a huge page, but no VMA of ordinary memory covers it")
        return
    _check_rights(books, where, vma, entry)
    if entry & SPECIAL:
        if not mm.context.thp.is_zero(head):
            books.say(f"{where} is special, but does not map the huge page of zeros")
        if entry & RW:
            books.say(f"{where} maps the huge page of zeros writable")
        return
    part = slice(head, head + BLOCK_FRAMES)
    books.hold(np.arange(part.start, part.stop, dtype=np.int64))
    kind = FrameKind.ANON if vma.page_cache is None else FrameKind.CACHE
    if (frames.kinds[part] != kind).any():
        books.say(f"{where} maps frames from {head:#x} on, not all of which are {kind.name}")
    elif vma.page_cache is not None:
        if (vma.page_cache.find_many(vma.index_of(vaddr), BLOCK_FRAMES) != np.arange(part.start, part.stop)).any():
            books.say(f"{where} maps frames from {head:#x} on, but the file has other pages there")
    elif entry & RW and (frames.counts[part] != 1).any():
        books.say(f"{where} lets a private mapping write to frames from {head:#x} on, which others can see")
    if (vma.page_cache is None) != bool(mm.tables.transparent[mm.tables.entry_slot(vaddr, PMD) or 0]):
        books.say(f"{where} has a table for when it is split if it needs none, and none if it does")


def _check_rights(books: Books, where: str, vma: Vma, pte: int) -> None:
    if bool(pte & P) == bool(pte & PROTNONE):
        books.say(f"{where} says both that it is present and that nothing is allowed")
    if not pte & P:
        if vma.prot:
            books.say(f"{where} is not present although its VMA allows {vma.prot!r}")
        return
    if not vma.prot:
        books.say(f"{where} is present although its VMA allows nothing")
    if pte & UFFD_WP_BIT and (pte & RW or not vma.flags & VmFlags.UFFD_WP):
        why = "allows writes" if pte & RW else "its VMA is not registered"
        books.say(f"{where} is write-protected by a userfaultfd, but {why}")
    if not pte & US:
        books.say(f"{where} is not for user mode")
    if pte & RW and not vma.prot & Prot.WRITE:
        books.say(f"{where} allows writes, but its VMA does not")
    if not pte & XD and not vma.prot & Prot.EXEC:
        books.say(f"{where} allows execution, but its VMA does not")


def _check_content(books: Books, where: str, mm: AddressSpace, vma: Vma, vaddr: int, pte: int, frame: int) -> None:
    if vma.shared and vma.page_cache is not None and vma.page_cache.find(vma.index_of(vaddr)) != frame:
        books.say(f"{where} maps frame {frame:#x}, but the file has another page there")
    if not vma.shared and pte & RW and not pte & SPECIAL:
        if mm.frames.kind(frame) != FrameKind.ANON or mm.frames.mapcount(frame) != 1:
            books.say(f"{where} lets a private mapping write to frame {frame:#x}, which others can see")
