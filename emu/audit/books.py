"""What an audit counts and finds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from emu.mm.freeframes import Frames

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace

_MAX_FINDINGS = 100


@dataclass
class Books:
    """The counts of the walk."""

    #: Mapping entries, page caches and trees of tables that hold each frame: what its reference count must be.
    references: npt.NDArray[np.int32]
    #: No frame at or above this one is held.
    limit: int = 0
    #: The address space that owns each table, by frame.
    tables: dict[int, AddressSpace] = field(default_factory=dict)
    #: References to huge pages, by their heads.
    huge_pages: Counter[int] = field(default_factory=Counter)
    #: Uses of slots of swap areas.
    slots: Counter[int] = field(default_factory=Counter)
    #: Entries of other address spaces that point at a table.
    links: Counter[int] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def say(self, finding: str) -> None:
        if len(self.findings) < _MAX_FINDINGS:
            self.findings.append(finding)

    def hold(self, frames: Frames) -> None:
        """Count a reference for each frame of an array, as often as the frame occurs."""
        if len(frames) == 0:
            return
        low, high = int(frames.min()), int(frames.max()) + 1
        self.limit = max(self.limit, high)
        if high - low <= 4 * len(frames):  # mostly neighbours: counting is quicker
            self.references[low:high] += np.bincount(frames - low, minlength=high - low).astype(np.int32)
        else:
            np.add.at(self.references, frames, 1)
