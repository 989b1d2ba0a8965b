"""Frames: who owns each 4 KiB of physical memory, and how many references there are to it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING
from weakref import WeakSet

import numpy as np
import numpy.typing as npt

from emu.kernel.errors import LinuxError
from mmu.memory import PAGE_SHIFT, PAGE_SIZE, PhysicalMemory

if TYPE_CHECKING:
    from emu.mm.pagecache import PageCache

_ZERO_PAGE = bytes(PAGE_SIZE)


class FrameKind(IntEnum):
    """What a frame is used for."""

    FREE = 0
    RESERVED = 1  # frame 0, the zero page, the kernel's own
    PAGETABLE = 2
    ANON = 3  # private anonymous memory and private copies of file pages
    CACHE = 4  # a page of a file or of shared anonymous memory


class FrameAllocator:
    """Allocates frames, lowest first, and counts references.

    Every mapping entry holds one reference, and so does a page cache.  A frame is free when its count falls to 0.
    """

    def __init__(self, ram: PhysicalMemory, on_write: Callable[[int], None]) -> None:
        """``on_write(frame)`` is told when the contents of a frame are changed by the kernel (code coherence)."""
        self.ram = ram
        self.total = ram.frames
        self._on_write = on_write
        self.counts: npt.NDArray[np.int32] = np.zeros(ram.frames, dtype=np.int32)
        self.kinds: npt.NDArray[np.uint8] = np.zeros(ram.frames, dtype=np.uint8)
        self._count = memoryview(self.counts)  # type: ignore[arg-type]
        self._kind = memoryview(self.kinds)  # type: ignore[arg-type]
        self._freed: list[int] = []
        self._next = 0
        self.used = [0] * len(FrameKind)
        #: Every page cache whose pages come from here: the audit asks them.
        self.page_caches: WeakSet[PageCache] = WeakSet()
        self.alloc(FrameKind.RESERVED)  # frame 0: no table and no page is ever at physical address 0
        #: The page of zeros that reads of untouched private memory see; it is never counted and never written.
        self.zero_frame = self.alloc(FrameKind.RESERVED)

    @property
    def free(self) -> int:
        """How many frames are left."""
        return self.total - self._next + len(self._freed)

    def alloc(self, kind: FrameKind) -> int:
        """A zeroed frame with one reference.  LinuxError(ENOMEM) if none is left."""
        if self._freed:
            frame = self._freed.pop()
            start = frame << PAGE_SHIFT
            self.ram.view[start : start + PAGE_SIZE] = _ZERO_PAGE
            self._on_write(frame)
        elif self._next < self.total:
            frame = self._next
            self._next += 1
        else:
            raise LinuxError(errno.ENOMEM, "no frame is left")
        self._count[frame] = 1
        self._kind[frame] = kind
        self.used[kind] += 1
        return frame

    def kind(self, frame: int) -> FrameKind:
        """What the frame is used for."""
        return FrameKind(self._kind[frame])

    def count(self, frame: int) -> int:
        """How many references there are."""
        return self._count[frame]

    def get(self, frame: int) -> None:
        """Take one more reference."""
        self._count[frame] += 1

    def put(self, frame: int) -> None:
        """Drop a reference; the frame is free after the last."""
        left = self._count[frame] - 1
        if left < 0 or frame == self.zero_frame:
            raise AssertionError(f"FrameAllocator.put: frame {frame:#x} has no reference to drop")
        self._count[frame] = left
        if left == 0:
            self.used[self._kind[frame]] -= 1
            self._kind[frame] = FrameKind.FREE
            self._freed.append(frame)

    def get_many(self, frames: npt.NDArray[np.int64]) -> None:
        """One more reference for each frame of an array (each as often as it stands there)."""
        np.add.at(self.counts, frames, 1)

    def put_many(self, frames: npt.NDArray[np.int64]) -> None:
        """Drop one reference for each frame of an array."""
        np.subtract.at(self.counts, frames, 1)
        dead = np.sort(frames[self.counts[frames] <= 0])
        if len(dead) == 0:
            return
        dead = dead[np.concatenate(([True], dead[1:] != dead[:-1]))]  # np.unique imports numpy.ma, 10 ms of a short run
        if (self.counts[dead] < 0).any():
            raise AssertionError("FrameAllocator.put_many: a frame has no reference to drop")
        for kind, number in enumerate(np.bincount(self.kinds[dead], minlength=len(FrameKind)).tolist()):
            self.used[kind] -= number
        self.kinds[dead] = FrameKind.FREE
        self._freed.extend(dead[::-1].tolist())

    def copy(self, source: int, kind: FrameKind) -> int:
        """A new frame with the contents of ``source``."""
        frame = self.alloc(kind)
        view = self.ram.view
        to, start = frame << PAGE_SHIFT, source << PAGE_SHIFT
        view[to : to + PAGE_SIZE] = view[start : start + PAGE_SIZE]
        return frame

    def read(self, frame: int, offset: int, length: int) -> bytes:
        """Bytes of one frame."""
        start = (frame << PAGE_SHIFT) + offset
        return bytes(self.ram.view[start : start + length])

    def write(self, frame: int, offset: int, data: bytes | memoryview) -> None:
        """Store bytes in one frame; code translated from it is dropped."""
        start = (frame << PAGE_SHIFT) + offset
        self.ram.view[start : start + len(data)] = data
        self._on_write(frame)
