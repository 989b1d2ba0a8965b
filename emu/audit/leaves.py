"""Checks of every PTE: many at once, and the unusual ones one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from emu.audit.books import Books
from emu.audit.entries import check_entry, check_marker
from emu.audit.tables import present
from emu.linux.mman import Prot
from emu.mm.address_space import AddressSpace
from emu.mm.flags import VmFlags
from emu.mm.freeframes import Frames
from emu.mm.hugefault import PMD
from emu.mm.hugepmd import as_ptes
from emu.mm.pageflags import FrameKind
from emu.mm.pagetable import ADDRESS, PROTNONE, PS, RW, SPECIAL, UFFD_WP_BIT, US, XD, P, span
from emu.mm.rss import pages_of
from emu.mm.swapops import here
from emu.mm.vma import Vma
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

_ADDRESS = np.uint64(ADDRESS)
_SHIFT = np.uint64(PAGE_SHIFT)
_SPECIAL = np.uint64(SPECIAL)
_RW = np.uint64(RW)
#: PTE tables that are checked together.
_TABLES = 512

Entries = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]


def walk_leaves(books: Books, mm: AddressSpace) -> None:
    """Count every mapping entry that this address space owns, and check it against the VMA that covers it."""
    anon = cached = away = 0
    for vaddrs, ptes in _leaves(books, mm):
        mapping = here(ptes)
        if not mapping.all():
            for vaddr, entry in zip(vaddrs[~mapping].tolist(), ptes[~mapping].tolist(), strict=True):
                away += check_marker(books, mm, vaddr, entry)
            vaddrs, ptes = vaddrs[mapping], ptes[mapping]
        frames = ((ptes & _ADDRESS) >> _SHIFT).astype(np.int64)
        there = frames < mm.frames.total
        if not there.all():
            for vaddr, frame in zip(vaddrs[~there].tolist(), frames[~there].tolist(), strict=True):
                books.say(f"{mm.name}: the PTE of {vaddr:#x} maps {frame << PAGE_SHIFT:#x}, outside memory")
            vaddrs, ptes, frames = vaddrs[there], ptes[there], frames[there]
        kinds = mm.frames.kinds[frames]
        _hold_against_vmas(books, mm, vaddrs, ptes, frames, kinds)
        counted = (ptes & _SPECIAL) == 0
        if not counted.all():
            frames, kinds = frames[counted], kinds[counted]
        books.hold(frames)
        anon += int(np.count_nonzero(kinds == FrameKind.ANON))
        cached += int(np.count_nonzero(kinds == FrameKind.CACHE))
    if away != mm.rss_swap:
        books.say(f"{mm.name} accounts for {mm.rss_swap} pages that lie in swap, and {away} do")
    for ptes in (as_ptes(mm, slot) for slot in mm.tables.transparent):
        kinds = mm.frames.kinds[pages_of(ptes)]
        anon += int(np.count_nonzero(kinds == FrameKind.ANON))
        cached += int(np.count_nonzero(kinds == FrameKind.CACHE))
    if (anon, cached) != (mm.rss_anon, mm.rss_cache):
        books.say(
            f"{mm.name} accounts for {mm.rss_anon} anonymous and {mm.rss_cache} cached pages, "
            f"and maps {anon} and {cached}"
        )


def _leaves(books: Books, mm: AddressSpace) -> Iterator[tuple[Frames, Entries]]:
    """The set entries of the address space's PTE tables with their addresses, ascending, some tables at once."""
    tables = sorted(_pte_tables(books, mm))
    by_table = mm.tables.words.reshape(-1, 512)
    for at in range(0, len(tables), _TABLES):
        bases, frames = (np.array(column, dtype=np.int64) for column in zip(*tables[at : at + _TABLES], strict=True))
        ptes = by_table[frames].ravel()
        vaddrs = (bases[:, None] + (np.arange(512, dtype=np.int64) << PAGE_SHIFT)[None, :]).ravel()
        present = ptes != 0
        yield (vaddrs, ptes) if present.all() else (vaddrs[present], ptes[present])


def _pte_tables(books: Books, mm: AddressSpace) -> Iterable[tuple[int, int]]:
    """(first address, frame) of each PTE table that the address space owns."""
    todo = [(mm.tables.levels, mm.tables.pgd_frame, 0)]
    while todo:
        level, frame, base = todo.pop()
        if level == 1:
            yield base, frame
            continue
        for index, entry in present(mm, frame):
            child = (entry & ADDRESS) >> PAGE_SHIFT
            if books.tables.get(child) is mm and not (level == PMD and entry & PS):
                todo.append((level - 1, child, base + index * span(level)))


def _hold_against_vmas(
    books: Books, mm: AddressSpace, vaddrs: Frames, ptes: Entries, frames: Frames, kinds: npt.NDArray[np.uint8]
) -> None:
    """Report what is wrong with entries at ascending addresses."""
    if len(vaddrs) == 0:
        return
    strange = np.ones(len(ptes), dtype=bool)
    for vma in mm.vmas.overlapping(int(vaddrs[0]), int(vaddrs[-1]) + PAGE_SIZE):
        low, high = np.searchsorted(vaddrs, (vma.start, vma.end)).tolist()
        part = slice(low, high)
        if low < high:
            strange[part] = ~_ordinary(mm, vma, vaddrs[part], ptes[part], frames[part], kinds[part])
    for at in np.flatnonzero(strange).tolist():
        check_entry(books, mm, int(vaddrs[at]), int(ptes[at]), int(frames[at]))


def _ordinary(
    mm: AddressSpace, vma: Vma, vaddrs: Frames, ptes: Entries, frames: Frames, kinds: npt.NDArray[np.uint8]
) -> Mask:
    """Which entries of a VMA need no closer check."""
    looked_at, right = P | PROTNONE, PROTNONE
    if vma.prot:
        looked_at, right = P | PROTNONE | US, P | US
        if not vma.prot & Prot.WRITE:
            looked_at |= RW
        if not vma.prot & Prot.EXEC:
            looked_at, right = looked_at | XD, right | XD
    if not vma.flags & VmFlags.UFFD_WP:
        looked_at |= UFFD_WP_BIT
    fine: Mask = np.equal(ptes & np.uint64(looked_at), np.uint64(right))
    if vma.flags & VmFlags.UFFD_WP:
        fine &= ((ptes & np.uint64(UFFD_WP_BIT)) == 0) | ((ptes & _RW) == 0)
    special = (ptes & _SPECIAL) != 0
    if vma.shared and vma.page_cache is not None:
        pages = vma.page_cache.find_each(((vaddrs - vma.start) >> PAGE_SHIFT) + vma.pgoff)
        fine &= (pages == frames) & (kinds == FrameKind.CACHE) & ~special
        return fine
    read_only = (ptes & _RW) == 0
    own = (kinds == FrameKind.ANON) & (mm.frames.mapcounts(frames) == 1)
    others = read_only & ((kinds == FrameKind.ANON) | (kinds == FrameKind.CACHE))
    fine &= np.where(special, read_only & (frames == mm.frames.zero_frame), own | others)
    return fine
