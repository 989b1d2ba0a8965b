"""Some events of a batch, as a batch."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from emu.trace.batch import Batch, KernelKind
from mmu.events import EventKind

_NUMBERS = {kind.name.lower(): int(kind) for kind in (*EventKind, *KernelKind) if kind != EventKind.NOTE}


def chosen(batch: Batch, kinds: Collection[str], pids: Sequence[int]) -> Batch:
    """The events of these kinds, and of these processes or threads; of all where none is named.

    The last event, which says that the recording is complete, stays.
    """
    if not kinds and not pids:
        return batch
    records = batch.records
    mask = np.ones(len(records), bool)
    told = np.flatnonzero(records["kind"] == EventKind.NOTE)
    if pids:
        mask = np.isin(records["asid"], pids) | np.isin(records["tid"], pids)
    if kinds:
        of_kind = np.isin(records["kind"], [_NUMBERS[name] for name in kinds if name in _NUMBERS])
        of_kind[told] = [note.kind in kinds for note in batch.notes]
        mask &= of_kind
    mask[told] |= np.array([note.kind == "end" for note in batch.notes], bool)
    kept = mask[told].tolist()
    notes = [note for note, stays in zip(batch.notes, kept, strict=True) if stays]
    return Batch(records[mask], notes, batch.calls)
