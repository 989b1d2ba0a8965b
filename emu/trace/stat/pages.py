"""How often each page of each process was walked to; there may be millions of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from emu.trace.stat.codes import KIND_SHIFT, PAGE_SIZES, Coder, Codes, numbers
from emu.trace.stat.groupings import Chosen, both, some_of
from emu.trace.stat.numbering import Numbering, combined
from emu.trace.stat.occurrences import Occurrences

#: Bits of the number of a page of 4 KiB, with five levels of tables, and of the part of it that is counted; there are
#: few upper parts, which are numbered with the process.
_BITS, _LOW, _SHIFT = 45, 27, 12
#: For the size of the page, how much a walk read, and what it cost.
_KIND_BITS = 17
_MASK_64 = (1 << 64) - 1


@dataclass(frozen=True)
class Page:
    """A page of a process, and how often it was walked to."""

    pid: int
    vaddr: int
    #: 0: no walk found one.
    size: int
    walks: int
    loads: int
    cycles: int


class ByPage:
    """Walks by process and page."""

    columns: tuple[str, ...] = ("pid", "vaddr")

    def __init__(self, coder: Coder, levels: int) -> None:
        self._coder, self._levels = coder, levels
        #: The process and the upper part of a page's number; the size of the page, how much a walk read and what it
        #: cost.
        self._windows, self._kinds = Numbering(), Numbering()
        self._pages = Occurrences(_KIND_BITS)

    def add(self, rows: pa.RecordBatch, codes: Codes, chosen: Chosen) -> None:
        """Some rows with their codes."""
        chosen = both(chosen, codes >> KIND_SHIFT == self._coder.kind("walk"))
        pid, vaddr, codes = some_of(chosen, numbers(rows.column("pid")), numbers(rows.column("vaddr")), codes)
        if not len(codes):
            return
        at, found = combined((codes,))
        facts = [self._coder.facts(code) for (code,) in found]
        masks = np.array([_MASK_64 & -(one.page_size or PAGE_SIZES[1]) for one in facts], np.uint64)
        kinds = self._kinds.of(
            np.array([one.page_size for one in facts], np.uint64),
            np.array([one.loads(self._levels) for one in facts], np.int64),
            np.array([one.cycles for one in facts], np.uint64),
        )
        page = (vaddr & masks[at]) >> np.uint64(_SHIFT) & np.uint64((1 << _BITS) - 1)
        windows = self._windows.of(pid, page >> np.uint64(_LOW))
        low = page & np.uint64((1 << _LOW) - 1)
        self._pages.add((windows << np.uint64(_LOW) | low) << np.uint64(_KIND_BITS) | kinds[at])

    def pages(self, most: int) -> list[Page]:
        """Those with most walks."""
        found: list[Page] = []
        sizes, loads, cycles = np.array(self._kinds.values or [(0, 0, 0)], np.uint64).T
        ordered = sorted(range(len(self._windows.values)), key=self._windows.values.__getitem__)
        rank = np.argsort(np.array(ordered, np.uint64)).astype(np.uint64)
        for keys, counts in self._pages.pieces():
            if not len(keys):
                continue
            pages, kinds = keys >> np.uint64(_KIND_BITS), (keys & np.uint64((1 << _KIND_BITS) - 1)).astype(np.intp)
            begins = np.flatnonzero(np.append(True, pages[1:] != pages[:-1]))
            walks, ends = np.add.reduceat(counts, begins), np.append(begins[1:], len(keys))
            pages = pages[begins]
            place = rank[(pages >> np.uint64(_LOW)).astype(np.intp)] << np.uint64(_LOW)
            for one in _first(walks, place | pages & np.uint64((1 << _LOW) - 1), most).tolist():
                rows = slice(begins[one], ends[one])
                pid, upper = self._windows.values[int(pages[one]) >> _LOW]
                vaddr = (upper << _LOW | int(pages[one]) & (1 << _LOW) - 1) << _SHIFT
                vaddr |= _MASK_64 << _BITS + _SHIFT & _MASK_64 if vaddr >> _BITS + _SHIFT - 1 else 0
                size, read = int(sizes[kinds[rows]].max()), int((loads[kinds[rows]] * counts[rows]).sum())
                cost = int((cycles[kinds[rows]] * counts[rows]).sum())
                found.append(Page(pid, vaddr, size, int(walks[one]), read, cost))
            found = sorted(found, key=lambda page: (-page.walks, page.pid, page.vaddr))[:most]
        return found


def _first(walks: npt.NDArray[np.uint64], order: npt.NDArray[np.uint64], most: int) -> npt.NDArray[np.intp]:
    """Where the most walks are; of as many, the first by ``order``."""
    if most >= len(walks):
        return np.arange(len(walks))
    least = np.partition(walks, -most)[-most]
    more, as_many = np.flatnonzero(walks > least), np.flatnonzero(walks == least)
    rest = most - len(more)
    if rest < len(as_many):
        as_many = as_many[np.argpartition(order[as_many], rest - 1)[:rest]]
    return np.concatenate([more, as_many])
