"""Some of the events of a trace: of some kinds, of some processes, at some addresses, at some time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from emu.trace.batch import Batch, KernelKind
from mmu.events import EventKind

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    from emu.trace.columns import Mask
    from mmu.event_table import Events


@dataclass(frozen=True)
class Choice:
    """What is chosen; what is empty or None chooses all.

    ``pids`` are processes or threads; ``addresses`` a first and a last virtual address, and an event with a range has
    all of it; ``begin`` and ``end`` count instructions, and the events at ``end`` are not chosen.
    """

    kinds: frozenset[str] = frozenset()
    pids: frozenset[int] = frozenset()
    addresses: tuple[int, int] | None = None
    begin: int | None = None
    end: int | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that :meth:`mask` looks at."""
        return (
            *(["event"] if self.kinds else []),
            *(["pid", "tid"] if self.pids else []),
            *(["vaddr", "length"] if self.addresses else []),
            *(["clock"] if self.begin is not None or self.end is not None else []),
        )

    def takes(self, event: Mapping[str, Any]) -> bool:
        """Whether an event is chosen."""
        return (
            (not self.kinds or event["event"] in self.kinds)
            and (not self.pids or event.get("pid") in self.pids or event.get("tid") in self.pids)
            and (self.addresses is None or _is_at(event, *self.addresses))
            and (self.begin is None or event["clock"] >= self.begin)
            and (self.end is None or event["clock"] < self.end)
        )

    def mask(self, rows: pa.RecordBatch) -> Mask | None:
        """Which rows are chosen; None: all."""
        if not self.columns:
            return None
        mask = np.ones(rows.num_rows, bool)
        if self.kinds:
            names = [at for at, name in enumerate(rows.column("event").dictionary.to_pylist()) if name in self.kinds]
            mask &= np.isin(np.asarray(rows.column("event").indices.fill_null(-1)), names)
        if self.pids:
            wanted = np.array(sorted(self.pids), np.uint64)
            columns = (rows.column(name).fill_null(0) for name in ("pid", "tid"))
            mask &= np.logical_or(*(np.isin(np.asarray(column).astype(np.uint64), wanted) for column in columns))
        if self.addresses:
            first, last = map(np.uint64, self.addresses)
            vaddr, length = (np.asarray(rows.column(name).fill_null(0)) for name in ("vaddr", "length"))
            mask &= np.asarray(rows.column("vaddr").is_valid()) & (vaddr <= last)
            mask &= (vaddr >= first) | (first - vaddr < length)
        clock = np.asarray(rows.column("clock").fill_null(0)) if "clock" in self.columns else None
        if clock is not None and self.begin is not None:
            mask &= clock >= np.uint64(self.begin)
        if clock is not None and self.end is not None:
            mask &= clock < np.uint64(self.end)
        return mask

    def of_batch(self, batch: Batch, told: Collection[str] = ()) -> Batch:
        """The chosen events of a batch; the last of a trace, which says that it is complete, stays, and so do those of
        the kernel of the kinds ``told``, which say that they are not chosen.
        """
        if self == ALL:
            return batch
        records = batch.records
        kinds, notes = records["kind"], np.flatnonzero(records["kind"] == EventKind.NOTE)
        mask = np.ones(len(records), bool)
        if self.kinds:
            fixed = [kind for kind in (*EventKind, *KernelKind) if kind.name.lower() in self.kinds]
            mask = np.isin(kinds, np.array(fixed, np.uint8))
            mask[notes] = [note.kind in self.kinds for note in batch.notes]
        if self.pids:
            mask &= of_processes(records, self.pids)
        if self.begin is not None:
            mask &= records["clock"] >= np.uint64(self.begin)
        if self.end is not None:
            mask &= records["clock"] < np.uint64(self.end)
        if self.addresses is not None:
            mask &= self._at_addresses(batch, notes)
        mask[notes] |= np.array([note.kind == "end" for note in batch.notes], bool)
        chosen = mask[notes].tolist()
        mask[notes] |= np.array([note.kind in told for note in batch.notes], bool)
        kept = [
            note if stays else note._replace(chosen=False)
            for note, stays in zip(batch.notes, chosen, strict=True)
            if stays or note.kind in told
        ]
        return Batch(records[mask], kept, batch.calls)

    def _at_addresses(self, batch: Batch, told: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        assert self.addresses is not None
        records, (low, high) = batch.records, self.addresses
        first, last, kinds, vaddr = np.uint64(low), np.uint64(high), records["kind"], records["vaddr"]
        ranged = (kinds == EventKind.FLUSH) & (records["length"] != 0)
        length = np.where(ranged, records["length"], np.uint64(0))
        mask: npt.NDArray[np.bool_] = (np.isin(kinds, _WITH_ADDRESS) | ranged) & (vaddr <= last)
        mask &= (vaddr >= first) | (first - vaddr < length)
        for at, note in zip(told.tolist(), batch.notes, strict=True):
            text = note.fields.get("vaddr")
            event = {"vaddr": None if text is None else int(text, 16), "length": note.fields.get("length")}
            mask[at] = _is_at(event, low, high)
        return mask


ALL = Choice()
#: Kinds of the MMU's events that have an address.
_WITH_ADDRESS = np.array(
    [EventKind.FILL, EventKind.WALK, EventKind.FAULT, EventKind.ACCESSED_DIRTY, EventKind.ACCESS], np.uint8
)


def _is_at(event: Mapping[str, Any], first: int, last: int) -> bool:
    vaddr: int | None = event.get("vaddr")
    return vaddr is not None and meets(vaddr, event.get("length"), first, last)


def meets(vaddr: int, length: int | None, first: int, last: int) -> bool:
    """Whether a range that begins at ``vaddr``, or the one address where it has no length, meets [first, last]."""
    return vaddr <= last and vaddr + (length or 1) > first


def of_processes(records: Events, pids: Collection[int]) -> npt.NDArray[np.bool_]:
    """Which records are of these processes or threads."""
    wanted = np.array(sorted(pids), np.uint64)
    mask: npt.NDArray[np.bool_] = np.logical_or(
        *(np.isin(records[name].astype(np.uint64), wanted) for name in ("asid", "tid"))
    )
    return mask
