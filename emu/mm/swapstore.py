"""Where swapped pages lie: in memory of the host, set aside for the machine's own device, or in a file of the guest."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from emu.mm.freeframes import Frames
from emu.mm.pagecache import PageCache
from emu.mm.swapfile import Header, SwapArea, SwapStore
from mmu.late import np
from mmu.memory import PAGE_SHIFT, PAGE_SIZE, PhysicalMemory
from mmu.objectcode import load

if TYPE_CHECKING:
    import numpy.typing as npt


class HostStore:
    """Memory of the host, which gives it page by page as slots are written; never more than ``pages``."""

    def __init__(self, ram: PhysicalMemory, pages: int) -> None:
        self._ram = ram
        self._memory = mmap.mmap(-1, pages << PAGE_SHIFT, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._view = memoryview(self._memory)
        self._host = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))

    def write(self, offsets: Frames, frames: Frames) -> npt.NDArray[np.bool_]:
        return _store(self._host, offsets, self._ram, frames)

    def read_one(self, offset: int, frame: int) -> None:
        to, at = frame << PAGE_SHIFT, offset << PAGE_SHIFT
        self._ram.view[to : to + PAGE_SIZE] = self._view[at : at + PAGE_SIZE]


class FileStore:
    """The pages of a file that lies in memory: each slot is the frame that the page cache has for it, for good."""

    def __init__(self, ram: PhysicalMemory, cache: PageCache, pages: int) -> None:
        self._ram = ram
        self._frames = cache.find_many(0, pages)

    def write(self, offsets: Frames, frames: Frames) -> npt.NDArray[np.bool_]:
        return _store(self._ram.host, self._frames[offsets], self._ram, frames)

    def read_one(self, offset: int, frame: int) -> None:
        to, at = frame << PAGE_SHIFT, int(self._frames[offset]) << PAGE_SHIFT
        self._ram.view[to : to + PAGE_SIZE] = self._ram.view[at : at + PAGE_SIZE]


def _store(to: int, places: Frames, ram: PhysicalMemory, frames: Frames) -> npt.NDArray[np.bool_]:
    """Copy frames to an array of pages at a host address, but for those full of zeros; which those are."""
    zeros = np.empty(len(frames), dtype=np.bool_)
    load("emu.mm.pagecopy")["store_pages"](
        to, _address(places), ram.host, _address(frames), len(frames), _address(zeros)
    )  # fmt: skip
    return zeros


def _address(array: npt.NDArray[Any]) -> int:
    """The host address of an array whose items adjoin."""
    assert array.flags.c_contiguous, "swapstore: an array in pieces"
    return int(array.ctypes.data)


def plain_area(
    store: SwapStore, pages: int, name: str | Callable[[], str], *, inode: object = None, partition: bool = False,
    synchronous: bool = False,
) -> SwapArea:  # fmt: skip
    """An area of so many pages, of which the first is its header."""
    shown = name if callable(name) else lambda: name
    return SwapArea(
        store, Header(pages, ()), shown, inode=inode, partition=partition, synchronous=synchronous
    )  # fmt: skip
