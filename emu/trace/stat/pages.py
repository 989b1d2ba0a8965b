"""How often each page of each process was walked to; there may be millions of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from emu.trace.reader import TraceError
from emu.trace.stat.codes import KIND_SHIFT, PAGE_SIZES, Coder, Codes, numbers
from emu.trace.stat.groupings import Chosen, both, some_of

_U64 = npt.NDArray[np.uint64]
#: Bits of the number of a page of 4 KiB, with five levels of tables; above them is the number of the process.
_BITS, _SHIFT = 45, 12
_MOST_PROCESSES = 1 << 64 - _BITS
#: Rows that are kept of batches before equal ones are made one.
_KEPT = 1 << 20
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


class ByPage:
    """Walks by process and page."""

    columns: tuple[str, ...] = ("pid", "vaddr")

    def __init__(self, coder: Coder, levels: int) -> None:
        self._coder, self._levels = coder, levels
        self._pids: dict[int, int] = {}
        self._parts: list[_Pages] = []
        self._kept = 0

    def add(self, rows: pa.RecordBatch, codes: Codes, chosen: Chosen) -> None:
        """Some rows with their codes."""
        chosen = both(chosen, codes >> KIND_SHIFT == self._coder.kind("walk"))
        pid, vaddr, codes = some_of(chosen, numbers(rows.column("pid")), numbers(rows.column("vaddr")), codes)
        if not len(codes):
            return
        found, at = np.unique(codes, return_inverse=True)
        facts = [self._coder.facts(code) for code in found.tolist()]
        masks = np.array([_MASK_64 & -(one.page_size or PAGE_SIZES[1]) for one in facts], np.uint64)
        loads = np.array([one.loads(self._levels) for one in facts], np.uint64)
        sizes = np.array([PAGE_SIZES.index(one.page_size) for one in facts], np.uint8)
        page = (vaddr & masks[at]) >> np.uint64(_SHIFT) & np.uint64((1 << _BITS) - 1)
        keys = self._numbers_of(pid) << np.uint64(_BITS) | page
        self._parts.append(_Pages(keys, np.ones(len(keys), np.uint64), loads[at], sizes[at]).summed())
        self._kept += len(self._parts[-1].keys)
        if self._kept > _KEPT:
            self._parts, self._kept = [_Pages.of(self._parts)], 0

    def _numbers_of(self, pids: npt.NDArray[Any]) -> _U64:
        encoded = pa.array(pids).dictionary_encode()
        own = [self._pids.setdefault(pid, len(self._pids)) for pid in encoded.dictionary.to_pylist()]
        if len(self._pids) > _MOST_PROCESSES:
            raise TraceError(f"there are more than {_MOST_PROCESSES:,} processes")
        return np.asarray(np.array(own, np.uint64)[np.asarray(encoded.indices)])

    def pages(self, most: int) -> list[Page]:
        """Those with most walks."""
        if not self._parts:
            return []
        self._parts, self._kept = [_Pages.of(self._parts)], 0
        (whole,), pids = self._parts, [*self._pids]
        least = np.partition(whole.walks, -most)[-most] if most < len(whole.walks) else 0
        found = []
        for at in np.flatnonzero(whole.walks >= least).tolist():
            page = int(whole.keys[at]) & (1 << _BITS) - 1
            upper = _MASK_64 << _BITS + _SHIFT & _MASK_64 if page >> _BITS - 1 else 0
            found.append(
                Page(
                    pids[int(whole.keys[at]) >> _BITS], page << _SHIFT | upper, PAGE_SIZES[whole.sizes[at]],
                    int(whole.walks[at]), int(whole.loads[at]),
                )
            )  # fmt: skip
        return sorted(found, key=lambda page: (-page.walks, page.pid, page.vaddr))[:most]


@dataclass
class _Pages:
    """Pages and what was counted of each."""

    keys: _U64
    walks: _U64
    loads: _U64
    sizes: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, parts: list[_Pages]) -> _Pages:
        """All of these."""
        columns = (np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__)
        return cls(*columns).summed()

    def summed(self) -> _Pages:
        """Each page once."""
        order = np.argsort(self.keys)
        keys = self.keys[order]
        first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
        return _Pages(
            keys[first],
            np.add.reduceat(self.walks[order], first),
            np.add.reduceat(self.loads[order], first),
            np.maximum.reduceat(self.sizes[order], first),
        )
