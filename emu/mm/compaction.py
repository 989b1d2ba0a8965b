"""Compaction: pages are moved so that the free frames adjoin (mm/compaction.c, mm/migrate.c).

Private and shared memory and pages of files move whose users are all known: entries of small pages, a page cache and
the swap cache.
So do tables of small pages that one entry points at, since frames are not kept apart by whether they can move
(MIGRATE_MOVABLE).  Other tables, pages that something else holds and huge ones stay.  It is done where nobody holds an
entry of a table, but for entries of the levels above.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from emu.mm.filepages import FilePages
from emu.mm.pageflags import BLOCK_FRAMES, PG_LARGE, PG_SWAPCACHE, FrameKind
from emu.mm.pagetable import ADDRESS, PS, P, span
from emu.mm.reclaim import PageOwners
from emu.mm.rmap import PageMap
from emu.mm.shmempages import all_objects
from mmu.late import np
from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    from collections.abc import Callable

    from emu.mm.address_space import AddressSpace
    from emu.mm.context import MmContext
    from emu.mm.freeframes import Frames
    from emu.mm.rmap import Mask

    #: Which pages go where, of those that can be moved and of the free frames.
    Choice = Callable[[Mask, Mask], tuple[Frames, Frames]]


#: What a table of small pages covers.
_COVERED = span(2)
_NO_ADDRESS = np.uint64(~ADDRESS & (1 << 64) - 1)


class Table(NamedTuple):
    """A table of small pages: whose it is, where what it covers begins, and the slot of the entry that points at it."""

    mm: AddressSpace
    vaddr: int
    slot: int


class Compaction:
    """The compaction of one machine."""

    def __init__(self, context: MmContext) -> None:
        self._context, self._frames = context, context.frames
        self._busy = False

    def direct(self) -> bool:
        """A block of 512 frames is missing: make one free; False if that cannot be (try_to_compact_pages)."""
        if self._busy:
            return False
        events = self._frames.events
        events["compact_stall"] += 1
        made = self._compact(_one_block)
        events["compact_success" if made else "compact_fail"] += 1
        return made

    def whole(self) -> None:
        """Move what can be moved to the upper end of memory (compact_node)."""
        if not self._busy:
            self._compact(_whole)

    def _compact(self, choose: Choice) -> bool:
        self._busy = True
        try:
            frames = self._frames
            free = frames.single_frames()
            pages = PageMap(self._context, list(self._context.address_spaces.values()))
            owners, tables = self._owners(), self._tables()
            movable = self._movable(pages, owners)
            movable[list(tables)] = True
            source, target = choose(movable, free)
            frames.events["compact_migrate_scanned"] += int(source[-1]) + 1 if len(source) else frames.total
            frames.events["compact_free_scanned"] += frames.total - int(target[-1]) if len(target) else frames.total
            if len(source):
                frames.events["compact_isolated"] += 2 * len(source)
                frames.events["pgmigrate_success"] += len(source)
                self._move(pages, owners, tables, source, target)
            return len(source) > 0
        finally:
            self._busy = False

    def _owners(self) -> PageOwners:
        frames = self._frames
        files = [cache for cache in frames.page_caches if isinstance(cache, FilePages) and cache.may_drop(alone=True)]
        objects = [cache for cache in all_objects(frames) if not cache.stays]
        return PageOwners(frames.total, [*objects, *(cache for cache in files if not cache.stays)])

    def _movable(self, pages: PageMap, owners: PageOwners) -> Mask:
        """Which frames have pages of which all users are known (isolate_migratepages_block)."""
        frames = self._frames
        cached, in_swap = owners.number >= 0, frames.flags & PG_SWAPCACHE != 0
        held = pages.counts + cached + in_swap
        of_use = (frames.kinds == FrameKind.ANON) | (frames.kinds == FrameKind.CACHE)
        found: Mask = of_use & (held > 0) & (frames.counts == held) & (frames.flags & PG_LARGE == 0)
        found &= ~cached | (frames.kinds == FrameKind.CACHE)
        return found

    def _tables(self) -> dict[int, Table]:
        """The tables of small pages that can be moved, by frame."""
        frames, found = self._frames, dict[int, Table]()
        for mm in self._context.address_spaces.values():
            links, words = mm.tables.links, mm.tables.words
            for vma in mm.vmas:
                if vma.ops.leaf_level > 1 or vma.ops.backing(vma) is not None:
                    continue
                for vaddr, slot, number in mm.tables.leaf_tables(2, vma.start, vma.end):
                    entries = words[slot : slot + number]
                    for at in np.flatnonzero((entries & np.uint64(P | PS)) == P).tolist():
                        table = int(entries[at] & np.uint64(ADDRESS)) >> PAGE_SHIFT
                        if slot + at not in links and not mm.tables.share_counts[table]:
                            found[table] = Table(mm, (vaddr & -_COVERED) + at * _COVERED, slot + at)
        return {table: where for table, where in found.items() if frames.count(table) == 1}

    def _move(
        self, pages: PageMap, owners: PageOwners, tables: dict[int, Table], source: Frames, target: Frames
    ) -> None:  # fmt: skip
        """migrate_pages(): content, counts, flags, the page cache, and every entry."""
        frames = self._frames
        which = np.zeros(frames.total, dtype=np.bool_)
        which[source] = True
        places = np.arange(frames.total, dtype=np.uint64)
        places[source] = target
        in_swap = frames.flags[source] & PG_SWAPCACHE != 0
        frames.move(source, target)
        if in_swap.any():
            self._context.swap.moved(source[in_swap], target[in_swap])
        owners.move(source, target)
        words = frames.ram.words
        for frame, (mm, vaddr, slot) in tables.items():
            if which[frame]:
                words[slot] = words[slot] & _NO_ADDRESS | places[frame] << np.uint64(PAGE_SHIFT)
                mm.obligation(vaddr, vaddr + _COVERED, "migrate").flush()
        for part in pages.of(which):
            slots = places[part.slots >> 9].astype(np.int64) << 9 | part.slots & 511
            words[slots] = words[slots] & _NO_ADDRESS | places[part.frames] << np.uint64(PAGE_SHIFT)
            part.mm.obligation(part.start, part.end, "migrate").flush()


def _one_block(movable: Mask, free: Mask) -> tuple[Frames, Frames]:
    """The pages of one block, the lowest that has nothing else for which there is room above it, or elsewhere; and
    frames for them, from the upper end on.
    """
    whole = len(movable) // BLOCK_FRAMES * BLOCK_FRAMES
    by_block = movable[:whole].reshape(-1, BLOCK_FRAMES)
    needed = by_block.sum(axis=1)
    spare = free[:whole].reshape(-1, BLOCK_FRAMES).sum(axis=1)
    total = int(np.count_nonzero(free))
    above = total - np.cumsum(spare)
    possible = (needed + spare == BLOCK_FRAMES) & (needed <= total - spare)
    candidates = np.flatnonzero(possible & (needed <= above))
    if not len(candidates):
        candidates = np.flatnonzero(possible)
    if not len(candidates):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    block = int(candidates[0])
    source = np.flatnonzero(by_block[block]) + block * BLOCK_FRAMES
    others = np.flatnonzero(free)
    others = others[others // BLOCK_FRAMES != block]
    return source, others[::-1][: len(source)]


def _whole(movable: Mask, free: Mask) -> tuple[Frames, Frames]:
    """The lowest pages, and the highest free frames, until both meet."""
    source, target = np.flatnonzero(movable), np.flatnonzero(free)[::-1]
    number = min(len(source), len(target))
    source, target = source[:number], target[:number]
    apart = source // BLOCK_FRAMES < target // BLOCK_FRAMES
    met = int(np.argmin(apart)) if not apart.all() else number
    return source[:met], target[:met]
