"""The audit: recount every reference from the tables up, and say where the books are wrong.

Nothing here trusts a counter: it walks every table of every address space and of every page cache, and compares.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from emu.mm.frames import FrameKind
from emu.mm.pagetable import ADDRESS, RW, SPECIAL, US, XD, P, level_name, span
from emu.mm.vma import Prot, Vma
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.mm.address_space import AddressSpace
    from emu.mm.pagecache import PageCache

_MAX_FINDINGS = 100
_ADDRESS = np.uint64(ADDRESS)


@dataclass
class _Books:
    """What the walk has counted."""

    #: Mapping entries by the frame they map.
    mapped: Counter[int] = field(default_factory=Counter)
    #: The address space that owns each table, by frame.
    tables: dict[int, AddressSpace] = field(default_factory=dict)
    #: Entries of other address spaces that point at a table.
    links: Counter[int] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def say(self, finding: str) -> None:
        if len(self.findings) < _MAX_FINDINGS:
            self.findings.append(finding)


def audit(kernel: Kernel) -> list[str]:
    """Every inconsistency found, a sentence each; an empty list means that the books are right."""
    books = _Books()
    # host mms first, so that an entry of a process that points at a shared table never makes the process its owner
    spaces = sorted(kernel.mm_context.address_spaces.values(), key=lambda mm: not mm.shared_tables)
    for mm in spaces:  # owned tables first, so that a link can be told from a table that is owned twice
        _claim_tables(books, mm)
    for mm in spaces:
        _walk_leaves(books, mm)
    caches = _page_caches(books, kernel, spaces)
    _check_tables(books, kernel)
    _check_frames(books, kernel, caches)
    if kernel.flusher.pending:
        books.say(f"{kernel.flusher.pending} changes of page tables were neither flushed nor said to need none")
    return books.findings


def _windows(mm: AddressSpace) -> list[Vma]:
    return [vma for vma in mm.vmas if vma.ops is not None and vma.ops.owns_tables]


def _linked(windows: Iterable[Vma], level: int, low: int) -> bool:
    """Whether the entry of this level for ``low`` lies within a window and links somebody else's table."""
    return any(vma.ops is not None and vma.ops.link_level == level and vma.start <= low < vma.end for vma in windows)


def _claim_tables(books: _Books, mm: AddressSpace) -> None:
    """Visit every table that belongs to this address space, and count the entries that are links."""
    tables = mm.tables
    windows = _windows(mm)
    found = {level: int(level == tables.levels) for level in tables.tables}
    books.tables[tables.pgd_frame] = mm
    todo = [(tables.levels, tables.pgd_frame, 0)]
    while todo:
        level, frame, base = todo.pop()
        if level == 1:
            continue
        for index, entry in _present(mm, frame):
            low = base + index * span(level)
            child = (entry & ADDRESS) >> PAGE_SHIFT
            where = f"{mm.name} ({level_name(level, tables.levels)} entry for {low:#x})"
            if child >= mm.frames.total:
                books.say(f"{where} points at {child << PAGE_SHIFT:#x}, outside memory")
            elif _linked(windows, level, low):
                books.links[child] += 1
            elif child in books.tables:
                books.say(
                    f"{where} points at table {child << PAGE_SHIFT:#x}, which {books.tables[child].name} owns already"
                )
            else:
                books.tables[child] = mm
                found[level - 1] += 1
                todo.append((level - 1, child, low))
    for vma in windows:
        for finding in vma.ops.check(mm, vma) if vma.ops is not None else ():
            books.say(finding)
    for level, number in found.items():
        if number != tables.tables[level]:
            name = level_name(level, tables.levels)
            books.say(f"{mm.name} accounts for {tables.tables[level]} {name} tables and has {number}")


def _present(mm: AddressSpace, frame: int) -> list[tuple[int, int]]:
    words = mm.tables.words[frame << 9 : (frame << 9) + 512]
    indices = np.flatnonzero(words)
    return [(int(i), int(words[i])) for i in indices]


def _walk_leaves(books: _Books, mm: AddressSpace) -> None:
    """Every mapping entry that this address space owns: counted, and held against the VMA that covers it."""
    anon = cached = 0
    for base, table in _pte_tables(books, mm):
        for index, pte in _present(mm, table):
            vaddr = base + (index << PAGE_SHIFT)
            frame = (pte & ADDRESS) >> PAGE_SHIFT
            vma = mm.vmas.find(vaddr)
            where = f"{mm.name}: the PTE of {vaddr:#x}"
            if frame >= mm.frames.total:
                books.say(f"{where} maps {frame << PAGE_SHIFT:#x}, outside memory")
                continue
            if vma is None:
                books.say(f"{where} is set, but no VMA is there")
            else:
                _check_rights(books, where, vma, pte)
                _check_content(books, where, mm, vma, vaddr, pte, frame)
            if pte & SPECIAL:
                if frame != mm.frames.zero_frame:
                    books.say(f"{where} is special, but does not map the zero page")
                elif pte & RW:
                    books.say(f"{where} maps the zero page writable")
                continue
            books.mapped[frame] += 1
            kind = mm.frames.kind(frame)
            if kind == FrameKind.ANON:
                anon += 1
            elif kind == FrameKind.CACHE:
                cached += 1
            else:
                books.say(f"{where} maps frame {frame:#x}, which is {kind.name}")
    if (anon, cached) != (mm.rss_anon, mm.rss_cache):
        books.say(
            f"{mm.name} accounts for {mm.rss_anon} anonymous and {mm.rss_cache} cached pages, "
            f"and maps {anon} and {cached}"
        )


def _pte_tables(books: _Books, mm: AddressSpace) -> Iterable[tuple[int, int]]:
    """(first address, frame) of each PTE table that the address space owns."""
    todo = [(mm.tables.levels, mm.tables.pgd_frame, 0)]
    while todo:
        level, frame, base = todo.pop()
        if level == 1:
            yield base, frame
            continue
        for index, entry in _present(mm, frame):
            child = (entry & ADDRESS) >> PAGE_SHIFT
            if books.tables.get(child) is mm:
                todo.append((level - 1, child, base + index * span(level)))


def _check_rights(books: _Books, where: str, vma: Vma, pte: int) -> None:
    if not pte & P:
        if vma.prot:
            books.say(f"{where} is not present although its VMA allows {vma.prot!r}")
        return
    if not vma.prot:
        books.say(f"{where} is present although its VMA allows nothing")
    if not pte & US:
        books.say(f"{where} is not for user mode")
    if pte & RW and not vma.prot & Prot.WRITE:
        books.say(f"{where} allows writes, its VMA does not")
    if not pte & XD and not vma.prot & Prot.EXEC:
        books.say(f"{where} allows execution, its VMA does not")


def _check_content(books: _Books, where: str, mm: AddressSpace, vma: Vma, vaddr: int, pte: int, frame: int) -> None:
    if vma.shared and vma.page_cache is not None and vma.page_cache.find(vma.index_of(vaddr)) != frame:
        books.say(f"{where} maps frame {frame:#x}, but the file's page is another")
    if not vma.shared and pte & RW and not pte & SPECIAL:
        if mm.frames.kind(frame) != FrameKind.ANON or mm.frames.count(frame) != 1:
            books.say(f"{where} lets a private mapping write to frame {frame:#x}, which others can see")


def _page_caches(books: _Books, kernel: Kernel, spaces: list[AddressSpace]) -> list[PageCache]:
    """Every page cache, after checking that each knows the VMAs that show it."""
    for mm in spaces:
        for vma in mm.vmas:
            if vma.page_cache is not None and vma.page_cache.mappings.get(vma) is not mm:
                books.say(f"{mm.name} maps an object at {vma.start:#x} that does not know of it")
    return list(kernel.frames.page_caches)


def _check_tables(books: _Books, kernel: Kernel) -> None:
    frames = kernel.frames
    for frame, owner in books.tables.items():
        if frames.kind(frame) != FrameKind.PAGETABLE or frames.count(frame) != 1:
            books.say(
                f"table {frame << PAGE_SHIFT:#x} of {owner.name} is {frames.kind(frame).name} "
                f"with {frames.count(frame)} references"
            )
    counted = dict(kernel.share_counts.items())
    for frame in counted.keys() | books.links.keys():
        links, count = books.links.get(frame, 0), counted.get(frame, 0)
        if links != count:
            books.say(f"table {frame << PAGE_SHIFT:#x} is linked {links} times and its share count is {count}")
        if frame not in books.tables:
            books.say(f"table {frame << PAGE_SHIFT:#x} is linked, but nobody owns it: it is {frames.kind(frame).name}")
    accounted = frames.used[FrameKind.PAGETABLE]
    if accounted != len(books.tables):
        books.say(
            f"{accounted * PAGE_SIZE} bytes of page tables are accounted for, "
            f"and {len(books.tables) * PAGE_SIZE} are reachable"
        )


def _check_frames(books: _Books, kernel: Kernel, caches: list[PageCache]) -> None:
    """The reference count of every frame against the entries and caches that hold it."""
    frames = kernel.frames
    expected = Counter(books.mapped)
    for cache in caches:
        for _, frame in cache.pages():
            expected[frame] += 1
            if frames.kind(frame) != FrameKind.CACHE:
                books.say(f"a page cache holds frame {frame:#x}, which is {frames.kind(frame).name}")
    for frame in books.tables:
        expected[frame] += 1
    counts = frames.counts
    for frame, number in expected.items():
        if int(counts[frame]) != number:
            books.say(
                f"frame {frame:#x} ({frames.kind(frame).name}) has {int(counts[frame])} references, "
                f"and {number} were found"
            )
    for frame in np.flatnonzero(counts).tolist():
        if frame not in expected and frames.kind(frame) != FrameKind.RESERVED:
            books.say(
                f"frame {frame:#x} ({frames.kind(frame).name}) has {int(counts[frame])} references, "
                f"and none was found: leaked"
            )
    used = np.bincount(frames.kinds, minlength=len(FrameKind))
    for kind in FrameKind:
        if kind != FrameKind.FREE and int(used[kind]) != frames.used[kind]:
            books.say(f"{frames.used[kind]} frames are accounted for as {kind.name}, and {int(used[kind])} are")
