"""WorkingSet: the pages that a program uses, over time (Denning, CACM 11(5), 1968)."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import numpy as np

from emu.lab.columns import Columns
from emu.lab.lru_stack import ALL_KINDS
from emu.lab.pages import Pages
from emu.lab.windows import Windows
from mmu.objectcode import load

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.lab.batch import Batch


class WorkingSet:
    """Counts the pages that each window of ``accesses`` accesses touches, windows that do not overlap.

    >>> from emu.lab.batch import Batch
    >>> working_set = WorkingSet(3)
    >>> working_set.take(Batch.of(vaddr=[0x1000, 0x2000, 0x1000, 0x5000, 0x5008, 0x5010, 0x9000]))
    >>> working_set.pages.tolist()
    [2, 1]
    """

    def __init__(self, accesses: int, kinds: int = ALL_KINDS) -> None:
        """Only accesses of these ``kinds`` (bits) count.  ValueError for what is no number of accesses or kinds."""
        if accesses < 1 or not 0 < kinds <= ALL_KINDS:
            raise ValueError(f"no window of {accesses} accesses of the kinds {kinds}")
        self.accesses = accesses
        self._table = Pages()
        self._windows = Windows(table=self._table.address, accesses=accesses, kinds=kinds, number=1)
        self._library = load("emu.lab.windows")
        self._ended: list[npt.NDArray[np.uint64]] = []

    def take(self, batch: Batch | Columns) -> None:
        """Take the accesses of a batch."""
        columns = batch if isinstance(batch, Columns) else Columns.of(batch)
        taken, total = 0, len(columns.vaddr)
        ended = np.zeros(total // self.accesses + 1, np.uint64)
        self._windows.ended = 0
        windows, count = ctypes.addressof(self._windows), self._library["count_windows"]
        while True:
            record = columns.record(taken)
            taken += int(count(windows, ctypes.addressof(record), total - taken, ended.ctypes.data))
            if taken == total:
                break
            larger = self._table.twice_as_large()
            self._library["move_windows"](windows, larger.address)
            self._table, self._windows.table = larger, larger.address
        if self._windows.ended:
            self._ended.append(ended[: self._windows.ended])

    @property
    def pages(self) -> npt.NDArray[np.uint64]:
        """How many pages each window touched; the last one that has not ended is left out."""
        return np.concatenate([np.zeros(0, np.uint64), *self._ended])

    @property
    def unfinished(self) -> tuple[int, int]:
        """The accesses of the window that has not ended, and the pages that it has touched."""
        return self._windows.at, self._windows.touched
