"""The page cache of a file: its pages by index (the kernel's struct address_space)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from emu.linux.errors import LinuxError, NoPage
from emu.mm.flags import VmFlags
from emu.mm.frames import FrameAllocator
from emu.mm.freeframes import Frames
from emu.mm.kmem import SLAB_RECLAIMABLE, XA_NODE
from emu.mm.pageflags import PG_DIRTY, PG_LARGE, PG_REFERENCED, PG_UNREAD, FrameKind
from emu.mm.pagenodes import BATCH, NODE, NODE_SHIFT, PageNodes, node_view, parts
from emu.mm.rss import pages_of
from mmu.late import np
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma

#: Called with the change in pages before pages are added, and after they went; may raise LinuxError(ENOSPC).
Charge = Callable[[int], None]

#: Up to this many frames are dropped one by one, which is quicker than an array.
_FEW = 32


class HugePolicy(Protocol):
    """Who decides whether pages of an object are made as huge ones: its file system."""

    @property
    def may_be_made_huge(self) -> bool:
        """Whether any page may be."""

    def allows_huge(self, cache: PageCache, index: int, write_end: int, flags: VmFlags | None) -> bool:
        """Whether the page of an index may be: for a write that ends at a byte, or a fault in a VMA with these flags
        (shmem_allowable_huge_orders).
        """


class PageCache(PageNodes):
    """Pages of one file or of one shared anonymous object, each a frame with one reference held here.

    A page that does not exist reads as zeros.  ``size`` is the object's size in bytes: a mapping faults with SIGBUS
    beyond the last page that holds a byte of it.  ``mappings`` are the VMAs that map it (i_mmap), so that truncation
    can unmap.
    """

    #: Whether it is memory and nothing else, of tmpfs or without a name (shmem).
    is_shmem = True
    #: Whether only who maps it may see its pages (memfd_secret), which are never swapped.
    secret = False
    #: Its pages stay where they are: something else knows their frames.
    stays = False

    def __init__(self, frames: FrameAllocator, size: int = 0, charge: Charge | None = None) -> None:
        self._frames = frames
        super().__init__(frames.kmem.account(SLAB_RECLAIMABLE))
        self._charge = charge
        self.size = size
        self.mappings: dict[Vma, AddressSpace] = {}
        #: Who says where pages may be huge; and whether one may be, now or once.
        self.huge_policy: HugePolicy | None = None
        self.may_have_huge = False
        frames.page_caches.add(self)

    def locked_frames(self) -> set[int]:
        """Those that a locked mapping maps (PG_mlocked)."""
        found: set[int] = set()
        for vma, mm in self.mappings.items():
            if vma.flags & VmFlags.LOCKED:
                for _, slot, number in mm.tables.pte_tables(vma.start, vma.end):
                    found.update(pages_of(mm.tables.words[slot : slot + number]).tolist())
        return found

    def get_page(self, index: int) -> int:
        """The frame of a page, made if it does not exist.  LinuxError(ENOMEM or ENOSPC)."""
        node = self._nodes.get(index >> NODE_SHIFT)
        frame = node[index & NODE - 1] if node is not None else 0
        if not frame:
            if self._charge is not None:
                self._charge(1)
            try:
                if node is None:
                    self.kmem.reserve(XA_NODE)
                frame = self._frames.alloc(FrameKind.CACHE)
            except LinuxError:
                if self._charge is not None:
                    self._charge(-1)
                raise
            if node is None:
                node = self._make_node(index >> NODE_SHIFT)
            node[index & NODE - 1] = frame
            self.nr_pages += 1
        return frame

    def make_huge(self, index: int, write_end: int, flags: VmFlags | None = None) -> bool:
        """Make all pages around an index as one huge page, if none exists and that may be; else False."""
        number, frames = index >> NODE_SHIFT, self._frames
        if (
            number in self._nodes
            or self.huge_policy is None
            or not self.huge_policy.allows_huge(self, index, write_end, flags)
        ):
            return False
        charged = False
        try:
            if self._charge is not None:
                self._charge(NODE)
                charged = True
            self.kmem.reserve(XA_NODE)
            head = frames.alloc_block(FrameKind.CACHE)
        except LinuxError:
            if charged and self._charge is not None:
                self._charge(-NODE)
            return False
        self.put_huge_in(number, head)
        return True

    def settings_changed(self) -> None:
        """Pages may be made huge from now on, if who decides says so."""
        if self.huge_policy is not None and self.huge_policy.may_be_made_huge:
            self.may_have_huge = True

    def put_huge_in(self, number: int, head: int) -> None:
        """Enter a huge page in the place of a node's pages, which have been taken out."""
        node_view(self._make_node(number))[:] = np.arange(head, head + NODE)
        self._frames.flags[head : head + NODE] = PG_LARGE
        self.nr_pages += NODE
        self.may_have_huge = True

    def replace_by_huge(self, first: int, head: int) -> bool:
        """Enter a huge page in the place of the pages from an index on, which nothing maps; False if they may not be
        more.
        """
        frames = self.find_many(first, NODE)
        old = frames[frames != 0]
        try:
            if self._charge is not None:
                self._charge(NODE - len(old))
        except LinuxError:
            return False
        self.nr_pages -= len(old)
        self.put_huge_in(first >> NODE_SHIFT, head)
        self._frames.flags[head : head + NODE] |= PG_DIRTY
        self._frames.put_many(old)
        return True

    def huge_head(self, index: int) -> int | None:
        """The first frame of the huge page that has the page of an index; None if it is a small one."""
        node = self._nodes.get(index >> NODE_SHIFT)
        head = 0 if node is None else node[0]
        return head if head and self._frames.has_flag(head, PG_LARGE) else None

    def split_huge(self, index: int) -> None:
        """A huge page that lies on both sides of an index becomes small ones, which nothing maps (unmap_folio)."""
        head = self.huge_head(index) if index % NODE else None
        if head is not None:
            self.unmap(index & -NODE, (index & -NODE) + NODE, even_cows=False)
            self._frames.flags[head : head + NODE] &= ~PG_LARGE & 0xFF

    @property
    def total_pages(self) -> int:
        """How many pages there are, wherever they lie."""
        return self.nr_pages

    def holds(self, index: int) -> bool:
        """Whether a page exists, wherever it lies."""
        return self.find(index) is not None

    def swapped_of(self, index: int) -> int:
        """How many of the 512 pages around an index lie in a swap area."""
        return 0

    def bring_all(self, first: int, last: int) -> None:
        """Fetch the pages of [first, last) that lie in swap areas.  LinuxError(ENOMEM)."""

    def must_be_read(self, index: int) -> bool:
        """Whether a page has to be fetched from a swap area first."""
        return False

    def in_memory(self, first: int, number: int) -> npt.NDArray[np.bool_]:
        """Which of these pages are in memory, with content."""
        frames = self.find_many(first, number)
        found: npt.NDArray[np.bool_] = np.logical_and(frames != 0, self._frames.flags[frames] & PG_UNREAD == 0)
        return found

    def peek(self, index: int) -> int | None:
        """The frame that a read would find; 0: a page of zeros; None: only a fault could tell."""
        return self.find(index) or 0

    def reclaim(self, index: int) -> None:
        """Drop a page that nobody maps, if it can be had again: here, if nothing was ever written to it."""
        frame = self.find(index)
        if frame is not None and self._frames.count(frame) == 1 and not self._frames.page_flags(frame) & PG_DIRTY:
            self._frames.put(self._take_out(index))
            if self._charge is not None:
                self._charge(-1)

    def reclaim_many(self, indexes: Sequence[int]) -> int:
        """The same for several; returns how many went."""
        before = self.nr_pages
        for index in indexes:
            self.reclaim(index)
        return before - self.nr_pages

    def stay(self) -> None:
        """Its pages stay where they are from now on.  LinuxError."""
        self.stays = True

    def get_many(self, first: int, number: int) -> tuple[Frames, npt.NDArray[np.bool_]]:
        """The frames of consecutive pages, and which of these pages were made since they did not exist, in order.

        LinuxError(ENOMEM or ENOSPC) changes nothing.
        """
        frames = self.find_many(first, number)
        fresh = frames == 0
        missing = int(np.count_nonzero(fresh))
        if missing:
            if self._charge is not None:
                self._charge(missing)
            try:
                self.kmem.reserve(((number >> NODE_SHIFT) + 2) * XA_NODE)
                memcg = self._frames.memcg
                if memcg is not None and not memcg.room_for(missing):
                    raise NoPage
                if not self._frames.has_room(missing):
                    self._frames.missing = FrameKind.CACHE
                    raise NoPage("no frame is left")
            except LinuxError:
                if self._charge is not None:
                    self._charge(-missing)
                raise
            frames[fresh] = self._frames.alloc_many(FrameKind.CACHE, missing)
            for node_number, part, where in parts(first, first + number):
                if fresh[where].any():
                    node_view(self._make_node(node_number))[part] = frames[where]
            self.nr_pages += missing
        return frames, fresh

    def allocated(self, frames: Frames, fresh: npt.NDArray[np.bool_]) -> None:
        """fallocate(2) has asked for these pages, of which some were made for it (shmem_fallocate)."""
        self._frames.flags[frames[fresh]] |= PG_UNREAD
        self._frames.flags[frames] |= PG_DIRTY

    def read(self, position: int, length: int) -> bytes:
        """Bytes at a position; the caller cuts them at the end of the file."""
        parts = []
        end = position + length
        while position < end:
            offset = position & (PAGE_SIZE - 1)
            step = min(PAGE_SIZE - offset, end - position)
            frame = self.find(position >> PAGE_SHIFT)
            if frame is not None and not offset:
                self._frames.mark_accessed(frame)
            parts.append(bytes(step) if frame is None else self._frames.read(frame, offset, step))
            position += step
        return b"".join(parts)

    def write(self, position: int, data: bytes | memoryview) -> int:
        """Store bytes; returns how many fitted (all, or fewer if memory ran out after the first page).

        LinuxError(ENOMEM or ENOSPC) if not even one byte fitted.  The caller sets the size.
        """
        view, frames = memoryview(data), self._frames
        done = 0
        while done < len(view):
            offset = (position + done) & (PAGE_SIZE - 1)
            step = min(PAGE_SIZE - offset, len(view) - done)
            index, made = (position + done) >> PAGE_SHIFT, self.nr_pages
            try:
                if self.may_have_huge:
                    self.make_huge(index, position + len(view))
                frame = self.get_page(index)
            except NoPage:
                if frames.out_of_memory():
                    continue
                if done:
                    return done
                raise
            except LinuxError:
                if done:
                    return done
                raise
            if self.nr_pages == made:
                frames.mark_accessed(frame)
            else:
                frames.set_page_flags(frame, PG_REFERENCED)
            frames.set_page_flags(frame, PG_DIRTY)
            frames.clear_page_flags(frame, PG_UNREAD)
            self._frames.write(frame, offset, view[done : done + step])
            done += step
        return done

    def truncate(self, size: int) -> None:
        """Set the size; whole pages past the end are dropped everywhere, the tail of the last one is zeroed."""
        if size < self.size:  # first, since it starts again if the run ends meanwhile
            self.punch(-(-size // PAGE_SIZE), -(-self.size // PAGE_SIZE), even_cows=True)
        old, self.size = self.size, size
        if size < old:
            tail = size & (PAGE_SIZE - 1)
            frame = self.find(size >> PAGE_SHIFT) if tail else None
            if frame is not None:
                self._frames.write(frame, tail, bytes(PAGE_SIZE - tail))

    def punch(self, first: int, last: int, *, even_cows: bool = False) -> None:
        """Drop the pages [first, last), unmapping them everywhere; private copies only where ``even_cows`` is set."""
        self.unmap(first, last, even_cows=even_cows)
        if self.may_have_huge:
            self.split_huge(first)
            self.split_huge(last)
        self._drop(first, last)

    def _drop(self, first: int, last: int) -> None:
        """Forget the pages [first, last), and give up their frames."""
        if self.nr_pages:
            self._frames.lru_add_drain()
        if self.nr_pages <= _FEW:
            self._put_few(self._take_few(first, last))
            return
        doomed: list[npt.NDArray[np.int32]] = []
        for number in self._nodes_between(first, last):
            view = node_view(self._nodes[number])
            base = number << NODE_SHIFT
            if first <= base and base + NODE <= last:
                doomed.append(view[view != 0])
                self._forget_node(number)
            else:
                part = view[max(first - base, 0) : max(last - base, 0)]
                doomed.append(part[part != 0])
                part[:] = 0
                if not view.any():
                    self._forget_node(number)
            if len(doomed) == BATCH:
                self._put(doomed)
        if doomed:
            self._put(doomed)

    def _put(self, doomed: list[npt.NDArray[np.int32]]) -> None:
        frames = doomed[0] if len(doomed) == 1 else np.concatenate(doomed)
        doomed.clear()
        if len(frames) <= _FEW:
            self._put_few(frames.tolist())
        else:
            self._frames.put_many(frames.astype(np.int64))
            self._given_up(len(frames))

    def _put_few(self, frames: list[int]) -> None:
        self._frames.put_many(frames)
        self._given_up(len(frames))

    def _given_up(self, number: int) -> None:
        self.nr_pages -= number
        if number and self._charge is not None:
            self._charge(-number)

    def unmap(self, first: int, last: int, *, even_cows: bool) -> None:
        """Take the pages [first, last) out of every mapping (unmap_mapping_pages)."""
        for vma, mm in list(self.mappings.items()):
            low = max(vma.start, vma.start + (first - vma.pgoff) * PAGE_SIZE)
            high = min(vma.end, vma.start + (last - vma.pgoff) * PAGE_SIZE)
            if low < high:
                for piece in mm.pieces(low, high):
                    vma.ops.zap(mm, vma, *piece, even_cows=even_cows)

    def release(self) -> None:
        """The object is gone: drop every page.  No VMA may map it any more."""
        if self.mappings:
            raise AssertionError("PageCache.release: the object is still mapped")
        self.size = 0
        self._drop(0, 1 << 52)  # pages past the size too (fallocate with KEEP_SIZE)

    def check_index(self, index: int) -> bool:
        """Whether a mapping may touch this page (else SIGBUS)."""
        return index < self.end_index

    @property
    def end_index(self) -> int:
        """The index behind the last page that holds a byte of the object."""
        return -(-self.size // PAGE_SIZE)
