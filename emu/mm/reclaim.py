"""Making frames free when memory is short (mm/vmscan.c): pages of files that can be read again, private pages that were
given up, and then private and shared memory, which goes to swap.

It is done where nobody holds an entry of a table: when a page fault begins, or has failed, and when a program calls the
kernel.  In the middle of an operation only pages that nobody maps go (:meth:`Reclaim.unmapped`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.mm import hugesplit, rss
from emu.mm.lazyfree import shrink_lazyfree
from emu.mm.lru import Lru
from emu.mm.pageflags import PG_DIRTY, PG_LAZYFREE, PG_SWAPCACHE, FrameKind
from emu.mm.rmap import Mapped, PageMap
from emu.mm.shmempages import all_objects
from emu.mm.swapout import to_swap
from mmu.late import np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emu.mm.address_space import AddressSpace
    from emu.mm.context import MmContext
    from emu.mm.freeframes import Frames
    from emu.mm.pagecache import PageCache
    from emu.mm.rmap import Mask

#: How often the lists are gone through before reclaim gives up (DEF_PRIORITY).
_ROUNDS = 4
#: SWAP_CLUSTER_MAX.
_CLUSTER = 32
_PAUSE = 256


class Reclaim:
    """The reclaim of one machine."""

    def __init__(self, context: MmContext) -> None:
        self._context = context
        self._frames = context.frames
        self.lru = Lru(context.frames)
        #: Where it is called from: by whom pages are scanned and taken.
        self._who = "direct"
        self._busy = False
        #: So many times more it is not tried, since the last time hardly anything could go.
        self._pause = 0

    # -- where it begins -------------------------------------------------------------------------------------------

    def balance(self) -> None:
        """As kswapd does: with less than the low watermark free, make free what the high one asks for.  Where nobody
        holds an entry of a table.
        """
        marks = self._context.watermarks
        if self._frames.free >= marks.low or self._busy or not self._context.swap.areas.free:
            return
        if self._pause:
            self._pause -= 1
            return
        self.lru.events["pageoutrun"] += 1
        more = self._frames.total // 32  # at once, since all tables are looked at each time
        if self.shrink(marks.high + more - self._frames.free, "kswapd") < _CLUSTER:
            self._pause = _PAUSE

    def make_room(self, number: int) -> None:
        """So many frames are about to be needed; likewise."""
        missing = number + self._context.watermarks.low - self._frames.free
        if missing > 0 and self._context.swap.areas.free:
            self.shrink(missing, "direct")

    def direct(self, wanted: int) -> int:
        """A frame is missing: make at least some free; returns how many.  Where nobody holds an entry of a table."""
        self.lru.events["allocstall_normal"] += 1
        marks = self._context.watermarks
        return self.shrink(max(wanted, min(marks.high - self._frames.free, 64 * _CLUSTER)), "direct")

    # -- what goes -------------------------------------------------------------------------------------------------

    def shrink(self, wanted: int, who: str, only: Mask | None = None) -> int:
        """Make so many frames free, if possible; returns how many were made.  ``only``: of those with these pages
        (a control group's).
        """
        if self._busy:
            return 0
        self._busy, self._who = True, who
        before = self._frames.free
        try:
            self._shrink(wanted, only)
        finally:
            self._busy = False
        return self._frames.free - before

    def _shrink(self, wanted: int, only: Mask | None) -> None:
        target = self._frames.free + wanted
        self._drop_arrived(wanted, only)
        swap = self._context.swap.areas
        if only is None:
            if (self._frames.flags[: self._frames.high_water] & PG_LAZYFREE).any():
                shrink_lazyfree(self._context, target - self._frames.free)
            if swap.free:
                self._shrink_unused_files(target - self._frames.free)
        rounds = 0
        while self._frames.free < target and swap.free and rounds < _ROUNDS:
            if not self._shrink_anon(target - self._frames.free, only, last=rounds == _ROUNDS - 1):
                rounds += 1
            self._drop_arrived(target - self._frames.free, only)
        if only is None:
            self._shrink_files(target - self._frames.free)

    def _count(self, what: str, scanned: int, stolen: int) -> None:
        events = self.lru.events
        events[f"pgscan_{self._who}"] += scanned
        events[f"pgsteal_{self._who}"] += stolen
        events[f"pgsteal_{what}"] += stolen

    def _shrink_files(self, wanted: int, among: Mask | None = None) -> int:
        reclaimer = self._frames.reclaimer
        if wanted <= 0 or reclaimer is None:
            return 0
        dropped = reclaimer.mapped(wanted, among)
        self.lru.events["pgscan_file"] += dropped
        self._count("file", dropped, dropped)
        return dropped

    def _shrink_unused_files(self, wanted: int) -> None:
        """Take from pages of files, but not from those that have been used lately, what is their part: by how many are
        there of them and of others, and by vm.swappiness (get_scan_count).
        """
        reclaimer, used, swappiness = self._frames.reclaimer, self._frames.used, self._context.swap.swappiness
        clean = 0 if reclaimer is None else reclaimer.clean_pages
        if not clean or wanted <= 0 or reclaimer is None:
            return
        files = clean * (200 - swappiness)
        others = (used[FrameKind.ANON] + used[FrameKind.CACHE] - clean) * swappiness
        share = -(-wanted * files // max(files + others, 1))
        pages = PageMap(self._context, self._spaces())
        if self._shrink_files(share, ~pages.young) < share:
            frames = np.fromiter(reclaimer.clean_frames(), dtype=np.int64)
            young = frames[pages.young[frames]]
            self.lru.events["pgscan_file"] += len(young)
            pages.make_old(young)

    def _drop_arrived(self, wanted: int, only: Mask | None = None) -> int:
        """Free pages of the swap cache that nobody maps, and that are as their slots have them."""
        swap = self._context.swap
        if not swap.cached or wanted <= 0:
            return 0
        frames, used = self._frames, self._frames.high_water
        flags = frames.flags[:used]
        idle = (flags & (PG_SWAPCACHE | PG_DIRTY) == PG_SWAPCACHE) & (frames.counts[:used] == 1)
        if not idle.any():
            return 0
        arrived = np.zeros(frames.total, dtype=np.bool_)
        arrived[:used] = idle if only is None else idle & only[:used]
        found = frames.order.oldest_first(arrived)[:wanted]
        if len(found):
            swap.forget(np.sort(found))
            self._count("anon", len(found), len(found))
            self.lru.events["pgscan_anon"] += len(found)
        return len(found)

    def _spaces(self) -> list[AddressSpace]:
        return list(self._context.address_spaces.values())

    def _shrink_anon(self, wanted: int, only: Mask | None, *, last: bool) -> int:
        """Send pages to swap; returns how many went.  In the ``last`` round nothing is spared for having been used."""
        self._split_huge_pages(spares=not last)
        pages = PageMap(self._context, self._spaces())
        owners = shmem_owners(self._context)
        may_go = self._may_go(pages, owners, only)
        if last:
            pages.young[:] = False
        scanned = self.lru.events["pgscan_anon"]
        chosen = self.lru.scan(pages, may_go, wanted)
        gone = self._send_out(pages, owners, chosen)
        self._count("anon", self.lru.events["pgscan_anon"] - scanned, gone)
        return gone

    def _split_huge_pages(self, *, spares: bool) -> None:
        for mm in self._spaces():
            if mm.tables.transparent:
                for vma in mm.vmas:
                    hugesplit.split_to_swap(mm, vma.start, vma.end, spares=spares)

    def _may_go(self, pages: PageMap, owners: PageOwners, only: Mask | None) -> Mask:
        """Which frames have pages that could go to swap, and have no user that is not known."""
        frames = self._frames
        kinds, flags = frames.kinds, frames.flags
        shmem = owners.number >= 0
        held = pages.counts + shmem + (flags & PG_SWAPCACHE != 0)
        may_go: Mask = ((kinds == FrameKind.ANON) & (pages.counts > 0) & (flags & PG_LAZYFREE == 0)) | (
            shmem & (kinds == FrameKind.CACHE)
        )
        may_go &= (frames.counts == held) & ~pages.locked
        if self._context.swap.charges is not None:
            may_go &= self._context.swap.charges.may_go()
        return may_go if only is None else may_go & only

    def _send_out(self, pages: PageMap, owners: PageOwners, chosen: Frames) -> int:
        shmem = chosen[owners.number[chosen] >= 0]
        anon = chosen[owners.number[chosen] < 0]
        gone = 0
        if len(anon):
            which = np.zeros(self._frames.total, dtype=np.bool_)
            which[anon] = True
            gone += len(to_swap(self._context, anon, pages.of(which)))
        if len(shmem):
            gone += self._send_out_shmem(pages, owners, shmem)
        return gone

    def _send_out_shmem(self, pages: PageMap, owners: PageOwners, frames: Frames) -> int:
        which = np.zeros(self._frames.total, dtype=np.bool_)
        which[frames] = True
        for part in pages.of(which):
            unmap(part)
        return owners.reclaim(frames)

    # -- in the middle of an operation -----------------------------------------------------------------------------

    def unmapped(self, wanted: int) -> int:
        """Make frames free whose pages nobody maps: of the swap cache, and of shared memory."""
        if self._busy or not self._context.swap.areas.active:
            return 0
        self._busy, self._who = True, "direct"
        try:
            before = self._frames.free
            found = self._drop_arrived(max(wanted, _CLUSTER))
            if found < wanted and self._context.swap.areas.free:
                owners = shmem_owners(self._context)
                alone = (owners.number >= 0) & (self._frames.counts == 1)
                owners.reclaim(self._frames.order.oldest_first(alone)[: max(wanted - found, _CLUSTER)])
                self._drop_arrived(max(wanted - found, _CLUSTER))
            return self._frames.free - before
        finally:
            self._busy = False


class PageOwners:
    """Which page of which object each frame has."""

    def __init__(self, total: int, caches: Sequence[PageCache]) -> None:
        #: By frame: the number of the object, -1 for none, and the page in it.
        self.number = np.full(total, -1, dtype=np.int32)
        self._index = np.zeros(total, dtype=np.int64)
        self._caches = caches
        for number, cache in enumerate(caches):
            for indexes, frames in cache.pages_in_batches():
                self.number[frames] = number
                self._index[frames] = indexes

    def reclaim(self, frames: Frames) -> int:
        """Pages that nobody maps go; returns how many did."""
        gone = 0
        numbers = self.number[frames]
        for number, cache in enumerate(self._caches):
            mine = frames[numbers == number]
            if len(mine):
                gone += cache.reclaim_many(self._index[mine].tolist())
        return gone

    def move(self, frames: Frames, target: Frames) -> None:
        """Pages have come to other frames."""
        numbers = self.number[frames]
        for number, cache in enumerate(self._caches):
            mine = numbers == number
            if mine.any():
                cache.moved(self._index[frames[mine]].tolist(), target[mine].tolist())


def shmem_owners(context: MmContext) -> PageOwners:
    """Those of shared memory that may go to swap."""
    return PageOwners(context.frames.total, [cache for cache in all_objects(context.frames) if not cache.stays])


def unmap(part: Mapped) -> None:
    """Take entries of shared pages out."""
    mm = part.mm
    words = mm.tables.words
    gone = words[part.slots]
    words[part.slots] = 0
    mm.obligation(part.start, part.end, "reclaim").flush()
    mm.note_peak()
    rss.note_dirty(mm, gone)
    rss.put_pages(mm, gone)
