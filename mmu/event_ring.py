"""The ring that native and Python code write event records to."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from mmu.events import HEADROOM, RECORD_BYTES, EventKind, ring_is_full
from mmu.host_array import HostArray
from mmu.state import MmuState

if TYPE_CHECKING:
    from mmu.event_table import Events, EventTable


class EventRing:
    """Events in the order in which they happened.

    Nothing is recorded until :meth:`enable`.  A full ring is given to the subscribers before the next event, so they
    lose nothing; with no subscriber the oldest events are dropped and counted in :attr:`lost`.

    A record has the fields of :data:`mmu.event_table.EVENT_COLUMNS`, a numpy structured type of 128 bytes: addresses
    and entries are whole numbers, ``entry_1`` to ``entry_5`` are what a walk read at each level, and ``clock`` counts
    retired instructions.

    >>> from unicorn import UC_ARCH_X86, UC_MODE_64, Uc
    >>> from mmu import EventKind, Mmu, PhysicalMemory
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
        self._capacity = capacity
        self._records = HostArray(capacity * RECORD_BYTES, "B")
        self._subscribers: list[Callable[[Events], None]] = []
        self.lost = 0
        state.ring = self._records.address
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
        from mmu.event_table import table_of  # late: most runs record nothing, and need no numpy

        tail = self._state.ring_tail
        self._state.ring_tail = head = self._state.ring_head
        return table_of(self._records.array, tail, head)

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
        dropped = min(len(self), max(self._capacity // 2, 2 * HEADROOM))
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
        at = (state.ring_head % self._capacity) * RECORD_BYTES
        header = kind | state.cpl << 24
        struct.pack_into(
            "<16Q", self._records.bytes, at, state.ring_head, state.clock, header, state.asid | state.cpu << 32,
            state.cr3, vaddr, paddr, 0, 0, 0, 0, 0, 0, old, new, length,
        )  # fmt: skip
        state.ring_head += 1
