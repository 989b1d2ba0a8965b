"""Pages of files that lie outside of the machine: read when they are needed, and dropped when memory is (mm/filemap.c,
mm/vmscan.c).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Protocol, TypeVar
from weakref import ref

import numpy as np
import numpy.typing as npt

from emu.linux.errors import LinuxError, NoPage
from emu.mm.flags import VmFlags
from emu.mm.frames import FrameAllocator
from emu.mm.freeframes import Frames
from emu.mm.kmem import XA_NODE
from emu.mm.pagecache import Charge, PageCache
from emu.mm.pageflags import PG_ACTIVE, FrameKind
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

#: Pages that are read together around one that is needed: as many as a fault maps (fault-around).
READ_AROUND = 16
#: The most pages that are read at a time.
_MOST = 256
#: Frames that reading leaves free as long as others can be dropped, at most; and how many are dropped at a time.
_KEPT_FREE = 1024
_BATCH = 128


T = TypeVar("T")

#: Which frames are meant.
Among = npt.NDArray[np.bool_]


class PageSource(Protocol):
    """Where the pages come from."""

    def read_pages(self, position: int, buffers: Sequence[memoryview]) -> None:
        """Fill the buffers, which follow each other, with the file's bytes from a position on.  LinuxError (EIO,
        ESTALE) unless every byte is there.
        """


class Reclaim:
    """The files whose clean pages can be dropped, the page first that has been longest in its list."""

    def __init__(self) -> None:
        #: Each with its inode, which must stay as long as it has pages.
        self._files: dict[FilePages, object] = {}

    def read(self, file: FilePages, inode: object) -> None:
        """Pages of this file have been read."""
        self._files.pop(file, None)
        self._files[file] = inode

    def forget(self, file: FilePages) -> None:
        """It has no clean page any more."""
        self._files.pop(file, None)

    @property
    def clean_pages(self) -> int:
        """How many pages could be read again."""
        return sum(len(file.clean) for file in self._files)

    def clean_frames(self) -> Iterator[int]:
        """The frames of these."""
        for file in self._files:
            for index in file.clean:
                frame = file.find(index)
                assert frame is not None
                yield frame

    def unmapped(self, wanted: int, among: Among | None = None) -> int:
        """Drop at least so many clean pages that nobody maps; returns how many there were.  ``among``: of these frames
        only.
        """
        chosen = list(islice(self._oldest(among, alone=True), max(wanted, _BATCH)))
        for file, index in chosen:
            file.drop(index)
        return len(chosen)

    def mapped(self, wanted: int, among: Among | None = None) -> int:
        """The same with pages that are mapped: they are unmapped first.  For where nobody holds an entry of a table."""
        dropped = self.unmapped(wanted, among)
        if dropped >= wanted:
            return dropped
        by_file: dict[FilePages, list[int]] = {}
        for file, index in islice(self._oldest(among, alone=False), max(wanted - dropped, _BATCH)):
            by_file.setdefault(file, []).append(index)
        for file, indexes in by_file.items():
            for first, last in _runs(sorted(indexes)):
                file.unmap(first, last, even_cows=False)
            dropped += sum(file.drop(index) for index in indexes)
        return dropped

    def _oldest(self, among: Among | None, *, alone: bool) -> Iterator[tuple[FilePages, int]]:
        """Clean pages that can be dropped, those first that have been longest in the list of inactive ones, and behind
        them the active ones; ``alone``: that nobody maps.
        """
        files = [file for file in self._files if file.may_drop(alone)]
        if not files:
            return
        frames = files[0].frames
        frames.order.settle()
        active: list[tuple[int, int, int]] = []
        for page in merge(*(file.clean_by_age(number) for number, file in enumerate(files))):
            _, number, index = page
            frame = files[number].find(index)
            assert frame is not None
            if (among is not None and not among[frame]) or (alone and frames.count(frame) > 1):
                continue
            if frames.has_flag(frame, PG_ACTIVE):
                active.append(page)
            else:
                yield files[number], index
        for _, number, index in sorted(active):
            yield files[number], index


class FilePages(PageCache):
    """A page cache over a source: a page that is not there, and lies within the source's first ``backed`` bytes, is
    read from it.

    Such a page is clean until it is written, and may be dropped; only other pages are charged.
    """

    is_shmem = False

    def __init__(
        self, frames: FrameAllocator, reclaim: Reclaim, source: PageSource, size: int, charge: Charge, inode: object
    ) -> None:
        super().__init__(frames, size, charge)
        self._add = charge
        self._inode = ref(inode)
        self._reclaim = reclaim
        self._source = source
        self._backed = size
        #: The pages that are as the source has them, the first read first.
        self.clean: dict[int, None] = {}
        #: A mapping may write to any page at any time: none counts as clean.
        self._all_dirty = False
        #: While this is not 0, no page is dropped.
        self._held = 0

    @property
    def has_source(self) -> bool:
        """Whether pages may still have to be read."""
        return self._backed > 0

    def renew(self, size: int) -> None:
        """The source has changed: forget what was read.  Only while nothing has been written, and nothing is mapped."""
        self._drop(0, 1 << 52)
        self._backed = self.size = size

    def follow(self, size: int) -> None:
        """The source has this size now; what is in memory of it is as the source has it."""
        self._backed = self.size = size

    # Reading

    def get_page(self, index: int) -> int:
        frame = self.find(index)
        if frame is not None:
            return frame
        if index << PAGE_SHIFT < self._backed:
            first = index & -READ_AROUND
            self._read(first, first + READ_AROUND, index)
            frame = self.find(index)
            assert frame is not None
            return frame
        return super().get_page(index)

    def get_many(self, first: int, number: int) -> tuple[Frames, npt.NDArray[np.bool_]]:
        fresh = self.find_many(first, number) == 0
        self._held += 1
        try:
            self._read_missing(first, first + number)
            frames, _ = super().get_many(first, number)
        finally:
            self._held -= 1
        return frames, fresh

    def read(self, position: int, length: int) -> bytes:
        if not self._backed:
            return super().read(position, length)
        parts, end, ahead = [], position + length, position >> PAGE_SHIFT
        while position < end:
            index, offset = position >> PAGE_SHIFT, position & (PAGE_SIZE - 1)
            if index >= ahead:
                ahead = min(index + _MOST, -(-end // PAGE_SIZE))
                self._insist(self._read_missing, index, ahead)
            step = min(PAGE_SIZE - offset, end - position)
            frame = self.find(index)
            if frame is None and index << PAGE_SHIFT < self._backed:
                frame = self._insist(self.get_page, index)
            parts.append(bytes(step) if frame is None else self._frames.read(frame, offset, step))
            position += step
        return b"".join(parts)

    def peek(self, index: int) -> int | None:
        frame = self.find(index)
        return frame if frame is not None or index << PAGE_SHIFT < self._backed else 0

    def next_page(self, index: int) -> int | None:
        return index if index << PAGE_SHIFT < self._backed else super().next_page(index)

    # Writing

    def write(self, position: int, data: bytes | memoryview) -> int:
        if self.clean or self._backed:
            for index in range(position >> PAGE_SHIFT, -(-(position + len(data)) // PAGE_SIZE)):
                try:
                    self._insist(self.get_page, index)
                    self._soil(index)
                except LinuxError:
                    fits = (index << PAGE_SHIFT) - position
                    if fits <= 0:
                        raise
                    data = data[:fits]
                    break
        return super().write(position, data)

    def _insist(self, call: Callable[..., T], *arguments: int) -> T:
        """Pages are needed, even if another process has to end for them (out_of_memory)."""
        while True:
            try:
                return call(*arguments)
            except NoPage:
                if not self._frames.out_of_memory():
                    raise

    def may_be_written(self) -> None:
        """A shared mapping can write from now on: no page is dropped any more.  LinuxError(ENOSPC)."""
        if not self._all_dirty:
            self._add(len(self.clean))
            self.clean.clear()
            self._reclaim.forget(self)
            self._all_dirty = True

    def detach(self) -> None:
        """Read everything, so that the source is not needed any more (copy-up).  LinuxError(ENOSPC, ENOMEM, EIO)."""
        pages = -(-self._backed // PAGE_SIZE)
        for first in range(0, pages, _MOST):
            for index in range(first, min(first + _MOST, pages)):
                self.get_page(index)
                self._soil(index)
        self._backed = 0

    def stay(self) -> None:
        self.detach()
        super().stay()

    def truncate(self, size: int) -> None:
        self._backed = min(self._backed, size)
        super().truncate(size)

    def punch(self, first: int, last: int, *, even_cows: bool = False) -> None:
        if first << PAGE_SHIFT < self._backed:
            self.detach()  # a hole is not what the source has
        super().punch(first, last, even_cows=even_cows)

    def _soil(self, index: int) -> None:
        """A page is about to be written."""
        if index in self.clean:
            self._add(1)
            del self.clean[index]

    # Dropping

    @property
    def frames(self) -> FrameAllocator:
        """Where its pages are."""
        return self._frames

    def may_drop(self, alone: bool) -> bool:
        """Whether a page may be given up; unless it is ``alone``, after it has been unmapped."""
        return not self._held and (alone or not any(vma.flags & VmFlags.LOCKED for vma in self.mappings))

    def clean_by_age(self, number: int) -> Iterator[tuple[int, int, int]]:
        """The clean pages, the first read first: since when each is in its list, this number, and the page."""
        place = self._frames.order.place
        for index in self.clean:
            yield place(self.find(index) or 0), number, index

    def drop(self, index: int) -> bool:
        """Give up a clean page; False if it is mapped."""
        before = len(self.clean)
        self.reclaim(index)
        return len(self.clean) < before

    def reclaim(self, index: int) -> None:
        frame = self.find(index)
        if index in self.clean and not self._held and frame is not None and self._frames.count(frame) == 1:
            self._drop_page(index)
            if not self.clean:
                self._reclaim.forget(self)

    def _drop(self, first: int, last: int) -> None:
        inside = [index for index in self.clean if first <= index < last]
        for index in inside:
            self._drop_page(index)
        if inside and not self.clean:
            self._reclaim.forget(self)
        super()._drop(first, last)

    def _drop_page(self, index: int) -> None:
        """A clean page goes; it was not charged."""
        frame = self._take_out(index)
        del self.clean[index]
        self._frames.put(frame)

    # Filling

    def _read_missing(self, first: int, last: int) -> None:
        """Read those pages of [first, last) that the source has and that are not there."""
        last = min(last, -(-self._backed // PAGE_SIZE))
        while first < last:
            if self.find(first) is None:
                self._read(first, min(first + _MOST, last), first)
            first += 1

    def _read(self, first: int, last: int, needed: int) -> None:
        """Read the missing pages around ``needed`` within [first, last).  LinuxError(ENOMEM) without a frame for it."""
        last = min(last, -(-self._backed // PAGE_SIZE))
        low, high = needed, needed + 1
        while low > first and self.find(low - 1) is None:
            low -= 1
        while high < last and self.find(high) is None:
            high += 1
        self._make_room(high - low)
        memcg = self._frames.memcg
        crowded = memcg is not None and not memcg.room_for(high - low)
        if crowded or high - low > max(self._frames.free - 1, 1):
            low, high = needed, needed + 1
        self._fill(low, high)

    def _make_room(self, number: int) -> None:
        frames = self._frames
        kept = 0 if frames.balanced else min(_KEPT_FREE, frames.total // 16)
        if frames.free < number + kept:
            self._held += 1
            try:
                self._reclaim.mapped(number + kept - frames.free)
            finally:
                self._held -= 1

    def _fill(self, first: int, last: int) -> None:
        if self._all_dirty:
            self._add(last - first)
        taken: list[int] = []
        try:
            self.kmem.reserve(2 * XA_NODE)
            for _ in range(first, last):
                taken.append(self._frames.alloc(FrameKind.CACHE))
            self._source_bytes(first, taken)
        except LinuxError:
            for frame in taken:
                self._frames.put(frame)
            if self._all_dirty:
                self._add(first - last)
            raise
        for index, frame in enumerate(taken, first):
            self._put_in(index, frame)
        if not self._all_dirty:
            self.clean.update(dict.fromkeys(range(first, last)))
            self._reclaim.read(self, self._inode())

    def _source_bytes(self, first: int, frames: Sequence[int]) -> None:
        position, left = first << PAGE_SHIFT, self._backed - (first << PAGE_SHIFT)
        buffers = []
        for frame in frames:
            start = frame << PAGE_SHIFT
            buffers.append(self._frames.ram.view[start : start + min(left, PAGE_SIZE)])
            left -= PAGE_SIZE
        self._source.read_pages(position, buffers)


def read_exactly(fd: int, position: int, buffers: Sequence[memoryview]) -> bool:
    """Fill buffers from a file of the host; False if it ends before they do.  OSError."""
    wanted = sum(map(len, buffers))
    got = os.preadv(fd, buffers, position)
    if got == wanted or not got:
        return got == wanted
    rest = list(buffers)
    while got >= len(rest[0]):
        got -= len(rest.pop(0))
    done = wanted - sum(map(len, rest)) + got
    rest[0] = rest[0][got:]
    return read_exactly(fd, position + done, rest)


def _runs(indexes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ascending numbers as ranges [first, last)."""
    first = last = -1
    for index in indexes:
        if index != last:
            if last > first:
                yield first, last
            first = index
        last = index + 1
    if last > first:
        yield first, last
