"""LruStack: how often a fully associative LRU TLB of each size would miss, from one pass over the accesses."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from emu.lab.batch import Batch
from emu.lab.columns import Columns
from emu.lab.distances import ANY_VCPU
from emu.lab.pages import Pages
from emu.lab.row import Stack
from mmu.objectcode import load
from mmu.registers import PCID_MASK

if TYPE_CHECKING:
    import numpy.typing as npt

    Numbers = npt.NDArray[np.uint64]

_LEAST_PLACES = 1 << 12
#: Every kind of access.
ALL_KINDS = 7


class MissCurve(NamedTuple):
    """What a stack has counted.

    ``histogram[d]`` accesses had the distance d, the number of other pages since the last access to the same page;
    ``cold`` were the first to their page, ``invalidated`` the first since an invalidation.
    """

    histogram: Numbers
    cold: int
    invalidated: int

    @property
    def accesses(self) -> int:
        """All of them."""
        return int(self.histogram.sum()) + self.cold + self.invalidated

    def misses(self) -> Numbers:
        """Of a fully associative LRU TLB of each size, from 0 entries on up to one that holds every page."""
        always = self.cold + self.invalidated
        return np.append(self.histogram[::-1].cumsum(dtype=np.uint64)[::-1], np.uint64(0)) + np.uint64(always)

    def misses_of(self, entries: int) -> int:
        """Of one with that many entries."""
        return int(self.histogram[entries:].sum()) + self.cold + self.invalidated

    def __add__(self, other: MissCurve) -> MissCurve:  # type: ignore[override]
        """Of two TLBs together, each of that size."""
        longer, shorter = sorted((self.histogram, other.histogram), key=len, reverse=True)
        total = longer.copy()
        total[: len(shorter)] += shorter
        return MissCurve(total, self.cold + other.cold, self.invalidated + other.invalidated)


class LruStack:
    """The stack of one TLB, for the pages of every address space, each as large as the stream says.

    Entries are held by PCID, as in the processor; what is global is taken for its PCID's.

    >>> stack = LruStack()
    >>> stack.take(Batch.of(vaddr=[0x1000, 0x2000, 0x1000, 0x1008, 0x3000, 0x2000], shift=12))
    >>> stack.curve().misses().tolist()     # of 0 entries, 1, 2 and 3
    [6, 5, 4, 3]
    """

    def __init__(
        self,
        kinds: int = ALL_KINDS,
        vcpu: int = ANY_VCPU,
        least_shift: int = 12,
        *,
        invalidations: bool = True,
        faults: bool = False,
    ) -> None:
        """Only accesses of these ``kinds`` (bits) and this ``vcpu`` count, pages smaller than ``1 << least_shift``
        bytes as parts of one that large; with ``faults`` also those to pages whose size nobody knows.  Without
        ``invalidations`` what is invalidated stays.  ValueError for what is no such number."""
        if not 0 < kinds <= ALL_KINDS or not 0 <= vcpu <= ANY_VCPU or not 12 <= least_shift < 57:
            raise ValueError(f"no kinds {kinds}, vCPU {vcpu} or logarithm of a page's size {least_shift}")
        self._pages = Pages()
        self._spaces = np.zeros(PCID_MASK + 1, np.uint64)
        self._stack = Stack(
            table=self._pages.address, spaces=self._spaces.ctypes.data, kinds=kinds, vcpu=vcpu,
            least_shift=least_shift, faults=faults, controls=invalidations,
        )  # fmt: skip
        self._address = ctypes.addressof(self._stack)
        self._library = load("emu.lab.distances")
        self._kept: dict[str, Numbers] = {}
        self._make_row(_LEAST_PLACES)

    def _make_row(self, places: int) -> None:
        """A row of that many places, with what was in the one before."""
        words, groups, blocks = places >> 6, (places >> 12) + 1, (places >> 18) + 1
        sizes = {"marks": words, "holes": words, "groups": groups, "blocks": blocks, "owners": places,
                 "histogram": places}  # fmt: skip
        for name, size in sizes.items():
            array, old = np.zeros(size, np.uint64), self._kept.get(name)
            if old is not None:
                array[: len(old)] = old
            self._kept[name] = array
            setattr(self._stack, name, array.ctypes.data)
        self._stack.places = places

    def _grow(self) -> None:
        """Room for more, where there was none."""
        stack = self._stack
        if stack.head == stack.places:
            self._make_row(stack.places * 2)
        if self._pages.full:
            larger = self._pages.twice_as_large()
            self._library["move_table"](self._address, larger.address)
            self._pages, stack.table = larger, larger.address

    def take(self, batch: Batch | Columns, distances: Numbers | None = None) -> None:
        """Take the accesses of a batch, and what invalidates between them; write the distance of each access to
        ``distances`` if that is given.

        In place of a distance it has a number of :mod:`emu.lab.distances`: COLD, INVALIDATED or LEFT_OUT.
        """
        columns = batch if isinstance(batch, Columns) else Columns.of(batch)
        total = len(columns.vaddr)
        if distances is not None and (distances.dtype != np.uint64 or distances.shape != (total,)):
            raise TypeError(f"distances: {total} numbers of uint64, as many as there are accesses")
        taken = done = 0
        stack_distances = self._library["stack_distances"]
        while True:
            record = columns.record(taken, done)
            to = 0 if distances is None else distances.ctypes.data + taken * 8
            taken += int(stack_distances(self._address, ctypes.addressof(record), total - taken, to))
            done += int(self._stack.taken)
            if taken == total:
                return
            self._grow()

    @property
    def pages(self) -> int:
        """How many pages have been seen."""
        return self._pages.used

    @property
    def host_bytes(self) -> int:
        """Memory that this takes: it grows with the number of pages only."""
        return self._pages.host_bytes + sum(array.nbytes for array in self._kept.values())

    def curve(self) -> MissCurve:
        """What has been counted."""
        histogram = self._kept["histogram"]
        seen = np.flatnonzero(histogram)
        behind = int(seen[-1]) + 1 if len(seen) else 0
        return MissCurve(histogram[:behind].copy(), self._stack.cold, self._stack.invalidated)
