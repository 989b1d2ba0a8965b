"""Accesses, pages and misses by function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emu.lab.distances import COLD, LEFT_OUT
from emu.lab.finding import Finding, Listing, percent
from emu.lab.lru_stack import LruStack

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.lab.batch import Batch
    from emu.lab.columns import Columns
    from emu.trace.stat.symbols import Elf

_ROWS = 30
_DATA, _CODE = 0b011, 0b100
#: What is counted of each function.
_COUNTS = ("accesses", "pages", "data_misses", "code_misses")


class Image(NamedTuple):
    """An ELF file, and where it was loaded: what is added to its addresses."""

    elf: Elf
    base: int


class ByFunction:
    """Which functions of some ELF files access, and miss in a fully associative LRU TLB of ``entries`` for data, and
    one for code."""

    def __init__(self, images: Sequence[Image], entries: int, *, faults: bool = False) -> None:
        self._images, self._entries = images, entries
        self._stacks = {kinds: LruStack(kinds, faults=faults) for kinds in (_DATA, _CODE)}
        self._pages = LruStack(invalidations=False, faults=faults)
        #: By its file and its place there, the number of each function; what is in none is 0.
        self._numbers: dict[tuple[int, int], int] = {}
        self._counts = np.zeros((len(_COUNTS), 1), np.int64)

    def _functions(self, rips: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint32]:
        """The number of the function of each instruction."""
        known, back = np.unique(rips, return_inverse=True)
        numbers = np.zeros(len(known), np.uint32)
        for image, (elf, base) in enumerate(self._images):
            inside = (known >= np.uint64(base)) & (known < np.uint64(base + elf.end))
            places = elf.places(known[inside] - np.uint64(base))
            numbers[inside] = [
                0 if place < 0 else self._numbers.setdefault((image, place), len(self._numbers) + 1)
                for place in places.tolist()
            ]
        return numbers[back]

    def take(self, batch: Batch, columns: Columns) -> None:
        """Take the accesses of a batch, whose rips are known."""
        functions = self._functions(np.asarray(batch.rip))
        size = len(self._numbers) + 1
        counts = np.zeros((len(_COUNTS), size), np.int64)
        counts[:, : self._counts.shape[1]] = self._counts
        distances = np.zeros(len(functions), np.uint64)
        self._pages.take(columns._replace(space=functions, controls=columns.controls[:0]), distances)
        counts[0] += np.bincount(functions[distances != LEFT_OUT], minlength=size)
        counts[1] += np.bincount(functions[distances == COLD], minlength=size)
        for row, stack in zip((2, 3), self._stacks.values(), strict=True):
            stack.take(columns, distances)
            missed = (distances >= np.uint64(self._entries)) & (distances != LEFT_OUT)
            counts[row] += np.bincount(functions[missed], minlength=size)
        self._counts = counts

    def finding(self) -> Finding:
        """Those with most misses."""
        names = [("(in none of the files)", "")]
        for image, place in self._numbers:
            elf = self._images[image].elf
            names.append((elf.name(place), elf.path))
        found: list[dict[str, Any]] = [
            {"function": name, "file": path, **dict(zip(_COUNTS, counts, strict=True))}
            for (name, path), counts in zip(names, self._counts.T.tolist(), strict=True)
            if counts[0]
        ]
        found.sort(key=lambda one: (-one["data_misses"] - one["code_misses"], -one["accesses"], one["function"]))
        whole = sum(one["accesses"] for one in found)
        rows = [
            (
                one["function"], one["file"].rpartition("/")[2], f"{one['accesses']:,}",
                percent(one["accesses"], whole), *(f"{one[name]:,}" for name in _COUNTS[1:]),
            )
            for one in found[:_ROWS]
        ]  # fmt: skip
        headers = ("function", "file", "accesses", "of all", "pages", "data misses", "code misses")
        remark = (
            f"Misses are those of a fully associative LRU TLB of {self._entries:,} entries for data, and one for code;"
            " pages are those that the function touches."
        )
        more = len(found) - len(rows)
        listing = Listing(f"{more:,} more are not listed" if more else "", headers, rows, words=2)
        return Finding("functions", "Functions with most misses", remark, [listing], [], {"functions": found})
