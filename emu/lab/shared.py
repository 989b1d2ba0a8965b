"""Which processes would profit from shared page tables: what their walks read, and where they map the same memory.

A walk to a 4K page ends with a load of its PTE.  Where processes map the same frames at the same addresses, each with a
table of its own, these loads are of one entry a process, in other cache lines; with a shared table of one entry for
all, and all but one of the tables could go.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from emu.lab.finding import Finding, Listing
from emu.lab.observed import Observed
from emu.lab.spaces import Spaces
from emu.trace.report.units import plural

if TYPE_CHECKING:
    from emu.lab.batch import Batch
    from emu.lab.columns import Columns
    from mmu.geometry import Geometry

_ROWS = 30
_FRAME = 0xF_FFFF_FFFF_F000
#: What a PTE table maps.
_RANGE = np.uint64(21)


@dataclass
class _Range:
    """What walks to a range that one PTE table maps have read."""

    walks: int = 0
    #: By address space, the table that it has had last.
    tables: dict[int, int] = field(default_factory=dict)
    #: By place in the table: which frame each address space has had last.
    frames: dict[int, dict[int, int]] = field(default_factory=dict)
    #: The physical addresses of all entries.
    slots: set[int] = field(default_factory=set)

    def alike(self) -> tuple[set[int], set[tuple[int, int]]]:
        """The address spaces that have a frame in common with another one, and each such page: place and frame."""
        spaces, pages = set[int](), set[tuple[int, int]]()
        for place, frames in self.frames.items():
            count = Counter(frames.values())
            common = {frame for frame, number in count.items() if number > 1}
            spaces.update(space for space, frame in frames.items() if frame in common)
            pages.update((place, frame) for frame in common)
        return spaces, pages


class Shared:
    """Replays the stream through a model, and keeps what its walks read."""

    def __init__(self, geometry: Geometry, memory_bytes: int, seed: int = 0) -> None:
        self._geometry = geometry
        self._model = Observed(geometry, memory_bytes, seed)
        self._ranges: dict[int, _Range] = {}
        self._spaces = Spaces()

    def take(self, batch: Batch, columns: Columns) -> None:
        """Take the accesses of a batch."""
        self._spaces.take(batch)
        noted = self._model.noted(batch)
        walked = np.flatnonzero(noted.slots)
        if not len(walked):
            return
        rows = np.stack(
            [columns.vaddr[walked] >> np.uint64(12), columns.space[walked].astype(np.uint64), noted.slots[walked],
             noted.entries[walked] & np.uint64(_FRAME)]
        )  # fmt: skip
        for page, space, slot, frame in rows.T.tolist():
            found = self._ranges.setdefault(page >> 9, _Range())
            found.walks += 1
            found.tables[space] = slot >> 12
            found.frames.setdefault(page & 511, {})[space] = frame
            found.slots.add(slot)

    def finding(self) -> Finding:
        """The ranges in which several address spaces have the same frames: those with most to save first."""
        found: list[dict[str, Any]] = []
        for number, each in self._ranges.items():
            spaces, pages = each.alike()
            pids = sorted({self._spaces.pid(space) for space in spaces})
            if len(pids) < 2:  # one process never has two address spaces at once
                continue
            tables = {each.tables[space] for space in spaces}
            read = sum(1 for slot in each.slots if slot >> 12 in tables)
            needed = len({place for place, frames in each.frames.items() if spaces & frames.keys()})
            found.append(
                {
                    "vaddr": f"{number << 21:#x}",
                    "pids": pids,
                    "tables": len(tables),
                    "same_pages": len(pages),
                    "walks": each.walks,
                    "entries_read": read,
                    "entries_of_one_table": needed,
                }
            )
        found.sort(key=lambda one: (one["entries_of_one_table"] - one["entries_read"], -one["walks"], one["vaddr"]))
        rows = [
            (
                one["vaddr"], _named(one["pids"]), f"{one['tables']:,}", f"{one['same_pages']:,}", f"{one['walks']:,}",
                f"{one['entries_read']:,}", f"{one['entries_of_one_table']:,}",
            )
            for one in found[:_ROWS]
        ]  # fmt: skip
        headers = ("from address", "processes", "PTE tables", "same pages", "walks", "PTEs read", "with one table")
        remark = (
            f"Ranges of 2 MiB in which several processes have the same frames, as walks of {self._geometry.name} saw it"
            " last. Where they have one table already, it is shared; private memory after a fork is the same until"
            " somebody writes, and no table of it can be shared for longer. A process has other tables after an execve."
        )
        more = len(found) - len(rows)
        caption = plural(len(found), "range", "ranges") + (f", {more:,} of them not listed" if more else "")
        listing = Listing(caption, headers, rows, words=2)
        return Finding("shared", "What shared tables would save", remark, [listing], [], {"ranges": found})


def _named(pids: list[int]) -> str:
    """Process numbers, at most some."""
    shown = ", ".join(map(str, pids[:4]))
    return shown if len(pids) <= 4 else f"{shown} and {len(pids) - 4:,} more"
