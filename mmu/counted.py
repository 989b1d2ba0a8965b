"""The counters of an MMU as words, so that parts of a run can be summed up at little cost."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mmu.processors import COUNTERS, PLAIN_FILLS
from mmu.state import MmuState

if TYPE_CHECKING:
    from mmu.plugin import Mmu

Words = npt.NDArray[np.uint64]
_NAMES = (PLAIN_FILLS, *COUNTERS)


class CounterWords:
    """All counters of all processors, in one order.

    >>> from unicorn import UC_ARCH_X86, UC_MODE_64, Uc
    >>> from mmu import Mmu, PhysicalMemory
    >>> mmu = Mmu(Uc(UC_ARCH_X86, UC_MODE_64), PhysicalMemory(1 << 20))
    >>> words = CounterWords(mmu)
    >>> before = words.read()
    >>> mmu.load_cr3(0x1000); mmu.load_cr3(0x2000)
    >>> with words.showing(words.read() - before):
    ...     mmu.counters.cr3_loads
    2
    """

    def __init__(self, mmu: Mmu) -> None:
        self._mmu = mmu
        at = ctypes.addressof(mmu.state) + MmuState.plain_fills.offset  # type: ignore[attr-defined]
        own = (ctypes.c_uint64 * len(_NAMES)).from_address(at)
        self._own = np.frombuffer(memoryview(own).cast("B"), np.uint64)
        #: Records of the models of TLBs as rows of words, and which words of a row are counters.
        self._records: list[tuple[npt.NDArray[Any], list[int]]] = [
            pair for model in mmu.tlbs for pair in model.counter_words()
        ]

    def read(self) -> Words:
        """What they are now (a copy)."""
        return np.concatenate([*self._processors(), *(rows[:, words].ravel() for rows, words in self._records)])

    def _processors(self) -> list[Words]:
        mmu = self._mmu
        if mmu.processors == 1:
            return [self._own]
        each = [[mmu.counter(number, name) for name in _NAMES] for number in range(mmu.processors)]
        return [np.array(row, np.uint64) for row in each]

    @contextlib.contextmanager
    def showing(self, words: Words) -> Iterator[None]:
        """As long as that lasts, and nothing runs, they are these."""
        now = self.read()
        self._write(words)
        try:
            yield
        finally:
            self._write(now)

    def _write(self, words: Words) -> None:
        at = 0
        for number in range(self._mmu.processors):
            for name in _NAMES:
                self._mmu.set_counter(number, name, int(words[at]))
                at += 1
        for rows, which in self._records:
            size = len(rows) * len(which)
            rows[:, which] = words[at : at + size].reshape(len(rows), len(which))
            at += size
