"""HugePages: which ranges of 2 MiB or 1 GiB would be worth a page of their own, and what that would save."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from emu.lab import ranges as native
from emu.lab.columns import Columns
from emu.lab.lru_stack import ALL_KINDS, LruStack
from emu.lab.ranges import Ranges
from mmu.objectcode import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from emu.lab.batch import Batch

_LEAST = 1 << 8
#: Small pages that a large one is made of.
PIECES = 512


class Candidate(NamedTuple):
    """A range that a large page could map: its first address, its address space, and what was counted of it.

    ``pieces`` of its 512 small pages were used.  ``misses_small`` and ``misses_large``: of its accesses in a fully
    associative LRU TLB, with pages as they are, and with large ones everywhere.
    """

    vaddr: int
    space: int
    accesses: int
    misses_small: int
    misses_large: int
    pieces: int

    @property
    def saved(self) -> int:
        """Misses that there would not be: below 0 where large pages make it worse."""
        return self.misses_small - self.misses_large


class HugePages:
    """The candidates among the accesses that it is given; pages that are large already are left out.

    ``shift`` is the logarithm of the large page's size, 21 or 30; ``entries`` those of the TLB.

    >>> from emu.lab.batch import Batch
    >>> huge = HugePages(21, entries=2)
    >>> huge.take(Batch.of(vaddr=[0x20_0000, 0x20_1000, 0x20_2000, 0x20_0000], shift=12))
    >>> [(hex(one.vaddr), one.pieces, one.misses_small, one.misses_large) for one in huge.candidates()]
    [('0x200000', 3, 4, 1)]
    """

    def __init__(self, shift: int, entries: int, kinds: int = ALL_KINDS, *, faults: bool = False) -> None:
        """ValueError for another shift."""
        if shift not in (21, 30):
            raise ValueError(f"no page has 2**{shift} bytes and smaller ones in it")
        self.entries = entries
        self.small, self.large = (LruStack(kinds, least_shift=each, faults=faults) for each in (12, shift))
        self._shift = shift - 9
        self._library = load("emu.lab.ranges")
        self._make(_LEAST)

    def _make(self, entries: int) -> None:
        self._words = np.zeros((entries, native.ENTRY_WORDS), np.uint64)
        self._ranges = Ranges(self._words.ctypes.data, entries - 1, 0, self._shift, self.entries)

    def _grow(self) -> None:
        words, old = self._words, self._ranges
        self._make(2 * len(words))
        self._library["move_ranges"](ctypes.addressof(old), ctypes.addressof(self._ranges))

    def take(self, batch: Batch | Columns) -> None:
        """Take the accesses of a batch."""
        columns = batch if isinstance(batch, Columns) else Columns.of(batch)
        taken, total = 0, len(columns.vaddr)
        small, large = np.zeros(total, np.uint64), np.zeros(total, np.uint64)
        self.small.take(columns, small)
        self.large.take(columns, large)
        while taken < total:
            record, at = columns.record(taken), taken * 8
            taken += int(
                self._library["count_ranges"](
                    ctypes.addressof(self._ranges), ctypes.addressof(record), total - taken, small.ctypes.data + at,
                    large.ctypes.data + at,
                )
            )  # fmt: skip
            if taken < total:
                self._grow()

    def candidates(self) -> list[Candidate]:
        """All ranges that were used, those first that would save most."""
        return sorted(self._all(), key=lambda one: (-one.saved, one.space, one.vaddr))

    def _all(self) -> Iterator[Candidate]:
        used = self._words[self._words[:, native.TAG] != 0]
        for row in used[:, : native.MAP].tolist():
            yield Candidate(
                row[native.TAG] >> 12 << 12, row[native.SPACE], row[native.ACCESSES], row[native.SMALL],
                row[native.LARGE], row[native.PIECES],
            )  # fmt: skip
