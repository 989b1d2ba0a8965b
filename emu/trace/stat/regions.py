"""Whose shared table each address of each process is translated by, as link and unlink events tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from emu.trace.stat.programs import told
from emu.trace.stat.timeline import NONE, Change, Timeline

#: Slots that a shared table is linked into: of a PTE table, a PMD table, a PUD table.
_SHIFTS = {1: 21, 2: 30, 3: 39}
#: Bits of the number of the smallest slot, with five levels of tables.
_SLOT_BITS = 36


class Regions:
    """The regions of a trace, and where they are linked."""

    COLUMNS = ("event", "pid", "vaddr", "shared_level", "region", "resolved")

    def __init__(self) -> None:
        self.names: list[str] = []
        self._number: dict[str, int] = {}
        self._lines: dict[int, Timeline] = {}
        self._known: tuple[pa.RecordBatch | None, npt.NDArray[np.int64]] = (None, np.zeros(0, np.int64))

    def regions_of(self, rows: pa.RecordBatch) -> npt.NDArray[np.int64]:
        """The number of the region of each row, -1 for none; the batches of a trace are given in their order, each any
        number of times."""
        if self._known[0] is not rows:
            self._known = rows, self._find_regions(rows)
        return self._known[1]

    def _find_regions(self, rows: pa.RecordBatch) -> npt.NDArray[np.int64]:
        changes = self._changes(rows)
        found = np.full(rows.num_rows, NONE, np.int64)
        vaddr = np.asarray(rows.column("vaddr").fill_null(0))
        lower = np.asarray(rows.column("vaddr").is_valid()) & (vaddr < np.uint64(1 << 63))
        pids = np.asarray(rows.column("pid").fill_null(0)).astype(np.uint64)
        for shift, line in self._lines.items():
            values = line.values(_keys(pids, vaddr, shift), changes.get(shift, []))
            np.copyto(found, values, where=lower & (values != NONE))
        return found

    def _changes(self, rows: pa.RecordBatch) -> dict[int, list[Change]]:
        changes: dict[int, list[Change]] = {}
        for at, row in told(rows, ("link", "unlink"), ["pid", "vaddr", "shared_level", "region"]):
            if row["vaddr"] is None or row["shared_level"] not in _SHIFTS:
                continue
            shift = _SHIFTS[row["shared_level"]]
            self._lines.setdefault(shift, Timeline())
            key = int(_keys(np.uint64(row["pid"] or 0), np.uint64(row["vaddr"]), shift))
            linked = row["event"] == "link"
            # the fault by which it was linked, and the walk that found nothing, come before
            begin = _first_of_fault(rows, at) if linked else at + 1
            changes.setdefault(shift, []).append(Change(begin, key, self._of(row["region"]) if linked else NONE))
        return changes

    def _of(self, name: str | None) -> int:
        text = name or ""
        if text not in self._number:
            self._number[text] = len(self.names)
            self.names.append(text)
        return self._number[text]


def _keys(pids: Any, vaddr: Any, shift: int) -> Any:
    slot = vaddr >> np.uint64(shift) & np.uint64((1 << _SLOT_BITS) - 1)
    return pids << np.uint64(_SLOT_BITS) | slot


def _first_of_fault(rows: pa.RecordBatch, at: int) -> int:
    """Where the page fault begins that ended in the link event ``at``."""
    begin = at
    while begin > 0 and _event(rows, begin - 1) in ("link", "flush"):
        begin -= 1
    if begin > 0 and _event(rows, begin - 1) == "fault" and rows.column("resolved")[begin - 1].as_py() == "link":
        begin -= 1
        return begin - 1 if begin > 0 and _event(rows, begin - 1) == "walk" else begin
    return at


def _event(rows: pa.RecordBatch, at: int) -> Any:
    return rows.column("event")[at].as_py()
