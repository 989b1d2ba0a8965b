"""The page cache of a file: its pages by index (the kernel's struct address_space)."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from emu.linux.errors import LinuxError, NoPage
from emu.mm.flags import VmFlags
from emu.mm.frames import FrameAllocator
from emu.mm.freeframes import Frames
from emu.mm.kmem import SLAB_RECLAIMABLE, XA_NODE
from emu.mm.pageflags import PG_DIRTY, PG_LARGE, PG_REFERENCED, PG_UNREAD, FrameKind
from emu.mm.rss import pages_of
from mmu.late import np
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma

#: Called with the change in pages before pages are added, and after they went; may raise LinuxError(ENOSPC).
Charge = Callable[[int], None]

#: Pages of a node: as many as one PTE table maps.
_NODE_SHIFT = 9
_NODE = 1 << _NODE_SHIFT
_EMPTY_NODE = bytes(4 * _NODE)
#: Up to this many frames are dropped one by one, which is quicker than an array.
_FEW = 32
#: Nodes whose frames are handled together.
_BATCH = 512


def _parts(first: int, last: int) -> Iterator[tuple[int, slice, slice]]:
    """For each node that [first, last) touches: its number, the part of it, and the part of the range."""
    at = first
    while at < last:
        stop = min((at | _NODE - 1) + 1, last)
        start = at & _NODE - 1
        yield at >> _NODE_SHIFT, slice(start, start + stop - at), slice(at - first, stop - first)
        at = stop


def _view(node: array[int]) -> npt.NDArray[np.int32]:
    return np.frombuffer(node, dtype=np.int32)


class HugePolicy(Protocol):
    """Who decides whether pages of an object are made as huge ones: its file system."""

    @property
    def may_be_made_huge(self) -> bool:
        """Whether any page may be."""

    def allows_huge(self, cache: PageCache, index: int, write_end: int, flags: VmFlags | None) -> bool:
        """Whether the page of an index may be: for a write that ends at a byte, or a fault in a VMA with these flags
        (shmem_allowable_huge_orders).
        """


class PageCache:
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
        self.kmem = frames.kmem.account(SLAB_RECLAIMABLE)
        #: Frames in nodes of 512 pages, by index / 512; 0: there is no page.  4 bytes a page: a sparse object may have
        #: 300 GiB.
        self._nodes: dict[int, array[int]] = {}
        #: How many pages exist.
        self.nr_pages = 0
        self._charge = charge
        self.size = size
        self.mappings: dict[Vma, AddressSpace] = {}
        #: Who says where pages may be huge; and whether one may be, now or once.
        self.huge_policy: HugePolicy | None = None
        self.may_have_huge = False
        frames.page_caches.add(self)

    def pages(self) -> Iterator[tuple[int, int]]:
        """(index, frame) of every page."""
        for number, node in self._nodes.items():
            for at in np.flatnonzero(_view(node)).tolist():
                yield (number << _NODE_SHIFT) + at, node[at]

    def frames_in_batches(self) -> Iterator[Frames]:
        """The frames of all pages, some hundred thousand at a time."""
        nodes = list(self._nodes.values())
        for at in range(0, len(nodes), _BATCH):
            batch = np.frombuffer(b"".join(nodes[at : at + _BATCH]), dtype=np.int32)
            yield batch[batch != 0].astype(np.int64)

    def pages_in_batches(self) -> Iterator[tuple[Frames, Frames]]:
        """The numbers of all pages, and their frames, a node at a time."""
        for number, node in self._nodes.items():
            view = _view(node)
            at = np.flatnonzero(view)
            yield at + (number << _NODE_SHIFT), view[at].astype(np.int64)

    def find(self, index: int) -> int | None:
        """The frame of a page, if it exists."""
        node = self._nodes.get(index >> _NODE_SHIFT)
        return None if node is None else node[index & _NODE - 1] or None

    def near(self, first: int, number: int) -> Sequence[int]:
        """The frames of a few consecutive pages; 0 where there is none."""
        node, at = self._nodes.get(first >> _NODE_SHIFT), first & _NODE - 1
        if at + number > _NODE:
            return [self.find(index) or 0 for index in range(first, first + number)]
        return bytes(number) if node is None else node[at : at + number]

    def find_many(self, first: int, number: int) -> Frames:
        """The frames of consecutive pages; 0 where there is none."""
        found = np.zeros(number, dtype=np.int64)
        for node_number, part, where in _parts(first, first + number):
            node = self._nodes.get(node_number)
            if node is not None:
                found[where] = _view(node)[part]
        return found

    def find_each(self, indexes: Frames) -> Frames:
        """The frames of the pages with these ascending numbers; 0 where there is none."""
        found = np.zeros(len(indexes), dtype=np.int64)
        numbers, within = indexes >> _NODE_SHIFT, indexes & _NODE - 1
        starts = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
        for start, stop in pairwise((*starts, len(indexes))):
            node = self._nodes.get(int(numbers[start]))
            if node is not None:
                found[start:stop] = _view(node)[within[start:stop]]
        return found

    def locked_frames(self) -> set[int]:
        """Those that a locked mapping maps (PG_mlocked)."""
        found: set[int] = set()
        for vma, mm in self.mappings.items():
            if vma.flags & VmFlags.LOCKED:
                for _, slot, number in mm.tables.pte_tables(vma.start, vma.end):
                    found.update(pages_of(mm.tables.words[slot : slot + number]).tolist())
        return found

    def next_page(self, index: int) -> int | None:
        """The index of the first page that exists, from ``index`` on."""
        for number in sorted(n for n in self._nodes if n >= index >> _NODE_SHIFT):
            there = np.flatnonzero(_view(self._nodes[number])) + (number << _NODE_SHIFT)
            there = there[there >= index]
            if len(there):
                return int(there[0])
        return None

    def get_page(self, index: int) -> int:
        """The frame of a page, made if it does not exist.  LinuxError(ENOMEM or ENOSPC)."""
        node = self._nodes.get(index >> _NODE_SHIFT)
        frame = node[index & _NODE - 1] if node is not None else 0
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
                node = self._make_node(index >> _NODE_SHIFT)
            node[index & _NODE - 1] = frame
            self.nr_pages += 1
        return frame

    def make_huge(self, index: int, write_end: int, flags: VmFlags | None = None) -> bool:
        """Make all pages around an index as one huge page, if none exists and that may be; else False."""
        number, frames = index >> _NODE_SHIFT, self._frames
        if (
            number in self._nodes
            or self.huge_policy is None
            or not self.huge_policy.allows_huge(self, index, write_end, flags)
        ):
            return False
        charged = False
        try:
            if self._charge is not None:
                self._charge(_NODE)
                charged = True
            self.kmem.reserve(XA_NODE)
            head = frames.alloc_block(FrameKind.CACHE)
        except LinuxError:
            if charged and self._charge is not None:
                self._charge(-_NODE)
            return False
        self.put_huge_in(number, head)
        return True

    def settings_changed(self) -> None:
        """Pages may be made huge from now on, if who decides says so."""
        if self.huge_policy is not None and self.huge_policy.may_be_made_huge:
            self.may_have_huge = True

    def put_huge_in(self, number: int, head: int) -> None:
        """Enter a huge page in the place of a node's pages, which have been taken out."""
        _view(self._make_node(number))[:] = np.arange(head, head + _NODE)
        self._frames.flags[head : head + _NODE] = PG_LARGE
        self.nr_pages += _NODE
        self.may_have_huge = True

    def replace_by_huge(self, first: int, head: int) -> bool:
        """Enter a huge page in the place of the pages from an index on, which nothing maps; False if they may not be
        more.
        """
        frames = self.find_many(first, _NODE)
        old = frames[frames != 0]
        try:
            if self._charge is not None:
                self._charge(_NODE - len(old))
        except LinuxError:
            return False
        self.nr_pages -= len(old)
        self.put_huge_in(first >> _NODE_SHIFT, head)
        self._frames.flags[head : head + _NODE] |= PG_DIRTY
        self._frames.put_many(old)
        return True

    def huge_head(self, index: int) -> int | None:
        """The first frame of the huge page that has the page of an index; None if it is a small one."""
        node = self._nodes.get(index >> _NODE_SHIFT)
        head = 0 if node is None else node[0]
        return head if head and self._frames.has_flag(head, PG_LARGE) else None

    def split_huge(self, index: int) -> None:
        """A huge page that lies on both sides of an index becomes small ones, which nothing maps (unmap_folio)."""
        head = self.huge_head(index) if index % _NODE else None
        if head is not None:
            self.unmap(index & -_NODE, (index & -_NODE) + _NODE, even_cows=False)
            self._frames.flags[head : head + _NODE] &= ~PG_LARGE & 0xFF

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

    def _put_in(self, index: int, frame: int) -> None:
        """Enter a page that does not exist."""
        self._make_node(index >> _NODE_SHIFT)[index & _NODE - 1] = frame
        self.nr_pages += 1

    def _take_out(self, index: int) -> int:
        """Forget a page that exists, and return its frame, whose reference is the caller's."""
        node = self._nodes[index >> _NODE_SHIFT]
        frame, node[index & _NODE - 1] = node[index & _NODE - 1], 0
        if not any(node):
            self._forget_node(index >> _NODE_SHIFT)
        self.nr_pages -= 1
        return frame

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

    def moved(self, indexes: Sequence[int], frames: Sequence[int]) -> None:
        """Pages are in other frames now (folio_migrate_mapping)."""
        for index, frame in zip(indexes, frames, strict=True):
            self._nodes[index >> _NODE_SHIFT][index & _NODE - 1] = frame

    def stay(self) -> None:
        """Its pages stay where they are from now on.  LinuxError."""
        self.stays = True

    def _make_node(self, number: int) -> array[int]:
        node = self._nodes.get(number)
        if node is None:
            self.kmem.charge_reserved(XA_NODE)
            node = self._nodes[number] = array("i", _EMPTY_NODE)
        return node

    def _forget_node(self, number: int) -> None:
        del self._nodes[number]
        self.kmem.uncharge(XA_NODE)

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        return len(self._nodes)

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
                self.kmem.reserve(((number >> _NODE_SHIFT) + 2) * XA_NODE)
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
            for node_number, part, where in _parts(first, first + number):
                if fresh[where].any():
                    _view(self._make_node(node_number))[part] = frames[where]
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
            view = _view(self._nodes[number])
            base = number << _NODE_SHIFT
            if first <= base and base + _NODE <= last:
                doomed.append(view[view != 0])
                self._forget_node(number)
            else:
                part = view[max(first - base, 0) : max(last - base, 0)]
                doomed.append(part[part != 0])
                part[:] = 0
                if not view.any():
                    self._forget_node(number)
            if len(doomed) == _BATCH:
                self._put(doomed)
        if doomed:
            self._put(doomed)

    def _take_few(self, first: int, last: int) -> list[int]:
        """Forget those of a few pages that are in [first, last); returns their frames."""
        frames: list[int] = []
        for number in self._nodes_between(first, last):
            node, base = self._nodes[number], number << _NODE_SHIFT
            for at in range(max(first - base, 0), min(last - base, _NODE)):
                if node[at]:
                    frames.append(node[at])
                    node[at] = 0
                    if len(frames) == self.nr_pages:
                        break
            if len(frames) == self.nr_pages or not any(node):
                self._forget_node(number)
        return frames

    def _nodes_between(self, first: int, last: int) -> list[int]:
        low, high = first >> _NODE_SHIFT, (last - 1 >> _NODE_SHIFT) + 1
        if high - low > len(self._nodes):
            return sorted(n for n in self._nodes if low <= n < high)
        return [n for n in range(low, high) if n in self._nodes]

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
