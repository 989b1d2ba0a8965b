"""Free memory: frames that were never used, frames that were freed, and blocks of 512 (struct free_area)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError
from emu.mm.freeframes import ZERO_PAGE, Frames, FreeFrames
from emu.mm.pageflags import BLOCK_FRAMES
from mmu.late import np
from mmu.memory import PAGE_SHIFT, PAGE_SIZE, PhysicalMemory

if TYPE_CHECKING:
    import numpy.typing as npt


class FreeArea:
    """Which frames are free.  Single ones are taken from the lower end of memory, blocks from the upper one."""

    def __init__(self, ram: PhysicalMemory, on_write_many: Callable[[Frames], None]) -> None:
        """``on_write_many`` is called when the kernel changes the contents of many frames (code coherence)."""
        self.ram = ram
        self.total = ram.frames
        self._on_write_many = on_write_many
        self._freed = FreeFrames(ram)
        self._next = 0
        #: Frames from here on have been taken in blocks; blocks that were given back whole are in ``_spare``.
        self._end = self.total
        self._spare: list[int] = []
        #: Blocks that are free, and not zeroed.
        self._worn: list[int] = []
        #: Moves pages so that a block of frames is free, and says whether it has; where nobody holds an entry of a
        #: table.
        self.compact: Callable[[], bool] = lambda: False

    @property
    def free(self) -> int:
        """How many frames are left."""
        return self._end - self._next + len(self._freed) + BLOCK_FRAMES * (len(self._spare) + len(self._worn))

    @property
    def high_water(self) -> int:
        """No frame from this one on has ever been used, except in blocks."""
        return self._next if self._end == self.total else self.total

    def take_block(self) -> int:
        """The first of 512 zeroed frames, contiguous and aligned, from the upper end of memory.  They belong to the
        caller, and are not counted here.

        LinuxError(ENOMEM) if there is none; frames that have been used singly are not gathered into blocks.
        """
        if self._spare:
            return self._spare.pop()
        head = (self._end - BLOCK_FRAMES) & -BLOCK_FRAMES
        if head < self._next:
            raise LinuxError(errno.ENOMEM, "no block of frames is left")
        if head + BLOCK_FRAMES < self._end:
            self._freed.push_many(np.arange(head + BLOCK_FRAMES, self._end))
        self._end = head
        return head

    def take_any_block(self) -> int:
        """The same from anywhere: free frames are gathered, and pages moved."""
        return self._take_for_block(compact=True)

    def _take_for_block(self, *, compact: bool) -> int:
        if not self._worn:
            try:
                return self.take_block()
            except LinuxError:
                self._worn = self._freed.take_blocks()
                if not self._worn and compact and self.compact():
                    self._worn = self._freed.take_blocks()
                if not self._worn:
                    raise
        head = self._worn.pop()
        self.ram.words[head << 9 : (head + BLOCK_FRAMES) << 9] = 0
        self._block_written(head)
        return head

    def single_frames(self) -> npt.NDArray[np.bool_]:
        """Which frames are free, but form no block that is known; what is left below the blocks is among them if it is
        less than one.
        """
        if self._end - self._next < BLOCK_FRAMES:
            self._freed.push_many(np.arange(self._next, self._end))
            self._next = self._end
        return self._freed.mask(self.total)

    def give_block(self, head: int) -> None:
        """Take a block back."""
        self.clear_block(head)
        self._spare.append(head)

    def _split_spares(self, wanted: int) -> None:
        """Turn blocks into single frames, at least ``wanted`` if there are so many."""
        while wanted > 0 and (self._spare or self._worn):
            head = (self._worn or self._spare).pop()
            self._freed.push_many(np.arange(head, head + BLOCK_FRAMES))
            wanted -= BLOCK_FRAMES

    def clear_block(self, head: int) -> None:
        """Zero a block."""
        start = head << PAGE_SHIFT
        self.ram.view[start : start + BLOCK_FRAMES * PAGE_SIZE] = ZERO_PAGE * BLOCK_FRAMES
        self._block_written(head)

    def copy_block(self, target: int, source: int) -> None:
        """Copy a block to another."""
        to, start, size = target << PAGE_SHIFT, source << PAGE_SHIFT, BLOCK_FRAMES * PAGE_SIZE
        self.ram.view[to : to + size] = self.ram.view[start : start + size]
        self._block_written(target)

    def _block_written(self, head: int) -> None:
        self._on_write_many(np.arange(head, head + BLOCK_FRAMES))
