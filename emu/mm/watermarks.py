"""How much memory is kept free (mm/page_alloc.c)."""

from __future__ import annotations

import math

#: The least and the most of vm.min_free_kbytes that is chosen for a machine (init_per_zone_wmark_min).
_LEAST, _MOST = 128, 262144


class Watermarks:
    """Where reclaim begins, and how far it goes, in frames: that of a machine of so many.

    >>> marks = Watermarks(65536)
    >>> marks.min_free_kbytes, marks.min, marks.low, marks.high, marks.promo
    (2048, 512, 640, 768, 896)
    """

    def __init__(self, total: int) -> None:
        self._total = total
        #: vm.min_free_kbytes and vm.watermark_scale_factor.
        self.min_free_kbytes = min(max(math.isqrt(total * 4 * 16), _LEAST), _MOST)
        self.scale_factor = 10

    @property
    def min(self) -> int:
        """What is kept for the kernel itself; no more than a sixteenth of a small machine."""
        return min(self.min_free_kbytes >> 2, self._total // 16)

    @property
    def _distance(self) -> int:
        return max(self.min >> 2, self._total * self.scale_factor // 10000)

    @property
    def low(self) -> int:
        """With fewer free frames, reclaim begins."""
        return self.min + self._distance

    @property
    def high(self) -> int:
        """With so many, it ends."""
        return self.low + self._distance

    @property
    def promo(self) -> int:
        """As /proc/zoneinfo has it."""
        return self.high + self._distance
