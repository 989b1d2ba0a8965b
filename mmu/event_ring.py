"""The ring that native and Python code write event records to."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from mmu.access_log import LOGGED
from mmu.events import HEADROOM, RECORD_BYTES, EventFilter, EventKind, EventRecord, passes
from mmu.host_array import HostArray
from mmu.state import MmuState

if TYPE_CHECKING:
    from mmu.event_table import Events, EventTable


_ALL_ONES = (1 << 64) - 1
#: The words of a record, where ``x`` is 0: of an event of the MMU that has no entries and no rights;
_OF_MMU = struct.Struct("<7Q48x6Q8x")
#: one with entry_1 to entry_5 and old; and one without.
_WITH_WORDS, _WITHOUT_WORDS = struct.Struct("<4Q32x6Q16x4Q"), struct.Struct("<4Q80xQ8x3Q8x")
#: Of the state's fields, as words.
_HEAD, _MASK, _FILTER, _GRANTED, _LENT, _AHEAD, _CPU, _CPL, _ASID, _TID, _CR3, _RIP = (
    getattr(MmuState, name).offset // 8
    for name in (
        "ring_head", "event_mask", "event_filter", "granted", "lent", "kernel_ns", "cpu", "cpl", "asid", "tid", "cr3",
        "engine_rip",
    )
)  # fmt: skip
assert _OF_MMU.size == _WITH_WORDS.size == _WITHOUT_WORDS.size == RECORD_BYTES


class EventRing:
    """Events in the order in which they happened.

    Nothing is recorded until :meth:`enable`.  A full ring is given to the subscribers before the next event, so they
    lose nothing; with no subscriber the oldest events are dropped and counted in :attr:`lost`.

    A record has the fields of :data:`mmu.event_table.EVENT_COLUMNS`, a numpy structured type of 160 bytes: addresses
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
        self._bytes = self._records.bytes
        self._words: memoryview[int] = memoryview(state).cast("B").cast("Q")
        self._rip: ctypes.c_uint64 | None = None
        self._subscribers: list[Callable[[Events], None]] = []
        self._borrowers: list[Callable[[Events], None]] = []
        self._filter = EventFilter()
        self._held: int | None = None
        self.lost = 0
        #: Empties the access log (:mod:`mmu.access_log`), where somebody keeps one.
        self.empty_log: Callable[[], None] | None = None
        state.ring = self._records.address
        state.ring_capacity = capacity
        state.ring_head = 0
        self._taken_to(0)

    def enable(self, *kinds: EventKind) -> None:
        """Record these kinds, and no others (no kind: stop recording)."""
        self._state.event_mask = self._state.event_mask & LOGGED | sum(1 << kind for kind in kinds)

    def enabled(self, kind: EventKind) -> bool:
        """Whether events of this kind are recorded."""
        return bool(self._state.event_mask >> kind & 1)

    def choose(
        self, addresses: range | None = None, levels: Iterable[int] = (), clocks: range | None = None, one_in: int = 1,
        seed: int = 0,
    ) -> None:  # fmt: skip
        """Of the kinds that are enabled, record only events that concern these virtual addresses, walks and faults that
        end at these levels (none: at any), events at these values of the clock, and of what is left one in ``one_in``,
        by chance from ``seed``.

        CR3_LOAD and a flush of everything concern every address.  ValueError for an empty range, or no interval.
        """
        if one_in < 1 or (addresses is not None and not addresses) or (clocks is not None and not clocks):
            raise ValueError("an event filter needs ranges that are not empty, and an interval of 1 or more")
        chosen = self._filter
        chosen.begin, chosen.end = (0, _ALL_ONES) if clocks is None else (clocks.start, clocks.stop)
        chosen.low, chosen.high = (0, _ALL_ONES) if addresses is None else (addresses[0], addresses[-1])
        chosen.levels = sum(1 << level for level in set(levels)) or _ALL_ONES
        chosen.interval = one_in
        chosen.random = ((seed * 2 + 1) * 0x9E37_79B9_7F4A_7C15 & _ALL_ONES) or 1
        plain = addresses is None and chosen.levels == _ALL_ONES and clocks is None and one_in == 1
        self._state.event_filter = 0 if plain else ctypes.addressof(chosen)

    def hold(self) -> int:
        """Keep the last FAULT event, and what follows, in the ring until :meth:`release`; returns its number plus 1."""
        held, self._state.last_fault = self._state.last_fault, 0
        self._held = held - 1 if held else None
        return int(held)

    def release(self, resolved: int, held: int) -> None:
        """Say how the fault was resolved that :meth:`hold` has kept."""
        self._held = None
        if held and self._state.ring_tail < held <= self._state.ring_head:
            at = ((held - 1) % self._capacity) * RECORD_BYTES
            EventRecord.from_address(self._records.address + at).resolved = resolved

    def subscribe(self, subscriber: Callable[[Events], None]) -> None:
        """``subscriber(events)`` gets every later event, in batches, in order."""
        self._subscribers.append(subscriber)

    def lend(self, subscriber: Callable[[Events], None]) -> None:
        """The same, without a copy: the events are the ring's own memory, which holds others once the subscriber has
        returned."""
        self._borrowers.append(subscriber)

    def __len__(self) -> int:
        return int(self._state.ring_head - self._state.ring_tail)

    def _taken_to(self, tail: int) -> None:
        """The events before this one have been taken out."""
        self._state.ring_tail = tail
        #: The number of the last event for which there is room, and for all that a fill may write behind it.
        self._last = tail + self._capacity - HEADROOM

    def _take(self) -> tuple[int, int]:
        """Take out what is there: the numbers of the first event, and of the one behind the last."""
        tail, head = self._state.ring_tail, self._state.ring_head
        if self._held is not None and tail < self._held:
            head = self._held
        self._taken_to(head)
        return tail, head

    def drain(self) -> EventTable:
        """Take out what is there, oldest first (a copy): ``pandas.DataFrame(events)``, ``polars.DataFrame(events)`` and
        ``pyarrow.table(events)`` make a table of it."""
        from mmu.event_table import table_of  # late: most runs record nothing, and need no numpy

        return table_of(self._records.array, *self._take())

    def flush(self) -> None:
        """Hand what is there to the subscribers."""
        if not len(self) or not (self._subscribers or self._borrowers):
            return
        from mmu.event_table import pieces_of, table_of  # late, as above

        taken = self._take()
        for borrower in self._borrowers:
            for piece in pieces_of(self._records.array, *taken):
                borrower(piece)
        if self._subscribers:
            events = table_of(self._records.array, *taken)
            for subscriber in self._subscribers:
                subscriber(events)

    def make_room(self) -> None:
        """Called when the ring is full, or the access log."""
        if self.empty_log is not None:
            self.empty_log()
        if len(self) + HEADROOM <= self._capacity:
            return
        if self._subscribers or self._borrowers:
            self.flush()
            return
        dropped = min(len(self), max(self._capacity // 2, 2 * HEADROOM))
        self.lost += dropped
        self._taken_to(self._state.ring_tail + dropped)

    def emit(
        self, kind: EventKind, *, vaddr: int = 0, paddr: int = 0, old: int = 0, new: int = 0, length: int = 0
    ) -> None:
        """Record an event from Python, if its kind is enabled."""
        state, words = self._state, self._words
        if not words[_MASK] >> kind & 1:
            return
        if words[_FILTER] and not passes(state, kind, 0, vaddr, length):
            return
        head, clock, rip = self._next(words)
        _OF_MMU.pack_into(
            self._bytes, head % self._capacity * RECORD_BYTES, head, clock, kind | words[_CPL] << 24,
            words[_ASID] | words[_CPU] << 32, words[_CR3], vaddr, paddr, old, new, length, rip,
            clock + words[_AHEAD] & _ALL_ONES, words[_TID],
        )  # fmt: skip
        words[_HEAD] = head + 1

    def note(self, kind: int, asid: int, tid: int, code: int = 0, new: int = 0) -> None:
        """Record an event of whoever runs the MMU, whatever is enabled: its ``kind`` is NOTE or larger, and all else
        means what he says.
        """
        words = self._words
        head, clock, rip = self._next(words)
        _WITHOUT_WORDS.pack_into(
            self._bytes, head % self._capacity * RECORD_BYTES, head, clock, kind | code << 32,
            asid | words[_CPU] << 32, new, rip, clock + words[_AHEAD] & _ALL_ONES, tid,
        )  # fmt: skip
        words[_HEAD] = head + 1

    def note_words(self, kind: int, asid: int, tid: int, code: int, said: Sequence[int], size: int) -> None:
        """The same, with six words: entry_1 to entry_5, and old."""
        words = self._words
        head, clock, rip = self._next(words)
        _WITH_WORDS.pack_into(
            self._bytes, head % self._capacity * RECORD_BYTES, head, clock, kind | code << 32,
            asid | words[_CPU] << 32, *said, rip, clock + words[_AHEAD] & _ALL_ONES, tid, size << 32,
        )  # fmt: skip
        words[_HEAD] = head + 1

    def _next(self, words: memoryview[int]) -> tuple[int, int, int]:
        """There is room for another event: its number, the clock and RIP."""
        head = words[_HEAD]
        if head > self._last:
            self.make_room()
        rip = self._rip
        if rip is None:
            if not words[_RIP]:
                return head, self._state.clock, 0
            rip = self._rip = ctypes.c_uint64.from_address(words[_RIP])
        return head, self._state.clock if words[_LENT] else words[_GRANTED], rip.value
