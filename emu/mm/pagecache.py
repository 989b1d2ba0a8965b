"""The page cache of a file: its pages by index (the kernel's struct address_space)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from emu.kernel.errors import LinuxError
from emu.mm.frames import FrameAllocator, FrameKind
from emu.mm.zap import zap_range
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma

#: Called with the change in pages before pages are added, and after they went; may raise LinuxError(ENOSPC).
Charge = Callable[[int], None]


class PageCache:
    """Pages of one file or of one shared anonymous object, each a frame with one reference held here.

    A page that does not exist reads as zeros.  ``size`` is the object's size in bytes: a mapping faults with SIGBUS
    beyond the last
    page that holds a byte of it.  ``mappings`` are the VMAs that show it (i_mmap), so that truncation can unmap.
    """

    def __init__(self, frames: FrameAllocator, size: int = 0, charge: Charge | None = None) -> None:
        self._frames = frames
        self._pages: dict[int, int] = {}
        self._charge = charge
        self.size = size
        self.mappings: dict[Vma, AddressSpace] = {}
        frames.page_caches.add(self)

    @property
    def nr_pages(self) -> int:
        """How many pages exist."""
        return len(self._pages)

    def pages(self) -> Iterator[tuple[int, int]]:
        """(index, frame) of every page."""
        return iter(self._pages.items())

    def find(self, index: int) -> int | None:
        """The frame of a page, if it exists."""
        return self._pages.get(index)

    def get_page(self, index: int) -> int:
        """The frame of a page, made if it does not exist.  LinuxError(ENOMEM or ENOSPC)."""
        frame = self._pages.get(index)
        if frame is None:
            if self._charge is not None:
                self._charge(1)
            try:
                frame = self._frames.alloc(FrameKind.CACHE)
            except LinuxError:
                if self._charge is not None:
                    self._charge(-1)
                raise
            self._pages[index] = frame
        return frame

    def read(self, position: int, length: int) -> bytes:
        """Bytes at a position; the caller cuts at the end of the file."""
        parts = []
        end = position + length
        while position < end:
            offset = position & (PAGE_SIZE - 1)
            step = min(PAGE_SIZE - offset, end - position)
            frame = self._pages.get(position >> PAGE_SHIFT)
            parts.append(bytes(step) if frame is None else self._frames.read(frame, offset, step))
            position += step
        return b"".join(parts)

    def write(self, position: int, data: bytes | memoryview) -> int:
        """Store bytes; returns how many fitted (all, or fewer if memory ran out after the first page).

        LinuxError(ENOMEM or ENOSPC) if not even one byte fitted.  The size is the caller's business.
        """
        view = memoryview(data)
        done = 0
        while done < len(view):
            offset = (position + done) & (PAGE_SIZE - 1)
            step = min(PAGE_SIZE - offset, len(view) - done)
            try:
                frame = self.get_page((position + done) >> PAGE_SHIFT)
            except LinuxError:
                if done:
                    return done
                raise
            self._frames.write(frame, offset, view[done : done + step])
            done += step
        return done

    def truncate(self, size: int) -> None:
        """Set the size; whole pages past the end are dropped everywhere, the tail of the last one is zeroed."""
        old, self.size = self.size, size
        if size < old:
            keep = -(-size // PAGE_SIZE)
            self.punch(keep, -(-old // PAGE_SIZE), even_cows=True)
            tail = size & (PAGE_SIZE - 1)
            frame = self._pages.get(size >> PAGE_SHIFT) if tail else None
            if frame is not None:
                self._frames.write(frame, tail, bytes(PAGE_SIZE - tail))

    def punch(self, first: int, last: int, *, even_cows: bool = False) -> None:
        """Drop the pages [first, last), unmapping them everywhere; private copies only where ``even_cows`` is set."""
        for vma, mm in list(self.mappings.items()):
            low = max(vma.start, vma.start + (first - vma.pgoff) * PAGE_SIZE)
            high = min(vma.end, vma.start + (last - vma.pgoff) * PAGE_SIZE)
            if low < high:
                zap_range(mm, vma, low, high, even_cows=even_cows)
        doomed = (
            [i for i in self._pages if first <= i < last] if last - first > len(self._pages) else range(first, last)
        )
        dropped = 0
        for index in doomed:
            frame = self._pages.pop(index, None)
            if frame is not None:
                self._frames.put(frame)
                dropped += 1
        if dropped and self._charge is not None:
            self._charge(-dropped)

    def release(self) -> None:
        """The object is gone: drop every page.  Nothing may map it any more."""
        if self.mappings:
            raise AssertionError("PageCache.release: the object is still mapped")
        self.truncate(0)
        for frame in self._pages.values():  # pages past the size (fallocate with KEEP_SIZE)
            self._frames.put(frame)
        if self._pages and self._charge is not None:
            self._charge(-len(self._pages))
        self._pages.clear()

    def check_index(self, index: int) -> bool:
        """Whether a mapping may touch this page (else SIGBUS)."""
        return index < self.end_index

    @property
    def end_index(self) -> int:
        """The index behind the last page that holds a byte of the object."""
        return -(-self.size // PAGE_SIZE)
