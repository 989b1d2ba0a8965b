"""Since when each page has been at its place in its list: pages are added to a list, and moved, at its head, and
reclaim takes them from the tail (lruvec_add_folio of mm/swap.c).

What is kept is the order of all pages together.  The list of a page follows from its kind and its flags, and has that
order too: a page that comes to another list goes to the head of that one.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from mmu.host_array import HostArray
from mmu.late import np

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.mm.freeframes import Frames

#: After so many pages that were added singly they get their places.
MANY = 1 << 16
#: So many at once, or more, are kept as an array.
_FEW = 64
#: Frames of a huge page.
_BLOCK = 512


class LruOrder:
    """The order of the pages of one machine.

    >>> order = LruOrder(8)
    >>> order.add(5); order.add(2); order.add_many(np.arange(6, 8)); order.add(5)
    >>> order.oldest_first(np.ones(8, dtype=bool)).tolist()
    [2, 6, 7, 5]
    """

    def __init__(self, total: int) -> None:
        #: By frame: its place in the queue.
        self._places = HostArray(total, "I")
        #: How long the queue may become: every frame has one place in it, and others that it had before.
        self._longest = 2 * total + MANY
        #: What has been added since: arrays, and behind them single frames; a negative number stands for a block.
        self._parts: list[npt.NDArray[np.int32]] = []
        self.single: list[int] = []

    @cached_property
    def _queue(self) -> npt.NDArray[np.int32]:
        """Frames in the order in which they were added; some have been added again, or are free."""
        return np.zeros(0, dtype=np.int32)

    def add(self, frame: int) -> None:
        """A page is at the head of its list from now on.  What is done for each page that is allocated does it itself,
        and calls :meth:`settle` at times.
        """
        self.single.append(frame)
        if len(self.single) > MANY:
            self.settle()

    def add_many(self, frames: Frames) -> None:
        """Several are, the last one before all others."""
        if len(frames) < _FEW:
            self.single += frames.tolist()
        else:
            self._collect()
            self._parts.append(frames.astype(np.int32))
        if len(self._parts) > _FEW or len(self.single) > MANY:
            self.settle()

    def add_block(self, head: int) -> None:
        """The frames of a huge page, from this one on, are."""
        self.add(~head)

    def oldest_first(self, which: npt.NDArray[np.bool_]) -> Frames:
        """The frames for which a mask is set, the one first that has been at its place the longest time."""
        queue = self.settle()
        at = np.flatnonzero(which[queue])
        found = queue[at]
        ordered: Frames = found[self._places.array[found] == at].astype(np.int64)
        return ordered

    def place(self, frame: int) -> int:
        """The place of a frame, once all have places: of two frames the older one has the lower."""
        place: int = self._places.view[frame]
        return place

    def settle(self) -> npt.NDArray[np.int32]:
        """Give what has been added its places: each frame has one, the last that it got."""
        self._collect()
        if self._parts:
            first = len(self._queue)
            self._queue = np.concatenate((self._queue, *self._parts))
            self._parts.clear()
            self._places.array[self._queue[first:]] = np.arange(first, len(self._queue), dtype=np.uint32)
            if len(self._queue) > self._longest:
                self._compact()
        return self._queue

    def _collect(self) -> None:
        if self.single:
            added = np.array(self.single, dtype=np.int32)
            self._parts.append(_frames_of(added) if (added < 0).any() else added)
            self.single.clear()

    def _compact(self) -> None:
        """Leave places out that are no frame's any more."""
        queue, places = self._queue, self._places.array
        self._queue = queue = queue[places[queue] == np.arange(len(queue), dtype=np.uint32)]
        places[queue] = np.arange(len(queue), dtype=np.uint32)


def _frames_of(added: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Frames, with those of each block in the place where it stands for the last time."""
    last = {number: at for at, number in enumerate(added.tolist()) if number < 0}
    stays = added >= 0
    stays[list(last.values())] = True
    added = added[stays]
    sizes = np.where(added < 0, _BLOCK, 1)
    ends = np.cumsum(sizes)
    inside = np.arange(int(ends[-1])) - np.repeat(ends - sizes, sizes)
    frames: npt.NDArray[np.int32] = (np.repeat(np.where(added < 0, ~added, added), sizes) + inside).astype(np.int32)
    return frames
