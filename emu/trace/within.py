"""How many instructions a recording is about, where a region of interest left some out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel


class Within:
    """The instructions that all processes have retired within the region of interest."""

    def __init__(self, kernel: Kernel) -> None:
        self._region, self._cpu = kernel.region, kernel.cpu
        self._was_left = not self._region.on
        self._before, self._began = 0, self._clock()

    def switched(self) -> None:
        """The region begins or ends."""
        if self._region.on:
            self._began = self._clock()
        else:
            self._before += self._clock() - self._began
            self._was_left = True

    def fields(self) -> dict[str, int]:
        """Those of the event `end`, now."""
        if not self._was_left:
            return {}
        return {"instructions": self._before + (self._clock() - self._began if self._region.on else 0)}

    def _clock(self) -> int:
        return self._cpu.clock - self._region.ahead
