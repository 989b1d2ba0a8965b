"""Pages: a table of pages (:mod:`emu.lab.pagetags`) and its memory."""

from __future__ import annotations

import ctypes

import numpy as np

from emu.lab.pagetags import ENTRY, PageTable

_LEAST = 1 << 12


class Pages:
    """The table."""

    def __init__(self, entries: int = _LEAST) -> None:
        """With room for half as many pages as there are ``entries``, a power of two."""
        self._array = np.zeros(entries * ENTRY // 8, np.uint64)  # in huge pages of the host where it is large
        self.record = PageTable(self._array.ctypes.data, entries - 1, 0)
        #: Where native code finds it.
        self.address = ctypes.addressof(self.record)

    @property
    def used(self) -> int:
        """How many pages are in it."""
        return int(self.record.used)

    @property
    def full(self) -> bool:
        """Whether it must grow before another one comes."""
        return int(self.record.used) * 2 > int(self.record.mask)

    @property
    def host_bytes(self) -> int:
        """Its memory."""
        return self._array.nbytes

    def twice_as_large(self) -> Pages:
        """An empty one."""
        return Pages(2 * (int(self.record.mask) + 1))
