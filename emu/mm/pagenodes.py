"""Frames by their index in an object, in nodes of 512 pages (lib/xarray.c)."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from emu.mm.freeframes import Frames
from emu.mm.kmem import XA_NODE, Kmem
from mmu.late import np

if TYPE_CHECKING:
    import numpy.typing as npt

#: Pages of a node: as many as one PTE table maps.
NODE_SHIFT = 9
NODE = 1 << NODE_SHIFT
_EMPTY_NODE = bytes(4 * NODE)
#: Nodes whose frames are handled together.
BATCH = 512


def parts(first: int, last: int) -> Iterator[tuple[int, slice, slice]]:
    """For each node that [first, last) touches: its number, the part of it, and the part of the range."""
    at = first
    while at < last:
        stop = min((at | NODE - 1) + 1, last)
        start = at & NODE - 1
        yield at >> NODE_SHIFT, slice(start, start + stop - at), slice(at - first, stop - first)
        at = stop


def node_view(node: array[int]) -> npt.NDArray[np.int32]:
    """The same words as an array."""
    return np.frombuffer(node, dtype=np.int32)


class PageNodes:
    """Which frame each page has, if it exists.  Each node is charged; who makes one has made sure that there is room
    (:meth:`Kmem.reserve`).
    """

    def __init__(self, kmem: Kmem) -> None:
        self.kmem = kmem
        #: Frames in nodes of 512 pages, by index / 512; 0: there is no page.  4 bytes a page: a sparse object may have
        #: 300 GiB.
        self._nodes: dict[int, array[int]] = {}
        #: How many pages exist.
        self.nr_pages = 0

    def pages(self) -> Iterator[tuple[int, int]]:
        """(index, frame) of every page."""
        for number, node in self._nodes.items():
            for at in np.flatnonzero(node_view(node)).tolist():
                yield (number << NODE_SHIFT) + at, node[at]

    def frames_in_batches(self) -> Iterator[Frames]:
        """The frames of all pages, some hundred thousand at a time."""
        nodes = list(self._nodes.values())
        for at in range(0, len(nodes), BATCH):
            batch = np.frombuffer(b"".join(nodes[at : at + BATCH]), dtype=np.int32)
            yield batch[batch != 0].astype(np.int64)

    def pages_in_batches(self) -> Iterator[tuple[Frames, Frames]]:
        """The numbers of all pages, and their frames, a node at a time."""
        for number, node in self._nodes.items():
            view = node_view(node)
            at = np.flatnonzero(view)
            yield at + (number << NODE_SHIFT), view[at].astype(np.int64)

    def find(self, index: int) -> int | None:
        """The frame of a page, if it exists."""
        node = self._nodes.get(index >> NODE_SHIFT)
        return None if node is None else node[index & NODE - 1] or None

    def near(self, first: int, number: int) -> Sequence[int]:
        """The frames of a few consecutive pages; 0 where there is none."""
        node, at = self._nodes.get(first >> NODE_SHIFT), first & NODE - 1
        if at + number > NODE:
            return [self.find(index) or 0 for index in range(first, first + number)]
        return bytes(number) if node is None else node[at : at + number]

    def find_many(self, first: int, number: int) -> Frames:
        """The frames of consecutive pages; 0 where there is none."""
        found = np.zeros(number, dtype=np.int64)
        for node_number, part, where in parts(first, first + number):
            node = self._nodes.get(node_number)
            if node is not None:
                found[where] = node_view(node)[part]
        return found

    def find_each(self, indexes: Frames) -> Frames:
        """The frames of the pages with these ascending numbers; 0 where there is none."""
        found = np.zeros(len(indexes), dtype=np.int64)
        numbers, within = indexes >> NODE_SHIFT, indexes & NODE - 1
        starts = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
        for start, stop in pairwise((*starts, len(indexes))):
            node = self._nodes.get(int(numbers[start]))
            if node is not None:
                found[start:stop] = node_view(node)[within[start:stop]]
        return found

    def next_page(self, index: int) -> int | None:
        """The index of the first page that exists, from ``index`` on."""
        for number in sorted(n for n in self._nodes if n >= index >> NODE_SHIFT):
            there = np.flatnonzero(node_view(self._nodes[number])) + (number << NODE_SHIFT)
            there = there[there >= index]
            if len(there):
                return int(there[0])
        return None

    def _put_in(self, index: int, frame: int) -> None:
        """Enter a page that does not exist."""
        self._make_node(index >> NODE_SHIFT)[index & NODE - 1] = frame
        self.nr_pages += 1

    def _take_out(self, index: int) -> int:
        """Forget a page that exists, and return its frame, whose reference is the caller's."""
        node = self._nodes[index >> NODE_SHIFT]
        frame, node[index & NODE - 1] = node[index & NODE - 1], 0
        if not any(node):
            self._forget_node(index >> NODE_SHIFT)
        self.nr_pages -= 1
        return frame

    def moved(self, indexes: Sequence[int], frames: Sequence[int]) -> None:
        """Pages are in other frames now (folio_migrate_mapping)."""
        for index, frame in zip(indexes, frames, strict=True):
            self._nodes[index >> NODE_SHIFT][index & NODE - 1] = frame

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

    def _take_few(self, first: int, last: int) -> list[int]:
        """Forget those of a few pages that are in [first, last); returns their frames."""
        frames: list[int] = []
        for number in self._nodes_between(first, last):
            node, base = self._nodes[number], number << NODE_SHIFT
            for at in range(max(first - base, 0), min(last - base, NODE)):
                if node[at]:
                    frames.append(node[at])
                    node[at] = 0
                    if len(frames) == self.nr_pages:
                        break
            if len(frames) == self.nr_pages or not any(node):
                self._forget_node(number)
        return frames

    def _nodes_between(self, first: int, last: int) -> list[int]:
        low, high = first >> NODE_SHIFT, (last - 1 >> NODE_SHIFT) + 1
        if high - low > len(self._nodes):
            return sorted(n for n in self._nodes if low <= n < high)
        return [n for n in range(low, high) if n in self._nodes]
