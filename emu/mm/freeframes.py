"""The frames of physical memory that are free."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from mmu.late import np
from mmu.memory import PAGE_SHIFT, PAGE_SIZE, PhysicalMemory

if TYPE_CHECKING:
    import numpy.typing as npt

ZERO_PAGE = bytes(PAGE_SIZE)
#: At least this many frames freed at once are kept as one block.
_BLOCK = 2048
#: From this many frames on, the host gets the memory back; fewer are kept, since zeroing is cheaper than faulting in
#: again.
_GIVE_BACK = 65536
#: Runs of frames shorter than this on average are not worth a system call each.
_WORTHWHILE_RUN = 16
#: The binary logarithm of the frames of a huge page.
_HUGE_ORDER = 9
#: This many frames of a block are made a list at a time.
_NEAR = 256

Frames: TypeAlias = "npt.NDArray[np.int64]"


def ascending(frames: Frames) -> bool:
    """Whether the frames ascend without duplicates: the usual case, and the quick one."""
    return bool((frames[1:] > frames[:-1]).all())


class FreeFrames:
    """Freed frames: the last freed is the first to be taken.

    Single frames lie on a list.  Frames freed in great number lie below it in blocks, which take 4 bytes a frame; a
    part of the uppermost block is kept as a list, from which taking a frame is ten times as fast.
    """

    def __init__(self, ram: PhysicalMemory) -> None:
        self._ram = ram
        #: The next is the last of these, if there are any, and not zeroed.
        self.single: list[int] = []
        #: (frames, the next to be taken last; whether their memory has been given back to the host and so is zero)
        self._blocks: list[tuple[npt.NDArray[np.int32], bool]] = []
        self._in_blocks = 0
        #: The frames from the uppermost block that will be taken next, and whether they are zero.
        self._near: list[int] = []
        self._near_zero = False

    def __len__(self) -> int:
        return len(self.single) + len(self._near) + self._in_blocks

    def push(self, frame: int) -> None:
        """One frame is free."""
        self.single.append(frame)

    def push_in_order(self, frames: list[int]) -> None:
        """Frames are free, one after the other."""
        self.single += frames

    def push_many(self, frames: Frames, *, soon: bool = False) -> None:
        """An ascending array of frames is free; the lowest is to be taken first.  ``soon``: they will be, so the host
        gets no memory back.
        """
        if len(frames) < _BLOCK:
            self.single.extend(frames[::-1].tolist())
            return
        self._put_near_back()
        if self.single:  # frames freed later lie above
            self._add_block(np.array(self.single, dtype=np.int32), zero=False)
            self.single.clear()
        self._add_block(frames[::-1].astype(np.int32), zero=not soon and self._give_back(frames))

    def pop(self) -> int | None:
        """The next frame, zeroed; None if there is none."""
        if self.single:
            frame = self.single.pop()
        elif self._near or self._take_near():
            frame = self._near.pop()
            if self._near_zero:
                return frame
        else:
            return None
        start = frame << PAGE_SHIFT
        self._ram.view[start : start + PAGE_SIZE] = ZERO_PAGE
        return frame

    def coming(self, most: int) -> tuple[list[int], bool]:
        """At most so many of the frames that :meth:`pop` will give next, in that order, and whether they are zero."""
        if self.single:
            return self.single[: -most - 1 : -1], False
        if self._near or self._take_near():
            return self._near[: -most - 1 : -1], self._near_zero
        return [], True

    def came(self, number: int) -> None:
        """So many of those have been taken."""
        del (self.single or self._near)[-number:]

    def pop_many(self, number: int) -> Frames:
        """The frames that as many single :meth:`pop` would give; fewer if there are not so many."""
        taken = []
        self._put_near_back()
        while number and len(self):
            if self.single:
                some = self.single[: -number - 1 : -1]
                del self.single[-len(some) :]
                frames, zero = np.array(some, dtype=np.int64), False
            else:
                frames, zero = self._take_from_block(number)
            if not zero:
                for start in (frames << PAGE_SHIFT).tolist():
                    self._ram.view[start : start + PAGE_SIZE] = ZERO_PAGE
            taken.append(frames)
            number -= len(frames)
        return np.concatenate(taken) if taken else np.zeros(0, dtype=np.int64)

    def mask(self, total: int) -> npt.NDArray[np.bool_]:
        """Which frames these are."""
        self._put_near_back()
        found = np.zeros(total, dtype=np.bool_)
        for frames in (np.array(self.single, dtype=np.int32), *(frames for frames, _ in self._blocks)):
            found[frames] = True
        return found

    def take_out(self, which: npt.NDArray[np.bool_]) -> None:
        """Take those out for which a mask is set; they are not zeroed."""
        self._put_near_back()
        self.single = [frame for frame in self.single if not which[frame]]
        blocks = [(frames[~which[frames]], zero) for frames, zero in self._blocks]
        self._blocks = [(frames, zero) for frames, zero in blocks if len(frames)]
        self._in_blocks = sum(len(frames) for frames, _ in self._blocks)

    def take_blocks(self) -> list[int]:
        """Take all frames out that form blocks of 512, aligned: their heads, the lowest last."""
        self._put_near_back()
        lists = [np.array(self.single, dtype=np.int32), *(frames for frames, _ in self._blocks)]
        found = np.bincount(np.concatenate(lists) >> _HUGE_ORDER) == 1 << _HUGE_ORDER
        heads = np.flatnonzero(found)
        if len(heads):
            single, *blocks = [frames[~found[frames >> _HUGE_ORDER]] for frames in lists]
            self.single = single.tolist()
            self._blocks = [(left, zero) for left, (_, zero) in zip(blocks, self._blocks, strict=True) if len(left)]
            self._in_blocks = sum(len(frames) for frames, _ in self._blocks)
        taken: list[int] = (heads[::-1] << _HUGE_ORDER).tolist()
        return taken

    def _add_block(self, frames: npt.NDArray[np.int32], *, zero: bool) -> None:
        self._blocks.append((frames, zero))
        self._in_blocks += len(frames)

    def _take_near(self) -> bool:
        """Make a list of a part of the uppermost block; False if there is no block."""
        if not self._blocks:
            return False
        frames, self._near_zero = self._take_from_block(_NEAR)
        self._near = frames[::-1].tolist()
        return True

    def _put_near_back(self) -> None:
        if self._near:
            self._add_block(np.array(self._near, dtype=np.int32), zero=self._near_zero)
            self._near.clear()

    def _take_from_block(self, number: int) -> tuple[Frames, bool]:
        block, zero = self._blocks.pop()
        rest = max(len(block) - number, 0)
        if rest:
            self._blocks.append((block[:rest], zero))
        self._in_blocks -= len(block) - rest
        return block[rest:][::-1].astype(np.int64), zero

    def _give_back(self, frames: Frames) -> bool:
        """Give the memory of many frames back to the host; False if they are too few or in runs that are too short."""
        if len(frames) < _GIVE_BACK:
            return False
        breaks = np.flatnonzero(np.diff(frames) != 1) + 1
        if len(frames) < _WORTHWHILE_RUN * (len(breaks) + 1):
            return False
        starts = frames[np.concatenate(([0], breaks))]
        ends = frames[np.concatenate((breaks - 1, [len(frames) - 1]))] + 1
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            self._ram.discard(start << PAGE_SHIFT, (end - start) << PAGE_SHIFT)
        return True
