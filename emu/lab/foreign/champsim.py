"""ChampSim's instruction traces (struct input_instr of inc/trace_instruction.h), plain, .gz or .xz.

Each instruction is a fetch, its loads and its stores, in this order; the trace says no sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from emu.lab.batch import BATCH, Batch
from emu.lab.foreign.pieces import opened, records
from mmu.registers import Access

_STORES, _LOADS = 2, 4
_RECORD = np.dtype([("ip", "<u8"), ("registers", "V8"), ("stores", "<u8", _STORES), ("loads", "<u8", _LOADS)])
_KINDS = np.array([Access.FETCH, *[Access.READ] * _LOADS, *[Access.WRITE] * _STORES], np.uint8)
assert _RECORD.itemsize == 64


def read(path: str, fields: Sequence[str]) -> Iterator[Batch]:
    """The accesses.  :class:`emu.lab.batch.StreamError` if the file is cut off."""
    with opened(path) as file:
        for some in records(file, path, _RECORD, BATCH // len(_KINDS)):
            rows = np.column_stack((some["ip"], some["loads"], some["stores"]))
            there = rows != 0  # where ChampSim has no access
            there[:, 0] = True
            width = len(_KINDS)
            kinds, rip = np.broadcast_to(_KINDS, rows.shape), np.broadcast_to(some["ip"][:, None], (len(some), width))
            yield Batch.of(vaddr=rows[there], kind=kinds[there], rip=rip[there])
