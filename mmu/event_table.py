"""Events as numpy arrays: the type of a record, and the table that :meth:`mmu.event_ring.EventRing.drain` gives."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from mmu.events import RECORD_BYTES, EventRecord

#: :class:`mmu.events.EventRecord` for arrays.
EVENT = cast("np.dtype[np.void]", np.dtype(EventRecord))

Events = npt.NDArray[np.void]


def _columns() -> np.dtype[np.void]:
    """The same bytes as EVENT, each entry a field of its own: ``entry_1`` (a PTE) to ``entry_5`` (a PML5E)."""
    names, formats, offsets = [], [], []
    for name in EVENT.names or ():
        format_, offset = EVENT.fields[name][:2]  # type: ignore[index]
        several = format_.subdtype is not None
        for number in range(format_.shape[0] if several else 1):
            names.append(f"entry_{number + 1}" if several else name)
            formats.append(format_.base)
            offsets.append(offset + number * format_.base.itemsize)
    layout: Any = {"names": names, "formats": formats, "offsets": offsets, "itemsize": RECORD_BYTES}
    return cast("np.dtype[np.void]", np.dtype(layout))


#: The record as :meth:`mmu.event_ring.EventRing.drain` gives it: no field is an array.
EVENT_COLUMNS = _columns()


class EventTable(np.ndarray[Any, np.dtype[Any]]):
    """Events as a numpy array of :data:`EVENT_COLUMNS`, which pandas.DataFrame, polars.DataFrame and pyarrow.table take
    as it is.

    >>> from unicorn import UC_ARCH_X86, UC_MODE_64, Uc
    >>> from mmu import EventKind, Mmu, PhysicalMemory
    >>> mmu = Mmu(Uc(UC_ARCH_X86, UC_MODE_64), PhysicalMemory(1 << 20))
    >>> mmu.events.enable(EventKind.CR3_LOAD)
    >>> mmu.load_cr3(0x1000)
    >>> events = mmu.events.drain()
    >>> type(events).__name__, events["new"].tolist()
    ('EventTable', [4096])
    """

    def __getitem__(self, key: Any) -> Any:
        item = super().__getitem__(key)
        return item.view(np.ndarray) if isinstance(item, EventTable) and item.dtype.names is None else item

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The Arrow PyCapsule interface, for PyArrow, which has been imported by whoever asks."""
        pyarrow: Any = sys.modules.get("pyarrow")
        if pyarrow is None:
            raise TypeError("the Arrow form of events is made by PyArrow, which nobody has imported")
        columns = {name: np.ascontiguousarray(self[name]) for name in self.dtype.names or ()}
        return pyarrow.table(columns).__arrow_c_stream__(requested_schema)


def pieces_of(ring: npt.NDArray[np.uint8], first: int, end: int) -> Iterator[EventTable]:
    """The records [first, end) of a ring, which is given as bytes; numbers go on where the ring ends."""
    size = len(ring)
    start, stop = first * RECORD_BYTES % size, end * RECORD_BYTES % size
    for piece in [ring[start:stop]] if start < stop or first == end else [ring[start:], ring[:stop]]:
        if len(piece) or first == end:
            yield piece.view(EVENT_COLUMNS).view(EventTable)


def table_of(ring: npt.NDArray[np.uint8], first: int, end: int) -> EventTable:
    """A copy of them."""
    return cast(EventTable, np.concatenate([*pieces_of(ring, first, end)]).view(EventTable))
