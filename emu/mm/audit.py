"""The audit: recount every reference from the tables up, and say where the books are wrong.

Nothing here trusts a counter: it walks every table of every address space and of every page cache, and compares.
Mapping entries are looked at in great number at once; those that are not as they most often are, one by one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from emu.mm.audit_tlb import check_tlbs
from emu.mm.frames import FrameKind, Frames
from emu.mm.hugefault import PMD, head_of
from emu.mm.hugetlb import HugePageCache, cache_of, number_of, promised_pages
from emu.mm.pagetable import ADDRESS, PS, RW, SPECIAL, US, XD, P, level_name, span
from emu.mm.shmem import SharedAnonymous
from emu.mm.vma import Prot, Vma, VmFlags
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.mm.address_space import AddressSpace
    from emu.mm.pagecache import PageCache

_MAX_FINDINGS = 100
_ADDRESS = np.uint64(ADDRESS)
_SHIFT = np.uint64(PAGE_SHIFT)
_SPECIAL = np.uint64(SPECIAL)
_RW = np.uint64(RW)
#: PTE tables, and frames, that are looked at together.
_TABLES, _FRAMES = 512, 1 << 20

Entries = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]


@dataclass
class _Books:
    """What the walk has counted."""

    #: Mapping entries, page caches and trees of tables that hold each frame: what its reference count must be.
    references: npt.NDArray[np.int32]
    #: No frame from this one on is held.
    limit: int = 0
    #: The address space that owns each table, by frame.
    tables: dict[int, AddressSpace] = field(default_factory=dict)
    #: References to huge pages, by their heads.
    huge: Counter[int] = field(default_factory=Counter)
    #: Entries of other address spaces that point at a table.
    links: Counter[int] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def say(self, finding: str) -> None:
        if len(self.findings) < _MAX_FINDINGS:
            self.findings.append(finding)

    def hold(self, frames: Frames) -> None:
        """Each frame of an array is held once, or as often as it stands there."""
        if len(frames) == 0:
            return
        low, high = int(frames.min()), int(frames.max()) + 1
        self.limit = max(self.limit, high)
        if high - low <= 4 * len(frames):  # neighbours, mostly: to count them is quicker
            self.references[low:high] += np.bincount(frames - low, minlength=high - low).astype(np.int32)
        else:
            np.add.at(self.references, frames, 1)


def audit(kernel: Kernel, tlbs: bool | None = None) -> list[str]:
    """Every inconsistency found, a sentence each; an empty list means that the books are right.

    ``tlbs``: hold what the modelled TLBs hold against the tables too (default: if the detector of stale translations
    is on).
    """
    counts, waiting = kernel.frames.counts, np.array(kernel.flusher.held_frames(), dtype=np.int64)
    np.subtract.at(counts, waiting, 1)  # what is kept for vCPUs that were not told is nobody else's affair
    try:
        books = _keep_books(kernel, waiting)
    finally:
        np.add.at(counts, waiting, 1)
    if kernel.flusher.detector is not None if tlbs is None else tlbs:
        for finding in check_tlbs(kernel):
            books.say(finding)
    return books.findings


def _keep_books(kernel: Kernel, waiting: Frames) -> _Books:
    books = _Books(np.zeros(kernel.frames.total, dtype=np.int32))
    # host mms first, so that an entry of a process that points at a shared table never makes the process its owner
    spaces = sorted(kernel.mm_context.address_spaces.values(), key=lambda mm: not mm.shared_tables)
    for mm in spaces:  # owned tables first, so that a link can be told from a table that is owned twice
        _claim_tables(books, mm)
    for mm in spaces:
        _walk_leaves(books, mm)
    caches = _page_caches(books, kernel, spaces)
    _check_tables(books, kernel, waiting)
    _check_huge_pages(books, kernel, spaces, caches)
    _check_commit(books, kernel, spaces, caches)
    _check_frames(books, kernel, caches)
    for hook in kernel.audit_hooks:
        for finding in hook():
            books.say(finding)
    if kernel.frames.read(kernel.frames.zero_frame, 0, PAGE_SIZE) != bytes(PAGE_SIZE):
        books.say("the zero page, which every untouched page shows, is not zero")
    if kernel.flusher.pending:
        books.say(f"{kernel.flusher.pending} changes of page tables were neither flushed nor said to need none")
    return books


def _windows(mm: AddressSpace) -> list[Vma]:
    return [vma for vma in mm.vmas if vma.ops is not None and vma.ops.owns_tables]


def _linked(windows: Iterable[Vma], level: int, low: int) -> bool:
    """Whether the entry of this level for ``low`` lies within a window and links somebody else's table."""
    return any(vma.ops is not None and vma.ops.link_level == level and vma.start <= low < vma.end for vma in windows)


def _claim_tables(books: _Books, mm: AddressSpace) -> None:
    """Visit every table that belongs to this address space, and count the entries that are links."""
    tables = mm.tables
    windows = _windows(mm)
    huge_before = books.huge.total()
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
            elif level == PMD and entry & PS:
                _check_huge_entry(books, mm, low, entry)
            elif _linked(windows, level, low) or _is_shared_link(mm, level, low):
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
    huge = books.huge.total() - huge_before
    if mm.shared_tables and huge != mm.huge_pages:
        books.say(f"{mm.name} accounts for {mm.huge_pages} huge pages, and maps {huge}")
    for level, number in found.items():
        if number != tables.tables[level]:
            name = level_name(level, tables.levels)
            books.say(f"{mm.name} accounts for {tables.tables[level]} {name} tables and has {number}")


def _is_shared_link(mm: AddressSpace, level: int, low: int) -> bool:
    return any(sharer.is_link(mm, level, low) for sharer in mm.context.table_sharers)


def _check_huge_entry(books: _Books, mm: AddressSpace, vaddr: int, entry: int) -> None:
    """An entry of 2 MiB in a table that the address space owns."""
    vma, head = mm.vmas.find(vaddr), head_of(entry)
    where = f"{mm.name}: the PMD entry of {vaddr:#x}"
    books.huge[head] += 1
    if vma is None or not vma.huge:
        books.say(f"{where} maps a huge page, but no VMA of huge pages is there")
        return
    _check_rights(books, where, vma, entry)
    cache, number = cache_of(vma), number_of(vma, vaddr)
    if vma.shared and cache.heads.get(number) != head:
        books.say(f"{where} maps huge page {head:#x}, but the file's page is another")
    if not vma.shared and entry & RW and cache.pool.counts.get(head) != 1:
        books.say(f"{where} lets a private mapping write to huge page {head:#x}, which others can see")


def _check_huge_pages(books: _Books, kernel: Kernel, spaces: list[AddressSpace], caches: list[PageCache]) -> None:
    for cache in caches:
        if isinstance(cache, HugePageCache):
            books.huge.update(cache.heads.values())
    for finding in kernel.huge_pages.check(books.huge, promised_pages(spaces, caches)):
        books.say(finding)
    for sharer in kernel.mm_context.table_sharers:
        for finding in sharer.check():
            books.say(finding)


def _present(mm: AddressSpace, frame: int) -> list[tuple[int, int]]:
    words = mm.tables.words[frame << 9 : (frame << 9) + 512]
    indices = np.flatnonzero(words)
    return [(int(i), int(words[i])) for i in indices]


def _walk_leaves(books: _Books, mm: AddressSpace) -> None:
    """Every mapping entry that this address space owns: counted, and held against the VMA that covers it."""
    anon = cached = 0
    for vaddrs, ptes in _leaves(books, mm):
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
    if (anon, cached) != (mm.rss_anon, mm.rss_cache):
        books.say(
            f"{mm.name} accounts for {mm.rss_anon} anonymous and {mm.rss_cache} cached pages, "
            f"and maps {anon} and {cached}"
        )


def _leaves(books: _Books, mm: AddressSpace) -> Iterator[tuple[Frames, Entries]]:
    """The addresses and entries that are set in the PTE tables of the address space, ascending, some tables at once."""
    tables = sorted(_pte_tables(books, mm))
    by_table = mm.tables.words.reshape(-1, 512)
    for at in range(0, len(tables), _TABLES):
        bases, frames = (np.array(column, dtype=np.int64) for column in zip(*tables[at : at + _TABLES], strict=True))
        ptes = by_table[frames].ravel()
        vaddrs = (bases[:, None] + (np.arange(512, dtype=np.int64) << PAGE_SHIFT)[None, :]).ravel()
        present = ptes != 0
        yield (vaddrs, ptes) if present.all() else (vaddrs[present], ptes[present])


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
            if books.tables.get(child) is mm and not (level == PMD and entry & PS):
                todo.append((level - 1, child, base + index * span(level)))


def _hold_against_vmas(
    books: _Books, mm: AddressSpace, vaddrs: Frames, ptes: Entries, frames: Frames, kinds: npt.NDArray[np.uint8]
) -> None:
    """Say what is wrong with entries at ascending addresses."""
    if len(vaddrs) == 0:
        return
    strange = np.ones(len(ptes), dtype=bool)
    for vma in mm.vmas.overlapping(int(vaddrs[0]), int(vaddrs[-1]) + PAGE_SIZE):
        low, high = np.searchsorted(vaddrs, (vma.start, vma.end)).tolist()
        part = slice(low, high)
        if low < high:
            strange[part] = ~_ordinary(mm, vma, vaddrs[part], ptes[part], frames[part], kinds[part])
    for at in np.flatnonzero(strange).tolist():
        _check_entry(books, mm, int(vaddrs[at]), int(ptes[at]), int(frames[at]))


def _ordinary(
    mm: AddressSpace, vma: Vma, vaddrs: Frames, ptes: Entries, frames: Frames, kinds: npt.NDArray[np.uint8]
) -> Mask:
    """Which entries of a VMA have nothing that would have to be looked at."""
    looked_at, right = P, 0
    if vma.prot:
        looked_at, right = P | US, P | US
        if not vma.prot & Prot.WRITE:
            looked_at |= RW
        if not vma.prot & Prot.EXEC:
            looked_at, right = looked_at | XD, right | XD
    fine: Mask = np.equal(ptes & np.uint64(looked_at), np.uint64(right))
    special = (ptes & _SPECIAL) != 0
    if vma.shared and vma.page_cache is not None:
        pages = vma.page_cache.find_each(((vaddrs - vma.start) >> PAGE_SHIFT) + vma.pgoff)
        fine &= (pages == frames) & (kinds == FrameKind.CACHE) & ~special
        return fine
    read_only = (ptes & _RW) == 0
    own = (kinds == FrameKind.ANON) & (mm.frames.counts[frames] == 1)
    others = read_only & ((kinds == FrameKind.ANON) | (kinds == FrameKind.CACHE))
    fine &= np.where(special, read_only & (frames == mm.frames.zero_frame), own | others)
    return fine


def _check_entry(books: _Books, mm: AddressSpace, vaddr: int, pte: int, frame: int) -> None:
    """Everything that can be wrong with one entry."""
    vma = mm.vmas.find(vaddr)
    where = f"{mm.name}: the PTE of {vaddr:#x}"
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
    elif mm.frames.kind(frame) not in (FrameKind.ANON, FrameKind.CACHE):
        books.say(f"{where} maps frame {frame:#x}, which is {mm.frames.kind(frame).name}")


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


def _check_commit(books: _Books, kernel: Kernel, spaces: list[AddressSpace], caches: list[PageCache]) -> None:
    """Committed_AS against what VMAs and shared objects promise."""
    promised = sum(vma.length for mm in spaces for vma in mm.vmas if vma.flags & VmFlags.ACCOUNT) >> PAGE_SHIFT
    promised += sum(cache.promised_pages for cache in caches if isinstance(cache, SharedAnonymous))
    if promised != kernel.mm_context.commit.pages:
        books.say(f"{kernel.mm_context.commit.pages} pages are accounted for as promised, and {promised} are")


def _check_tables(books: _Books, kernel: Kernel, waiting: Frames) -> None:
    frames = kernel.frames
    owned = np.fromiter(books.tables, dtype=np.int64, count=len(books.tables))
    for frame in owned[(frames.kinds[owned] != FrameKind.PAGETABLE) | (frames.counts[owned] != 1)].tolist():
        books.say(
            f"table {frame << PAGE_SHIFT:#x} of {books.tables[frame].name} is {frames.kind(frame).name} "
            f"with {frames.count(frame)} references"
        )
    books.hold(owned)
    counted = dict(kernel.share_counts.items())
    for frame in counted.keys() | books.links.keys():
        links, count = books.links.get(frame, 0), counted.get(frame, 0)
        if links != count:
            books.say(f"table {frame << PAGE_SHIFT:#x} is linked {links} times and its share count is {count}")
        if frame not in books.tables:
            books.say(f"table {frame << PAGE_SHIFT:#x} is linked, but nobody owns it: it is {frames.kind(frame).name}")
    freed = {f for f in waiting.tolist() if frames.kind(f) == FrameKind.PAGETABLE and not frames.count(f)}
    accounted = frames.used[FrameKind.PAGETABLE] - len(freed)
    if accounted != len(books.tables):
        books.say(
            f"{accounted * PAGE_SIZE} bytes of page tables are accounted for, "
            f"and {len(books.tables) * PAGE_SIZE} are reachable"
        )


def _check_frames(books: _Books, kernel: Kernel, caches: list[PageCache]) -> None:
    """The reference count of every frame against the entries and caches that hold it."""
    frames = kernel.frames
    for cache in caches:
        for held in cache.frames_in_batches():
            for frame in held[frames.kinds[held] != FrameKind.CACHE].tolist():
                books.say(f"a page cache holds frame {frame:#x}, which is {frames.kind(frame).name}")
            books.hold(held)
    used = np.zeros(len(FrameKind), dtype=np.int64)
    limit = max(books.limit, frames.high_water)
    for start in range(0, limit, _FRAMES):
        part = slice(start, min(start + _FRAMES, limit))
        used += np.bincount(frames.kinds[part], minlength=len(FrameKind))
        wrong = np.flatnonzero(frames.counts[part] != books.references[part]) + start
        for frame in wrong.tolist():
            _say_references(books, kernel, frame)
    for kind in FrameKind:
        if kind != FrameKind.FREE and int(used[kind]) != frames.used[kind]:
            books.say(f"{frames.used[kind]} frames are accounted for as {kind.name}, and {int(used[kind])} are")


def _say_references(books: _Books, kernel: Kernel, frame: int) -> None:
    number, found, kind = kernel.frames.count(frame), int(books.references[frame]), kernel.frames.kind(frame)
    if found:
        books.say(f"frame {frame:#x} ({kind.name}) has {number} references, and {found} were found")
    elif kind != FrameKind.RESERVED:
        books.say(f"frame {frame:#x} ({kind.name}) has {number} references, and none was found: leaked")
