"""The event record, and the ring that native and Python code write it to."""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from mmu.native import U, native, store64
from mmu.state import MmuState


class EventKind(IntEnum):
    """What an event record says."""

    FILL = 1  # Unicorn asked for a translation and got one
    WALK = 2  # a page walk, with the entry read at every level
    FAULT = 3  # a page fault: error code and address (CR2)
    ACCESSED_DIRTY = 4  # an entry got A or D: where, before, after
    FLUSH = 5  # translations were invalidated: a range, or all
    CR3_LOAD = 6
    ACCESS = 7  # exact mode: a data access or a fetch; ``level``: TLB level 1 or 2 where it hit, 0: a walk follows


#: One record, 128 bytes.  ``entries[k]`` is the entry read at level k+1 (0 where none was).
EVENT: np.dtype[np.void] = np.dtype(
    [
        ("seq", "<u8"),
        ("clock", "<u8"),
        ("kind", "u1"),
        ("access", "u1"),
        ("level", "u1"),
        ("cpl", "u1"),
        ("error_code", "<u4"),
        ("asid", "<u4"),
        ("cpu", "<u4"),
        ("cr3", "<u8"),
        ("vaddr", "<u8"),
        ("paddr", "<u8"),
        ("rights", "<u8"),
        ("entries", "<u8", (5,)),
        ("old", "<u8"),
        ("new", "<u8"),
        ("length", "<u8"),
    ]
)
RECORD_BYTES = EVENT.itemsize
#: The most events that one fill may write; the ring is drained when less room is left.
HEADROOM = 16

assert RECORD_BYTES == 128

_ONE = U(1)
_RECORD = U(RECORD_BYTES)
_KIND = {kind: U(kind) for kind in EventKind}
KIND_FILL, KIND_WALK, KIND_FAULT, KIND_AD, KIND_ACCESS = U(1), U(2), U(3), U(4), U(7)


@native
def next_record(state: MmuState) -> int:
    """The host address of the record to be written next."""
    return state.ring + (state.ring_head & (state.ring_capacity - _ONE)) * _RECORD


@native
def commit(state: MmuState, kind: int, access: int, level: int, error_code: int, vaddr: int, paddr: int) -> None:
    """Fill in the common words of the next record and make it an event, if its kind is enabled.

    Words 8 to 12 (entries) hold what the walk left there.
    """
    if (state.event_mask >> kind) & _ONE == U(0):
        return
    record = next_record(state)
    store64(record, state.ring_head)
    store64(record + U(8), state.clock)
    store64(record + U(16), kind | (access << U(8)) | (level << U(16)) | (state.cpl << U(24)) | (error_code << U(32)))
    store64(record + U(24), state.asid | (state.cpu << U(32)))
    store64(record + U(32), state.cr3)
    store64(record + U(40), vaddr)
    store64(record + U(48), paddr)
    store64(record + U(56), state.rights)
    if kind != KIND_WALK:
        for word in range(5):
            store64(record + U(64) + U(word) * U(8), U(0))
    if kind != KIND_AD:
        for word in range(3):
            store64(record + U(104) + U(word) * U(8), U(0))
    state.ring_head += _ONE


@native
def words(state: MmuState, old: int, new: int, length: int) -> None:
    """Words 13 to 15 of the next record."""
    record = next_record(state)
    store64(record + U(104), old)
    store64(record + U(112), new)
    store64(record + U(120), length)


@native
def ring_is_full(state: MmuState) -> bool:
    """Whether the next fill might not find room for its events."""
    return state.event_mask != U(0) and state.ring_head - state.ring_tail + U(HEADROOM) > state.ring_capacity


Events = npt.NDArray[np.void]


class EventRing:
    """Events in the order in which they happened.

    Nothing is recorded until :meth:`enable`.  A full ring is given to the subscribers before the next event, so they
    lose nothing; with no subscriber the oldest events are dropped and counted in :attr:`lost`.

    A record has the fields of :data:`EVENT`, a numpy structured type of 128 bytes: addresses and entries are whole
    numbers, ``entries[level - 1]`` is what a walk read at a level, and ``clock`` counts retired instructions.

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

    def drain(self) -> Events:
        """Take out what is there, oldest first (a copy)."""
        state, capacity = self._state, len(self._records)
        indices = np.arange(state.ring_tail, state.ring_head) % capacity
        state.ring_tail = state.ring_head
        drained: Events = self._records[indices]
        return drained

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
