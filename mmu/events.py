"""The event record, and the ring that native and Python code write it to."""

from __future__ import annotations

import ctypes
import struct
import sys
from collections.abc import Callable
from enum import IntEnum
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from mmu.native import native
from mmu.state import MmuState, WordArray, fields


class EventKind(IntEnum):
    """What an event record says."""

    FILL = 1  # Unicorn asked for a translation and got one
    WALK = 2  # a page walk, with the entry read at every level
    FAULT = 3  # a page fault: error code and address (CR2)
    ACCESSED_DIRTY = 4  # an entry got A or D: where, before, after
    FLUSH = 5  # translations were invalidated: a range, or all
    CR3_LOAD = 6
    ACCESS = 7  # exact mode: a data access or a fetch; ``level``: TLB level 1 or 2 where it hit, 0: a walk follows


class EventRecord(ctypes.Structure):
    """One event, 128 bytes."""

    seq: int
    clock: int
    kind: int
    access: int
    level: int
    cpl: int
    error_code: int
    asid: int
    cpu: int
    cr3: int
    vaddr: int
    paddr: int
    rights: int
    entries: WordArray  # at k: the entry read at level k + 1, 0 where none was
    old: int
    new: int
    length: int

    _fields_ = fields(
        __annotations__,
        **dict.fromkeys(("kind", "access", "level", "cpl"), ctypes.c_uint8),
        **dict.fromkeys(("error_code", "asid", "cpu"), ctypes.c_uint32),
        entries=ctypes.c_uint64 * 5,
    )


#: The same for arrays of events.
EVENT = cast("np.dtype[np.void]", np.dtype(EventRecord))
RECORD_BYTES = EVENT.itemsize
#: The most events that one fill may write; the ring is drained when less room is left.
HEADROOM = 16

assert RECORD_BYTES == 128


@native
def next_record(state: MmuState) -> EventRecord:
    """The record to be written next."""
    return EventRecord.from_address(state.ring + (state.ring_head & (state.ring_capacity - 1)) * RECORD_BYTES)


@native
def commit(state: MmuState, kind: int, access: int, level: int, error_code: int, vaddr: int, paddr: int) -> None:
    """Fill in what every event has, and make the next record one, if its kind is enabled.

    A walk has left its entries there, and a change of A or D what it changed.
    """
    if (state.event_mask >> kind) & 1 == 0:
        return
    record = next_record(state)
    record.seq = state.ring_head
    record.clock = state.clock
    record.kind = kind
    record.access = access
    record.level = level
    record.cpl = state.cpl
    record.error_code = error_code
    record.asid = state.asid
    record.cpu = state.cpu
    record.cr3 = state.cr3
    record.vaddr = vaddr
    record.paddr = paddr
    record.rights = state.walked.rights
    if kind != EventKind.WALK:
        for word in range(5):
            record.entries[word] = 0
    if kind != EventKind.ACCESSED_DIRTY:
        record.old = 0
        record.new = 0
        record.length = 0
    state.ring_head += 1


@native
def ring_is_full(state: MmuState) -> bool:
    """Whether the next fill might not find room for its events."""
    return state.event_mask != 0 and state.ring_head - state.ring_tail + HEADROOM > state.ring_capacity


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


#: The record as :meth:`EventRing.drain` gives it: no field is an array.
EVENT_COLUMNS = _columns()


class EventTable(np.ndarray[Any, np.dtype[Any]]):
    """Events as a numpy array of :data:`EVENT_COLUMNS`, which pandas.DataFrame, polars.DataFrame and pyarrow.table take
    as it is.

    >>> from unicorn import UC_ARCH_X86, UC_MODE_64, Uc
    >>> from mmu import Mmu, PhysicalMemory
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


class EventRing:
    """Events in the order in which they happened.

    Nothing is recorded until :meth:`enable`.  A full ring is given to the subscribers before the next event, so they
    lose nothing; with no subscriber the oldest events are dropped and counted in :attr:`lost`.

    A record has the fields of :data:`EVENT_COLUMNS`, a numpy structured type of 128 bytes: addresses and entries are
    whole numbers, ``entry_1`` to ``entry_5`` are what a walk read at each level, and ``clock`` counts retired
    instructions.

    >>> from unicorn import UC_ARCH_X86, UC_MODE_64, Uc
    >>> from mmu import Mmu, PhysicalMemory
    >>> mmu = Mmu(Uc(UC_ARCH_X86, UC_MODE_64), PhysicalMemory(1 << 20))
    >>> mmu.events.enable(EventKind.CR3_LOAD)
    >>> mmu.load_cr3(0x1000)
    >>> [(EventKind(event["kind"]).name, hex(event["new"])) for event in mmu.events.drain()]
    [('CR3_LOAD', '0x1000')]
    """

    def __init__(self, state: MmuState, capacity: int = 1 << 15) -> None:
        if capacity <= 2 * HEADROOM or capacity & (capacity - 1):
            raise ValueError(f"the capacity of an event ring is a power of two above {2 * HEADROOM}, not {capacity}")
        self._state = state
        self._records = np.zeros(capacity, dtype=EVENT)
        self._bytes = memoryview(self._records.view(np.uint8))  # type: ignore[arg-type]
        self._subscribers: list[Callable[[Events], None]] = []
        self.lost = 0
        state.ring = self._records.ctypes.data
        state.ring_capacity = capacity
        state.ring_head = state.ring_tail = 0

    def enable(self, *kinds: EventKind) -> None:
        """Record these kinds, and no others (no kind: stop recording)."""
        self._state.event_mask = sum(1 << kind for kind in kinds)

    def enabled(self, kind: EventKind) -> bool:
        """Whether events of this kind are recorded."""
        return bool(self._state.event_mask >> kind & 1)

    def subscribe(self, subscriber: Callable[[Events], None]) -> None:
        """``subscriber(events)`` gets every later event, in batches, in order."""
        self._subscribers.append(subscriber)

    def __len__(self) -> int:
        return int(self._state.ring_head - self._state.ring_tail)

    def drain(self) -> EventTable:
        """Take out what is there, oldest first (a copy): ``pandas.DataFrame(events)``, ``polars.DataFrame(events)`` and
        ``pyarrow.table(events)`` make a table of it."""
        state, capacity = self._state, len(self._records)
        indices = np.arange(state.ring_tail, state.ring_head) % capacity
        state.ring_tail = state.ring_head
        return self._records[indices].view(EVENT_COLUMNS).view(EventTable)

    def flush(self) -> None:
        """Hand what is there to the subscribers."""
        if self._subscribers and len(self):
            events = self.drain()
            for subscriber in self._subscribers:
                subscriber(events)

    def make_room(self) -> None:
        """Called when the ring is full."""
        if self._subscribers:
            self.flush()
            return
        dropped = min(len(self), max(len(self._records) // 2, 2 * HEADROOM))
        self.lost += dropped
        self._state.ring_tail += dropped

    def emit(
        self, kind: EventKind, *, vaddr: int = 0, paddr: int = 0, old: int = 0, new: int = 0, length: int = 0
    ) -> None:
        """Record an event from Python, if its kind is enabled."""
        state = self._state
        if not state.event_mask >> kind & 1:
            return
        if ring_is_full(state):
            self.make_room()
        at = (state.ring_head % len(self._records)) * RECORD_BYTES
        header = kind | state.cpl << 24
        struct.pack_into(
            "<16Q", self._bytes, at, state.ring_head, state.clock, header, state.asid | state.cpu << 32, state.cr3,
            vaddr, paddr, 0, 0, 0, 0, 0, 0, old, new, length,
        )  # fmt: skip
        state.ring_head += 1
