"""Who has to do with frames besides their allocator: holders of them, who frees them, who pays for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from emu.mm.freeframes import Frames


class FrameHolder(Protocol):
    """A holder of references to frames besides the entries that map them: a page cache."""

    may_have_huge: bool

    def frames_in_batches(self) -> Iterator[Frames]:
        """The frames, some hundred thousand at a time."""

    def settings_changed(self) -> None:
        """Whether huge pages are made is another matter now."""


class Reclaimer(Protocol):
    """Frees frames of clean pages (mm/vmscan.c).  Both calls free so many if there are, and say how many."""

    @property
    def clean_pages(self) -> int:
        """How many there are."""

    def clean_frames(self) -> Iterator[int]:
        """Which they are."""

    def unmapped(self, wanted: int, among: npt.NDArray[np.bool_] | None = None, /) -> int:
        """Free pages that nobody maps; may be called anywhere.  ``among``: of these frames only."""

    def mapped(self, wanted: int, among: npt.NDArray[np.bool_] | None = None, /) -> int:
        """Free those that are mapped too: only where nobody holds an entry of a table."""


class Payer(Protocol):
    """An address space, as far as it matters who pays for its pages."""

    #: The group that pays, if that is not the one of its owner.
    payer: Callable[[], Any] | None


class Charges(Protocol):
    """Which control group pays for each frame (:mod:`emu.mm.memcontrol`); ``mm`` None: the current task's.

    LinuxError(ENOMEM) where a group has no room; the frames are free again then.
    """

    def charge(self, frame: int, mm: Payer | None, /) -> None:
        """A frame has been allocated."""

    def charge_many(self, frames: Frames, mm: Payer | None, /) -> Frames:
        """So many; returns those for which there was room."""

    def charge_block(self, head: int, mm: Payer | None, /) -> None:
        """A block."""

    def uncharge(self, frame: int, /) -> None:
        """A frame is free."""

    def uncharge_many(self, frames: Frames, /) -> None:
        """So many."""

    def moved(self, source: Frames, target: Frames, /) -> None:
        """Pages have come to other frames."""

    def room_for(self, pages: int, mm: Payer | None = None, /) -> bool:
        """Whether so many can be charged now."""

    def happened(self, event: str, frames: Frames | list[int], /) -> None:
        """Something has happened to these pages."""
