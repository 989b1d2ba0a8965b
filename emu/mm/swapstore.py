"""Where swapped pages lie: in memory of the host, set aside for the machine's own device, or in a file of the guest."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.mm.freeframes import Frames
from emu.mm.pagecache import PageCache
from emu.mm.swapfile import Header, SwapArea, SwapStore
from mmu.late import np
from mmu.memory import PAGE_SHIFT, PAGE_SIZE, PhysicalMemory

if TYPE_CHECKING:
    import numpy.typing as npt

_WORDS = 512
#: Single pages that are copied at a time; and how many must adjoin, on the average, for copying runs of them.
_BATCH, _LONG_RUN = 128, 8


class HostStore:
    """Memory of the host, which gives it page by page as slots are written; never more than ``pages``."""

    def __init__(self, ram: PhysicalMemory, pages: int) -> None:
        self._ram = ram
        self._memory = mmap.mmap(-1, pages << PAGE_SHIFT, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._view = memoryview(self._memory)

    @property
    def _pages(self) -> npt.NDArray[np.uint64]:
        return np.frombuffer(self._memory, dtype=np.uint64).reshape(-1, _WORDS)

    def write(self, offsets: Frames, frames: Frames) -> None:
        _copy(self._pages, offsets, self._ram.words.reshape(-1, _WORDS), frames)

    def read_one(self, offset: int, frame: int) -> None:
        to, at = frame << PAGE_SHIFT, offset << PAGE_SHIFT
        self._ram.view[to : to + PAGE_SIZE] = self._view[at : at + PAGE_SIZE]


class FileStore:
    """The pages of a file that lies in memory: each slot is the frame that the page cache has for it, for good."""

    def __init__(self, ram: PhysicalMemory, cache: PageCache, pages: int) -> None:
        self._ram = ram
        self._frames = cache.find_many(0, pages)

    def write(self, offsets: Frames, frames: Frames) -> None:
        pages = self._ram.words.reshape(-1, _WORDS)
        _copy(pages, self._frames[offsets], pages, frames)

    def read_one(self, offset: int, frame: int) -> None:
        to, at = frame << PAGE_SHIFT, int(self._frames[offset]) << PAGE_SHIFT
        self._ram.view[to : to + PAGE_SIZE] = self._ram.view[at : at + PAGE_SIZE]


def _copy(target: npt.NDArray[np.uint64], to: Frames, source: npt.NDArray[np.uint64], at: Frames) -> None:
    """Copy pages: those that adjoin on both sides at once, if there are many such."""
    edges = np.flatnonzero((np.diff(to) != 1) | (np.diff(at) != 1)) + 1
    if _LONG_RUN * len(edges) > len(to):
        for first in range(0, len(to), _BATCH):
            target[to[first : first + _BATCH]] = source[at[first : first + _BATCH]]
        return
    starts, ends = [0, *edges.tolist()], [*edges.tolist(), len(to)]
    for start, end in zip(starts, ends, strict=True):
        place, origin, number = int(to[start]), int(at[start]), end - start
        target[place : place + number] = source[origin : origin + number]


def plain_area(
    store: SwapStore, pages: int, name: str | Callable[[], str], *, inode: object = None, partition: bool = False,
    synchronous: bool = False,
) -> SwapArea:  # fmt: skip
    """An area of so many pages, of which the first is its header."""
    shown = name if callable(name) else lambda: name
    return SwapArea(
        store, Header(pages, ()), shown, inode=inode, partition=partition, synchronous=synchronous
    )  # fmt: skip
